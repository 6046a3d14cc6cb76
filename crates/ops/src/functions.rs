//! The table's functions: rows that are nothing but other rows.

/// The functions. `$then` receives the rows: `Variant method (tensors | optional tensors; attributes) -> outputs;` with
/// `[list]` for one that takes any number of tensors and `-> list` for one that gives any number. Names, order and
/// defaults are PyTorch's; `as (..)` gives the order of positional arguments where attributes stand between tensors.
#[macro_export]
macro_rules! function_rows {
    ($then:path $(, $($pass:tt)*)?) => {
        $then! {
            $($($pass)*)?
            /// Running mean along one dimension.
            Cummean cummean (input; dim: i64) -> 1;
            /// `x` where positive, else `negative_slope * x`.
            LeakyRelu leaky_relu (input; negative_slope: F64Bits = 0.01) -> 1;
            // Arithmetic
            /// `1 / x`.
            Reciprocal reciprocal (input;) -> 1;
            /// `1 / sqrt(x)`.
            Rsqrt rsqrt (input;) -> 1;
            /// `input^other`; integers keep their type.
            Pow pow (input, exponent;) -> 1;
            /// The remainder of division with the dividend's sign.
            Fmod fmod (input, other;) -> 1;
            /// `input + weight * (end - input)`.
            Lerp lerp (input, end, weight;) -> 1;
            /// `input + value * tensor1 * tensor2`.
            Addcmul addcmul (input, tensor1, tensor2; value: F64Bits = 1.0) -> 1;
            /// `input + value * tensor1 / tensor2`.
            Addcdiv addcdiv (input, tensor1, tensor2; value: F64Bits = 1.0) -> 1;
            /// Elements below `min` or above `max` moved there.
            Clamp clamp (input; min: Opt<F64Bits> = (), max: Opt<F64Bits> = ()) -> 1;
            /// NaN and infinities replaced; infinities by the dtype's ends unless given.
            NanToNum nan_to_num (input; nan: F64Bits = 0.0, posinf: Opt<F64Bits> = (), neginf: Opt<F64Bits> = ()) -> 1;
            // Transcendental
            /// `2^x`.
            Exp2 exp2 (input;) -> 1;
            /// Logarithm to base 2.
            Log2 log2 (input;) -> 1;
            /// Logarithm to base 10.
            Log10 log10 (input;) -> 1;
            /// `log(e^x + e^y)` without overflow.
            Logaddexp logaddexp (input, other;) -> 1;
            /// Tangent.
            Tan tan (input;) -> 1;
            /// Inverse sine.
            Asin asin (input;) -> 1;
            /// Inverse cosine.
            Acos acos (input;) -> 1;
            /// Inverse tangent.
            Atan atan (input;) -> 1;
            /// Hyperbolic sine.
            Sinh sinh (input;) -> 1;
            /// Hyperbolic cosine.
            Cosh cosh (input;) -> 1;
            /// Inverse hyperbolic sine.
            Asinh asinh (input;) -> 1;
            /// Inverse hyperbolic cosine.
            Acosh acosh (input;) -> 1;
            /// Inverse hyperbolic tangent.
            Atanh atanh (input;) -> 1;
            // Rounding
            /// Rounded towards plus infinity.
            Ceil ceil (input;) -> 1;
            /// Rounded towards 0.
            Trunc trunc (input;) -> 1;
            /// Rounded to so many decimals, halves to even.
            Round round (input; decimals: i64 = 0) -> 1;
            // Logic
            /// Bits turned over; of bools, the opposite.
            BitwiseNot bitwise_not (input;) -> 1;
            /// Whether each element is NaN.
            Isnan isnan (input;) -> 1;
            /// Whether each element is infinite.
            Isinf isinf (input;) -> 1;
            /// Whether each element is neither infinite nor NaN.
            Isfinite isfinite (input;) -> 1;
            /// Whether each element is 0.
            LogicalNot logical_not (input;) -> 1;
            /// Whether both elements are other than 0.
            LogicalAnd logical_and (input, other;) -> 1;
            /// Whether one or both elements are other than 0.
            LogicalOr logical_or (input, other;) -> 1;
            /// Whether exactly one element is other than 0.
            LogicalXor logical_xor (input, other;) -> 1;
            /// Whether `|input - other| <= atol + rtol * |other|`, or both are the same infinity (or NaN, if asked).
            Isclose isclose (input, other; rtol: F64Bits = 1e-5, atol: F64Bits = 1e-8, equal_nan: bool = false) -> 1;
            /// Whether all elements are close, see `isclose`.
            Allclose allclose (input, other; rtol: F64Bits = 1e-5, atol: F64Bits = 1e-8, equal_nan: bool = false) -> 1;
            /// Whether shapes and all elements are equal.
            Equal equal (input, other;) -> 1;
            /// Elements where the mask holds replaced by a value.
            MaskedFill masked_fill (input, mask; value: F64Bits) -> 1;
            // Activations
            /// `min(max(x, 0), 6)`.
            Relu6 relu6 (input;) -> 1;
            /// `x` where positive, else `alpha * (e^x - 1)`.
            Elu elu (input; alpha: F64Bits = 1.0) -> 1;
            /// The self-normalising unit: `elu` with fixed scales.
            Selu selu (input;) -> 1;
            /// `max(x, 0) + min(0, alpha * (e^(x / alpha) - 1))`.
            Celu celu (input; alpha: F64Bits = 1.0) -> 1;
            /// `x` where positive, else `weight * x`; one weight, or one for each channel (dimension 1).
            Prelu prelu (input, weight;) -> 1;
            /// `log(1 + e^(beta x)) / beta`, and `x` itself above `threshold / beta`.
            Softplus softplus (input; beta: F64Bits = 1.0, threshold: F64Bits = 20.0) -> 1;
            /// `log(sigmoid(x))`.
            Logsigmoid logsigmoid (input;) -> 1;
            /// `x * tanh(softplus(x))`.
            Mish mish (input;) -> 1;
            /// `x * relu6(x + 3) / 6`.
            Hardswish hardswish (input;) -> 1;
            /// `relu6(x + 3) / 6`.
            Hardsigmoid hardsigmoid (input;) -> 1;
            /// `x` between two ends.
            Hardtanh hardtanh (input; min_val: F64Bits = -1.0, max_val: F64Bits = 1.0) -> 1;
            /// `x` where further from 0 than `lambd`, else 0.
            Hardshrink hardshrink (input; lambd: F64Bits = 0.5) -> 1;
            /// `x` moved towards 0 by `lambd`, 0 where nearer.
            Softshrink softshrink (input; lambd: F64Bits = 0.5) -> 1;
            /// `x` where above `threshold`, else `value`.
            Threshold threshold (input; threshold: F64Bits, value: F64Bits) -> 1;
            /// `x - tanh(x)`.
            Tanhshrink tanhshrink (input;) -> 1;
            /// The first half along a dimension times the sigmoid of the second.
            Glu glu (input; dim: i64 = -1) -> 1;
            // Nets
            /// `x weight^T + bias` over the last dimension, `weight [out, in]`, `bias [out]`.
            Linear linear (input, weight | bias;) -> 1;
            /// Tensors of one shape along a new dimension.
            Stack stack [tensors; dim: i64 = 0] -> 1;
            /// The slices along a dimension, one tensor each.
            Unbind unbind (input; dim: i64 = 0) -> list;
        }
    };
}
