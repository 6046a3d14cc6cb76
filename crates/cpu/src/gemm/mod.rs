//! Matrix products of f32 and f64, packed and blocked.
//!
//! `C[m, n] = A[m, k] B[k, n]` (added to C when asked). Each element of C is, for every block of [`KC`] steps of k in
//! order, one chain of fused multiply-adds from zero over the block, added to what the earlier blocks gave. That order
//! depends on k alone, so an element's bits do not depend on the other rows, the number of threads, or the instruction
//! set. The operands are packed through [`Source`], which also lets a convolution produce its columns on the fly.
//! Products of one row, one column or one step have nothing to use twice and are not packed ([`vector`]).
//!
//! The scheme is that of Goto and van de Geijn (ACM TOMS 34, 2008) and BLIS (Van Zee and van de Geijn, TOMS 41, 2015).

mod micro;
mod pack;
mod scratch;
mod vector;
mod weave;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use esker_tensor::{Error, Result, Storage};

pub(crate) use micro::Element;
use micro::Kernel;
pub(crate) use pack::{Source, Strided};

use crate::threads::{parallel, parallel_for};

/// Steps of k in a block: a panel of B (32 columns of f32) then fills 32 KiB.
pub(crate) const KC: usize = 256;
/// Columns of B packed at a time.
const NC: usize = 4096;
/// Rows of A that a task packs at a time, as a multiple of every micro-kernel's height.
const MC: usize = 168;
/// Elements of A that a product of few rows packs at a time.
const NARROW: usize = 1 << 18;
/// Products of up to this many multiplications run on the calling thread.
const SERIAL: usize = 64 * 64 * 64;

/// Where a product goes: `c` is the first element, rows and columns lie `rs` and `cs` elements apart.
pub(crate) struct Output<T> {
    pub(crate) c: *mut T,
    pub(crate) rs: isize,
    pub(crate) cs: isize,
    /// Add to what is there.
    pub(crate) accumulate: bool,
    /// Added to the product.
    pub(crate) bias: Option<Bias<T>>,
}

/// A number for each column (or row) of a product.
#[derive(Clone, Copy)]
pub(crate) struct Bias<T> {
    pub(crate) p: *const T,
    /// From one row to the next.
    pub(crate) row: isize,
    /// From one column to the next.
    pub(crate) column: isize,
}

impl<T> Bias<T> {
    fn element(&self, i: usize, j: usize) -> *const T {
        self.p.wrapping_offset(i as isize * self.row + j as isize * self.column)
    }
}

// SAFETY: tasks write disjoint tiles of C, for the time of one call.
unsafe impl<T> Send for Output<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Output<T> {}

impl<T> Output<T> {
    /// The part that starts at row `i` and column `j`.
    fn at(&self, i: usize, j: usize) -> Self {
        let bias = self.bias.as_ref().map(|bias| Bias { p: bias.element(i, j), ..*bias });
        Self { c: self.element(i, j), bias, ..*self }
    }

    fn element(&self, i: usize, j: usize) -> *mut T {
        self.c.wrapping_offset(i as isize * self.rs + j as isize * self.cs)
    }

    /// As columns for rows.
    fn transposed(self) -> Self {
        let bias = self.bias.map(|bias| Bias { row: bias.column, column: bias.row, ..bias });
        Self { rs: self.cs, cs: self.rs, bias, ..self }
    }
}

/// `C[m, n] = A B`, with the lines of `a` being the rows of A and those of `b` the columns of B.
///
/// # Safety
/// `out` must be valid for writes (and reads, when accumulating) of all m x n elements, which nobody else touches.
pub(crate) unsafe fn gemm<T: Element>(
    (m, n, k): (usize, usize, usize),
    a: &dyn Source<T>,
    b: &dyn Source<T>,
    out: Output<T>,
) -> Result<()> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    if k == 0 {
        // SAFETY: passed on.
        unsafe {
            clear(m, n, &out);
            add_bias(m, n, &out);
        }
        return Ok(());
    }
    let kernel = T::kernel();
    let ((m, n), (a, b), out) =
        if swaps((m, n), a, b, &out, &kernel) { ((n, m), (b, a), out.transposed()) } else { ((m, n), (a, b), out) };
    let serial = m * n * k <= SERIAL;
    if let (true, Some(a), Some(b)) = (m == 1 || k == 1, a.strided(), b.strided()) {
        // SAFETY: passed on.
        let done = unsafe {
            match m {
                1 => vector::row((n, k), a, b, &out, serial),
                _ => vector::outer((m, n), a, b, &out, serial),
            }
        };
        if done {
            // SAFETY: passed on.
            unsafe { add_bias(m, n, &out) };
            return Ok(());
        }
    }
    let call = Call { kernel, a, b, out, serial, k };
    // SAFETY: passed on.
    unsafe { if m <= MC { call.narrow(m, n, k) } else { call.wide(m, n, k) } }
}

/// Whether `C^T = B^T A^T` is the better product: C is column-major, or has too few columns for a tile. The bits of an
/// element are the same, since its factors commute.
fn swaps<T: Element>(
    (m, n): (usize, usize),
    a: &dyn Source<T>,
    b: &dyn Source<T>,
    out: &Output<T>,
    kernel: &Kernel<T>,
) -> bool {
    if n > 1 && out.cs != 1 {
        return out.rs == 1;
    }
    let (as_is, swapped) = (m * n.next_multiple_of(kernel.nr), n * m.next_multiple_of(kernel.nr));
    as_is > 2 * swapped && a.strided().is_some() && b.strided().is_some()
}

unsafe fn clear<T: Element>(m: usize, n: usize, out: &Output<T>) {
    if out.accumulate {
        return;
    }
    for i in 0..m {
        for j in 0..n {
            // SAFETY: within the output, as the caller vouches.
            unsafe { *out.element(i, j) = T::default() };
        }
    }
}

/// Adds the bias where the kernels did not.
unsafe fn add_bias<T: Element>(m: usize, n: usize, out: &Output<T>) {
    let Some(bias) = out.bias else { return };
    for i in 0..m {
        for j in 0..n {
            // SAFETY: within the output and the bias, as the caller vouches.
            unsafe { *out.element(i, j) = (*out.element(i, j)).plus(*bias.element(i, j)) };
        }
    }
}

/// Runs `f` over tasks, on the pool unless `serial`.
fn run(tasks: usize, serial: bool, f: &(dyn Fn(usize) + Sync)) {
    if serial { (0..tasks).for_each(f) } else { parallel(tasks, f) }
}

/// A slice that tasks cut into disjoint parts.
struct Parts<T>(*mut T, usize);

// SAFETY: `part` hands out disjoint ranges to different tasks.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T> Parts<T> {
    /// # Safety
    /// Ranges of calls that overlap in time must not overlap.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        debug_assert!(range.end <= self.1);
        // SAFETY: in range; disjoint as the caller vouches.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

/// The first error of tasks.
struct First(Mutex<Result<()>>);

impl First {
    fn new() -> Self {
        Self(Mutex::new(Ok(())))
    }

    fn note(&self, result: Result<()>) {
        if result.is_err() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = result;
        }
    }

    fn get(self) -> Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a product is made of.
struct Call<'a, T> {
    kernel: Kernel<T>,
    a: &'a dyn Source<T>,
    b: &'a dyn Source<T>,
    out: Output<T>,
    serial: bool,
    /// Steps in all.
    k: usize,
}

impl<T: Element> Call<'_, T> {
    /// Few rows: A is packed once, and each task packs the columns of B that it alone reads.
    ///
    /// # Safety
    /// As [`gemm`].
    unsafe fn narrow(&self, m: usize, n: usize, k: usize) -> Result<()> {
        let height = m.next_multiple_of(self.kernel.mr);
        let depth = (NARROW / height / KC * KC).max(KC);
        let group = 4 * self.kernel.nr;
        scratch::with(&scratch::A, height * depth.min(k), |packed: &mut [T]| {
            (0..k).step_by(depth).try_for_each(|k0| {
                let ks = k0..(k0 + depth).min(k);
                self.pack_rows(m, &ks, packed);
                let (packed, first) = (&*packed, First::new());
                run(n.div_ceil(group), self.serial, &|task| {
                    let js = task * group..((task + 1) * group).min(n);
                    // SAFETY: passed on; each task has its own columns.
                    first.note(unsafe { self.columns(m, js, &ks, packed) });
                });
                first.get()
            })
        })
    }

    /// Packs all rows of A, block of k after block.
    fn pack_rows(&self, m: usize, ks: &Range<usize>, packed: &mut [T]) {
        let height = m.next_multiple_of(self.kernel.mr);
        let parts = Parts(packed.as_mut_ptr(), packed.len());
        run(ks.len().div_ceil(KC), self.serial || m < 8, &|block| {
            let from = block * KC;
            let to = (from + KC).min(ks.len());
            // SAFETY: each task packs its own block.
            let dst = unsafe { parts.part(height * from..height * to) };
            self.a.pack(0..m, ks.start + from..ks.start + to, self.kernel.mr, dst);
        });
    }

    /// Some columns of C, over blocks of k for which A is packed.
    ///
    /// # Safety
    /// As [`gemm`], for these columns.
    unsafe fn columns(&self, m: usize, js: Range<usize>, ks: &Range<usize>, a: &[T]) -> Result<()> {
        let (width, height) = (js.len().next_multiple_of(self.kernel.nr), m.next_multiple_of(self.kernel.mr));
        scratch::with(&scratch::B, width * ks.len().min(KC), |packed: &mut [T]| {
            for k0 in ks.clone().step_by(KC) {
                let block = k0..(k0 + KC).min(ks.end);
                let packed = &mut packed[..width * block.len()];
                let a = &a[height * (k0 - ks.start)..];
                // SAFETY: passed on.
                unsafe {
                    if !self.packing_tiles(m, &js, &block, a, packed) {
                        self.b.pack(js.clone(), block.clone(), self.kernel.nr, packed);
                        self.tiles(0..m, js.clone(), &block, a, packed);
                    }
                }
            }
            Ok(())
        })
    }

    /// The tiles of some columns of C for one block of k, the first of each panel of B packing it on the way; whether that
    /// was done, which it is for whole panels of neighbouring columns.
    ///
    /// # Safety
    /// As [`gemm`], for these columns.
    unsafe fn packing_tiles(&self, m: usize, js: &Range<usize>, ks: &Range<usize>, a: &[T], packed: &mut [T]) -> bool {
        let (mr, nr, kc) = (self.kernel.mr, self.kernel.nr, ks.len());
        let Some(b) = self.b.strided().filter(|b| b.line == 1) else { return false };
        let biased = self.out.bias.is_none_or(|bias| bias.row == 0 && bias.column == 1);
        if m < mr || !js.len().is_multiple_of(nr) || self.out.cs != 1 || !biased {
            return false;
        }
        let out = self.part(ks);
        for (panel, j) in packed.chunks_exact_mut(nr * kc).zip(js.clone().step_by(nr)) {
            let b = b.at(j as isize + ks.start as isize * b.step);
            // SAFETY: the columns are the caller's; the first tile fills the panel, which the others read.
            unsafe {
                self.kernel.packing_tile(kc, a, b, panel, out.at(0, j));
                for r in (mr..m).step_by(mr) {
                    self.kernel.tile(kc, &a[r * kc..], panel, out.at(r, j), (mr.min(m - r), nr));
                }
            }
        }
        true
    }

    /// Where one block of k goes: added to what earlier ones gave, with the bias after the last.
    fn part(&self, ks: &Range<usize>) -> Output<T> {
        let accumulate = self.out.accumulate || ks.start > 0;
        Output { accumulate, bias: self.out.bias.filter(|_| ks.end == self.k), ..self.out }
    }

    /// Many rows: B is packed by all threads together, and each task packs the rows of A that it needs.
    ///
    /// # Safety
    /// As [`gemm`].
    unsafe fn wide(&self, m: usize, n: usize, k: usize) -> Result<()> {
        let columns = n.min(NC).next_multiple_of(self.kernel.nr);
        let mut packed = Storage::alloc(columns * k.min(KC) * size_of::<T>())?;
        let packed: &mut [T] = bytemuck::cast_slice_mut(packed.make_mut()?);
        for j0 in (0..n).step_by(NC) {
            let js = j0..(j0 + NC).min(n);
            for k0 in (0..k).step_by(KC) {
                let ks = k0..(k0 + KC).min(k);
                self.pack_columns(&js, &ks, packed);
                // SAFETY: passed on.
                unsafe { self.blocks(m, &js, &ks, packed)? };
            }
        }
        Ok(())
    }

    fn pack_columns(&self, js: &Range<usize>, ks: &Range<usize>, packed: &mut [T]) {
        let (nr, kc) = (self.kernel.nr, ks.len());
        let group = 4 * nr;
        let parts = Parts(packed.as_mut_ptr(), packed.len());
        run(js.len().div_ceil(group), self.serial, &|task| {
            let start = task * group;
            let lines = js.start + start..(js.start + start + group).min(js.end);
            let len = lines.len().next_multiple_of(nr) * kc;
            // SAFETY: each task packs its own panels.
            let dst = unsafe { parts.part(start * kc..start * kc + len) };
            self.b.pack(lines, ks.clone(), nr, dst);
        });
    }

    /// All of C for one block of B, some rows and columns a task. How C is cut depends on m and n alone.
    ///
    /// # Safety
    /// As [`gemm`].
    unsafe fn blocks(&self, m: usize, js: &Range<usize>, ks: &Range<usize>, b: &[T]) -> Result<()> {
        let (mr, nr) = (self.kernel.mr, self.kernel.nr);
        let height = m.div_ceil(m.div_ceil(MC)).next_multiple_of(mr);
        let rows = m.div_ceil(height);
        // With few blocks of rows, columns are cut too; each task then packs its rows again.
        let cuts = 64usize.div_ceil(rows).min(js.len().div_ceil(8 * nr)).max(1);
        let width = js.len().div_ceil(cuts).next_multiple_of(nr);
        let cuts = js.len().div_ceil(width);
        let first = First::new();
        run(rows * cuts, self.serial, &|task| {
            let (i, j) = (task / cuts * height, task % cuts * width);
            let (is, columns) = (i..(i + height).min(m), js.start + j..(js.start + j + width).min(js.end));
            let len = is.len().next_multiple_of(mr) * ks.len();
            first.note(scratch::with(&scratch::A, len, |a: &mut [T]| {
                self.a.pack(is.clone(), ks.clone(), mr, a);
                // SAFETY: passed on; each task has its own rows and columns.
                unsafe { self.tiles(is, columns, ks, a, &b[j * ks.len()..]) };
                Ok(())
            }));
        });
        first.get()
    }

    /// The tiles of some rows and columns of C for one block of k, whose packed operands start with these.
    ///
    /// # Safety
    /// As [`gemm`], for this part of C.
    unsafe fn tiles(&self, is: Range<usize>, js: Range<usize>, ks: &Range<usize>, a: &[T], b: &[T]) {
        let (mr, nr, kc) = (self.kernel.mr, self.kernel.nr, ks.len());
        let out = self.part(ks);
        for c in (0..js.len()).step_by(nr) {
            for r in (0..is.len()).step_by(mr) {
                let size = (mr.min(is.len() - r), nr.min(js.len() - c));
                let out = out.at(is.start + r, js.start + c);
                // SAFETY: the tile lies within C and is the caller's; panels are packed for kc steps.
                unsafe { self.kernel.tile(kc, &a[r * kc..], &b[c * kc..], out, size) };
            }
        }
    }
}

/// Matrices that one call multiplies: `batch` of them, each so many elements after the last (0 repeats one).
pub(crate) struct Batch<T> {
    pub(crate) count: usize,
    pub(crate) a: Strided<T>,
    pub(crate) b: Strided<T>,
    pub(crate) out: Output<T>,
    /// Offsets of matrix `i` of A, B and C.
    pub(crate) offsets: Vec<[isize; 3]>,
}

/// A product for each matrix of a batch: over the batch in parallel when the matrices are small, within each when not.
///
/// # Safety
/// As [`gemm`], for every matrix; the matrices of C must not overlap.
pub(crate) unsafe fn gemm_batch<T: Element>(size: (usize, usize, usize), batch: &Batch<T>) -> Result<()> {
    let one = |i: usize| {
        let [a, b, c] = batch.offsets[i];
        let out = Output { c: batch.out.c.wrapping_offset(c), ..batch.out };
        // SAFETY: passed on.
        unsafe { gemm(size, &batch.a.at(a), &batch.b.at(b), out) }
    };
    let (m, n, k) = size;
    if batch.count == 1 || m * n * k > 8 * SERIAL {
        return (0..batch.count).try_for_each(one);
    }
    let first = First::new();
    let grain = (SERIAL / (m * n * k).max(1)).clamp(1, 64);
    parallel_for(batch.count, grain, &|range| {
        range.for_each(|i| first.note(one(i)));
    });
    first.get()
}

/// `C[m, n] = A[m, k] B[k, n]` of dense matrices; `ta` and `tb` say that one is stored transposed. For benchmarks.
///
/// # Errors
/// `Shape` when a slice has another size; those of allocation.
#[doc(hidden)]
pub fn bench_gemm_f32(
    (m, n, k): (usize, usize, usize),
    a: &[f32],
    ta: bool,
    b: &[f32],
    tb: bool,
    c: &mut [f32],
) -> Result<()> {
    if (a.len(), b.len(), c.len()) != (m * k, k * n, m * n) {
        return Err(Error::shape(format!("{m} x {k} by {k} x {n} needs slices of {}, {} and {}", m * k, k * n, m * n)));
    }
    let [m_step, n_step, k_step] = [m, n, k].map(|x| x as isize);
    let (line, step) = if ta { (1, m_step) } else { (k_step, 1) };
    let a = Strided { p: a.as_ptr(), line, step };
    let (line, step) = if tb { (k_step, 1) } else { (1, n_step) };
    let b = Strided { p: b.as_ptr(), line, step };
    // SAFETY: the slices are as large as the sizes say.
    unsafe { gemm((m, n, k), &a, &b, Output { c: c.as_mut_ptr(), rs: n_step, cs: 1, accumulate: false, bias: None }) }
}

#[cfg(test)]
mod tests;
