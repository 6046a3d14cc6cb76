//! The gradient of normalised rows, and of their weight and bias.
//!
//! Rows go in blocks whose size follows from their length. Within a block the gradients of weight and bias add up row
//! after row; the blocks' sums add up by pairs.

use std::ops::Range;

use super::sweep::{BLOCK, four, get, put, sweep, total};
use crate::lanes::{self, LANES, Lanes, Num, Real, RealLanes, RealTask};
use crate::operand::{Shared, parallel};
use crate::threads;

/// The operands but for the gradients of weight and bias.
#[derive(Clone, Copy)]
pub(super) struct Grad<T> {
    pub(super) x: Shared<T>,
    pub(super) weight: Shared<T>,
    /// Mean and rstd of each row.
    pub(super) statistics: (Shared<T>, Shared<T>),
    pub(super) dy: Shared<T>,
    pub(super) dx: Shared<T>,
    pub(super) rows: usize,
    pub(super) n: usize,
    /// Whether means are the rows' own.
    pub(super) centre: bool,
}

/// Computes all three gradients.
pub(super) fn run<T: Real>(grad: Grad<T>, dweight: Shared<T>, dbias: Shared<T>) {
    let n = grad.n;
    let block = (65_536 / n.max(1)).clamp(16, 64);
    let blocks = grad.rows.div_ceil(block).max(1);
    // The sums of each block: n of the weight, n of the bias.
    let mut sums = vec![T::ZERO; blocks * 2 * n];
    let to = Shared::new(sums.as_mut_ptr());
    threads::parallel(blocks, &|b| {
        let rows = b * block..grad.rows.min((b + 1) * block);
        // SAFETY: the rows lie within the operands, whose shapes the op inferred; blocks write their own rows and sums.
        unsafe { lanes::run_real(Block { grad, rows, dweight: to.at(b * 2 * n), dbias: to.at(b * 2 * n + n) }) }
    });
    parallel(n, 2 * blocks, &|columns| {
        // SAFETY: column by column, the sums of all blocks; each output is written here alone.
        unsafe { lanes::run_real(Pairs { sums: to, columns, blocks, n, dweight, dbias }) }
    });
}

/// One block of rows.
struct Block<T> {
    grad: Grad<T>,
    rows: Range<usize>,
    dweight: *mut T,
    dbias: *mut T,
}

impl<T: Real> RealTask<T> for Block<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let Grad { x, weight, statistics: (mean, rstd), dy, dx, n, .. } = self.grad;
        for row in self.rows {
            let (x, dy, dx) = (x.at(row * n), dy.at(row * n), dx.at(row * n));
            // SAFETY: the caller vouches that the row lies within x, dy and dx, and its number within the statistics.
            unsafe {
                let row =
                    Row { x, dy, weight: weight.at(0), mean: V::splat(*mean.at(row)), rstd: V::splat(*rstd.at(row)) };
                let (plain, along) = row.sums(n, self.dweight, self.dbias);
                let plain = if self.grad.centre { plain } else { 0.0 };
                let (plain, along) = (T::from_f64(plain / n as f64), T::from_f64(-along / n as f64));
                let (plain, along) = (V::splat(plain), V::splat(along));
                sweep!(n, |at, m, _j| {
                    let (_, y, d) = row.get(at, m);
                    put(y.mul_add(along, d.sub(plain)).mul(row.rstd), dx.add(at), m);
                });
            }
        }
    }
}

/// A row as it is read.
#[derive(Clone, Copy)]
struct Row<V: Lanes> {
    x: *const V::E,
    dy: *const V::E,
    weight: *const V::E,
    mean: V,
    rstd: V,
}

impl<V: RealLanes<E: Real>> Row<V> {
    /// The gradient, the normalised elements, and the gradient times the weight.
    ///
    /// # Safety
    /// As [`Lanes`]; `m` elements from `at` on lie in the row.
    #[inline(always)]
    unsafe fn get(&self, at: usize, m: usize) -> (V, V, V) {
        let zero = V::E::ZERO;
        // SAFETY: the caller vouches for the elements.
        unsafe {
            let dy = get::<V>(self.dy.add(at), m, zero);
            let y = get::<V>(self.x.add(at), m, zero).sub(self.mean).mul(self.rstd);
            (dy, y, dy.mul(get::<V>(self.weight.add(at), m, zero)))
        }
    }

    /// The sums of the gradient times the weight and of that times the normalised elements; the row's part of the
    /// gradients of weight and bias is added to theirs.
    ///
    /// # Safety
    /// As [`Lanes`]; all are valid for `n` elements.
    #[inline(always)]
    unsafe fn sums(&self, n: usize, dweight: *mut V::E, dbias: *mut V::E) -> (f64, f64) {
        let zero = V::E::ZERO;
        let (mut plain, mut along) = (0.0, 0.0);
        for start in (0..n).step_by(BLOCK) {
            // SAFETY: the caller vouches for the elements.
            unsafe {
                let (mut a, mut b) = (four::<V>(zero), four::<V>(zero));
                sweep!(BLOCK.min(n - start), |at, m, j| {
                    let at = start + at;
                    let (dy, y, d) = self.get(at, m);
                    a[j] = a[j].add(d);
                    b[j] = d.mul_add(y, b[j]);
                    let (dweight, dbias) = (dweight.add(at), dbias.add(at));
                    put(dy.mul_add(y, get::<V>(dweight, m, zero)), dweight, m);
                    put(get::<V>(dbias, m, zero).add(dy), dbias, m);
                });
                plain += total(a);
                along += total(b);
            }
        }
        (plain, along)
    }
}

/// Adds the sums of the blocks by pairs, for some columns.
struct Pairs<T> {
    sums: Shared<T>,
    columns: Range<usize>,
    blocks: usize,
    n: usize,
    dweight: Shared<T>,
    dbias: Shared<T>,
}

impl<T: Real> RealTask<T> for Pairs<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (first, width) = (self.columns.start, self.columns.len());
        for (from, to) in [(first, &self.dweight), (self.n + first, &self.dbias)] {
            let at = |block: usize, k: usize| self.sums.at(block * 2 * self.n + from + k);
            let mut count = self.blocks;
            while count > 1 {
                let half = count.next_power_of_two() / 2;
                for b in half..count {
                    for k in (0..width).step_by(LANES) {
                        let m = LANES.min(width - k);
                        // SAFETY: the columns lie within the sums of both blocks, and no other task has them.
                        unsafe {
                            let sum = get::<V>(at(b - half, k), m, T::ZERO).add(get::<V>(at(b, k), m, T::ZERO));
                            put(sum, at(b - half, k), m);
                        }
                    }
                }
                count = half;
            }
            // SAFETY: as above; the columns lie within the output.
            unsafe { std::ptr::copy_nonoverlapping(at(0, 0).cast_const(), to.at(first), width) }
        }
    }
}
