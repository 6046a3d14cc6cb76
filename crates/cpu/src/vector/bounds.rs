//! How near the f32 functions come to the exact values.

use esker_ops::MapOp;

/// The greatest distance of each f32 function from the exact value, in units in the last place of the result (in the
/// smallest denormal, where that is more). Tests hold every f32 against it; half types round such a result once more. The
/// other elementwise functions are made of these.
pub const F32_BOUNDS: [(MapOp, f64); 10] = [
    (MapOp::Exp, 1.0),
    (MapOp::Expm1, 2.0),
    (MapOp::Log, 1.0),
    (MapOp::Log1p, 3.0),
    (MapOp::Tanh, 2.0),
    (MapOp::Erf, 1.5),
    (MapOp::Sigmoid, 3.0),
    (MapOp::Sqrt, 0.5),
    (MapOp::Sin, 0.51),
    (MapOp::Cos, 0.51),
];
