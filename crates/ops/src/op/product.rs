//! Products over dimensions and running products. Their gradients divide by nothing, so that zeros do no harm.

use esker_tensor::{DType, Dims, Result};
use smallvec::smallvec;

use super::reduce::{reduced, spread};
use super::{Cumprod, Prod, inputs, no_sizes};
use crate::{Fold, Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Value, Vjp};

/// Small integers multiply in i64.
fn is_small(meta: &Meta) -> bool {
    !meta.dtype.is_float() && meta.dtype != DType::I64
}

/// `x` moved `by` places towards the end of a dimension (the start, when negative), `fill` in the gap.
fn shifted<V: Value>(x: &V, dim: usize, by: i64, fill: f64) -> Result<V> {
    let meta = x.meta();
    let (n, mut gap) = (meta.shape[dim] as i64, meta.shape);
    let by = by.clamp(-n, n);
    gap[dim] = by.unsigned_abs() as usize;
    let gap = V::full(fill, gap, meta.dtype, meta.device)?;
    let dim = dim as i64;
    if by > 0 {
        V::cat(&[&gap, &x.slice(dim, 0, n - by, 1)?], dim)
    } else {
        V::cat(&[&x.slice(dim, -by, n, 1)?, &gap], dim)
    }
}

/// For each element of a line, the product of those before it, or behind it.
fn beside<V: Value>(x: &V, dim: usize, behind: bool) -> Result<V> {
    shifted(&x.cumprod(dim as i64, behind)?, dim, if behind { -1 } else { 1 }, 1.0)
}

/// The product of all others along a dimension.
fn others<V: Value>(x: &V, dim: usize) -> Result<V> {
    beside(x, dim, false)?.mul(&beside(x, dim, true)?)
}

/// The product of all others that meet when `dims` are reduced.
fn others_over<V: Value>(x: &V, dims: &Dims) -> Result<V> {
    let shape = x.meta().shape;
    match dims[..] {
        [] => V::full(1.0, shape, x.meta().dtype, x.meta().device),
        [dim] => others(x, usize::from(dim)),
        _ => {
            let rank = shape.len() as u8;
            let order: Vec<u8> = (0..rank).filter(|d| !dims.contains(d)).chain(dims.iter().copied()).collect();
            let lines = x.permute(&order.iter().map(|&d| i64::from(d)).collect::<Vec<_>>()[..])?;
            let kept = reduced(&shape, dims, false);
            let count: usize = dims.iter().map(|&d| shape[usize::from(d)]).product();
            let flat = lines.reshape(kept.with(count)?)?;
            let mut inverse = vec![0; order.len()];
            order.iter().enumerate().for_each(|(to, &from)| inverse[usize::from(from)] = to as i64);
            others(&flat, kept.len())?.reshape(lines.meta().shape)?.permute(&inverse[..])
        }
    }
}

impl OpRule for Prod {
    fn name(&self) -> &'static str {
        "prod"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        let shape = reduced(&x.shape, &self.dim.of(&x.shape)?, self.keepdim);
        Ok(smallvec![Meta::new(if x.dtype.is_float() { x.dtype } else { DType::I64 }, shape, x.device)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        match x.first() {
            Some(m) if is_small(m) => Lowering::Compose,
            _ => super::reduce::lower(Fold::Prod, &self.dim, x),
        }
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let x = x.first()?;
        is_small(&x.meta()).then(|| Ok(smallvec![x.cast(DType::I64)?.prod(self.dim, self.keepdim)?]))
    }

    fn grad(&self) -> Grad {
        Grad::inputs(1)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (x, shape) = (cx.x(0)?, &cx.x_metas[0].shape);
        let dims = self.dim.of(shape)?;
        cx.only(0, || spread(cx.dy()?, &dims, shape)?.mul(&others_over(x, &dims)?))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if cx.x[0].dtype != cx.y[0].dtype {
            return Onnx::Compose;
        }
        super::reduce::onnx_reduce("ReduceProd", 18, &self.dim, self.keepdim, cx)
    }

    no_sizes!();
}

impl OpRule for Cumprod {
    fn name(&self) -> &'static str {
        "cumprod"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        x.shape.dim(self.dim)?;
        Ok(smallvec![x.with_dtype(if x.dtype.is_float() { x.dtype } else { DType::I64 })])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        match x.first() {
            Some(m) if !m.shape.is_empty() && !is_small(m) => {
                let dim = m.shape.dim(self.dim).unwrap_or(0);
                Lowering::Kernel(Kernel::Scan { op: Fold::Prod, dim, reverse: self.reverse })
            }
            _ => Lowering::Compose,
        }
    }

    /// Each round doubles the number of factors.
    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let x = *x.first()?;
        let meta = x.meta();
        let running = || {
            if is_small(&meta) {
                return x.cast(DType::I64)?.cumprod(self.dim, self.reverse);
            }
            let mut y = x.clone();
            if meta.shape.is_empty() {
                return Ok(y);
            }
            let dim = meta.shape.dim(self.dim)?;
            let mut by = 1;
            while by < meta.shape[dim] as i64 {
                y = y.mul(&shifted(&y, dim, if self.reverse { -by } else { by }, 1.0)?)?;
                by *= 2;
            }
            Ok(y)
        };
        Some(running().map(|y| smallvec![y]))
    }

    fn grad(&self) -> Grad {
        Grad::inputs(1)
    }

    /// The product before an element, times `s = dy + (next element) * (next s)`, which each round sums twice as far.
    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (x, dy) = (cx.x(0)?, cx.dy()?);
        let shape = &cx.x_metas[0].shape;
        if shape.is_empty() {
            return cx.only(0, || Ok(dy.clone()));
        }
        let dim = shape.dim(self.dim)?;
        let towards = if self.reverse { 1 } else { -1 };
        cx.only(0, || {
            let (mut s, mut a) = (dy.clone(), shifted(x, dim, towards, 0.0)?);
            let mut by = 1;
            while by < shape[dim] as i64 {
                s = s.add(&a.mul(&shifted(&s, dim, towards * by, 0.0)?)?)?;
                a = a.mul(&shifted(&a, dim, towards * by, 0.0)?)?;
                by *= 2;
            }
            s.mul(&beside(x, dim, self.reverse)?)
        })
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose // Up to opset 23 there is no node for it.
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::Axes;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, along_each_dim, axes, axis, ints, real, values};

    impl OpSpec for Prod {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![x[0].fold(&axes(&self.dim, x[0].shape.len()), self.keepdim, |g| g.iter().product())]
        }

        fn samples() -> Vec<Sample> {
            let new = |dim: Axes, keepdim, x| Sample::new(Prod { dim, keepdim }, [x]);
            let zeros = values(&[4, 3], &[1.5, 0.0, 2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, -1.0, 0.5]);
            vec![
                new(1.into(), false, real(&[2, 3])),
                new((-1).into(), true, real(&[2, 3])),
                new(0.into(), false, real(&[4, 5])),
                new(().into(), false, real(&[2, 3])),
                new(().into(), true, real(&[2, 3])),
                new([0, 2].into(), false, real(&[2, 3, 2])),
                new(().into(), false, real(&[])),
                new(0.into(), true, real(&[])),
                new(0.into(), false, real(&[0, 3])).note("of nothing"),
                new(1.into(), false, real(&[0, 3])),
                new(1.into(), false, zeros.clone()).note("no, one, two and three zeros"),
                new(0.into(), false, zeros).note("zeros"),
                new(1.into(), false, ints(&[3, 4], -3, 3)).on(Dtypes::All).rough(),
                new(0.into(), false, values(&[3], &[100.0, 2.0, 3.0]))
                    .on(Dtypes::Only(&[DType::U8, DType::I8, DType::I32]))
                    .known(&[&[600.0]], "integers multiply in i64"),
                new(2.into(), false, real(&[2, 3])).fails("Dim", "out of range"),
                new([0, 0].into(), false, real(&[2, 3])).fails("Dim", "named twice"),
            ]
        }
    }

    impl OpSpec for Cumprod {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let part = |line: &[f64], i: usize| {
                if self.reverse { line[i..].iter().product() } else { line[..=i].iter().product() }
            };
            let d = axis(self.dim, x[0].shape.len());
            vec![x[0].lines(d, |line| (0..line.len()).map(|i| part(line, i)).collect())]
        }

        fn samples() -> Vec<Sample> {
            let op = |dim, reverse| Cumprod { dim, reverse };
            let zeros = values(&[3, 4], &[1.5, 0.0, 2.0, 0.5, 0.0, 2.0, 0.0, 3.0, 0.0, 0.0, 0.0, 2.0]);
            let mut out = along_each_dim(|dim| op(dim, false).into());
            out.push(Sample::new(op(1, true), [real(&[3, 5])]));
            out.push(Sample::new(op(0, true), [real(&[4, 2])]));
            out.push(Sample::new(op(1, false), [zeros.clone()]).note("zeros"));
            out.push(Sample::new(op(1, true), [zeros]).note("zeros"));
            out.push(Sample::new(op(0, false), [ints(&[5, 2], -2, 2)]).on(Dtypes::All).rough());
            let three = Sample::new(op(0, false), [values(&[3], &[1.0, 2.0, 3.0])]).on(Dtypes::Numbers);
            out.push(three.known(&[&[1.0, 2.0, 6.0]], "by hand"));
            out
        }
    }
}
