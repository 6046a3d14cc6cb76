//! Functions of numbers that are compositions with care at their edges.

use super::{function, need_float, scalar_like};
use crate::Ops;

function! { Xlogy |_op, x, y| {
    let zero = scalar_like(x, 0.0)?;
    // Where x is 0 and the logarithm has no finite value, the product is 0 and has no slope.
    let endless = y.le(&scalar_like(y, 0.0)?)?.bitwise_or(&y.eq(&scalar_like(y, f64::INFINITY)?)?)?;
    let none = x.eq(&zero)?.bitwise_and(&endless)?;
    x.mul(&none.where_cond(&scalar_like(y, 1.0)?, y)?.log()?)?
} }

function! { Logit |op, x| {
    let x = if x.meta().dtype.is_float() { x } else { &x.cast(esker_tensor::DType::F32)? };
    let x = match op.eps.get() {
        // The lower end wins where the ends have changed places, as in PyTorch.
        Some(eps) => {
            let (low, high) = (scalar_like(x, eps.get())?, scalar_like(x, 1.0 - eps.get())?);
            x.lt(&low)?.where_cond(&low, &x.gt(&high)?.where_cond(&high, x)?)?
        }
        None => x.clone(),
    };
    x.div(&scalar_like(&x, 1.0)?.sub(&x)?)?.log()?
} }

function! { Frac |_op, x| {
    need_float("the input", x.meta().dtype)?;
    x.sub(&x.trunc()?)?
} }

function! { Hypot |_op, x, y| {
    need_float("the first input", x.meta().dtype)?;
    need_float("the second input", y.meta().dtype)?;
    // Both in units of the larger, so that squares stay in range.
    let (one, zero) = (scalar_like(x, 1.0)?, scalar_like(x, 0.0)?);
    let larger = x.abs()?.maximum(&y.abs()?)?;
    let useful = larger.gt(&zero)?.bitwise_and(&larger.isfinite()?)?;
    let unit = useful.where_cond(&larger, &one)?.stop_gradient()?;
    x.div(&unit)?.square()?.add(&y.div(&unit)?.square()?)?.sqrt()?.mul(&unit)?
} }

function! { Copysign |_op, x, y| {
    need_float("the first input", x.meta().dtype)?;
    let zero = scalar_like(y, 0.0)?;
    // The sign of a zero shows in its reciprocal.
    let negative = y.lt(&zero)?.bitwise_or(&y.reciprocal()?.lt(&zero)?)?;
    let size = x.abs()?;
    negative.where_cond(&size.neg()?, &size)?
} }

#[cfg(feature = "spec")]
mod spec {
    use super::super::pointwise;
    use crate::op::*;

    const INF: f64 = f64::INFINITY;

    pointwise! {
        Xlogy |_op, x, y| if x == 0.0 && !y.is_nan() { 0.0 } else { x * y.ln() };
        Xlogy {} => [[0.2..2.0, 0.2..3.0], [-2.0..-0.2, 0.2..3.0]] "Python 3.11's math"
            [(0.0, 0.0 => 0.0), (0.0, INF => 0.0), (2.0, 3.0 => 2.197_224_577_336_219_6), (1.0, 0.0 => -INF), (0.0, f64::NAN => f64::NAN)];
    }
    pointwise! {
        Logit |op, x| {
            let eps = op.eps.get().map_or(0.0, |e| e.get());
            let x = match op.eps.get() {
                Some(_) if x < eps => eps,
                Some(_) if x > 1.0 - eps => 1.0 - eps,
                _ => x,
            };
            (x / (1.0 - x)).ln()
        };
        Logit { eps: ().into() } => [[0.1..0.9]] "log 3"
            [(0.75 => 1.098_612_288_668_109_8), (0.5 => 0.0), (0.0 => -INF), (1.0 => INF), (2.0 => f64::NAN)];
        Logit { eps: 0.25.into() } => [[0.3..0.7], [0.0..0.2]] "log 3" [(0.9 => 1.098_612_288_668_109_8), (0.0 => -1.098_612_288_668_109_8)];
        Logit { eps: 0.6.into() } => [[0.7..0.9]] "log 1.5" [(0.1 => 0.405_465_108_108_164_4), (0.9 => -0.405_465_108_108_164_4)];
    }
    pointwise! { Frac |_op, x| x.fract(); Frac {} => [[0.1..0.9], [-2.9..-2.1]] "by hand" [(2.75 => 0.75), (-2.75 => -0.75), (3.0 => 0.0)]; }
    pointwise! {
        Hypot |_op, x, y| x.hypot(y);
        Hypot {} => [[0.5..2.0, -2.0..-0.2], [-2.0..-0.5, 0.2..2.0]] "by hand"
            [(3.0, 4.0 => 5.0), (3e30, -4e30 => 5e30), (0.0, 0.0 => 0.0), (-INF, 1.0 => INF)];
    }
    pointwise! {
        Copysign |_op, x, y| x.copysign(y);
        Copysign {} => [[0.5..2.0, -2.0..-0.2], [-2.0..-0.5, 0.2..2.0]] "IEEE 754"
            [(3.0, -1.0 => -3.0), (-3.0, 2.0 => 3.0), (2.0, -0.0 => -2.0), (-2.0, 0.0 => 2.0), (1.0, -INF => -1.0)];
    }
}
