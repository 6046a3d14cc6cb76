//! Normalisation of rows to mean 0 and variance 1, or to a mean square of 1, then by a weight and a bias.

use std::ops::Range;

use super::sweep::{BLOCK, four, get, put, sweep, total};
use crate::lanes::{Num, Real, RealLanes, RealTask};
use crate::moments::{Moments, head};
use crate::operand::Shared;

/// Rows normalised.
pub(super) struct Forward<T> {
    pub(super) x: Shared<T>,
    /// With the bias a number for each column.
    pub(super) weight: Shared<T>,
    pub(super) bias: Shared<T>,
    pub(super) y: Shared<T>,
    pub(super) mean: Shared<T>,
    pub(super) rstd: Shared<T>,
    pub(super) rows: Range<usize>,
    pub(super) n: usize,
    /// Whether the mean is taken off.
    pub(super) centre: bool,
    pub(super) eps: f64,
}

impl<T: Real> RealTask<T> for Forward<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let n = self.n;
        for row in self.rows.clone() {
            let (x, y) = (self.x.at(row * n).cast_const(), self.y.at(row * n));
            // SAFETY: the caller vouches that the row lies within x and y, and its number within the statistics.
            unsafe {
                let all = if self.centre { moments::<V>(x, n) } else { about_zero::<V>(x, n) };
                let (mean, rstd) = (T::from_f64(all.mean), 1.0 / (all.squares / n as f64 + self.eps).sqrt());
                (*self.mean.at(row), *self.rstd.at(row)) = (mean, T::from_f64(rstd));
                // What rounding took from the mean.
                let rest = V::splat(T::from_f64((mean.to_f64() - all.mean) * rstd));
                let (centre, scale) = (V::splat(mean), V::splat(T::from_f64(rstd)));
                sweep!(n, |at, m, _j| {
                    let weight = get::<V>(self.weight.at(at), m, T::ZERO);
                    let bias = get::<V>(self.bias.at(at), m, T::ZERO);
                    let d = get::<V>(x.add(at), m, T::ZERO).sub(centre);
                    put(d.mul_add(scale, rest).mul_add(weight, bias), y.add(at), m);
                });
            }
        }
    }
}

/// The moments of a row.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; `x` is valid for `n` elements.
#[inline(always)]
unsafe fn moments<V: RealLanes<E: Real>>(x: *const V::E, n: usize) -> Moments {
    let mut all = Moments::none();
    for start in (0..n).step_by(BLOCK) {
        let m = BLOCK.min(n - start);
        // SAFETY: the caller vouches for the row.
        unsafe {
            let x = x.add(start);
            let first = head::<V>(x, m);
            let centre = V::splat(first);
            let (mut a, mut b) = (four::<V>(V::E::ZERO), four::<V>(V::E::ZERO));
            sweep!(m, |at, m, j| {
                // Beyond the row: the centre itself, whose distance adds nothing.
                let d = get::<V>(x.add(at), m, first).sub(centre);
                a[j] = a[j].add(d);
                b[j] = d.mul_add(d, b[j]);
            });
            all.merge(&Moments::new(first, [total(a), total(b)], m));
        }
    }
    all
}

/// As [`moments`], as if the mean were 0.
///
/// # Safety
/// As [`moments`].
#[inline(always)]
unsafe fn about_zero<V: RealLanes<E: Real>>(x: *const V::E, n: usize) -> Moments {
    let mut squares = 0.0;
    for start in (0..n).step_by(BLOCK) {
        // SAFETY: the caller vouches for the row.
        unsafe {
            let (x, mut acc) = (x.add(start), four::<V>(V::E::ZERO));
            sweep!(BLOCK.min(n - start), |at, m, j| {
                let v = get::<V>(x.add(at), m, V::E::ZERO);
                acc[j] = v.mul_add(v, acc[j]);
            });
            squares += total(acc);
        }
    }
    Moments { count: n as f64, mean: 0.0, squares }
}
