//! Tools on the tape: hooks, functions of the user's, checkpoints, the anomaly finder, reports.

use std::sync::{Arc, Mutex};

use esker::autograd::{
    Context, Function, GradCheck, apply, checkpoint, detect_anomaly, grad_with, gradcheck, unreached,
};
use esker::prelude::*;
use esker::tensor::site;
use esker::{GradOptions, grad, no_grad};

fn f64s(data: &[f64]) -> Tensor {
    Tensor::from_vec(data).unwrap()
}

fn total(x: &Tensor) -> Tensor {
    x.sum((), false).unwrap()
}

fn values(x: Option<Tensor>) -> Vec<f64> {
    x.unwrap().to_f64_vec().unwrap()
}

#[test]
fn hooks_see_complete_gradients_in_order_and_may_replace_them() {
    let x = f64s(&[1.0, 2.0]).tracked().unwrap();
    let y = x.square().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    y.register_hook(move |dy| {
        log.lock().unwrap().push(dy.to_f64_vec()?);
        dy.mul(&f64s(&[10.0, 10.0])).map(Some)
    })
    .unwrap();
    let log = Arc::clone(&seen);
    let second = y
        .register_hook(move |dy| {
            log.lock().unwrap().push(dy.to_f64_vec()?);
            Ok(None)
        })
        .unwrap();
    y.retain_grad().unwrap();
    // y is used twice; the hooks see the sum once.
    let loss = total(&y.add(&y).unwrap());
    let options = GradOptions { retain_graph: true, ..GradOptions::default() };
    let dx = grad_with(&[&loss], &[&x], options).unwrap().remove(0);
    assert_eq!(dx.to_f64_vec().unwrap(), [40.0, 80.0]);
    assert_eq!(*seen.lock().unwrap(), [vec![2.0, 2.0], vec![20.0, 20.0]]);
    assert_eq!(values(y.grad()), [20.0, 20.0]);
    second.remove();
    loss.backward().unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3, "the removed hook is silent");
    assert_eq!(values(x.grad()), [40.0, 80.0]);
    x.set_grad(None).unwrap();
    assert!(x.grad().is_none());
}

#[test]
fn hooks_say_what_is_wrong() {
    let x = f64s(&[1.0]).tracked().unwrap();
    x.register_hook(|_| Ok(Some(f64s(&[1.0, 2.0])))).unwrap();
    let error = total(&x).backward().unwrap_err().to_string();
    assert!(error.contains("a hook must return a gradient like the one it was given"), "{error}");
    assert!(f64s(&[1.0]).register_hook(|_| Ok(None)).is_err(), "no history");
    assert!(x.square().unwrap().set_grad(None).is_err(), "a computed tensor gathers nothing");
}

#[test]
fn a_parameter_can_be_stepped_as_soon_as_its_gradient_is_there() {
    let p = Param::new(&f64s(&[1.0, 2.0])).unwrap();
    p.register_hook(|g| g.mul(&f64s(&[0.5, 0.5])).map(Some));
    p.register_post_accumulate_grad_hook(|p| {
        let step = p.grad().ok_or_else(|| Error::autograd("no gradient"))?;
        p.set(&no_grad(|| p.tensor().sub(&step))?.detach())?;
        p.zero_grad();
        Ok(())
    });
    total(&p.tensor().square().unwrap()).backward().unwrap();
    assert!(p.grad().is_none());
    assert_eq!(p.tensor().to_f64_vec().unwrap(), [0.0, 0.0]);
}

/// `x^3` with `y` and `x` kept.
struct Cube;

impl Function for Cube {
    fn forward(&self, cx: &mut Context, x: &[Tensor]) -> Result<Vec<Tensor>> {
        let square = x[0].square()?;
        cx.save([&x[0]]);
        Ok(vec![square.mul(&x[0])?])
    }

    fn backward(&self, cx: &Context, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let x = &cx.saved()[0];
        let three = Tensor::full(3.0, x.shape(), x.dtype(), x.device())?;
        Ok(vec![dy[0].as_ref().map(|dy| dy.mul(&x.square()?.mul(&three)?)).transpose()?])
    }
}

/// `e^x` from its own output.
struct Exp;

impl Function for Exp {
    fn forward(&self, cx: &mut Context, x: &[Tensor]) -> Result<Vec<Tensor>> {
        let y = x[0].exp()?;
        cx.save([&y]);
        Ok(vec![y])
    }

    fn backward(&self, cx: &Context, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dy[0].as_ref().map(|dy| dy.mul(&cx.saved()[0])).transpose()?])
    }
}

#[test]
fn functions_of_the_users_differentiate_to_second_order() {
    let x = [f64s(&[0.5, -1.0, 2.0])];
    gradcheck(&|x| apply(Cube, &[&x[0]]), &x, GradCheck::default()).unwrap();
    gradcheck(&|x| apply(Exp, &[&x[0]]), &x, GradCheck::default()).unwrap();
    assert!(!apply(Cube, &[&x[0]]).unwrap()[0].requires_grad());
}

struct Wrong(usize);

impl Function for Wrong {
    fn forward(&self, _: &mut Context, x: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![x[0].add(&x[1])?])
    }

    fn backward(&self, _: &Context, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        match self.0 {
            0 => Ok(vec![None]),
            1 => Ok(vec![Some(f64s(&[1.0])), None]),
            _ => Err(Error::autograd("out of order")),
        }
    }
}

#[test]
fn functions_of_the_users_are_checked() {
    let cases = ["one gradient for each of its 2 inputs", "the gradient of input 0 must be [2]", "out of order"];
    for (which, sentence) in cases.into_iter().enumerate() {
        let x = f64s(&[1.0, 2.0]).tracked().unwrap();
        let y = total(&apply(Wrong(which), &[&x, &x]).unwrap()[0]);
        let error = y.backward().unwrap_err().to_string();
        assert!(
            error.contains("backward of Wrong") && error.contains("tools.rs") && error.contains(sentence),
            "{error}"
        );
    }
}

/// Two layers with dropout in between, whose parameters are used from within.
fn block(w: &Param, x: &[Tensor]) -> Result<Vec<Tensor>> {
    let hidden = x[0].matmul(&w.tensor())?.gelu()?.dropout(0.5, true, esker::tensor::philox::next_key())?;
    Ok(vec![hidden.matmul(&w.tensor())?.tanh()?])
}

#[test]
fn a_checkpoint_gives_the_same_bits() {
    let run = |checkpointed: bool| {
        esker::manual_seed(3);
        let w = Param::new(&Tensor::randn([8, 8]).unwrap()).unwrap();
        let x = Tensor::randn([4, 8]).unwrap().tracked().unwrap();
        let mut h = x.exp().unwrap();
        for _ in 0..3 {
            let inner = w.clone();
            let f = move |x: &[Tensor]| block(&inner, x);
            h = if checkpointed { checkpoint(f, &[&h]) } else { f(&[h.clone()]) }.unwrap().remove(0);
        }
        // The parameter is used outside, too.
        let loss = total(&h.matmul(&w.tensor()).unwrap().square().unwrap());
        let after = Tensor::rand([1]).unwrap().item().unwrap();
        loss.backward().unwrap();
        (values(w.grad()), values(x.grad()), loss.item().unwrap(), after)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn checkpoints_nest_and_differentiate_again() {
    let f = |x: &[Tensor]| checkpoint(|x| Ok(vec![x[0].sin()?.mul(&x[1])?]), &[&x[0].square()?, &x[1]]);
    let x = [f64s(&[0.3, 0.7]), f64s(&[-1.0, 2.0])];
    gradcheck(&|x| checkpoint(f, &[&x[0], &x[1]]), &x, GradCheck::default()).unwrap();
}

#[test]
fn a_checkpoint_is_spent_like_an_op() {
    let x = f64s(&[1.0]).tracked().unwrap();
    let y = total(&checkpoint(|x| Ok(vec![x[0].exp()?]), &[&x]).unwrap()[0]);
    y.backward().unwrap();
    let error = y.backward().unwrap_err().to_string();
    assert!(error.contains("already used by an earlier backward"), "{error}");
}

#[test]
fn the_anomaly_finder_names_op_line_and_ranges() {
    let finder = detect_anomaly();
    let x = f64s(&[4.0, 0.0]).tracked().unwrap();
    let fine = total(&x.sqrt().unwrap());
    let error = fine.backward().unwrap_err().to_string();
    assert!(error.contains("backward of sqrt") && error.contains("tools.rs"), "{error}");
    assert!(error.contains("1 of 2 elements of the gradient of input 0 is infinite"), "{error}");
    assert!(error.contains("input 0: float64 [2] from 0 to 4"), "{error}");
    let error = f64s(&[1.0, 3.0]).div(&f64s(&[1.0, 0.0])).unwrap_err().to_string();
    assert!(
        error.contains("div: 1 of 2 results is infinite") && error.contains("input 1: float64 [2] from 0 to 1"),
        "{error}"
    );
    // What is put in on purpose passes, and so does what it leads to.
    let masked = f64s(&[1.0, f64::NEG_INFINITY]).softmax(0).unwrap();
    assert_eq!(masked.to_f64_vec().unwrap(), [1.0, 0.0]);
    // A large sum overflows; that is no anomaly of the elements.
    assert!(Tensor::full(3e38, [4], DType::F32, Device::Cpu).unwrap().mul(&Tensor::ones([4]).unwrap()).is_ok());
    // A part of a function is put down to the line that called the function.
    let line = line!() + 1;
    let error = f64s(&[1.0]).cummean(0).unwrap().sub(&f64s(&[2.0])).unwrap().log().unwrap_err().to_string();
    assert!(error.contains(&format!("tools.rs:{line}")), "{error}");
    drop(finder);
    assert!(f64s(&[-1.0]).log().is_ok());
}

#[test]
fn parameters_that_backward_missed_are_listed() {
    let [a, b, frozen] = [1.0, 2.0, 3.0].map(|v| Param::new(&f64s(&[v])).unwrap());
    frozen.set_trainable(false);
    total(&a.tensor().mul(&b.tensor().detach()).unwrap()).backward().unwrap();
    let named: Vec<(String, Param)> =
        [("a", a), ("b", b), ("frozen", frozen)].map(|(name, p)| (name.to_string(), p)).to_vec();
    assert_eq!(unreached(&named), ["b"]);
}

#[test]
fn live_memory_is_reported_by_line() {
    site::track_memory(true);
    let line = line!() + 1;
    let kept: Vec<Tensor> = (0..3).map(|_| Tensor::ones([100]).unwrap().exp().unwrap()).collect();
    let here = |m: &&site::LiveMemory| m.location.is_some_and(|l| l.file().ends_with("tools.rs") && l.line() == line);
    let found = site::live_memory();
    let mine = found.iter().find(here).copied().unwrap();
    assert_eq!((mine.count, mine.bytes), (3, 1200));
    drop(kept);
    assert!(site::live_memory().iter().find(here).is_none());
    site::track_memory(false);
    assert!(site::live_memory().is_empty());
}

#[test]
fn gradients_reach_through_every_tool_at_once() {
    let x = f64s(&[0.5, 1.5]).tracked().unwrap();
    let y = checkpoint(|x| apply(Exp, &[&x[0]]), &[&x]).unwrap().remove(0);
    let dx = grad(&[&total(&y)], &[&x]).unwrap().remove(0);
    for (got, x) in dx.to_f64_vec().unwrap().iter().zip([0.5f64, 1.5]) {
        assert!((got - x.exp()).abs() < 1e-12);
    }
}
