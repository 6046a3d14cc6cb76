//! Products of one row: nothing is used twice, so that B is read once, where it lies.
//!
//! Sums are those of every other product: for each block of [`KC`] steps one chain from zero, blocks added in order.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::micro::Register;
#[cfg(target_arch = "x86_64")]
use super::weave::eight_by_four;
use super::{Element, KC, Output, Strided};

/// Columns that are summed side by side from rows of B.
pub(super) const COLUMNS: usize = 512;
/// Columns that are summed side by side where each is a run in memory.
const RUNS: usize = 32;
/// Steps in a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 16;
/// Elements of an outer product that a task computes, at least.
const GRAIN: usize = 32_768;
/// Rows of B whose products are added at a time.
const ROWS: usize = 4;

/// Some columns, at most [`COLUMNS`] over one block of k, or [`RUNS`] over all of it.
pub(super) struct Block<T> {
    /// The row of A.
    pub(super) x: Strided<T>,
    /// Steps of k.
    pub(super) kc: usize,
    /// B from the first of the columns on.
    pub(super) b: Strided<T>,
    pub(super) c: *mut T,
    pub(super) width: usize,
    pub(super) accumulate: bool,
}

/// The sums of a block.
pub(super) type BlockFn<T> = unsafe fn(&Block<T>);

/// `c = x B` for a row of A; whether it was done, which it is when the steps of B or its columns are runs in memory.
///
/// # Safety
/// As [`gemm`](super::gemm), for one row.
pub(super) unsafe fn row<T: Element>(
    (n, k): (usize, usize),
    x: Strided<T>,
    b: Strided<T>,
    out: &Output<T>,
    serial: bool,
) -> bool {
    let kernel = T::kernel();
    let (block, width, steps) = match (b.line, b.step, kernel.runs) {
        _ if n > 1 && out.cs != 1 => return false,
        (1, ..) if n >= kernel.nr / 2 => (kernel.rows, COLUMNS, KC),
        (_, 1, Some(runs)) => (runs, RUNS, k),
        _ => return false,
    };
    super::run(n.div_ceil(width), serial, &|task| {
        let j = task * width;
        for k0 in (0..k).step_by(steps) {
            let part = Block {
                x: x.at(k0 as isize * x.step),
                kc: steps.min(k - k0),
                b: b.at(j as isize * b.line + k0 as isize * b.step),
                c: out.at(0, j).c,
                width: width.min(n - j),
                accumulate: out.accumulate || k0 > 0,
            };
            // SAFETY: the caller vouches for the operands; each task has its own columns.
            unsafe { block(&part) };
        }
    });
    true
}

/// `C = a b` for a column and a row; whether it was done, which it is when neighbours of B and C are so in memory.
///
/// # Safety
/// As [`gemm`](super::gemm), for one step.
pub(super) unsafe fn outer<T: Element>(
    (m, n): (usize, usize),
    a: Strided<T>,
    b: Strided<T>,
    out: &Output<T>,
    serial: bool,
) -> bool {
    if b.line != 1 || out.cs != 1 {
        return false;
    }
    let (kernel, height) = (T::kernel(), (GRAIN / n).max(1));
    super::run(m.div_ceil(height), serial, &|task| {
        for i in task * height..m.min((task + 1) * height) {
            let x = a.at(i as isize * a.line);
            let row = Block { x, kc: 1, b, c: out.at(i, 0).c, width: n, accumulate: out.accumulate };
            // SAFETY: the caller vouches for the operands; each task has its own rows.
            unsafe { (kernel.rows)(&row) };
        }
    });
    true
}

/// Sums in a buffer, aligned to registers.
#[repr(align(64))]
struct Sums<T>([T; COLUMNS]);

/// Rows of B added one after the other, [`ROWS`] at a time, so that each is read from end to end.
///
/// # Safety
/// The block lies within its matrices; its columns are neighbours; the processor has what `R` needs.
#[inline(always)]
pub(super) unsafe fn rows<R: Register>(block: &Block<R::T>)
where
    R::T: Default,
{
    if block.kc == 1 {
        // SAFETY: passed on.
        return unsafe { scaled::<R>(block) };
    }
    let mut sums = Sums([R::T::default(); COLUMNS]);
    let sums = sums.0.as_mut_ptr();
    let whole = block.width - block.width % R::N;
    let x = |k: usize| block.x.p.wrapping_offset(k as isize * block.x.step);
    let b = |k: usize| block.b.p.wrapping_offset(k as isize * block.b.step);
    let left = block.width - whole;
    let fours = block.kc - block.kc % ROWS;
    // SAFETY: the caller vouches for `kc` steps of `width` columns and as many elements of x; `sums` holds the columns.
    unsafe {
        for k in (0..fours).step_by(ROWS) {
            let x = [R::splat(x(k)), R::splat(x(k + 1)), R::splat(x(k + 2)), R::splat(x(k + 3))];
            let b = [b(k), b(k + 1), b(k + 2), b(k + 3)];
            for j in (0..whole).step_by(R::N) {
                let s = R::load(sums.add(j)).fma(x[0], R::load(b[0].add(j))).fma(x[1], R::load(b[1].add(j)));
                s.fma(x[2], R::load(b[2].add(j))).fma(x[3], R::load(b[3].add(j))).store(sums.add(j));
            }
            if left > 0 {
                let mut s = R::load(sums.add(whole));
                for i in 0..ROWS {
                    s = s.fma(x[i], R::load_n(b[i].add(whole), left));
                }
                s.store(sums.add(whole));
            }
        }
        for k in fours..block.kc {
            let (x, b) = (R::splat(x(k)), b(k));
            for j in (0..whole).step_by(R::N) {
                R::load(sums.add(j)).fma(x, R::load(b.add(j))).store(sums.add(j));
            }
            if left > 0 {
                R::load(sums.add(whole)).fma(x, R::load_n(b.add(whole), left)).store(sums.add(whole));
            }
        }
        for j in (0..block.width).step_by(R::N) {
            block.put(j, R::load(sums.add(j)));
        }
    }
}

/// A single row of B, of any width.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
unsafe fn scaled<R: Register>(block: &Block<R::T>) {
    // SAFETY: passed on.
    unsafe {
        let x = R::splat(block.x.p);
        for j in (0..block.width).step_by(R::N) {
            let (b, left) = (block.b.p.add(j), block.width - j);
            let b = if left >= R::N { R::load(b) } else { R::load_n(b, left) };
            block.put(j, R::zero().fma(x, b));
        }
    }
}

impl<T> Block<T> {
    /// Stores or adds the sums of the columns from `j` on.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn put<R: Register<T = T>>(&self, j: usize, sums: R) {
        let (c, left) = (self.c.wrapping_add(j), self.width - j);
        // SAFETY: the caller vouches for the columns.
        unsafe {
            if left >= R::N {
                if self.accumulate { R::load(c).add(sums).store(c) } else { sums.store(c) }
            } else {
                let sums = if self.accumulate { R::load_n(c, left).add(sums) } else { sums };
                sums.store_n(c, left);
            }
        }
    }
}

/// Columns that are runs in memory: eight at a time have their steps turned into registers of one step each. Four chains
/// of sums run side by side: blocks of k where there are many, since these lie in different sets of the cache, and
/// columns otherwise.
///
/// # Safety
/// The block lies within its matrices; its steps are neighbours; the processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn runs_f32(block: &Block<f32>) {
    let mut k = 0;
    while k < block.kc {
        let blocks = (block.kc - k) / KC;
        // SAFETY: passed on; the steps are there.
        unsafe {
            k += match blocks {
                0 | 1 => columns::<4, 1>(block, k, KC.min(block.kc - k)),
                2 | 3 => columns::<2, 2>(block, k, KC),
                _ => columns::<1, 4>(block, k, KC),
            };
        }
    }
}

/// All columns, `G` times eight at a time, over `Q` blocks of `kc` steps from `k` on; how many steps these are.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn columns<const G: usize, const Q: usize>(block: &Block<f32>, k: usize, kc: usize) -> usize {
    for j in (0..block.width).step_by(8 * G) {
        // SAFETY: passed on.
        unsafe { chains::<G, Q>(block, j, k, kc) };
    }
    Q * kc
}

/// As [`columns`], for the columns from `j` on.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn chains<const G: usize, const Q: usize>(block: &Block<f32>, j: usize, k: usize, kc: usize) {
    // Columns beyond the last read the last again.
    let column = |j: usize| block.b.at(j.min(block.width - 1) as isize * block.b.line + k as isize).p;
    let columns: [[*const f32; 8]; G] = std::array::from_fn(|g| std::array::from_fn(|i| column(j + 8 * g + i)));
    let x = |step: usize| block.x.p.wrapping_offset((k + step) as isize * block.x.step);
    let mut sums = [[_mm256_setzero_ps(); Q]; G];
    let whole = kc - kc % 4;
    // SAFETY: the caller vouches for the steps of the columns and as many elements of x.
    unsafe {
        // Cache lines are used up before others of the same set arrive.
        for k0 in (0..whole).step_by(LINE) {
            for (sums, columns) in sums.iter_mut().zip(&columns) {
                for k in (k0..whole.min(k0 + LINE)).step_by(4) {
                    for (q, sum) in sums.iter_mut().enumerate() {
                        let k = q * KC + k;
                        for (t, b) in eight_by_four(columns, k).into_iter().enumerate() {
                            *sum = _mm256_fmadd_ps(_mm256_set1_ps(*x(k + t)), b, *sum);
                        }
                    }
                }
            }
        }
        for (sums, columns) in sums.iter_mut().zip(&columns) {
            for (k, sum) in (whole..kc).flat_map(|k| (0..Q).map(move |q| (q * KC + k, q))) {
                let step: [f32; 8] = std::array::from_fn(|i| *columns[i].add(k));
                sums[sum] = _mm256_fmadd_ps(_mm256_set1_ps(*x(k)), _mm256_loadu_ps(step.as_ptr()), sums[sum]);
            }
        }
    }
    for j in j..block.width.min(j + 8 * G) {
        let place = block.c.wrapping_add(j);
        for (q, sum) in sums[(j % (8 * G)) / 8].into_iter().enumerate() {
            // SAFETY: the caller vouches for the columns; a register is eight floats.
            unsafe {
                let sums: [f32; 8] = std::mem::transmute(sum);
                *place = if block.accumulate || k + q > 0 { *place + sums[j % 8] } else { sums[j % 8] };
            }
        }
    }
}
