//! What the tape promises: depth, release, order, spent graphs, second order.

use esker::prelude::*;
use esker::{GradOptions, grad, grad_with, no_grad};

fn f64s(data: &[f64]) -> Tensor {
    Tensor::from_vec(data).unwrap()
}

#[test]
fn a_long_chain_differentiates_and_drops_without_recursion() {
    // On a thread with a small stack, so that recursion of any depth would overflow it.
    let work = || {
        let p = Param::new(&f64s(&[1.0])).unwrap();
        let mut x = p.tensor();
        for _ in 0..300_000 {
            x = x.add(&f64s(&[0.0])).unwrap();
        }
        x.sum((), false).unwrap().backward().unwrap();
        assert_eq!(p.grad().unwrap().to_f64_vec().unwrap(), [1.0]);
        let mut y = p.tensor();
        for _ in 0..300_000 {
            y = y.neg().unwrap();
        }
        drop(y);
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn the_second_derivative_of_gelu_needs_no_rule() {
    // gelu''(x) = phi(x) (2 - x^2), with phi the normal density.
    let points = [-2.5, -1.0, -0.1, 0.0, 0.3, 1.0, 2.0];
    let x = f64s(&points).tracked().unwrap();
    let y = x.gelu().unwrap().sum((), false).unwrap();
    let options = GradOptions { retain_graph: true, create_graph: true };
    let first = grad_with(&[&y], &[&x], options).unwrap().remove(0);
    let second = grad_with(&[&first.sum((), false).unwrap()], &[&x], options).unwrap().remove(0);
    let third = grad(&[&second.sum((), false).unwrap()], &[&x]).unwrap().remove(0);
    for (i, &x) in points.iter().enumerate() {
        let phi = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let (d2, d3) = (phi * (2.0 - x * x), phi * (x * x * x - 4.0 * x));
        assert!((second.to_f64_vec().unwrap()[i] - d2).abs() < 1e-14, "gelu''({x})");
        assert!((third.to_f64_vec().unwrap()[i] - d3).abs() < 1e-13, "gelu'''({x})");
    }
}

#[test]
fn a_spent_graph_says_so() {
    let p = Param::new(&f64s(&[2.0, 3.0])).unwrap();
    let y = p.tensor().square().unwrap().sum((), false).unwrap();
    y.backward().unwrap();
    let error = y.backward().unwrap_err();
    assert!(error.to_string().contains("already used by an earlier backward"), "{error}");
    assert!(error.to_string().contains("tape.rs"), "the user's line is named: {error}");
    assert_eq!(p.grad().unwrap().to_f64_vec().unwrap(), [4.0, 6.0]);
}

#[test]
fn gradients_gather_over_calls_and_paths() {
    let p = Param::new(&f64s(&[2.0])).unwrap();
    let x = p.tensor();
    let y = x.mul(&x).unwrap().add(&x).unwrap().add(&x).unwrap();
    y.sum((), false).unwrap().backward().unwrap();
    assert_eq!(p.grad().unwrap().to_f64_vec().unwrap(), [6.0]);
    p.tensor().sum((), false).unwrap().backward().unwrap();
    assert_eq!(p.grad().unwrap().to_f64_vec().unwrap(), [7.0]);
    p.zero_grad();
    assert!(p.grad().is_none());
}

#[test]
fn a_parameter_may_change_between_forward_and_backward() {
    let p = Param::new(&f64s(&[3.0])).unwrap();
    let y = p.tensor().square().unwrap().sum((), false).unwrap();
    p.set(&f64s(&[100.0])).unwrap();
    y.backward().unwrap();
    assert_eq!(p.grad().unwrap().to_f64_vec().unwrap(), [6.0], "backward uses the value that forward saw");
    assert_eq!(p.version(), 1);
}

#[test]
fn no_history_without_a_parameter_or_under_no_grad() {
    let x = f64s(&[1.0]);
    assert!(x.exp().unwrap().backward().unwrap_err().to_string().contains("no history"));
    let p = Param::new(&x).unwrap();
    assert!(!no_grad(|| p.tensor().exp().unwrap()).requires_grad());
    assert!(p.tensor().exp().unwrap().requires_grad());
    assert!(!p.tensor().exp().unwrap().detach().requires_grad());
    p.set_trainable(false);
    assert!(!p.tensor().exp().unwrap().requires_grad());
}

#[test]
fn backward_needs_a_scalar_or_a_gradient() {
    let p = Param::new(&f64s(&[1.0, 2.0])).unwrap();
    let y = p.tensor().square().unwrap();
    assert!(y.backward().unwrap_err().to_string().contains("starts from a scalar"));
    y.backward_with(&f64s(&[1.0, 10.0])).unwrap();
    assert_eq!(p.grad().unwrap().to_f64_vec().unwrap(), [2.0, 40.0]);
    assert!(y.backward_with(&f64s(&[1.0])).is_err());
}

#[test]
fn only_float_tensors_have_gradients() {
    let ints = Tensor::from_vec([1i64, 2]).unwrap();
    assert!(ints.tracked().is_err());
    assert!(Param::new(&ints).is_err());
    let p = Param::new(&f64s(&[1.0, 2.0])).unwrap();
    assert!(!p.tensor().argmax(0, false).unwrap().requires_grad());
    assert!(!p.tensor().cast(DType::I64).unwrap().requires_grad());
}

#[test]
fn grad_leaves_parameters_alone() {
    let p = Param::new(&f64s(&[3.0])).unwrap();
    let x = p.tensor();
    let y = x.mul(&x).unwrap();
    let z = y.exp().unwrap();
    let by_middle = grad(&[&z], &[&y]).unwrap().remove(0);
    assert!((by_middle.item().unwrap() - 9f64.exp()).abs() < 1e-9 * 9f64.exp());
    assert!(p.grad().is_none());
    let unrelated = f64s(&[1.0]).tracked().unwrap();
    let w = x.exp().unwrap();
    assert!(grad(&[&w], &[&unrelated]).unwrap_err().to_string().contains("does not take part"));
}

#[test]
fn threads_may_share_parameters_and_run_backward_at_once() {
    let p = Param::new(&f64s(&[2.0])).unwrap();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..200 {
                    p.tensor().square().unwrap().sum((), false).unwrap().backward().unwrap();
                }
            });
        }
    });
    assert_eq!(p.grad().unwrap().to_f64_vec().unwrap(), [3200.0]);
}
