//! The derived module, and the table of a model's layers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use esker_autograd::{Param, Tensor};
use esker_nn::{
    Buffer, Conv2d, Dropout, Flatten, Forward, Item, Linear, Mode, Module, ModuleExt, ReLU, Scope, Within, init,
    sequential, summary, summary_of,
};
use esker_ops::Ops;
use esker_tensor::{DType, Result};

#[test]
fn a_wrong_attribute_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

#[derive(Module)]
struct Everything<L> {
    scale: Param,
    shift: Option<Param>,
    none: Option<Param>,
    steps: Buffer,
    mode: Mode,
    layers: Vec<L>,
    pair: (Linear, Dropout),
    any: Box<dyn Forward>,
    maybe: Option<Linear>,
    #[module(rename = "out_proj")]
    output: Linear,
    #[module(skip)]
    teacher: Linear,
    heads: usize,
}

#[derive(Module)]
struct Tuple(Linear, f64);

fn linear(inputs: usize, outputs: usize) -> Linear {
    Linear::new(inputs, outputs).unwrap()
}

#[test]
fn every_kind_of_field_reports_itself() {
    let param = || Param::new(&init::constant([2], 1.0).unwrap()).unwrap();
    let all = Everything {
        scale: param(),
        shift: Some(param()),
        none: None,
        steps: Buffer::new(&Tensor::from_scalar(0i64).unwrap()),
        mode: Mode::new(),
        layers: vec![sequential![linear(2, 2)], sequential![ReLU]],
        pair: (Linear::without_bias(2, 2).unwrap(), Dropout::new(0.1)),
        any: Box::new(Linear::without_bias(2, 2).unwrap()),
        maybe: Some(Linear::without_bias(2, 2).unwrap()),
        output: Linear::without_bias(2, 2).unwrap(),
        teacher: linear(2, 2),
        heads: 2,
    };
    let (mut names, mut modes, mut modules) = (vec![], vec![], vec![]);
    all.each_part(&mut |path, part| match part {
        Item::Param(_) | Item::Buffer(_) => names.push(path.to_string()),
        Item::Mode(_) => modes.push(path.to_string()),
        Item::Module(m) => modules.push(format!("{path} {}", m.type_name())),
    });
    let expected = [
        "scale",
        "shift",
        "steps",
        "layers.0.0.weight",
        "layers.0.0.bias",
        "pair.0.weight",
        "any.weight",
        "maybe.weight",
        "out_proj.weight",
    ];
    assert_eq!(names, expected);
    assert_eq!(modes, ["", "pair.1"]);
    assert_eq!(modules[0], "layers.0 Sequential");
    assert!(modules.contains(&"any Linear".to_string()), "{modules:?}");
    assert_eq!(all.type_name(), "Everything");
    assert_eq!(all.teacher.num_parameters() + all.heads, 8);
    assert_eq!(Tuple(linear(1, 1), 0.5).named_parameters()[0].0, "0.weight");
    all.eval();
    assert!(!all.mode.is_training() && !all.pair.1.mode().is_training());
}

/// A module of two inputs, as a child.
#[derive(Module)]
struct Similarity {
    left: Linear,
    right: Linear,
    drop: Dropout,
}

impl Similarity {
    fn forward(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(self.compared(a, b))
    }

    fn compared(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let left = self.drop.forward(&self.left.forward_in("left", a)?)?;
        left.matmul(&self.right.forward_in("right", b)?.t()?)
    }
}

#[derive(Module)]
struct Twice {
    similar: Similarity,
    first: ReLU,
    second: ReLU,
}

impl Forward for Twice {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.similar.forward(x, x).within("similar")?;
        self.second.forward(&self.first.forward(&y)?)
    }
}

#[test]
fn errors_and_summaries_follow_modules_of_several_inputs() {
    let net = Twice {
        similar: Similarity { left: linear(3, 4), right: linear(3, 4), drop: Dropout::new(0.5) },
        first: ReLU,
        second: ReLU,
    };
    let error = net.forward(&Tensor::zeros([2, 5]).unwrap()).err().unwrap().to_string();
    assert!(error.ends_with("(in similar.left)"), "{error}");
    let table = summary(&net, &Tensor::meta_like(DType::F32, [5, 3]).unwrap()).unwrap();
    let rows: Vec<_> = table.layers.iter().map(|l| (l.path.as_str(), l.outputs.len(), l.multiply_adds)).collect();
    let expected = [
        ("", 1, 0),
        ("similar", 1, 5 * 5 * 4),
        ("similar.left", 1, 5 * 3 * 4),
        ("similar.right", 1, 5 * 3 * 4),
        ("similar.drop", 1, 0),
        ("first", 1, 0),
        ("second", 1, 0),
    ];
    assert_eq!(rows, expected);
    assert!(net.similar.drop.mode().is_training(), "the mode is as it was");
    let (a, b) = (Tensor::zeros([2, 3]).unwrap(), Tensor::zeros([7, 3]).unwrap());
    let table = summary_of(&net.similar, || net.similar.forward(&a, &b)).unwrap();
    assert_eq!(table.layers[0].outputs[0][..], [2, 7]);
}

#[test]
fn a_summary_counts_products_tied_weights_and_frozen_ones() {
    let conv = Conv2d::grouped(4, 8, 3, 2).unwrap().padding(1);
    let head = linear(8 * 6 * 6, 2);
    head.set_trainable(false);
    let tied = Param::new(&init::constant([2, 2], 1.0).unwrap()).unwrap();
    let net = sequential![conv, Flatten::new(), head, Linear::of(tied.clone(), None), Linear::of(tied, None)];
    let table = summary(&net, &Tensor::meta_like(DType::F32, [3, 4, 6, 6]).unwrap()).unwrap();
    // Each of 8 x 6 x 6 results is a sum over 2 channels and 9 taps.
    assert_eq!(table.layers[1].multiply_adds, 3 * 8 * 36 * 2 * 9);
    assert_eq!(table.layers[1].outputs[0][..], [3, 8, 6, 6]);
    let parameters = (8 * 2 * 9 + 8) + (8 * 36 * 2 + 2) + 4;
    assert_eq!((table.parameters, table.bytes), (parameters, parameters * 4));
    assert_eq!(table.trainable, 8 * 2 * 9 + 8 + 4);
    assert!(
        table.to_string().lines().last().unwrap().starts_with("Total: 734 parameters (156 trainable), 2,936 bytes")
    );
}

#[test]
fn a_module_changes_its_element_type_and_keeps_its_counters() {
    let all = Counted {
        fc: linear(2, 3),
        mean: Buffer::new(&init::constant([3], 0.5).unwrap()),
        seen: Buffer::new(&Tensor::from_scalar(7i64).unwrap()),
    };
    let (weight, version) = (all.fc.weight.tensor().to_f64_vec().unwrap(), all.fc.weight.version());
    all.fc.weight.set_grad(all.fc.weight.tensor().detach()).unwrap();
    all.to_dtype(DType::F64).unwrap();
    let dtypes: Vec<DType> = all.state_dict().values().map(Tensor::dtype).collect();
    assert_eq!(dtypes, [DType::F64, DType::F64, DType::F64, DType::I64]);
    assert_eq!(all.fc.weight.tensor().to_f64_vec().unwrap(), weight);
    assert!(all.fc.weight.version() > version && all.fc.weight.grad().is_none(), "what is derived from it is stale");
    let error = all.to_dtype(DType::I32).unwrap_err().to_string();
    assert!(error.contains("floating-point, not int32"), "{error}");
}

#[derive(Module)]
struct Counted {
    fc: Linear,
    mean: Buffer,
    seen: Buffer,
}
