//! Activations in terms of the elementwise ops. Slopes are PyTorch's, also where a branch is not taken.

use esker_tensor::{Error, Result};

use super::{function, scalar_like};
use crate::{Ops, Value};

/// `x` where positive, 0 elsewhere, so that what follows cannot overflow on the other branch.
fn only_negative<V: Value>(x: &V) -> Result<(V, V)> {
    let zero = scalar_like(x, 0.0)?;
    let positive = x.gt(&zero)?;
    let safe = positive.where_cond(&zero, x)?;
    Ok((positive, safe))
}

function! { LeakyRelu |op, x| {
    let slope = scalar_like(x, op.negative_slope.get())?;
    x.gt(&scalar_like(x, 0.0)?)?.where_cond(x, &x.mul(&slope)?)?
} }

function! { Relu6 |_op, x| x.hardtanh(0.0, 6.0)? }

function! { Elu |op, x| {
    let (positive, negative) = only_negative(x)?;
    positive.where_cond(x, &negative.expm1()?.mul(&scalar_like(x, op.alpha.get())?)?)?
} }

/// The fixed point of Klambauer and others, Self-Normalizing Neural Networks, 2017.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

function! { Selu |_op, x| x.elu(SELU_ALPHA)?.mul(&scalar_like(x, SELU_SCALE)?)? }

function! { Celu |op, x| {
    let alpha = scalar_like(x, op.alpha.get())?;
    let (positive, negative) = only_negative(x)?;
    positive.where_cond(x, &negative.div(&alpha)?.expm1()?.mul(&alpha)?)?
} }

function! { Prelu |_op, x, weight| {
    let (shape, given) = (x.meta().shape, weight.meta().shape);
    let channels = shape.get(1).copied().unwrap_or(1);
    if given.len() > 1 || (given.numel() != 1 && given.numel() != channels) {
        return Err(Error::shape(format!("the weight must have one element or {channels}, one for each channel of {shape:?}; got {given:?}")));
    }
    let weight = if given.numel() == 1 {
        weight.reshape(())?
    } else {
        let mut sizes = vec![1; shape.len()];
        sizes[1] = channels;
        weight.reshape(&sizes[..])?
    };
    x.gt(&scalar_like(x, 0.0)?)?.where_cond(x, &x.mul(&weight)?)?
} }

function! { Softplus |op, x| {
    let beta = scalar_like(x, op.beta.get())?;
    let scaled = x.mul(&beta)?;
    let linear = scaled.gt(&scalar_like(&scaled, op.threshold.get())?)?;
    let safe = linear.where_cond(&scalar_like(&scaled, 0.0)?, &scaled)?;
    linear.where_cond(x, &safe.exp()?.log1p()?.div(&beta)?)?
} }

// Above 50, log(1 + e^x) is x in every dtype, and e^50 does not overflow f32.
function! { Logsigmoid |_op, x| x.neg()?.softplus(1.0, 50.0)?.neg()? }

function! { Mish |_op, x| x.mul(&x.softplus(1.0, 50.0)?.tanh()?)? }

function! { Hardsigmoid |_op, x| x.add(&scalar_like(x, 3.0)?)?.relu6()?.div(&scalar_like(x, 6.0)?)? }

function! { Hardswish |_op, x| x.mul(&x.hardsigmoid()?)? }

function! { Hardtanh |op, x| {
    let (low, high) = (op.min_val.get(), op.max_val.get());
    if low > high {
        return Err(Error::kernel(format!("the range {low} to {high} is empty")));
    }
    let (low, high) = (scalar_like(x, low)?, scalar_like(x, high)?);
    // An element at an end is on the flat side.
    let above = x.le(&low)?.where_cond(&low, x)?;
    above.ge(&high)?.where_cond(&high, &above)?
} }

function! { Hardshrink |op, x| {
    let (zero, lambda) = (scalar_like(x, 0.0)?, scalar_like(x, op.lambd.get())?);
    x.abs()?.le(&lambda)?.where_cond(&zero, x)?
} }

function! { Softshrink |op, x| {
    if op.lambd.get() < 0.0 {
        return Err(Error::kernel(format!("lambd must be at least 0, got {}", op.lambd.get())));
    }
    let (zero, lambda) = (scalar_like(x, 0.0)?, scalar_like(x, op.lambd.get())?);
    let low = x.lt(&lambda.neg()?)?.where_cond(&x.add(&lambda)?, &zero)?;
    x.gt(&lambda)?.where_cond(&x.sub(&lambda)?, &low)?
} }

function! { Threshold |op, x| {
    let above = x.gt(&scalar_like(x, op.threshold.get())?)?;
    above.where_cond(x, &scalar_like(x, op.value.get())?)?
} }

function! { Tanhshrink |_op, x| x.sub(&x.tanh()?)? }

function! { Glu |op, x| {
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim)?;
    let size = shape.get(dim).copied().unwrap_or(1);
    if size % 2 != 0 {
        return Err(Error::shape(format!("dimension {} of {shape:?} must have an even size", op.dim)));
    }
    let half = (size / 2) as i64;
    let (a, b) = (x.slice(dim as i64, 0, half, 1)?, x.slice(dim as i64, half, 2 * half, 1)?);
    a.mul(&b.sigmoid()?)?
} }

#[cfg(feature = "spec")]
mod spec {
    use super::super::pointwise;
    use super::{SELU_ALPHA, SELU_SCALE};
    use crate::op::*;
    use crate::spec::{OpSpec, RefArray, Sample, axis, ints, real, real_in, values};

    const HAND: &str = "by hand";

    fn elu(x: f64, alpha: f64) -> f64 {
        if x > 0.0 { x } else { alpha * x.exp_m1() }
    }

    fn softplus(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    pointwise! {
        LeakyRelu |op, x| if x > 0.0 { x } else { op.negative_slope.get() * x };
        LeakyRelu { negative_slope: 0.01.into() } => [[0.1..2.0], [-2.0..-0.1]] "by hand" [(-4.0 => -0.04), (0.0 => 0.0), (2.0 => 2.0)];
        LeakyRelu { negative_slope: 0.25.into() } => [] "by hand" [(-4.0 => -1.0)];
    }
    pointwise! { Relu6 |_op, x| x.clamp(0.0, 6.0); Relu6 {} => [[0.2..5.8], [-2.0..-0.2], [6.2..9.0]] "by hand" [(7.0 => 6.0), (-1.0 => 0.0), (3.0 => 3.0)]; }
    pointwise! {
        Elu |op, x| elu(x, op.alpha.get());
        Elu { alpha: 1.0.into() } => [[0.1..2.0], [-2.0..-0.1]] "Python 3.11's math" [(-1.0 => -0.632_120_558_828_557_7), (2.0 => 2.0), (1000.0 => 1000.0)];
        Elu { alpha: 0.5.into() } => [[-2.0..-0.1]] "Python 3.11's math" [(-1.0 => -0.316_060_279_414_278_85)];
    }
    pointwise! {
        Selu |_op, x| SELU_SCALE * elu(x, SELU_ALPHA);
        Selu {} => [[0.1..2.0], [-2.0..-0.1]] "Python 3.11's math" [(-1.0 => -1.111_330_737_812_562_5), (1.0 => 1.050_700_987_355_480_5)];
    }
    pointwise! {
        Celu |op, x| { let a = op.alpha.get(); if x > 0.0 { x } else { a * (x / a).exp_m1() } };
        Celu { alpha: 0.5.into() } => [[0.1..2.0], [-2.0..-0.1]] "Python 3.11's math" [(-1.0 => -0.432_332_358_381_693_65), (3.0 => 3.0)];
    }
    pointwise! {
        Softplus |op, x| { let b = op.beta.get(); if x * b > op.threshold.get() { x } else { softplus(x * b) / b } };
        Softplus { beta: 1.0.into(), threshold: 20.0.into() } => [[-3.0..3.0], [21.0..30.0]] "Python 3.11's math" [(1.0 => 1.313_261_687_518_222_8), (1000.0 => 1000.0), (-1000.0 => 0.0)];
        Softplus { beta: 2.0.into(), threshold: 20.0.into() } => [[-3.0..3.0]] "Python 3.11's math" [(0.5 => 0.656_630_843_759_111_4)];
    }
    pointwise! {
        Logsigmoid |_op, x| -softplus(-x);
        Logsigmoid {} => [[-3.0..3.0]] "Python 3.11's math" [(-1.0 => -1.313_261_687_518_222_8), (-1000.0 => -1000.0), (1000.0 => 0.0)];
    }
    pointwise! {
        Mish |_op, x| x * softplus(x).tanh();
        Mish {} => [[-3.0..3.0]] "Python 3.11's math" [(1.0 => 0.865_098_388_267_310_3), (-1.0 => -0.303_401_461_374_108_95), (1000.0 => 1000.0)];
    }
    pointwise! { Hardsigmoid |_op, x| (x + 3.0).clamp(0.0, 6.0) / 6.0; Hardsigmoid {} => [[-2.8..2.8], [3.2..5.0], [-5.0..-3.2]] "by hand" [(0.0 => 0.5), (4.0 => 1.0)]; }
    pointwise! { Hardswish |_op, x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0; Hardswish {} => [[-2.8..2.8], [3.2..5.0], [-5.0..-3.2]] "by hand" [(1.0 => 0.666_666_666_666_666_6), (4.0 => 4.0), (-4.0 => 0.0)]; }
    pointwise! {
        Hardtanh |op, x| x.clamp(op.min_val.get(), op.max_val.get());
        Hardtanh { min_val: (-1.0).into(), max_val: 1.0.into() } => [[-0.9..0.9], [1.1..3.0], [-3.0..-1.1]] "by hand" [(2.0 => 1.0), (f64::NAN => f64::NAN)];
    }
    pointwise! {
        Hardshrink |op, x| if x.abs() > op.lambd.get() { x } else { 0.0 };
        Hardshrink { lambd: 0.5.into() } => [[0.6..2.0], [-0.4..0.4], [-2.0..-0.6]] "by hand" [(1.0 => 1.0), (0.5 => 0.0), (-1.0 => -1.0)];
    }
    pointwise! {
        Softshrink |op, x| { let l = op.lambd.get(); if x > l { x - l } else if x < -l { x + l } else { 0.0 } };
        Softshrink { lambd: 0.5.into() } => [[0.6..2.0], [-0.4..0.4], [-2.0..-0.6]] "by hand" [(1.0 => 0.5), (0.5 => 0.0), (-1.0 => -0.5)];
    }
    pointwise! {
        Threshold |op, x| if x > op.threshold.get() { x } else { op.value.get() };
        Threshold { threshold: 0.5.into(), value: (-1.0).into() } => [[0.6..2.0], [-2.0..0.4]] "by hand" [(1.0 => 1.0), (0.5 => -1.0)];
    }
    pointwise! { Tanhshrink |_op, x| x - x.tanh(); Tanhshrink {} => [[-3.0..3.0]] "Python 3.11's math" [(1.0 => 0.238_405_844_044_235_15)]; }

    impl OpSpec for Prelu {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let w = &x[1].data;
            vec![RefArray::from_fn(&x[0].shape, |i| {
                let v = x[0].at(i);
                let channel = if w.len() == 1 { 0 } else { i[1] };
                if v > 0.0 { v } else { v * w[channel] }
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = Prelu {};
            vec![
                Sample::new(op.clone(), [real_in(&[2, 3, 2], -2.0, -0.1), real(&[3])]),
                Sample::new(op.clone(), [real_in(&[2, 3], 0.1, 2.0), real(&[1])]),
                Sample::new(op.clone(), [real_in(&[4], -2.0, -0.1), real(&[1])]),
                Sample::new(op.clone(), [values(&[1, 2], &[-2.0, -2.0]), values(&[2], &[0.5, 0.25])])
                    .known(&[&[-1.0, -0.5]], HAND),
                Sample::new(op, [real(&[2, 3]), real(&[2])]).fails("Shape", "a weight for each row"),
            ]
        }
    }

    impl OpSpec for Glu {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dim = axis(self.dim, x[0].shape.len());
            let mut shape = x[0].shape.clone();
            shape[dim] /= 2;
            let half = shape[dim];
            vec![RefArray::from_fn(&shape, |i| {
                let mut gate = i.to_vec();
                gate[dim] += half;
                x[0].at(i) / (1.0 + (-x[0].at(&gate)).exp())
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |dim| Glu { dim };
            vec![
                Sample::new(op(-1), [real(&[3, 4])]),
                Sample::new(op(0), [real(&[2, 3])]),
                Sample::new(op(1), [real(&[2, 0, 3])]).rough(),
                Sample::new(op(0), [values(&[2], &[3.0, 0.0])]).known(&[&[1.5]], HAND),
                Sample::new(op(0), [real(&[3, 2])]).fails("Shape", "an odd size"),
                Sample::new(op(2), [ints(&[2, 2], 0, 1)]).fails("Dim", "out of range"),
            ]
        }
    }
}
