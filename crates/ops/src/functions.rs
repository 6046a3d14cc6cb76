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
            /// `x weight^T + bias` over the last dimension, `weight [out, in]`, `bias [out]`.
            Linear linear (input, weight | bias;) -> 1;
            /// Tensors of one shape along a new dimension.
            Stack stack [tensors; dim: i64 = 0] -> 1;
            /// The slices along a dimension, one tensor each.
            Unbind unbind (input; dim: i64 = 0) -> list;
        }
    };
}
