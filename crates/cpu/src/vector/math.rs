//! The f32 functions, written once over [`Lane32`]: the same operations and so the same bits on every instruction set.
//!
//! Bounds are in units in the last place against f64, over the sampled test below. Forms and coefficients: exp by
//! Cody and Waite's reduction with a Taylor polynomial; log, tanh after Cephes (S. Moshier, logf, tanhf); erf by a
//! polynomial near zero and 1 - exp of one elsewhere (coefficients after N. Juffa's published erff).

use super::Lane32;

/// Adding and subtracting it rounds to a whole number.
const MAGIC: f64 = 12_582_912.0; // 1.5 * 2^23

/// Horner's scheme, highest coefficient first.
#[inline(always)]
unsafe fn horner<L: Lane32, const N: usize>(x: L, coefficients: [f64; N]) -> L {
    // SAFETY: passed on from the caller of the function.
    unsafe {
        let mut y = L::c(coefficients[0]);
        for &c in &coefficients[1..] {
            y = y.fma(x, L::c(c));
        }
        y
    }
}

/// e^x within 1.5 units in the last place.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        // Beyond these the result is 0 or infinity anyway; NaN fails both tests and stays.
        let x = L::select(x.lt(L::c(-105.0)), L::c(-105.0), x);
        let x = L::select(L::c(89.0).lt(x), L::c(89.0), x);
        let n = x.fma(L::c(std::f64::consts::LOG2_E), L::c(MAGIC)).sub(L::c(MAGIC));
        // ln 2 in two parts, the first with zeros behind, so that n times it is exact.
        let r = n.fma(L::c(-0.693_359_375), x);
        let r = n.fma(L::c(2.121_944_400_546_905_8e-4), r);
        let p = horner(r, [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5]);
        let p = p.fma(r.mul(r), r).add(L::c(1.0));
        p.ldexp(n)
    }
}

/// e^x - 1 within 3 units in the last place.
#[inline(always)]
pub(crate) unsafe fn expm1<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        let near = horner(
            x,
            [1.0 / 362_880.0, 1.0 / 40_320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5],
        );
        let near = near.fma(x.mul(x), x);
        L::select(x.abs().lt(L::c(0.5)), near, exp(x).sub(L::c(1.0)))
    }
}

/// ln x within 1.5 units in the last place; -infinity at 0, NaN below.
#[inline(always)]
pub(crate) unsafe fn log<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        let tiny = x.lt(L::c(f64::from(f32::MIN_POSITIVE)));
        let scaled = L::select(tiny, x.mul(L::c(8_388_608.0)), x); // 2^23 makes denormals normal.
        let (m, e) = scaled.frexp();
        let e = L::select(tiny, e.sub(L::c(23.0)), e);
        // Mantissa from sqrt(1/2) to sqrt(2), less 1.
        let low = m.lt(L::c(std::f64::consts::FRAC_1_SQRT_2));
        let e = L::select(low, e.sub(L::c(1.0)), e);
        let f = L::select(low, m.add(m), m).sub(L::c(1.0));
        let z = f.mul(f);
        let p = horner(
            f,
            [
                7.037_683_629_2e-2,
                -1.151_461_031_0e-1,
                1.167_699_874_0e-1,
                -1.242_014_084_6e-1,
                1.424_932_278_7e-1,
                -1.666_805_766_5e-1,
                2.000_071_476_5e-1,
                -2.499_999_399_3e-1,
                3.333_333_117_4e-1,
            ],
        );
        let y = p.mul(f).mul(z);
        let y = e.fma(L::c(-2.121_944_40e-4), y);
        let y = z.fma(L::c(-0.5), y);
        let y = e.fma(L::c(0.693_359_375), f.add(y));
        // 0, negative numbers, infinity and NaN.
        let y = L::select(x.eq(L::c(0.0)), L::c(f64::NEG_INFINITY), y);
        let y = L::select(x.lt(L::c(0.0)), L::c(f64::NAN), y);
        let finite = x.lt(L::c(f64::INFINITY));
        L::select(finite, y, L::select(x.eq(x), x, L::c(f64::NAN)))
    }
}

/// ln(1 + x) within 3 units in the last place, by Kahan's correction of the rounded sum.
#[inline(always)]
pub(crate) unsafe fn log1p<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        let u = x.add(L::c(1.0));
        let d = u.sub(L::c(1.0));
        let y = log(u).mul(x.div(d));
        let y = L::select(u.eq(L::c(1.0)), x, y);
        // -1 gives -infinity and infinity itself, which the quotient would spoil.
        let y = L::select(x.eq(L::c(f64::INFINITY)), x, y);
        L::select(u.eq(L::c(0.0)), L::c(f64::NEG_INFINITY), y)
    }
}

/// tanh x within 3 units in the last place.
#[inline(always)]
pub(crate) unsafe fn tanh<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        let a = x.abs();
        let z = x.mul(x);
        let near = horner(
            z,
            [
                -5.704_988_727_45e-3,
                2.063_908_879_54e-2,
                -5.373_971_555_31e-2,
                1.333_144_220_36e-1,
                -3.333_328_194_22e-1,
            ],
        );
        let near = near.mul(z).fma(x, x);
        let far = L::c(1.0).sub(L::c(2.0).div(exp(a.add(a)).add(L::c(1.0))));
        let far = L::select(x.lt(L::c(0.0)), far.neg(), far);
        let y = L::select(a.lt(L::c(0.625)), near, far);
        L::select(x.eq(x), y, x)
    }
}

/// cos and sin of `turns` times 2 pi, for `turns` in [0, 1): within 1e-7, and near a zero in proportion to the distance
/// (polynomials after Cephes, sinf and cosf).
#[inline(always)]
pub(crate) unsafe fn cos_sin_turns<L: Lane32>(turns: L) -> (L, L) {
    // SAFETY: passed on.
    unsafe {
        // The nearest quarter, and the rest, which is exact.
        let quarter = turns.fma(L::c(4.0), L::c(0.5)).floor();
        let x = quarter.fma(L::c(-0.25), turns).mul(L::c(std::f64::consts::TAU));
        let square = x.mul(x);
        let p = horner(square, [-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1]);
        let sin = p.mul(square).fma(x, x);
        let p = horner(square, [2.443_315_711_809_948e-5, -1.388_731_625_493_765e-3, 4.166_664_568_298_827e-2]);
        let cos = p.mul(square).fma(square, square.fma(L::c(-0.5), L::c(1.0)));
        // A quarter of a turn makes (cos, sin) to (-sin, cos).
        let (one, two, three) = (quarter.eq(L::c(1.0)), quarter.eq(L::c(2.0)), quarter.eq(L::c(3.0)));
        let turned_cos = L::select(one, sin.neg(), L::select(two, cos.neg(), L::select(three, sin, cos)));
        let turned_sin = L::select(one, cos, L::select(two, sin.neg(), L::select(three, cos.neg(), sin)));
        (turned_cos, turned_sin)
    }
}

/// erf x within 2 units in the last place.
#[inline(always)]
pub(crate) unsafe fn erf<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        let (t, s) = (x.abs(), x.mul(x));
        let near = horner(
            s,
            [-5.967_617_03e-4, 4.991_194_23e-3, -2.676_813_49e-2, 1.128_199_25e-1, -3.761_253_36e-1, 1.283_791_66e-1],
        );
        let near = near.fma(x, x);
        // erf is 1 in f32 from 4 on.
        let t4 = L::select(L::c(4.0).lt(t), L::c(4.0), t);
        let far = horner(
            t4,
            [
                -1.728_534_70e-5,
                3.831_971_26e-4,
                -3.883_964_38e-3,
                2.425_462_19e-2,
                -1.067_778_77e-1,
                -6.348_466_87e-1,
                -1.287_175_12e-1,
            ],
        );
        let far = L::c(1.0).sub(exp(far.fma(t4, t4.neg())));
        let far = L::select(x.lt(L::c(0.0)), far.neg(), far);
        let y = L::select(t.lt(L::c(0.927_734_375)), near, far);
        L::select(x.eq(x), y, x)
    }
}

/// 1 / (1 + e^-x) within 3 units in the last place.
#[inline(always)]
pub(crate) unsafe fn sigmoid<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        // e^-|x| cannot overflow, so that the far tail keeps its denormals.
        let e = exp(x.abs().neg());
        let top = L::select(x.lt(L::c(0.0)), e, L::c(1.0));
        top.div(e.add(L::c(1.0)))
    }
}
