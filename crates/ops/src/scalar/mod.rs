//! The scalar vocabulary: an elementwise op is one generic function over it.
//!
//! The function is instantiated with SIMD vectors (the CPU loop), with [`Dual`] numbers (its gradient loop), with
//! [`Expr`] (composition, ONNX, higher derivatives) and with plain f64 (the reference). Bodies must put literals on the
//! right of an operator (`x + 1.0`): a literal on the left does not infer.

mod dual;
mod expr;
mod float;

use std::ops::{Add, Div, Mul, Neg, Sub};

pub use dual::Dual;
pub use expr::{Expr, Prim, Program, Step};

/// What integers and floats have. Integers wrap.
pub trait Num:
    Copy
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
{
    /// The result of a comparison.
    type Mask: Copy;
    /// A constant.
    fn c(v: f64) -> Self;
    /// `self < o`; false with NaN.
    fn lt(self, o: Self) -> Self::Mask;
    /// `self <= o`; false with NaN.
    fn le(self, o: Self) -> Self::Mask;
    /// `self == o`; false with NaN.
    fn eq(self, o: Self) -> Self::Mask;
    /// `a` where the mask is true, else `b`.
    fn select(m: Self::Mask, a: Self, b: Self) -> Self;
    /// Magnitude.
    fn abs(self) -> Self;
    /// Quotient rounded towards minus infinity. Integer kernels have checked that no divisor is zero.
    fn floor_div(self, o: Self) -> Self;
    /// `self - floor_div(self, o) * o`: the remainder with the divisor's sign.
    fn remainder(self, o: Self) -> Self;
    /// `self * self`.
    #[inline(always)]
    fn square(self) -> Self {
        self * self
    }
}

/// What floats have besides.
pub trait Scalar: Num + Div<Output = Self> + Div<f64, Output = Self> {
    /// `self * a + b` with one rounding.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// e to the power.
    fn exp(self) -> Self;
    /// e to the power, minus 1.
    fn expm1(self) -> Self;
    /// Natural logarithm.
    fn log(self) -> Self;
    /// Natural logarithm of 1 + self.
    fn log1p(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// `1 / (1 + exp(-self))`.
    fn sigmoid(self) -> Self;
    /// Rounded towards minus infinity.
    fn floor(self) -> Self;
    /// The angle of the point `(x, self)`, in radians.
    fn atan2(self, x: Self) -> Self;
    /// `self` to the power `y`.
    fn pow(self, y: Self) -> Self;
}
