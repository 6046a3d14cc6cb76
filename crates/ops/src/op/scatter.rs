//! Elements and slices picked and put by index, in terms of the few ops that do it.

use esker_tensor::{DType, Error, Result, Shape};

use super::elements::vector;
use super::{function, need_i64, scalar_like};
use crate::{Ops, Put, Value};

/// A source as the index needs it: one value repeated, a larger one cut.
fn fitted<V: Value>(src: &V, x: &V, index: &V) -> Result<V> {
    let (meta, shape) = (src.meta(), index.meta().shape);
    if meta.shape.is_empty() {
        return src.cast(x.meta().dtype)?.expand(shape);
    }
    if meta.shape.len() != shape.len().max(1) || meta.shape.iter().zip(&shape[..]).any(|(a, b)| a < b) {
        return Err(Error::shape(format!("a source of {:?} is smaller than its index, {shape:?}", meta.shape)));
    }
    if shape.is_empty() {
        return src.slice(0, 0, 1, 1)?.reshape(shape);
    }
    let mut y = src.clone();
    for (d, (&n, &whole)) in shape.iter().zip(&meta.shape[..]).enumerate().filter(|(_, (n, whole))| n != whole) {
        debug_assert!(n < whole);
        y = y.slice(d as i64, 0, n as i64, 1)?;
    }
    Ok(y)
}

function! { Scatter |op, x, index, src| {
    let put = match op.reduce.as_str() {
        "" => Put::Replace,
        "add" => Put::Sum,
        "multiply" => Put::Prod,
        other => return Err(Error::shape(format!("reduce is add or multiply, got {other:?}"))),
    };
    x.scatter_elements(index, &fitted(src, x, index)?, op.dim, put)?
} }

function! { ScatterAdd |op, x, index, src| x.scatter_elements(index, &fitted(src, x, index)?, op.dim, Put::Sum)? }

/// Below all values of a dtype, or above.
fn end(dtype: DType, lowest: bool) -> f64 {
    let (low, high) = match dtype {
        DType::Bool => (0.0, 1.0),
        DType::U8 => (0.0, f64::from(u8::MAX)),
        DType::I8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        DType::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        DType::I64 => (i64::MIN as f64, i64::MAX as f64),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    if lowest { low } else { high }
}

function! { ScatterReduce |op, x, index, src| {
    let (meta, shape) = (x.meta(), index.meta().shape);
    let (put, neutral) = match op.reduce.as_str() {
        "sum" | "mean" => (Put::Sum, 0.0),
        "prod" => (Put::Prod, 1.0),
        "amax" => (Put::Max, end(meta.dtype, true)),
        "amin" => (Put::Min, end(meta.dtype, false)),
        other => return Err(Error::shape(format!("reduce is sum, prod, mean, amax or amin, got {other:?}"))),
    };
    let src = fitted(src, x, index)?;
    let full = |value: f64, shape: Shape, dtype| V::full(value, shape, dtype, meta.device);
    let start = if op.include_self {
        x.clone()
    } else {
        x.scatter_elements(index, &full(neutral, shape, meta.dtype)?, op.dim, Put::Replace)?
    };
    let total = start.scatter_elements(index, &src, op.dim, put)?;
    if op.reduce != "mean" {
        return Ok([total].into_iter().collect());
    }
    let first = full(f64::from(u8::from(op.include_self)), meta.shape, DType::I64)?;
    let count = first.scatter_elements(index, &full(1.0, shape, DType::I64)?, op.dim, Put::Sum)?;
    let count = count.maximum(&V::scalar(1.0, DType::I64, meta.device)?)?.cast(meta.dtype)?;
    if meta.dtype.is_float() { total.div(&count)? } else { total.floor_divide(&count)? }
} }

/// An index whose negative places count from the end.
pub(crate) fn from_start<V: Value>(index: &V, size: usize) -> Result<V> {
    let int = |v: f64| V::scalar(v, DType::I64, index.meta().device);
    index.lt(&int(0.0)?)?.where_cond(&index.add(&int(size as f64)?)?, index)
}

function! { TakeAlongDim |op, x, index| {
    need_i64("the indices", index.meta().dtype)?;
    match op.dim.get() {
        None => x.reshape([-1])?.gather(&index.reshape([-1])?, 0)?,
        Some(dim) => {
            let (mut of, mut by) = (x.meta().shape, index.meta().shape);
            if of.len() != by.len() {
                return Err(Error::shape(format!("indices of {by:?} do not have the rank of {of:?}")));
            }
            let d = of.dim(dim)?;
            if of.is_empty() {
                x.gather(index, 0)?
            } else {
                let (n, m) = (of[d], by[d]);
                (of[d], by[d]) = (1, 1);
                let mut shape = of.broadcast(&by)?;
                shape[d] = n;
                let x = x.expand(shape)?;
                shape[d] = m;
                x.gather(&index.expand(shape)?, d as i64)?
            }
        }
    }
} }

function! { Take |_op, x, index| {
    need_i64("the index", index.meta().dtype)?;
    let shape = index.meta().shape;
    let n = x.meta().shape.numel();
    x.reshape([n])?.index_select(&from_start(&index.reshape([shape.numel()])?, n)?, 0)?.reshape(shape)?
} }

/// Input, index and dimension, where a scalar counts as a vector of one element.
fn sliced<V: Value>(x: &V, index: &V, dim: i64) -> Result<(V, V, usize)> {
    need_i64("the index", index.meta().dtype)?;
    let (shape, by) = (x.meta().shape, index.meta().shape);
    let dim = shape.dim(dim)?;
    if by.len() > 1 {
        return Err(Error::shape(format!("the index must be a vector, got {by:?}")));
    }
    Ok((vector(x)?, vector(index)?, dim))
}

/// A source with a slice for each of `n` indices.
fn slices<V: Value>(source: &V, x: &V, dim: usize, n: usize) -> Result<V> {
    let (mut shape, of) = (x.meta().shape, source.meta());
    shape[dim] = n;
    if of.dtype != x.meta().dtype {
        return Err(Error::dtype(format!("the source must be {} like the input, got {}", x.meta().dtype, of.dtype)));
    }
    if of.shape == shape {
        return Ok(source.clone());
    }
    if of.shape.is_empty() && shape.numel() == 1 {
        return source.reshape(shape);
    }
    Err(Error::shape(format!("a source of {:?} was given where {shape:?} is needed", of.shape)))
}

function! { IndexAdd |op, x, index, source| {
    let meta = x.meta();
    if meta.dtype == DType::Bool {
        return Err(Error::dtype("takes numbers, got bool; cast first"));
    }
    let alpha = op.alpha.get();
    if meta.dtype.is_int() && alpha.fract() != 0.0 {
        return Err(Error::dtype(format!("alpha must be whole for {}, got {alpha}", meta.dtype)));
    }
    let (x, index, dim) = sliced(x, index, op.dim)?;
    let source = slices(source, &x, dim, index.meta().shape[0])?;
    let source = if alpha == 1.0 { source } else { source.mul(&scalar_like(&source, alpha)?)? };
    x.add_slices(&index, &source, dim as i64)?.reshape(meta.shape)?
} }

function! { IndexCopy |op, x, index, source| {
    let whole = x.meta().shape;
    let (x, index, dim) = sliced(x, index, op.dim)?;
    let n = index.meta().shape[0];
    let source = slices(source, &x, dim, n)?;
    let mut line = Shape::filled(1, x.meta().shape.len());
    line[dim] = n;
    let index = index.reshape(line)?.expand(source.meta().shape)?;
    x.scatter_elements(&index, &source, dim as i64, Put::Replace)?.reshape(whole)?
} }

function! { IndexFill |op, x, index| {
    let meta = x.meta();
    let (x, index, dim) = sliced(x, index, op.dim)?;
    let size = x.meta().shape[dim];
    let ones = V::full(1.0, index.meta().shape, DType::I64, meta.device)?;
    let mut line = Shape::filled(1, x.meta().shape.len());
    line[dim] = size;
    let hits = from_start(&index, size)?.index_select_grad(&ones, 0, size as i64)?;
    let chosen = hits.gt(&V::scalar(0.0, DType::I64, meta.device)?)?.reshape(line)?;
    chosen.where_cond(&V::scalar(op.value.get(), meta.dtype, meta.device)?, &x)?.reshape(meta.shape)?
} }

function! { MaskedScatter |_op, x, mask, source| {
    let (meta, of) = (x.meta(), source.meta());
    if mask.meta().dtype != DType::Bool || of.dtype != meta.dtype {
        return Err(Error::dtype(format!(
            "takes a bool mask and a source of {}, got {} and {}",
            meta.dtype,
            mask.meta().dtype,
            of.dtype
        )));
    }
    let shape = meta.shape.broadcast(&mask.meta().shape)?;
    let mask = mask.expand(shape)?;
    let zero = V::scalar(0.0, DType::I64, meta.device)?;
    let place = mask.cast(DType::I64)?.reshape([shape.numel()])?.cumsum(0, false)?.reshape(shape)?;
    let place = mask.where_cond(&place.sub(&V::scalar(1.0, DType::I64, meta.device)?)?, &zero)?;
    // An element that is never read, so that there is one where the mask holds nowhere.
    let flat = source.reshape([of.shape.numel()])?;
    let flat = if of.shape.numel() == 0 { V::full(0.0, [1], of.dtype, of.device)? } else { flat };
    let taken = flat.index_select(&place.reshape([shape.numel()])?, 0)?.reshape(shape)?;
    mask.where_cond(&taken, &x.expand(shape)?)?
} }

#[cfg(feature = "spec")]
mod spec {
    use super::end;
    use crate::op::*;
    use crate::spec::{
        Dtypes, Input, OpSpec, RefArray, Sample, axis, bools, broadcast, distinct, each_index, index, ints, real,
        values,
    };
    use esker_tensor::DType;

    fn places(shape: &[usize], places: &[i64]) -> Input {
        values(shape, &places.iter().map(|&p| p as f64).collect::<Vec<_>>()).of(DType::I64)
    }

    /// Calls `f` with the place that each element of an index names, and the source's element.
    fn each_put(x: &[RefArray], dim: i64, mut f: impl FnMut(&[usize], f64)) {
        let d = axis(dim, x[0].shape.len());
        each_index(&x[1].shape, |i| {
            let mut to = i.to_vec();
            if let Some(t) = to.get_mut(d) {
                *t = x[1].at(i) as usize;
            }
            let one = x[2].data.len() == 1;
            f(&to, if one { x[2].data[0] } else { x[2].at(i) });
        });
    }

    impl OpSpec for Scatter {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let mut y = x[0].clone();
            each_put(x, self.dim, |to, v| {
                let old = y.at(to);
                *y.at_mut(to) = match self.reduce.as_str() {
                    "add" => old + v,
                    "multiply" => old * v,
                    _ => v,
                }
            });
            vec![y]
        }
        fn samples() -> Vec<Sample> {
            let op = |dim, reduce: &str| Scatter { dim, reduce: reduce.into() };
            let new = |op: Scatter, src| Sample::new(op, [real(&[4, 3]), places(&[2, 2], &[3, 0, 1, 2]), src]);
            vec![
                new(op(0, ""), real(&[2, 2])).on(Dtypes::All),
                new(op(0, ""), real(&[3, 4])).note("a larger source"),
                new(op(0, ""), values(&[], &[2.0])).on(Dtypes::All).note("one value"),
                new(op(0, "add"), real(&[2, 2])).on(Dtypes::Numbers),
                new(op(0, "multiply"), real(&[2, 2])),
                Sample::new(op(0, ""), [real(&[]), places(&[], &[0]), values(&[], &[2.5])]),
                Sample::new(op(0, ""), [values(&[3], &[1.0, 2.0, 3.0]), places(&[1], &[1]), values(&[1], &[7.0])])
                    .known(&[&[1.0, 7.0, 3.0]], "by hand"),
                new(op(0, ""), real(&[1, 2])).fails("Shape", "a smaller source"),
                new(op(0, "max"), real(&[2, 2])).fails("Shape", "an unknown word"),
                new(op(2, ""), real(&[2, 2])).fails("Dim", "out of range"),
            ]
        }
    }

    impl OpSpec for ScatterAdd {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let mut y = x[0].clone();
            each_put(x, self.dim, |to, v| *y.at_mut(to) += v);
            vec![y]
        }
        fn samples() -> Vec<Sample> {
            let op = |dim| ScatterAdd { dim };
            let twice = || places(&[2, 2], &[1, 1, 1, 0]);
            vec![
                Sample::new(op(0), [real(&[3, 3]), twice(), real(&[2, 2])]).on(Dtypes::Numbers),
                Sample::new(op(-1), [real(&[2, 3]), twice(), real(&[2, 3])]),
                Sample::new(op(0), [values(&[2], &[1.0, 2.0]), places(&[2], &[0, 0]), values(&[2], &[3.0, 4.0])])
                    .known(&[&[8.0, 2.0]], "by hand"),
                Sample::new(op(0), [real(&[3, 3]), twice(), real(&[1, 2])]).fails("Shape", "a smaller source"),
                Sample::new(op(0), [real(&[2]), places(&[1], &[2]), real(&[1])]).fails("Kernel", "beyond the end"),
            ]
        }
    }

    impl OpSpec for ScatterReduce {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let mut groups: Vec<Vec<f64>> = x[0].data.iter().map(|&v| vec![v]).collect();
            each_put(x, self.dim, |to, v| {
                let flat = to.iter().zip(&x[0].shape).fold(0, |flat, (&i, &n)| flat * n + i);
                groups[flat].push(v);
            });
            let fold = |g: &[f64]| match self.reduce.as_str() {
                "sum" => g.iter().sum(),
                "mean" => {
                    let mean = g.iter().sum::<f64>() / g.len() as f64;
                    if x[0].dtype.is_float() { mean } else { mean.floor() }
                }
                "prod" => g.iter().product(),
                "amax" => g.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                _ => g.iter().copied().fold(f64::INFINITY, f64::min),
            };
            let own = |g: &Vec<f64>| fold(if self.include_self || g.len() == 1 { g } else { &g[1..] });
            vec![RefArray::new(&x[0].shape, groups.iter().map(own).collect())]
        }
        fn samples() -> Vec<Sample> {
            let op = |dim, reduce: &str, include_self| ScatterReduce { dim, reduce: reduce.into(), include_self };
            let mut out = Vec::new();
            for reduce in ["sum", "prod", "mean", "amax", "amin"] {
                for include_self in [true, false] {
                    let op = op(0, reduce, include_self);
                    let index = || places(&[4, 2], &[0, 2, 2, 2, 0, 0, 2, 2]);
                    let new = |x, src| Sample::new(op.clone(), [x, index(), src]);
                    out.push(new(distinct(&[3, 3]), distinct(&[4, 2])));
                    out.push(new(ints(&[3, 2], 1, 3), ints(&[4, 2], 1, 3)).on(Dtypes::Numbers).rough());
                }
            }
            let (x, src) = (values(&[2], &[1.0, 2.0]), values(&[2], &[5.0, 6.0]));
            let known = |op: ScatterReduce| Sample::new(op, [x.clone(), places(&[2], &[0, 0]), src.clone()]);
            out.push(known(op(0, "mean", true)).known(&[&[4.0, 2.0]], "by hand"));
            out.push(known(op(0, "mean", false)).known(&[&[5.5, 2.0]], "by hand"));
            out.push(known(op(0, "amin", false)).known(&[&[5.0, 2.0]], "by hand"));
            out.push(known(op(0, "or", false)).fails("Shape", "an unknown word"));
            let ends = [DType::U8, DType::I64, DType::F32].map(|d| (end(d, true), end(d, false)));
            assert!(ends.iter().all(|(low, high)| low < high));
            out
        }
    }

    impl OpSpec for TakeAlongDim {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let Some(dim) = self.dim.get() else {
                let flat = x[1].data.iter().map(|&i| x[0].data[i as usize]).collect::<Vec<_>>();
                return vec![RefArray::new(&[flat.len()], flat)];
            };
            let d = axis(dim, x[0].shape.len());
            let (mut of, mut by) = (x[0].shape.clone(), x[1].shape.clone());
            (of[d], by[d]) = (1, 1);
            let mut shape = broadcast(&[&of, &by]);
            shape[d] = x[0].shape[d];
            let x0 = x[0].broadcast_to(&shape);
            shape[d] = x[1].shape[d];
            let index = x[1].broadcast_to(&shape);
            vec![RefArray::from_fn(&shape, |i| {
                let mut at = i.to_vec();
                at[d] = index.at(i) as usize;
                x0.at(&at)
            })]
        }
        fn samples() -> Vec<Sample> {
            let new =
                |dim: Option<i64>, x: &[usize], by: Input| Sample::new(TakeAlongDim { dim: dim.into() }, [real(x), by]);
            vec![
                new(Some(1), &[3, 4], places(&[3, 2], &[3, 0, 1, 1, 2, 3])).on(Dtypes::All),
                new(Some(0), &[4, 3], places(&[2, 1], &[3, 0])).note("a broadcast index"),
                new(Some(-1), &[1, 4], places(&[3, 1], &[3, 0, 1])).note("a broadcast input"),
                new(None, &[2, 3], places(&[2, 2], &[5, 0, 3, 3])),
                Sample::new(TakeAlongDim { dim: 0.into() }, [values(&[2], &[1.0, 2.0]), index(&[1, 1, 0])])
                    .known(&[&[2.0, 2.0, 1.0]], "by hand"),
                new(Some(0), &[4, 3], places(&[2], &[3, 0])).fails("Shape", "another rank"),
                new(Some(0), &[4, 3], places(&[1, 2], &[3, 0])).fails("Shape", "no broadcast"),
                new(Some(2), &[4, 3], places(&[1, 1], &[3])).fails("Dim", "out of range"),
                new(None, &[3], real(&[2])).fails("DType", "floats are no places"),
            ]
        }
    }

    impl OpSpec for Take {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let n = x[0].data.len() as f64;
            vec![x[1].map(|i| x[0].data[if i < 0.0 { i + n } else { i } as usize])]
        }
        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], by| Sample::new(Take {}, [real(x), by]);
            vec![
                new(&[2, 3], places(&[2, 2], &[5, 0, -1, 3])).on(Dtypes::All),
                new(&[], places(&[], &[0])),
                Sample::new(Take {}, [values(&[3], &[1.0, 2.0, 3.0]), index(&[-3, 2])])
                    .known(&[&[1.0, 3.0]], "by hand"),
                new(&[2, 3], index(&[6])).fails("Kernel", "beyond the end"),
                new(&[2, 3], real(&[1])).fails("DType", "floats are no places"),
            ]
        }
    }

    /// `f(y, place, source's element)` for each element of the source of an op on slices.
    fn each_slice(x: &[RefArray], dim: i64, f: impl Fn(&mut f64, f64)) -> Vec<RefArray> {
        let mut y = x[0].clone();
        let d = axis(dim, x[0].shape.len());
        each_index(&x[2].shape, |i| {
            let mut to = i.to_vec();
            if let Some(t) = to.get_mut(d) {
                *t = x[1].data[i[d]] as usize;
            }
            f(y.at_mut(&to), x[2].at(i));
        });
        vec![y]
    }

    impl OpSpec for IndexAdd {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            each_slice(x, self.dim, |y, v| *y += self.alpha.get() * v)
        }
        fn samples() -> Vec<Sample> {
            let op = |dim, alpha: f64| IndexAdd { dim, alpha: alpha.into() };
            let new = |dim, alpha, x: &[usize], i: &[i64], src: &[usize]| {
                Sample::new(op(dim, alpha), [real(x), index(i), real(src)])
            };
            vec![
                new(0, 1.0, &[4, 3], &[3, 0, 3], &[3, 3]).on(Dtypes::Numbers),
                new(-1, 2.0, &[2, 3], &[1, 1], &[2, 2]).on(Dtypes::Numbers),
                new(1, -0.5, &[2, 3, 2], &[2], &[2, 1, 2]),
                new(0, 1.0, &[], &[0], &[]),
                new(0, 1.0, &[3, 2], &[], &[0, 2]),
                Sample::new(op(0, 2.0), [values(&[2], &[1.0, 2.0]), index(&[1]), values(&[1], &[3.0])])
                    .known(&[&[1.0, 8.0]], "by hand"),
                new(0, 1.0, &[3, 2], &[0, 1], &[1, 2]).fails("Shape", "too few slices"),
                new(0, 1.0, &[3, 2], &[3], &[1, 2]).fails("Kernel", "beyond the end"),
                new(2, 1.0, &[3, 2], &[0], &[1, 2]).fails("Dim", "out of range"),
                new(0, 0.5, &[3], &[0], &[1]).on(Dtypes::Ints).fails("DType", "half of an integer"),
                new(0, 1.0, &[3], &[0], &[1]).on(Dtypes::Only(&[DType::Bool])).fails("DType", "bool"),
            ]
        }
    }

    impl OpSpec for IndexCopy {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            each_slice(x, self.dim, |y, v| *y = v)
        }
        fn samples() -> Vec<Sample> {
            let new = |dim, x: &[usize], i: &[i64], src: &[usize]| {
                Sample::new(IndexCopy { dim }, [real(x), index(i), real(src)])
            };
            vec![
                new(0, &[4, 3], &[3, 0], &[2, 3]).on(Dtypes::All),
                new(-1, &[2, 3], &[1, 1], &[2, 2]).note("the last one stays"),
                new(0, &[], &[0], &[]),
                Sample::new(IndexCopy { dim: 0 }, [values(&[2], &[1.0, 2.0]), index(&[1]), values(&[1], &[3.0])])
                    .known(&[&[1.0, 3.0]], "by hand"),
                new(0, &[3, 2], &[0, 1], &[1, 2]).fails("Shape", "too few slices"),
                new(0, &[3, 2], &[-1], &[1, 2]).fails("Kernel", "before the start"),
                Sample::new(IndexCopy { dim: 0 }, [real(&[2]), index(&[0]), real(&[1]).of(DType::I32)])
                    .fails("DType", "another dtype"),
            ]
        }
    }

    impl OpSpec for IndexFill {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let d = axis(self.dim, x[0].shape.len());
            vec![RefArray::from_fn(&x[0].shape, |i| {
                let n = x[0].shape.get(d).map_or(1.0, |&n| n as f64);
                let own = i.get(d).map_or(0.0, |&i| i as f64);
                if x[1].data.iter().any(|&p| p == own || p + n == own) { self.value.get() } else { x[0].at(i) }
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |dim| IndexFill { dim, value: 2.0.into() };
            let new = |dim, x: &[usize], i: &[i64]| Sample::new(op(dim), [real(x), index(i)]);
            vec![
                new(0, &[4, 3], &[3, 0]).on(Dtypes::All),
                new(1, &[2, 3, 2], &[-1, 0]),
                new(0, &[3], &[]),
                new(0, &[], &[0]),
                Sample::new(op(0), [values(&[2], &[1.0, 5.0]), index(&[1])]).known(&[&[1.0, 2.0]], "by hand"),
                new(0, &[3], &[3]).fails("Kernel", "beyond the end"),
                new(1, &[3], &[0]).fails("Dim", "out of range"),
                Sample::new(op(0), [real(&[2]), places(&[1, 1], &[0])]).fails("Shape", "a matrix"),
            ]
        }
    }

    impl OpSpec for MaskedScatter {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let shape = broadcast(&[&x[0].shape, &x[1].shape]);
            let (own, mask) = (x[0].broadcast_to(&shape), x[1].broadcast_to(&shape));
            let mut next = x[2].data.iter();
            vec![RefArray::from_fn(&shape, |i| {
                if mask.at(i) == 0.0 { own.at(i) } else { next.next().copied().unwrap_or(f64::NAN) }
            })]
        }
        fn samples() -> Vec<Sample> {
            let new =
                |x: &[usize], mask: Input, src: &[usize]| Sample::new(MaskedScatter {}, [real(x), mask, real(src)]);
            vec![
                new(&[3, 4], bools(&[3, 4]), &[4, 3]).on(Dtypes::All),
                new(&[2, 4], bools(&[4]), &[9]),
                new(&[3], values(&[3], &[0.0; 3]).of(DType::Bool), &[0]),
                Sample::new(
                    MaskedScatter {},
                    [
                        values(&[3], &[1.0, 2.0, 3.0]),
                        values(&[3], &[1.0, 0.0, 1.0]).of(DType::Bool),
                        values(&[2], &[8.0, 9.0]),
                    ],
                )
                .known(&[&[8.0, 2.0, 9.0]], "by hand"),
                new(&[3], values(&[3], &[1.0; 3]).of(DType::Bool), &[2]).fails("Kernel", "too few elements"),
                new(&[3], ints(&[3], 0, 1).of(DType::U8), &[3]).fails("DType", "no mask"),
                new(&[3], bools(&[2]), &[3]).fails("Shape", "no broadcast"),
            ]
        }
    }
}
