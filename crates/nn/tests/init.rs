//! Initialisers: ranges, moments and structures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use esker_autograd::Tensor;
use esker_nn::init::{self, Fan, Nonlinearity};
use esker_nn::{Conv2d, Linear, ModuleExt};
use esker_ops::Ops;
use esker_tensor::philox::manual_seed;

fn list(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

fn largest(x: &Tensor) -> f64 {
    list(x).iter().fold(0.0, |m, v| f64::max(m, f64::from(v.abs())))
}

fn moments(x: &Tensor) -> (f64, f64) {
    let (variance, mean) = x.var_mean((), 0.0, false).unwrap();
    (mean.item().unwrap(), variance.item().unwrap())
}

#[test]
fn layers_start_in_pytorchs_ranges() {
    manual_seed(0);
    for p in Linear::new(100, 400).unwrap().parameters() {
        let largest = largest(&p.tensor());
        assert!(largest <= 0.1 && largest > 0.095, "{largest}");
    }
    let conv = Conv2d::grouped(4, 8, (3, 5), 2).unwrap();
    assert_eq!(conv.weight.shape()[..], [8, 2, 3, 5]);
    assert!(largest(&conv.weight.tensor()) <= 1.0 / 30f64.sqrt());
    assert!(Conv2d::grouped(4, 8, 3, 3).err().unwrap().to_string().contains("3 groups do not divide"));
}

#[test]
fn kaiming_and_xavier_keep_variances() {
    manual_seed(1);
    let cases = [
        (Nonlinearity::Linear, 1.0),
        (Nonlinearity::ReLU, 2.0),
        (Nonlinearity::Tanh, 25.0 / 9.0),
        (Nonlinearity::LeakyReLU(0.5), 1.6),
        (Nonlinearity::SELU, 0.5625),
        (Nonlinearity::Sigmoid, 1.0),
    ];
    for (nonlinearity, square) in cases {
        for (fan, size) in [(Fan::In, 50.0), (Fan::Out, 200.0)] {
            let (mean, variance) = moments(&init::kaiming_normal([200, 50], fan, nonlinearity).unwrap());
            assert!(mean.abs() < 0.01 && (variance * size / square - 1.0).abs() < 0.05, "{nonlinearity:?}: {variance}");
            let uniform = init::kaiming_uniform([200, 50], fan, nonlinearity).unwrap();
            let bound = (3.0 * square / size).sqrt();
            assert!(largest(&uniform) <= bound * 1.000001 && largest(&uniform) > bound * 0.99);
        }
    }
    // Windows count: fan-in 20 * 9, fan-out 30 * 9.
    let bound = (6f64 / (50.0 * 9.0)).sqrt() * 2.0;
    let xavier = init::xavier_uniform([30, 20, 3, 3], 2.0).unwrap();
    assert!(largest(&xavier) <= bound * 1.000001 && largest(&xavier) > bound * 0.99);
    let (_, variance) = moments(&init::xavier_normal([300, 200], 2.0).unwrap());
    assert!((variance - 4.0 * 2.0 / 500.0).abs() < 4e-4, "{variance}");
    assert!(init::xavier_normal([3], 1.0).unwrap_err().to_string().contains("two dimensions or more"));
}

#[test]
fn trunc_normal_stays_within_and_keeps_its_shape() {
    manual_seed(2);
    let x = init::trunc_normal([20000], 0.0, 1.0, -1.0, 2.0).unwrap();
    assert!(list(&x).iter().all(|v| (-1.0..=2.0).contains(v)));
    // Mean (phi(-1) - phi(2)) / (Phi(2) - Phi(-1)) of a truncated normal, from the tables of both.
    let (mean, _) = moments(&x);
    assert!((mean - (0.241971 - 0.053991) / (0.977250 - 0.158655)).abs() < 0.02, "{mean}");
    let tail = list(&init::trunc_normal([100], 0.0, 0.02, 0.1, 0.12).unwrap());
    assert!(tail.iter().all(|v| (0.1..=0.12).contains(v)));
    assert!(init::trunc_normal([1], 0.0, 1.0, 2.0, 1.0).is_err());
}

#[test]
fn eye_and_dirac_pass_channels_on() {
    assert_eq!(list(&init::eye([2, 3]).unwrap()), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert!(init::eye([2]).is_err());
    let x = Tensor::randn([1, 3, 4, 5]).unwrap();
    let conv = Conv2d::new(3, 3, 3).unwrap().padding(1).without_bias();
    conv.weight.set(&init::dirac([3, 3, 3, 3], 1).unwrap()).unwrap();
    assert_eq!(list(&esker_nn::Forward::forward(&conv, &x).unwrap()), list(&x));
    // Two groups: outputs 0 and 1 are inputs 0 and 1 of the first group, 2 and 3 those of the second.
    let grouped = list(&init::dirac([4, 2, 1], 2).unwrap());
    assert_eq!(grouped, [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    assert!(init::dirac([4, 2, 1], 3).is_err() && init::dirac([4, 2], 1).is_err());
}

#[test]
fn orthogonal_rows_or_columns_stand_at_right_angles() {
    manual_seed(3);
    for shape in [&[5usize, 8][..], &[8, 5], &[6, 2, 3], &[1, 1], &[4, 4]] {
        let x = init::orthogonal(shape, 2.0).unwrap().flatten(1, -1).unwrap();
        let (rows, columns) = (x.size(0).unwrap(), x.size(1).unwrap());
        let gram = if rows <= columns { x.matmul(&x.t().unwrap()) } else { x.t().unwrap().matmul(&x) }.unwrap();
        let n = rows.min(columns);
        let expected = init::eye([n, n]).unwrap();
        for (g, e) in list(&gram).iter().zip(list(&expected)) {
            assert!((g - 4.0 * e).abs() < 1e-5, "{shape:?}: {g}");
        }
    }
    assert!(init::orthogonal([3], 1.0).is_err());
}

#[test]
fn sparse_columns_have_their_share_of_zeros() {
    manual_seed(4);
    let x = init::sparse([10, 30], 0.25, 0.01).unwrap();
    let zeros = x.eq(&Tensor::from_scalar(0f32).unwrap()).unwrap().sum(0, false).unwrap().to_vec::<i64>().unwrap();
    assert_eq!(zeros, [3; 30]);
    assert!(largest(&x) < 0.06);
    assert!(init::sparse([3, 3], 1.5, 1.0).is_err() && init::sparse([3], 0.5, 1.0).is_err());
    assert_eq!(list(&init::ones([2]).unwrap()), [1.0, 1.0]);
    assert_eq!(list(&init::zeros([2]).unwrap()), [0.0, 0.0]);
}
