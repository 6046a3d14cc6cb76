//! In-place arithmetic on arrays, for the rules.

use std::borrow::Cow;

use esker_autograd::{Param, Tensor};
use esker_ops::{Array, Kernel, Map, MapOp, Ops, Random, Update, Value, backend};
use esker_tensor::{Layout, Result};

/// The whole step in one pass, where the backend can; says whether it did.
pub(super) fn in_one_pass(update: Update, p: &mut Array, grad: &Array, states: &mut [&mut Array]) -> Result<bool> {
    // A pass goes over memory in one order: a gradient that lies otherwise is turned first.
    let turned = match grad.layout().strides() == p.layout().strides() {
        true => None,
        false => Some(copy_like(grad, p)?),
    };
    backend(p.device())?.update(&update, p, turned.as_ref().unwrap_or(grad), states)
}

/// `target = op(target, other)`, without an allocation.
pub(super) fn in_place(op: MapOp, target: &mut Array, other: &Array) -> Result<()> {
    backend(target.device())?.run_in_place(Map::Value(op), target, &[other])
}

/// `target *= factor`.
pub(super) fn scale(target: &mut Array, factor: f64) -> Result<()> {
    if factor == 1.0 {
        return Ok(());
    }
    let factor = number(factor, target)?;
    in_place(MapOp::Mul, target, &factor)
}

/// `target += value`.
pub(super) fn add_number(target: &mut Array, value: f64) -> Result<()> {
    let value = number(value, target)?;
    in_place(MapOp::Add, target, &value)
}

/// `target += factor * other`.
pub(super) fn add_scaled(target: &mut Array, other: &Array, factor: f64) -> Result<()> {
    if factor == 1.0 {
        return in_place(MapOp::Add, target, other);
    }
    let scaled = other.mul(&number(factor, other)?)?;
    in_place(MapOp::Add, target, &scaled)
}

/// `mean = decay * mean + (1 - decay) * new`.
pub(super) fn average(mean: &mut Array, new: &Array, decay: f64) -> Result<()> {
    scale(mean, decay)?;
    add_scaled(mean, new, 1.0 - decay)
}

/// The gradient with the parameter's pull towards 0: `g + weight_decay * p`.
pub(super) fn decayed<'g>(g: &'g Array, p: &Array, weight_decay: f64) -> Result<Cow<'g, Array>> {
    if weight_decay == 0.0 {
        return Ok(Cow::Borrowed(g));
    }
    let mut sum = p.mul(&number(weight_decay, p)?)?;
    in_place(MapOp::Add, &mut sum, g)?;
    Ok(Cow::Owned(sum))
}

/// `1 - beta^step`.
pub(super) fn correction(beta: f64, step: f64) -> f64 {
    1.0 - beta.powf(step)
}

/// A scalar of the array's dtype and device.
pub(super) fn number(value: f64, like: &Array) -> Result<Array> {
    <Array as Value>::scalar(value, like.dtype(), like.device())
}

/// Dense, in the order of `like`, so that steps run over memory in order.
fn dense(like: &Array) -> Layout {
    match like.layout().dense_order() {
        Some(order) => Layout::dense(*like.shape(), &order),
        None => Layout::contiguous(*like.shape()),
    }
}

/// A copy that lies as `like` does.
pub(super) fn copy_like(from: &Array, like: &Array) -> Result<Array> {
    let mut copy = [Array::uninit(&from.meta(), dense(like))?];
    backend(from.device())?.run(&Kernel::Copy, &[from], &mut copy)?;
    let [copy] = copy;
    Ok(copy)
}

/// One value in every place, lying as `like` does.
pub(super) fn filled(like: &Array, value: f64) -> Result<Array> {
    let mut filled = [Array::uninit(&like.meta(), dense(like))?];
    backend(like.device())?.run(&Kernel::Random(Random::Fill(value.into())), &[], &mut filled)?;
    let [filled] = filled;
    Ok(filled)
}

/// Zeros that lie as `like` does.
pub(super) fn zeros(like: &Array) -> Result<Array> {
    filled(like, 0.0)
}

/// The gradient as it stands, when the parameter takes part in the step.
pub(super) fn gradient(param: &Param) -> Option<Tensor> {
    if param.is_trainable() { param.grad() } else { None }
}

/// A remembered array as a tensor that a later step cannot change.
pub(super) fn snapshot(array: &Array) -> Result<Tensor> {
    Ok(Tensor::from_array(copy_like(array, array)?))
}
