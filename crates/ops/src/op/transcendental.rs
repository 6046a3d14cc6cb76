//! Logarithms, powers of two, and the trigonometric functions beyond sine and cosine.

use std::f64::consts::{LN_2, LN_10};

use super::{function, scalar_like};
use crate::{Onnx, Ops};

function! { Exp2 |_op, x| scalar_like(x, 2.0)?.float_power(x)? }

function! { Log2 |_op, x| x.log()?.div(&scalar_like(x, LN_2)?)? }

function! { Log10 |_op, x| x.log()?.div(&scalar_like(x, LN_10)?)? }

function! { Logaddexp |_op, x, y| {
    let first = x.ge(y)?;
    let (high, low) = (first.where_cond(x, y)?, first.where_cond(y, x)?);
    // The larger is taken out as a constant, so that the slopes are right where both are equal. Infinities stay in.
    let zero = scalar_like(&high, 0.0)?;
    let top = high.isfinite()?.where_cond(&high, &zero)?.stop_gradient()?;
    top.add(&high.sub(&top)?.expm1()?.add(&low.sub(&top)?.exp()?)?.log1p()?)?
} }

function! { Tan |_op, x| x.sin()?.div(&x.cos()?)?, onnx |_, cx| Some(Onnx::node("Tan", cx)) }

function! { Asin |_op, x| {
    let one = scalar_like(x, 1.0)?;
    x.atan2(&one.sub(x)?.mul(&one.add(x)?)?.sqrt()?)?
}, onnx |_, cx| Some(Onnx::node("Asin", cx)) }

function! { Acos |_op, x| {
    let one = scalar_like(x, 1.0)?;
    one.sub(x)?.mul(&one.add(x)?)?.sqrt()?.atan2(x)?
}, onnx |_, cx| Some(Onnx::node("Acos", cx)) }

function! { Atan |_op, x| x.atan2(&scalar_like(x, 1.0)?)?, onnx |_, cx| Some(Onnx::node("Atan", cx)) }

function! { Sinh |_op, x| x.expm1()?.sub(&x.neg()?.expm1()?)?.mul(&scalar_like(x, 0.5)?)? }

function! { Cosh |_op, x| x.exp()?.add(&x.neg()?.exp()?)?.mul(&scalar_like(x, 0.5)?)? }

function! { Asinh |_op, x| {
    // log1p(a + a^2 / (1 + sqrt(a^2 + 1))) keeps small arguments; a^2 overflows only where log(2 a) is exact.
    // The magnitude by a choice, whose slope at 0 is 1 where that of |x| is 0.
    let negative = x.lt(&scalar_like(x, 0.0)?)?;
    let (one, a) = (scalar_like(x, 1.0)?, negative.where_cond(&x.neg()?, x)?);
    let far = a.gt(&scalar_like(x, 1e8)?)?;
    let near = far.where_cond(&one, &a)?;
    let square = near.square()?;
    let small = near.add(&square.div(&one.add(&square.add(&one)?.sqrt()?)?)?)?.log1p()?;
    let large = far.where_cond(&a, &one)?.log()?.add(&scalar_like(x, LN_2)?)?;
    let magnitude = far.where_cond(&large, &small)?;
    negative.where_cond(&magnitude.neg()?, &magnitude)?
} }

function! { Acosh |_op, x| {
    let one = scalar_like(x, 1.0)?;
    let above = x.sub(&one)?;
    above.add(&above.sqrt()?.mul(&x.add(&one)?.sqrt()?)?)?.log1p()?
} }

function! { Atanh |_op, x| x.log1p()?.sub(&x.neg()?.log1p()?)?.mul(&scalar_like(x, 0.5)?)? }

#[cfg(feature = "spec")]
mod spec {
    use super::super::pointwise;
    use crate::op::*;

    const INF: f64 = f64::INFINITY;

    pointwise! { Exp2 |_op, x| x.exp2(); Exp2 {} => [[-3.0..3.0]] "exact" [(10.0 => 1024.0), (-INF => 0.0), (0.5 => 1.414_213_562_373_095_1)]; }
    pointwise! { Log2 |_op, x| x.log2(); Log2 {} => [[0.3..4.0]] "exact" [(8.0 => 3.0), (0.0 => -INF), (10.0 => 3.321_928_094_887_362)]; }
    pointwise! { Log10 |_op, x| x.log10(); Log10 {} => [[0.3..4.0]] "exact" [(1000.0 => 3.0), (2.0 => 0.301_029_995_663_981_2)]; }
    pointwise! {
        Logaddexp |_op, x, y| if x == y { x + std::f64::consts::LN_2 } else { x.max(y) + (-(x - y).abs()).exp().ln_1p() };
        Logaddexp {} => [[0.5..2.0, -2.0..0.0], [-2.0..0.0, 0.5..2.0]] "Python 3.11's math"
            [(1.0, 2.0 => 2.313_261_687_518_222_6), (-INF, -INF => -INF), (1e30, 0.0 => 1e30), (3.0, 3.0 => 3.693_147_180_559_945_3)];
    }
    pointwise! { Tan |_op, x| x.tan(); Tan {} => [[-1.2..1.2]] "Python 3.11's math" [(1.0 => 1.557_407_724_654_902_3), (0.0 => 0.0)]; }
    pointwise! {
        Asin |_op, x| x.asin();
        Asin {} => [[-0.9..0.9]] "Python 3.11's math" [(0.5 => 0.523_598_775_598_298_9), (1.0 => 1.570_796_326_794_896_6), (2.0 => f64::NAN)];
    }
    pointwise! {
        Acos |_op, x| x.acos();
        Acos {} => [[-0.9..0.9]] "Python 3.11's math" [(0.5 => 1.047_197_551_196_597_9), (1.0 => 0.0), (-1.0 => 3.141_592_653_589_793)];
    }
    pointwise! {
        Atan |_op, x| x.atan();
        Atan {} => [[-3.0..3.0]] "Python 3.11's math" [(1.0 => 0.785_398_163_397_448_3), (-INF => -1.570_796_326_794_896_6)];
    }
    pointwise! { Sinh |_op, x| x.sinh(); Sinh {} => [[-3.0..3.0]] "Python 3.11's math" [(1.0 => 1.175_201_193_643_801_4), (1e-6 => 1.000_000_000_000_166_7e-6)]; }
    pointwise! { Cosh |_op, x| x.cosh(); Cosh {} => [[-3.0..3.0]] "Python 3.11's math" [(1.0 => 1.543_080_634_815_243_7), (0.0 => 1.0)]; }
    pointwise! {
        Asinh |_op, x| x.asinh();
        Asinh {} => [[0.2..3.0], [-3.0..-0.2]] "Python 3.11's math" [(1.0 => 0.881_373_587_019_543), (-1e30 => -69.770_699_970_381_32), (0.0 => 0.0)];
    }
    pointwise! { Acosh |_op, x| x.acosh(); Acosh {} => [[1.3..4.0]] "Python 3.11's math" [(2.0 => 1.316_957_896_924_816_6), (1.0 => 0.0)]; }
    pointwise! { Atanh |_op, x| x.atanh(); Atanh {} => [[-0.8..0.8]] "Python 3.11's math" [(0.5 => 0.549_306_144_334_054_8), (1.0 => INF)]; }
}
