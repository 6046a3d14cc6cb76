//! Integers as scalars. They wrap; loops over them are left to the vectoriser, which does well on whole numbers.

use std::ops::{Add, Mul, Neg, Sub};

use esker_ops::scalar::Num;

/// An integer as a scalar.
#[derive(Clone, Copy)]
pub(crate) struct Int<T>(pub(crate) T);

macro_rules! int {
    ($($T:ty)*) => {$(
        impl Add for Int<$T> {
            type Output = Self;
            #[inline(always)]
            fn add(self, o: Self) -> Self { Int(self.0.wrapping_add(o.0)) }
        }
        impl Sub for Int<$T> {
            type Output = Self;
            #[inline(always)]
            fn sub(self, o: Self) -> Self { Int(self.0.wrapping_sub(o.0)) }
        }
        impl Mul for Int<$T> {
            type Output = Self;
            #[inline(always)]
            fn mul(self, o: Self) -> Self { Int(self.0.wrapping_mul(o.0)) }
        }
        impl Add<f64> for Int<$T> {
            type Output = Self;
            #[inline(always)]
            fn add(self, o: f64) -> Self { self + Self::c(o) }
        }
        impl Sub<f64> for Int<$T> {
            type Output = Self;
            #[inline(always)]
            fn sub(self, o: f64) -> Self { self - Self::c(o) }
        }
        impl Mul<f64> for Int<$T> {
            type Output = Self;
            #[inline(always)]
            fn mul(self, o: f64) -> Self { self * Self::c(o) }
        }
        impl Neg for Int<$T> {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self { Int(self.0.wrapping_neg()) }
        }
        impl Num for Int<$T> {
            type Mask = bool;
            #[inline(always)]
            fn c(v: f64) -> Self { Int(v as $T) }
            #[inline(always)]
            fn lt(self, o: Self) -> bool { self.0 < o.0 }
            #[inline(always)]
            fn le(self, o: Self) -> bool { self.0 <= o.0 }
            #[inline(always)]
            fn eq(self, o: Self) -> bool { self.0 == o.0 }
            #[inline(always)]
            fn select(m: bool, a: Self, b: Self) -> Self { if m { a } else { b } }
            #[inline(always)]
            fn abs(self) -> Self { Int(self.0.wrapping_abs()) }
            #[inline(always)]
            fn floor_div(self, o: Self) -> Self {
                // A zero divisor was refused before the loop; -1 would overflow at the lowest number.
                match o.0 {
                    0 => Int(0),
                    -1 => -self,
                    d => {
                        let (q, r) = (self.0 / d, self.0 % d);
                        Int(if r != 0 && (r < 0) != (d < 0) { q - 1 } else { q })
                    }
                }
            }
            #[inline(always)]
            fn remainder(self, o: Self) -> Self {
                match o.0 {
                    0 | -1 => Int(0),
                    d => {
                        let r = self.0 % d;
                        Int(if r != 0 && (r < 0) != (d < 0) { r + d } else { r })
                    }
                }
            }
        }
    )*};
}

int!(i32 i64);
