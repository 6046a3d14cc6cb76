//! The op table. One row makes an op known everywhere: its variant of [`Op`], its Rust method on every [`Value`], its
//! samples, its documentation line, its benchmark entry; elementwise rows also make the kernels of a backend.

/// The elementwise ops. `$then` receives the rows: `Variant method kind (inputs);` where the variant is both the name
/// of the function's type and of the [`MapOp`](crate::MapOp); `num` functions have integer kernels, `real` ones not.
#[macro_export]
macro_rules! map_rows {
    ($then:path $(, $($pass:tt)*)?) => {
        $then! {
            $($($pass)*)?
            /// `x + y`.
            Add add num (x, y);
            /// `x - y`.
            Sub sub num (x, y);
            /// `x * y`.
            Mul mul num (x, y);
            /// `x / y`; integers become f32.
            Div div real (x, y);
            /// `floor(x / y)`.
            FloorDivide floor_divide num (x, y);
            /// `x - floor(x / y) * y`: the remainder with the divisor's sign.
            Remainder remainder num (x, y);
            /// The larger of two, NaN if either is NaN.
            Maximum maximum num (x, y);
            /// The smaller of two, NaN if either is NaN.
            Minimum minimum num (x, y);
            /// `-x`.
            Neg neg num (x);
            /// Magnitude.
            Abs abs num (x);
            /// `x * x`.
            Square square num (x);
            /// `max(x, 0)`, keeping NaN.
            Relu relu num (x);
            /// Square root.
            Sqrt sqrt real (x);
            /// `e^x`.
            Exp exp real (x);
            /// `e^x - 1`, accurate near 0.
            Expm1 expm1 real (x);
            /// Natural logarithm.
            Log log real (x);
            /// `log(1 + x)`, accurate near 0.
            Log1p log1p real (x);
            /// Sine.
            Sin sin real (x);
            /// Cosine.
            Cos cos real (x);
            /// Hyperbolic tangent.
            Tanh tanh real (x);
            /// Error function.
            Erf erf real (x);
            /// `1 / (1 + e^-x)`.
            Sigmoid sigmoid real (x);
            /// Rounded towards minus infinity.
            Floor floor real (x);
            /// `x * Phi(x)`, the exact form.
            Gelu gelu real (x);
            /// The tanh approximation of gelu.
            GeluTanh gelu_tanh real (x);
            /// `x * sigmoid(x)`.
            Silu silu real (x);
            /// `x / (1 + |x|)`.
            Softsign softsign real (x);
            /// -1, 0 or 1; slope 0.
            Sign sign num (x);
            /// The angle of the point `(other, input)`, in radians.
            Atan2 atan2 real (y, x);
            /// `x^y` in floating point.
            FloatPower float_power real (x, y);
        }
    };
}

/// All other ops. `$then` receives the rows: `Variant method (inputs; attributes) -> outputs;`, with `[list]` for an op
/// that takes any number of inputs. The row also defines the op's struct; its rules are in `op/`. `as internal` marks what
/// is no function of its own for users; else see `function_rows` for names, defaults and `as`.
#[macro_export]
macro_rules! op_rows {
    ($then:path $(, $($pass:tt)*)?) => {
        $then! {
            $($($pass)*)?
            /// Incoming gradient times the derivative of an elementwise op by one input: `(x.., dy)`.
            MapGrad map_grad [xs; op: MapOp, wrt: u8] -> 1 as internal;
            /// Elements where the condition holds from the second input, else from the third.
            Where where_cond (condition, input, other;) -> 1;
            /// `x == y`.
            Eq eq (input, other;) -> 1;
            /// `x != y`.
            Ne ne (input, other;) -> 1;
            /// `x < y`.
            Lt lt (input, other;) -> 1;
            /// `x <= y`.
            Le le (input, other;) -> 1;
            /// `x > y`.
            Gt gt (input, other;) -> 1;
            /// `x >= y`.
            Ge ge (input, other;) -> 1;
            /// Bits that both have; of bools, whether both hold.
            BitwiseAnd bitwise_and (input, other;) -> 1;
            /// Bits that either has; of bools, whether either holds.
            BitwiseOr bitwise_or (input, other;) -> 1;
            /// Bits that one of the two has; of bools, whether they differ.
            BitwiseXor bitwise_xor (input, other;) -> 1;
            /// Bits moved up by `other` places, 0 beyond the width.
            BitwiseLeftShift bitwise_left_shift (input, other;) -> 1;
            /// Bits moved down by `other` places; the sign stays.
            BitwiseRightShift bitwise_right_shift (input, other;) -> 1;
            /// Elements in another dtype: floats to integers truncate and saturate.
            Cast cast (x; dtype: DType) -> 1 as internal;
            /// Sum over dimensions (all for `()`); integers sum in i64.
            Sum sum (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Mean over dimensions (all for `()`).
            Mean mean (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Largest over dimensions (all for `()`), NaN wins; ties share the gradient equally.
            Amax amax (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Smallest over dimensions (all for `()`), NaN wins; ties share the gradient equally.
            Amin amin (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Gradient of the extreme of rows by the rows: `(x, y, dy)`; elements of x equal to y share dy.
            ExtremeGrad extreme_grad (x, y, dy;) -> 1 as internal;
            /// Product over dimensions (all for `()`); integers multiply in i64.
            Prod prod (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Largest along one dimension with its index: `(values, i64 indices)`; ties give the first.
            Max max (input; dim: i64, keepdim: bool = false) -> 2;
            /// Smallest along one dimension with its index: `(values, i64 indices)`; ties give the first.
            Min min (input; dim: i64, keepdim: bool = false) -> 2;
            /// Index of the largest along one dimension, or among all elements; ties give the first.
            Argmax argmax (input; dim: Opt<i64> = (), keepdim: bool = false) -> 1;
            /// Index of the smallest along one dimension, or among all elements; ties give the first.
            Argmin argmin (input; dim: Opt<i64> = (), keepdim: bool = false) -> 1;
            /// Running sum along one dimension, from the end when `reverse`.
            Cumsum cumsum (input; dim: i64, reverse: bool = false) -> 1;
            /// Running product along one dimension, from the end when `reverse`.
            Cumprod cumprod (input; dim: i64, reverse: bool = false) -> 1;
            /// Elements in order along one dimension with where they were: `(values, i64 indices)`. Equals keep their
            /// order whether `stable` is asked for or not; NaN counts as the largest.
            Sort sort (input; dim: i64 = -1, descending: bool = false, stable: bool = false) -> 2;
            /// Matrix product `[.., m, k] x [.., k, n]`; leading dimensions broadcast, vectors as in NumPy.
            Matmul matmul (input, other;) -> 1;
            /// `x w^T (+ b)` for rows `x [.., k]`: `(x, w [n, k])`, and `b [n]` if there is one.
            Affine affine [xs;] -> 1 as internal;
            /// Convolution of planes: `[n, c, h, w]` with `[k, c / groups, r, s]`.
            Convolution convolution (x, w; conv: kernel::Conv2d) -> 1 as internal;
            /// Gradient of a convolution by its input (a transposed convolution): `(dy, w)`.
            ConvolutionInputGrad convolution_input_grad (dy, w; conv: kernel::Conv2d, size: Sizes) -> 1 as internal;
            /// Gradient of a convolution by its weight: `(x, dy)`.
            ConvolutionWeightGrad convolution_weight_grad (x, dy; conv: kernel::Conv2d, kernel: Sizes) -> 1 as internal;
            /// Largest in each window with its index: `(values, i64 indices)`.
            MaxPool max_pool (x; pool: kernel::Pool2d) -> 2 as internal;
            /// Gradient of max pooling: `dy` added at `index`: `(dy, index)`.
            MaxUnpool2d max_unpool2d (dy, index; pool: kernel::Pool2d, size: Sizes) -> 1 as internal;
            /// The elements that max pooling chose: `(x, index)`.
            MaxPoolGather max_pool_gather (x, index; pool: kernel::Pool2d) -> 1 as internal;
            /// Mean of each window.
            MeanPool mean_pool (x; pool: kernel::Pool2d, divisor: kernel::Divisor) -> 1 as internal;
            /// Gradient of mean pooling: `dy` divided and added to its window.
            MeanPoolGrad mean_pool_grad (
                dy; pool: kernel::Pool2d, divisor: kernel::Divisor, size: Sizes
            ) -> 1 as internal;
            /// The same elements, row-major, under another shape; one size may be -1.
            Reshape reshape (input; sizes: Sizes) -> 1;
            /// Dimensions in another order.
            Permute permute (input; dims: Axes) -> 1;
            /// Size-1 and new leading dimensions repeated without a copy; -1 keeps a size.
            Expand expand (input; sizes: Sizes) -> 1;
            /// Elements `start..end` of a dimension, every `step`-th; Python's rules, the step may be negative.
            Slice slice (x; dim: i64, start: i64, end: i64, step: i64) -> 1 as internal;
            /// Gradient of a slice: zeros of `size` along the dimension with `dy` in the slice's place.
            SliceGrad slice_grad (dy; dim: i64, start: i64, step: i64, size: i64) -> 1 as internal;
            /// Inputs one after the other along a dimension.
            Cat cat [tensors; dim: i64 = 0] -> 1;
            /// Slices `index` (1-d i64) of a dimension.
            IndexSelect index_select (input, index; dim: i64) -> 1 as (input, dim, index);
            /// Gradient of `index_select`: zeros of `size` along the dimension with slice `i` of `dy` added at `index[i]`.
            IndexSelectGrad index_select_grad (index, dy; dim: i64, size: i64) -> 1 as internal;
            /// `x` with slice `i` of `src` added at `index[i]` of a dimension, in rising `i`.
            AddSlices add_slices (x, index, src; dim: i64) -> 1 as internal;
            /// The element at the same place as each element of `index`, but for `dim`, where the index says the place.
            Gather gather (input, index; dim: i64) -> 1 as (input, dim, index);
            /// Elements of `src` put in at the same places, but for `dim`, where the index says the place.
            ScatterElements scatter_elements (input, index, src; dim: i64, put: kernel::Put) -> 1 as internal;
            /// `exp(x) / sum(exp(x))` along one dimension.
            Softmax softmax (input; dim: i64) -> 1;
            /// Gradient of softmax over the last dimension: `(y, dy)`.
            SoftmaxGrad softmax_grad (y, dy;) -> 1 as internal;
            /// `log(softmax(x))` along one dimension.
            LogSoftmax log_softmax (input; dim: i64) -> 1;
            /// Gradient of log-softmax over the last dimension: `(y, dy)`.
            LogSoftmaxGrad log_softmax_grad (y, dy;) -> 1 as internal;
            /// Rows of the last dimension to mean 0 and variance 1 (or, without `centre`, to a mean square of 1), then by
            /// weight and bias, a number for each column: `(y, mean, rstd)`.
            Standardize standardize (x, weight, bias; centre: bool, eps: F64Bits) -> 3 as internal;
            /// Gradients of `standardize`: `(x, weight, mean, rstd, dy)` to those of x, weight and bias.
            StandardizeGrad standardize_grad (x, weight, mean, rstd, dy; centre: bool) -> 3 as internal;
            /// Channels of `[n, c, ..]`, or groups of them, to mean 0 and variance 1, then by weight and bias, a number for
            /// each channel: `(y, mean, variance)`.
            StandardizeChannels standardize_channels (
                x, weight, bias; share: kernel::Share, eps: F64Bits
            ) -> 3 as internal;
            /// Gradients of `standardize_channels`: `(x, weight, mean, variance, dy)` to those of x, weight and bias.
            StandardizeChannelsGrad standardize_channels_grad (
                x, weight, mean, variance, dy; share: kernel::Share, eps: F64Bits
            ) -> 3 as internal;
            /// Cross-entropy of each row of logits `[n, c]` with an i64 class: `(loss [n], logsumexp [n])`.
            CrossEntropyRows cross_entropy_rows (x, target; ignore: i64) -> 2 as internal;
            /// Gradient of `cross_entropy_rows` by the logits: `(x, target, lse, dloss)`.
            CrossEntropyGrad cross_entropy_grad (x, target, lse, dloss; ignore: i64) -> 1 as internal;
            /// Zeroes elements with probability `p` and scales the rest by `1 / (1 - p)`; the mask follows from the key.
            DropoutMask dropout_mask (x; p: F64Bits, key: Key) -> 1 as internal;
            /// One value everywhere.
            Full full (; fill_value: F64Bits, size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1 as (size, fill_value);
            /// `start + i * step` for `i` in `0..len`.
            Iota iota (; start: F64Bits, step: F64Bits, len: i64, dtype: DType, device: Device) -> 1 as internal;
            /// Uniform in `[low, high)`.
            Uniform uniform (; low: F64Bits = 0.0, high: F64Bits = 1.0, key: Key, size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1 as (size, low, high, dtype, device);
            /// Normal.
            Normal normal (; mean: F64Bits = 0.0, std: F64Bits = 1.0, key: Key, size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1 as (mean, std, size, dtype, device);
            /// The same values, where gradients stop.
            StopGradient stop_gradient (x;) -> 1 as internal;
        }
    };
}

use esker_tensor::philox::Key;
use esker_tensor::{DType, Device, Error, Result};

use crate::op::elementwise;
use crate::signature::{AttrType, Outputs, Param, ParamKind, Signature, next_attr};
use crate::{
    Axes, Call, F64Bits, Floats, FnRule, Grad, Grads, Ints, Lowering, MapVisitor, Meta, Metas, Onnx, OnnxCx, OpRule,
    Opt, Outs, Padding, Promote, Sizes, Value, Vjp, kernel,
};

crate::map_rows!(define_maps);
crate::op_rows!(define_ops);
crate::function_rows!(define_functions);

macro_rules! methods_of_maps {
    ($($maps:tt)*) => { crate::op_rows!(methods_of_ops, maps { $($maps)* }); };
}
macro_rules! methods_of_ops {
    (maps { $($maps:tt)* } $($ops:tt)*) => {
        crate::function_rows!(define_methods, maps { $($maps)* } ops { $($ops)* });
    };
}
crate::map_rows!(methods_of_maps);

/// Every row of the table with its samples: what the table test, the benchmarks and the documentation walk.
#[cfg(feature = "spec")]
pub fn rows() -> Vec<crate::spec::Row> {
    [map_rows(), op_rows(), function_rows()].concat()
}

/// What every row says of its arguments, in table order.
pub fn signatures() -> &'static [Signature] {
    static ALL: std::sync::LazyLock<Vec<Signature>> =
        std::sync::LazyLock::new(|| [map_signatures(), op_signatures(), function_signatures()].concat());
    &ALL
}

fn next<V>(outs: &mut impl Iterator<Item = V>) -> Result<V> {
    outs.next().ok_or_else(|| Error::kernel("an op returned fewer outputs than its row says"))
}

#[inline]
fn one<V>(mut outs: Outs<V>) -> Result<V> {
    match outs.len() {
        0 | 1 => outs.pop().ok_or_else(|| Error::kernel("an op returned fewer outputs than its row says")),
        _ => Ok(outs.swap_remove(0)),
    }
}
