//! Operands in the order that micro-kernels read them.

use std::ops::Range;

use super::Element;

/// One side of a product. Its lines are the rows of A or the columns of B; each runs along k.
pub(crate) trait Source<T: Element>: Sync {
    /// Writes lines `lines` over steps `ks` as panels of `width` lines: element (line, step) of a panel lies at
    /// `step * width + line`, panels follow one another, and the last is filled up with zeros. `dst` has exactly
    /// `lines.len().next_multiple_of(width) * ks.len()` elements, all of which must be written.
    fn pack(&self, lines: Range<usize>, ks: Range<usize>, width: usize, dst: &mut [T]);
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

impl<T: Element> Source<T> for Strided<T> {
    fn pack(&self, lines: Range<usize>, ks: Range<usize>, width: usize, dst: &mut [T]) {
        let kc = ks.len();
        for (panel, dst) in dst.chunks_exact_mut(width * kc).enumerate() {
            let first = lines.start + panel * width;
            let count = width.min(lines.end - first);
            let origin = first as isize * self.line + ks.start as isize * self.step;
            // SAFETY: whoever made the matrix vouches for its lines and steps.
            unsafe {
                let p = self.p.offset(origin);
                if self.line == 1 {
                    copy_rows(p, self.step, count, width, dst);
                } else {
                    transpose(p, self.line, self.step, count, width, dst);
                }
            }
        }
    }
}

/// Lines are neighbours in memory: each step of k is one run.
unsafe fn copy_rows<T: Element>(p: *const T, step: isize, count: usize, width: usize, dst: &mut [T]) {
    for (k, to) in dst.chunks_exact_mut(width).enumerate() {
        // SAFETY: `count` lines from `p + k * step` on are readable, as the caller vouches.
        let from = unsafe { std::slice::from_raw_parts(p.offset(k as isize * step), count) };
        to[..count].copy_from_slice(from);
        to[count..].fill(T::default());
    }
}

/// Lines lie apart: eight steps of every line at a time, so that reads stay within cache lines.
unsafe fn transpose<T: Element>(p: *const T, line: isize, step: isize, count: usize, width: usize, dst: &mut [T]) {
    for (block, to) in dst.chunks_mut(8 * width).enumerate() {
        let steps = to.len() / width;
        for i in 0..count {
            // SAFETY: line `i` is readable over these steps, as the caller vouches.
            let from = unsafe { p.offset(i as isize * line + (8 * block) as isize * step) };
            for s in 0..steps {
                // SAFETY: as above.
                to[s * width + i] = unsafe { *from.offset(s as isize * step) };
            }
        }
        for row in to.chunks_exact_mut(width) {
            row[count..].fill(T::default());
        }
    }
}
