//! Registers of AVX-512 and AVX2.

use std::arch::x86_64::*;

use super::{Lane, Lane32, math};

/// The methods that read the same for all registers; `$x` stands for `self`.
macro_rules! lane {
    ($R:ty, $E:ty, $M:ty, $N:literal, { $($own:tt)* }, { $($math:tt)* }) => {
        impl Lane for $R {
            type E = $E;
            type M = $M;
            const N: usize = $N;
            #[inline(always)]
            unsafe fn c(v: f64) -> Self {
                // SAFETY: the caller has the instructions.
                unsafe { Self::splat(v as $E) }
            }
            #[inline(always)]
            unsafe fn each(self, f: impl Fn(f64) -> f64) -> Self {
                let mut x = [0.0 as $E; $N];
                // SAFETY: the array has a register's size.
                unsafe {
                    self.store(x.as_mut_ptr());
                    x.iter_mut().for_each(|x| *x = f(f64::from(*x)) as $E);
                    Self::load(x.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn each2(self, o: Self, f: impl Fn(f64, f64) -> f64) -> Self {
                let (mut x, mut y) = ([0.0 as $E; $N], [0.0 as $E; $N]);
                // SAFETY: the arrays have a register's size.
                unsafe {
                    self.store(x.as_mut_ptr());
                    o.store(y.as_mut_ptr());
                    x.iter_mut().zip(y).for_each(|(x, y)| *x = f(f64::from(*x), f64::from(y)) as $E);
                    Self::load(x.as_ptr())
                }
            }
            $($own)*
            $($math)*
        }
    };
}

/// The transcendental functions of f32: polynomials.
macro_rules! polynomials {
    ($($name:ident)*) => {$(
        #[inline(always)]
        unsafe fn $name(self) -> Self {
            // SAFETY: passed on.
            unsafe { math::$name(self) }
        }
    )*};
}

/// Those of f64: element by element.
macro_rules! element_wise {
    ($($name:ident $f:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self) -> Self {
            // SAFETY: passed on.
            unsafe { self.each($f) }
        }
    )*};
}

lane! {
    __m512, f32, __mmask16, 16,
    {
            #[inline(always)]
            unsafe fn splat(v: f32) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_set1_ps(v) }
            }
            #[inline(always)]
            unsafe fn load(p: *const f32) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_loadu_ps(p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut f32) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_storeu_ps(p, self) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const f32, n: usize) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, p) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut f32, n: usize) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as __mmask16, self) }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_add_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_sub_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn mul(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_mul_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn div(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_div_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_fmadd_ps(self, a, b) }
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_sqrt_ps(self) }
            }
            #[inline(always)]
            unsafe fn neg(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_xor_ps(self, _mm512_set1_ps(-0.0)) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_andnot_ps(_mm512_set1_ps(-0.0), self) }
            }
            #[inline(always)]
            unsafe fn floor(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self) }
            }
            #[inline(always)]
            unsafe fn lt(self, o: Self) -> __mmask16 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn le(self, o: Self) -> __mmask16 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn eq(self, o: Self) -> __mmask16 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn select(m: __mmask16, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_mask_blend_ps(m, b, a) }
            }
    },
    { polynomials! { exp expm1 log log1p tanh erf sigmoid } }
}

lane! {
    __m512d, f64, __mmask8, 8,
    {
            #[inline(always)]
            unsafe fn splat(v: f64) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_set1_pd(v) }
            }
            #[inline(always)]
            unsafe fn load(p: *const f64) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_loadu_pd(p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut f64) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_storeu_pd(p, self) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const f64, n: usize) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_maskz_loadu_pd(((1u32 << n) - 1) as __mmask8, p) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut f64, n: usize) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_mask_storeu_pd(p, ((1u32 << n) - 1) as __mmask8, self) }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_add_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_sub_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn mul(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_mul_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn div(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_div_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_fmadd_pd(self, a, b) }
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_sqrt_pd(self) }
            }
            #[inline(always)]
            unsafe fn neg(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_xor_pd(self, _mm512_set1_pd(-0.0)) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_andnot_pd(_mm512_set1_pd(-0.0), self) }
            }
            #[inline(always)]
            unsafe fn floor(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_roundscale_pd::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self) }
            }
            #[inline(always)]
            unsafe fn lt(self, o: Self) -> __mmask8 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_cmp_pd_mask::<_CMP_LT_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn le(self, o: Self) -> __mmask8 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_cmp_pd_mask::<_CMP_LE_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn eq(self, o: Self) -> __mmask8 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn select(m: __mmask8, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm512_mask_blend_pd(m, b, a) }
            }
    },
    { element_wise! {
                exp libm::exp; expm1 libm::expm1; log libm::log; log1p libm::log1p; tanh libm::tanh; erf libm::erf;
                sigmoid |x| 1.0 / (1.0 + libm::exp(-x));
            } }
}

lane! {
    __m256, f32, __m256, 8,
    {
            #[inline(always)]
            unsafe fn splat(v: f32) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_set1_ps(v) }
            }
            #[inline(always)]
            unsafe fn load(p: *const f32) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_loadu_ps(p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut f32) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_storeu_ps(p, self) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const f32, n: usize) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_maskload_ps(p, mask_i32(n)) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut f32, n: usize) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_maskstore_ps(p, mask_i32(n), self) }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_add_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_sub_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn mul(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_mul_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn div(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_div_ps(self, o) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_fmadd_ps(self, a, b) }
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_sqrt_ps(self) }
            }
            #[inline(always)]
            unsafe fn neg(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_xor_ps(self, _mm256_set1_ps(-0.0)) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self) }
            }
            #[inline(always)]
            unsafe fn floor(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_floor_ps(self) }
            }
            #[inline(always)]
            unsafe fn lt(self, o: Self) -> __m256 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn le(self, o: Self) -> __m256 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_cmp_ps::<_CMP_LE_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn eq(self, o: Self) -> __m256 {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn select(m: __m256, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_blendv_ps(b, a, m) }
            }
    },
    { polynomials! { exp expm1 log log1p tanh erf sigmoid } }
}

lane! {
    __m256d, f64, __m256d, 4,
    {
            #[inline(always)]
            unsafe fn splat(v: f64) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_set1_pd(v) }
            }
            #[inline(always)]
            unsafe fn load(p: *const f64) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_loadu_pd(p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut f64) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_storeu_pd(p, self) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const f64, n: usize) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_maskload_pd(p, mask_i64(n)) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut f64, n: usize) {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_maskstore_pd(p, mask_i64(n), self) }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_add_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_sub_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn mul(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_mul_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn div(self, o: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_div_pd(self, o) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_fmadd_pd(self, a, b) }
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_sqrt_pd(self) }
            }
            #[inline(always)]
            unsafe fn neg(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_xor_pd(self, _mm256_set1_pd(-0.0)) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_andnot_pd(_mm256_set1_pd(-0.0), self) }
            }
            #[inline(always)]
            unsafe fn floor(self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_floor_pd(self) }
            }
            #[inline(always)]
            unsafe fn lt(self, o: Self) -> __m256d {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_cmp_pd::<_CMP_LT_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn le(self, o: Self) -> __m256d {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_cmp_pd::<_CMP_LE_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn eq(self, o: Self) -> __m256d {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_cmp_pd::<_CMP_EQ_OQ>(self, o) }
            }
            #[inline(always)]
            unsafe fn select(m: __m256d, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the instructions and vouches for the elements of pointers.
                unsafe { _mm256_blendv_pd(b, a, m) }
            }
    },
    { element_wise! {
                exp libm::exp; expm1 libm::expm1; log libm::log; log1p libm::log1p; tanh libm::tanh; erf libm::erf;
                sigmoid |x| 1.0 / (1.0 + libm::exp(-x));
            } }
}

/// The first `n` of eight lanes.
#[inline(always)]
unsafe fn mask_i32(n: usize) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

/// The first `n` of four lanes.
#[inline(always)]
unsafe fn mask_i64(n: usize) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
}

/// 2^n.
#[inline(always)]
unsafe fn power_256(n: __m256i) -> __m256 {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127)))) }
}

impl Lane32 for __m512 {
    #[inline(always)]
    unsafe fn ldexp(self, n: Self) -> Self {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_scalef_ps(self, n) }
    }
    #[inline(always)]
    unsafe fn frexp(self) -> (Self, Self) {
        // SAFETY: the caller has AVX-512.
        unsafe {
            let bits = _mm512_castps_si512(self);
            let e = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), _mm512_set1_epi32(126));
            let m = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
            let m = _mm512_or_si512(m, _mm512_set1_epi32(0x3f00_0000));
            (_mm512_castsi512_ps(m), _mm512_cvtepi32_ps(e))
        }
    }
    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // The instruction gives its second operand when one is NaN.
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_min_ps(bound, self) }
    }
    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_max_ps(bound, self) }
    }
    #[inline(always)]
    unsafe fn with_sign_of(self, o: Self) -> Self {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_or_ps(self, _mm512_and_ps(o, _mm512_set1_ps(-0.0))) }
    }
    #[inline(always)]
    unsafe fn uniforms(words: *const u32) -> Self {
        // SAFETY: the caller has AVX-512 and vouches for the words.
        unsafe {
            let high = _mm512_srli_epi32::<8>(_mm512_loadu_si512(words.cast()));
            _mm512_mul_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(1.0 / (1 << 24) as f32))
        }
    }
    #[inline(always)]
    unsafe fn store_in_turn([a, b, c, d]: [Self; 4], p: *mut f32) {
        // SAFETY: the caller has AVX-512 and vouches for the elements.
        unsafe {
            // Fours in the quarters of four registers: those of the first have the elements 0, 4, 8 and 12.
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (ef, gh) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            let [ab, cd, ef, gh] =
                [_mm512_castps_pd(ab), _mm512_castps_pd(cd), _mm512_castps_pd(ef), _mm512_castps_pd(gh)];
            let (x, y) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
            let (z, w) = (_mm512_unpacklo_pd(ef, gh), _mm512_unpackhi_pd(ef, gh));
            // The quarters transposed.
            let (xy, zw) = (_mm512_shuffle_f64x2::<0x44>(x, y), _mm512_shuffle_f64x2::<0x44>(z, w));
            let (yx, wz) = (_mm512_shuffle_f64x2::<0xee>(x, y), _mm512_shuffle_f64x2::<0xee>(z, w));
            let p = p.cast::<f64>();
            _mm512_storeu_pd(p, _mm512_shuffle_f64x2::<0x88>(xy, zw));
            _mm512_storeu_pd(p.add(8), _mm512_shuffle_f64x2::<0xdd>(xy, zw));
            _mm512_storeu_pd(p.add(16), _mm512_shuffle_f64x2::<0x88>(yx, wz));
            _mm512_storeu_pd(p.add(24), _mm512_shuffle_f64x2::<0xdd>(yx, wz));
        }
    }
    #[inline(always)]
    unsafe fn pick(self, table: &[f32; 16]) -> Self {
        // SAFETY: the caller has AVX-512; the table is a register long.
        unsafe { _mm512_permutexvar_ps(_mm512_castps_si512(self), _mm512_loadu_ps(table.as_ptr())) }
    }
}

impl Lane32 for __m256 {
    #[inline(always)]
    unsafe fn ldexp(self, n: Self) -> Self {
        // SAFETY: the caller has AVX2.
        unsafe {
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            _mm256_mul_ps(_mm256_mul_ps(self, power_256(half)), power_256(_mm256_sub_epi32(n, half)))
        }
    }
    #[inline(always)]
    unsafe fn frexp(self) -> (Self, Self) {
        // SAFETY: the caller has AVX2.
        unsafe {
            let bits = _mm256_castps_si256(self);
            let e = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(126));
            let m = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            let m = _mm256_or_si256(m, _mm256_set1_epi32(0x3f00_0000));
            (_mm256_castsi256_ps(m), _mm256_cvtepi32_ps(e))
        }
    }
    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // The instruction gives its second operand when one is NaN.
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_min_ps(bound, self) }
    }
    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_max_ps(bound, self) }
    }
    #[inline(always)]
    unsafe fn with_sign_of(self, o: Self) -> Self {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_or_ps(self, _mm256_and_ps(o, _mm256_set1_ps(-0.0))) }
    }
    #[inline(always)]
    unsafe fn uniforms(words: *const u32) -> Self {
        // SAFETY: the caller has AVX2 and vouches for the words.
        unsafe {
            let high = _mm256_srli_epi32::<8>(_mm256_loadu_si256(words.cast()));
            _mm256_mul_ps(_mm256_cvtepi32_ps(high), _mm256_set1_ps(1.0 / (1 << 24) as f32))
        }
    }
    #[inline(always)]
    unsafe fn store_in_turn([a, b, c, d]: [Self; 4], p: *mut f32) {
        // SAFETY: the caller has AVX2 and vouches for the elements.
        unsafe {
            // Fours in the halves of four registers: those of the first have the elements 0 and 4.
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ef, gh) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            let [ab, cd, ef, gh] =
                [_mm256_castps_pd(ab), _mm256_castps_pd(cd), _mm256_castps_pd(ef), _mm256_castps_pd(gh)];
            let (x, y) = (_mm256_unpacklo_pd(ab, cd), _mm256_unpackhi_pd(ab, cd));
            let (z, w) = (_mm256_unpacklo_pd(ef, gh), _mm256_unpackhi_pd(ef, gh));
            let p = p.cast::<f64>();
            _mm256_storeu_pd(p, _mm256_permute2f128_pd::<0x20>(x, y));
            _mm256_storeu_pd(p.add(4), _mm256_permute2f128_pd::<0x20>(z, w));
            _mm256_storeu_pd(p.add(8), _mm256_permute2f128_pd::<0x31>(x, y));
            _mm256_storeu_pd(p.add(12), _mm256_permute2f128_pd::<0x31>(z, w));
        }
    }
    #[inline(always)]
    unsafe fn pick(self, table: &[f32; 16]) -> Self {
        // SAFETY: the caller has AVX2; the table is two registers long.
        unsafe {
            let at = _mm256_castps_si256(self);
            let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr()), at);
            let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr().add(8)), at);
            // The fourth bit as the sign that the choice goes by.
            _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(at)))
        }
    }
}
