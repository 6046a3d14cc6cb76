//! Running sums of floats along the innermost dimension, sixteen elements at a time.
//!
//! A line goes in sixteens from where it starts, the last filled up with zeros. In each quarter of one, an element adds the one
//! before it, then the sum two before; the second and the fourth quarter add the sum of the one before, then the second half
//! that of the first. What the sixteens before sum to comes on top: that is kept in f64, so that roundings do not grow with the
//! sum. An f32 sum of numbers of one sign is off by one unit in the last place, and by a little for what was rounded within
//! sixteens.

use std::ops::Range;

use crate::isa::{self, Isa};
use crate::operand::{Shared, parallel};

/// Elements of a half.
const EIGHT: usize = 8;
/// Elements in a step.
const SIXTEEN: usize = 2 * EIGHT;

/// Sixteens whose sums are found side by side, so that one need not wait for another.
const ABREAST: usize = 4;

/// Eight floats.
///
/// # Safety
/// Every method may run instructions of the type's instruction set, which the caller has checked for; pointers must be
/// valid for eight elements.
#[allow(clippy::missing_safety_doc, reason = "stated once for the trait")]
trait Eights: Copy {
    type E: Copy + Default;
    /// Registers that the methods need.
    type Hidden: Copy;
    /// Those, hidden from the compiler, which would undo what it knows them to do.
    unsafe fn hidden() -> Self::Hidden;
    unsafe fn splat(v: f64) -> Self;
    unsafe fn load(p: *const Self::E) -> Self;
    unsafe fn store(self, p: *mut Self::E);
    /// The sum with another: a product with one, where multipliers would be idle.
    unsafe fn plus(self, o: Self, hidden: Self::Hidden) -> Self;
    /// In each half, the elements `K` places on (1 or 2), behind zeros.
    unsafe fn shifted<const K: usize>(self) -> Self;
    /// The last element of the first half, behind a half of zeros.
    unsafe fn carried(self) -> Self;
    unsafe fn last(self) -> f64;
    /// The last element in all places.
    unsafe fn last_everywhere(self, hidden: Self::Hidden) -> Self;
    /// The last element first.
    unsafe fn turned(self) -> Self;
}

macro_rules! plain {
    ($($E:ty)*) => {$(
        impl Eights for [$E; EIGHT] {
            type E = $E;
            type Hidden = ();
            #[inline(always)]
            unsafe fn hidden() {}
            #[inline(always)]
            unsafe fn splat(v: f64) -> Self {
                [v as $E; EIGHT]
            }
            #[inline(always)]
            unsafe fn load(p: *const $E) -> Self {
                // SAFETY: the caller vouches for eight elements.
                unsafe { p.cast::<Self>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $E) {
                // SAFETY: the caller vouches for eight elements.
                unsafe { p.cast::<Self>().write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn plus(self, o: Self, (): ()) -> Self {
                std::array::from_fn(|i| self[i] + o[i])
            }
            #[inline(always)]
            unsafe fn shifted<const K: usize>(self) -> Self {
                std::array::from_fn(|i| if i % 4 < K { 0.0 } else { self[i - K] })
            }
            #[inline(always)]
            unsafe fn carried(self) -> Self {
                std::array::from_fn(|i| if i < 4 { 0.0 } else { self[3] })
            }
            #[inline(always)]
            unsafe fn last(self) -> f64 {
                f64::from(self[EIGHT - 1])
            }
            #[inline(always)]
            unsafe fn last_everywhere(self, (): ()) -> Self {
                [self[EIGHT - 1]; EIGHT]
            }
            #[inline(always)]
            unsafe fn turned(mut self) -> Self {
                self.reverse();
                self
            }
        }
    )*};
}

plain! { f32 f64 }

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Eight f32 in a register of AVX2, eight f64 in two.
    // SAFETY of the blocks below: the trait's callers vouch for the instruction set and the memory.
    #![allow(clippy::undocumented_unsafe_blocks, reason = "stated above for all")]

    use std::arch::x86_64::*;

    use super::Eights;

    impl Eights for __m256 {
        type E = f32;
        /// Ones, and the place of the last element.
        type Hidden = (__m256, __m256i);
        #[inline(always)]
        unsafe fn hidden() -> Self::Hidden {
            unsafe { std::hint::black_box((_mm256_set1_ps(1.0), _mm256_set1_epi32(7))) }
        }
        #[inline(always)]
        unsafe fn splat(v: f64) -> Self {
            unsafe { _mm256_set1_ps(v as f32) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm256_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn plus(self, o: Self, (one, _): Self::Hidden) -> Self {
            unsafe { _mm256_fmadd_ps(self, one, o) }
        }
        #[inline(always)]
        unsafe fn shifted<const K: usize>(self) -> Self {
            unsafe {
                let v = _mm256_castps_si256(self);
                _mm256_castsi256_ps(if K == 1 { _mm256_slli_si256::<4>(v) } else { _mm256_slli_si256::<8>(v) })
            }
        }
        #[inline(always)]
        unsafe fn carried(self) -> Self {
            unsafe { _mm256_permute_ps::<0b11_11_11_11>(_mm256_permute2f128_ps::<0x08>(self, self)) }
        }
        #[inline(always)]
        unsafe fn last(self) -> f64 {
            unsafe {
                let high = _mm256_extractf128_ps::<1>(self);
                f64::from(_mm_cvtss_f32(_mm_permute_ps::<0b11_11_11_11>(high)))
            }
        }
        #[inline(always)]
        unsafe fn last_everywhere(self, (_, last): Self::Hidden) -> Self {
            unsafe { _mm256_permutevar8x32_ps(self, last) }
        }
        #[inline(always)]
        unsafe fn turned(self) -> Self {
            unsafe { _mm256_permutevar8x32_ps(self, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0)) }
        }
    }

    impl Eights for [__m256d; 2] {
        type E = f64;
        /// Ones.
        type Hidden = __m256d;
        #[inline(always)]
        unsafe fn hidden() -> __m256d {
            unsafe { std::hint::black_box(_mm256_set1_pd(1.0)) }
        }
        #[inline(always)]
        unsafe fn splat(v: f64) -> Self {
            unsafe { [_mm256_set1_pd(v); 2] }
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
        unsafe fn plus(self, o: Self, one: __m256d) -> Self {
            unsafe { [_mm256_fmadd_pd(self[0], one, o[0]), _mm256_fmadd_pd(self[1], one, o[1])] }
        }
        #[inline(always)]
        unsafe fn shifted<const K: usize>(self) -> Self {
            unsafe {
                let [a, b] = self;
                if K == 1 {
                    let zero = _mm256_setzero_pd();
                    let a = _mm256_blend_pd::<1>(_mm256_permute4x64_pd::<0b10_01_00_00>(a), zero);
                    [a, _mm256_blend_pd::<1>(_mm256_permute4x64_pd::<0b10_01_00_00>(b), zero)]
                } else {
                    [_mm256_permute2f128_pd::<0x08>(a, a), _mm256_permute2f128_pd::<0x08>(b, b)]
                }
            }
        }
        #[inline(always)]
        unsafe fn carried(self) -> Self {
            unsafe { [_mm256_setzero_pd(), _mm256_permute4x64_pd::<0b11_11_11_11>(self[0])] }
        }
        #[inline(always)]
        unsafe fn last(self) -> f64 {
            unsafe {
                let high = _mm256_extractf128_pd::<1>(self[1]);
                _mm_cvtsd_f64(_mm_unpackhi_pd(high, high))
            }
        }
        #[inline(always)]
        unsafe fn last_everywhere(self, _: __m256d) -> Self {
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

/// A float that has running sums here, and its eights where there is AVX2.
#[allow(private_bounds, reason = "how it is read is the module's own")]
pub(super) trait Float: Copy + Default + Send + Sync {
    type Plain: Eights<E = Self>;
    #[cfg(target_arch = "x86_64")]
    type Wide: Eights<E = Self>;
}

impl Float for f32 {
    type Plain = [f32; EIGHT];
    #[cfg(target_arch = "x86_64")]
    type Wide = std::arch::x86_64::__m256;
}

impl Float for f64 {
    type Plain = [f64; EIGHT];
    #[cfg(target_arch = "x86_64")]
    type Wide = [std::arch::x86_64::__m256d; 2];
}

/// The running sums of `count` lines of `size` elements.
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
                _ => lines.sum::<T::Plain>(reverse),
            }
        }
    });
}

/// As [`avx2`], with twice the registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn avx512<T: Float>(lines: Lines<T>, reverse: bool) {
    // SAFETY: the features are on; the caller vouches for the lines.
    unsafe { lines.sum::<T::Wide>(reverse) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<T: Float>(lines: Lines<T>, reverse: bool) {
    // SAFETY: as above.
    unsafe { lines.sum::<T::Wide>(reverse) }
}

struct Lines<T> {
    x: Shared<T>,
    y: Shared<T>,
    items: Range<usize>,
    size: usize,
}

impl<T: Copy + Default> Lines<T> {
    #[inline(always)]
    unsafe fn sum<E: Eights<E = T>>(self, reverse: bool) {
        for item in self.items {
            let (x, y) = (self.x.at(item * self.size), self.y.at(item * self.size));
            // SAFETY: line `item` lies within both arrays, as the caller vouches.
            unsafe { if reverse { line::<E, true>(x, y, self.size) } else { line::<E, false>(x, y, self.size) } }
        }
    }
}

/// # Safety
/// As [`Eights`]; both are valid for `n` elements.
#[inline(always)]
unsafe fn line<E: Eights, const REVERSE: bool>(x: *const E::E, y: *mut E::E, n: usize) {
    // SAFETY: the caller vouches for the line and the instruction set.
    unsafe {
        let hidden = E::hidden();
        let (mut before, mut i) = (0.0, 0);
        let at = |i: usize| if REVERSE { n - SIXTEEN - i } else { i };
        while i + ABREAST * SIXTEEN <= n {
            sixteens::<E, ABREAST, REVERSE>(&mut before, hidden, x, y, std::array::from_fn(|k| at(i + k * SIXTEEN)));
            i += ABREAST * SIXTEEN;
        }
        while i + SIXTEEN <= n {
            sixteens::<E, 1, REVERSE>(&mut before, hidden, x, y, [at(i)]);
            i += SIXTEEN;
        }
        let m = n - i;
        if m > 0 {
            // The rest lies at the end, or at the start of a line summed from its end.
            let (at, place) = if REVERSE { (0, SIXTEEN - m) } else { (i, 0) };
            let (mut from, mut to) = ([E::E::default(); SIXTEEN], [E::E::default(); SIXTEEN]);
            std::ptr::copy_nonoverlapping(x.add(at), from.as_mut_ptr().add(place), m);
            sixteens::<E, 1, REVERSE>(&mut before, hidden, from.as_ptr(), to.as_mut_ptr(), [0]);
            std::ptr::copy_nonoverlapping(to.as_ptr().add(place), y.add(at), m);
        }
    }
}

/// Sixteens of a line that follow on each other, from the places `at`; what lies before them summed to `before`.
///
/// # Safety
/// As [`Eights`].
#[inline(always)]
unsafe fn sixteens<E: Eights, const N: usize, const REVERSE: bool>(
    before: &mut f64,
    hidden: E::Hidden,
    x: *const E::E,
    y: *mut E::E,
    at: [usize; N],
) {
    // The half that is summed first lies behind the other in a line summed from its end.
    let (first, second) = if REVERSE { (EIGHT, 0) } else { (0, EIGHT) };
    // SAFETY: the caller vouches for the elements and the instruction set.
    unsafe {
        let mut v = [[E::splat(0.0); 2]; N];
        for k in 0..N {
            v[k] = [E::load(x.add(at[k] + first)), E::load(x.add(at[k] + second))];
            if REVERSE {
                v[k] = [v[k][0].turned(), v[k][1].turned()];
            }
        }
        for v in v.as_flattened_mut() {
            *v = v.plus(v.shifted::<1>(), hidden);
        }
        for v in v.as_flattened_mut() {
            *v = v.plus(v.shifted::<2>(), hidden);
        }
        for v in v.as_flattened_mut() {
            *v = v.plus(v.carried(), hidden);
        }
        for [a, b] in &mut v {
            *b = b.plus(a.last_everywhere(hidden), hidden);
        }
        for k in 0..N {
            let [a, b] = v[k];
            let on_top = E::splat(*before);
            let (p, q) = (a.plus(on_top, hidden), b.plus(on_top, hidden));
            let (p, q) = if REVERSE { (p.turned(), q.turned()) } else { (p, q) };
            p.store(y.add(at[k] + first));
            q.store(y.add(at[k] + second));
            *before += b.last();
        }
    }
}
