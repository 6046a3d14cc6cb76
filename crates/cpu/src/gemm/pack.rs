//! Operands in the order that micro-kernels read them.

use std::ops::Range;

use super::Element;
use super::weave::weave;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Isa, isa};

/// One side of a product. Its lines are the rows of A or the columns of B; each runs along k.
///
/// # Panels
/// A panel of `width` lines over `kc` steps is `width * kc` elements; element (line, step) lies at
/// `step * width + line`, so that a micro-kernel reads it front to back. Panels follow one another, and the lines that
/// the last lacks are zeros. The same source serves as either side; the width is that of the kernel's tile.
///
/// An implementation that has its lines as plain segments hands them to [`Element::weave`], once for each run of steps
/// over which all lines of a panel are contiguous in memory (`dst` then starts at the run's first step).
pub(crate) trait Source<T: Element>: Sync {
    /// Writes lines `lines` over steps `ks` (at most [`KC`](super::KC) of them) as panels of `width` lines. `dst` has
    /// exactly `lines.len().next_multiple_of(width) * ks.len()` elements, all of which must be written; what it holds
    /// before is arbitrary. Several threads call this at the same time.
    fn pack(&self, lines: Range<usize>, ks: Range<usize>, width: usize, dst: &mut [T]);

    /// Itself when it is a matrix in memory.
    fn strided(&self) -> Option<Strided<T>> {
        None
    }
}

/// A matrix in memory.
#[derive(Clone, Copy)]
pub(crate) struct Strided<T> {
    /// The first element.
    pub(crate) p: *const T,
    /// From one line to the next, in elements.
    pub(crate) line: isize,
    /// From one step of k to the next, in elements.
    pub(crate) step: isize,
}

// SAFETY: only read, for the time of one call.
unsafe impl<T> Send for Strided<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Strided<T> {}

impl<T> Strided<T> {
    /// The matrix that starts `offset` elements later.
    pub(crate) fn at(self, offset: isize) -> Self {
        Self { p: self.p.wrapping_offset(offset), ..self }
    }
}

/// The widest panel of all kernels.
const WIDEST: usize = 32;

impl<T: Element> Source<T> for Strided<T> {
    fn pack(&self, lines: Range<usize>, ks: Range<usize>, width: usize, dst: &mut [T]) {
        let kc = ks.len();
        let first = self.at(lines.start as isize * self.line + ks.start as isize * self.step);
        // A single line lies next to nothing.
        let line = if lines.len() == 1 { 0 } else { self.line };
        // SAFETY: whoever made the matrix vouches for its lines and steps; `isa` gives what the processor has.
        unsafe {
            match (line, self.step) {
                #[cfg(target_arch = "x86_64")]
                (1, _) if isa() == Isa::Avx512 => copy_avx512(first, lines.len(), width, kc, dst),
                (1, _) => copy(first, lines.len(), width, kc, dst),
                (_, 1) => woven(first, lines.len(), width, kc, dst),
                _ => scattered(first, lines.len(), width, kc, dst),
            }
        }
    }

    fn strided(&self) -> Option<Strided<T>> {
        Some(*self)
    }
}

/// [`copy`] with the widest moves.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma,avx2")]
unsafe fn copy_avx512<T: Element>(from: Strided<T>, count: usize, width: usize, kc: usize, dst: &mut [T]) {
    // SAFETY: passed on.
    unsafe { copy(from, count, width, kc, dst) }
}

/// Lines are neighbours in memory: each step of k is one run. Whole panels copy runs of a length known in advance.
#[inline(always)]
unsafe fn copy<T: Element>(from: Strided<T>, count: usize, width: usize, kc: usize, dst: &mut [T]) {
    let whole = count / width;
    let (body, rest) = dst.split_at_mut(whole * width * kc);
    // SAFETY: passed on.
    unsafe {
        match width {
            32 => copy_panels::<T, 32>(from, whole, kc, body),
            16 => copy_panels::<T, 16>(from, whole, kc, body),
            14 => copy_panels::<T, 14>(from, whole, kc, body),
            _ => copy_part(from, whole * width, width, kc, body),
        }
        copy_part(from.at((whole * width) as isize), count % width, width, kc, rest);
    }
}

/// Step by step over all panels, so that memory is read in long runs.
#[inline(always)]
unsafe fn copy_panels<T: Element, const W: usize>(from: Strided<T>, panels: usize, kc: usize, dst: &mut [T]) {
    assert!(dst.len() == panels * kc * W);
    for k in 0..kc {
        let row = from.p.wrapping_offset(k as isize * from.step);
        for panel in 0..panels {
            // SAFETY: the caller vouches for the lines of this step; the place lies within dst.
            unsafe {
                let to = dst.as_mut_ptr().add((panel * kc + k) * W);
                to.cast::<[T; W]>().write_unaligned(row.add(panel * W).cast::<[T; W]>().read_unaligned());
            }
        }
    }
}

/// Panels of any width, the last perhaps not full.
#[inline(always)]
unsafe fn copy_part<T: Element>(from: Strided<T>, count: usize, width: usize, kc: usize, dst: &mut [T]) {
    for (panel, dst) in dst.chunks_exact_mut(width * kc).enumerate() {
        let count = width.min(count - panel * width);
        for (k, to) in dst.chunks_exact_mut(width).enumerate() {
            let p = from.p.wrapping_offset((panel * width) as isize + k as isize * from.step);
            // SAFETY: the caller vouches for the lines of this step.
            unsafe { std::ptr::copy_nonoverlapping(p, to.as_mut_ptr(), count) };
            to[count..].fill(T::default());
        }
    }
}

/// Each line is one run.
unsafe fn woven<T: Element>(from: Strided<T>, count: usize, width: usize, kc: usize, dst: &mut [T]) {
    let mut lines = [from.p; WIDEST];
    for (panel, dst) in dst.chunks_exact_mut(width * kc).enumerate() {
        let first = panel * width;
        let lines = &mut lines[..width.min(count - first)];
        for (i, line) in lines.iter_mut().enumerate() {
            *line = from.p.wrapping_offset((first + i) as isize * from.line);
        }
        // SAFETY: the caller vouches for `kc` steps of each line.
        unsafe { T::weave(lines, kc, width, dst) };
    }
}

/// Neither lines nor steps are neighbours.
unsafe fn scattered<T: Element>(from: Strided<T>, count: usize, width: usize, kc: usize, dst: &mut [T]) {
    for (panel, dst) in dst.chunks_exact_mut(width * kc).enumerate() {
        let first = panel * width;
        for (k, to) in dst.chunks_exact_mut(width).enumerate() {
            for (i, to) in to.iter_mut().enumerate() {
                let at = (first + i) as isize * from.line + k as isize * from.step;
                // SAFETY: the caller vouches for the element when the line is there.
                *to = if first + i < count { unsafe { *from.p.offset(at) } } else { T::default() };
            }
        }
    }
}

/// As [`Element::weave`], for elements without one of their own.
///
/// # Safety
/// Each line is valid for `run` elements.
pub(super) unsafe fn weave_any<T: Element>(lines: &[*const T], run: usize, width: usize, dst: &mut [T]) {
    assert!(lines.len() <= width);
    // SAFETY: passed on.
    unsafe { weave(lines, 0..run, width, dst) }
}
