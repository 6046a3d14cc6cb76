//! Optimisers against PyTorch's formulas.
//!
//! The expected numbers follow from the pseudo code in the documentation of `torch.optim.SGD` and `torch.optim.AdamW`,
//! worked out in Python floats for the parameter (1, -2, 0.5) and the gradients k (0.1, -0.2, 0.3) with k = 1, -2, 3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use esker_autograd::{Param, Tensor};
use esker_nn::optim::{AdamW, Optimizer, ParamGroup, Sgd, clip_grad_norm, cosine, one_cycle};

fn param() -> Param {
    Param::new(&Tensor::from_vec([1.0f64, -2.0, 0.5]).unwrap()).unwrap()
}

fn give(param: &Param, k: f64) {
    param.set_grad(Tensor::from_vec([0.1 * k, -0.2 * k, 0.3 * k]).unwrap()).unwrap();
}

fn close(param: &Param, expected: [f64; 3]) {
    let given = param.tensor().to_vec::<f64>().unwrap();
    for (g, e) in given.iter().zip(expected) {
        assert!((g - e).abs() < 1e-13, "{given:?} for {expected:?}");
    }
}

fn three_steps(optimizer: &mut dyn Optimizer, param: &Param) {
    for k in [1.0, -2.0, 3.0] {
        give(param, k);
        optimizer.step().unwrap();
    }
}

#[test]
fn sgd_follows_pytorch() {
    type Set = fn(Sgd) -> Sgd;
    let cases: [(Set, [f64; 3]); 4] = [
        (|s| s, [0.98, -1.96, 0.44]),
        (|s| s.momentum(0.9), [0.9809, -1.9618, 0.4427]),
        (|s| s.momentum(0.9).dampening(0.5).weight_decay(0.01), [0.97275614725, -1.9455122945, 0.428663067375]),
        (|s| s.momentum(0.9).weight_decay(0.01).nesterov(), [0.954805612551, -1.909611225102, 0.3845045848005]),
    ];
    for (set, expected) in cases {
        let p = param();
        three_steps(&mut set(Sgd::new(vec![p.clone()], 0.1)), &p);
        close(&p, expected);
    }
}

#[test]
fn adamw_follows_pytorch() {
    let p = param();
    three_steps(&mut AdamW::new(vec![p.clone()], 0.01), &p);
    close(&p, [0.98993028919007, -1.989630318725492, 0.490080273572465]);
    let p = param();
    three_steps(&mut AdamW::new(vec![p.clone()], 0.1).betas(0.8, 0.9).eps(1e-3).weight_decay(0.1), &p);
    close(&p, [0.876686796572064, -1.846545872354289, 0.390949753018918]);
}

#[test]
fn a_tied_parameter_moves_once_and_groups_have_their_own_rates() {
    let (a, b) = (param(), param());
    let groups =
        vec![ParamGroup::new(vec![a.clone(), a.clone()], 0.1), ParamGroup::new(vec![b.clone(), a.clone()], 1.0)];
    let mut sgd = Sgd::with_groups(groups);
    give(&a, 1.0);
    give(&b, 1.0);
    sgd.step().unwrap();
    close(&a, [0.99, -1.98, 0.47]);
    close(&b, [0.9, -1.8, 0.2]);
    sgd.zero_grad();
    assert!(a.grad().is_none());
    sgd.step().unwrap();
    close(&a, [0.99, -1.98, 0.47]);
    a.set_trainable(false);
    give(&a, 1.0);
    sgd.step().unwrap();
    close(&a, [0.99, -1.98, 0.47]);
}

#[test]
fn what_an_optimiser_remembers_can_be_taken_over() {
    type Make = fn(&Param) -> Box<dyn Optimizer>;
    let makers: [Make; 2] =
        [|p| Box::new(AdamW::new(vec![p.clone()], 0.01)), |p| Box::new(Sgd::new(vec![p.clone()], 0.01).momentum(0.9))];
    for make in makers {
        let (a, b) = (param(), param());
        let mut first = make(&a);
        three_steps(&mut *first, &a);
        b.set(&a.tensor()).unwrap();
        let state = first.state_dict().unwrap();
        let mut second = make(&b);
        second.load_state_dict(&state).unwrap();
        three_steps(&mut *first, &a);
        three_steps(&mut *second, &b);
        assert_eq!(a.tensor().to_vec::<f64>().unwrap(), b.tensor().to_vec::<f64>().unwrap());

        let mut odd = state.clone();
        odd.insert("0.nothing".to_string(), Tensor::from_scalar(1.0).unwrap());
        assert!(second.load_state_dict(&odd).unwrap_err().to_string().contains("0.nothing is unknown"));
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let p = param();
    give(&p, 1.0);
    let sentence = |mut o: Box<dyn Optimizer>| o.step().unwrap_err().to_string();
    assert_eq!(
        sentence(Box::new(Sgd::new(vec![p.clone()], -0.1))),
        "Sgd: the learning rate is -0.1, needed is a number from 0 on"
    );
    assert!(sentence(Box::new(Sgd::new(vec![p.clone()], 0.1).nesterov())).starts_with("Sgd: Nesterov needs momentum"));
    assert!(sentence(Box::new(AdamW::new(vec![p.clone()], 0.1).betas(1.0, 0.9))).starts_with("AdamW: beta 1 is 1"));
    close(&p, [1.0, -2.0, 0.5]);
}

#[test]
fn clipping_scales_to_the_joint_norm() {
    let (a, b) = (param(), param());
    for p in [&a, &b] {
        p.set_grad(Tensor::from_vec([3.0f64, 0.0, 4.0]).unwrap()).unwrap();
    }
    let params = [a.clone(), b];
    assert!((clip_grad_norm(&params, 1.0).unwrap() - 50f64.sqrt()).abs() < 1e-12);
    assert!((clip_grad_norm(&params, 10.0).unwrap() - 1.0).abs() < 1e-6);
    let clipped = a.grad().unwrap().to_vec::<f64>().unwrap();
    assert!((clipped[0] - 3.0 / 50f64.sqrt()).abs() < 1e-6);
}

#[test]
fn schedules_start_peak_and_end_where_they_should() {
    assert_eq!(cosine(0.0, 1.0, 0.1), 1.0);
    assert!((cosine(1.0, 1.0, 0.1) - 0.1).abs() < 1e-12);
    assert!((one_cycle(0.0, 1.0, 0.3) - 0.04).abs() < 1e-12);
    assert!((one_cycle(0.3, 1.0, 0.3) - 1.0).abs() < 1e-12);
    assert!((one_cycle(1.0, 1.0, 0.3) - 4e-6).abs() < 1e-12);
}
