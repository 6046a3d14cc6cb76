//! Losses of values against values, element by element.

use esker_tensor::{Error, Result};

use super::{function, need_float, scalar_like};
use crate::{Ops, Value};

/// The losses of all elements as one, or as they are.
pub(super) fn reduced<V: Value>(loss: &V, reduction: &str) -> Result<V> {
    match reduction {
        "none" => Ok(loss.clone()),
        "mean" => loss.mean((), false),
        "sum" => loss.sum((), false),
        other => Err(Error::kernel(format!("the reduction must be none, mean or sum, got {other:?}"))),
    }
}

fn difference<V: Value>(x: &V, target: &V) -> Result<V> {
    let difference = x.sub(target)?;
    need_float("input or target", difference.meta().dtype)?;
    Ok(difference)
}

function! { MseLoss |op, x, target| reduced(&difference(x, target)?.square()?, &op.reduction)? }

function! { L1Loss |op, x, target| reduced(&difference(x, target)?.abs()?, &op.reduction)? }

/// `d^2 / 2` where `|d| < end`, else `end * (|d| - end / 2)`.
fn huber<V: Value>(d: &V, end: f64) -> Result<V> {
    let size = d.abs()?;
    let square = d.square()?.mul(&scalar_like(d, 0.5)?)?;
    let line = size.sub(&scalar_like(d, 0.5 * end)?)?.mul(&scalar_like(d, end)?)?;
    size.lt(&scalar_like(d, end)?)?.where_cond(&square, &line)
}

function! { SmoothL1Loss |op, x, target| {
    let (d, beta) = (difference(x, target)?, op.beta.get());
    if beta < 0.0 {
        return Err(Error::kernel(format!("beta must be at least 0, got {beta}")));
    }
    let loss = if beta == 0.0 { d.abs()? } else { huber(&d, beta)?.div(&scalar_like(&d, beta)?)? };
    reduced(&loss, &op.reduction)?
} }

function! { HuberLoss |op, x, target| {
    let (d, delta) = (difference(x, target)?, op.delta.get());
    if delta <= 0.0 {
        return Err(Error::kernel(format!("delta must be above 0, got {delta}")));
    }
    reduced(&huber(&d, delta)?, &op.reduction)?
} }

/// A loss times its weight, if there is one.
pub(super) fn weighted<V: Value>(loss: V, weight: Option<&V>) -> Result<V> {
    weight.map_or(Ok(loss.clone()), |weight| loss.mul(weight))
}

/// `log(f(x))` of at least -100; where `f` is 0 the slope is 0.
fn log_from<V: Value>(x: &V, zero_at: f64, log: impl Fn(&V) -> Result<V>) -> Result<V> {
    let (end, least) = (scalar_like(x, zero_at)?, scalar_like(x, -100.0)?);
    let none = x.eq(&end)?;
    let logs = log(&none.where_cond(&scalar_like(x, 0.5)?, x)?)?;
    none.where_cond(&least, &logs.maximum(&least)?)
}

function! { BinaryCrossEntropy |op, x, target; weight| {
    need_float("the input", x.meta().dtype)?;
    if x.meta().shape != target.meta().shape {
        return Err(Error::shape(format!("input and target must have one shape, got {:?} and {:?}", x.meta().shape, target.meta().shape)));
    }
    let yes = log_from(x, 0.0, |x| x.log())?;
    let no = log_from(x, 1.0, |x| x.neg()?.log1p())?;
    let rest = scalar_like(x, 1.0)?.sub(target)?;
    let loss = target.mul(&yes)?.add(&rest.mul(&no)?)?.neg()?;
    reduced(&weighted(loss, weight)?, &op.reduction)?
} }

function! { BinaryCrossEntropyWithLogits |op, x, target; weight, pos_weight| {
    need_float("the input", x.meta().dtype)?;
    if x.meta().shape != target.meta().shape {
        return Err(Error::shape(format!("input and target must have one shape, got {:?} and {:?}", x.meta().shape, target.meta().shape)));
    }
    let one = scalar_like(x, 1.0)?;
    let log = x.logsigmoid()?;
    let log = match pos_weight {
        Some(pos) => log.mul(&pos.sub(&one)?.mul(target)?.add(&one)?)?,
        None => log,
    };
    let loss = one.sub(target)?.mul(x)?.sub(&log)?;
    reduced(&weighted(loss, weight)?, &op.reduction)?
} }

function! { KlDiv |op, x, target| {
    need_float("the input", x.meta().dtype)?;
    let loss = if op.log_target {
        target.exp()?.mul(&target.sub(x)?)?
    } else {
        let zero = scalar_like(target, 0.0)?;
        let none = target.eq(&zero)?;
        let logs = none.where_cond(&scalar_like(target, 1.0)?, target)?.log()?;
        target.mul(&logs)?.sub(&target.mul(x)?)?
    };
    match (op.reduction.as_str(), x.meta().shape.first()) {
        ("batchmean", None) => reduced(&loss, "sum")?,
        ("batchmean", Some(&n)) => {
            let total = reduced(&loss, "sum")?;
            total.div(&scalar_like(&total, n as f64)?)?
        }
        (reduction, _) => reduced(&loss, reduction)?,
    }
} }

#[cfg(feature = "spec")]
pub(super) mod spec {
    use esker_tensor::DType;

    use crate::op::*;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, each_value, ints, real_in, values};

    /// What a reduction makes of losses.
    pub(in crate::op) fn reduce(loss: RefArray, reduction: &str) -> RefArray {
        let sum: f64 = loss.data.iter().sum();
        match reduction {
            "none" => loss,
            "sum" => RefArray::new(&[], vec![sum]),
            "batchmean" => RefArray::new(&[], vec![sum / loss.shape.first().map_or(1.0, |&n| n as f64)]),
            _ => RefArray::new(&[], vec![sum / loss.data.len() as f64]),
        }
    }

    /// Each reduction, broadcasting, few and no elements, and what must be refused; inputs in these ranges.
    fn samples(op: impl Fn(&str) -> crate::Op, x: [f64; 2], t: [f64; 2], broadcasts: bool) -> Vec<Sample> {
        let pair = |a: &[usize], b: &[usize]| [real_in(a, x[0], x[1]), real_in(b, t[0], t[1])];
        let mut out: Vec<Sample> = ["none", "mean", "sum"].map(|r| Sample::new(op(r), pair(&[2, 3], &[2, 3]))).to_vec();
        out.push(Sample::new(op("mean"), pair(&[], &[])));
        out.push(Sample::new(op("sum"), pair(&[0, 3], &[0, 3])));
        out.push(Sample::new(op("mean"), pair(&[0], &[0])).rough().note("the mean of nothing is NaN"));
        let apart = Sample::new(op("none"), pair(&[3, 1], &[4]));
        out.push(if broadcasts { apart } else { apart.fails("Shape", "shapes differ") });
        out.push(Sample::new(op("mean"), pair(&[2, 3], &[2, 4])).fails("Shape", "shapes do not fit"));
        out.push(Sample::new(op("max"), pair(&[2], &[2])).fails("Kernel", "no such reduction"));
        let whole = |s: &[usize]| ints(s, 0, 1);
        out.push(Sample::new(op("sum"), [whole(&[3]), whole(&[3])]).on(Dtypes::Ints).fails("DType", "integers"));
        out
    }

    macro_rules! losses {
        ($($Name:ident { $($attr:ident : $value:expr),* } $x:expr, $t:expr, $broadcasts:literal |$op:ident, $v:ident| $f:expr,
           $more:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let $op = self;
                    vec![reduce(each_value(x, |$v| $f).swap_remove(0), &self.reduction)]
                }
                fn samples() -> Vec<Sample> {
                    let op = |r: &str| $Name { $($attr: $value.into(),)* reduction: r.into() }.into();
                    let mut out = samples(op, $x, $t, $broadcasts);
                    out.extend($more);
                    out
                }
            }
        )*};
    }

    /// `x` and `t` of one shape with a loss of each pair.
    fn known(op: impl Into<crate::Op>, x: &[f64], t: &[f64], y: &[f64]) -> Sample {
        Sample::new(op, [values(&[x.len()], x), values(&[t.len()], t)]).known(&[y], "by hand")
    }

    fn smooth(d: f64, beta: f64) -> f64 {
        if d.abs() < beta { d * d / 2.0 } else { beta * (d.abs() - beta / 2.0) }
    }

    fn floor_log(x: f64) -> f64 {
        x.ln().max(-100.0)
    }

    /// `-w (pos t log p + (1 - t) log(1 - p))` with `log p = -log(1 + e^-x)`.
    fn logits(x: f64, t: f64, weight: f64, pos: f64) -> f64 {
        let minus_log = |x: f64| if x < 0.0 { x.exp().ln_1p() - x } else { (-x).exp().ln_1p() };
        weight * (pos * t * minus_log(x) + (1.0 - t) * minus_log(-x))
    }

    const NONE: &str = "none";
    const WIDE: Dtypes = Dtypes::Only(&[DType::F32, DType::F64]);

    fn weighted_by(op: impl Into<crate::Op>, shapes: [&[usize]; 3]) -> Sample {
        let ranges = [[0.1, 0.9], [0.0, 1.0], [0.5, 2.0]];
        let inputs: Vec<Input> = shapes.iter().zip(ranges).map(|(s, [a, b])| real_in(s, a, b)).collect();
        Sample::new(op, inputs)
    }

    losses! {
        MseLoss {} [-2.0, 2.0], [-2.0, 2.0], true |_op, v| (v[0] - v[1]).powi(2), [
            known(MseLoss { reduction: "mean".into() }, &[1.0, 2.0], &[3.0, 6.0], &[10.0]),
        ];
        L1Loss {} [0.2, 2.0], [-2.0, 0.1], true |_op, v| (v[0] - v[1]).abs(), [
            known(L1Loss { reduction: "sum".into() }, &[1.0, 2.0], &[3.0, 1.5], &[2.5]),
        ];
        SmoothL1Loss { beta: 1.0 } [-2.0, 2.0], [-2.0, 2.0], true |op, v| match op.beta.get() {
            0.0 => (v[0] - v[1]).abs(),
            beta => smooth(v[0] - v[1], beta) / beta,
        }, [
            known(SmoothL1Loss { reduction: NONE.into(), beta: 1.0.into() }, &[0.5, 3.0, -1.0], &[0.0; 3], &[0.125, 2.5, 0.5]),
            known(SmoothL1Loss { reduction: NONE.into(), beta: 0.5.into() }, &[0.25, 2.0], &[0.0; 2], &[0.0625, 1.75]),
            known(SmoothL1Loss { reduction: NONE.into(), beta: 0.0.into() }, &[0.25, -2.0], &[0.0; 2], &[0.25, 2.0]),
            Sample::new(SmoothL1Loss { reduction: NONE.into(), beta: (-1.0).into() }, [values(&[1], &[1.0]), values(&[1], &[1.0])])
                .fails("Kernel", "a negative beta"),
        ];
        HuberLoss { delta: 0.7 } [-2.0, 2.0], [-2.0, 2.0], true |op, v| smooth(v[0] - v[1], op.delta.get()), [
            known(HuberLoss { reduction: NONE.into(), delta: 2.0.into() }, &[1.0, 3.0], &[0.0; 2], &[0.5, 4.0]),
            Sample::new(HuberLoss { reduction: NONE.into(), delta: 0.0.into() }, [values(&[1], &[1.0]), values(&[1], &[1.0])])
                .fails("Kernel", "no delta"),
        ];
        BinaryCrossEntropy {} [0.1, 0.9], [0.0, 1.0], false |_op, v| {
            let weight = v.get(2).copied().unwrap_or(1.0);
            -weight * (v[1] * floor_log(v[0]) + (1.0 - v[1]) * floor_log(1.0 - v[0]))
        }, [
            weighted_by(BinaryCrossEntropy { reduction: "mean".into() }, [&[2, 3], &[2, 3], &[2, 3]]),
            weighted_by(BinaryCrossEntropy { reduction: NONE.into() }, [&[2, 3], &[2, 3], &[3]]),
            known(BinaryCrossEntropy { reduction: NONE.into() }, &[0.5, 1.0, 0.0, 1.0, 0.0], &[1.0, 1.0, 0.0, 0.0, 1.0],
                &[std::f64::consts::LN_2, 0.0, 0.0, 100.0, 100.0]),
        ];
        BinaryCrossEntropyWithLogits {} [-3.0, 3.0], [0.0, 1.0], false |_op, v| {
            logits(v[0], v[1], v.get(2).copied().unwrap_or(1.0), v.get(3).copied().unwrap_or(1.0))
        }, [
            weighted_by(BinaryCrossEntropyWithLogits { reduction: "sum".into() }, [&[2, 3], &[2, 3], &[3]]),
            Sample::new(BinaryCrossEntropyWithLogits { reduction: "mean".into() },
                [real_in(&[2, 3], -3.0, 3.0), real_in(&[2, 3], 0.0, 1.0), real_in(&[2, 1], 0.5, 2.0), real_in(&[3], 0.5, 3.0)]),
            // Where every target is 1, pos_weight is a weight.
            Sample::new(crate::Call::new(BinaryCrossEntropyWithLogits { reduction: NONE.into() }, 0b1011),
                [values(&[2], &[0.0, 0.0]), values(&[2], &[1.0, 1.0]), values(&[2], &[3.0, 5.0])])
                .known(&[&[3.0 * std::f64::consts::LN_2, 5.0 * std::f64::consts::LN_2]], "multiples of log 2"),
            known(BinaryCrossEntropyWithLogits { reduction: NONE.into() }, &[0.0, 1000.0, -1000.0], &[1.0, 0.0, 0.0],
                &[std::f64::consts::LN_2, 1000.0, 0.0]).on(WIDE).slack(1e-9),
        ];
        KlDiv { log_target: false } [-3.0, -0.2], [0.1, 0.9], true |op, v| if op.log_target {
            v[1].exp() * (v[1] - v[0])
        } else if v[1] == 0.0 {
            0.0
        } else {
            v[1] * (v[1].ln() - v[0])
        }, [
            Sample::new(KlDiv { log_target: true, reduction: "sum".into() }, [real_in(&[2, 3], -3.0, 0.0), real_in(&[2, 3], -3.0, 0.0)]),
            known(KlDiv { log_target: false, reduction: NONE.into() }, &[-1.0, 0.0, -2.0], &[1.0, 0.0, 0.5], &[1.0, 0.0, 0.653_426_409_720_027_3]),
            Sample::new(KlDiv { log_target: false, reduction: "batchmean".into() },
                [values(&[2, 2], &[-1.0, -2.0, -3.0, -4.0]), values(&[2, 2], &[1.0; 4])]).known(&[&[5.0]], "10 of 2 rows"),
            Sample::new(KlDiv { log_target: true, reduction: "batchmean".into() }, [real_in(&[], -3.0, 0.0), real_in(&[], -3.0, 0.0)]),
        ];
    }
}
