//! Running sums of floats along the innermost dimension, eight elements at a time.
//!
//! A line goes in eights from where it starts, the last filled up with zeros. Within one, each element adds the one before
//! it, then the sum two before, then the sum four before; what the eights before sum to, one after the other, comes on
//! top. All of it is in f64.

use std::ops::Range;

use crate::isa::{self, Isa};
use crate::operand::{Shared, parallel};

/// Elements in a step.
const EIGHT: usize = 8;

/// Eight f64.
///
/// # Safety
/// Every method may run instructions of the type's instruction set, which the caller has checked for; pointers must be
/// valid for eight elements.
#[allow(clippy::missing_safety_doc, reason = "stated once for the trait")]
trait Eights: Copy {
    unsafe fn zero() -> Self;
    unsafe fn load(p: *const f64) -> Self;
    unsafe fn store(self, p: *mut f64);
    unsafe fn load_f32(p: *const f32) -> Self;
    unsafe fn store_f32(self, p: *mut f32);
    unsafe fn add(self, o: Self) -> Self;
    /// The sums that run up to each element.
    unsafe fn running(self) -> Self;
    /// The last element in all places.
    unsafe fn last(self) -> Self;
    /// The last element first.
    unsafe fn turned(self) -> Self;
}

impl Eights for [f64; EIGHT] {
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; EIGHT]
    }
    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn load_f32(p: *const f32) -> Self {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[f32; EIGHT]>().read_unaligned() }.map(f64::from)
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { p.cast::<[f32; EIGHT]>().write_unaligned(self.map(|v| v as f32)) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        std::array::from_fn(|i| self[i] + o[i])
    }
    #[inline(always)]
    unsafe fn running(mut self) -> Self {
        for k in [1, 2, 4] {
            for i in (k..EIGHT).rev() {
                self[i] += self[i - k];
            }
        }
        self
    }
    #[inline(always)]
    unsafe fn last(self) -> Self {
        [self[EIGHT - 1]; EIGHT]
    }
    #[inline(always)]
    unsafe fn turned(mut self) -> Self {
        self.reverse();
        self
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Eight f64 in one AVX-512 register or two AVX2 registers.
    // SAFETY of the blocks below: the trait's callers vouch for the instruction set and the memory.
    #![allow(clippy::undocumented_unsafe_blocks, reason = "stated above for all")]

    use std::arch::x86_64::*;

    use super::Eights;

    /// Adds to each element of `MASK` the one that `places` names. (Zeros shifted in would become an expansion, which is
    /// slow.)
    #[inline(always)]
    unsafe fn add_from<const MASK: u8>(v: __m512d, places: __m512i) -> __m512d {
        unsafe { _mm512_mask_add_pd(v, MASK, v, _mm512_permutexvar_pd(places, v)) }
    }

    impl Eights for __m512d {
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { _mm512_setzero_pd() }
        }
        #[inline(always)]
        unsafe fn load(p: *const f64) -> Self {
            unsafe { _mm512_loadu_pd(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f64) {
            unsafe { _mm512_storeu_pd(p, self) }
        }
        #[inline(always)]
        unsafe fn load_f32(p: *const f32) -> Self {
            unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(p)) }
        }
        #[inline(always)]
        unsafe fn store_f32(self, p: *mut f32) {
            unsafe { _mm256_storeu_ps(p, _mm512_cvtpd_ps(self)) }
        }
        #[inline(always)]
        unsafe fn add(self, o: Self) -> Self {
            unsafe { _mm512_add_pd(self, o) }
        }
        #[inline(always)]
        unsafe fn running(self) -> Self {
            unsafe {
                let v = add_from::<0b1111_1110>(self, _mm512_set_epi64(6, 5, 4, 3, 2, 1, 0, 0));
                let v = add_from::<0b1111_1100>(v, _mm512_set_epi64(5, 4, 3, 2, 1, 0, 0, 0));
                add_from::<0b1111_0000>(v, _mm512_set_epi64(3, 2, 1, 0, 0, 0, 0, 0))
            }
        }
        #[inline(always)]
        unsafe fn last(self) -> Self {
            unsafe { _mm512_permutexvar_pd(_mm512_set1_epi64(7), self) }
        }
        #[inline(always)]
        unsafe fn turned(self) -> Self {
            unsafe { _mm512_permutexvar_pd(_mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7), self) }
        }
    }

    impl Eights for [__m256d; 2] {
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { [_mm256_setzero_pd(); 2] }
        }
        #[inline(always)]
        unsafe fn load(p: *const f64) -> Self {
            unsafe { [_mm256_loadu_pd(p), _mm256_loadu_pd(p.add(4))] }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f64) {
            unsafe {
                _mm256_storeu_pd(p, self[0]);
                _mm256_storeu_pd(p.add(4), self[1]);
            }
        }
        #[inline(always)]
        unsafe fn load_f32(p: *const f32) -> Self {
            unsafe { [_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p.add(4)))] }
        }
        #[inline(always)]
        unsafe fn store_f32(self, p: *mut f32) {
            unsafe {
                _mm_storeu_ps(p, _mm256_cvtpd_ps(self[0]));
                _mm_storeu_ps(p.add(4), _mm256_cvtpd_ps(self[1]));
            }
        }
        #[inline(always)]
        unsafe fn add(self, o: Self) -> Self {
            unsafe { [_mm256_add_pd(self[0], o[0]), _mm256_add_pd(self[1], o[1])] }
        }
        #[inline(always)]
        unsafe fn running(self) -> Self {
            unsafe {
                let [low, high] = self;
                let one = |v| _mm256_permute4x64_pd::<0b10_01_00_00>(v);
                let carried = _mm256_permute4x64_pd::<0b11_11_11_11>(low);
                let low_1 = _mm256_blend_pd::<1>(one(low), _mm256_setzero_pd());
                let high_1 = _mm256_blend_pd::<1>(one(high), carried);
                let (low, high) = (_mm256_add_pd(low, low_1), _mm256_add_pd(high, high_1));
                let (low_2, high_2) =
                    (_mm256_permute2f128_pd::<0x08>(low, low), _mm256_permute2f128_pd::<0x21>(low, high));
                let (low, high) = (_mm256_add_pd(low, low_2), _mm256_add_pd(high, high_2));
                [low, _mm256_add_pd(high, low)]
            }
        }
        #[inline(always)]
        unsafe fn last(self) -> Self {
            unsafe { [_mm256_permute4x64_pd::<0b11_11_11_11>(self[1]); 2] }
        }
        #[inline(always)]
        unsafe fn turned(self) -> Self {
            unsafe {
                [_mm256_permute4x64_pd::<0b00_01_10_11>(self[1]), _mm256_permute4x64_pd::<0b00_01_10_11>(self[0])]
            }
        }
    }
}

/// A float as eight of it are read and written.
trait Summed: Copy + Default + Send + Sync {
    /// # Safety
    /// As [`Eights`].
    unsafe fn load<E: Eights>(p: *const Self) -> E;
    /// # Safety
    /// As [`Eights`].
    unsafe fn store<E: Eights>(e: E, p: *mut Self);
}

impl Summed for f32 {
    #[inline(always)]
    unsafe fn load<E: Eights>(p: *const Self) -> E {
        // SAFETY: passed on.
        unsafe { E::load_f32(p) }
    }
    #[inline(always)]
    unsafe fn store<E: Eights>(e: E, p: *mut Self) {
        // SAFETY: passed on.
        unsafe { e.store_f32(p) }
    }
}

impl Summed for f64 {
    #[inline(always)]
    unsafe fn load<E: Eights>(p: *const Self) -> E {
        // SAFETY: passed on.
        unsafe { E::load(p) }
    }
    #[inline(always)]
    unsafe fn store<E: Eights>(e: E, p: *mut Self) {
        // SAFETY: passed on.
        unsafe { e.store(p) }
    }
}

/// The running sums of `count` lines of `size` elements, f32 or f64.
pub(super) fn run<T: Float>(x: Shared<T>, y: Shared<T>, count: usize, size: usize, reverse: bool) {
    parallel(count, size, &|items| {
        let lines = Lines { x, y, items, size };
        // SAFETY: `isa` selects only what the processor has; the caller vouches for the lines.
        unsafe {
            match isa::isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(lines, reverse),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(lines, reverse),
                #[allow(unreachable_patterns, reason = "other targets have only the portable one")]
                _ => lines.sum::<[f64; EIGHT]>(reverse),
            }
        }
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn avx512<T: Float>(lines: Lines<T>, reverse: bool) {
    // SAFETY: the features are on; the caller vouches for the lines.
    unsafe { lines.sum::<std::arch::x86_64::__m512d>(reverse) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<T: Float>(lines: Lines<T>, reverse: bool) {
    // SAFETY: as above.
    unsafe { lines.sum::<[std::arch::x86_64::__m256d; 2]>(reverse) }
}

/// What has running sums here.
#[allow(private_bounds, reason = "how it is read is the module's own")]
pub(super) trait Float: Summed {}
impl Float for f32 {}
impl Float for f64 {}

struct Lines<T> {
    x: Shared<T>,
    y: Shared<T>,
    items: Range<usize>,
    size: usize,
}

impl<T: Float> Lines<T> {
    #[inline(always)]
    unsafe fn sum<E: Eights>(self, reverse: bool) {
        for item in self.items {
            let (x, y) = (self.x.at(item * self.size), self.y.at(item * self.size));
            // SAFETY: line `item` lies within both arrays, as the caller vouches.
            unsafe { if reverse { line::<T, E, true>(x, y, self.size) } else { line::<T, E, false>(x, y, self.size) } }
        }
    }
}

/// # Safety
/// As [`Eights`]; both are valid for `n` elements.
#[inline(always)]
unsafe fn line<T: Float, E: Eights, const REVERSE: bool>(x: *const T, y: *mut T, n: usize) {
    // SAFETY: the caller vouches for the line and the instruction set.
    unsafe {
        let mut before = E::zero();
        let full = n / EIGHT * EIGHT;
        for i in (0..full).step_by(EIGHT) {
            let at = if REVERSE { n - EIGHT - i } else { i };
            before = eight::<T, E, REVERSE>(before, x.add(at), y.add(at));
        }
        let m = n - full;
        if m > 0 {
            // The rest lies at the end, or at the start of a line summed from its end.
            let (at, place) = if REVERSE { (0, EIGHT - m) } else { (full, 0) };
            let (mut from, mut to) = ([T::default(); EIGHT], [T::default(); EIGHT]);
            std::ptr::copy_nonoverlapping(x.add(at), from.as_mut_ptr().add(place), m);
            eight::<T, E, REVERSE>(before, from.as_ptr(), to.as_mut_ptr());
            std::ptr::copy_nonoverlapping(to.as_ptr().add(place), y.add(at), m);
        }
    }
}

/// Eight elements of a line, what lies before them having summed to `before` in every place; what they end at.
///
/// # Safety
/// As [`Eights`].
#[inline(always)]
unsafe fn eight<T: Float, E: Eights, const REVERSE: bool>(before: E, x: *const T, y: *mut T) -> E {
    // SAFETY: the caller vouches for eight elements and the instruction set.
    unsafe {
        let v = T::load::<E>(x);
        let sums = if REVERSE { v.turned() } else { v }.running();
        let total = before.add(sums);
        T::store(if REVERSE { total.turned() } else { total }, y);
        before.add(sums.last())
    }
}
