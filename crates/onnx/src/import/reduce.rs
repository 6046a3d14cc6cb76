//! Along dimensions: reductions, extremes, running sums, softmax, normalisation.

use esker_graph::Sym;
use esker_ops::{Axes, Op, Ops, Put, Value, op};
use esker_tensor::{DType, Device, Error, Result};

use super::call::{Call, Handler, Item, one, scalar};
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
    let size = x.array().shape().get(axis).map_or(1.0, |&n| n as f64);
    let int = |v: f64| <Sym as Value>::scalar(v, DType::I64, Device::Cpu);
    index.lt(&int(0.0)?)?.where_cond(&index.add(&int(size)?)?, &index)
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
    let (values, index) = x.topk(k, axis as i64, call.int("largest", 1) != 0, true)?;
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
    let (x, weight) = (call.tensor(0)?, call.tensor(1)?);
    let shape = *x.array().shape();
    if shape.dim(call.int("axis", -1))? + 1 != shape.len() {
        return Err(Error::format("it is read over the last dimension only"));
    }
    let eps = call.float("epsilon", 1e-5);
    match call.maybe(2)? {
        Some(bias) => one(x.layer_norm(&weight, &bias, eps)?),
        None => one(x.standardize(eps)?.0.mul(&weight)?),
    }
}

fn batch_norm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("training_mode", 0)?;
    let x = call.tensor(0)?;
    let rank = x.array().shape().len();
    let per_channel = |i: usize| -> Result<Sym> {
        let sizes: Vec<i64> = (1..rank).map(|d| if d == 1 { -1 } else { 1 }).collect();
        call.tensor(i)?.reshape(&sizes[..])
    };
    if rank < 2 {
        return Err(Error::format("its input needs channels"));
    }
    let deviation = per_channel(4)?.add(&scalar(call.float("epsilon", 1e-5), &x)?)?.sqrt()?;
    let scale = per_channel(1)?.div(&deviation)?;
    one(x.sub(&per_channel(3)?)?.mul(&scale)?.add(&per_channel(2)?)?)
}
