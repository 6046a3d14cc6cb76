//! The bodies of the elementwise ops, in table order. Known points are rounded from mpmath at 50 digits.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::map::elementwise;
use crate::{MapOnnx, Onnx, OnnxNode, OnnxRef};

elementwise! {
    /// `x + y`.
    Add, "add", num, |x, y| x + y,
    onnx MapOnnx::Node("Add", 7), range -3.0..3.0, -3.0..3.0; at [(1.5, -4.0 => -2.5)]
}
elementwise! {
    /// `x - y`.
    Sub, "sub", num, |x, y| x - y,
    onnx MapOnnx::Node("Sub", 7), range -3.0..3.0, -3.0..3.0; at [(1.5, -4.0 => 5.5)]
}
elementwise! {
    /// `x * y`.
    Mul, "mul", num, |x, y| x * y,
    onnx MapOnnx::Node("Mul", 7), range -3.0..3.0, -3.0..3.0; at [(1.5, -4.0 => -6.0)]
}
elementwise! {
    /// `x / y`.
    Div, "div", real, |x, y| x / y,
    onnx MapOnnx::Node("Div", 7), range -3.0..3.0, 0.5..3.0; at [(1.5, -4.0 => -0.375)]
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
    range 0.5..9.5, 2.0..3.0; at [(-7.0, 2.0 => -4.0), (7.0, -2.0 => -4.0)]
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
    range 4.1..5.9, 2.0..2.05; at [(-7.0, 2.0 => 1.0), (7.0, -2.0 => -1.0), (7.0, 2.0 => 1.0)]
}
elementwise! {
    /// The larger of two.
    Maximum, "maximum", num, |x, y| S::select(x.lt(y), y, S::select(y.eq(y), x, y)),
    onnx MapOnnx::Node("Max", 13), range -3.0..3.0, -3.0..3.0; at [(1.5, -4.0 => 1.5), (-2.0, 3.0 => 3.0)]
}
elementwise! {
    /// The smaller of two.
    Minimum, "minimum", num, |x, y| S::select(y.lt(x), y, S::select(y.eq(y), x, y)),
    onnx MapOnnx::Node("Min", 13), range -3.0..3.0, -3.0..3.0; at [(1.5, -4.0 => -4.0), (-2.0, 3.0 => -2.0)]
}
elementwise! {
    /// `-x`.
    Neg, "neg", num, |x| -x,
    onnx MapOnnx::Node("Neg", 13), range -3.0..3.0; at [(2.0 => -2.0)]
}
elementwise! {
    /// Magnitude.
    Abs, "abs", num, |x| x.abs(),
    onnx MapOnnx::Node("Abs", 13), range 0.2..3.0; at [(-2.0 => 2.0), (3.0 => 3.0)]
}
elementwise! {
    /// `x * x`.
    Square, "square", num, |x| x.square(),
    onnx MapOnnx::Rule(|_| OnnxNode::new("Mul", vec![OnnxRef::In(0), OnnxRef::In(0)]).into()),
    range -3.0..3.0; at [(-3.0 => 9.0)]
}
elementwise! {
    /// `max(x, 0)`; slope 0 at 0.
    Relu, "relu", num, |x| S::select(x.le(S::c(0.0)), S::c(0.0), x),
    onnx MapOnnx::Rule(|cx| {
        // ONNX's Relu lists integers only from opset 14 on.
        if cx.x[0].dtype.is_float() || cx.opset >= 14 { Onnx::node("Relu", cx) } else { Onnx::Compose }
    }),
    range 0.2..3.0; at [(-2.0 => 0.0), (3.0 => 3.0)]
}
elementwise! {
    /// Square root.
    Sqrt, "sqrt", real, |x| x.sqrt(),
    onnx MapOnnx::Node("Sqrt", 13), range 0.5..4.0; at [(2.0 => 1.414_213_562_373_095)]
}
elementwise! {
    /// `e^x`.
    Exp, "exp", real, |x| x.exp(),
    onnx MapOnnx::Node("Exp", 13), range -3.0..3.0; at [(1.0 => 2.718_281_828_459_045), (-2.0 => 0.135_335_283_236_612_7)]
}
elementwise! {
    /// `e^x - 1`.
    Expm1, "expm1", real, |x| x.expm1(),
    onnx MapOnnx::Rule(|cx| Onnx::Nodes(vec![
        OnnxNode::new("Exp", vec![OnnxRef::In(0)]),
        OnnxNode::new("Sub", vec![OnnxRef::Node(0, 0), OnnxRef::Scalar(1.0, cx.x[0].dtype)]),
    ])),
    range -3.0..3.0; at [(1e-8 => 1.000_000_005e-8), (1.0 => 1.718_281_828_459_045)]
}
elementwise! {
    /// Natural logarithm.
    Log, "log", real, |x| x.log(),
    onnx MapOnnx::Node("Log", 13), range 0.3..4.0; at [(2.0 => 0.693_147_180_559_945_3), (10.0 => 2.302_585_092_994_046)]
}
elementwise! {
    /// `log(1 + x)`.
    Log1p, "log1p", real, |x| x.log1p(),
    onnx MapOnnx::Rule(|cx| Onnx::Nodes(vec![
        OnnxNode::new("Add", vec![OnnxRef::In(0), OnnxRef::Scalar(1.0, cx.x[0].dtype)]),
        OnnxNode::new("Log", vec![OnnxRef::Node(0, 0)]),
    ])),
    range -0.5..4.0; at [(1e-8 => 9.999_999_95e-9), (1.0 => 0.693_147_180_559_945_3)]
}
elementwise! {
    /// Sine.
    Sin, "sin", real, |x| x.sin(),
    onnx MapOnnx::Node("Sin", 7), range -3.0..3.0; at [(1.0 => 0.841_470_984_807_896_5), (30.0 => -0.988_031_624_092_861_8)]
}
elementwise! {
    /// Cosine.
    Cos, "cos", real, |x| x.cos(),
    onnx MapOnnx::Node("Cos", 7), range -3.0..3.0; at [(1.0 => 0.540_302_305_868_139_7), (30.0 => 0.154_251_449_887_584_05)]
}
elementwise! {
    /// Hyperbolic tangent.
    Tanh, "tanh", real, |x| x.tanh(),
    onnx MapOnnx::Node("Tanh", 13), range -3.0..3.0; at [(0.5 => 0.462_117_157_260_009_8), (1e-4 => 9.999_999_966_666_667e-5)]
}
elementwise! {
    /// Error function.
    Erf, "erf", real, |x| x.erf(),
    onnx MapOnnx::Node("Erf", 13), range -3.0..3.0; at [(0.5 => 0.520_499_877_813_046_5), (-2.0 => -0.995_322_265_018_952_7)]
}
elementwise! {
    /// `1 / (1 + e^-x)`.
    Sigmoid, "sigmoid", real, |x| x.sigmoid(),
    onnx MapOnnx::Node("Sigmoid", 13), range -3.0..3.0; at [(1.0 => 0.731_058_578_630_004_9), (-20.0 => 2.061_153_618_190_204e-9)]
}
elementwise! {
    /// Rounded towards minus infinity; slope 0.
    Floor, "floor", real, |x| x.floor(),
    onnx MapOnnx::Node("Floor", 13), range 0.1..0.9; at [(-1.5 => -2.0), (1.5 => 1.0)]
}
elementwise! {
    /// `x * Phi(x)` (Hendrycks and Gimpel, arXiv 1606.08415).
    Gelu, "gelu", real, |x| x * 0.5 * ((x * FRAC_1_SQRT_2).erf() + 1.0),
    onnx MapOnnx::Node("Gelu", 20), range -3.0..3.0;
    at [(1.0 => 0.841_344_746_068_542_9), (-1.0 => -0.158_655_253_931_457_05)]
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
    range -3.0..3.0; at [(1.0 => 0.841_191_990_608_276_3), (-1.0 => -0.158_808_009_391_723_74)]
}
elementwise! {
    /// `x * sigmoid(x)`.
    Silu, "silu", real, |x| x * x.sigmoid(),
    onnx MapOnnx::Primitives, range -3.0..3.0; at [(1.0 => 0.731_058_578_630_004_9)]
}
