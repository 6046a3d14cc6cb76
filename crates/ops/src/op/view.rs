//! Other views of the same elements, in terms of reshape, permute, expand and slice.

use esker_tensor::{Error, Result, Shape};

use super::function;
use crate::{Ops, Value};

/// A dimension among `n`, counted from the end when negative.
pub(crate) fn place(dim: i64, n: usize) -> Result<usize> {
    let at = if dim < 0 { dim + n as i64 } else { dim };
    if (0..n as i64).contains(&at) {
        return Ok(at as usize);
    }
    Err(Error::dim(format!("dimension {dim} is out of range for {n}")))
}

/// `shape` without dimension `dim`.
pub(crate) fn without(shape: &Shape, dim: usize) -> Vec<usize> {
    shape.iter().enumerate().filter(|(d, _)| *d != dim).map(|(_, &n)| n).collect()
}

/// The dimensions of `x` in order, with `from` taken out and put in at `to`.
pub(crate) fn moved<V: Value>(x: &V, from: usize, to: usize) -> Result<V> {
    let mut order: Vec<i64> = (0..x.meta().shape.len() as i64).collect();
    let dim = order.remove(from);
    order.insert(to, dim);
    x.permute(&order[..])
}

function! { View |op, x| x.reshape(op.size)? }

function! { Flatten |op, x| {
    let shape = x.meta().shape;
    if shape.is_empty() {
        x.reshape([1])?
    } else {
        let (start, end) = (shape.dim(op.start_dim)?, shape.dim(op.end_dim)?);
        if start > end {
            return Err(Error::dim(format!("dimension {} comes after {}", op.start_dim, op.end_dim)));
        }
        let merged: usize = shape[start..=end].iter().product();
        let sizes: Vec<usize> = [&shape[..start], &[merged], &shape[end + 1..]].concat();
        x.reshape(&sizes[..])?
    }
} }

function! { Unflatten |op, x| {
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim)?;
    let size: Shape = shape.get(dim).copied().into_iter().collect();
    let parts = op.sizes.reshape(&size)?;
    let sizes: Vec<usize> = [&shape[..dim], &parts[..], &shape[(dim + 1).min(shape.len())..]].concat();
    x.reshape(&sizes[..])?
} }

function! { Transpose |op, x| {
    let shape = x.meta().shape;
    let mut order: Vec<i64> = (0..shape.len() as i64).collect();
    let (a, b) = (shape.dim(op.dim0)?, shape.dim(op.dim1)?);
    if !order.is_empty() {
        order.swap(a, b);
    }
    x.permute(&order[..])?
} }

function! { T |_op, x| match x.meta().shape.len() {
    0 | 1 => x.clone(),
    2 => x.permute([1, 0])?,
    _ => return Err(Error::shape(format!("takes a matrix, got {:?}; use transpose(dim0, dim1)", x.meta().shape))),
} }

function! { Movedim |op, x| {
    let shape = x.meta().shape;
    let (from, to) = (op.source.in_order(&shape)?, op.destination.in_order(&shape)?);
    if from.len() != to.len() {
        return Err(Error::dim(format!("{} dimensions cannot move to {} places", from.len(), to.len())));
    }
    let mut order: Vec<Option<u8>> = vec![None; shape.len()];
    for (&f, &t) in from.iter().zip(&*to) {
        order[usize::from(t)] = Some(f);
    }
    let mut rest = (0..shape.len() as u8).filter(|d| !from.contains(d));
    let order: Vec<i64> = order.into_iter().map(|d| d.or_else(|| rest.next()).map_or(0, i64::from)).collect();
    x.permute(&order[..])?
} }

function! { Squeeze |op, x| {
    let shape = x.meta().shape;
    let dims = op.dim.of(&shape)?;
    let kept = shape.iter().enumerate().filter(|(d, n)| **n != 1 || !dims.contains(&(*d as u8)));
    let sizes: Vec<usize> = kept.map(|(_, &n)| n).collect();
    x.reshape(&sizes[..])?
} }

function! { Unsqueeze |op, x| {
    let mut sizes: Vec<usize> = x.meta().shape.to_vec();
    let at = place(op.dim, sizes.len() + 1)?;
    sizes.insert(at, 1);
    x.reshape(&sizes[..])?
} }

function! { BroadcastTo |op, x| x.expand(op.size)? }

function! { Narrow |op, x| {
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim)?;
    let size = shape.get(dim).copied().unwrap_or(0) as i64;
    let start = if op.start < 0 { op.start + size } else { op.start };
    if start < 0 || op.length < 0 || start.checked_add(op.length).is_none_or(|end| end > size) {
        return Err(Error::dim(format!(
            "{} elements from {} do not lie within dimension {} of {shape:?}", op.length, op.start, op.dim
        )));
    }
    x.slice(dim as i64, start, start + op.length, 1)?
} }

function! { Select |op, x| {
    let shape = x.meta().shape;
    if shape.is_empty() {
        return Err(Error::dim("a scalar has no dimension to select from"));
    }
    let dim = shape.dim(op.dim)?;
    let size = shape[dim] as i64;
    let at = if op.index < 0 { op.index + size } else { op.index };
    if !(0..size).contains(&at) {
        return Err(Error::dim(format!(
            "index {} is out of range for dimension {} of size {size}", op.index, op.dim
        )));
    }
    x.slice(dim as i64, at, at + 1, 1)?.reshape(&without(&shape, dim)[..])?
} }

#[cfg(feature = "spec")]
mod spec {
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, real, values};

    /// The elements in row-major order under another shape, or `f(index)` of them.
    macro_rules! views {
        ($($Name:ident |$op:ident, $x:ident| $reference:expr; $samples:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let ($op, $x) = (self, &x[0]);
                    vec![$reference]
                }
                fn samples() -> Vec<Sample> {
                    $samples
                }
            }
        )*};
    }

    fn reshaped(x: &RefArray, shape: &[usize]) -> RefArray {
        RefArray::new(shape, x.data.clone())
    }

    fn ok(op: impl Into<crate::Op>, shape: &[usize]) -> Sample {
        Sample::new(op, [real(shape)])
    }

    views! {
        View |_op, x| reshaped(x, &[3, 2]);
            vec![
                ok(View { size: [3, 2].into() }, &[2, 3]),
                ok(View { size: [-1, 2].into() }, &[6]).on(Dtypes::All),
                ok(View { size: [4].into() }, &[2, 3]).fails("Shape", "another number of elements"),
            ];
        Flatten |op, x| {
            let n = x.shape.len() as i64;
            let at = |d: i64| (if d < 0 { d + n } else { d }) as usize;
            let shape = if n == 0 { vec![1] } else {
                let (a, b) = (at(op.start_dim), at(op.end_dim));
                let mut s = x.shape[..a].to_vec();
                s.push(x.shape[a..=b].iter().product());
                s.extend(&x.shape[b + 1..]);
                s
            };
            reshaped(x, &shape)
        };
            vec![
                ok(Flatten { start_dim: 0, end_dim: -1 }, &[2, 3, 2]),
                ok(Flatten { start_dim: 1, end_dim: -1 }, &[2, 3, 2]).on(Dtypes::All),
                ok(Flatten { start_dim: 1, end_dim: 1 }, &[2, 3, 2]),
                ok(Flatten { start_dim: 0, end_dim: -1 }, &[]),
                ok(Flatten { start_dim: 2, end_dim: 1 }, &[2, 3, 2]).fails("Dim", "start after end"),
            ];
        Unflatten |op, x| {
            let d = crate::spec::axis(op.dim, x.shape.len());
            let mut s = x.shape[..d].to_vec();
            s.extend([2, x.shape[d] / 2]);
            s.extend(&x.shape[d + 1..]);
            reshaped(x, &s)
        };
            vec![
                ok(Unflatten { dim: 1, sizes: [2, 3].into() }, &[2, 6, 2]),
                ok(Unflatten { dim: -1, sizes: [2, -1].into() }, &[3, 4]),
                ok(Unflatten { dim: 0, sizes: [5, 2].into() }, &[6]).fails("Shape", "10 of 6"),
            ];
        Transpose |op, x| {
            let n = x.shape.len();
            let (a, b) = (crate::spec::axis(op.dim0, n), crate::spec::axis(op.dim1, n));
            let swap = |v: &[usize]| { let mut v = v.to_vec(); if n > 0 { v.swap(a, b); } v };
            RefArray::from_fn(&swap(&x.shape), |i| x.at(&swap(i)))
        };
            vec![
                ok(Transpose { dim0: 0, dim1: 1 }, &[2, 3]),
                ok(Transpose { dim0: -1, dim1: 0 }, &[2, 3, 4]).on(Dtypes::All),
                ok(Transpose { dim0: 0, dim1: -1 }, &[]),
                ok(Transpose { dim0: 0, dim1: 2 }, &[2, 3]).fails("Dim", "out of range"),
            ];
        T |_op, x| if x.shape.len() < 2 { x.clone() } else { RefArray::from_fn(&[x.shape[1], x.shape[0]], |i| x.at(&[i[1], i[0]])) };
            vec![
                ok(T {}, &[2, 3]),
                ok(T {}, &[3]),
                Sample::new(T {}, [values(&[2, 2], &[1.0, 2.0, 3.0, 4.0])]).known(&[&[1.0, 3.0, 2.0, 4.0]], "by hand"),
                ok(T {}, &[2, 3, 4]).fails("Shape", "rank 3"),
            ];
        Movedim |op, x| {
            let n = x.shape.len();
            let from: Vec<usize> = op.source.get().unwrap_or(&[]).iter().map(|&d| crate::spec::axis(d, n)).collect();
            let to: Vec<usize> = op.destination.get().unwrap_or(&[]).iter().map(|&d| crate::spec::axis(d, n)).collect();
            let mut order: Vec<usize> = (0..n).filter(|d| !from.contains(d)).collect();
            let mut pairs: Vec<(usize, usize)> = to.into_iter().zip(from).collect();
            pairs.sort_unstable();
            pairs.into_iter().for_each(|(t, f)| order.insert(t, f));
            let shape: Vec<usize> = order.iter().map(|&d| x.shape[d]).collect();
            RefArray::from_fn(&shape, |i| {
                let mut at = vec![0; n];
                order.iter().zip(i).for_each(|(&d, &i)| at[d] = i);
                x.at(&at)
            })
        };
            vec![
                ok(Movedim { source: 0.into(), destination: (-1).into() }, &[2, 3, 4]),
                ok(Movedim { source: [0, 1].into(), destination: [2, 0].into() }, &[2, 3, 4]).on(Dtypes::All),
                ok(Movedim { source: [0, 1].into(), destination: 0.into() }, &[2, 3]).fails("Dim", "two to one place"),
            ];
        Squeeze |op, x| {
            let dims = crate::spec::axes(&op.dim, x.shape.len());
            let s: Vec<usize> = x.shape.iter().enumerate().filter(|(d, n)| **n != 1 || !dims.contains(d)).map(|(_, &n)| n).collect();
            reshaped(x, &s)
        };
            vec![
                ok(Squeeze { dim: ().into() }, &[1, 3, 1, 2]),
                ok(Squeeze { dim: 0.into() }, &[1, 3, 1]).on(Dtypes::All),
                ok(Squeeze { dim: [0, 1].into() }, &[1, 3, 1]),
                ok(Squeeze { dim: 3.into() }, &[1, 3]).fails("Dim", "out of range"),
            ];
        Unsqueeze |op, x| {
            let d = crate::spec::axis(op.dim, x.shape.len() + 1);
            let mut s = x.shape.clone();
            s.insert(d, 1);
            reshaped(x, &s)
        };
            vec![
                ok(Unsqueeze { dim: 0 }, &[2, 3]),
                ok(Unsqueeze { dim: -1 }, &[2, 3]).on(Dtypes::All),
                ok(Unsqueeze { dim: 0 }, &[]),
                ok(Unsqueeze { dim: 3 }, &[2, 3]).fails("Dim", "out of range"),
            ];
        BroadcastTo |op, x| x.broadcast_to(&op.size.shape().map(|s| s.to_vec()).unwrap_or_default());
            vec![
                ok(BroadcastTo { size: [2, 3].into() }, &[3]),
                ok(BroadcastTo { size: [2, 3].into() }, &[2, 1]).on(Dtypes::All),
                ok(BroadcastTo { size: [2, 3].into() }, &[2]).fails("Shape", "2 is not 3"),
            ];
        Narrow |op, x| {
            let d = crate::spec::axis(op.dim, x.shape.len());
            let mut s = x.shape.clone();
            s[d] = op.length as usize;
            let start = if op.start < 0 { op.start + x.shape[d] as i64 } else { op.start } as usize;
            RefArray::from_fn(&s, |i| { let mut at = i.to_vec(); at[d] += start; x.at(&at) })
        };
            vec![
                ok(Narrow { dim: 1, start: 1, length: 2 }, &[2, 4]),
                ok(Narrow { dim: 0, start: -2, length: 2 }, &[3, 2]).on(Dtypes::All),
                ok(Narrow { dim: 0, start: 3, length: 0 }, &[3]),
                ok(Narrow { dim: 0, start: 2, length: 2 }, &[3]).fails("Dim", "beyond the end"),
            ];
        Select |op, x| {
            let d = crate::spec::axis(op.dim, x.shape.len());
            let mut s = x.shape.clone();
            let n = s.remove(d) as i64;
            let index = (if op.index < 0 { op.index + n } else { op.index }) as usize;
            RefArray::from_fn(&s, |i| { let mut at = i.to_vec(); at.insert(d, index); x.at(&at) })
        };
            vec![
                ok(Select { dim: 0, index: 1 }, &[2, 3]),
                ok(Select { dim: -1, index: -1 }, &[2, 3]).on(Dtypes::All),
                ok(Select { dim: 0, index: 2 }, &[3]),
                ok(Select { dim: 0, index: 3 }, &[3]).fails("Dim", "out of range"),
                ok(Select { dim: 0, index: 0 }, &[]).fails("Dim", "a scalar"),
            ];
    }
}
