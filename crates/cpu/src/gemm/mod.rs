//! Matrix products of f32 and f64, packed and blocked.
//!
//! `C[m, n] = A[m, k] B[k, n]` (added to C when asked). Each element of C is, for every block of [`KC`] steps of k in
//! order, one chain of fused multiply-adds from zero over the block, added to what the earlier blocks gave. That order
//! depends on k alone, so an element's bits do not depend on the other rows, the number of threads, or the instruction
//! set. The operands are packed through [`Source`], which also lets a convolution produce its columns on the fly.
//!
//! The scheme is that of Goto and van de Geijn (ACM TOMS 34, 2008) and BLIS (Van Zee and van de Geijn, TOMS 41, 2015).

mod micro;
mod pack;

use std::cell::RefCell;
use std::ops::Range;

use esker_tensor::{Result, Storage};

pub(crate) use micro::Element;
use micro::Kernel;
pub(crate) use pack::{Source, Strided};

use crate::threads::{parallel, parallel_for};

/// Steps of k in a block: a panel of B (32 columns of f32) then fills 32 KiB, two thirds of a common L1 cache.
pub(crate) const KC: usize = 256;
/// Columns of B packed at a time.
const NC: usize = 4096;
/// Rows of A that a task packs at a time, as a multiple of every micro-kernel's height.
const MC: usize = 168;
/// Products below this many multiplications run on the calling thread.
const SERIAL: usize = 64 * 64 * 64;

/// Where a product goes: `c` is the first element, rows and columns lie `rs` and `cs` elements apart.
pub(crate) struct Output<T> {
    pub(crate) c: *mut T,
    pub(crate) rs: isize,
    pub(crate) cs: isize,
    /// Add to what is there.
    pub(crate) accumulate: bool,
}

// SAFETY: tasks write disjoint tiles of C, for the time of one call.
unsafe impl<T> Send for Output<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Output<T> {}

impl<T> Output<T> {
    /// The part that starts at row `i` and column `j`.
    fn at(&self, i: usize, j: usize) -> Self {
        let c = self.c.wrapping_offset(i as isize * self.rs + j as isize * self.cs);
        Self { c, rs: self.rs, cs: self.cs, accumulate: self.accumulate }
    }
}

thread_local! {
    /// The block of A that this thread works on, kept between calls.
    static A_BLOCK: RefCell<Option<Storage>> = const { RefCell::new(None) };
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
        unsafe { clear(m, n, out) };
        return Ok(());
    }
    let kernel = T::kernel();
    let columns = n.min(NC).next_multiple_of(kernel.nr);
    let mut packed = Storage::alloc(columns * k.min(KC) * size_of::<T>())?;
    let serial = m * n * k <= SERIAL;
    for j0 in (0..n).step_by(NC) {
        let js = j0..(j0 + NC).min(n);
        for k0 in (0..k).step_by(KC) {
            let ks = k0..(k0 + KC).min(k);
            let b_block = as_slice::<T>(packed.make_mut()?);
            pack_b(b, &js, &ks, kernel.nr, b_block, serial);
            let out = Output { accumulate: out.accumulate || k0 > 0, ..out };
            // SAFETY: passed on; tiles are disjoint.
            unsafe { tiles(&kernel, m, &js, &ks, a, b_block, &out, serial)? };
        }
    }
    Ok(())
}

fn as_slice<T: Element>(bytes: &mut [u8]) -> &mut [T] {
    bytemuck::cast_slice_mut(bytes)
}

unsafe fn clear<T: Element>(m: usize, n: usize, out: Output<T>) {
    if out.accumulate {
        return;
    }
    for i in 0..m {
        for j in 0..n {
            // SAFETY: within the output, as the caller vouches.
            unsafe { *out.c.offset(i as isize * out.rs + j as isize * out.cs) = T::default() };
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

fn pack_b<T: Element>(
    b: &dyn Source<T>,
    js: &Range<usize>,
    ks: &Range<usize>,
    nr: usize,
    dst: &mut [T],
    serial: bool,
) {
    // Eight panels a task.
    let (group, kc) = (8 * nr, ks.len());
    let parts = Parts(dst.as_mut_ptr(), dst.len());
    run(js.len().div_ceil(group), serial, &|task| {
        let start = task * group;
        let lines = js.start + start..(js.start + start + group).min(js.end);
        let len = lines.len().next_multiple_of(nr) * kc;
        // SAFETY: each task packs its own panels.
        let dst = unsafe { parts.part(start * kc..start * kc + len) };
        b.pack(lines, ks.clone(), nr, dst);
    });
}

/// All tiles of C for one block of B. How C is cut depends on m and n alone.
#[allow(clippy::too_many_arguments)]
unsafe fn tiles<T: Element>(
    kernel: &Kernel<T>,
    m: usize,
    js: &Range<usize>,
    ks: &Range<usize>,
    a: &dyn Source<T>,
    b: &[T],
    out: &Output<T>,
    serial: bool,
) -> Result<()> {
    let row_blocks = m.div_ceil(MC);
    // With few blocks of rows, columns are cut too; each task then packs its rows again.
    let column_blocks = 8usize.div_ceil(row_blocks).min(js.len().div_ceil(4 * kernel.nr)).max(1);
    let columns = js.len().div_ceil(column_blocks).next_multiple_of(kernel.nr);
    let failed = std::sync::Mutex::new(None);
    run(row_blocks * column_blocks, serial, &|task| {
        let (i0, c0) = (task / column_blocks * MC, task % column_blocks * columns);
        let rows = i0..(i0 + MC).min(m);
        if c0 >= js.len() {
            return;
        }
        let result = with_a_block(rows.len().next_multiple_of(kernel.mr) * ks.len(), |a_block: &mut [T]| {
            a.pack(rows.clone(), ks.clone(), kernel.mr, a_block);
            for c in (c0..(c0 + columns).min(js.len())).step_by(kernel.nr) {
                let width = kernel.nr.min(js.len() - c);
                for r in (0..rows.len()).step_by(kernel.mr) {
                    let height = kernel.mr.min(rows.len() - r);
                    // SAFETY: the tile lies within C and belongs to this task; panels are packed for kc steps.
                    unsafe {
                        let tile = out.at(rows.start + r, js.start + c);
                        kernel.tile(
                            ks.len(),
                            &a_block[r * ks.len()..],
                            &b[c * ks.len()..],
                            tile,
                            (height, width),
                        );
                    }
                }
            }
        });
        if let Err(error) = result {
            *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn with_a_block<T: Element>(len: usize, f: impl FnOnce(&mut [T])) -> Result<()> {
    let bytes = len * size_of::<T>();
    let mut block = match A_BLOCK.take().filter(|s| s.len() >= bytes) {
        Some(block) => block,
        None => Storage::alloc(bytes.max(MC * KC * size_of::<f64>()))?,
    };
    f(&mut as_slice::<T>(block.make_mut()?)[..len]);
    A_BLOCK.set(Some(block));
    Ok(())
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
    let failed = std::sync::Mutex::new(None);
    let grain = (SERIAL / (m * n * k).max(1)).clamp(1, 64);
    parallel_for(batch.count, grain, &|range| {
        for error in range.filter_map(|i| one(i).err()) {
            *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
