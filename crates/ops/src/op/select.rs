//! Functions whose result's size depends on values: they read, and cannot be captured.

use esker_tensor::{DType, Error, Result, Shape};

use super::function;
use super::logic::truth;
use crate::{Array, Index, Indexing, Ops, Value};

/// The elements of a bool tensor, row-major.
fn flags<V: Value>(x: &V) -> Result<Vec<bool>> {
    x.values()?.to_vec()
}

/// A vector of places.
fn vector<V: Value>(places: &[i64], like: &V) -> Result<V> {
    matrix(places, Shape::from([places.len()]), like)
}

fn matrix<V: Value>(places: &[i64], shape: Shape, like: &V) -> Result<V> {
    V::of_values(Array::from_slice(places, shape)?, like.meta().device)
}

/// The row-major places where `x` is other than 0.
fn places<V: Value>(x: &V) -> Result<Vec<i64>> {
    let flags = flags(&truth(x)?)?;
    Ok((0i64..).zip(flags).filter(|(_, holds)| *holds).map(|(place, _)| place).collect())
}

/// The coordinates of row-major places, dimension by dimension.
pub(crate) fn coordinates(places: &[i64], shape: &Shape) -> Vec<Vec<i64>> {
    let step = |d: usize| shape.iter().skip(d + 1).product::<usize>() as i64;
    let along = |d: usize| places.iter().map(|p| p / step(d) % shape[d] as i64).collect();
    (0..shape.len()).map(along).collect()
}

/// Index vectors that stand for a mask, one for each of its dimensions (one for a scalar).
pub(crate) fn indices_of<V: Value>(mask: &V) -> Result<Vec<V>> {
    let (places, shape) = (places(mask)?, mask.meta().shape);
    if shape.is_empty() {
        return Ok(vec![vector(&places, mask)?]);
    }
    coordinates(&places, &shape).iter().map(|line| vector(line, mask)).collect()
}

const READS: &str = "the size of its result depends on values";

function! { Nonzero |_op, x| {
    let (places, shape) = (places(x)?, x.meta().shape);
    let lines = coordinates(&places, &shape);
    let rows: Vec<i64> = (0..places.len()).flat_map(|i| lines.iter().map(move |line| line[i])).collect();
    matrix(&rows, Shape::from([places.len(), shape.len()]), x)?
}, no_grad "places are integers", reads READS }

function! { NonzeroTuple |_op, x| indices_of(x)?, no_grad "places are integers", reads READS }

function! { MaskedSelect |_op, x, mask| {
    let dtype = mask.meta().dtype;
    if dtype != DType::Bool {
        return Err(Error::dtype(format!("the mask must be bool, got {dtype}")));
    }
    let shape = x.meta().shape.broadcast(&mask.meta().shape)?;
    let index = vector(&places(&mask.expand(shape)?)?, x)?;
    x.expand(shape)?.reshape([shape.numel()])?.index_select(&index, 0)?
}, reads READS }

function! { Bincount |op, x; weights| {
    let meta = x.meta();
    if !meta.dtype.is_int() || meta.shape.len() != 1 {
        return Err(Error::dtype(format!("takes a vector of integers, got {} {:?}", meta.dtype, meta.shape)));
    }
    if op.minlength < 0 {
        return Err(Error::shape(format!("minlength {} is negative", op.minlength)));
    }
    let classes = x.cast(DType::I64)?;
    let values: Vec<i64> = classes.values()?.to_vec()?;
    if let Some(bad) = values.iter().find(|&&v| v < 0) {
        return Err(Error::kernel(format!("counts from 0 on, got {bad}")));
    }
    let size = values.iter().map(|v| v.saturating_add(1)).max().unwrap_or(0).max(op.minlength);
    let weights = match weights {
        None => V::full(1.0, meta.shape, DType::I64, meta.device)?,
        Some(w) if w.meta().shape != meta.shape => {
            return Err(Error::shape(format!("weights of {:?} do not fit {:?}", w.meta().shape, meta.shape)));
        }
        Some(w) if w.meta().dtype.is_float() => w.clone(),
        Some(w) => w.cast(DType::F64)?,
    };
    classes.index_select_grad(&weights, 0, size)?
}, reads READS }

/// The order of rows `[n, m]`, by the first column, then the second and so on.
fn row_order<V: Value>(rows: &V) -> Result<V> {
    let shape = rows.meta().shape;
    let mut order = V::iota(0.0, 1.0, shape[0] as i64, DType::I64, rows.meta().device)?;
    for column in (0..shape[1] as i64).rev() {
        let keys = rows.select(1, column)?.index_select(&order, 0)?;
        order = order.index_select(&keys.sort(0, false, true)?.1, 0)?;
    }
    Ok(order)
}

function! { Unique |op, x| {
    // The values alone, so that no history passes.
    let x = &V::of_values(x.values()?.clone(), x.meta().device)?;
    let shape = x.meta().shape;
    // What is compared: slices along a dimension, or single elements.
    let (base, dim) = match op.dim.get() {
        Some(dim) if !shape.is_empty() => (x.clone(), shape.dim(dim)?),
        _ => (x.reshape([shape.numel()])?, 0),
    };
    let n = base.meta().shape[dim];
    let width = base.meta().shape.numel().checked_div(n).unwrap_or(1);
    let rows = super::view::moved(&base, dim, 0)?.reshape([n, width])?;
    let order = row_order(&rows)?;
    let sorted = rows.index_select(&order, 0)?;
    let last = n as i64;
    let differs = sorted.slice(0, 1, last, 1)?.ne(&sorted.slice(0, 0, (last - 1).max(0), 1)?)?.any(1, false)?;
    // Where groups of equals start, and the group of each slice.
    let mut starts = Vec::new();
    let mut inverse = vec![0i64; n];
    let fresh = std::iter::once(true).chain(flags(&differs)?);
    for (place, (from, fresh)) in order.values()?.to_vec::<i64>()?.into_iter().zip(fresh).enumerate() {
        if fresh {
            starts.push(place as i64);
        }
        inverse[from as usize] = starts.len() as i64 - 1;
    }
    let firsts = order.index_select(&vector(&starts, x)?, 0)?;
    let mut outs = vec![base.index_select(&firsts, dim as i64)?];
    if op.return_inverse {
        let whole = if op.dim.get().is_some() { Shape::from([n]) } else { shape };
        outs.push(matrix(&inverse, whole, x)?);
    }
    if op.return_counts {
        let ends = starts.iter().skip(1).copied().chain([last]);
        let counts: Vec<i64> = starts.iter().zip(ends).map(|(start, end)| end - start).collect();
        outs.push(vector(&counts, x)?);
    }
    outs
}, no_grad "which elements are equal changes by jumps", reads READS }

function! { IndexPut |op, [xs]| match xs {
    [x, indices @ .., values] if !indices.is_empty() => {
        let index: Vec<Index<V>> = indices.iter().map(|i| Index::Tensor((*i).clone())).collect();
        x.index_set(&index, *values, op.accumulate)?
    }
    _ => return Err(Error::shape(format!("takes an input, indices and values, got {} tensors", xs.len()))),
} }

#[cfg(feature = "spec")]
mod spec {
    use super::coordinates;
    use crate::op::*;
    use crate::spec::{
        Dtypes, OpSpec, RefArray, Sample, axis, bools, broadcast, each_index, index, ints, real, values,
    };
    use esker_tensor::{DType, Shape};

    fn found(x: &RefArray) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        each_index(&x.shape, |i| {
            if x.at(i) != 0.0 {
                found.push(i.to_vec());
            }
        });
        found
    }

    impl OpSpec for Nonzero {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let found = found(&x[0]);
            let data = found.iter().flatten().map(|&i| i as f64).collect();
            vec![RefArray::new(&[found.len(), x[0].shape.len()], data)]
        }
        fn samples() -> Vec<Sample> {
            let new = |x| Sample::new(Nonzero {}, [x]);
            vec![
                new(ints(&[3, 4], -1, 1)).on(Dtypes::All),
                new(ints(&[2, 3, 2], 0, 1)),
                new(values(&[], &[3.0])),
                new(real(&[0, 2])),
                new(values(&[4], &[0.0, 2.0, f64::NAN, 0.0])).note("NaN is other than 0"),
                Sample::new(Nonzero {}, [real(&[2]), real(&[2])]).fails("Shape", "two inputs"),
            ]
        }
    }

    impl OpSpec for NonzeroTuple {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let found = found(&x[0]);
            let line = |d: usize| {
                let data = found.iter().map(|i| i.get(d).map_or(0.0, |&i| i as f64)).collect();
                RefArray::new(&[found.len()], data)
            };
            (0..x[0].shape.len().max(1)).map(line).collect()
        }
        fn samples() -> Vec<Sample> {
            assert_eq!(coordinates(&[5], &Shape::from([2, 3])), [[1], [2]]);
            let new = |x| Sample::new(NonzeroTuple {}, [x]);
            vec![
                new(ints(&[3, 4], -1, 1)).on(Dtypes::All),
                new(values(&[], &[3.0])),
                new(values(&[], &[0.0])),
                new(values(&[2, 2], &[0.0, 5.0, 7.0, 0.0])).known(&[&[0.0, 1.0], &[1.0, 0.0]], "by hand"),
                new(real(&[0, 2])),
                Sample::new(NonzeroTuple {}, [real(&[2]), real(&[2])]).fails("Shape", "two inputs"),
            ]
        }
    }

    impl OpSpec for MaskedSelect {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let shape = broadcast(&[&x[0].shape, &x[1].shape]);
            let own = x[0].broadcast_to(&shape);
            let picked: Vec<f64> = found(&x[1].broadcast_to(&shape)).iter().map(|i| own.at(i)).collect();
            vec![RefArray::new(&[picked.len()], picked)]
        }
        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], mask| Sample::new(MaskedSelect {}, [real(x), mask]);
            vec![
                new(&[3, 4], bools(&[3, 4])).on(Dtypes::All),
                new(&[3, 1], bools(&[4])),
                new(&[2], values(&[2], &[0.0; 2]).of(DType::Bool)).rough(),
                new(&[], values(&[], &[1.0]).of(DType::Bool)),
                Sample::new(
                    MaskedSelect {},
                    [values(&[3], &[1.0, 2.0, 3.0]), values(&[3], &[1.0, 0.0, 1.0]).of(DType::Bool)],
                )
                .known(&[&[1.0, 3.0]], "by hand"),
                new(&[3], bools(&[2])).fails("Shape", "no broadcast"),
                new(&[3], ints(&[3], 0, 1).of(DType::U8)).fails("DType", "no mask"),
            ]
        }
    }

    impl OpSpec for Bincount {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let size = x[0].data.iter().fold(self.minlength as f64, |a, &v| a.max(v + 1.0)) as usize;
            let mut counts = vec![0.0; size];
            for (i, &v) in x[0].data.iter().enumerate() {
                counts[v as usize] += x.get(1).map_or(1.0, |w| w.data[i]);
            }
            vec![RefArray::new(&[size], counts)]
        }
        fn samples() -> Vec<Sample> {
            let op = |minlength| Bincount { minlength };
            let classes = || index(&[3, 0, 1, 3, 3]);
            vec![
                Sample::new(op(0), [ints(&[20], 0, 5)]).on(Dtypes::Ints),
                Sample::new(op(7), [classes()]),
                Sample::new(op(0), [classes(), real(&[5])]).on(Dtypes::Only(&[DType::F32, DType::F64])),
                Sample::new(op(2), [index(&[])]),
                Sample::new(op(0), [classes()]).known(&[&[1.0, 1.0, 0.0, 3.0]], "by hand"),
                Sample::new(op(0), [index(&[1, -1])]).fails("Kernel", "a negative class"),
                Sample::new(op(-1), [classes()]).fails("Shape", "a negative length"),
                Sample::new(op(0), [classes(), real(&[4])]).fails("Shape", "too few weights"),
                Sample::new(op(0), [real(&[3])]).fails("DType", "floats are no classes"),
            ]
        }
    }

    impl OpSpec for Unique {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let x0 = &x[0];
            let (base, d) = match self.dim.get() {
                Some(dim) => (x0.clone(), axis(dim, x0.shape.len())),
                None => (RefArray::new(&[x0.data.len()], x0.data.clone()), 0),
            };
            let n = base.shape[d];
            let mut slices: Vec<Vec<f64>> = vec![Vec::new(); n];
            let mut source = base.data.iter();
            each_index(&base.shape, |i| slices[i[d]].extend(source.next()));
            let mut distinct = slices.clone();
            // NaN is the largest.
            let order = |a: &f64, b: &f64| a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
            let places = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| order(a, b)).find(|o| o.is_ne());
            distinct.sort_by(|a, b| places(a, b).unwrap_or(std::cmp::Ordering::Equal));
            distinct.dedup();
            let mut shape = base.shape.clone();
            shape[d] = distinct.len();
            let mut next = vec![0; distinct.len()];
            let picked = RefArray::from_fn(&shape, |i| {
                next[i[d]] += 1;
                distinct[i[d]][next[i[d]] - 1]
            });
            let group = |s: &Vec<f64>| distinct.iter().position(|g| g == s).unwrap_or(usize::MAX);
            let groups: Vec<usize> = slices.iter().map(group).collect();
            let mut outs = vec![picked];
            if self.return_inverse {
                let whole = if self.dim.get().is_some() { vec![n] } else { x0.shape.clone() };
                outs.push(RefArray::new(&whole, groups.iter().map(|&g| g as f64).collect()));
            }
            if self.return_counts {
                let count = |g: usize| groups.iter().filter(|&&other| other == g).count() as f64;
                outs.push(RefArray::new(&[distinct.len()], (0..distinct.len()).map(count).collect()));
            }
            outs
        }
        fn samples() -> Vec<Sample> {
            let op = |all: bool, dim: Option<i64>| Unique {
                sorted: true,
                return_inverse: all,
                return_counts: all,
                dim: dim.into(),
            };
            let new = |all, dim, x| Sample::new(op(all, dim), [x]);
            vec![
                new(true, None, ints(&[4, 5], -2, 2)).on(Dtypes::All),
                new(false, None, ints(&[9], -2, 2)),
                new(true, Some(0), ints(&[6, 2], 0, 1)).on(Dtypes::Numbers),
                new(true, Some(-1), ints(&[2, 5], 0, 1)),
                new(true, None, real(&[0])),
                new(true, None, values(&[], &[2.0])),
                new(true, None, values(&[3], &[2.0, 1.0, 2.0]))
                    .known(&[&[1.0, 2.0], &[1.0, 0.0, 1.0], &[1.0, 2.0]], "by hand"),
                new(false, None, values(&[3], &[f64::NAN, 1.0, f64::NAN]))
                    .known(&[&[1.0, f64::NAN, f64::NAN]], "PyTorch's rule: no NaN equals another"),
                new(false, Some(2), real(&[2, 2])).fails("Dim", "out of range"),
            ]
        }
    }

    impl OpSpec for IndexPut {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, indices @ .., values] = x else { return vec![] };
            // The mask of the samples, or vectors for the first dimensions; the values are one or in the right shape.
            let mut y = x.clone();
            let one = values.data.len() == 1;
            if indices[0].dtype == DType::Bool {
                found(&indices[0]).iter().for_each(|i| *y.at_mut(i) = values.data[0]);
                return vec![y];
            }
            let count = indices[0].data.len();
            let mut shape = vec![count];
            shape.extend(&x.shape[indices.len()..]);
            each_index(&shape, |i| {
                let place = |(d, p): (usize, &RefArray)| if p.data[i[0]] < 0.0 { p.data[i[0]] + x.shape[d] as f64 } else { p.data[i[0]] } as usize;
                let to: Vec<usize> = indices.iter().enumerate().map(place).chain(i[1..].iter().copied()).collect();
                let v = if one { values.data[0] } else { values.at(i) };
                let old = y.at_mut(&to);
                *old = if self.accumulate { *old + v } else { v };
            });
            vec![y]
        }
        fn samples() -> Vec<Sample> {
            let op = |accumulate| IndexPut { accumulate };
            let two = || [index(&[0, -1, 2]), index(&[1, 1, 0])];
            let new = |accumulate, src| {
                let [a, b] = two();
                Sample::new(op(accumulate), [real(&[3, 2]), a, b, src])
            };
            vec![
                new(false, real(&[3])).on(Dtypes::All),
                new(true, real(&[3])).on(Dtypes::Numbers),
                new(true, real(&[])),
                Sample::new(op(false), [real(&[4, 3]), index(&[3, 0]), real(&[2, 3])]),
                Sample::new(op(false), [real(&[2, 3]), bools(&[2, 3]), real(&[])]),
                Sample::new(op(true), [values(&[2], &[1.0, 2.0]), index(&[0, 0]), values(&[2], &[3.0, 4.0])])
                    .known(&[&[8.0, 2.0]], "by hand"),
                new(false, real(&[2])).fails("Shape", "values that do not broadcast"),
                Sample::new(op(false), [real(&[2]), index(&[2]), real(&[1])]).fails("Dim", "beyond the end"),
                Sample::new(op(false), [real(&[2]), real(&[1])]).fails("Shape", "no index"),
            ]
        }
    }
}
