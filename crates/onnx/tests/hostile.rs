//! Files that are broken, by accident or on purpose: each gives one error of kind `Format`, nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod build;

use build::{Field, attr_ints, file, initializer, input, int, message, node, text};
use esker_graph::{InputSpec, Sym, capture};
use esker_onnx::{ExportOptions, export, import, load};
use esker_ops::{Array, Ops};
use esker_tensor::{DType, Result, Shape};
use proptest::prelude::*;

fn sentence(bytes: &[u8]) -> String {
    match import(bytes) {
        Ok(graph) => panic!("a broken file was read:\n{graph}"),
        Err(e) => {
            assert_eq!(e.kind().name(), "Format", "{e}");
            e.to_string()
        }
    }
}

fn rejects(bytes: &[u8], part: &str) {
    let text = sentence(bytes);
    assert!(text.contains(part), "`{text}` does not say `{part}`");
}

/// A file of some parts with input `x` f32 `[2, 3]` and output `y`.
fn with(parts: &[Field]) -> Vec<u8> {
    let mut graph = vec![input("x", 1, &[2, 3]), message(12, &[text(1, "y")])];
    graph.extend_from_slice(parts);
    file(17, &graph)
}

#[test]
fn a_good_file_is_read() {
    let good = with(&[node("Relu", &["x"], &["y"], &[])]);
    assert_eq!(import(&good).unwrap().nodes.len(), 1);
}

#[test]
fn no_onnx_at_all() {
    rejects(&[], "no ONNX file");
    rejects(b"\x89PNG\r\n\x1a\n", "no ONNX file");
    rejects(&message(7, &[]).0, "format version");
    rejects(&[int(1, 8).0, message(8, &[int(2, 17)]).0].concat(), "no graph");
    rejects(&[int(1, 8).0, message(7, &[]).0].concat(), "opset");
    rejects(&file(99, &[]), "opset 99");
    assert_eq!(load("/nowhere/model.onnx").unwrap_err().kind().name(), "Io");
}

#[test]
fn names_and_order() {
    rejects(&with(&[node("Relu", &["a"], &["b"], &[]), node("Relu", &["b"], &["a"], &[])]), "cycle");
    rejects(&with(&[node("Relu", &["y"], &["y"], &[])]), "cycle");
    rejects(&with(&[node("Relu", &["nothing"], &["y"], &[])]), "nothing defines");
    rejects(&with(&[node("Relu", &["x"], &["x"], &[])]), "defined twice");
    rejects(&with(&[]), "output `y`");
    rejects(&with(&[initializer("w", 1, &[1], &[0; 4]), initializer("w", 1, &[1], &[0; 4])]), "defined twice");
}

#[test]
fn all_unknown_operators_are_listed() {
    let bytes =
        with(&[node("Loop", &["x"], &["a"], &[]), node("If", &["x"], &["b"], &[]), node("Loop", &["a"], &["y"], &[])]);
    rejects(&bytes, "If, Loop");
}

#[test]
fn stored_tensors() {
    let relu = node("Add", &["x", "w"], &["y"], &[]);
    let stored = |dtype, dims: &[i64], data: &[u8]| with(&[initializer("w", dtype, dims, data), relu.clone()]);
    rejects(&stored(1, &[3], &[0; 11]), "needs 12 bytes");
    rejects(&stored(1, &[-1], &[]), "size of -1");
    rejects(&stored(1, &[i64::MAX, i64::MAX], &[]), "not possible");
    rejects(&stored(1, &[1 << 33, 1 << 33], &[]), "too large");
    rejects(&stored(1, &[1 << 30], &[0; 4]), "bytes");
    rejects(&stored(1, &[1; 9], &[0; 4]), "rank 9");
    rejects(&stored(8, &[1], &[0; 4]), "element type number 8");
    rejects(&stored(7, &[3], &[0; 24]), "node `y` (Add)");
    let outside = message(5, &[int(1, 1), int(2, 1), text(8, "w"), int(14, 1)]);
    rejects(&with(&[outside, relu.clone()]), "another file");
}

#[test]
fn inputs() {
    let y = message(12, &[text(1, "y")]);
    let relu = node("Relu", &["x"], &["y"], &[]);
    let with_input = |x: Field| file(17, &[x, y.clone(), relu.clone()]);
    rejects(&with_input(input("x", 1, &[-5])), "size -5");
    rejects(&with_input(input("x", 1, &[i64::MAX])), "size");
    rejects(&with_input(input("x", 8, &[1])), "element type number 8");
    rejects(&with_input(input("x", 1, &[1; 9])), "rank is 9");
    rejects(&with_input(message(11, &[text(1, "x")])), "no tensor");
}

#[test]
fn attributes_that_do_not_fit() {
    let image = |parts: &[Field]| {
        let mut graph = vec![input("x", 1, &[1, 1, 4, 4]), message(12, &[text(1, "y")])];
        graph.extend_from_slice(parts);
        file(17, &graph)
    };
    let pool = |attrs: &[Field]| image(&[node("MaxPool", &["x"], &["y"], attrs)]);
    rejects(&pool(&[]), "kernel_shape");
    rejects(&pool(&[attr_ints("kernel_shape", &[0, 0])]), "kernel_shape");
    rejects(&pool(&[attr_ints("kernel_shape", &[i64::MAX, 2])]), "kernel_shape");
    rejects(&pool(&[attr_ints("kernel_shape", &[2, 2]), attr_ints("strides", &[0, 1])]), "strides");
    rejects(&pool(&[attr_ints("kernel_shape", &[2, 2]), attr_ints("pads", &[0, 1, 0, 0])]), "pads");
    rejects(&pool(&[attr_ints("kernel_shape", &[2, 2]), attr_ints("pads", &[i64::MIN; 4])]), "pads");
    let reshape = |sizes: &[i64]| {
        let data: Vec<u8> = sizes.iter().flat_map(|n| n.to_le_bytes()).collect();
        with(&[initializer("s", 7, &[sizes.len() as i64], &data), node("Reshape", &["x", "s"], &["y"], &[])])
    };
    rejects(&reshape(&[-1, -1]), "-1");
    rejects(&reshape(&[i64::MAX, 2]), "not possible");
    rejects(&reshape(&[7]), "6 elements");
    rejects(&reshape(&[0, 0, 0]), "no dimension to copy");
    rejects(&reshape(&[1; 9]), "rank");
    rejects(&with(&[node("Transpose", &["x"], &["y"], &[attr_ints("perm", &[0, 0])])]), "named twice");
    rejects(&with(&[node("Transpose", &["x"], &["y"], &[attr_ints("perm", &[5, 1])])]), "out of range");
    rejects(&with(&[node("Reshape", &["x"], &["y"], &[])]), "input 1 is missing");
    rejects(&with(&[node("Reshape", &["x", "x"], &["y"], &[])]), "integers that the file states");
}

/// Chains that double would need more memory than there is; reading computes nothing.
#[test]
fn growth_is_refused() {
    let mut parts = Vec::new();
    let mut last = "x".to_string();
    for k in 0..60 {
        let next = if k == 59 { "y".to_string() } else { format!("v{k}") };
        let axis = message(5, &[text(1, "axis"), int(3, 0), int(20, 2)]);
        parts.push(node("Concat", &[&last, &last], &[&next], &[axis]));
        last = next;
    }
    rejects(&with(&parts), "not possible");
}

/// One of most kinds of nodes.
fn net() -> Vec<u8> {
    let weight = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Sym::new(Array::from_slice(&vec![0.5f32; n], Shape::new(shape).unwrap()).unwrap())
    };
    let (w1, w2, g) = (weight(&[2, 1, 3, 3]), weight(&[8, 4]), weight(&[4]));
    let model = |x: &Sym| -> Result<Sym> {
        let x = x.conv2d(&w1, None, 1, 1, 1, 1)?.relu()?.max_pool2d(2, (), 0, 1, false)?;
        let n = x.array().shape()[0];
        let x = x.reshape([n, 8])?.matmul(&w2)?.layer_norm(Some(&g), Some(&g), [4], 1e-5)?.gelu()?;
        let x = x.reshape([n, 1, 4])?.expand([n, 3, 4])?.slice(1, 0, 2, 1)?.permute([0, 2, 1])?;
        Sym::cat(&[&x, &x], 1)?.softmax(-1)?.mean([1, 2], false)
    };
    let spec = InputSpec::new("x", DType::F32, &[None, Some(1), Some(4), Some(4)]);
    let graph = capture(&[spec], |x| Ok(vec![model(&Sym::new(x[0].clone()))?.into_array()])).unwrap();
    export(&graph, &ExportOptions::default()).unwrap()
}

/// Any answer but a panic, and any error but of another kind.
fn survives(bytes: &[u8]) {
    match import(bytes) {
        Ok(graph) => graph.validate().expect("what is read holds together"),
        Err(e) => assert_eq!(e.kind().name(), "Format", "{e}"),
    }
}

#[test]
fn every_truncation() {
    let bytes = net();
    assert!(import(&bytes).is_ok());
    for n in 0..bytes.len() {
        survives(&bytes[..n]);
    }
}

/// A number that overflows somewhere, as a varint.
fn odd_number() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -3i64..20, Just(i64::MAX), Just(i64::MIN), Just(1 << 40), Just(1 << 62)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }

    #[test]
    fn flipped_bytes(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = net();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        survives(&bytes);
    }

    #[test]
    fn odd_attributes_and_sizes(
        op in prop::sample::select(vec![
            "Conv", "ConvTranspose", "MaxPool", "Slice", "Reshape", "Expand", "Squeeze", "Unsqueeze", "Concat", "Split",
            "Gather", "Softmax", "Flatten", "Transpose", "ReduceSum", "ArgMax", "CumSum", "Range", "ConstantOfShape",
            "MatMul", "Gemm", "Clip", "LayerNormalization", "BatchNormalization", "Shape", "ScatterND", "Where", "Cast",
            "Mod", "Div", "Pow", "GatherElements", "Max",
        ]),
        dims in proptest::collection::vec(prop_oneof![9 => 0i64..6, 1 => odd_number()], 0..6),
        dims2 in proptest::collection::vec(prop_oneof![9 => 0i64..6, 1 => odd_number()], 0..5),
        ints in proptest::collection::vec(proptest::collection::vec(odd_number(), 0..5), 4),
        attrs in proptest::collection::vec(proptest::collection::vec(odd_number(), 0..5), 9),
        single in proptest::collection::vec(odd_number(), 9),
        known in any::<bool>(),
    ) {
        let lists = ["kernel_shape", "strides", "pads", "dilations", "perm", "output_padding", "axes", "split", "starts"];
        let numbers = ["axis", "group", "keepdims", "to", "ceil_mode", "start", "end", "allowzero", "transA"];
        let mut given: Vec<Field> = Vec::new();
        for (name, values) in lists.iter().zip(&attrs).filter(|(_, v)| v.len() > 1) {
            given.push(attr_ints(name, values));
        }
        for (name, value) in numbers.iter().zip(&single).filter(|(_, v)| **v % 2 == 0) {
            given.push(message(5, &[text(1, name), int(3, *value), int(20, 2)]));
        }
        let mut graph = vec![input("x", 1, &dims), input("w", 1, &dims2), message(12, &[text(1, "y")])];
        let names = ["a", "b", "c", "d"];
        for (name, values) in names.iter().zip(&ints) {
            let data: Vec<u8> = values.iter().flat_map(|n| n.to_le_bytes()).collect();
            graph.push(initializer(name, 7, &[values.len() as i64], &data));
        }
        let inputs: Vec<&str> = if known { vec!["x", "a", "b", "c", "d"] } else { vec!["x", "w", "a", "b"] };
        let inputs = if matches!(op, "Range" | "ConstantOfShape") { &inputs[1..] } else { &inputs[..] };
        let inputs = if matches!(op, "MatMul" | "Gather" | "ArgMax" | "Div" | "Mod" | "Reshape") { &inputs[..2.min(inputs.len())] } else { inputs };
        graph.push(node(op, inputs, &["y"], &given));
        survives(&file(17, &graph));
    }
}
