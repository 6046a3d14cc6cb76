//! Reductions in terms of others: moments, norms, questions about all elements.

use esker_tensor::{DType, Error, Result};

use super::logic::truth;
use super::{function, need_float, scalar_like};
use crate::{Axes, Ops, Value};

/// How many elements meet when `dim` is reduced.
fn count<V: Value>(x: &V, dim: &Axes) -> Result<usize> {
    let shape = x.meta().shape;
    Ok(dim.of(&shape)?.iter().map(|&d| shape[usize::from(d)]).product())
}

/// A reduced value that kept its dimensions, without them if so asked.
fn finish<V: Value>(y: V, x: &V, dim: &Axes, keepdim: bool) -> Result<V> {
    if keepdim {
        return Ok(y);
    }
    let shape = x.meta().shape;
    let dims = dim.of(&shape)?;
    y.reshape(super::reduce::reduced(&shape, &dims, false))
}

function! { CountNonzero |op, x| truth(x)?.cast(DType::I64)?.sum(op.dim, false)?, no_grad "it counts" }

function! { Any |op, x| truth(x)?.cast(DType::I64)?.sum(op.dim, op.keepdim)?.logical_not()?.logical_not()?, no_grad "its result is bool" }

function! { All |op, x| truth(x)?.logical_not()?.any(op.dim, op.keepdim)?.logical_not()?, no_grad "its result is bool" }

/// Variance (keeping dimensions) and mean.
fn moments<V: Value>(x: &V, dim: &Axes, correction: f64) -> Result<(V, V)> {
    need_float("the input", x.meta().dtype)?;
    let mean = x.mean(*dim, true)?;
    let freedom = (count(x, dim)? as f64 - correction).max(0.0);
    let variance = x.sub(&mean)?.square()?.sum(*dim, true)?.div(&scalar_like(x, freedom)?)?;
    Ok((variance, mean))
}

function! { Var |op, x| finish(moments(x, &op.dim, op.correction.get())?.0, x, &op.dim, op.keepdim)? }

function! { Std |op, x| finish(moments(x, &op.dim, op.correction.get())?.0.sqrt()?, x, &op.dim, op.keepdim)? }

function! { VarMean |op, x| {
    let (variance, mean) = moments(x, &op.dim, op.correction.get())?;
    [finish(variance, x, &op.dim, op.keepdim)?, finish(mean, x, &op.dim, op.keepdim)?]
} }

function! { Logsumexp |op, x| {
    need_float("the input", x.meta().dtype)?;
    let largest = x.amax(op.dim, true)?;
    // Nothing is subtracted where all are infinite.
    let shift = largest.isfinite()?.where_cond(&largest, &scalar_like(x, 0.0)?)?;
    let y = x.sub(&shift)?.exp()?.sum(op.dim, true)?.log()?.add(&shift)?;
    finish(y, x, &op.dim, op.keepdim)?
} }

function! { Nansum |op, x| x.isnan()?.where_cond(&scalar_like(x, 0.0)?, x)?.sum(op.dim, op.keepdim)? }

function! { Nanmean |op, x| {
    need_float("the input", x.meta().dtype)?;
    let counted = x.isnan()?.logical_not()?.cast(x.meta().dtype)?.sum(op.dim, op.keepdim)?;
    x.nansum(op.dim, op.keepdim)?.div(&counted)?
} }

function! { Norm |op, x| {
    need_float("the input", x.meta().dtype)?;
    let (p, zero, one) = (op.p.get(), scalar_like(x, 0.0)?, scalar_like(x, 1.0)?);
    let size = x.abs()?;
    if p == f64::INFINITY {
        size.amax(op.dim, op.keepdim)?
    } else if p == f64::NEG_INFINITY {
        size.neg()?.amax(op.dim, op.keepdim)?.neg()?
    } else if p == 0.0 {
        size.gt(&zero)?.cast(x.meta().dtype)?.sum(op.dim, op.keepdim)?
    } else if p == 1.0 {
        size.sum(op.dim, op.keepdim)?
    } else {
        // The root has no slope at 0; PyTorch gives 0 there.
        let power = |v: &V| if p == 2.0 { v.square() } else { v.float_power(&scalar_like(v, p)?) };
        let safe = |v: &V| v.eq(&zero)?.where_cond(&one, v);
        let (empty, powers) = (size.eq(&zero)?, power(&safe(&size)?)?);
        let total = empty.where_cond(&zero, &powers)?.sum(op.dim, op.keepdim)?;
        let filled = safe(&total)?;
        let root = if p == 2.0 { filled.sqrt()? } else { filled.float_power(&scalar_like(x, 1.0 / p)?)? };
        total.eq(&zero)?.where_cond(&zero, &root)?
    }
} }

function! { OneHot |op, x| {
    super::need_i64("the classes", x.meta().dtype)?;
    if op.num_classes < 1 {
        return Err(Error::shape(format!("the number of classes must be at least 1, got {}", op.num_classes)));
    }
    let classes = V::iota(0.0, 1.0, op.num_classes, DType::I64, x.meta().device)?;
    x.unsqueeze(-1)?.eq(&classes)?.cast(DType::I64)?
}, no_grad "classes are integers" }

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::DType;

    use crate::Axes;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, axes, index, ints, real, real_in, values};

    fn fold(x: &[RefArray], dim: &Axes, keepdim: bool, f: impl Fn(&[f64]) -> f64) -> RefArray {
        x[0].fold(&axes(dim, x[0].shape.len()), keepdim, f)
    }

    fn holds(b: bool) -> f64 {
        f64::from(u8::from(b))
    }

    /// Several shapes and dimensions, and errors that every reduction shares.
    fn samples<R: Into<crate::Op>>(op: impl Fn(Axes, bool) -> R) -> Vec<Sample> {
        let new = |dim: Axes, keep, shape: &[usize]| Sample::new(op(dim, keep), [real_in(shape, 0.2, 2.0)]);
        vec![
            new(1.into(), false, &[2, 3]),
            new(0.into(), true, &[3, 4]),
            new(().into(), false, &[2, 3]),
            new([0, 2].into(), false, &[2, 3, 4]),
            new((-1).into(), true, &[2, 2, 5]),
            new(2.into(), false, &[2, 3]).fails("Dim", "out of range"),
        ]
    }

    macro_rules! folds {
        ($($Name:ident { $($attr:ident : $value:expr),* } $(, $keep:ident)? => |$op:ident, $g:ident| $f:expr, $more:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let $op = self;
                    #[allow(unused_mut, unused_assignments)]
                    let mut keep = false;
                    $(keep = self.$keep;)?
                    vec![fold(x, &self.dim, keep, |$g| $f)]
                }
                fn samples() -> Vec<Sample> {
                    #[allow(unused_variables)]
                    let mut out = samples(|dim, keepdim| $Name { dim $(, $keep: keepdim)? $(, $attr: $value.into())* });
                    out.extend($more);
                    out
                }
            }
        )*};
    }

    fn variance(g: &[f64], correction: f64) -> f64 {
        let mean = g.iter().sum::<f64>() / g.len() as f64;
        g.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (g.len() as f64 - correction)
    }

    const FLAGS: [f64; 4] = [0.0, 2.0, 0.0, 0.0];

    folds! {
        CountNonzero {} => |_op, g| g.iter().filter(|v| **v != 0.0).count() as f64, [
            Sample::new(CountNonzero { dim: ().into() }, [ints(&[31], -1, 1)]).on(Dtypes::Numbers),
            Sample::new(CountNonzero { dim: 1.into() }, [values(&[2, 2], &FLAGS)]).known(&[&[1.0, 0.0]], "by hand"),
        ];
        Any {}, keepdim => |_op, g| holds(g.iter().any(|v| *v != 0.0)), [
            Sample::new(Any { dim: ().into(), keepdim: false }, [ints(&[5], -1, 1)]).on(Dtypes::All),
            Sample::new(Any { dim: 1.into(), keepdim: false }, [values(&[2, 2], &FLAGS)]).known(&[&[1.0, 0.0]], "by hand"),
        ];
        All {}, keepdim => |_op, g| holds(g.iter().all(|v| *v != 0.0)), [
            Sample::new(All { dim: 0.into(), keepdim: false }, [ints(&[2, 9], 0, 1)]).on(Dtypes::All),
            Sample::new(All { dim: 1.into(), keepdim: false }, [values(&[2, 2], &FLAGS)]).known(&[&[0.0, 0.0]], "by hand"),
        ];
        Var { correction: 1.0 }, keepdim => |op, g| variance(g, op.correction.get()), [
            Sample::new(Var { dim: 0.into(), correction: 0.0.into(), keepdim: false }, [values(&[4], &[1.0, 2.0, 3.0, 4.0])]).known(&[&[1.25]], "by hand"),
            Sample::new(Var { dim: 0.into(), correction: 1.0.into(), keepdim: false }, [ints(&[3], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ];
        Std { correction: 1.0 }, keepdim => |op, g| variance(g, op.correction.get()).sqrt(), [
            Sample::new(Std { dim: 0.into(), correction: 1.0.into(), keepdim: false }, [values(&[3], &[1.0, 3.0, 5.0])]).known(&[&[2.0]], "by hand"),
        ];
        Logsumexp {}, keepdim => |_op, g| {
            let top = g.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if top.is_infinite() { top } else { top + g.iter().map(|v| (v - top).exp()).sum::<f64>().ln() }
        }, [
            Sample::new(Logsumexp { dim: 0.into(), keepdim: false }, [values(&[2], &[1000.0, 1000.0])])
                .on(Dtypes::Only(&[DType::F32, DType::F64])).known(&[&[1_000.693_147_180_56]], "1000 + log 2"),
            Sample::new(Logsumexp { dim: 0.into(), keepdim: false }, [values(&[2], &[f64::NEG_INFINITY; 2])]).known(&[&[f64::NEG_INFINITY]], "nothing"),
        ];
        Nansum {}, keepdim => |_op, g| g.iter().filter(|v| !v.is_nan()).sum(), [
            Sample::new(Nansum { dim: ().into(), keepdim: false }, [ints(&[7], 0, 1)]).on(Dtypes::Numbers),
            Sample::new(Nansum { dim: 1.into(), keepdim: false }, [values(&[2, 2], &[f64::NAN, 2.0, f64::NAN, f64::NAN])])
                .known(&[&[2.0, 0.0]], "by hand"),
        ];
        Nanmean {}, keepdim => |_op, g| {
            let kept: Vec<f64> = g.iter().copied().filter(|v| !v.is_nan()).collect();
            kept.iter().sum::<f64>() / kept.len() as f64
        }, [
            Sample::new(Nanmean { dim: 1.into(), keepdim: false }, [values(&[2, 3], &[f64::NAN, 2.0, 4.0, f64::NAN, f64::NAN, f64::NAN])])
                .known(&[&[3.0, f64::NAN]], "by hand"),
        ];
        Norm { p: 2.0 }, keepdim => |op, g| match op.p.get() {
            f64::INFINITY => g.iter().fold(0.0, |a, v| v.abs().max(a)),
            f64::NEG_INFINITY => g.iter().fold(f64::INFINITY, |a, v| v.abs().min(a)),
            0.0 => g.iter().filter(|v| **v != 0.0).count() as f64,
            p => g.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p),
        }, [1.0, 3.0, 0.5, f64::INFINITY, f64::NEG_INFINITY]
            .map(|p| Sample::new(Norm { p: p.into(), dim: 1.into(), keepdim: false }, [values(&[2, 3], &[0.5, -1.5, 2.5, 1.0, -2.0, 0.75])]))
            .into_iter()
            .chain([
                Sample::new(Norm { p: 2.0.into(), dim: ().into(), keepdim: false }, [values(&[2], &[3.0, 4.0])]).known(&[&[5.0]], "by hand"),
                Sample::new(Norm { p: 0.0.into(), dim: ().into(), keepdim: false }, [values(&[3], &[3.0, 0.0, 4.0])]).known(&[&[2.0]], "by hand"),
            ]);
    }

    impl OpSpec for VarMean {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let c = self.correction.get();
            let mean = |g: &[f64]| g.iter().sum::<f64>() / g.len() as f64;
            vec![fold(x, &self.dim, self.keepdim, |g| variance(g, c)), fold(x, &self.dim, self.keepdim, mean)]
        }
        fn samples() -> Vec<Sample> {
            samples(|dim, keepdim| VarMean { dim, correction: 1.0.into(), keepdim })
        }
    }

    impl OpSpec for OneHot {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let mut shape = x[0].shape.clone();
            shape.push(self.num_classes as usize);
            vec![RefArray::from_fn(&shape, |i| holds(x[0].at(&i[..i.len() - 1]) == i[i.len() - 1] as f64))]
        }
        fn samples() -> Vec<Sample> {
            let op = |num_classes| OneHot { num_classes };
            vec![
                Sample::new(op(4), [index(&[0, 3, 1])]),
                Sample::new(op(2), [ints(&[2, 3], 0, 1).of(DType::I64)]),
                Sample::new(op(2), [index(&[1])]).known(&[&[0.0, 1.0]], "by hand"),
                Sample::new(op(0), [index(&[1])]).fails("Shape", "no class"),
                Sample::new(op(2), [real(&[2])]).fails("DType", "floats"),
            ]
        }
    }
}
