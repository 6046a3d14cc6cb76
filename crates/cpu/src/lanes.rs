//! Sixteen virtual lanes: the vector that kernels with a fixed order of additions are written on.
//!
//! A [`Lanes`] type holds sixteen elements in as many registers as its instruction set needs, so that a kernel adds in
//! the same order everywhere and gives the same bits. Kernels are [`Task`]s; [`run`] runs one with the widest type
//! that the selected instruction set has. All methods are `#[inline(always)]` and only the entry points here carry
//! `#[target_feature]`.

use crate::isa::{self, Isa};

/// The number of virtual lanes.
pub(crate) const LANES: usize = 16;

/// An element type that folds: floats with IEEE rules and winning NaNs, integers that wrap.
pub(crate) trait Num: Copy + Send + Sync + PartialEq + PartialOrd + Default + 'static {
    /// What changes nothing when added.
    const ZERO: Self;
    /// What changes nothing when multiplied.
    const ONE: Self;
    /// What every value is at least as large as.
    const LOWEST: Self;
    /// What every value is at most as large as.
    const HIGHEST: Self;
    /// The lanes on AVX-512.
    type Avx512: Lanes<E = Self>;
    /// The lanes on AVX2.
    type Avx2: Lanes<E = Self>;
    /// Sum, wrapping.
    fn plus(self, o: Self) -> Self;
    /// Product, wrapping.
    fn times(self, o: Self) -> Self;
    /// Whether this is a NaN.
    fn is_nan(self) -> bool;
    /// The sum divided by a count.
    fn over(self, count: usize) -> Self;
}

/// Sixteen elements.
///
/// # Safety
/// Every method may run instructions of the type's instruction set, which the caller has checked for; pointers must be
/// valid for the elements named.
#[allow(clippy::missing_safety_doc, reason = "stated once for the trait")]
pub(crate) trait Lanes: Copy {
    /// The element.
    type E: Num;
    /// One value in all lanes.
    unsafe fn splat(x: Self::E) -> Self;
    /// Sixteen elements from memory.
    unsafe fn load(p: *const Self::E) -> Self;
    /// Sixteen elements to memory.
    unsafe fn store(self, p: *mut Self::E);
    /// Sixteen elements to memory past the caches; `p` begins a line, and a [`crate::stream::fence`] must follow.
    #[inline(always)]
    unsafe fn stream(self, p: *mut Self::E) {
        // SAFETY: passed on.
        unsafe { self.store(p) }
    }
    /// Lane by lane sum.
    unsafe fn add(self, o: Self) -> Self;
    /// Lane by lane product.
    unsafe fn mul(self, o: Self) -> Self;
    /// `o` where it is larger or NaN, else `self`, which stays when it is NaN.
    unsafe fn max(self, o: Self) -> Self;
    /// `o` where it is smaller or NaN, else `self`, which stays when it is NaN.
    unsafe fn min(self, o: Self) -> Self;
    /// `o` where it is larger, else `self`: as `max` where neither is NaN, and cheaper.
    unsafe fn above(self, o: Self) -> Self;
    /// `o` where it is smaller, else `self`: as `min` where neither is NaN, and cheaper.
    unsafe fn below(self, o: Self) -> Self;
    /// The lanes where either is NaN, the first in the lowest bit.
    unsafe fn unordered(self, o: Self) -> u16;
    /// The lanes that are equal, the first in the lowest bit.
    unsafe fn equal(self, o: Self) -> u16;

    /// The first `n < 16` elements from memory, and `fill` in the other lanes.
    #[inline(always)]
    unsafe fn load_n(p: *const Self::E, n: usize, fill: Self::E) -> Self {
        let mut buffer = [fill; LANES];
        // SAFETY: the caller vouches for n elements, and n is below 16.
        unsafe {
            std::ptr::copy_nonoverlapping(p, buffer.as_mut_ptr(), n);
            Self::load(buffer.as_ptr())
        }
    }

    /// The first `n < 16` lanes to memory.
    #[inline(always)]
    unsafe fn store_n(self, p: *mut Self::E, n: usize) {
        let mut buffer = [Self::E::ZERO; LANES];
        // SAFETY: the caller vouches for n elements, and n is below 16.
        unsafe {
            self.store(buffer.as_mut_ptr());
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), p, n);
        }
    }
}

/// Sixteen floats.
#[allow(clippy::missing_safety_doc, reason = "stated once for the trait")]
pub(crate) trait RealLanes: Lanes<E: Real> {
    /// Lane by lane difference.
    unsafe fn sub(self, o: Self) -> Self;
    /// `self * a + b`, rounded once.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    /// `self * 2^n` for whole numbers `n` from -2000 to 2000, rounded once; `self` is in [0.5, 2].
    unsafe fn scale(self, n: Self) -> Self;
}

/// A float that kernels compute in: `f32` or `f64`.
pub(crate) trait Real: Num {
    /// The lanes on AVX-512.
    type RealAvx512: RealLanes<E = Self>;
    /// The lanes on AVX2.
    type RealAvx2: RealLanes<E = Self>;
    /// 1.5 * 2^mantissa: adding and subtracting it rounds to a whole number.
    const MAGIC: Self;
    /// Below this, exp gives 0.
    const EXP_LOW: Self;
    /// Above this, exp gives infinity.
    const EXP_HIGH: Self;
    /// log2(e).
    const LOG2_E: Self;
    /// The leading bits of ln 2, negative.
    const LN2_HI: Self;
    /// The rest of ln 2, negative.
    const LN2_LO: Self;
    /// Coefficients of (e^r - 1 - r) / r^2, highest first.
    const EXP_TERMS: &'static [Self];
    /// From f64, rounded.
    fn from_f64(x: f64) -> Self;
    /// To f64.
    fn to_f64(self) -> f64;
    /// `self * a + b`, rounded once.
    fn fma(self, a: Self, b: Self) -> Self;
    /// Difference.
    fn minus(self, o: Self) -> Self;
    /// `self * 2^n`, rounded once.
    fn scaled(self, n: Self) -> Self;
}

macro_rules! num_int {
    ($($t:ty)*) => {$(
        impl Num for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$t>::MIN;
            const HIGHEST: Self = <$t>::MAX;
            type Avx512 = Plain<$t>;
            type Avx2 = Plain<$t>;
            #[inline(always)]
            fn plus(self, o: Self) -> Self { self.wrapping_add(o) }
            #[inline(always)]
            fn times(self, o: Self) -> Self { self.wrapping_mul(o) }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
            #[inline(always)]
            fn over(self, count: usize) -> Self { (self as i64 / count.max(1) as i64) as $t }
        }
    )*};
}
num_int! { u8 i8 i16 i32 i64 }

macro_rules! num_float {
    ($($t:ident $v512:ident $v256:ident;)*) => {$(
        impl Num for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $t::NEG_INFINITY;
            const HIGHEST: Self = $t::INFINITY;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = x86::$v512;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = x86::$v256;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx512 = Plain<$t>;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx2 = Plain<$t>;
            #[inline(always)]
            fn plus(self, o: Self) -> Self { self + o }
            #[inline(always)]
            fn times(self, o: Self) -> Self { self * o }
            #[inline(always)]
            fn is_nan(self) -> bool { self != self }
            #[inline(always)]
            fn over(self, count: usize) -> Self { self / count as $t }
        }
    )*};
}
num_float! { f32 F32x16 F32x8x2; f64 F64x8x2 F64x4x4; }

impl Real for f32 {
    type RealAvx512 = <f32 as Num>::Avx512;
    type RealAvx2 = <f32 as Num>::Avx2;
    const MAGIC: Self = 12_582_912.0;
    const EXP_LOW: Self = -104.0;
    const EXP_HIGH: Self = 89.0;
    const LOG2_E: Self = std::f32::consts::LOG2_E;
    const LN2_HI: Self = -0.693_145_75;
    const LN2_LO: Self = -1.428_606_8e-6;
    const EXP_TERMS: &'static [Self] = &[1.382_102_4e-3, 8.368_669e-3, 4.166_826_2e-2, 1.666_652_1e-1, 4.999_999_4e-1];
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn minus(self, o: Self) -> Self {
        self - o
    }
    #[inline(always)]
    fn scaled(self, n: Self) -> Self {
        let n = n as i32;
        let half = n >> 1;
        let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
        self * power(half) * power(n - half)
    }
}

impl Real for f64 {
    type RealAvx512 = <f64 as Num>::Avx512;
    type RealAvx2 = <f64 as Num>::Avx2;
    const MAGIC: Self = 6_755_399_441_055_744.0;
    const EXP_LOW: Self = -746.0;
    const EXP_HIGH: Self = 710.0;
    const LOG2_E: Self = std::f64::consts::LOG2_E;
    const LN2_HI: Self = -6.931_471_803_691_238e-1;
    const LN2_LO: Self = -1.908_214_929_270_587_7e-10;
    const EXP_TERMS: &'static [Self] = &[
        1.605_904_383_682_161_3e-10,
        2.087_675_698_786_81e-9,
        2.505_210_838_544_172e-8,
        2.755_731_922_398_589_3e-7,
        2.755_731_922_398_589e-6,
        2.480_158_730_158_73e-5,
        1.984_126_984_126_984e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
    ];
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn minus(self, o: Self) -> Self {
        self - o
    }
    #[inline(always)]
    fn scaled(self, n: Self) -> Self {
        let n = n as i64;
        let half = n >> 1;
        let power = |n: i64| f64::from_bits(((n + 1023) << 52) as u64);
        self * power(half) * power(n - half)
    }
}

/// e^x in every lane, within 1.1 units in the last place in f32 and 1.6 in f64. NaN gives NaN, below the smallest exponent 0, above the largest infinity.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn exp<V: RealLanes>(x: V) -> V {
    // SAFETY: passed on.
    unsafe {
        let [y] = exps([x]);
        y
    }
}

/// [`exp`] of several, step by step side by side: within one nearly every operation waits for the one before.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn exps<V: RealLanes, const K: usize>(mut x: [V; K]) -> [V; K] {
    macro_rules! each {
        (|$k:ident| $body:expr) => {
            for $k in 0..K {
                $body;
            }
        };
    }
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        // The clamps keep NaN: they give the bound only where it is larger or smaller.
        each!(|k| x[k] = x[k].above(V::splat(V::E::EXP_LOW)).below(V::splat(V::E::EXP_HIGH)));
        let magic = V::splat(V::E::MAGIC);
        let mut n = x;
        each!(|k| n[k] = x[k].mul_add(V::splat(V::E::LOG2_E), magic));
        each!(|k| n[k] = n[k].sub(magic));
        let mut r = x;
        each!(|k| r[k] = n[k].mul_add(V::splat(V::E::LN2_HI), r[k]));
        each!(|k| r[k] = n[k].mul_add(V::splat(V::E::LN2_LO), r[k]));
        // Two powers at a time, so that fewer operations wait for one another.
        let (mut square, terms) = (r, V::E::EXP_TERMS);
        each!(|k| square[k] = r[k].mul(r[k]));
        let mut p = [V::splat(terms[0]); K];
        let mut done = 1;
        if terms.len() % 2 == 0 {
            each!(|k| p[k] = p[k].mul_add(r[k], V::splat(terms[1])));
            done = 2;
        }
        while done < terms.len() {
            let mut pair = r;
            each!(|k| pair[k] = V::splat(terms[done]).mul_add(r[k], V::splat(terms[done + 1])));
            each!(|k| p[k] = p[k].mul_add(square[k], pair[k]));
            done += 2;
        }
        each!(|k| p[k] = p[k].mul_add(square[k], r[k]));
        each!(|k| p[k] = p[k].add(V::splat(V::E::ONE)));
        each!(|k| p[k] = p[k].scale(n[k]));
        p
    }
}

/// Sixteen elements in an array, which the compiler vectorises as it can.
#[derive(Clone, Copy)]
pub(crate) struct Plain<T>([T; LANES]);

impl<T: Num> Lanes for Plain<T> {
    type E = T;
    #[inline(always)]
    unsafe fn splat(x: T) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    unsafe fn load(p: *const T) -> Self {
        // SAFETY: the caller vouches for sixteen elements.
        Self(unsafe { p.cast::<[T; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut T) {
        // SAFETY: the caller vouches for sixteen elements.
        unsafe { p.cast::<[T; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(o.0) {
            *a = a.plus(b);
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(o.0) {
            *a = a.times(b);
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(o.0) {
            *a = larger(*a, b);
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn min(self, o: Self) -> Self {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(o.0) {
            *a = smaller(*a, b);
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn above(self, o: Self) -> Self {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(o.0) {
            *a = if b > *a { b } else { *a };
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn below(self, o: Self) -> Self {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(o.0) {
            *a = if b < *a { b } else { *a };
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn unordered(self, o: Self) -> u16 {
        self.0.iter().zip(o.0).rev().fold(0, |m, (a, b)| m << 1 | u16::from(a.is_nan() | b.is_nan()))
    }
    #[inline(always)]
    unsafe fn equal(self, o: Self) -> u16 {
        self.0.iter().zip(o.0).rev().fold(0, |m, (&a, b)| m << 1 | u16::from(a == b))
    }
}

impl<T: Real> RealLanes for Plain<T> {
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(o.0) {
            *a = a.minus(b);
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        let mut out = self.0;
        for ((x, a), b) in out.iter_mut().zip(a.0).zip(b.0) {
            *x = x.fma(a, b);
        }
        Self(out)
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        let mut out = self.0;
        for (a, n) in out.iter_mut().zip(n.0) {
            *a = a.scaled(n);
        }
        Self(out)
    }
}

/// `b` where it is larger or NaN, else `a`, which stays when it is NaN.
#[inline(always)]
pub(crate) fn larger<T: Num>(a: T, b: T) -> T {
    if b > a || b.is_nan() { b } else { a }
}

/// `b` where it is smaller or NaN, else `a`, which stays when it is NaN.
#[inline(always)]
pub(crate) fn smaller<T: Num>(a: T, b: T) -> T {
    if b < a || b.is_nan() { b } else { a }
}

#[cfg(target_arch = "x86_64")]
mod x86;

/// A kernel over lanes of `E`.
pub(crate) trait Task<E: Num> {
    /// What it gives.
    type Out;
    /// Runs it; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// As [`Lanes`], and what the task itself asks for.
    unsafe fn run<V: Lanes<E = E>>(self) -> Self::Out;
}

/// A kernel over lanes of floats.
pub(crate) trait RealTask<E: Real> {
    /// What it gives.
    type Out;
    /// Runs it; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// As [`Lanes`], and what the task itself asks for.
    unsafe fn run<V: RealLanes<E = E>>(self) -> Self::Out;
}

/// Runs a task with the lanes of the selected instruction set.
///
/// # Safety
/// What the task asks for.
pub(crate) unsafe fn run<E: Num, T: Task<E>>(task: T) -> T::Out {
    // SAFETY: `isa` selects only what the processor has; the caller vouches for the task.
    unsafe {
        match isa::isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(task),
            #[allow(unreachable_patterns, reason = "other targets have only the portable one")]
            _ => task.run::<Plain<E>>(),
        }
    }
}

/// Runs a task of floats with the lanes of the selected instruction set.
///
/// # Safety
/// What the task asks for.
pub(crate) unsafe fn run_real<E: Real, T: RealTask<E>>(task: T) -> T::Out {
    // SAFETY: `isa` selects only what the processor has; the caller vouches for the task.
    unsafe {
        match isa::isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => real_avx512(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => real_avx2(task),
            #[allow(unreachable_patterns, reason = "other targets have only the portable one")]
            _ => task.run::<Plain<E>>(),
        }
    }
}

macro_rules! entries {
    ($($name:ident $Trait:ident $Num:ident $V:ident $features:literal;)*) => {$(
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $name<E: $Num, T: $Trait<E>>(task: T) -> T::Out {
            // SAFETY: the features are on; the caller vouches for the task.
            unsafe { task.run::<E::$V>() }
        }
    )*};
}

entries! {
    avx512 Task Num Avx512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma";
    avx2 Task Num Avx2 "avx2,fma";
    real_avx512 RealTask Real RealAvx512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma";
    real_avx2 RealTask Real RealAvx2 "avx2,fma";
}

#[cfg(test)]
mod tests {
    use super::{LANES, Lanes, Plain, exp};

    /// The worst error of `exp` between two numbers, in units in the last place.
    fn worst(low: f64, high: f64, unit: impl Fn(f64) -> f64, exp: impl Fn(f64) -> (f64, f64)) -> f64 {
        let points = (0..10_000).map(|i| low + (high - low) * f64::from(i) / 1e4);
        points.map(exp).fold(0.0, |worst: f64, (got, want)| worst.max((got - want).abs() / unit(want)))
    }

    #[test]
    fn exp_is_near() {
        let unit = |bits: i32, least: f64| move |y: f64| (y.log2().floor() - f64::from(bits)).exp2().max(least);
        let single = |x: f64| {
            let mut y = [0.0f32; LANES];
            // SAFETY: portable code; the array has sixteen elements.
            unsafe { exp(Plain::splat(x as f32)).store(y.as_mut_ptr()) }
            (f64::from(y[3]), f64::from(x as f32).exp())
        };
        let double = |x: f64| {
            let mut y = [0.0f64; LANES];
            // SAFETY: as above.
            unsafe { exp(Plain::splat(x)).store(y.as_mut_ptr()) }
            (y[3], x.exp())
        };
        let (a, b) = (worst(-104.0, 88.7, unit(23, 2f64.powi(-149)), single), worst(-1.0, 1.0, unit(23, 0.0), single));
        assert!(a < 1.1 && b < 1.1, "f32: {a} {b}");
        let (a, b) = (worst(-700.0, 709.0, unit(52, 0.0), double), worst(-1.0, 1.0, unit(52, 0.0), double));
        assert!(a < 1.6 && b < 1.6, "f64: {a} {b}");
        assert!(single(f64::NAN).0.is_nan() && single(-1e30).0 == 0.0 && single(1e30).0 == f64::INFINITY);
        assert!(double(f64::NAN).0.is_nan() && double(-1e300).0 == 0.0 && double(1e300).0 == f64::INFINITY);
    }
}
