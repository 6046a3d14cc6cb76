//! The f32 functions, written once over [`Lane32`]: the same operations and so the same bits on every instruction set.
//!
//! How near they come stands in [`super::F32_BOUNDS`]. Forms and coefficients: exp by Cody and
//! Waite's reduction with a polynomial, erf by sixteen polynomials about accurate centres (S. Gal), both fitted by
//! `crates/cpu/coefficients.py`; log, tanh after Cephes (S. Moshier, logf, tanhf).

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

/// e^x.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        // Beyond these the result is 0 or infinity anyway; NaN stays.
        let x = x.at_least(L::c(-105.0)).at_most(L::c(105.0));
        let n = x.fma(L::c(std::f64::consts::LOG2_E), L::c(MAGIC)).sub(L::c(MAGIC));
        // ln 2 in two parts, the first with zeros behind, so that n times it is exact.
        let r = n.fma(L::c(-0.693_359_375), x);
        let r = n.fma(L::c(2.121_944_400_546_905_8e-4), r);
        let p = [1.382_102_4e-3, 8.368_669e-3, 4.166_826_2e-2, 1.666_652_1e-1, 4.999_999_4e-1, 1.0, 1.0];
        horner(r, p).ldexp(n)
    }
}

/// e^x - 1.
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

/// ln x; -infinity at 0, NaN below.
#[inline(always)]
pub(crate) unsafe fn log<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        let tiny = x.lt(L::c(f64::from(f32::MIN_POSITIVE)));
        let scaled = L::select(tiny, x.mul(L::c(8_388_608.0)), x); // 2^23 makes denormals normal.
        let y = log_of(scaled, L::select(tiny, L::c(-23.0), L::c(0.0)));
        // 0, negative numbers, infinity and NaN.
        let y = L::select(x.eq(L::c(0.0)), L::c(f64::NEG_INFINITY), y);
        let y = L::select(x.lt(L::c(0.0)), L::c(f64::NAN), y);
        let finite = x.lt(L::c(f64::INFINITY));
        L::select(finite, y, L::select(x.eq(x), x, L::c(f64::NAN)))
    }
}

/// ln(x 2^n) of a positive, normal, finite x and a whole n.
#[inline(always)]
pub(crate) unsafe fn log_of<L: Lane32>(x: L, n: L) -> L {
    // SAFETY: passed on.
    unsafe {
        let (m, e) = x.frexp();
        let e = e.add(n);
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
        e.fma(L::c(0.693_359_375), f.add(y))
    }
}

/// ln(1 + x), by Kahan's correction of the rounded sum.
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

/// tanh x.
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

/// The error function about sixteen centres, a column each: the centre, and the coefficients of a polynomial in the
/// distance from it, lowest first. Centres lie near multiples of 16/63, where erf is almost an f32. The first is 0, and x
/// itself is left out of its polynomial, so that what is left is small and its rounding too.
#[rustfmt::skip]
const ERF: [[f32; 16]; 7] = [
    [
        0.0, 0.253_965_97, 0.507_966_2, 0.761_893_9, 1.015_864_3, 1.269_907_1, 1.523_819_3, 1.777_754_1, 2.031_741_1,
        2.285_680_3, 2.539_674_8, 2.793_609_6, 3.047_571_7, 3.301_23, 3.555_913, 3.809_881_2,
    ],
    [
        0.0, 0.280_526_2, 0.527_472_5, 0.718_734_44, 0.849_182_25, 0.927_492_74, 0.968_838_63, 0.988_067_15,
        0.995_938_1, 0.998_772_6, 0.999_671_4, 0.999_922_1, 0.999_983_67, 0.999_996_96, 0.999_999_5, 0.999_999_94,
    ],
    [
        0.128_379_17, 1.057_897_7, 0.871_754_65, 0.631_473, 0.402_042_33, 0.224_948_94, 0.110_665_5, 0.047_852_717,
        0.018_184_425, 0.006_075_128, 0.001_783_521_6, 0.000_460_373_88, 0.000_104_438_644, 2.086_709_7e-5,
        3.639_243e-6, 5.605_197_7e-7,
    ],
    [
        0.0, -0.268_665_52, -0.442_816_47, -0.481_112_7, -0.408_421, -0.285_666_64, -0.168_636_29, -0.085_071_236,
        -0.036_945_99, -0.013_885_444, -0.004_529_276_4, -0.001_285_924_7, -0.000_318_179_63, -6.500_675e-5,
        -2.106_614_4e-5, -8.147_589e-6,
    ],
    [
        -0.376_123_13, -0.307_166_37, -0.140_661_82, 0.033_874_97, 0.142_580_39, 0.166_860_46, 0.134_425_13,
        0.084_873_594, 0.043_981_925, 0.019_134_093, 0.007_074_402_6, 0.002_241_619_6, 0.000_611_831,
        0.000_144_465_77, 2.909_754e-5, 2.467_020_5e-6,
    ],
    [
        0.0, 0.127_649_6, 0.182_224_5, 0.146_903, 0.063_848_436, -0.010_244_214, -0.045_793_22, -0.046_908_94,
        -0.032_370_992, -0.017_307_278, -0.007_532_456, -0.002_736_339_8, -0.000_842_294_6, -0.000_459_017_26,
        0.000_453_190_33, 0.000_384_397_28,
    ],
    [
        0.112_223_29, 0.079_875_81, 0.006_752_593, -0.054_476_775, -0.068_171_486, -0.044_507_943, -0.012_327_876,
        0.007_835_323, 0.013_047_295, 0.010_006_648_5, 0.005_488_812, 0.002_366_349_6, 0.000_829_527_9,
        0.000_265_830_46, 0.000_105_250_04, 0.000_374_551_98,
    ],
];

/// erf x.
#[inline(always)]
pub(crate) unsafe fn erf<L: Lane32>(x: L) -> L {
    // SAFETY: passed on.
    unsafe {
        // erf is 1 in f32 from 3.93 on; NaN stays.
        let t = x.abs().at_most(L::c(3.93));
        // The number of the nearest centre, in the low bits.
        let at = t.fma(L::c(63.0 / 16.0), L::c(MAGIC));
        let d = t.sub(at.pick(&ERF[0]));
        let mut y = at.pick(&ERF[6]);
        for k in (2..6).rev() {
            y = y.fma(d, at.pick(&ERF[k]));
        }
        let first = L::select(at.eq(L::c(MAGIC)), t, at.pick(&ERF[1]));
        y.fma(d, first).with_sign_of(x)
    }
}

/// 1 / (1 + e^-x).
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
