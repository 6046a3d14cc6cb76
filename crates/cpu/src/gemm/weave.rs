//! Lines that lie apart in memory, woven into a panel: the transposition that packing needs, in registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::KC;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Isa, isa};

/// What absent lines are read from.
#[cfg(target_arch = "x86_64")]
static ZEROS: [f32; KC] = [0.0; KC];

/// Writes `run` elements of each line to `dst`, step by step: element `s` of line `i` goes to `s * width + i`, and
/// zeros to the places of lines that are not there.
///
/// # Safety
/// Each line is valid for `run` elements.
///
/// # Panics
/// With more than `width` lines, or `dst` shorter than `run * width`.
pub(crate) unsafe fn weave_f32(lines: &[*const f32], run: usize, width: usize, dst: &mut [f32]) {
    assert!(lines.len() <= width && dst.len() >= run * width);
    #[cfg(target_arch = "x86_64")]
    if run <= KC {
        match isa() {
            // SAFETY: passed on; `isa` gives only what the processor has.
            Isa::Avx512 => return unsafe { avx512(lines, run, width, dst) },
            // SAFETY: as above.
            Isa::Avx2 => return unsafe { avx2(lines, run, width, dst) },
            Isa::Portable => {}
        }
    }
    // SAFETY: passed on.
    unsafe { weave(lines, 0..run, width, dst) }
}

/// As [`weave_f32`], for any element and some of the steps.
///
/// # Safety
/// Each line is valid for these steps; `dst` holds them.
#[inline(always)]
pub(super) unsafe fn weave<T: Copy + Default>(
    lines: &[*const T],
    steps: std::ops::Range<usize>,
    width: usize,
    dst: &mut [T],
) {
    // Eight steps of every line at a time, so that reads stay within cache lines.
    for start in steps.clone().step_by(8) {
        let block = start..(start + 8).min(steps.end);
        for (i, line) in lines.iter().enumerate() {
            for s in block.clone() {
                // SAFETY: the caller vouches for the line.
                dst[s * width + i] = unsafe { *line.add(s) };
            }
        }
        for s in block {
            dst[s * width + lines.len()..(s + 1) * width].fill(T::default());
        }
    }
}

/// `N` lines from `first` on; zeros stand in for those that are not there.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn some<const N: usize>(lines: &[*const f32], first: usize) -> [*const f32; N] {
    std::array::from_fn(|i| lines.get(first + i).copied().unwrap_or(ZEROS.as_ptr()))
}

/// Sixteen lines by eight steps at a time.
///
/// # Safety
/// As [`weave_f32`]; `run` is at most `KC`, and the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx2")]
unsafe fn avx512(lines: &[*const f32], run: usize, width: usize, dst: &mut [f32]) {
    let whole = run - run % 8;
    for first in (0..width).step_by(16) {
        let from = some::<16>(lines, first);
        let mask = ((1u32 << (width - first).min(16)) - 1) as __mmask16;
        for s in (0..whole).step_by(8) {
            // SAFETY: the lines have eight steps from `s` on; the mask keeps to the panel's row.
            unsafe {
                let out = sixteen_by_eight(&from, s);
                for (t, v) in out.into_iter().enumerate() {
                    _mm512_mask_storeu_ps(dst.as_mut_ptr().add((s + t) * width + first), mask, v);
                }
            }
        }
    }
    // SAFETY: passed on.
    unsafe { weave(lines, whole..run, width, dst) }
}

/// Steps `s` to `s + 7` of sixteen lines, one register a step.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx2")]
#[inline]
unsafe fn sixteen_by_eight(from: &[*const f32; 16], s: usize) -> [__m512; 8] {
    // SAFETY: the caller vouches for the lines.
    let pair = |i: usize, j: usize| unsafe {
        let low = _mm512_castps256_ps512(_mm256_loadu_ps(from[i].add(s)));
        _mm512_insertf32x8::<1>(low, _mm256_loadu_ps(from[j].add(s)))
    };
    // 128-bit parts of a[t]: step t of lines 0-3, step t + 4 of these, step t of lines 4-7, step t + 4 of these.
    let a = fours([pair(0, 4), pair(1, 5), pair(2, 6), pair(3, 7)]);
    let b = fours([pair(8, 12), pair(9, 13), pair(10, 14), pair(11, 15)]);
    let mut out = [_mm512_setzero_ps(); 8];
    for t in 0..4 {
        out[t] = _mm512_shuffle_f32x4::<0x88>(a[t], b[t]);
        out[t + 4] = _mm512_shuffle_f32x4::<0xdd>(a[t], b[t]);
    }
    out
}

/// Transposes four by four elements within each 128-bit part.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn fours(r: [__m512; 4]) -> [__m512; 4] {
    let pd = |v: __m512| _mm512_castps_pd(v);
    let (lo01, hi01) = (_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpackhi_ps(r[0], r[1]));
    let (lo23, hi23) = (_mm512_unpacklo_ps(r[2], r[3]), _mm512_unpackhi_ps(r[2], r[3]));
    [
        _mm512_castpd_ps(_mm512_unpacklo_pd(pd(lo01), pd(lo23))),
        _mm512_castpd_ps(_mm512_unpackhi_pd(pd(lo01), pd(lo23))),
        _mm512_castpd_ps(_mm512_unpacklo_pd(pd(hi01), pd(hi23))),
        _mm512_castpd_ps(_mm512_unpackhi_pd(pd(hi01), pd(hi23))),
    ]
}

/// Eight lines by four steps at a time.
///
/// # Safety
/// As [`weave_f32`]; `run` is at most `KC`, and the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(lines: &[*const f32], run: usize, width: usize, dst: &mut [f32]) {
    let whole = run - run % 4;
    for first in (0..width).step_by(8) {
        let from = some::<8>(lines, first);
        let lanes = (width - first).min(8) as i32;
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        for s in (0..whole).step_by(4) {
            // SAFETY: the lines have four steps from `s` on; the mask keeps to the panel's row.
            unsafe {
                let out = eight_by_four(&from, s);
                for (t, v) in out.into_iter().enumerate() {
                    _mm256_maskstore_ps(dst.as_mut_ptr().add((s + t) * width + first), mask, v);
                }
            }
        }
    }
    // SAFETY: passed on.
    unsafe { weave(lines, whole..run, width, dst) }
}

/// Steps `s` to `s + 3` of eight lines, one register a step.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn eight_by_four(from: &[*const f32; 8], s: usize) -> [__m256; 4] {
    // SAFETY: the caller vouches for the lines.
    let pair = |i: usize| unsafe {
        let low = _mm256_castps128_ps256(_mm_loadu_ps(from[i].add(s)));
        _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from[i + 4].add(s)))
    };
    let pd = |v: __m256| _mm256_castps_pd(v);
    let r = [pair(0), pair(1), pair(2), pair(3)];
    let (lo01, hi01) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
    let (lo23, hi23) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
    [
        _mm256_castpd_ps(_mm256_unpacklo_pd(pd(lo01), pd(lo23))),
        _mm256_castpd_ps(_mm256_unpackhi_pd(pd(lo01), pd(lo23))),
        _mm256_castpd_ps(_mm256_unpacklo_pd(pd(hi01), pd(hi23))),
        _mm256_castpd_ps(_mm256_unpackhi_pd(pd(hi01), pd(hi23))),
    ]
}
