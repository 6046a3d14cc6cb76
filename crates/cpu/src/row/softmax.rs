//! Softmax, its logarithm, and their gradients.

use std::ops::Range;

use super::sweep::{BLOCK, four, get, largest, put, sweep, total};
use crate::lanes::{LANES, Num, Real, RealLanes, RealTask, exp, exps};
use crate::operand::Shared;
use crate::stream;

/// Rows of softmax, or of its logarithm.
pub(super) struct Forward<T> {
    pub(super) x: Shared<T>,
    pub(super) y: Shared<T>,
    pub(super) rows: Range<usize>,
    pub(super) n: usize,
    pub(super) log: bool,
}

impl<T: Real> RealTask<T> for Forward<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        for row in self.rows.clone() {
            let (x, y) = (self.x.at(row * self.n), self.y.at(row * self.n));
            // SAFETY: the caller vouches that the row lies within both.
            unsafe { if self.log { log_row::<V>(x, y, self.n) } else { row_of::<V>(x, y, self.n) } }
        }
    }
}

/// The sum of `e^(x - top)` over a part of a row, which is also written where `to` says so. Asks meanwhile for the same
/// elements `ahead`, in the next row, which need not be there.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; `x` and `to` are valid for `n` elements.
#[inline(always)]
unsafe fn exps_of<V: RealLanes<E: Real>>(x: *const V::E, to: Option<*mut V::E>, n: usize, ahead: usize, top: V) -> f64 {
    const GROUP: usize = 4 * LANES;
    // SAFETY: the caller vouches for the elements.
    unsafe {
        let mut acc = four::<V>(V::E::ZERO);
        let whole = n / GROUP * GROUP;
        for base in (0..whole).step_by(GROUP) {
            let x = x.add(base);
            stream::fetch(x.wrapping_add(ahead).cast(), GROUP * size_of::<V::E>());
            let mut e = [V::load(x), V::load(x.add(LANES)), V::load(x.add(2 * LANES)), V::load(x.add(3 * LANES))];
            for e in &mut e {
                *e = e.sub(top);
            }
            e = exps(e);
            for j in 0..4 {
                if let Some(to) = to {
                    e[j].store(to.add(base + j * LANES));
                }
                acc[j] = acc[j].add(e[j]);
            }
        }
        let (x, rest) = (x.add(whole), n - whole);
        sweep!(rest, |at, m, j| {
            // Beyond the row: e to minus infinity, which adds nothing.
            let e = exp(get::<V>(x.add(at), m, V::E::LOWEST).sub(top));
            if let Some(to) = to {
                put(e, to.add(whole + at), m);
            }
            acc[j] = acc[j].add(e);
        });
        total(acc)
    }
}

/// # Safety
/// As [`Lanes`]; the rows are valid for `n` elements.
#[inline(always)]
unsafe fn row_of<V: RealLanes<E: Real>>(x: *const V::E, y: *mut V::E, n: usize) {
    // SAFETY: the caller vouches for the rows.
    unsafe {
        // A NaN shows in the sum, and from there everywhere.
        let top = V::splat(largest::<V>(x, n));
        let mut sum = 0.0;
        for start in (0..n).step_by(BLOCK) {
            sum += exps_of::<V>(x.add(start), Some(y.add(start)), BLOCK.min(n - start), n, top);
        }
        let scale = V::splat(V::E::from_f64(1.0 / sum));
        sweep!(n, |at, m, _j| put(get::<V>(y.add(at), m, V::E::ZERO).mul(scale), y.add(at), m));
    }
}

/// The logarithm of the sum of `e^(x - top)` over a row, and `top`.
///
/// # Safety
/// As [`row_of`].
#[inline(always)]
pub(super) unsafe fn log_sum<V: RealLanes<E: Real>>(x: *const V::E, n: usize) -> (V::E, f64) {
    // SAFETY: the caller vouches for the row.
    unsafe {
        let top = largest::<V>(x, n);
        let high = V::splat(top);
        let mut sum = 0.0;
        for start in (0..n).step_by(BLOCK) {
            sum += exps_of::<V>(x.add(start), None, BLOCK.min(n - start), n, high);
        }
        (top, sum.ln())
    }
}

/// # Safety
/// As [`row_of`].
#[inline(always)]
unsafe fn log_row<V: RealLanes<E: Real>>(x: *const V::E, y: *mut V::E, n: usize) {
    // SAFETY: the caller vouches for the rows.
    unsafe {
        let (top, log) = log_sum::<V>(x, n);
        let (top, log) = (V::splat(top), V::splat(V::E::from_f64(log)));
        sweep!(n, |at, m, _j| put(get::<V>(x.add(at), m, V::E::ZERO).sub(top).sub(log), y.add(at), m));
    }
}

/// Rows of the gradient of softmax, or of its logarithm.
pub(super) struct Backward<T> {
    pub(super) y: Shared<T>,
    pub(super) dy: Shared<T>,
    pub(super) dx: Shared<T>,
    pub(super) rows: Range<usize>,
    pub(super) n: usize,
    pub(super) log: bool,
}

impl<T: Real> RealTask<T> for Backward<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        for row in self.rows.clone() {
            let at = row * self.n;
            let (y, dy, dx) = (self.y.at(at), self.dy.at(at), self.dx.at(at));
            // SAFETY: the caller vouches that the row lies within all three.
            unsafe { if self.log { log_back::<V>(y, dy, dx, self.n) } else { back::<V>(y, dy, dx, self.n) } }
        }
    }
}

/// # Safety
/// As [`row_of`].
#[inline(always)]
unsafe fn back<V: RealLanes<E: Real>>(y: *const V::E, dy: *const V::E, dx: *mut V::E, n: usize) {
    let zero = V::E::ZERO;
    // SAFETY: the caller vouches for the rows.
    unsafe {
        let mut sum = 0.0;
        for start in (0..n).step_by(BLOCK) {
            let (y, dy) = (y.add(start), dy.add(start));
            let mut acc = four::<V>(zero);
            sweep!(BLOCK.min(n - start), |at, m, j| {
                acc[j] = get::<V>(y.add(at), m, zero).mul_add(get(dy.add(at), m, zero), acc[j]);
            });
            sum += total(acc);
        }
        let sum = V::splat(V::E::from_f64(sum));
        sweep!(n, |at, m, _j| {
            let slope = get::<V>(dy.add(at), m, zero).sub(sum);
            put(get::<V>(y.add(at), m, zero).mul(slope), dx.add(at), m);
        });
    }
}

/// # Safety
/// As [`row_of`].
#[inline(always)]
unsafe fn log_back<V: RealLanes<E: Real>>(y: *const V::E, dy: *const V::E, dx: *mut V::E, n: usize) {
    let zero = V::E::ZERO;
    // SAFETY: the caller vouches for the rows.
    unsafe {
        let mut sum = 0.0;
        for start in (0..n).step_by(BLOCK) {
            let dy = dy.add(start);
            let mut acc = four::<V>(zero);
            sweep!(BLOCK.min(n - start), |at, m, j| acc[j] = acc[j].add(get(dy.add(at), m, zero)));
            sum += total(acc);
        }
        let minus = V::splat(V::E::from_f64(-sum));
        sweep!(n, |at, m, _j| {
            let e = exp(get::<V>(y.add(at), m, zero));
            put(e.mul_add(minus, get(dy.add(at), m, zero)), dx.add(at), m);
        });
    }
}
