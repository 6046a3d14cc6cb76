//! The gradient of a row's extreme: its share for every element that equals it.

use std::ops::Range;

use super::sweep::{get, put, sweep};
use crate::lanes::{Num, Real, RealLanes, RealTask};
use crate::operand::Shared;

/// Rows of the gradient; `y` and `dy` have one element a row.
pub(super) struct Backward<T> {
    pub(super) x: Shared<T>,
    pub(super) y: Shared<T>,
    pub(super) dy: Shared<T>,
    pub(super) dx: Shared<T>,
    pub(super) rows: Range<usize>,
    pub(super) n: usize,
}

impl<T: Real> RealTask<T> for Backward<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let n = self.n;
        for row in self.rows.clone() {
            let (x, dx) = (self.x.at(row * n), self.dx.at(row * n));
            // SAFETY: the caller vouches that the row lies within x and dx, and its number within y and dy.
            unsafe {
                let y = V::splat(*self.y.at(row));
                let mut count = 0;
                sweep!(n, |at, m, _j| count += hits(x.add(at), m, y).count_ones());
                let share = (*self.dy.at(row)).over(count as usize);
                // Nothing equals NaN: a share of infinity times 0 says so everywhere.
                let others = V::splat(share.times(T::ZERO));
                sweep!(n, |at, m, _j| {
                    put(others, dx.add(at), m);
                    let mut left = hits(x.add(at), m, y);
                    while left != 0 {
                        *dx.add(at + left.trailing_zeros() as usize) = share;
                        left &= left - 1;
                    }
                });
            }
        }
    }
}

/// The elements that equal `y`, a bit each; lanes beyond the row do not count.
///
/// # Safety
/// As [`Lanes`](crate::lanes::Lanes); `x` is valid for `m` elements.
#[inline(always)]
unsafe fn hits<V: RealLanes<E: Real>>(x: *const V::E, m: usize, y: V) -> u16 {
    // SAFETY: the caller vouches for the elements.
    unsafe { get::<V>(x, m, V::E::ZERO).equal(y) & (u16::MAX >> (16 - m)) }
}
