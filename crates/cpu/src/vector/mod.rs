//! SIMD registers as scalars: what elementwise bodies are instantiated with.
//!
//! [`Lane`] is what an instruction set offers for one element type, [`V`] makes the scalar vocabulary of it. The types
//! stay private to this crate, since making one runs instructions that only a checked machine has. All methods are
//! `#[inline(always)]` without a target feature of their own; the outermost loop carries that.

mod bounds;
mod float;
mod int;
mod math;
mod one;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use bounds::F32_BOUNDS;
pub(crate) use float::V;
pub(crate) use int::Int;
pub(crate) use math::{cos_sin_turns, log_of};

/// A register of floats, or one float.
///
/// # Safety
/// Methods run the instruction set's instructions, which the caller has checked for; pointers must be valid for the
/// elements named.
#[allow(clippy::missing_safety_doc, reason = "stated once for the trait")]
pub(crate) trait Lane: Copy {
    /// The element.
    type E: Copy;
    /// The result of a comparison.
    type M: Copy;
    /// Elements in the register.
    const N: usize;
    unsafe fn splat(v: Self::E) -> Self;
    unsafe fn c(v: f64) -> Self;
    unsafe fn load(p: *const Self::E) -> Self;
    /// The first `n < N` elements; the rest is zero.
    unsafe fn load_n(p: *const Self::E, n: usize) -> Self;
    unsafe fn store(self, p: *mut Self::E);
    unsafe fn store_n(self, p: *mut Self::E, n: usize);
    unsafe fn add(self, o: Self) -> Self;
    unsafe fn sub(self, o: Self) -> Self;
    unsafe fn mul(self, o: Self) -> Self;
    unsafe fn div(self, o: Self) -> Self;
    /// `self * a + b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    unsafe fn neg(self) -> Self;
    unsafe fn abs(self) -> Self;
    unsafe fn floor(self) -> Self;
    unsafe fn lt(self, o: Self) -> Self::M;
    unsafe fn le(self, o: Self) -> Self::M;
    unsafe fn eq(self, o: Self) -> Self::M;
    unsafe fn select(m: Self::M, a: Self, b: Self) -> Self;
    /// Applies a function to each element: for what has no vector form.
    unsafe fn each(self, f: impl Fn(f64) -> f64) -> Self;
    /// As [`Lane::each`], of two.
    unsafe fn each2(self, o: Self, f: impl Fn(f64, f64) -> f64) -> Self;
    unsafe fn exp(self) -> Self;
    unsafe fn expm1(self) -> Self;
    unsafe fn log(self) -> Self;
    unsafe fn log1p(self) -> Self;
    unsafe fn tanh(self) -> Self;
    unsafe fn erf(self) -> Self;
    unsafe fn sigmoid(self) -> Self;
}

/// A register of f32 with the bit tricks that the f32 functions need.
#[allow(clippy::missing_safety_doc, reason = "as its supertrait")]
pub(crate) trait Lane32: Lane<E = f32> {
    /// `self * 2^n` for whole `n` in -252..=252, in two exact-but-for-the-last steps.
    unsafe fn ldexp(self, n: Self) -> Self;
    /// Mantissa in [0.5, 1) and exponent of a positive, normal, finite number.
    unsafe fn frexp(self) -> (Self, Self);
    /// The lesser of itself and a bound; NaN stays.
    unsafe fn at_most(self, bound: Self) -> Self;
    /// The greater of itself and a bound; NaN stays.
    unsafe fn at_least(self, bound: Self) -> Self;
    /// Itself, which is not negative, with the sign of another.
    unsafe fn with_sign_of(self, o: Self) -> Self;
    /// Words as numbers in `[0, 1)`, each as [`esker_tensor::philox::uniform_f32`] makes it.
    unsafe fn uniforms(words: *const u32) -> Self;
    /// The first elements of all four, then the second ones, and so on, to memory.
    unsafe fn store_in_turn(v: [Self; 4], p: *mut f32);
    /// The entry that the low four bits of the number's representation name.
    unsafe fn pick(self, table: &[f32; 16]) -> Self;
}
