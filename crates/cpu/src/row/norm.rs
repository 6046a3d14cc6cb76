//! Normalisation of rows to mean 0 and variance 1, then by a weight and a bias.

use std::ops::Range;

use super::sweep::{BLOCK, four, get, put, sweep, total};
use crate::lanes::{LANES, Num, Real, RealLanes, RealTask};
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
    pub(super) eps: f64,
}

impl<T: Real> RealTask<T> for Forward<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let n = self.n;
        for row in self.rows.clone() {
            let (x, y) = (self.x.at(row * n), self.y.at(row * n));
            // SAFETY: the caller vouches that the row lies within x and y, and its number within the statistics.
            unsafe {
                // The first mean is rounded; distances from it tell by how much, which matters when they are small.
                let mean = T::from_f64(sum::<V>(x, n) / n as f64);
                let centre = V::splat(mean);
                let (shift, squares) = moments::<V>(x, n, centre);
                let (shift, squares) = (shift / n as f64, squares / n as f64);
                let variance = squares - shift * shift;
                // Rounding may leave less than nothing; NaN stays.
                let variance = if variance < 0.0 { 0.0 } else { variance };
                let rstd = T::from_f64(1.0 / (variance + self.eps).sqrt());
                let (scale, rest) = (V::splat(rstd), V::splat(T::from_f64(shift)));
                let normal = Normal { x, centre, rest, scale };
                sweep!(n, |at, m, _j| {
                    let weight = get::<V>(self.weight.at(at), m, T::ZERO);
                    let bias = get::<V>(self.bias.at(at), m, T::ZERO);
                    put(normal.get(at, m).mul_add(weight, bias), y.add(at), m);
                });
                *self.mean.at(row) = T::from_f64(mean.to_f64() + shift);
                *self.rstd.at(row) = rstd;
            }
        }
    }
}

/// A row as it is normalised.
struct Normal<V: RealLanes<E: Real>> {
    x: *const V::E,
    centre: V,
    rest: V,
    scale: V,
}

impl<V: RealLanes<E: Real>> Normal<V> {
    /// # Safety
    /// As [`Lanes`]; `m` elements from `at` on lie in the row.
    #[inline(always)]
    unsafe fn get(&self, at: usize, m: usize) -> V {
        // SAFETY: the caller vouches for the elements.
        unsafe { get::<V>(self.x.add(at), m, V::E::ZERO).sub(self.centre).sub(self.rest).mul(self.scale) }
    }
}

/// # Safety
/// As [`Lanes`]; `x` is valid for `n` elements.
#[inline(always)]
unsafe fn sum<V: RealLanes<E: Real>>(x: *const V::E, n: usize) -> f64 {
    let mut sum = 0.0;
    for start in (0..n).step_by(BLOCK) {
        // SAFETY: the caller vouches for the row.
        unsafe {
            let x = x.add(start);
            let mut acc = four::<V>(V::E::ZERO);
            sweep!(BLOCK.min(n - start), |at, m, j| acc[j] = acc[j].add(get(x.add(at), m, V::E::ZERO)));
            sum += total(acc);
        }
    }
    sum
}

/// The sums of the distances from `centre` and of their squares.
///
/// # Safety
/// As [`sum`].
#[inline(always)]
unsafe fn moments<V: RealLanes<E: Real>>(x: *const V::E, n: usize, centre: V) -> (f64, f64) {
    let mut centre_lanes = [V::E::ZERO; LANES];
    let (mut sum, mut squares) = (0.0, 0.0);
    // SAFETY: the caller vouches for the row.
    unsafe {
        centre.store(centre_lanes.as_mut_ptr());
        for start in (0..n).step_by(BLOCK) {
            let x = x.add(start);
            let (mut a, mut b) = (four::<V>(V::E::ZERO), four::<V>(V::E::ZERO));
            sweep!(BLOCK.min(n - start), |at, m, j| {
                // Beyond the row: the centre itself, whose distance adds nothing.
                let d = get::<V>(x.add(at), m, centre_lanes[0]).sub(centre);
                a[j] = a[j].add(d);
                b[j] = d.mul_add(d, b[j]);
            });
            sum += total(a);
            squares += total(b);
        }
    }
    (sum, squares)
}
