//! The scalar vocabulary over a register of floats.

use std::ops::{Add, Div, Mul, Neg, Sub};

use esker_ops::scalar::{Num, Scalar};

use super::Lane;

/// A register as a scalar.
#[derive(Clone, Copy)]
pub(crate) struct V<L>(pub(crate) L);

macro_rules! binary {
    ($($Trait:ident $method:ident;)*) => {$(
        impl<L: Lane> $Trait for V<L> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, o: Self) -> Self {
                // SAFETY: only loops compiled for the register's instruction set make such values.
                V(unsafe { self.0.$method(o.0) })
            }
        }
        impl<L: Lane> $Trait<f64> for V<L> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, o: f64) -> Self {
                // SAFETY: as above.
                V(unsafe { self.0.$method(L::c(o)) })
            }
        }
    )*};
}

binary! { Add add; Sub sub; Mul mul; Div div; }

impl<L: Lane> Neg for V<L> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.neg() })
    }
}

macro_rules! unary {
    ($($method:ident)*) => {$(
        #[inline(always)]
        fn $method(self) -> Self {
            // SAFETY: as above.
            V(unsafe { self.0.$method() })
        }
    )*};
}

macro_rules! compare {
    ($($method:ident)*) => {$(
        #[inline(always)]
        fn $method(self, o: Self) -> L::M {
            // SAFETY: as above.
            unsafe { self.0.$method(o.0) }
        }
    )*};
}

impl<L: Lane> Num for V<L> {
    type Mask = L::M;
    #[inline(always)]
    fn c(v: f64) -> Self {
        // SAFETY: as above.
        V(unsafe { L::c(v) })
    }
    compare! { lt le eq }
    #[inline(always)]
    fn select(m: L::M, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        V(unsafe { L::select(m, a.0, b.0) })
    }
    unary! { abs }
    #[inline(always)]
    fn floor_div(self, o: Self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.each2(o.0, Num::floor_div) })
    }
    #[inline(always)]
    fn remainder(self, o: Self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.each2(o.0, Num::remainder) })
    }
}

impl<L: Lane> Scalar for V<L> {
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.fma(a.0, b.0) })
    }
    unary! { sqrt exp expm1 log log1p tanh erf sigmoid floor }
    #[inline(always)]
    fn sin(self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.each(libm::sin) })
    }
    #[inline(always)]
    fn cos(self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.each(libm::cos) })
    }
    #[inline(always)]
    fn atan2(self, x: Self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.each2(x.0, libm::atan2) })
    }
    #[inline(always)]
    fn pow(self, y: Self) -> Self {
        // SAFETY: as above.
        V(unsafe { self.0.each2(y.0, libm::pow) })
    }
}
