//! Rounding, and the remainder that goes with truncation.

use esker_tensor::Error;

use super::{function, scalar_like};
use crate::Ops;

function! { Ceil |_op, x| if x.meta().dtype.is_float() { x.neg()?.floor()?.neg()? } else { x.clone() } }

function! { Trunc |_op, x| {
    if x.meta().dtype.is_float() {
        x.lt(&scalar_like(x, 0.0)?)?.where_cond(&x.ceil()?, &x.floor()?)?
    } else {
        x.clone()
    }
} }

function! { Round |op, x| {
    if !x.meta().dtype.is_float() {
        x.clone()
    } else if op.decimals == 0 {
        // Up from the floor when the rest is above a half, or is a half and the floor odd.
        let (half, down) = (scalar_like(x, 0.5)?, x.floor()?);
        let rest = x.sub(&down)?;
        let odd = down.remainder(&scalar_like(x, 2.0)?)?;
        let even = odd.eq(&scalar_like(x, 0.0)?)?;
        let stays = rest.lt(&half)?.logical_or(&rest.eq(&half)?.logical_and(&even)?)?;
        let up = stays.where_cond(&down, &down.add(&scalar_like(x, 1.0)?)?)?;
        x.isfinite()?.where_cond(&up, x)?
    } else {
        let places = i32::try_from(op.decimals).ok().filter(|d| d.abs() < 300).ok_or_else(|| {
            Error::kernel(format!("cannot round to {} decimals", op.decimals))
        })?;
        let scale = scalar_like(x, 10f64.powi(places.abs()))?;
        if places > 0 { x.mul(&scale)?.round(0)?.div(&scale)? } else { x.div(&scale)?.round(0)?.mul(&scale)? }
    }
} }

function! { Fmod |_op, x, y| {
    // The flooring remainder has the divisor's sign; where that is the wrong one, it is a divisor too far.
    let rest = x.remainder(y)?;
    let zero = scalar_like(&rest, 0.0)?;
    let wrong = rest.ne(&zero)?.logical_and(&x.lt(&zero)?.ne(&y.lt(&zero)?)?)?;
    wrong.where_cond(&rest.sub(y)?, &rest)?
} }

#[cfg(feature = "spec")]
mod spec {
    use super::super::pointwise;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, each_value, ints, real_in, values};

    const INF: f64 = f64::INFINITY;

    pointwise! { Ceil |_op, x| x.ceil(); Ceil {} => [[0.2..0.8], [-0.8..-0.2]] "by definition" [(1.2 => 2.0), (-1.2 => -1.0), (3.0 => 3.0), (INF => INF)]; }
    pointwise! { Trunc |_op, x| x.trunc(); Trunc {} => [[0.2..0.8], [-0.8..-0.2]] "by definition" [(1.7 => 1.0), (-1.7 => -1.0), (-INF => -INF)]; }
    pointwise! {
        Round |op, x| { let s = 10f64.powi(op.decimals as i32); (x * s).round_ties_even() / s };
        Round { decimals: 0 } => [[0.1..0.4], [-0.9..-0.6]] "halves to even"
            [(0.5 => 0.0), (1.5 => 2.0), (2.5 => 2.0), (-0.5 => 0.0), (-1.5 => -2.0), (0.499_999_97 => 0.0), (8_388_609.0 => 8_388_609.0), (INF => INF)];
        Round { decimals: 2 } => [] "by definition" [(1.237 => 1.24), (-0.126 => -0.13)];
        Round { decimals: -2 } => [] "by definition" [(1234.0 => 1200.0)];
    }

    impl OpSpec for Fmod {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            each_value(x, |v| v[0] % v[1])
        }
        fn samples() -> Vec<Sample> {
            let op = Fmod {};
            let new = |a: (f64, f64), b: (f64, f64)| {
                Sample::new(op.clone(), [real_in(&[9], a.0, a.1), real_in(&[9], b.0, b.1)])
            };
            vec![
                new((4.3, 5.7), (2.0, 2.05)),
                new((-5.7, -4.3), (2.0, 2.05)),
                new((4.3, 5.7), (-2.05, -2.0)),
                Sample::new(op.clone(), [ints(&[31], -9, 9), ints(&[31], 1, 4)]).on(Dtypes::Ints),
                Sample::new(op.clone(), [values(&[3], &[-7.0, 7.0, -6.0]), values(&[3], &[2.0, -2.0, 3.0])])
                    .known(&[&[-1.0, 1.0, 0.0]], "C's fmod by hand"),
                Sample::new(op, [ints(&[2], 1, 3), values(&[2], &[0.0, 1.0])])
                    .on(Dtypes::Ints)
                    .fails("Kernel", "by zero"),
            ]
        }
    }
}
