//! The matrix that a convolution multiplies, never built as a whole: row `m` holds what output pixel `m` sees.

use crate::lanes::Real;
use crate::operand::Shared;

/// How far a tap reaches from the pixel that a window starts at, as (rows, columns); may be negative.
pub(super) type Tap = [isize; 2];

/// The windows of a channels-last image stack. Column `t * width + c` of row `(n, i, j)` is channel `first + c` of the
/// pixel `(i * step + tap[t])` of image `n`, or 0 outside the image.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, T> {
    /// The images.
    pub(super) x: Shared<T>,
    /// Their height and width.
    pub(super) size: [usize; 2],
    /// Channels of a pixel.
    pub(super) channels: usize,
    /// The first channel used.
    pub(super) first: usize,
    /// The number of channels used.
    pub(super) width: usize,
    /// The taps.
    pub(super) taps: &'a [Tap],
    /// Height and width of the output.
    pub(super) out: [usize; 2],
    /// The step of the windows.
    pub(super) step: [usize; 2],
}

impl<T: Real> Columns<'_, T> {
    /// Image, row and column of an output pixel.
    #[inline(always)]
    pub(super) fn place(&self, m: usize) -> (usize, usize, usize) {
        let (row, j) = (m / self.out[1], m % self.out[1]);
        (row / self.out[0], row % self.out[0], j)
    }

    /// The pixel that tap `t` of an output pixel sees, from its first used channel on; `None` outside the image.
    #[inline(always)]
    pub(super) fn pixel(&self, (n, i, j): (usize, usize, usize), t: usize) -> Option<*const T> {
        let h = (i * self.step[0]).wrapping_add_signed(self.taps[t][0]);
        let w = (j * self.step[1]).wrapping_add_signed(self.taps[t][1]);
        let inside = h < self.size[0] && w < self.size[1];
        inside.then(|| {
            let at = ((n * self.size[0] + h) * self.size[1] + w) * self.channels + self.first;
            self.x.at(at).cast_const()
        })
    }

    /// Calls `f(column, source, count)` for the runs of row `m` in the columns `range`; the source is `None` for zeros.
    #[inline(always)]
    pub(super) fn runs(
        &self,
        m: usize,
        range: std::ops::Range<usize>,
        mut f: impl FnMut(usize, Option<*const T>, usize),
    ) {
        let place = self.place(m);
        let mut k = range.start;
        while k < range.end {
            let (t, c) = (k / self.width, k % self.width);
            let count = (self.width - c).min(range.end - k);
            f(k, self.pixel(place, t).map(|p| p.wrapping_add(c)), count);
            k += count;
        }
    }
}
