//! Layers and losses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use esker_autograd::{Param, Tensor};
use esker_nn::{
    Dropout, Forward, LayerNorm, Linear, ModuleExt, ReLU, Sequential, accuracy, cross_entropy, init, mse_loss,
    sequential,
};
use esker_ops::Ops;

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-5, "{a} and {b}");
}

#[test]
fn sequential_names_children_and_places_errors() {
    let inner = sequential![ReLU, Linear::new(4, 2).unwrap()];
    let net = Sequential::new().push(Linear::new(3, 4).unwrap()).push_named("head", inner);
    let names: Vec<String> = net.named_parameters().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["0.weight", "0.bias", "head.1.weight", "head.1.bias"]);
    let wrong = sequential![Linear::new(3, 5).unwrap(), sequential![ReLU, Linear::new(4, 2).unwrap()]];
    let error = wrong.forward(&Tensor::zeros([1, 3]).unwrap()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "linear: the input [1, 5] must end in 4, the inputs of the weight [2, 4], which is [out, in] (in 1.1)"
    );
    let boxed: Box<dyn Forward> = Box::new(net);
    assert_eq!(boxed.num_parameters(), 3 * 4 + 4 + 4 * 2 + 2);
}

#[test]
fn tied_parameters_count_once() {
    let weight = Param::new(&init::normal([4, 4], 0.0, 1.0).unwrap()).unwrap();
    let net = sequential![Linear::of(weight.clone(), None), ReLU, Linear::of(weight, None)];
    assert_eq!(net.parameters().len(), 1);
    assert_eq!(net.named_parameters().len(), 2);
    assert_eq!(net.num_parameters(), 16);
}

#[test]
fn dropout_follows_the_mode_of_the_tree() {
    let net = sequential![sequential![Dropout::new(0.5)]];
    let x = Tensor::ones([1000]).unwrap();
    let dropped = net.forward(&x).unwrap().to_vec::<f32>().unwrap();
    assert!(dropped.iter().all(|&v| v == 0.0 || v == 2.0));
    let kept = dropped.iter().filter(|&&v| v == 2.0).count();
    assert!((400..600).contains(&kept), "{kept}");
    net.eval();
    assert_eq!(net.forward(&x).unwrap().to_vec::<f32>().unwrap(), vec![1.0; 1000]);
    net.train();
    assert!(net.forward(&x).unwrap().to_vec::<f32>().unwrap().contains(&0.0));
}

#[test]
fn layer_norm_takes_several_dimensions() {
    let norm = LayerNorm::new([3, 4]).unwrap();
    let x = Tensor::randn([5, 3, 4]).unwrap();
    let y = norm.forward(&x).unwrap();
    assert_eq!(y.shape()[..], [5, 3, 4]);
    let row: Vec<f32> = y.to_vec::<f32>().unwrap()[..12].to_vec();
    close(f64::from(row.iter().sum::<f32>()), 0.0);
    let variance = row.iter().map(|v| v * v).sum::<f32>() / 12.0;
    assert!((variance - 1.0).abs() < 1e-3, "{variance}");
    assert!(norm.forward(&Tensor::zeros([5, 4, 3]).unwrap()).err().unwrap().to_string().contains("[5, 4, 3]"));
}

#[test]
fn cross_entropy_counts_what_is_not_ignored() {
    // Rows (0, ln 3): probabilities 1/4 and 3/4.
    let l3 = 3f32.ln();
    let logits = Tensor::from_slice(&[0.0, l3, 0.0, l3, 0.0, l3], [3, 2]).unwrap();
    let target = Tensor::from_vec([0i64, 1, -100]).unwrap();
    let (a, b) = (4f64.ln(), (4f64 / 3.0).ln());
    close(cross_entropy(&logits, &target).unwrap().item().unwrap(), (a + b) / 2.0);
    let with = |reduction: &str, smoothing: f64| logits.cross_entropy(&target, None, -100, reduction, smoothing);
    close(with("sum", 0.0).unwrap().item().unwrap(), a + b);
    let each = with("none", 0.0).unwrap().to_f64_vec().unwrap();
    close(each[0], a);
    assert_eq!(each[2], 0.0);
    // Smoothed by 0.2: 0.8 of the loss plus 0.2 of the mean over the classes, (a + b) / 2 for each row.
    close(with("mean", 0.2).unwrap().item().unwrap(), 0.8 * (a + b) / 2.0 + 0.2 * (a + b) / 2.0);
    assert!(with("mean", 2.0).is_err());
    close(accuracy(&logits, &Tensor::from_vec([0i64, 1, 1]).unwrap()).unwrap(), 2.0 / 3.0);
}

#[test]
fn cross_entropy_over_places_is_that_over_rows() {
    let logits = Tensor::randn([2, 5, 3, 4]).unwrap();
    let target = Tensor::from_slice(&(0..24i64).map(|i| i % 5).collect::<Vec<_>>(), [2, 3, 4]).unwrap();
    let rows = logits.permute([0, 2, 3, 1]).unwrap().reshape([24, 5]).unwrap();
    let expected = cross_entropy(&rows, &target.reshape([24]).unwrap()).unwrap().item().unwrap();
    close(cross_entropy(&logits, &target).unwrap().item().unwrap(), expected);
    let wrong = Tensor::from_slice(&[0i64; 24], [2, 4, 3]).unwrap();
    assert!(cross_entropy(&logits, &wrong).is_err());
}

#[test]
fn mse_is_the_mean_of_squares() {
    let (a, b) = (Tensor::from_vec([1f32, 2.0]).unwrap(), Tensor::from_vec([3f32, -2.0]).unwrap());
    close(mse_loss(&a, &b).unwrap().item().unwrap(), 10.0);
}

#[test]
fn the_padding_of_an_embedding_gets_no_gradient() {
    let table = Param::new(&Tensor::randn([3, 2]).unwrap()).unwrap();
    let index = Tensor::from_vec([1i64, 2, 1]).unwrap();
    index.embedding(&table.tensor(), 1).unwrap().sum((), false).unwrap().backward().unwrap();
    assert_eq!(table.grad().unwrap().to_f64_vec().unwrap(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
}
