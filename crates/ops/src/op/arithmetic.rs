//! Arithmetic in terms of the elementwise ops.

use esker_tensor::{DType, Error};

use super::{function, scalar_like};
use crate::Ops;

function! { Reciprocal |_op, x| scalar_like(x, 1.0)?.div(x)?, onnx |_, cx| Some(crate::Onnx::node("Reciprocal", cx)) }

function! { Rsqrt |_op, x| scalar_like(x, 1.0)?.div(&x.sqrt()?)? }

function! { Pow |_op, x, exponent| {
    if x.meta().dtype.is_float() || exponent.meta().dtype.is_float() {
        x.float_power(exponent)?
    } else {
        // Exact below 2^53; fractions of negative exponents are cut off, as for integers in PyTorch.
        let dtype = x.meta().dtype.promote(exponent.meta().dtype);
        if dtype == DType::Bool {
            return Err(Error::dtype("takes numbers, got bool; cast first"));
        }
        x.cast(DType::F64)?.float_power(&exponent.cast(DType::F64)?)?.cast(dtype)?
    }
} }

function! { Lerp |_op, x, end, weight| x.add(&weight.mul(&end.sub(x)?)?)? }

function! { Addcmul |op, x, a, b| {
    let product = a.mul(b)?;
    x.add(&if op.value.get() == 1.0 { product } else { product.mul(&scalar_like(x, op.value.get())?)? })?
} }

function! { Addcdiv |op, x, a, b| {
    let quotient = a.div(b)?;
    x.add(&if op.value.get() == 1.0 { quotient } else { quotient.mul(&scalar_like(x, op.value.get())?)? })?
} }

function! { Clamp |op, x| {
    if op.min.get().is_none() && op.max.get().is_none() {
        return Err(Error::kernel("needs min, max or both"));
    }
    // Through where, so that NaN stays and an element at an end keeps its gradient, as in PyTorch.
    let mut y = x.clone();
    if let Some(min) = op.min.get() {
        let min = scalar_like(x, min.get())?;
        y = y.lt(&min)?.where_cond(&min, &y)?;
    }
    if let Some(max) = op.max.get() {
        let max = scalar_like(x, max.get())?;
        y = y.gt(&max)?.where_cond(&max, &y)?;
    }
    y
} }

/// The largest finite number of a float type.
fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 65504.0,
        DType::BF16 => f64::from(f32::from_bits(0x7F7F_0000)),
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}

function! { NanToNum |op, x| {
    let dtype = x.meta().dtype;
    if dtype.is_float() {
        let end = largest(dtype);
        let c = |v: f64| scalar_like(x, v);
        let high = op.posinf.get().map_or(end, |v| v.get());
        let low = op.neginf.get().map_or(-end, |v| v.get());
        let y = x.isnan()?.where_cond(&c(op.nan.get())?, x)?;
        let y = y.eq(&c(f64::INFINITY)?)?.where_cond(&c(high)?, &y)?;
        y.eq(&c(f64::NEG_INFINITY)?)?.where_cond(&c(low)?, &y)?
    } else {
        x.clone()
    }
} }

#[cfg(feature = "spec")]
mod spec {
    use super::super::pointwise;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, each_value, ints, real, real_in, values};

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    pointwise! {
        Reciprocal |_op, x| 1.0 / x;
        Reciprocal {} => [[0.4..3.0], [-3.0..-0.4]] "exact" [(4.0 => 0.25), (0.0 => INF), (-INF => 0.0)];
    }
    pointwise! { Rsqrt |_op, x| 1.0 / x.sqrt(); Rsqrt {} => [[0.5..4.0]] "exact" [(4.0 => 0.5), (0.0 => INF), (-1.0 => NAN)]; }
    pointwise! { Lerp |_op, x, end, w| x + w * (end - x); Lerp {} => [[-2.0..2.0, -2.0..2.0, 0.0..1.0]] "by hand" [(1.0, 3.0, 0.25 => 1.5)]; }
    pointwise! {
        Addcmul |op, x, a, b| x + op.value.get() * a * b;
        Addcmul { value: 1.0.into() } => [[-2.0..2.0, -2.0..2.0, -2.0..2.0]] "by hand" [(1.0, 2.0, 3.0 => 7.0)];
        Addcmul { value: (-0.5).into() } => [[-2.0..2.0, -2.0..2.0, -2.0..2.0]] "by hand" [(1.0, 2.0, 3.0 => -2.0)];
    }
    pointwise! {
        Addcdiv |op, x, a, b| x + op.value.get() * a / b;
        Addcdiv { value: 1.0.into() } => [[-2.0..2.0, -2.0..2.0, 0.5..2.0]] "by hand" [(1.0, 3.0, 2.0 => 2.5)];
        Addcdiv { value: 2.0.into() } => [[-2.0..2.0, -2.0..2.0, 0.5..2.0]] "by hand" [(1.0, 3.0, 2.0 => 4.0)];
    }
    pointwise! {
        NanToNum |op, x| match x {
            x if x.is_nan() => op.nan.get(),
            INF => op.posinf.get().map_or(NAN, |v| v.get()),
            x if x == -INF => op.neginf.get().map_or(NAN, |v| v.get()),
            x => x,
        };
        NanToNum { nan: 0.5.into(), posinf: 9.0.into(), neginf: (-9.0).into() } => [[-2.0..2.0]] "by definition"
            [(NAN => 0.5), (INF => 9.0), (-INF => -9.0), (1.5 => 1.5)];
        NanToNum { nan: 0.0.into(), posinf: ().into(), neginf: 1.0.into() } => [] "by definition" [(NAN => 0.0), (-INF => 1.0)];
    }

    impl OpSpec for Clamp {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (low, high) = (self.min.get().map_or(-INF, |v| v.get()), self.max.get().map_or(INF, |v| v.get()));
            each_value(x, |v| if v[0].is_nan() { NAN } else { v[0].max(low).min(high) })
        }
        fn samples() -> Vec<Sample> {
            let op = |min: Option<f64>, max: Option<f64>| Clamp { min: min.into(), max: max.into() };
            vec![
                Sample::new(op(Some(-1.0), Some(1.0)), [real_in(&[3, 4], -0.9, 0.9)]),
                Sample::new(op(Some(-1.0), None), [real_in(&[3, 4], -3.0, -1.1)]),
                Sample::new(op(None, Some(1.0)), [real_in(&[3, 4], 1.1, 3.0)]),
                Sample::new(op(Some(-2.0), Some(3.0)), [ints(&[31], -9, 9)])
                    .on(Dtypes::Only(&[esker_tensor::DType::I32])),
                Sample::new(op(Some(0.0), Some(1.0)), [values(&[4], &[-1.0, 0.5, 2.0, NAN])])
                    .known(&[&[0.0, 0.5, 1.0, NAN]], "by definition"),
                Sample::new(op(None, None), [real(&[2])]).fails("Kernel", "no bound"),
            ]
        }
    }

    impl OpSpec for Pow {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            each_value(x, |v| v[0].powf(v[1]))
        }
        fn samples() -> Vec<Sample> {
            let op = Pow {};
            vec![
                Sample::new(op.clone(), [real_in(&[3, 4], 0.3, 2.0), real(&[4])]),
                Sample::new(op.clone(), [real_in(&[3], -2.0, -0.3), values(&[], &[2.0])]).rough(),
                Sample::new(op.clone(), [real_in(&[5], 0.3, 2.0), real(&[])]),
                Sample::new(op.clone(), [ints(&[9], -3, 3), ints(&[9], 0, 3)])
                    .on(Dtypes::Only(&[esker_tensor::DType::I8, esker_tensor::DType::I64])),
                Sample::new(op.clone(), [values(&[3], &[2.0, -2.0, 0.0]), values(&[3], &[10.0, 3.0, 0.0])])
                    .known(&[&[1024.0, -8.0, 1.0]], "exact"),
                Sample::new(op, [real(&[2]), real(&[3])]).fails("Shape", "they do not broadcast"),
            ]
        }
    }
}
