//! Plain f64 as a scalar: the slow reference instance.

use super::{Num, Scalar};

impl Num for f64 {
    type Mask = bool;
    #[inline(always)]
    fn c(v: f64) -> f64 {
        v
    }
    #[inline(always)]
    fn lt(self, o: f64) -> bool {
        self < o
    }
    #[inline(always)]
    fn le(self, o: f64) -> bool {
        self <= o
    }
    #[inline(always)]
    fn eq(self, o: f64) -> bool {
        self == o
    }
    #[inline(always)]
    fn select(m: bool, a: f64, b: f64) -> f64 {
        if m { a } else { b }
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    fn floor_div(self, o: f64) -> f64 {
        // The rounded quotient may reach the next whole number; the remainder is exact.
        let rest = self % o;
        if o == 0.0 || rest.is_nan() {
            return f64::floor(self / o);
        }
        let quotient = (self - rest) / o - if rest != 0.0 && (rest < 0.0) != (o < 0.0) { 1.0 } else { 0.0 };
        f64::round(quotient)
    }
    #[inline(always)]
    fn remainder(self, o: f64) -> f64 {
        let r = self % o;
        if r != 0.0 && (r < 0.0) != (o < 0.0) { r + o } else { r }
    }
}

impl Scalar for f64 {
    #[inline(always)]
    fn mul_add(self, a: f64, b: f64) -> f64 {
        f64::mul_add(self, a, b)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    fn exp(self) -> f64 {
        libm::exp(self)
    }
    fn expm1(self) -> f64 {
        libm::expm1(self)
    }
    fn log(self) -> f64 {
        libm::log(self)
    }
    fn log1p(self) -> f64 {
        libm::log1p(self)
    }
    fn sin(self) -> f64 {
        libm::sin(self)
    }
    fn cos(self) -> f64 {
        libm::cos(self)
    }
    fn tanh(self) -> f64 {
        libm::tanh(self)
    }
    fn erf(self) -> f64 {
        libm::erf(self)
    }
    fn sigmoid(self) -> f64 {
        1.0 / (1.0 + libm::exp(-self))
    }
    #[inline(always)]
    fn floor(self) -> f64 {
        f64::floor(self)
    }
    fn atan2(self, x: f64) -> f64 {
        libm::atan2(self, x)
    }
    fn pow(self, y: f64) -> f64 {
        libm::pow(self, y)
    }
}
