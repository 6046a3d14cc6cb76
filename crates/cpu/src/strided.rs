//! The strided engine: operands of one shape, walked in the memory order of the first.
//!
//! Dimensions are sorted by the first operand's strides and neighbours merged where every operand allows it, so that most
//! calls become one long run. What remains is a list of rows along the innermost dimension.

use std::ops::Range;

use esker_tensor::{Layout, MAX_RANK};
use smallvec::SmallVec;

use crate::threads;

/// Elements below which a walk is not worth a second thread.
pub(crate) const GRAIN: usize = 32_768;

/// Merged dimensions of `N` operands; the last is the innermost.
pub(crate) struct Plan<const N: usize> {
    dims: SmallVec<[(usize, [isize; N]); MAX_RANK]>,
}

/// A run of elements: the offset of the first in each operand, and the stride along the run.
pub(crate) struct Run<const N: usize> {
    pub(crate) offsets: [isize; N],
    pub(crate) strides: [isize; N],
    pub(crate) len: usize,
}

impl<const N: usize> Plan<N> {
    /// A plan for layouts of one shape (inputs expanded to it), in elements relative to each layout's first.
    pub(crate) fn new(layouts: [&Layout; N]) -> Self {
        let shape = layouts[0].shape();
        let mut dims: SmallVec<[(usize, [isize; N]); MAX_RANK]> = (0..shape.len())
            .filter(|&d| shape[d] != 1)
            .map(|d| (shape[d], std::array::from_fn(|k| layouts[k].strides()[d])))
            .collect();
        dims.sort_by_key(|(_, strides)| std::cmp::Reverse(strides[0].unsigned_abs()));
        let mut merged: SmallVec<[(usize, [isize; N]); MAX_RANK]> = SmallVec::new();
        for (size, strides) in dims {
            match merged.last_mut() {
                Some((outer, s)) if (0..N).all(|k| s[k] == strides[k] * size as isize) => {
                    *outer *= size;
                    *s = strides;
                }
                _ => merged.push((size, strides)),
            }
        }
        if merged.is_empty() {
            merged.push((1, [1; N]));
        }
        Self { dims: merged }
    }

    /// Sizes and strides, the innermost dimension of the first operand last.
    pub(crate) fn dims(&self) -> &[(usize, [isize; N])] {
        &self.dims
    }

    fn numel(&self) -> usize {
        self.dims.iter().map(|(n, _)| n).product()
    }

    /// Calls `f` on runs that together cover every element once, on several threads when there are many. Where runs
    /// are cut depends on the layouts alone.
    pub(crate) fn each(&self, f: &(dyn Fn(Run<N>) + Sync)) {
        let Some((&(inner, strides), outer)) = self.dims.split_last() else { return };
        if self.numel() == 0 {
            return;
        }
        let rows: usize = outer.iter().map(|(n, _)| n).product();
        // Long rows are cut into parts of GRAIN; short ones are handed out many at a time.
        let parts = inner.div_ceil(GRAIN);
        let rows_per_task = (GRAIN / inner.max(1)).max(1);
        let part = |row: usize, range: Range<usize>| {
            let mut offsets = self.offsets(outer, row);
            for (o, s) in offsets.iter_mut().zip(strides) {
                *o += range.start as isize * s;
            }
            f(Run { offsets, strides, len: range.len() });
        };
        if parts > 1 {
            threads::parallel(rows * parts, &|task| {
                let start = task % parts * GRAIN;
                part(task / parts, start..(start + GRAIN).min(inner));
            });
        } else {
            threads::parallel_for(rows, rows_per_task, &|range| range.for_each(|row| part(row, 0..inner)));
        }
    }

    fn offsets(&self, outer: &[(usize, [isize; N])], mut row: usize) -> [isize; N] {
        let mut offsets = [0; N];
        for &(size, strides) in outer.iter().rev() {
            let at = (row % size) as isize;
            row /= size;
            for k in 0..N {
                offsets[k] += at * strides[k];
            }
        }
        offsets
    }
}
