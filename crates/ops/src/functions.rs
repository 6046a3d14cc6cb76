//! The table's functions: rows that are nothing but other rows.

/// The functions. `$then` receives the rows: `Variant method (tensors | optional tensors; attributes) -> outputs;` with
/// `[list]` for one that takes any number of tensors and `-> list` for one that gives any number. Names, order and
/// defaults are PyTorch's; `as (..)` gives the order of positional arguments where attributes stand between tensors.
#[macro_export]
macro_rules! function_rows {
    ($then:path $(, $($pass:tt)*)?) => {
        $then! {
            $($($pass)*)?
            /// Running `log(sum(e^x))` along one dimension, without overflow.
            Logcumsumexp logcumsumexp (input; dim: i64) -> 1;
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
            /// The part behind the point, with the number's sign.
            Frac frac (input;) -> 1;
            /// `sqrt(x^2 + y^2)` without overflow.
            Hypot hypot (input, other;) -> 1;
            /// The size of the first with the sign of the second.
            Copysign copysign (input, other;) -> 1;
            /// `x * log(y)`, and 0 where `x` is 0.
            Xlogy xlogy (input, other;) -> 1;
            /// `log(x / (1 - x))`, of `x` between `eps` and `1 - eps` if given.
            Logit logit (input; eps: Opt<F64Bits> = ()) -> 1;
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
            // Views
            /// The same elements under another shape, as `reshape`.
            View view (input; size: Sizes) -> 1;
            /// Dimensions from `start_dim` to `end_dim` merged into one.
            Flatten flatten (input; start_dim: i64 = 0, end_dim: i64 = -1) -> 1;
            /// One dimension taken apart into several.
            Unflatten unflatten (input; dim: i64, sizes: Sizes) -> 1;
            /// Two dimensions exchanged.
            Transpose transpose (input; dim0: i64, dim1: i64) -> 1;
            /// A matrix transposed; vectors and scalars as they are.
            T t (input;) -> 1;
            /// Dimensions moved to other places.
            Movedim movedim (input; source: Axes, destination: Axes) -> 1;
            /// Without dimensions of size 1 (all of them, or those named that have it).
            Squeeze squeeze (input; dim: Axes = ()) -> 1;
            /// With a dimension of size 1 at `dim`.
            Unsqueeze unsqueeze (input; dim: i64) -> 1;
            /// Broadcast to a shape, as `expand`.
            BroadcastTo broadcast_to (input; size: Sizes) -> 1;
            /// `length` elements of a dimension from `start` on.
            Narrow narrow (input; dim: i64, start: i64, length: i64) -> 1;
            /// One element of a dimension, without that dimension.
            Select select (input; dim: i64, index: i64) -> 1;
            // Arrangements
            /// Cut along a dimension into parts of one size (the last may be smaller), or of the sizes given.
            Split split (input; split_size_or_sections: Ints, dim: i64 = 0) -> list;
            /// Cut along a dimension into so many parts of one size; the last may be smaller, and there may be fewer.
            Chunk chunk (input; chunks: i64, dim: i64 = 0) -> list;
            /// In reverse order along dimensions.
            Flip flip (input; dims: Axes) -> 1;
            /// Turned along dimensions (or flattened, without any): what leaves at one end comes back at the other.
            Roll roll (input; shifts: Ints, dims: Axes = ()) -> 1;
            /// The whole repeated along each dimension.
            Repeat repeat (input; repeats: Sizes) -> 1;
            /// As `repeat`, where missing counts in front are 1.
            Tile tile (input; dims: Sizes) -> 1;
            /// Each element repeated along a dimension (flattened, without one).
            RepeatInterleave repeat_interleave (input; repeats: i64, dim: Opt<i64> = ()) -> 1;
            /// Coordinates of the grid that vectors span.
            Meshgrid meshgrid [tensors; indexing: String = "ij"] -> list;
            /// The diagonal of two dimensions, as a last one.
            Diagonal diagonal (input; offset: i64 = 0, dim1: i64 = 0, dim2: i64 = 1) -> 1;
            /// A matrix with a vector on its diagonal, or the diagonal of a matrix.
            Diag diag (input; diagonal: i64 = 0) -> 1;
            /// Matrices with zeros above a diagonal.
            Tril tril (input; diagonal: i64 = 0) -> 1;
            /// Matrices with zeros below a diagonal.
            Triu triu (input; diagonal: i64 = 0) -> 1;
            /// Windows of a dimension, their elements as a last one.
            Unfold unfold (input; dimension: i64, size: i64, step: i64) -> 1;
            /// The row-major elements seen with other sizes and strides.
            AsStrided as_strided (input; size: Sizes, stride: Ints, storage_offset: i64 = 0) -> 1;
            // Order
            /// Where the elements were before `sort`.
            Argsort argsort (input; dim: i64 = -1, descending: bool = false, stable: bool = false) -> 1;
            /// The `k` largest (or smallest) along a dimension, in order, with where they were: `(values, i64 indices)`.
            Topk topk (input; k: i64, dim: i64 = -1, largest: bool = true, sorted: bool = true) -> 2;
            /// Smallest and largest along one dimension, or among all elements.
            Aminmax aminmax (input; dim: Opt<i64> = (), keepdim: bool = false) -> 2;
            /// Where values would be inserted in sequences in rising order, before their equals or (`right`) behind.
            Searchsorted searchsorted (sorted_sequence, input | sorter; out_int32: bool = false, right: bool = false, side: String = "") -> 1;
            /// The number of the bucket that each value falls in; `boundaries` in rising order.
            Bucketize bucketize (input, boundaries; out_int32: bool = false, right: bool = false) -> 1;
            // Elements by index
            /// `input` with elements of `src` (or one value) in place of others, or added to or multiplied by them.
            Scatter scatter (input, index, src; dim: i64, reduce: String = "") -> 1 as (input, dim, index, src, reduce);
            /// `input` with elements of `src` added at the same places, but for `dim`, where the index says the place.
            ScatterAdd scatter_add (input, index, src; dim: i64) -> 1 as (input, dim, index, src);
            /// As `scatter_add`, with `reduce` as one of sum, prod, mean, amax and amin.
            ScatterReduce scatter_reduce (input, index, src; dim: i64, reduce: String, include_self: bool = true) -> 1 as (input, dim, index, src, reduce, include_self);
            /// `gather` along a dimension (of the flattened input, without one), where the other dimensions broadcast.
            TakeAlongDim take_along_dim (input, indices; dim: Opt<i64> = ()) -> 1;
            /// Elements of the flattened input.
            Take take (input, index;) -> 1;
            /// `input` with slice `i` of `source`, `alpha` times, added at `index[i]` of a dimension.
            IndexAdd index_add (input, index, source; dim: i64, alpha: F64Bits = 1.0) -> 1 as (input, dim, index, source, alpha);
            /// `input` with slice `i` of `source` at `index[i]` of a dimension.
            IndexCopy index_copy (input, index, source; dim: i64) -> 1 as (input, dim, index, source);
            /// `input` with one value in the slices `index` of a dimension.
            IndexFill index_fill (input, index; dim: i64, value: F64Bits) -> 1 as (input, dim, index, value);
            /// `input` with the elements of `source`, one after the other, where the mask holds.
            MaskedScatter masked_scatter (input, mask, source;) -> 1;
            /// `input` with `values` in place of the elements that the index tensors name (or added to them):
            /// `(input, indices.., values)`.
            IndexPut index_put [tensors; accumulate: bool = false] -> 1;
            // Elements by value
            /// Coordinates of the elements other than 0, one row each.
            Nonzero nonzero (input;) -> 1;
            /// Coordinates of the elements other than 0, one vector for each dimension.
            NonzeroTuple nonzero_tuple (input;) -> list;
            /// The elements where the mask holds, as a vector.
            MaskedSelect masked_select (input, mask;) -> 1;
            /// How often each integer from 0 on occurs, or the sum of its weights.
            Bincount bincount (input | weights; minlength: i64 = 0) -> 1;
            /// The different elements (or slices along a dimension) in order; then, if asked for, which of them each element
            /// is, and how often each occurs.
            Unique unique (input; sorted: bool = true, return_inverse: bool = false, return_counts: bool = false, dim: Opt<i64> = ()) -> list;
            // Statistics
            /// The number of elements other than 0.
            CountNonzero count_nonzero (input; dim: Axes = ()) -> 1;
            /// Whether any element is other than 0.
            Any any (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Whether all elements are other than 0.
            All all (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Variance, with `n - correction` degrees of freedom.
            Var var (input; dim: Axes = (), correction: F64Bits = 1.0, keepdim: bool = false) -> 1;
            /// Standard deviation, the root of `var`.
            Std std (input; dim: Axes = (), correction: F64Bits = 1.0, keepdim: bool = false) -> 1;
            /// Variance and mean.
            VarMean var_mean (input; dim: Axes = (), correction: F64Bits = 1.0, keepdim: bool = false) -> 2;
            /// `log(sum(e^x))` without overflow.
            Logsumexp logsumexp (input; dim: Axes, keepdim: bool = false) -> 1;
            /// Sum over dimensions of what is not NaN.
            Nansum nansum (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// Mean over dimensions of what is not NaN.
            Nanmean nanmean (input; dim: Axes = (), keepdim: bool = false) -> 1;
            /// `sum(|x|^p)^(1/p)`, the largest for infinity, the number of elements other than 0 for 0.
            Norm norm (input; p: F64Bits = 2.0, dim: Axes = (), keepdim: bool = false) -> 1;
            /// 1 at each class (int64) of `num_classes`, else 0, along a last dimension.
            OneHot one_hot (input; num_classes: i64) -> 1;
            // Creation
            /// Zeros.
            Zeros zeros (; size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1;
            /// Ones.
            Ones ones (; size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1;
            /// A tensor whose values do not matter; they are 0, so that programs repeat.
            Empty empty (; size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1;
            /// Ones on the diagonal of an `n` by `m` (else `n`) matrix, 0 elsewhere.
            Eye eye (; n: i64, m: Opt<i64> = (), dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1;
            /// `start`, `start + step`, .. before `end`; int64 where all three are whole, else float32, unless told.
            Arange arange (; start: F64Bits = 0.0, end: F64Bits, step: F64Bits = 1.0, dtype: Opt<DType> = (), device: Device = Device::Cpu) -> 1;
            /// `steps` numbers at even distances from `start` to `end`, both included.
            Linspace linspace (; start: F64Bits, end: F64Bits, steps: i64, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1;
            /// Zeros in the shape and place of another, and its dtype unless told.
            ZerosLike zeros_like (input; dtype: Opt<DType> = ()) -> 1;
            /// Ones in the shape and place of another, and its dtype unless told.
            OnesLike ones_like (input; dtype: Opt<DType> = ()) -> 1;
            /// As `zeros_like`: values that do not matter are 0.
            EmptyLike empty_like (input; dtype: Opt<DType> = ()) -> 1;
            /// One value in the shape and place of another, and its dtype unless told.
            FullLike full_like (input; fill_value: F64Bits, dtype: Opt<DType> = ()) -> 1;
            // Random
            /// Uniform in `[0, 1)`.
            Rand rand (; key: Key, size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1 as (size, dtype, device);
            /// Standard normal.
            Randn randn (; key: Key, size: Sizes, dtype: DType = DType::F32, device: Device = Device::Cpu) -> 1 as (size, dtype, device);
            /// Integers from `low` to before `high`, each as likely.
            Randint randint (; low: i64 = 0, high: i64, key: Key, size: Sizes, dtype: DType = DType::I64, device: Device = Device::Cpu) -> 1 as (low, high, size, dtype, device);
            /// Uniform in `[0, 1)`, in the shape and place of another, and its dtype unless told.
            RandLike rand_like (input; key: Key, dtype: Opt<DType> = ()) -> 1 as (input, dtype);
            /// Standard normal, in the shape and place of another, and its dtype unless told.
            RandnLike randn_like (input; key: Key, dtype: Opt<DType> = ()) -> 1 as (input, dtype);
            /// 1 with the probability that the input gives, else 0.
            Bernoulli bernoulli (input; key: Key) -> 1;
            /// Indices drawn from each row of weights, with each as likely as its weight says; int64.
            Multinomial multinomial (input; num_samples: i64, replacement: bool = false, key: Key) -> 1;
            /// In training, zeroes elements with probability `p` and scales the rest by `1 / (1 - p)`; else the input itself.
            Dropout dropout (input; p: F64Bits = 0.5, training: bool = true, key: Key) -> 1;
            /// As `dropout`, of whole channels of `[c, l]` or `[n, c, l]`.
            Dropout1d dropout1d (input; p: F64Bits = 0.5, training: bool = true, key: Key) -> 1;
            /// As `dropout`, of whole channels of `[n, c, h, w]` or `[n, c, l]`.
            Dropout2d dropout2d (input; p: F64Bits = 0.5, training: bool = true, key: Key) -> 1;
            /// As `dropout`, of whole channels of `[c, d, h, w]` or `[n, c, d, h, w]`.
            Dropout3d dropout3d (input; p: F64Bits = 0.5, training: bool = true, key: Key) -> 1;
            /// In training, drops to the limit of `selu` and restores mean and variance; else the input itself.
            AlphaDropout alpha_dropout (input; p: F64Bits = 0.5, training: bool = false, key: Key) -> 1;
            // Products
            /// Product of two matrices.
            Mm mm (input, mat2;) -> 1;
            /// Products of two batches of matrices.
            Bmm bmm (input, mat2;) -> 1;
            /// Product of a matrix and a vector.
            Mv mv (input, vec;) -> 1;
            /// Inner product of two vectors.
            Dot dot (input, tensor;) -> 1;
            /// Outer product of two vectors.
            Outer outer (input, vec2;) -> 1;
            /// `beta * input + alpha * (mat1 x mat2)`.
            Addmm addmm (input, mat1, mat2; beta: F64Bits = 1.0, alpha: F64Bits = 1.0) -> 1;
            /// `beta * input + alpha * (batch1 x batch2)`, for batches.
            Baddbmm baddbmm (input, batch1, batch2; beta: F64Bits = 1.0, alpha: F64Bits = 1.0) -> 1;
            /// Sums of products over labelled dimensions, in Einstein's notation: `"ij,jk->ik"`.
            Einsum einsum [operands; equation: String] -> 1 as (equation, operands);
            /// Sum of the diagonal of a matrix.
            Trace trace (input;) -> 1;
            /// Sum of products over the last `dims` dimensions of the first and the first of the second, or over those named.
            Tensordot tensordot (a, b; dims: i64 = 2, dims_a: Axes = (), dims_b: Axes = ()) -> 1;
            // Nets
            /// `x weight^T + bias` over the last dimension, `weight [out, in]`, `bias [out]`.
            Linear linear (input, weight | bias;) -> 1;
            /// Rows of `weight` by index (int64); the row `padding_idx` gets no gradient.
            Embedding embedding (input, weight; padding_idx: Opt<i64> = ()) -> 1;
            /// `softmax(query key^T * scale) value`; `attn_mask` says where (bool) or is added (float), `is_causal` hides what
            /// comes later, `enable_gqa` lets several heads of the query share one of key and value. A query that may look
            /// nowhere gives 0. `scale` is `1 / sqrt(d)` unless given.
            ScaledDotProductAttention scaled_dot_product_attention (query, key, value | attn_mask; dropout_p: F64Bits = 0.0, is_causal: bool = false, scale: Opt<F64Bits> = (), enable_gqa: bool = false, dropout_key: Key) -> 1;
            /// Convolution of `[n, c, l]` with `weight [k, c / groups, r]`, `bias [k]`.
            Conv1d conv1d (
                input, weight | bias; stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1, groups: i64 = 1
            ) -> 1;
            /// Convolution of `[n, c, h, w]` with `weight [k, c / groups, r, s]`, `bias [k]`.
            Conv2d conv2d (
                input, weight | bias; stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1, groups: i64 = 1
            ) -> 1;
            /// Convolution of `[n, c, d, h, w]` with `weight [k, c / groups, q, r, s]`, `bias [k]`.
            Conv3d conv3d (
                input, weight | bias; stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1, groups: i64 = 1
            ) -> 1;
            /// Transposed convolution of `[n, k, l]` with `weight [k, c / groups, r]`, `bias [c]`.
            ConvTranspose1d conv_transpose1d (
                input, weight | bias;
                stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: i64 = 1, dilation: Ints = 1
            ) -> 1;
            /// Transposed convolution of `[n, k, h, w]` with `weight [k, c / groups, r, s]`, `bias [c]`.
            ConvTranspose2d conv_transpose2d (
                input, weight | bias;
                stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: i64 = 1, dilation: Ints = 1
            ) -> 1;
            /// Each channel (dimension 1) to mean 0 and variance 1, with the batch's own statistics or the running ones, then
            /// `weight` times that plus `bias`. `batch_norm_train` gives what running statistics follow.
            BatchNorm batch_norm (
                input | running_mean, running_var, weight, bias;
                training: bool = false, momentum: F64Bits = 0.1, eps: F64Bits = 1e-5
            ) -> 1;
            /// `batch_norm` with the batch's statistics, and these: `(y, mean [c], variance [c])`, the variance being
            /// that of all values (not divided by one less); float32 for half types.
            BatchNormTrain batch_norm_train (input | weight, bias; eps: F64Bits = 1e-5) -> 3 as internal;
            /// Each channel of each image to mean 0 and variance 1, then `weight` times that plus `bias`.
            InstanceNorm instance_norm (
                input | running_mean, running_var, weight, bias;
                use_input_stats: bool = true, momentum: F64Bits = 0.1, eps: F64Bits = 1e-5
            ) -> 1;
            /// Each group of channels of each image to mean 0 and variance 1, then `weight` times that plus `bias`.
            GroupNorm group_norm (input | weight, bias; num_groups: i64, eps: F64Bits = 1e-5) -> 1
                as (input, num_groups, weight, bias, eps);
            /// The last dimensions to mean 0 and variance 1, then `weight` times that plus `bias`.
            LayerNorm layer_norm (input | weight, bias; normalized_shape: Sizes, eps: F64Bits = 1e-5) -> 1
                as (input, normalized_shape, weight, bias, eps);
            /// The last dimensions divided by the root of their mean square, then times `weight`; `eps` is the dtype's unless
            /// given.
            RmsNorm rms_norm (input | weight; normalized_shape: Sizes, eps: Opt<F64Bits> = ()) -> 1
                as (input, normalized_shape, weight, eps);
            /// `x / (k + alpha * mean(x^2))^beta`, the mean being over `size` channels around each.
            LocalResponseNorm local_response_norm (
                input; size: i64, alpha: F64Bits = 1e-4, beta: F64Bits = 0.75, k: F64Bits = 1.0
            ) -> 1;
            /// Largest in each window of `[n, c, l]`.
            MaxPool1d max_pool1d (
                input;
                kernel_size: Ints, stride: Opt<Ints> = (), padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = false
            ) -> 1;
            /// Largest in each window of `[n, c, h, w]`.
            MaxPool2d max_pool2d (
                input;
                kernel_size: Ints, stride: Opt<Ints> = (), padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = false
            ) -> 1;
            /// Largest in each window of `[n, c, l]`, and its place: `(values, i64 indices)`.
            MaxPool1dWithIndices max_pool1d_with_indices (
                input;
                kernel_size: Ints, stride: Opt<Ints> = (), padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = false
            ) -> 2;
            /// Largest in each window of `[n, c, h, w]`, and its place in the plane: `(values, i64 indices)`.
            MaxPool2dWithIndices max_pool2d_with_indices (
                input;
                kernel_size: Ints, stride: Opt<Ints> = (), padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = false
            ) -> 2;
            /// Mean of each window of `[n, c, l]`.
            AvgPool1d avg_pool1d (
                input;
                kernel_size: Ints, stride: Opt<Ints> = (), padding: Ints = 0, ceil_mode: bool = false,
                count_include_pad: bool = true
            ) -> 1;
            /// Mean of each window of `[n, c, h, w]`.
            AvgPool2d avg_pool2d (
                input;
                kernel_size: Ints, stride: Opt<Ints> = (), padding: Ints = 0, ceil_mode: bool = false,
                count_include_pad: bool = true, divisor_override: Opt<i64> = ()
            ) -> 1;
            /// `x1 W_k x2 + bias_k` over the last dimensions, `weight [out, in1, in2]`, `bias [out]`.
            Bilinear bilinear (input1, input2, weight | bias;) -> 1;
            /// Means of as many windows of `[n, c, l]` as asked for; -1 keeps a size.
            AdaptiveAvgPool1d adaptive_avg_pool1d (input; output_size: Ints) -> 1;
            /// Means of as many windows of `[n, c, h, w]` as asked for; -1 keeps a size.
            AdaptiveAvgPool2d adaptive_avg_pool2d (input; output_size: Ints) -> 1;
            /// Largest of as many windows of `[n, c, l]` as asked for; -1 keeps a size.
            AdaptiveMaxPool1d adaptive_max_pool1d (input; output_size: Ints) -> 1;
            /// Largest of as many windows of `[n, c, h, w]` as asked for; -1 keeps a size.
            AdaptiveMaxPool2d adaptive_max_pool2d (input; output_size: Ints) -> 1;
            /// `adaptive_max_pool1d` and the places: `(values, i64 indices)`.
            AdaptiveMaxPool1dWithIndices adaptive_max_pool1d_with_indices (input; output_size: Ints) -> 2;
            /// `adaptive_max_pool2d` and the places in the plane: `(values, i64 indices)`.
            AdaptiveMaxPool2dWithIndices adaptive_max_pool2d_with_indices (input; output_size: Ints) -> 2;
            /// The input with more on both sides of its last dimensions: two amounts for each, from the last on. Modes are
            /// "constant", "reflect", "replicate" and "circular".
            Pad pad (input; pad: Ints, mode: String = "constant", value: Opt<F64Bits> = ()) -> 1;
            /// `[n, c, ..]` at another size of the last dimensions. Modes are "nearest", "nearest-exact", "linear",
            /// "bilinear", "trilinear" and "area".
            Interpolate interpolate (
                input;
                size: Opt<Ints> = (), scale_factor: Opt<Floats> = (), mode: String = "nearest",
                align_corners: Opt<bool> = (), recompute_scale_factor: Opt<bool> = (), antialias: bool = false
            ) -> 1;
            /// `[.., c r^2, h, w]` as `[.., c, h r, w r]`.
            PixelShuffle pixel_shuffle (input; upscale_factor: i64) -> 1;
            /// `[.., c, h r, w r]` as `[.., c r^2, h, w]`.
            PixelUnshuffle pixel_unshuffle (input; downscale_factor: i64) -> 1;
            /// Tensors of one shape along a new dimension.
            Stack stack [tensors; dim: i64 = 0] -> 1;
            /// The slices along a dimension, one tensor each.
            Unbind unbind (input; dim: i64 = 0) -> list;
            /// A layer of long short-term memory over `[steps, n, in]`: output, last state, last cell. Gates are input, forget, cell,
            /// output; `w_ih [4 * hidden, in]`, `w_hh [4 * hidden, hidden]`.
            LstmLayer lstm_layer (input, h0, c0, w_ih, w_hh | b_ih, b_hh; reverse: bool = false) -> 3;
            /// A layer of gated recurrent units over `[steps, n, in]`: output and last state. Gates are reset, update, new;
            /// `w_ih [3 * hidden, in]`, `w_hh [3 * hidden, hidden]`.
            GruLayer gru_layer (input, h0, w_ih, w_hh | b_ih, b_hh; reverse: bool = false) -> 2;
            /// A plain recurrent layer over `[steps, n, in]`: output and last state; `w_ih [hidden, in]`, `w_hh [hidden, hidden]`.
            RnnLayer rnn_layer (input, h0, w_ih, w_hh | b_ih, b_hh; nonlinearity: String = "tanh", reverse: bool = false) -> 2;
            /// Vectors along a dimension divided by their length (of at least `eps`).
            Normalize normalize (input; p: F64Bits = 2.0, dim: i64 = 1, eps: F64Bits = 1e-12) -> 1;
            /// The cosine of the angle between vectors along a dimension.
            CosineSimilarity cosine_similarity (x1, x2; dim: i64 = 1, eps: F64Bits = 1e-8) -> 1;
            /// The length of `x1 - x2 + eps` over the last dimension.
            PairwiseDistance pairwise_distance (x1, x2; p: F64Bits = 2.0, eps: F64Bits = 1e-6, keepdim: bool = false) -> 1;
            /// The distance of each row of `x1 [.., p, d]` from each of `x2 [.., r, d]`.
            Cdist cdist (x1, x2; p: F64Bits = 2.0) -> 1;
            /// Rotary position embedding of `[.., steps, d]`: pair `i` of step `t` turned by `(t + offset) * base^(-2i / d)`. Pairs
            /// are `(i, i + d/2)`, or `(2i, 2i + 1)` when `interleaved`; `positions` (int64) stand for the steps when given.
            Rope rope (input | positions; base: F64Bits = 10_000.0, offset: i64 = 0, interleaved: bool = false) -> 1;
            // Losses
            /// Squared differences.
            MseLoss mse_loss (input, target; reduction: String = "mean") -> 1;
            /// Absolute differences.
            L1Loss l1_loss (input, target; reduction: String = "mean") -> 1;
            /// Differences, squared below `beta` and absolute above.
            SmoothL1Loss smooth_l1_loss (input, target; reduction: String = "mean", beta: F64Bits = 1.0) -> 1;
            /// Differences, squared below `delta` and linear above, with slope `delta`.
            HuberLoss huber_loss (input, target; reduction: String = "mean", delta: F64Bits = 1.0) -> 1;
            /// Cross-entropy of probabilities with targets between 0 and 1; logarithms end at -100.
            BinaryCrossEntropy binary_cross_entropy (input, target | weight; reduction: String = "mean") -> 1;
            /// Cross-entropy of `sigmoid(input)` with targets between 0 and 1; `pos_weight` weighs the target's part.
            BinaryCrossEntropyWithLogits binary_cross_entropy_with_logits (input, target | weight, pos_weight; reduction: String = "mean") -> 1 as (input, target, weight, reduction, pos_weight);
            /// Minus the log-probability of each class (int64), `[n, c, d..]` with `[n, d..]` or `[c]` with a scalar; the mean
            /// is over the weights of the classes met.
            NllLoss nll_loss (input, target | weight; ignore_index: i64 = -100, reduction: String = "mean") -> 1;
            /// Cross-entropy, in nats, of logits `[n, c, d..]` or `[c]` with classes (int64) or probabilities of classes; the
            /// mean is over the weights of the classes met, or over the rows for probabilities.
            CrossEntropy cross_entropy (input, target | weight; ignore_index: i64 = -100, reduction: String = "mean", label_smoothing: F64Bits = 0.0) -> 1;
            /// `target * (log(target) - input)` of log-probabilities; `log_target` says that the target is a logarithm too.
            KlDiv kl_div (input, target; reduction: String = "mean", log_target: bool = false) -> 1;
            /// Minus the log-probability of counts, of which the input is the rate or (`log_input`) its logarithm; `full` adds
            /// Stirling's approximation of the part without the input.
            PoissonNllLoss poisson_nll_loss (input, target; log_input: bool = true, full: bool = false, eps: F64Bits = 1e-8, reduction: String = "mean") -> 1;
            /// Minus the log-probability of normal numbers with mean `input` and variance `var` (of at least `eps`); `full` adds the
            /// constant.
            GaussianNllLoss gaussian_nll_loss (input, target, var; full: bool = false, eps: F64Bits = 1e-6, reduction: String = "mean") -> 1;
            /// `1 - cos` for a target of 1, `max(0, cos - margin)` for -1.
            CosineEmbeddingLoss cosine_embedding_loss (input1, input2, target; margin: F64Bits = 0.0, reduction: String = "mean") -> 1;
            /// `max(0, margin - target * (input1 - input2))`.
            MarginRankingLoss margin_ranking_loss (input1, input2, target; margin: F64Bits = 0.0, reduction: String = "mean") -> 1;
            /// `max(0, margin + |anchor - positive| - |anchor - negative|)`; with `swap`, the positive's distance counts if smaller.
            TripletMarginLoss triplet_margin_loss (anchor, positive, negative; margin: F64Bits = 1.0, p: F64Bits = 2.0, eps: F64Bits = 1e-6, swap: bool = false, reduction: String = "mean") -> 1;
            /// The input for a target of 1, `max(0, margin - input)` for -1.
            HingeEmbeddingLoss hinge_embedding_loss (input, target; margin: F64Bits = 1.0, reduction: String = "mean") -> 1;
            /// `log(1 + e^(-target * input))`.
            SoftMarginLoss soft_margin_loss (input, target; reduction: String = "mean") -> 1;
            /// The mean over classes of `max(0, margin - x_class + x_i)^p`, `[n, c]` with `[n]` or `[c]` with a scalar.
            MultiMarginLoss multi_margin_loss (input, target | weight; p: i64 = 1, margin: F64Bits = 1.0, reduction: String = "mean") -> 1 as (input, target, p, margin, weight);
            /// The mean over classes (the last dimension) of the cross-entropy of `sigmoid(input)` with targets 0 or 1.
            MultilabelSoftMarginLoss multilabel_soft_margin_loss (input, target | weight; reduction: String = "mean") -> 1;
        }
    };
}
