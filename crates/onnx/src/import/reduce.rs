//! Along dimensions: reductions, extremes, running sums, softmax, normalisation.

use esker_graph::Sym;
use esker_ops::{Axes, Op, Ops, Put, Value, op};
use esker_tensor::{DType, Device, Error, Result};

use super::call::{Call, Handler, Item, one};
use super::elementwise::folded;

pub(crate) const HANDLERS: &[(&str, Handler)] = &[
    ("ReduceSum", |c| reduce(c, |dims, keepdim| op::Sum { dim: dims, keepdim }.into())),
    ("ReduceMean", |c| reduce(c, |dims, keepdim| op::Mean { dim: dims, keepdim }.into())),
    ("ReduceMax", |c| reduce(c, |dims, keepdim| op::Amax { dim: dims, keepdim }.into())),
    ("ReduceMin", |c| reduce(c, |dims, keepdim| op::Amin { dim: dims, keepdim }.into())),
    ("ReduceProd", |c| folded(c, |c| reduce(c, |dims, keepdim| op::Prod { dim: dims, keepdim }.into()))),
    ("ArgMax", |c| extreme(c, true)),
    ("ArgMin", |c| extreme(c, false)),
    ("GatherElements", gather_elements),
    ("ScatterElements", scatter_elements),
    ("TopK", top_k),
    ("CumSum", cumsum),
    ("Softmax", |c| {
        let (x, axis) = softmax_axis(c)?;
        one(x.softmax(axis)?)
    }),
    ("LogSoftmax", |c| {
        let (x, axis) = softmax_axis(c)?;
        one(x.log_softmax(axis)?)
    }),
    ("LayerNormalization", layer_norm),
    ("BatchNormalization", batch_norm),
    ("InstanceNormalization", instance_norm),
    ("GroupNormalization", group_norm),
    ("LRN", local_response),
];

fn reduce(call: &mut Call<'_>, make: fn(Axes, bool) -> Op) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let axes = call.ints_of("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && call.int("noop_with_empty_axes", 0) != 0 {
        return one(x);
    }
    let y = Sym::apply(make(Axes::new(&axes), call.int("keepdims", 1) != 0), &[&x])?;
    Ok(y.into_iter().map(Item::from).collect())
}

/// Remembers what the index points into, for a `GatherElements` that fetches the value.
fn extreme(call: &mut Call<'_>, largest: bool) -> Result<Vec<Item>> {
    call.only("select_last_index", 0)?;
    let x = call.tensor(0)?;
    let axis = x.array().shape().dim(call.int("axis", 0))?;
    let keepdim = call.int("keepdims", 1) != 0;
    let index = if largest { x.argmax(axis as i64, keepdim)? } else { x.argmin(axis as i64, keepdim)? };
    if keepdim {
        let from = x.array().storage().id();
        let from = call.memory.bools.get(&from).copied().unwrap_or(from);
        call.memory.found.insert(index.array().storage().id(), (from, axis, largest));
    }
    one(index)
}

fn gather_elements(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, index) = (call.tensor(0)?, call.tensor(1)?);
    let axis = x.array().shape().dim(call.int("axis", 0))?;
    match call.memory.found.get(&index.array().storage().id()) {
        Some(&(from, along, largest)) if from == x.array().storage().id() && along == axis => {
            one(if largest { x.max(axis as i64, true)?.0 } else { x.min(axis as i64, true)?.0 })
        }
        _ => one(x.gather(&places(call, &x, axis)?, axis as i64)?),
    }
}

/// Input 1 as places along a dimension; negative ones count from the end.
fn places(call: &Call<'_>, x: &Sym, axis: usize) -> Result<Sym> {
    let index = call.tensor(1)?;
    if call.item(1).and_then(Item::ints).is_some_and(|known| known.data.iter().all(|&i| i >= 0)) {
        return index.cast(DType::I64);
    }
    let index = index.cast(DType::I64)?;
    // Counted by ops, since it may be the batch.
    let size = x.array().shape().get(axis).copied().unwrap_or(1);
    let size = Sym::full(1.0, [size], DType::I64, x.array().device())?.sum((), false)?;
    index.lt(&<Sym as Value>::scalar(0.0, DType::I64, Device::Cpu)?)?.where_cond(&index.add(&size)?, &index)
}

fn scatter_elements(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, src) = (call.tensor(0)?, call.tensor(2)?);
    let axis = x.array().shape().dim(call.int("axis", 0))?;
    let put = match call.text("reduction").as_deref() {
        None | Some("none") => Put::Replace,
        Some("add") => Put::Sum,
        Some("mul") => Put::Prod,
        Some("max") => Put::Max,
        Some("min") => Put::Min,
        Some(other) => return Err(Error::format(format!("its reduction is {other}, which is not known"))),
    };
    one(x.scatter_elements(&places(call, &x, axis)?, &src, axis as i64, put)?)
}

fn top_k(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let axis = x.array().shape().dim(call.int("axis", -1))?;
    let k = match call.attr("k").and_then(|a| a.i) {
        Some(k) => Some(k), // Before opset 10.
        None => call.ints(1)?.and_then(|k| k.first().copied()),
    };
    let k = k.ok_or_else(|| Error::format("its k is missing"))?;
    let largest = call.int("largest", 1) != 0;
    // All of them, however many that are: sorting, whose size may follow the batch.
    let whole = x.array().shape().get(axis).is_some_and(|&n| n as i64 == k);
    let (values, index) =
        if whole { x.sort(axis as i64, largest, true)? } else { x.topk(k, axis as i64, largest, true)? };
    Ok(vec![values.into(), index.into()])
}

fn cumsum(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("exclusive", 0)?;
    let axis = call.ints(1)?.and_then(|a| a.first().copied()).ok_or_else(|| Error::format("its axis is missing"))?;
    one(call.tensor(0)?.cumsum(axis, call.int("reverse", 0) != 0)?)
}

/// Before opset 13 softmax runs over all dimensions from its axis on; that is the same for the last.
fn softmax_axis(call: &Call<'_>) -> Result<(Sym, i64)> {
    let x = call.tensor(0)?;
    let old = call.opset < 13;
    let axis = x.array().shape().dim(call.int("axis", if old { 1 } else { -1 }))?;
    if old && axis + 1 != x.array().shape().len() {
        return Err(Error::format("before opset 13 it is read over the last dimension only"));
    }
    Ok((x, axis as i64))
}

fn layer_norm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, weight, bias) = (call.tensor(0)?, call.tensor(1)?, call.maybe(2)?);
    let shape = *x.array().shape();
    let sizes = shape.get(shape.dim(call.int("axis", -1))?..).unwrap_or_default();
    // Both broadcast to the sizes.
    let full = |v: Sym| if v.array().shape()[..] == *sizes { Ok(v) } else { v.expand(sizes) };
    let (weight, bias) = (full(weight)?, bias.map(full).transpose()?);
    one(x.layer_norm(Some(&weight), bias.as_ref(), sizes, call.float("epsilon", 1e-5))?)
}

fn batch_norm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("training_mode", 0)?;
    let (x, weight, bias) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (mean, variance) = (call.tensor(3)?, call.tensor(4)?);
    let eps = call.float("epsilon", 1e-5);
    one(x.batch_norm(Some(&mean), Some(&variance), Some(&weight), Some(&bias), false, 0.1, eps)?)
}

fn instance_norm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, weight, bias) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    one(x.instance_norm(None, None, Some(&weight), Some(&bias), true, 0.1, call.float("epsilon", 1e-5))?)
}

/// Before opset 21 the parameters are of groups, not of channels.
fn group_norm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, weight, bias) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    if call.opset < 21 {
        return Err(Error::format("it is read from opset 21 on"));
    }
    one(x.group_norm(Some(&weight), Some(&bias), call.int("num_groups", 0), call.float("epsilon", 1e-5))?)
}

fn local_response(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let size = call.int("size", 1);
    if size % 2 == 0 {
        return Err(Error::format(format!("size = {size} is not read, only odd ones")));
    }
    let (alpha, beta) = (call.float("alpha", 1e-4), call.float("beta", 0.75));
    one(call.tensor(0)?.local_response_norm(size, alpha, beta, call.float("bias", 1.0))?)
}
