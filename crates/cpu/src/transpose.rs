//! Planes whose rows become columns, in tiles that are turned in registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use crate::isa::{Isa, isa};

/// Rows of the target that are written side by side: long runs of the source are read, and few lines stay open.
pub(crate) const STRIP: usize = 256;
/// Side of the blocks of elements that have no tile.
const BLOCK: usize = 16;

/// Element `(r, c)` of the target, at `r * to_step + c`, is the source's at `c * from_step + r`.
#[derive(Clone, Copy)]
pub(crate) struct Plane<T> {
    pub(crate) from: *const T,
    pub(crate) from_step: isize,
    pub(crate) to: *mut T,
    pub(crate) to_step: isize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// An element, and how a square tile of such is turned.
pub(crate) trait Turn: Copy + Send + Sync {
    /// Side of a tile; 0 where there is none.
    const SIDE: usize;

    /// Turns the tile that starts at `from`, `to`; past the caches when `STREAM`.
    ///
    /// # Safety
    /// The processor has AVX2; both tiles are valid, and their rows are aligned to registers when `STREAM`.
    #[cfg(target_arch = "x86_64")]
    unsafe fn tile<const STREAM: bool>(from: *const Self, from_step: isize, to: *mut Self, to_step: isize);
}

/// Copies a plane; `stream` where the target is too large to be found in a cache afterwards.
///
/// # Safety
/// Both sides are valid for all of the plane, and nobody else touches the target.
pub(crate) unsafe fn plane<T: Turn>(plane: &Plane<T>, stream: bool) {
    #[cfg(target_arch = "x86_64")]
    if T::SIDE > 0 && isa() != Isa::Portable {
        let step = plane.to_step.unsigned_abs() * size_of::<T>();
        let aligned = plane.to.addr().is_multiple_of(64) && step.is_multiple_of(64);
        // SAFETY: passed on; `isa` gives only what the processor has.
        return unsafe { if stream && aligned { tiled_past(plane) } else { tiled(plane) } };
    }
    let _ = stream;
    for r in (0..plane.rows).step_by(BLOCK) {
        for c in (0..plane.columns).step_by(BLOCK) {
            let (rows, columns) = (r..(r + BLOCK).min(plane.rows), c..(c + BLOCK).min(plane.columns));
            // SAFETY: passed on.
            unsafe { plane.each(rows, columns) };
        }
    }
}

impl<T: Copy> Plane<T> {
    /// Element by element.
    ///
    /// # Safety
    /// As [`plane`].
    #[inline(always)]
    unsafe fn each(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) {
        for r in rows {
            for c in columns.clone() {
                let (r, c) = (r as isize, c as isize);
                // SAFETY: the caller vouches for both places.
                unsafe { *self.to.offset(r * self.to_step + c) = *self.from.offset(c * self.from_step + r) };
            }
        }
    }
}

/// # Safety
/// As [`plane`]; the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn tiled<T: Turn>(plane: &Plane<T>) {
    // SAFETY: passed on.
    unsafe { walk::<T, false>(plane) }
}

/// # Safety
/// As [`tiled`]; rows of the target are aligned to 64 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn tiled_past<T: Turn>(plane: &Plane<T>) {
    // SAFETY: passed on.
    unsafe { walk::<T, true>(plane) };
    // What went past the caches is seen by other threads from here on.
    _mm_sfence();
}

/// Cache lines of the target are completed one after the other, down a strip of rows.
///
/// # Safety
/// As [`tiled`], and [`tiled_past`] when `STREAM`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn walk<T: Turn, const STREAM: bool>(plane: &Plane<T>) {
    let Plane { from, from_step, to, to_step, .. } = *plane;
    let line = (64 / size_of::<T>()).max(T::SIDE);
    let (rows, columns) = (plane.rows - plane.rows % T::SIDE, plane.columns - plane.columns % T::SIDE);
    for r0 in (0..rows).step_by(STRIP) {
        for c0 in (0..columns).step_by(line) {
            for r in (r0..(r0 + STRIP).min(rows)).step_by(T::SIDE) {
                for c in (c0..(c0 + line).min(columns)).step_by(T::SIDE) {
                    let (r, c) = (r as isize, c as isize);
                    // SAFETY: the tile lies within the plane, for which the caller vouches.
                    unsafe {
                        let (from, to) = (from.offset(c * from_step + r), to.offset(r * to_step + c));
                        T::tile::<STREAM>(from, from_step, to, to_step);
                    }
                }
            }
        }
    }
    // SAFETY: what the tiles leave of the plane.
    unsafe {
        plane.each(0..rows, columns..plane.columns);
        plane.each(rows..plane.rows, 0..plane.columns);
    }
}

impl Turn for u8 {
    const SIDE: usize = 0;

    #[cfg(target_arch = "x86_64")]
    unsafe fn tile<const STREAM: bool>(_: *const Self, _: isize, _: *mut Self, _: isize) {}
}

impl Turn for u16 {
    const SIDE: usize = 8;

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn tile<const STREAM: bool>(from: *const u16, from_step: isize, to: *mut u16, to_step: isize) {
        // SAFETY: the caller vouches for the tiles and the processor.
        unsafe {
            let row = |i: isize| _mm_loadu_si128(from.offset(i * from_step).cast());
            // Pairs of rows, fours of rows, then all eight.
            let r = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
            for half in [0, 4] {
                let pair = |i: usize| match half {
                    0 => _mm_unpacklo_epi16(r[i], r[i + 1]),
                    _ => _mm_unpackhi_epi16(r[i], r[i + 1]),
                };
                let x = [pair(0), pair(2), pair(4), pair(6)];
                let (lo, hi) = (_mm_unpacklo_epi32(x[0], x[1]), _mm_unpacklo_epi32(x[2], x[3]));
                let (lo2, hi2) = (_mm_unpackhi_epi32(x[0], x[1]), _mm_unpackhi_epi32(x[2], x[3]));
                let out = [
                    _mm_unpacklo_epi64(lo, hi),
                    _mm_unpackhi_epi64(lo, hi),
                    _mm_unpacklo_epi64(lo2, hi2),
                    _mm_unpackhi_epi64(lo2, hi2),
                ];
                for (t, v) in out.into_iter().enumerate() {
                    let p = to.offset((half + t as isize) * to_step).cast();
                    if STREAM { _mm_stream_si128(p, v) } else { _mm_storeu_si128(p, v) }
                }
            }
        }
    }
}

impl Turn for u32 {
    const SIDE: usize = 8;

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn tile<const STREAM: bool>(from: *const u32, from_step: isize, to: *mut u32, to_step: isize) {
        // SAFETY: the caller vouches for the tiles and the processor.
        unsafe {
            for half in [0, 4] {
                // Four elements of rows i and i + 4, so that what follows stays within 128-bit parts.
                let pair = |i: isize| {
                    let low = _mm_loadu_si128(from.offset(i * from_step + half).cast());
                    let high = _mm_loadu_si128(from.offset((i + 4) * from_step + half).cast());
                    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
                };
                let r = [pair(0), pair(1), pair(2), pair(3)];
                let (lo01, hi01) = (_mm256_unpacklo_epi32(r[0], r[1]), _mm256_unpackhi_epi32(r[0], r[1]));
                let (lo23, hi23) = (_mm256_unpacklo_epi32(r[2], r[3]), _mm256_unpackhi_epi32(r[2], r[3]));
                let out = [
                    _mm256_unpacklo_epi64(lo01, lo23),
                    _mm256_unpackhi_epi64(lo01, lo23),
                    _mm256_unpacklo_epi64(hi01, hi23),
                    _mm256_unpackhi_epi64(hi01, hi23),
                ];
                for (t, v) in out.into_iter().enumerate() {
                    let p = to.offset((half + t as isize) * to_step).cast();
                    if STREAM { _mm256_stream_si256(p, v) } else { _mm256_storeu_si256(p, v) }
                }
            }
        }
    }
}

impl Turn for u64 {
    const SIDE: usize = 4;

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn tile<const STREAM: bool>(from: *const u64, from_step: isize, to: *mut u64, to_step: isize) {
        // SAFETY: the caller vouches for the tiles and the processor.
        unsafe {
            for half in [0, 2] {
                let pair = |i: isize| {
                    let low = _mm_loadu_si128(from.offset(i * from_step + half).cast());
                    let high = _mm_loadu_si128(from.offset((i + 2) * from_step + half).cast());
                    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
                };
                let (a, b) = (pair(0), pair(1));
                let out = [_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)];
                for (t, v) in out.into_iter().enumerate() {
                    let p = to.offset((half + t as isize) * to_step).cast();
                    if STREAM { _mm256_stream_si256(p, v) } else { _mm256_storeu_si256(p, v) }
                }
            }
        }
    }
}
