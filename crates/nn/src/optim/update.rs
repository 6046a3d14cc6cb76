//! In-place arithmetic on arrays and what optimisers remember about parameters.

use esker_autograd::{Param, Tensor};
use esker_ops::{Array, Map, MapOp, Ops, Value, backend};
use esker_tensor::{Error, Layout, Result};

use super::ParamGroup;
use crate::StateDict;

/// `target = op(target, other)`, without an allocation.
pub(super) fn in_place(op: MapOp, target: &mut Array, other: &Array) -> Result<()> {
    backend(target.device())?.run_in_place(Map::Value(op), target, &[other])
}

/// `target *= factor`.
pub(super) fn scale(target: &mut Array, factor: f64) -> Result<()> {
    let factor = number(factor, target)?;
    in_place(MapOp::Mul, target, &factor)
}

/// `target += factor * other`.
pub(super) fn add_scaled(target: &mut Array, other: &Array, factor: f64) -> Result<()> {
    if factor == 1.0 {
        return in_place(MapOp::Add, target, other);
    }
    let scaled = other.mul(&number(factor, other)?)?;
    in_place(MapOp::Add, target, &scaled)
}

/// A scalar of the array's dtype and device.
pub(super) fn number(value: f64, like: &Array) -> Result<Array> {
    <Array as Value>::scalar(value, like.dtype(), like.device())
}

/// A copy that lies as the parameter does, so that steps run over memory in order.
pub(super) fn copy_like(from: &Array, param: &Array) -> Result<Array> {
    let layout = match param.layout().dense_order() {
        Some(order) => Layout::dense(*param.shape(), &order),
        None => Layout::contiguous(*param.shape()),
    };
    let mut copy = [Array::uninit(&from.meta(), layout)?];
    backend(from.device())?.run(&esker_ops::Kernel::Copy, &[from], &mut copy)?;
    let [copy] = copy;
    Ok(copy)
}

/// The gradient as it stands, when the parameter takes part in the step.
pub(super) fn gradient(param: &Param) -> Option<Tensor> {
    if param.is_trainable() { param.grad() } else { None }
}

/// The parameters of all groups with what is remembered of each.
pub(super) fn each<S>(
    groups: &[ParamGroup],
    memory: &mut [S],
    mut step: impl FnMut(&ParamGroup, &Param, &Tensor, &mut S) -> Result<()>,
) -> Result<()> {
    let params = groups.iter().flat_map(|g| g.params.iter().map(move |p| (g, p)));
    for ((group, param), memory) in params.zip(memory) {
        if let Some(grad) = gradient(param) {
            step(group, param, &grad, memory)?;
        }
    }
    Ok(())
}

/// A remembered array as a tensor that a later step cannot change.
pub(super) fn snapshot(array: &Array) -> Result<Tensor> {
    Ok(Tensor::from_array(copy_like(array, array)?))
}

/// The entries of a state dict as `(parameter, what)`, checked to be tensors like the parameter or scalars.
pub(super) fn entries<'a>(
    optimizer: &str,
    groups: &[ParamGroup],
    state: &'a StateDict,
    known: &[&str],
) -> Result<Vec<(usize, &'a str, &'a Tensor)>> {
    let params: Vec<&Param> = groups.iter().flat_map(|g| &g.params).collect();
    let entry = |(name, tensor): (&'a String, &'a Tensor)| {
        let split = name.split_once('.').and_then(|(i, what)| Some((i.parse::<usize>().ok()?, what)));
        let found = split.filter(|(_, what)| known.contains(what));
        let Some((i, what)) = found else {
            return Err(Error::format(format!(
                "{optimizer}: {name} is unknown; entries are called by a number and one of {}",
                known.join(", ")
            )));
        };
        let Some(param) = params.get(i) else {
            return Err(Error::format(format!(
                "{optimizer}: {name} is given, but there are {} parameters",
                params.len()
            )));
        };
        let fits = if what == "step" {
            tensor.numel() == 1
        } else {
            *tensor.shape() == param.shape() && tensor.dtype() == param.dtype()
        };
        if !fits {
            let (shape, dtype) = (tensor.shape(), tensor.dtype());
            return Err(Error::format(format!(
                "{optimizer}: {name} is {shape:?} {dtype}, the parameter {:?} {}",
                param.shape(),
                param.dtype()
            )));
        }
        Ok((i, what, tensor))
    };
    state.iter().map(entry).collect()
}
