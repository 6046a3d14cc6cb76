//! Dual numbers: a value and its tangent, which makes any elementwise body compute its own derivative.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Num, Scalar};

/// A value and the tangent that travels with it; `None` is the tangent of a constant, which costs nothing and cannot
/// turn `0 * inf` into NaN.
#[derive(Clone, Copy)]
pub struct Dual<S> {
    /// The value.
    pub v: S,
    /// The tangent.
    pub d: Option<S>,
}

impl<S: Num> Dual<S> {
    /// A value without tangent.
    #[inline(always)]
    pub fn constant(v: S) -> Self {
        Self { v, d: None }
    }
}

/// A tangent that passes through a slope. No closure, since those are not inlined into code for an instruction set, and
/// would turn every operation on a register into a call.
macro_rules! along {
    ($d:expr, |$x:ident| $slope:expr) => {
        match $d {
            Some($x) => Some($slope),
            None => None,
        }
    };
}

#[inline(always)]
fn plus<S: Num>(a: Option<S>, b: Option<S>) -> Option<S> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, None) => a,
        (None, b) => b,
    }
}

impl<S: Num> Neg for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { v: -self.v, d: along!(self.d, |d| -d) }
    }
}

impl<S: Num> Add for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        Self { v: self.v + o.v, d: plus(self.d, o.d) }
    }
}

impl<S: Num> Sub for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        Self { v: self.v - o.v, d: plus(self.d, along!(o.d, |d| -d)) }
    }
}

impl<S: Num> Mul for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        Self { v: self.v * o.v, d: plus(along!(self.d, |d| d * o.v), along!(o.d, |d| d * self.v)) }
    }
}

impl<S: Scalar> Div for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        let v = self.v / o.v;
        // (a / b)' by b is -(a / b) / b.
        Self { v, d: plus(along!(self.d, |d| d / o.v), along!(o.d, |d| -(d * v / o.v))) }
    }
}

impl<S: Num> Add<f64> for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, o: f64) -> Self {
        Self { v: self.v + o, d: self.d }
    }
}

impl<S: Num> Sub<f64> for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, o: f64) -> Self {
        Self { v: self.v - o, d: self.d }
    }
}

impl<S: Num> Mul<f64> for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, o: f64) -> Self {
        Self { v: self.v * o, d: along!(self.d, |d| d * o) }
    }
}

impl<S: Scalar> Div<f64> for Dual<S> {
    type Output = Self;
    #[inline(always)]
    fn div(self, o: f64) -> Self {
        Self { v: self.v / o, d: along!(self.d, |d| d / o) }
    }
}

impl<S: Num> Num for Dual<S> {
    type Mask = S::Mask;
    #[inline(always)]
    fn c(v: f64) -> Self {
        Self::constant(S::c(v))
    }
    #[inline(always)]
    fn lt(self, o: Self) -> S::Mask {
        self.v.lt(o.v)
    }
    #[inline(always)]
    fn le(self, o: Self) -> S::Mask {
        self.v.le(o.v)
    }
    #[inline(always)]
    fn eq(self, o: Self) -> S::Mask {
        self.v.eq(o.v)
    }
    #[inline(always)]
    fn select(m: S::Mask, a: Self, b: Self) -> Self {
        let d = match (a.d, b.d) {
            (None, None) => None,
            (Some(x), Some(y)) => Some(S::select(m, x, y)),
            (Some(x), None) => Some(S::select(m, x, S::c(0.0))),
            (None, Some(y)) => Some(S::select(m, S::c(0.0), y)),
        };
        Self { v: S::select(m, a.v, b.v), d }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // Slope 0 at 0, as PyTorch's sign.
        Self {
            v: self.v.abs(),
            d: along!(self.d, |d| {
                let zero = S::c(0.0);
                let right = S::select(zero.lt(self.v), d, zero * self.v);
                S::select(self.v.lt(zero), -d, right)
            }),
        }
    }
    #[inline(always)]
    fn floor_div(self, o: Self) -> Self {
        Self::constant(self.v.floor_div(o.v))
    }
    #[inline(always)]
    fn remainder(self, o: Self) -> Self {
        // r = a - floor(a / b) * b, and the quotient is constant almost everywhere.
        let q = self.v.floor_div(o.v);
        Self { v: self.v.remainder(o.v), d: plus(self.d, along!(o.d, |d| -(q * d))) }
    }
    #[inline(always)]
    fn square(self) -> Self {
        Self { v: self.v.square(), d: along!(self.d, |d| d * (self.v + self.v)) }
    }
}

impl<S: Scalar> Scalar for Dual<S> {
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        let d = match (self.d, b.d) {
            (Some(d), Some(e)) => Some(d.mul_add(a.v, e)),
            (Some(d), None) => Some(d * a.v),
            (None, e) => e,
        };
        Self { v: self.v.mul_add(a.v, b.v), d: plus(d, along!(a.d, |d| d * self.v)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let v = self.v.sqrt();
        Self { v, d: along!(self.d, |d| d / (v + v)) }
    }
    #[inline(always)]
    fn exp(self) -> Self {
        let v = self.v.exp();
        Self { v, d: along!(self.d, |d| d * v) }
    }
    #[inline(always)]
    fn expm1(self) -> Self {
        let v = self.v.expm1();
        Self { v, d: along!(self.d, |d| d * (v + 1.0)) }
    }
    #[inline(always)]
    fn log(self) -> Self {
        Self { v: self.v.log(), d: along!(self.d, |d| d / self.v) }
    }
    #[inline(always)]
    fn log1p(self) -> Self {
        Self { v: self.v.log1p(), d: along!(self.d, |d| d / (self.v + 1.0)) }
    }
    #[inline(always)]
    fn sin(self) -> Self {
        Self { v: self.v.sin(), d: along!(self.d, |d| d * self.v.cos()) }
    }
    #[inline(always)]
    fn cos(self) -> Self {
        Self { v: self.v.cos(), d: along!(self.d, |d| -(d * self.v.sin())) }
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        let v = self.v.tanh();
        Self { v, d: along!(self.d, |d| d * (S::c(1.0) - v * v)) }
    }
    #[inline(always)]
    fn erf(self) -> Self {
        Self {
            v: self.v.erf(),
            d: along!(self.d, |d| d * ((-(self.v * self.v)).exp() * std::f64::consts::FRAC_2_SQRT_PI)),
        }
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let v = self.v.sigmoid();
        Self { v, d: along!(self.d, |d| d * (v * (S::c(1.0) - v))) }
    }
    #[inline(always)]
    fn floor(self) -> Self {
        Self::constant(self.v.floor())
    }
    #[inline(always)]
    fn atan2(self, x: Self) -> Self {
        // No slope at the origin, as PyTorch.
        let zero = S::c(0.0);
        let norm = self.v * self.v + x.v * x.v;
        Self {
            v: self.v.atan2(x.v),
            d: plus(
                along!(self.d, |d| S::select(norm.eq(zero), zero, d * x.v / norm)),
                along!(x.d, |d| S::select(norm.eq(zero), zero, -(d * self.v) / norm)),
            ),
        }
    }
    #[inline(always)]
    fn pow(self, y: Self) -> Self {
        let (zero, v) = (S::c(0.0), self.v.pow(y.v));
        // Slope 0 where the exponent is 0, and by the exponent where the base is 0, as PyTorch.
        let by_base = along!(self.d, |d| S::select(y.v.eq(zero), zero, d * (y.v * self.v.pow(y.v - 1.0))));
        let by_exponent = along!(y.d, |d| S::select(self.v.eq(zero), zero, d * (v * self.v.log())));
        Self { v, d: plus(by_base, by_exponent) }
    }
}
