//! Windows as operands of matrix products, produced while packing.

use std::ops::Range;

use esker_tensor::Result;

use super::columns::Columns;
use crate::gemm::{self, Output, Source, Strided};
use crate::isa::{Isa, isa};
use crate::lanes::Real;

/// An element that convolutions compute in.
pub(super) trait Product: Real + gemm::Element + esker_tensor::Element {
    /// Writes `run` elements of each line to `dst`, step by step: element `s` of line `i` goes to `s * width + i`, and
    /// zeros to the places of lines that are not there.
    ///
    /// # Safety
    /// At most `width` lines, each valid for `run` elements; `dst` holds at least `run * width`.
    unsafe fn interleave(lines: &[*const Self], run: usize, width: usize, dst: &mut [Self]);
}

impl Product for f32 {
    unsafe fn interleave(lines: &[*const f32], run: usize, width: usize, dst: &mut [f32]) {
        // SAFETY: passed on; `isa` selects only what the processor has.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if isa() == Isa::Avx512 && width <= 16 {
                return x86::interleave(lines, run, width, dst);
            }
            interleave(lines, run, width, dst);
        }
    }
}

impl Product for f64 {
    unsafe fn interleave(lines: &[*const f64], run: usize, width: usize, dst: &mut [f64]) {
        // SAFETY: passed on.
        unsafe { interleave(lines, run, width, dst) }
    }
}

/// As [`Product::interleave`], in plain Rust.
unsafe fn interleave<T: Copy + Default>(lines: &[*const T], run: usize, width: usize, dst: &mut [T]) {
    for (block, to) in dst[..run * width].chunks_mut(8 * width).enumerate() {
        let steps = to.len() / width;
        for (i, line) in lines.iter().enumerate() {
            for s in 0..steps {
                // SAFETY: the caller vouches for `run` elements of each line.
                to[s * width + i] = unsafe { *line.add(8 * block + s) };
            }
        }
        for row in to.chunks_exact_mut(width) {
            row[lines.len()..].fill(T::default());
        }
    }
}

/// `y = windows x weights` for one group: `m x k` times row-major `k x n`, rows of `y` lying `channels` apart.
///
/// # Safety
/// The windows, weights and `y` are valid for these sizes.
pub(super) unsafe fn windows<T: Product>(
    columns: &Columns<'_, T>,
    [m, n, k]: [usize; 3],
    w: *const T,
    y: *mut T,
    channels: usize,
) -> Result<()> {
    let weights = Strided { p: w, line: 1, step: n as isize };
    let out = Output { c: y, rs: channels as isize, cs: 1, accumulate: false, bias: None };
    // SAFETY: passed on.
    unsafe { gemm::gemm((m, n, k), &Rows(columns), &weights, out) }
}

/// `dw = dy^T x windows` for one group over some pixels: `[kg][taps * width]`, pixels of `dy` lying `channels` apart.
///
/// # Safety
/// The windows, `dy` and `dw` are valid for these sizes.
pub(super) unsafe fn weights<T: Product>(
    columns: &Columns<'_, T>,
    pixels: Range<usize>,
    kg: usize,
    dy: *const T,
    channels: usize,
    dw: *mut T,
) -> Result<()> {
    let n = columns.taps.len() * columns.width;
    let dy = Strided { p: dy.wrapping_add(pixels.start * channels), line: 1, step: channels as isize };
    let out = Output { c: dw, rs: n as isize, cs: 1, accumulate: false, bias: None };
    let by_pixel = ByPixel { columns, first: pixels.start };
    // SAFETY: passed on.
    unsafe { gemm::gemm((kg, n, pixels.len()), &dy, &by_pixel, out) }
}

/// Lines are output pixels, steps are taps and channels.
struct Rows<'a, T>(&'a Columns<'a, T>);

/// The longest run that zeros stand in for.
const RUN: usize = gemm::KC;
/// The most lines of a panel.
const WIDTH: usize = 64;

impl<T: Product> Source<T> for Rows<'_, T> {
    fn pack(&self, lines: Range<usize>, ks: Range<usize>, width: usize, dst: &mut [T]) {
        let columns = self.0;
        for (panel, dst) in dst.chunks_exact_mut(width * ks.len()).enumerate() {
            let first = lines.start + panel * width;
            let pixels = first..(first + width).min(lines.end);
            // SAFETY: lines and steps are those of the columns.
            unsafe {
                if columns.width < 16 && columns.taps.len() > 1 {
                    rows_by_line(columns, pixels, ks.clone(), width, dst);
                } else {
                    rows_by_tap(columns, pixels, ks.clone(), width, dst);
                }
            }
        }
    }
}

/// Packs a panel tap by tap, straight from the image.
///
/// # Safety
/// At most `width` pixels, which is at most `WIDTH`; `dst` holds `width * ks.len()`.
unsafe fn rows_by_tap<T: Product>(
    columns: &Columns<'_, T>,
    pixels: Range<usize>,
    ks: Range<usize>,
    width: usize,
    dst: &mut [T],
) {
    let zeros = [T::default(); RUN];
    let mut places = [(0, 0, 0); WIDTH];
    let mut from = [zeros.as_ptr(); WIDTH];
    let count = pixels.len();
    for (place, m) in places.iter_mut().zip(pixels) {
        *place = columns.place(m);
    }
    let mut k = ks.start;
    while k < ks.end {
        let (t, c) = (k / columns.width, k % columns.width);
        let run = (columns.width - c).min(ks.end - k).min(RUN);
        for (from, &place) in from[..count].iter_mut().zip(&places) {
            *from = columns.pixel(place, t).map_or(zeros.as_ptr(), |p| p.wrapping_add(c));
        }
        // SAFETY: each line has `run` channels left, or is the zeros; dst holds all steps.
        unsafe { T::interleave(&from[..count], run, width, &mut dst[(k - ks.start) * width..]) }
        k += run;
    }
}

/// Packs a panel line by line through a buffer, for short runs.
///
/// # Safety
/// As [`rows_by_tap`].
unsafe fn rows_by_line<T: Product>(
    columns: &Columns<'_, T>,
    pixels: Range<usize>,
    ks: Range<usize>,
    width: usize,
    dst: &mut [T],
) {
    let kc = ks.len();
    let count = pixels.len();
    let mut buffer = vec![T::default(); count * kc];
    for (line, m) in buffer.chunks_exact_mut(kc).zip(pixels) {
        columns.runs(m, ks.clone(), |k, from, n| {
            let to = &mut line[k - ks.start..][..n];
            match from {
                // SAFETY: the run lies within the image.
                Some(p) => to.copy_from_slice(unsafe { std::slice::from_raw_parts(p, n) }),
                None => to.fill(T::default()),
            }
        });
    }
    let mut from = [buffer.as_ptr(); WIDTH];
    for (i, from) in from[..count].iter_mut().enumerate() {
        *from = buffer[i * kc..].as_ptr();
    }
    // SAFETY: each line of the buffer has kc elements.
    unsafe { T::interleave(&from[..count], kc, width, dst) }
}

/// Lines are taps and channels, steps are output pixels from `first` on.
struct ByPixel<'a, T> {
    columns: &'a Columns<'a, T>,
    first: usize,
}

impl<T: Product> Source<T> for ByPixel<'_, T> {
    fn pack(&self, lines: Range<usize>, ks: Range<usize>, width: usize, dst: &mut [T]) {
        let columns = self.columns;
        let pixels = self.first + ks.start..self.first + ks.end;
        for (panel, dst) in dst.chunks_exact_mut(width * ks.len()).enumerate() {
            let first = lines.start + panel * width;
            let last = (first + width).min(lines.end);
            let mut k = first;
            while k < last {
                let (t, c) = (k / columns.width, k % columns.width);
                let run = (columns.width - c).min(last - k);
                // SAFETY: the run lies within the tap's channels, and `dst` holds `width` per pixel.
                unsafe { tap_column(columns, (t, c), run, pixels.clone(), width, &mut dst[k - first..]) }
                k += run;
            }
            if last - first < width {
                for row in dst.chunks_exact_mut(width) {
                    row[last - first..].fill(T::default());
                }
            }
        }
    }
}

/// Writes `run` channels of a tap for each pixel, `width` apart.
///
/// # Safety
/// The channels are there; `dst` holds `(pixels - 1) * width + run`.
unsafe fn tap_column<T: Product>(
    columns: &Columns<'_, T>,
    (t, c): (usize, usize),
    run: usize,
    pixels: Range<usize>,
    width: usize,
    dst: &mut [T],
) {
    let (mut n, mut i, mut j) = columns.place(pixels.start);
    for s in 0..pixels.len() {
        let to = &mut dst[s * width..][..run];
        match columns.pixel((n, i, j), t) {
            // SAFETY: the caller vouches for the channels.
            Some(p) => unsafe { short_copy(p.wrapping_add(c), to) },
            None => to.fill(T::default()),
        }
        j += 1;
        if j == columns.out[1] {
            (i, j) = (i + 1, 0);
            if i == columns.out[0] {
                (n, i) = (n + 1, 0);
            }
        }
    }
}

/// Copies a run, common lengths without a call.
///
/// # Safety
/// `p` is valid for the run.
#[inline(always)]
unsafe fn short_copy<T: Copy>(p: *const T, to: &mut [T]) {
    // SAFETY: the caller vouches for the source; the arms copy `to.len()` elements.
    unsafe {
        match to.len() {
            32 => to.as_mut_ptr().cast::<[T; 32]>().write(p.cast::<[T; 32]>().read()),
            16 => to.as_mut_ptr().cast::<[T; 16]>().write(p.cast::<[T; 16]>().read()),
            n => std::ptr::copy_nonoverlapping(p, to.as_mut_ptr(), n),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The transposition that packing needs, sixteen lines by sixteen steps in registers.

    use std::arch::x86_64::*;

    /// As [`super::interleave`], for widths up to 16.
    ///
    /// # Safety
    /// As there, and the processor has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn interleave(lines: &[*const f32], run: usize, width: usize, dst: &mut [f32]) {
        let (end, mask) = (dst.len(), ((1u32 << width) - 1) as __mmask16);
        for start in (0..run).step_by(16) {
            let steps = (run - start).min(16);
            let read = ((1u32 << steps) - 1) as __mmask16;
            let mut rows = [_mm512_setzero_ps(); 16];
            for (row, line) in rows.iter_mut().zip(lines) {
                // SAFETY: the mask reads the steps that the line has.
                *row = unsafe { _mm512_maskz_loadu_ps(read, line.add(start)) };
            }
            let out = transposed(rows);
            for (s, v) in out.into_iter().enumerate().take(steps) {
                let at = (start + s) * width;
                // SAFETY: the step's place lies within dst. A whole register may reach into later steps, which are
                // written after it, but not beyond dst.
                unsafe {
                    let to = dst.as_mut_ptr().add(at);
                    if at + 16 <= end { _mm512_storeu_ps(to, v) } else { _mm512_mask_storeu_ps(to, mask, v) }
                }
            }
        }
    }

    /// Sixteen rows as columns.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn transposed(r: [__m512; 16]) -> [__m512; 16] {
        let pd = |v: __m512| _mm512_castps_pd(v);
        let mut a = r;
        // Pairs of rows, then fours: each 128-bit part then holds a column of four rows.
        for i in (0..16).step_by(4) {
            let (lo01, hi01) = (_mm512_unpacklo_ps(r[i], r[i + 1]), _mm512_unpackhi_ps(r[i], r[i + 1]));
            let (lo23, hi23) = (_mm512_unpacklo_ps(r[i + 2], r[i + 3]), _mm512_unpackhi_ps(r[i + 2], r[i + 3]));
            a[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(lo01), pd(lo23)));
            a[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(lo01), pd(lo23)));
            a[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(hi01), pd(hi23)));
            a[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(hi01), pd(hi23)));
        }
        // a[4 g + c] holds columns c, c + 4, c + 8, c + 12 of rows 4 g to 4 g + 3.
        let mut out = r;
        for c in 0..4 {
            let (x, y) = (_mm512_shuffle_f32x4::<0x88>(a[c], a[c + 4]), _mm512_shuffle_f32x4::<0xdd>(a[c], a[c + 4]));
            let (z, w) =
                (_mm512_shuffle_f32x4::<0x88>(a[c + 8], a[c + 12]), _mm512_shuffle_f32x4::<0xdd>(a[c + 8], a[c + 12]));
            out[c] = _mm512_shuffle_f32x4::<0x88>(x, z);
            out[c + 8] = _mm512_shuffle_f32x4::<0xdd>(x, z);
            out[c + 4] = _mm512_shuffle_f32x4::<0x88>(y, w);
            out[c + 12] = _mm512_shuffle_f32x4::<0xdd>(y, w);
        }
        out
    }
}
