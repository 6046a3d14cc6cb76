//! Mean and variance in one pass: what is long goes in units, a unit's sums are of distances from the mean of its first
//! elements, and units merge in f64.

use crate::lanes::{LANES, Num, Real, RealLanes};
use crate::row::sweep::{get, halved};

/// Elements of a unit, at most.
pub(crate) const UNIT: usize = 2048;

/// How many elements there are, their mean, and the sum of the squares of their distances from it.
#[derive(Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    pub(crate) squares: f64,
}

impl Moments {
    /// Of `n` elements whose distances from `centre`, and the squares of these, add up to `sums`.
    #[inline(always)]
    pub(crate) fn new<T: Real>(centre: T, [sum, squares]: [f64; 2], n: usize) -> Self {
        let count = n as f64;
        let squares = squares - sum * sum / count;
        // Rounding may leave less than nothing; NaN stays.
        Self { count, mean: centre.to_f64() + sum / count, squares: if squares < 0.0 { 0.0 } else { squares } }
    }

    /// Those of nothing.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self { count: 0.0, mean: f64::NAN, squares: 0.0 }
    }

    /// Those of all elements of both (Chan, Golub and LeVeque 1979).
    #[inline(always)]
    pub(crate) fn merge(&mut self, o: &Self) {
        if self.count == 0.0 {
            *self = *o;
            return;
        }
        let count = self.count + o.count;
        let (delta, share) = (o.mean - self.mean, o.count / count);
        self.mean += delta * share;
        self.squares += o.squares + delta * delta * self.count * share;
        self.count = count;
    }
}

/// The moments of `K` units of `n` elements each, at least one.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; the units have their elements.
#[inline(always)]
pub(crate) unsafe fn unit<V: RealLanes<E: Real>, const K: usize>(x: [*const V::E; K], n: usize) -> [Moments; K] {
    let mut centre = [V::E::ZERO; K];
    let mut all = [Moments::none(); K];
    // SAFETY: passed on.
    unsafe {
        for k in 0..K {
            centre[k] = head::<V>(x[k], n);
        }
        let sums = sums::<V, K, false>(x, x, centre, n);
        for k in 0..K {
            all[k] = Moments::new(centre[k], sums[k], n);
        }
    }
    all
}

/// With `d = x - centre`, the sums of `d` and of `d * d`, or those of `dy` and of `dy * d` where `BACK` says so.
///
/// # Safety
/// As [`unit`].
#[inline(always)]
pub(crate) unsafe fn sums<V: RealLanes<E: Real>, const K: usize, const BACK: bool>(
    x: [*const V::E; K],
    dy: [*const V::E; K],
    centre: [V::E; K],
    n: usize,
) -> [[f64; 2]; K] {
    let zero = V::E::ZERO;
    let mut sums = [[0.0; 2]; K];
    // SAFETY: the caller vouches for the elements.
    unsafe {
        let (mut a, mut b) = ([V::splat(zero); K], [V::splat(zero); K]);
        macro_rules! step {
            ($at:expr, $m:expr) => {
                for k in 0..K {
                    // Beyond the piece: the centre itself, whose distance adds nothing.
                    let d = get::<V>(x[k].add($at), $m, centre[k]).sub(V::splat(centre[k]));
                    let u = if BACK { get::<V>(dy[k].add($at), $m, zero) } else { d };
                    a[k] = a[k].add(u);
                    b[k] = u.mul_add(d, b[k]);
                }
            };
        }
        let whole = n / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            step!(at, LANES);
        }
        if whole < n {
            step!(whole, n - whole);
        }
        for k in 0..K {
            sums[k] = [halved(a[k]).to_f64(), halved(b[k]).to_f64()];
        }
    }
    sums
}

/// The mean of the first elements, rounded: near enough to all of a unit that squares of distances from it do not cancel.
///
/// # Safety
/// As [`unit`].
#[inline(always)]
pub(crate) unsafe fn head<V: RealLanes<E: Real>>(x: *const V::E, n: usize) -> V::E {
    let m = n.min(LANES);
    // SAFETY: the caller vouches for the elements.
    unsafe { V::E::from_f64(halved(get::<V>(x, m, V::E::ZERO)).to_f64() / m as f64) }
}
