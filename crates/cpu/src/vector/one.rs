//! One float as a register: the portable kernels.

use super::{Lane, Lane32, math};

macro_rules! one {
    ($E:ty, $($math:tt)*) => {
        impl Lane for $E {
            type E = $E;
            type M = bool;
            const N: usize = 1;
            #[inline(always)]
            unsafe fn splat(v: $E) -> Self {
                v
            }
            #[inline(always)]
            unsafe fn c(v: f64) -> Self {
                v as $E
            }
            #[inline(always)]
            unsafe fn load(p: *const $E) -> Self {
                // SAFETY: the caller vouches for the element.
                unsafe { *p }
            }
            #[inline(always)]
            unsafe fn load_n(_: *const $E, _: usize) -> Self {
                0.0
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $E) {
                // SAFETY: the caller vouches for the element.
                unsafe { *p = self }
            }
            #[inline(always)]
            unsafe fn store_n(self, _: *mut $E, _: usize) {}
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                self + o
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                self - o
            }
            #[inline(always)]
            unsafe fn mul(self, o: Self) -> Self {
                self * o
            }
            #[inline(always)]
            unsafe fn div(self, o: Self) -> Self {
                self / o
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                <$E>::sqrt(self)
            }
            #[inline(always)]
            unsafe fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                <$E>::abs(self)
            }
            #[inline(always)]
            unsafe fn floor(self) -> Self {
                <$E>::floor(self)
            }
            #[inline(always)]
            unsafe fn lt(self, o: Self) -> bool {
                self < o
            }
            #[inline(always)]
            unsafe fn le(self, o: Self) -> bool {
                self <= o
            }
            #[inline(always)]
            unsafe fn eq(self, o: Self) -> bool {
                self == o
            }
            #[inline(always)]
            unsafe fn select(m: bool, a: Self, b: Self) -> Self {
                if m { a } else { b }
            }
            #[inline(always)]
            unsafe fn each(self, f: impl Fn(f64) -> f64) -> Self {
                f(f64::from(self)) as $E
            }
            #[inline(always)]
            unsafe fn each2(self, o: Self, f: impl Fn(f64, f64) -> f64) -> Self {
                f(f64::from(self), f64::from(o)) as $E
            }
            $($math)*
        }
    };
}

macro_rules! polynomials {
    ($($name:ident)*) => {$(
        #[inline(always)]
        unsafe fn $name(self) -> Self {
            // SAFETY: passed on.
            unsafe { math::$name(self) }
        }
    )*};
}

macro_rules! plain {
    ($($name:ident $f:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self) -> Self {
            $f(self)
        }
    )*};
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

one!(f32, polynomials! { exp expm1 log log1p tanh erf sigmoid });
one!(
    f64,
    plain! {
        exp libm::exp; expm1 libm::expm1; log libm::log; log1p libm::log1p; tanh libm::tanh; erf libm::erf;
        sigmoid sigmoid;
    }
);

impl Lane32 for f32 {
    #[inline(always)]
    unsafe fn ldexp(self, n: Self) -> Self {
        // As the vector forms: NaN comes as any number, and the product is NaN all the same.
        let n = n as i32;
        let half = n >> 1;
        let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
        self * power(half) * power(n - half)
    }
    #[inline(always)]
    unsafe fn frexp(self) -> (Self, Self) {
        let bits = self.to_bits();
        let e = (bits >> 23) as i32 - 126;
        (f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000), e as f32)
    }
    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        if bound < self { bound } else { self }
    }
    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        if bound > self { bound } else { self }
    }
    #[inline(always)]
    unsafe fn with_sign_of(self, o: Self) -> Self {
        f32::from_bits(self.to_bits() | (o.to_bits() & 0x8000_0000))
    }
    #[inline(always)]
    unsafe fn uniforms(words: *const u32) -> Self {
        // SAFETY: the caller vouches for the word.
        esker_tensor::philox::uniform_f32(unsafe { *words })
    }
    #[inline(always)]
    unsafe fn store_in_turn(v: [Self; 4], p: *mut f32) {
        // SAFETY: the caller vouches for four elements.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn pick(self, table: &[f32; 16]) -> Self {
        table[(self.to_bits() & 15) as usize]
    }
}
