//! Capture and execution.
#![allow(clippy::unwrap_used, clippy::panic)]

use esker_graph::{Dim, Executor, Graph, InputSpec, Sym, capture, is_recording};
use esker_ops::{Array, Ops, Value};
use esker_tensor::philox::{Key, next_key};
use esker_tensor::{DType, Device, Result, Shape};

fn filled(shape: &[usize]) -> Array {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 20.0).collect();
    Array::from_slice(&values, Shape::new(shape).unwrap()).unwrap()
}

fn batch_by_four() -> InputSpec {
    InputSpec::new("x", DType::F32, &[None, Some(4)])
}

fn captured(model: impl Fn(&Sym) -> Result<Sym>) -> Result<Graph> {
    capture(&[batch_by_four()], |x| Ok(vec![model(&Sym::new(x[0].clone()))?.into_array()]))
}

/// The model gives the same bits captured and eager, for several batches.
fn agrees(model: impl Fn(&Sym) -> Result<Sym>) -> Graph {
    esker_cpu::register();
    let graph = captured(&model).unwrap();
    let executor = Executor::new(graph.clone()).unwrap();
    for n in [1, 2, 7, 2] {
        let x = filled(&[n, 4]);
        let eager = model(&Sym::new(x.clone())).unwrap().into_array();
        let run = &executor.run(&[x]).unwrap()[0];
        assert_eq!(run.shape(), eager.shape());
        assert_eq!(run.to_vec::<f32>().unwrap(), eager.to_vec::<f32>().unwrap());
    }
    graph
}

fn refused(model: impl Fn(&Sym) -> Result<Sym>) -> String {
    let e = captured(model).unwrap_err();
    assert_eq!(e.kind().name(), "Capture", "{e}");
    e.to_string()
}

#[test]
fn sizes_follow_the_batch() {
    let graph = agrees(|x| {
        let n = x.array().shape()[0];
        let twice = Sym::cat(&[x, x], 0)?;
        twice.slice(0, 1, 2 * n as i64 - 1, 1)?.reshape([(2 * n - 2) * 2, 2])?.relu()
    });
    let out = graph.outputs[0].id;
    assert_eq!(graph.values[out.index()].dims, [Dim { fixed: -4, per: 4 }, Dim::fixed(2)]);
    let text = graph.to_string();
    assert!(text.contains("float32[2*N, 4] = cat(x, x)"), "{text}");
    assert!(text.contains("with sizes [4*N - 4, 2]"), "{text}");
}

#[test]
fn constants_are_found_named_and_shared() {
    let w = Sym::new(filled(&[4, 3]));
    let model = |x: &Sym| x.matmul(&w)?.matmul(&w.permute([1, 0])?)?.mul(&Sym::scalar(2.0, DType::F32, Device::Cpu)?);
    let mut graph = agrees(|x| model(x)?.add(&Sym::scalar(2.0, DType::F32, Device::Cpu)?));
    assert_eq!(graph.consts.len(), 3, "the two scalars are one:\n{graph}");
    graph.name_consts([("fc.weight", w.array())]);
    let names: Vec<String> = graph.consts.iter().map(|c| graph.label(c.id)).collect();
    assert_eq!(names, ["fc.weight", "fc.weight.view", "const_2"]);
    graph.validate().unwrap();
}

#[test]
fn what_only_constants_make_is_folded_and_dead_code_goes() {
    let w = Sym::new(filled(&[4]));
    let graph = agrees(|x| {
        let _unused = x.exp()?;
        let (values, _index) = x.max(1, true)?;
        values.mul(&w.exp()?.sum((), false)?)
    });
    assert_eq!(graph.nodes.iter().map(|n| n.op.name()).collect::<Vec<_>>(), ["max", "mul"]);
}

#[test]
fn filled_tensors_of_the_batch_are_made_in_the_graph() {
    let graph = agrees(|x| {
        let n = x.array().shape()[0];
        Sym::full(0.5, [n, 4], DType::F32, Device::Cpu)?.add(x)
    });
    assert_eq!(graph.nodes[0].op.name(), "full");
    agrees(|x| Sym::full(0.5, x.array().shape(), DType::F32, x.array().device())?.add(x));
}

#[test]
fn inputs_and_constants_may_be_results() {
    esker_cpu::register();
    let c = filled(&[2]);
    let graph = capture(&[batch_by_four()], |x| Ok(vec![x[0].clone(), c.clone(), x[0].clone()])).unwrap();
    let results = Executor::new(graph).unwrap().run(&[filled(&[3, 4])]).unwrap();
    assert_eq!(results.iter().map(|y| y.shape()[0]).collect::<Vec<_>>(), [3, 2, 3]);
}

#[test]
fn what_depends_on_the_batch_otherwise_is_refused() {
    let n = |x: &Sym| x.array().shape()[0];
    let text = refused(|x| if n(x) > 1500 { x.relu() } else { x.exp() });
    assert!(text.contains("op 0 is exp for a batch of 1009 and relu for 2003"), "{text}");
    let text = refused(|x| x.mul(&Sym::scalar(1.0 / n(x) as f64, DType::F32, Device::Cpu)?));
    assert!(text.contains("constant") && text.contains("mul"), "{text}");
    let text = refused(|x| x.matmul(&x.permute([1, 0])?)?.reshape([n(x) * n(x)]));
    assert!(text.contains("not of the form fixed + per * N"), "{text}");
    let text = refused(|x| x.dropout(0.5, true, next_key()));
    assert!(text.contains("dropout") && text.contains("eval()"), "{text}");
    let text = refused(|x| if n(x) > 1500 { x.add(x)?.mul(x) } else { x.add(x)?.mul(&x.add(x)?) });
    assert!(text.contains("structure"), "{text}");
}

#[test]
fn reading_values_is_refused_and_the_recorder_comes_down() {
    let text = refused(|x| {
        assert!(is_recording());
        x.array().to_f64_vec().map(|_| x.clone())
    });
    assert!(text.contains("meta tensor"), "{text}");
    assert!(!is_recording());
    let stray = Sym::full(0.0, [4], DType::F32, Device::Meta).unwrap();
    let text = refused(|x| x.add(&stray));
    assert!(text.contains("does not come from the inputs"), "{text}");
    let text = captured(|x| x.reshape([3])).unwrap_err().to_string();
    assert_eq!(text, "for a batch of 1009: reshape: [1009, 4] has 4036 elements, which do not fit [3]");
    let panicked = std::panic::catch_unwind(|| captured(|_| std::panic::panic_any(1)));
    assert!(panicked.is_err() && !is_recording());
}

#[test]
fn a_fixed_model_may_draw_numbers() {
    esker_cpu::register();
    let spec = InputSpec::new("x", DType::F32, &[Some(8)]);
    let graph =
        capture(&[spec], |x| Ok(vec![Sym::new(x[0].clone()).dropout(0.5, true, Key(3))?.into_array()])).unwrap();
    let run = Executor::new(graph).unwrap().run(&[filled(&[8])]).unwrap();
    let eager = filled(&[8]).dropout(0.5, true, Key(3)).unwrap();
    assert_eq!(run[0].to_vec::<f32>().unwrap(), eager.to_vec::<f32>().unwrap());
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    esker_cpu::register();
    let specs = [batch_by_four(), InputSpec::new("y", DType::F32, &[None])];
    let graph = capture(&specs, |x| {
        let (x, y) = (Sym::new(x[0].clone()), Sym::new(x[1].clone()));
        Ok(vec![x.sum(1, false)?.add(&y)?.into_array()])
    });
    let executor = Executor::new(graph.unwrap()).unwrap();
    let say = |inputs: &[Array]| executor.run(inputs).unwrap_err().to_string();
    assert_eq!(say(&[filled(&[2, 4])]), "1 inputs were given, 2 are needed: x, y");
    let wide = say(&[filled(&[2, 5]), filled(&[2])]);
    assert_eq!(wide, "input `x` is float32[2, 5], needed is float32[N, 4]");
    let uneven = say(&[filled(&[2, 4]), filled(&[3])]);
    assert_eq!(uneven, "input `y` is float32[3], needed is float32[N] with N = 2 as in `x`");
    let ints = Array::from_slice(&[1i64, 2], Shape::from([2])).unwrap();
    assert_eq!(say(&[filled(&[2, 4]), ints]), "input `y` is int64[2], needed is float32[N]");
}

#[test]
fn malformed_graphs_are_refused() {
    let graph = captured(|x| x.relu()?.exp()).unwrap();
    let broken = |change: &dyn Fn(&mut Graph)| {
        let mut graph = graph.clone();
        change(&mut graph);
        graph.validate().unwrap_err().to_string()
    };
    assert!(broken(&|g| g.nodes.reverse()).contains("before it is defined"));
    assert!(broken(&|g| g.nodes[1].outputs = g.nodes[0].outputs.clone()).contains("defined twice"));
    assert!(broken(&|g| g.nodes[0].inputs[0].0 = 99).contains("before it is defined"));
    assert!(broken(&|g| g.outputs[0].id.0 = 99).contains("no value"));
    assert!(broken(&|g| g.values[0].dims[1] = Dim::fixed(5)).contains("listed as"));
    assert!(broken(&|g| g.values[0].name = None).contains("needs a name"));
    assert!(broken(&|g| g.nodes.truncate(1)).contains("never defined"));
}

#[test]
fn only_weights_that_nothing_else_reads_are_turned() {
    let (own, tied) = (filled(&[6, 4]), filled(&[5, 6]));
    let graph = agrees(|x| {
        let tied = Sym::new(tied.clone());
        x.linear(&Sym::new(own.clone()), None)?.linear(&tied, None)?.matmul(&tied)
    });
    let executor = Executor::new(graph).unwrap();
    let order = |shape: &[usize]| {
        let consts = &executor.graph().consts;
        let constant = consts.iter().find(|c| c.array.shape()[..] == *shape).unwrap();
        constant.array.layout().strides().to_vec()
    };
    assert_eq!(order(&[6, 4]), [1, 6]);
    assert_eq!(order(&[5, 6]), [6, 1]);
}
