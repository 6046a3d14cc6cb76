//! The same elements elsewhere: views, joins, selection, and what is known of shapes.

use esker_graph::Sym;
use esker_ops::{Ops, Value};
use esker_tensor::{DType, Device, Error, Result, Shape};

use super::MAX_SIZE;
use super::array::{check_sizes, read};
use super::call::{Call, Handler, Item, one};
use super::elementwise::folded;
use super::ints::Ints;

pub(crate) const HANDLERS: &[(&str, Handler)] = &[
    ("Reshape", |c| folded(c, reshape)),
    ("Flatten", flatten),
    ("Squeeze", |c| folded(c, squeeze)),
    ("Unsqueeze", |c| folded(c, unsqueeze)),
    ("Transpose", transpose),
    ("Expand", expand),
    ("Slice", slice),
    ("Concat", |c| folded(c, concat)),
    ("Split", split),
    ("Gather", |c| folded(c, gather)),
    ("ScatterND", scatter),
    ("Shape", shape),
    ("Size", |c| {
        let n = c.tensor(0)?.array().shape().checked_numel()?;
        Ok(vec![Item::Ints(Ints { dtype: DType::I64, scalar: true, data: vec![n as i64] })])
    }),
    ("Range", range),
    ("ConstantOfShape", constant_of_shape),
    // Read beforehand.
    ("Constant", |_| Ok(Vec::new())),
];

fn sizes_of(shape: &Shape) -> Vec<i64> {
    shape.iter().map(|&n| n as i64).collect()
}

fn reshape(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let mut sizes = call.sizes(1)?;
    if call.int("allowzero", 0) == 0 {
        for (d, size) in sizes.iter_mut().enumerate().filter(|(_, n)| **n == 0) {
            let from = x.array().shape().get(d);
            *size =
                *from.ok_or_else(|| Error::format(format!("size {d} is 0, and there is no dimension to copy")))? as i64;
        }
    }
    one(x.reshape(&sizes[..])?)
}

fn flatten(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let shape = *x.array().shape();
    let rank = shape.len() as i64;
    let axis = call.int("axis", 1);
    let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
    if !(0..=rank).contains(&axis) {
        return Err(Error::format(format!("axis {axis} is out of range for {shape:?}")));
    }
    let product = |d: &mut dyn Iterator<Item = &usize>| d.map(|&n| n as i64).product::<i64>();
    let rows = product(&mut shape.iter().take(axis as usize));
    let columns = product(&mut shape.iter().skip(axis as usize));
    one(x.reshape([rows, columns])?)
}

fn squeeze(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let shape = *x.array().shape();
    let axes = match call.ints_of("axes", 1)? {
        Some(axes) => axes.into_iter().map(|a| shape.dim(a)).collect::<Result<Vec<_>>>()?,
        None => (0..shape.len()).filter(|&d| shape.get(d) == Some(&1)).collect(),
    };
    if let Some(d) = axes.iter().find(|&&d| shape.get(d) != Some(&1)) {
        return Err(Error::format(format!("dimension {d} of {shape:?} is not 1")));
    }
    let kept: Vec<usize> = shape.iter().enumerate().filter(|(d, _)| !axes.contains(d)).map(|(_, &n)| n).collect();
    one(x.reshape(&kept[..])?)
}

fn unsqueeze(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let axes = call.ints_of("axes", 1)?.ok_or_else(|| Error::format("its axes are missing"))?;
    let rank = x.array().shape().len().saturating_add(axes.len());
    if rank > esker_tensor::MAX_RANK {
        return Err(Error::format(format!("rank {rank} is above the highest")));
    }
    let new = Shape::filled(1, rank);
    let axes = axes.into_iter().map(|a| new.dim(a)).collect::<Result<Vec<_>>>()?;
    let mut old = x.array().shape().iter();
    let sizes: Vec<i64> =
        (0..rank).map(|d| if axes.contains(&d) { 1 } else { old.next().map_or(1, |&n| n as i64) }).collect();
    one(x.reshape(&sizes[..])?)
}

fn transpose(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let rank = x.array().shape().len() as i64;
    if rank == 0 {
        return one(x);
    }
    let order = call.attr("perm").map_or_else(|| (0..rank).rev().collect(), |a| a.ints.clone());
    one(x.permute(&order[..])?)
}

/// Unlike Esker's, a target of 1 keeps a size.
fn expand(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let sizes = call.sizes(1)?;
    check_sizes(sizes.iter().copied())?;
    let to: Vec<usize> = sizes.iter().map(|&n| n as usize).collect();
    let to = x.array().shape().broadcast(&Shape::new(&to)?)?;
    check_sizes(to.iter().map(|&n| n as i64))?;
    if to == *x.array().shape() { one(x) } else { one(x.expand(to)?) }
}

/// One dimension's part of a slice.
struct Cut {
    axis: i64,
    start: i64,
    end: i64,
    step: i64,
}

fn cuts(call: &Call<'_>) -> Result<Vec<Cut>> {
    let missing = |what: &str| Error::format(format!("its {what} are missing"));
    let starts = call.ints_of("starts", 1)?.ok_or_else(|| missing("starts"))?;
    let ends = call.ints_of("ends", 2)?.ok_or_else(|| missing("ends"))?;
    let axes = call.ints_of("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err(Error::format("its starts, ends, axes and steps are not equally many"));
    }
    let parts = starts.into_iter().zip(ends).zip(axes).zip(steps);
    Ok(parts.map(|(((start, end), axis), step)| Cut { axis, start, end, step }).collect())
}

fn slice(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let cuts = cuts(call)?;
    if let (Some(Item::Ints(ints)), [cut]) = (call.item(0), &cuts[..]) {
        return slice_ints(ints, cut);
    }
    let mut x = call.tensor(0)?;
    for cut in cuts {
        // Beyond these bounds nothing changes any more; arithmetic on them cannot overflow.
        let bounded = |n: i64| n.clamp(-MAX_SIZE, MAX_SIZE);
        let end = match cut.end {
            _ if cut.step > 0 => {
                if cut.end > MAX_SIZE {
                    i64::MAX
                } else {
                    bounded(cut.end)
                }
            }
            end if end < -MAX_SIZE => i64::MIN,
            end => bounded(end),
        };
        x = x.slice(cut.axis, bounded(cut.start), end, bounded(cut.step))?;
    }
    one(x)
}

fn slice_ints(ints: &Ints, cut: &Cut) -> Result<Vec<Item>> {
    let len = ints.data.len() as i64;
    let place = |at: i64| (if at < 0 { at.saturating_add(len) } else { at }).clamp(0, len) as usize;
    if ints.scalar || cut.axis != 0 && cut.axis != -1 || cut.step != 1 {
        return Err(Error::format("a list of sizes is sliced by steps of 1 only"));
    }
    let data = ints.data.get(place(cut.start)..place(cut.end).max(place(cut.start))).unwrap_or_default();
    Ok(vec![Item::Ints(Ints { data: data.to_vec(), ..ints.clone() })])
}

fn concat(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensors()?;
    let axis = call.attr("axis").and_then(|a| a.i).ok_or_else(|| Error::format("its axis is missing"))?;
    if let [single] = &x[..] {
        return one(single.clone());
    }
    one(Sym::cat(&x.iter().collect::<Vec<_>>(), axis)?)
}

/// Sizes of the parts are an attribute, an input, or follow from their number.
fn split(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let axis = x.array().shape().dim(call.int("axis", 0))?;
    let size = x.array().shape().get(axis).map_or(0, |&n| n as i64);
    let parts = match call.ints_of("split", 1)? {
        Some(parts) => parts,
        None => {
            let count = (call.node.output.len() as i64).max(1);
            let each = size / count + i64::from(size % count != 0);
            (0..count).map(|k| each.min(size - (k * each).min(size))).collect()
        }
    };
    check_sizes(parts.iter().map(|&n| if n > size { -1 } else { n }))?;
    let mut start = 0;
    let mut made = Vec::with_capacity(parts.len());
    for part in parts {
        made.push(x.slice(axis as i64, start, start + part, 1)?.into());
        start = (start + part).min(size);
    }
    Ok(made)
}

/// Esker selects by a list; an index of another rank is flattened and the result reshaped.
fn gather(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let shape = *x.array().shape();
    let axis = shape.dim(call.int("axis", 0))?;
    let size = shape.get(axis).map_or(0, |&n| n as i64);
    let index_shape = *call.tensor(1)?.array().shape();
    let index = match call.item(1).and_then(Item::ints) {
        Some(known) => {
            let from_start = |&i: &i64| if i < 0 { i.saturating_add(size) } else { i };
            let known: Vec<i64> = known.data.iter().map(from_start).collect();
            Ints::list(known).array().map(Sym::new)?
        }
        None => {
            let index = call.tensor(1)?;
            let index = if index.array().dtype() == DType::I64 { index } else { index.cast(DType::I64)? };
            if index_shape.len() == 1 { index } else { index.reshape([index_shape.numel()])? }
        }
    };
    let y = x.index_select(&index, axis as i64)?;
    if index_shape.len() == 1 {
        return one(y);
    }
    let (before, after) = (shape.iter().take(axis), shape.iter().skip(axis + 1));
    let sizes: Vec<usize> = before.chain(index_shape.iter()).chain(after).copied().collect();
    one(y.reshape(&sizes[..])?)
}

/// Adding slices of the first dimension: what `index_select_grad` is.
fn scatter(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, index, src) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let index_shape = *index.array().shape();
    let (Some("add"), [n, 1]) = (call.text("reduction").as_deref(), &index_shape[..]) else {
        return Err(Error::format("it is read only where it adds slices of the first dimension"));
    };
    let size = x.array().shape().first().map_or(0, |&n| n as i64);
    let added = index.reshape([*n])?.index_select_grad(&src, 0i64, size)?;
    if added.array().shape() != x.array().shape() {
        return Err(Error::format("its updates do not have the shape of its data"));
    }
    one(x.add(&added)?)
}

fn shape(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let sizes = match call.item(0) {
        Some(Item::Ints(ints)) if ints.scalar => Vec::new(),
        Some(Item::Ints(ints)) => vec![ints.data.len() as i64],
        _ => sizes_of(call.tensor(0)?.array().shape()),
    };
    let len = sizes.len() as i64;
    let place = |at: i64| (if at < 0 { at.saturating_add(len) } else { at }).clamp(0, len) as usize;
    let (start, end) = (place(call.int("start", 0)), place(call.int("end", len)));
    Ok(vec![Item::Ints(Ints::list(sizes.get(start..end.max(start)).unwrap_or_default().to_vec()))])
}

fn range(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let number = |i: usize| {
        let ints = call.item(i).and_then(Item::ints).filter(|v| v.dtype == DType::I64);
        let n = ints.and_then(|v| v.data.first().copied()).filter(|n| (-MAX_SIZE..=MAX_SIZE).contains(n));
        n.ok_or_else(|| Error::format("it is read for int64 that the file states or that follow from shapes"))
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    if step == 0 {
        return Err(Error::format("its step is 0"));
    }
    let span = if step > 0 { limit - start } else { start - limit };
    let len = (span.max(0) + step.abs() - 1) / step.abs();
    one(Sym::iota(start as f64, step as f64, len, DType::I64, Device::Meta)?)
}

fn constant_of_shape(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let sizes = call.sizes(0)?;
    check_sizes(sizes.iter().copied())?;
    let value = match call.attr("value").and_then(|a| a.t.as_ref()) {
        Some(tensor) => read(tensor)?,
        None => <esker_ops::Array as Value>::scalar(0.0, DType::F32, Device::Cpu)?,
    };
    let number = value.to_f64_vec()?.first().copied().unwrap_or(0.0);
    if let ([n @ 0..=64], DType::I64) = (&sizes[..], value.dtype()) {
        return Ok(vec![Item::Ints(Ints::list(vec![number as i64; *n as usize]))]);
    }
    one(Sym::full(number, &sizes[..], value.dtype(), Device::Meta)?)
}
