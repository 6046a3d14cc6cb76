//! The lanes in AVX-512 and AVX2 registers.

use std::arch::x86_64::*;

use super::{LANES, Lanes, RealLanes};

macro_rules! lanes {
    ($(#[$doc:meta])* $Name:ident [$E:ident; $Reg:ident x $count:literal] at $($i:literal),*;
     $set1:ident $loadu:ident $storeu:ident $stream:ident $add:ident $mul:ident $sub:ident $fmadd:ident;
     larger $larger:ident, smaller $smaller:ident, scale $scale:ident;
     above $max:ident, below $min:ident, mask $mask:ident;
     $($masked:item)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $Name([$Reg; $count]);

        // SAFETY of the blocks below: the trait's callers vouch for the instruction set and the memory.
        #[allow(clippy::undocumented_unsafe_blocks, reason = "stated above for all")]
        impl Lanes for $Name {
            type E = $E;
            #[inline(always)]
            unsafe fn splat(x: $E) -> Self {
                Self([unsafe { $set1(x) }; $count])
            }
            #[inline(always)]
            unsafe fn load(p: *const $E) -> Self {
                Self(unsafe { [$($loadu(p.add($i * (LANES / $count)))),*] })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $E) {
                unsafe { $($storeu(p.add($i * (LANES / $count)), self.0[$i]);)* }
            }
            #[inline(always)]
            unsafe fn stream(self, p: *mut $E) {
                unsafe { $($stream(p.add($i * (LANES / $count)), self.0[$i]);)* }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                Self(unsafe { [$($add(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn mul(self, o: Self) -> Self {
                Self(unsafe { [$($mul(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn max(self, o: Self) -> Self {
                Self(unsafe { [$($larger(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn min(self, o: Self) -> Self {
                Self(unsafe { [$($smaller(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn above(self, o: Self) -> Self {
                Self(unsafe { [$($max(o.0[$i], self.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn below(self, o: Self) -> Self {
                Self(unsafe { [$($min(o.0[$i], self.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn unordered(self, o: Self) -> u16 {
                unsafe { 0 $(| ($mask::<_CMP_UNORD_Q>(self.0[$i], o.0[$i]) << ($i * (LANES / $count))))* }
            }
            #[inline(always)]
            unsafe fn equal(self, o: Self) -> u16 {
                unsafe { 0 $(| ($mask::<_CMP_EQ_OQ>(self.0[$i], o.0[$i]) << ($i * (LANES / $count))))* }
            }
            $($masked)*
        }

        #[allow(clippy::undocumented_unsafe_blocks, reason = "stated above for all")]
        impl RealLanes for $Name {
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                Self(unsafe { [$($sub(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn mul_add(self, a: Self, b: Self) -> Self {
                Self(unsafe { [$($fmadd(self.0[$i], a.0[$i], b.0[$i])),*] })
            }
            #[inline(always)]
            unsafe fn scale(self, n: Self) -> Self {
                Self(unsafe { [$($scale(self.0[$i], n.0[$i])),*] })
            }
        }
    };
}

/// Small helpers per register type; the callers vouch for the instruction set.
macro_rules! helpers {
    ($($name:ident($a:ident, $b:ident: $Reg:ty) $e:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name($a: $Reg, $b: $Reg) -> $Reg {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { $e }
        }
    )*};
}

helpers! {
    larger_512(a, b: __m512) _mm512_mask_mov_ps(a,
        _mm512_cmp_ps_mask::<_CMP_GT_OQ>(b, a) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(b, b), b);
    smaller_512(a, b: __m512) _mm512_mask_mov_ps(a,
        _mm512_cmp_ps_mask::<_CMP_LT_OQ>(b, a) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(b, b), b);
    larger_512d(a, b: __m512d) _mm512_mask_mov_pd(a,
        _mm512_cmp_pd_mask::<_CMP_GT_OQ>(b, a) | _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(b, b), b);
    smaller_512d(a, b: __m512d) _mm512_mask_mov_pd(a,
        _mm512_cmp_pd_mask::<_CMP_LT_OQ>(b, a) | _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(b, b), b);
    larger_256(a, b: __m256) _mm256_blendv_ps(a, b,
        _mm256_or_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(b, a), _mm256_cmp_ps::<_CMP_UNORD_Q>(b, b)));
    smaller_256(a, b: __m256) _mm256_blendv_ps(a, b,
        _mm256_or_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(b, a), _mm256_cmp_ps::<_CMP_UNORD_Q>(b, b)));
    larger_256d(a, b: __m256d) _mm256_blendv_pd(a, b,
        _mm256_or_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(b, a), _mm256_cmp_pd::<_CMP_UNORD_Q>(b, b)));
    smaller_256d(a, b: __m256d) _mm256_blendv_pd(a, b,
        _mm256_or_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(b, a), _mm256_cmp_pd::<_CMP_UNORD_Q>(b, b)));
    scale_512(a, n: __m512) _mm512_scalef_ps(a, n);
    scale_512d(a, n: __m512d) _mm512_scalef_pd(a, n);
}

/// The lanes where a comparison holds, one bit each; the callers vouch for the instruction set.
macro_rules! masks {
    ($($name:ident($a:ident, $b:ident: $Reg:ty) $e:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name<const C: i32>($a: $Reg, $b: $Reg) -> u16 {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { $e as u16 }
        }
    )*};
}

masks! {
    mask_512(a, b: __m512) _mm512_cmp_ps_mask::<C>(a, b);
    mask_512d(a, b: __m512d) _mm512_cmp_pd_mask::<C>(a, b);
    mask_256(a, b: __m256) _mm256_movemask_ps(_mm256_cmp_ps::<C>(a, b));
    mask_256d(a, b: __m256d) _mm256_movemask_pd(_mm256_cmp_pd::<C>(a, b));
}

/// Multiplies by two halves of the power, of which the first is exact.
#[inline(always)]
unsafe fn scale_256(a: __m256, n: __m256) -> __m256 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let n = _mm256_cvtps_epi32(n);
        let half = _mm256_srai_epi32::<1>(n);
        let power = |n| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))));
        _mm256_mul_ps(_mm256_mul_ps(a, power(half)), power(_mm256_sub_epi32(n, half)))
    }
}

/// As [`scale_256`].
#[inline(always)]
unsafe fn scale_256d(a: __m256d, n: __m256d) -> __m256d {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let n = _mm256_cvtpd_epi32(n);
        let half = _mm_srai_epi32::<1>(n);
        let power = |n| {
            let wide = _mm256_cvtepi32_epi64(_mm_add_epi32(n, _mm_set1_epi32(1023)));
            _mm256_castsi256_pd(_mm256_slli_epi64::<52>(wide))
        };
        _mm256_mul_pd(_mm256_mul_pd(a, power(half)), power(_mm_sub_epi32(n, half)))
    }
}

lanes! {
    /// Sixteen f32 in one AVX-512 register.
    F32x16 [f32; __m512 x 1] at 0;
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_stream_ps _mm512_add_ps _mm512_mul_ps _mm512_sub_ps
    _mm512_fmadd_ps;
    larger larger_512, smaller smaller_512, scale scale_512;
    above _mm512_max_ps, below _mm512_min_ps, mask mask_512;
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize, fill: f32) -> Self {
        Self(unsafe { [_mm512_mask_loadu_ps(_mm512_set1_ps(fill), (1u16 << n) - 1, p)] })
    }
    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, n: usize) {
        unsafe { _mm512_mask_storeu_ps(p, (1u16 << n) - 1, self.0[0]) }
    }
}

lanes! {
    /// Sixteen f64 in two AVX-512 registers.
    F64x8x2 [f64; __m512d x 2] at 0, 1;
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_stream_pd _mm512_add_pd _mm512_mul_pd _mm512_sub_pd
    _mm512_fmadd_pd;
    larger larger_512d, smaller smaller_512d, scale scale_512d;
    above _mm512_max_pd, below _mm512_min_pd, mask mask_512d;
    #[inline(always)]
    unsafe fn load_n(p: *const f64, n: usize, fill: f64) -> Self {
        let (mask, fill) = ((1u32 << n) - 1, unsafe { _mm512_set1_pd(fill) });
        Self(unsafe {
            [
                _mm512_mask_loadu_pd(fill, mask as u8, p),
                _mm512_mask_loadu_pd(fill, (mask >> 8) as u8, p.wrapping_add(8)),
            ]
        })
    }
    #[inline(always)]
    unsafe fn store_n(self, p: *mut f64, n: usize) {
        let mask = (1u32 << n) - 1;
        unsafe {
            _mm512_mask_storeu_pd(p, mask as u8, self.0[0]);
            _mm512_mask_storeu_pd(p.wrapping_add(8), (mask >> 8) as u8, self.0[1]);
        }
    }
}

lanes! {
    /// Sixteen f32 in two AVX2 registers.
    F32x8x2 [f32; __m256 x 2] at 0, 1;
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_stream_ps _mm256_add_ps _mm256_mul_ps _mm256_sub_ps
    _mm256_fmadd_ps;
    larger larger_256, smaller smaller_256, scale scale_256;
    above _mm256_max_ps, below _mm256_min_ps, mask mask_256;
}

lanes! {
    /// Sixteen f64 in four AVX2 registers.
    F64x4x4 [f64; __m256d x 4] at 0, 1, 2, 3;
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_stream_pd _mm256_add_pd _mm256_mul_pd _mm256_sub_pd
    _mm256_fmadd_pd;
    larger larger_256d, smaller smaller_256d, scale scale_256d;
    above _mm256_max_pd, below _mm256_min_pd, mask mask_256d;
}
