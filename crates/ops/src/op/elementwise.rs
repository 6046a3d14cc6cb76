//! The bodies of the elementwise ops, in table order. Known points are rounded from mpmath 1.3 at 50 digits; those with
//! infinities and NaN follow IEEE 754.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::map::elementwise;
use crate::{MapOnnx, Onnx, OnnxNode, OnnxRef};

#[cfg(feature = "spec")]
const INF: f64 = f64::INFINITY;
#[cfg(feature = "spec")]
const NAN: f64 = f64::NAN;

elementwise! {
    /// `x + y`.
    Add, "add", num, |x, y| x + y,
    onnx MapOnnx::Node("Add", 7), range -3.0..3.0, -3.0..3.0;
    at [(1.5, -4.0 => -2.5), (-3.0, 5.0 => 2.0), (INF, 1.0 => INF), (INF, -INF => NAN)]
}
elementwise! {
    /// `x - y`.
    Sub, "sub", num, |x, y| x - y,
    onnx MapOnnx::Node("Sub", 7), range -3.0..3.0, -3.0..3.0;
    at [(1.5, -4.0 => 5.5), (-3.0, 5.0 => -8.0), (INF, 1.0 => INF), (INF, INF => NAN)]
}
elementwise! {
    /// `x * y`.
    Mul, "mul", num, |x, y| x * y,
    onnx MapOnnx::Node("Mul", 7), range -3.0..3.0, -3.0..3.0;
    at [(1.5, -4.0 => -6.0), (-3.0, -5.0 => 15.0), (INF, -2.0 => -INF), (INF, 0.0 => NAN)]
}
elementwise! {
    /// `x / y`.
    Div, "div", real, |x, y| x / y,
    onnx MapOnnx::Node("Div", 7), range -3.0..3.0, 0.5..3.0; and -3.0..3.0, -3.0..-0.5;
    at [(1.5, -4.0 => -0.375), (1.0, 3.0 => 0.333_333_333_333_333_3), (1.0, 0.0 => INF), (-1.0, 0.0 => -INF), (0.0, 0.0 => NAN), (1.0, INF => 0.0)]
}
elementwise! {
    /// `floor(x / y)`.
    FloorDivide, "floor_divide", num zero, |x, y| x.floor_div(y),
    onnx MapOnnx::Rule(|cx| {
        if !cx.x[0].dtype.is_float() {
            return Onnx::None("ONNX's integer Div truncates and has no flooring form");
        }
        let div = OnnxNode::new("Div", vec![OnnxRef::In(0), OnnxRef::In(1)]);
        Onnx::Nodes(vec![div, OnnxNode::new("Floor", vec![OnnxRef::Node(0, 0)])])
    }),
    range 4.3..5.7, 2.0..2.05; and -5.7..-4.3, 2.0..2.05;
    at [(-7.0, 2.0 => -4.0), (7.0, -2.0 => -4.0), (7.0, 2.0 => 3.0), (-7.0, -2.0 => 3.0), (6.0, -2.0 => -3.0), (NAN, 1.0 => NAN)]
}
elementwise! {
    /// `x - floor(x / y) * y`.
    Remainder, "remainder", num zero, |x, y| x.remainder(y),
    onnx MapOnnx::Rule(|cx| {
        // Mod follows the divisor's sign only for integers (fmod = 0).
        if !cx.x[0].dtype.is_float() {
            return OnnxNode::new("Mod", vec![OnnxRef::In(0), OnnxRef::In(1)]).into();
        }
        Onnx::Nodes(vec![
            OnnxNode::new("Div", vec![OnnxRef::In(0), OnnxRef::In(1)]),
            OnnxNode::new("Floor", vec![OnnxRef::Node(0, 0)]),
            OnnxNode::new("Mul", vec![OnnxRef::Node(1, 0), OnnxRef::In(1)]),
            OnnxNode::new("Sub", vec![OnnxRef::In(0), OnnxRef::Node(2, 0)]),
        ])
    }),
    range 4.3..5.7, 2.0..2.05; and -5.7..-4.3, 2.0..2.05;
    at [(-7.0, 2.0 => 1.0), (7.0, -2.0 => -1.0), (7.0, 2.0 => 1.0), (-7.0, -2.0 => -1.0), (6.0, -2.0 => 0.0), (NAN, 1.0 => NAN)]
}
elementwise! {
    /// The larger of two.
    Maximum, "maximum", num, |x, y| S::select(x.lt(y), y, S::select(y.eq(y), x, y)),
    onnx MapOnnx::Node("Max", 13), range 0.2..3.0, -3.0..-0.2; and -3.0..-0.2, 0.2..3.0;
    at [(1.5, -4.0 => 1.5), (-2.0, 3.0 => 3.0), (NAN, 1.0 => NAN), (1.0, NAN => NAN), (-INF, 1.0 => 1.0), (INF, 1.0 => INF)]
}
elementwise! {
    /// The smaller of two.
    Minimum, "minimum", num, |x, y| S::select(y.lt(x), y, S::select(y.eq(y), x, y)),
    onnx MapOnnx::Node("Min", 13), range 0.2..3.0, -3.0..-0.2; and -3.0..-0.2, 0.2..3.0;
    at [(1.5, -4.0 => -4.0), (-2.0, 3.0 => -2.0), (NAN, 1.0 => NAN), (1.0, NAN => NAN), (-INF, 1.0 => -INF), (INF, 1.0 => 1.0)]
}
elementwise! {
    /// `-x`.
    Neg, "neg", num, |x| -x,
    onnx MapOnnx::Node("Neg", 13), range -3.0..3.0; at [(2.0 => -2.0), (-3.0 => 3.0), (INF => -INF), (NAN => NAN)]
}
elementwise! {
    /// Magnitude.
    Abs, "abs", num, |x| x.abs(),
    onnx MapOnnx::Node("Abs", 13), range 0.2..3.0; and -3.0..-0.2;
    at [(-2.0 => 2.0), (3.0 => 3.0), (0.0 => 0.0), (-INF => INF), (NAN => NAN)]
}
elementwise! {
    /// `x * x`.
    Square, "square", num, |x| x.square(),
    onnx MapOnnx::Rule(|_| OnnxNode::new("Mul", vec![OnnxRef::In(0), OnnxRef::In(0)]).into()),
    range -3.0..3.0; at [(-3.0 => 9.0), (1e-4 => 1e-8), (-INF => INF), (NAN => NAN)]
}
elementwise! {
    /// `max(x, 0)`; slope 0 at 0.
    Relu, "relu", num, |x| S::select(x.le(S::c(0.0)), S::c(0.0), x),
    onnx MapOnnx::Rule(|cx| {
        // ONNX's Relu lists integers only from opset 14 on.
        if cx.x[0].dtype.is_float() || cx.opset >= 14 { Onnx::node("Relu", cx) } else { Onnx::Compose }
    }),
    range 0.2..3.0; and -3.0..-0.2;
    at [(-2.0 => 0.0), (3.0 => 3.0), (0.0 => 0.0), (-INF => 0.0), (INF => INF), (NAN => NAN)]
}
elementwise! {
    /// Square root.
    Sqrt, "sqrt", real, |x| x.sqrt(),
    onnx MapOnnx::Node("Sqrt", 13), range 0.5..4.0;
    at [(2.0 => 1.414_213_562_373_095_1), (1e-8 => 1e-4), (1e10 => 1e5), (0.0 => 0.0), (INF => INF), (-1.0 => NAN), (NAN => NAN)]
}
elementwise! {
    /// `e^x`.
    Exp, "exp", real, |x| x.exp(),
    onnx MapOnnx::Node("Exp", 13), range -3.0..3.0;
    at [
        (1.0 => 2.718_281_828_459_045), (-2.0 => 0.135_335_283_236_612_7), (1e-4 => 1.000_100_005_000_166_7),
        (-20.0 => 2.061_153_622_438_558e-9), (80.0 => 5.540_622_384_393_51e34), (0.0 => 1.0), (-INF => 0.0),
        (INF => INF), (1000.0 => INF), (-1000.0 => 0.0), (NAN => NAN),
    ]
}
elementwise! {
    /// `e^x - 1`.
    Expm1, "expm1", real, |x| x.expm1(),
    onnx MapOnnx::Rule(|cx| Onnx::Nodes(vec![
        OnnxNode::new("Exp", vec![OnnxRef::In(0)]),
        OnnxNode::new("Sub", vec![OnnxRef::Node(0, 0), OnnxRef::Scalar(1.0, cx.x[0].dtype)]),
    ])),
    range -3.0..3.0;
    at [
        (1e-8 => 1.000_000_005e-8), (1.0 => 1.718_281_828_459_045_3), (-1e-4 => -9.999_500_016_666_251e-5),
        (-20.0 => -0.999_999_997_938_846_4), (20.0 => 485_165_194.409_790_3), (-INF => -1.0), (INF => INF), (NAN => NAN),
    ]
}
elementwise! {
    /// Natural logarithm.
    Log, "log", real, |x| x.log(),
    onnx MapOnnx::Node("Log", 13), range 0.3..4.0;
    at [
        (2.0 => 0.693_147_180_559_945_3), (10.0 => 2.302_585_092_994_046), (1e-8 => -18.420_680_743_952_367),
        (1.000_976_562_5 => 9.760_859_730_554_589e-4), (1e10 => 23.025_850_929_940_457), (1.0 => 0.0), (0.0 => -INF),
        (INF => INF), (-1.0 => NAN), (NAN => NAN),
    ]
}
elementwise! {
    /// `log(1 + x)`.
    Log1p, "log1p", real, |x| x.log1p(),
    onnx MapOnnx::Rule(|cx| Onnx::Nodes(vec![
        OnnxNode::new("Add", vec![OnnxRef::In(0), OnnxRef::Scalar(1.0, cx.x[0].dtype)]),
        OnnxNode::new("Log", vec![OnnxRef::Node(0, 0)]),
    ])),
    range -0.5..4.0;
    at [
        (1e-8 => 9.999_999_95e-9), (1.0 => 0.693_147_180_559_945_3), (-0.5 => -0.693_147_180_559_945_3),
        (-1e-4 => -1.000_050_003_333_583_4e-4), (1e10 => 23.025_850_930_040_455), (0.0 => 0.0), (-1.0 => -INF),
        (INF => INF), (-2.0 => NAN), (NAN => NAN),
    ]
}
elementwise! {
    /// Sine.
    Sin, "sin", real, |x| x.sin(),
    onnx MapOnnx::Node("Sin", 7), range -3.0..3.0;
    at [
        (1.0 => 0.841_470_984_807_896_5), (30.0 => -0.988_031_624_092_861_8), (1e-4 => 9.999_999_983_333_334e-5),
        (-2.5 => -0.598_472_144_103_956_5), (1000.0 => 0.826_879_540_532_002_5), (1e5 => 0.035_748_797_972_016_51),
        (INF => NAN), (NAN => NAN),
    ]
}
elementwise! {
    /// Cosine.
    Cos, "cos", real, |x| x.cos(),
    onnx MapOnnx::Node("Cos", 7), range -3.0..3.0;
    at [
        (1.0 => 0.540_302_305_868_139_8), (30.0 => 0.154_251_449_887_584_05), (1e-4 => 0.999_999_995),
        (-2.5 => -0.801_143_615_546_933_7), (1000.0 => 0.562_379_076_290_702_9), (1e5 => -0.999_360_807_438_212_4),
        (INF => NAN), (NAN => NAN),
    ]
}
elementwise! {
    /// Hyperbolic tangent.
    Tanh, "tanh", real, |x| x.tanh(),
    onnx MapOnnx::Node("Tanh", 13), range -3.0..3.0;
    at [
        (0.5 => 0.462_117_157_260_009_74), (1e-4 => 9.999_999_966_666_667e-5), (-1.0 => -0.761_594_155_955_764_9),
        (9.0 => 0.999_999_969_540_041), (20.0 => 1.0), (-INF => -1.0), (INF => 1.0), (NAN => NAN),
    ]
}
elementwise! {
    /// Error function.
    Erf, "erf", real, |x| x.erf(),
    onnx MapOnnx::Node("Erf", 13), range -3.0..3.0;
    at [
        (0.5 => 0.520_499_877_813_046_5), (-2.0 => -0.995_322_265_018_952_7), (1e-4 => 1.128_379_163_334_248_7e-4),
        (0.9 => 0.796_908_212_422_832_2), (1.5 => 0.966_105_146_475_310_8), (3.5 => 0.999_999_256_901_627_6),
        (6.0 => 1.0), (-INF => -1.0), (INF => 1.0), (NAN => NAN),
    ]
}
elementwise! {
    /// `1 / (1 + e^-x)`.
    Sigmoid, "sigmoid", real, |x| x.sigmoid(),
    onnx MapOnnx::Node("Sigmoid", 13), range -3.0..3.0;
    at [
        (1.0 => 0.731_058_578_630_004_9), (-20.0 => 2.061_153_618_190_203_7e-9), (-1.0 => 0.268_941_421_369_995_1),
        (20.0 => 0.999_999_997_938_846_4), (-INF => 0.0), (INF => 1.0), (NAN => NAN),
    ]
}
elementwise! {
    /// Rounded towards minus infinity; slope 0.
    Floor, "floor", real, |x| x.floor(),
    onnx MapOnnx::Node("Floor", 13), range 0.1..0.9; and -1.9..-1.1;
    at [(-1.5 => -2.0), (1.5 => 1.0), (-2.0 => -2.0), (1e10 => 1e10), (-INF => -INF), (NAN => NAN)]
}
elementwise! {
    /// `x * Phi(x)` (Hendrycks and Gimpel, arXiv 1606.08415).
    Gelu, "gelu", real, |x| x * 0.5 * ((x * FRAC_1_SQRT_2).erf() + 1.0),
    onnx MapOnnx::Node("Gelu", 20), range -3.0..3.0;
    at [
        (1.0 => 0.841_344_746_068_542_9), (-1.0 => -0.158_655_253_931_457_05), (0.5 => 0.345_731_230_637_006_56),
        (-3.0 => -0.004_049_694_094_890_283_5), (-8.0 => -4.976_768_459_417_427e-15), (1e-4 => 5.000_398_942_279_737e-5),
        (8.0 => 7.999_999_999_999_995), (INF => INF), (NAN => NAN),
    ]
}
elementwise! {
    /// The tanh approximation of gelu (ibid.): 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
    GeluTanh, "gelu_tanh", real,
    |x| x * 0.5 * (((x * x).mul_add(S::c(0.035_677_408_136_300_125), S::c(0.797_884_560_802_865_4)) * x).tanh() + 1.0),
    onnx MapOnnx::Rule(|cx| {
        if cx.opset < 20 {
            return Onnx::Compose;
        }
        OnnxNode::new("Gelu", vec![OnnxRef::In(0)]).attr("approximate", crate::OnnxAttr::Str("tanh")).into()
    }),
    range -3.0..3.0;
    at [
        (1.0 => 0.841_191_990_608_276_7), (-1.0 => -0.158_808_009_391_723_3), (0.5 => 0.345_714_009_825_143_94),
        (-3.0 => -0.003_637_392_081_773_019), (-8.0 => -3.107_782_937_501_111e-21), (1e-4 => 5.000_398_942_279_734e-5),
        (8.0 => 8.0), (INF => INF), (NAN => NAN),
    ]
}
elementwise! {
    /// `x * sigmoid(x)`.
    Silu, "silu", real, |x| x * x.sigmoid(),
    onnx MapOnnx::Primitives, range -3.0..3.0;
    at [
        (1.0 => 0.731_058_578_630_004_9), (-1.0 => -0.268_941_421_369_995_1), (-20.0 => -4.122_307_236_380_407e-8),
        (1e-4 => 5.000_249_999_999_792e-5), (20.0 => 19.999_999_958_776_93), (INF => INF), (NAN => NAN),
    ]
}
elementwise! {
    Softsign, "softsign", real, |x| x / (x.abs() + 1.0),
    onnx MapOnnx::Node("Softsign", 1), range 0.2..3.0; and -3.0..-0.2; at [(1.0 => 0.5), (-3.0 => -0.75), (0.0 => 0.0)]
}
elementwise! {
    /// -1, 0 or 1.
    Sign, "sign", num, |x| S::select(x.lt(S::c(0.0)), S::c(-1.0), S::select(S::c(0.0).lt(x), S::c(1.0), S::c(0.0))),
    onnx MapOnnx::Primitives, range 0.2..3.0; and -3.0..-0.2;
    at [(-2.5 => -1.0), (0.0 => 0.0), (7.0 => 1.0), (-INF => -1.0), (NAN => 0.0)]
}
elementwise! {
    /// The angle of the point `(x, y)`.
    Atan2, "atan2", real, |y, x| y.atan2(x),
    onnx MapOnnx::Rule(|_| Onnx::None("ONNX has no arctangent of two arguments")),
    range 0.3..3.0, -3.0..3.0; and -3.0..-0.3, -3.0..3.0;
    at [(1.0, -2.0 => 2.677_945_044_588_987), (0.0, 1.0 => 0.0), (0.0, 0.0 => 0.0), (1.0, 0.0 => 1.570_796_326_794_896_6), (NAN, 1.0 => NAN)]
}
elementwise! {
    /// `x^y`.
    FloatPower, "float_power", real, |x, y| x.pow(y),
    onnx MapOnnx::Node("Pow", 13), range 0.3..2.0, -2.0..2.0;
    at [
        (-8.0, 3.0 => -512.0), (2.0, -0.5 => 0.707_106_781_186_547_6), (1.5, 2.5 => 2.755_675_960_631_075_2), (0.0, 0.0 => 1.0),
        (-2.0, 0.5 => NAN), (0.0, -1.0 => INF), (NAN, 0.0 => 1.0),
    ]
}
