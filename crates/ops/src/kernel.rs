//! The closed set of kernel families. A backend implements these and never learns an op's name.
//!
//! Conventions: outputs are dense and freshly allocated. Inputs may have any layout (broadcast, reversed, permuted),
//! and have the dtypes that the op's rules settled. Half types compute in f32.

use esker_tensor::Dims;
use esker_tensor::philox::Key;

use crate::{F64Bits, MapOp};

/// A kernel call: the family and what it needs to know besides its operands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kernel {
    /// One output element from the elements at the same place in the inputs, which broadcast to the output.
    Map(Map),
    /// Folds dimensions: `x -> y`. The output lists the kept dimensions in order (reduced ones absent or 1).
    Reduce {
        /// How elements fold.
        op: Fold,
        /// The dimensions to fold, rising.
        dims: Dims,
    },
    /// The position of the extreme along one dimension: `x -> i64 index`, or `x -> (value, i64 index)`.
    /// Ties give the first; NaN wins.
    ArgReduce {
        /// Largest or smallest.
        largest: bool,
        /// The dimension.
        dim: usize,
    },
    /// Running fold along one dimension: `x -> y` of the same shape.
    Scan {
        /// How elements fold.
        op: Fold,
        /// The dimension.
        dim: usize,
        /// From the end towards the start.
        reverse: bool,
    },
    /// `[.., m, k] x [.., k, n] -> [.., m, n]`; leading dimensions are equal (already broadcast, stride 0).
    MatMul,
    /// `(x [.., k], w [n, k]) -> [.., n]`: `x w^T`; with a third input `[n]`, which is added to every row.
    Affine,
    /// Two-dimensional convolution and its two gradients; see [`ConvPass`] for the operands.
    Conv(ConvPass, Conv2d),
    /// Two-dimensional pooling.
    Pool(PoolPass, Pool2d),
    /// `(x, i64 index [n]) -> y`: rows `index` of dimension `dim`; `y` has `n` there.
    Gather {
        /// The dimension indexed.
        dim: usize,
    },
    /// `(i64 index [n], src) -> y`: zeros, with slice `i` of `src` added at `index[i]` of `dim`, in rising `i`. With three
    /// inputs, `(x, i64 index [n], src) -> y`: the same, but `x` in place of zeros.
    Scatter {
        /// The dimension indexed.
        dim: usize,
    },
    /// `(x, i64 index) -> y` of the index's shape: the element of `x` at the same place, but for `dim`, where the index
    /// says the place. Elsewhere `index` may be smaller than `x`.
    GatherElements {
        /// The dimension indexed.
        dim: usize,
    },
    /// `(x, i64 index, src) -> y`: `x` with every element of `src` put in at the same place, but for `dim`, where the
    /// index says the place; in rising order along `dim`. `src` has the index's shape, which may be smaller than that of
    /// `x` elsewhere.
    ScatterElements {
        /// The dimension indexed.
        dim: usize,
        /// What becomes of the element that is there.
        put: Put,
    },
    /// `x -> (values, i64 index)` in order along a dimension; equals keep their order, NaN is the largest.
    Sort {
        /// The dimension.
        dim: usize,
        /// The largest first.
        descending: bool,
    },
    /// `x -> y`: the same values in the output's dtype and layout.
    Copy,
    /// `x.. -> y`: the inputs one after the other along `dim`.
    Concat {
        /// The dimension.
        dim: usize,
    },
    /// Fills from the counter-based generator (or with a constant); see [`Random`] for operands.
    Random(Random),
    /// Row-wise kernels over the last dimension.
    Row(Row),
    /// Normalisation of the channels (dimension 1) of `x [n, c, ..]`; see [`NormPass`] for the operands.
    Norm {
        /// Forwards or backwards.
        pass: NormPass,
        /// What shares a mean and a variance.
        share: Share,
        /// Added to the variance.
        eps: F64Bits,
    },
}

/// How an element is put where another is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Put {
    /// It takes the place.
    Replace,
    /// The sum of both.
    Sum,
    /// The product of both.
    Prod,
    /// The larger; NaN wins.
    Max,
    /// The smaller; NaN wins.
    Min,
}

/// Elementwise forms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Map {
    /// `x.. -> f(x..)`.
    Value(MapOp),
    /// `(x.., dy) -> dy * df/dx_wrt`, by dual numbers.
    Grad {
        /// The function.
        op: MapOp,
        /// The input differentiated.
        wrt: u8,
    },
    /// `(x, y) -> bool`.
    Compare(Cmp),
    /// `(x, y) -> x op y` of integers or bools.
    Bits(Bits),
    /// `(bool, x, y) -> x where true, else y`.
    Select,
}

/// Operations on the bits of integers; on bools, all but the shifts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bits {
    /// Bits that both have.
    And,
    /// Bits that either has.
    Or,
    /// Bits that one has.
    Xor,
    /// Towards the high end; 0 for shifts of the width and more, or below 0.
    Left,
    /// Towards the low end, the sign staying; all sign for shifts of the width and more, or below 0.
    Right,
}

/// Comparisons; any comparison with NaN is false, except `Ne`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// How elements fold together. Floats sum in a fixed tree (see the CPU crate's `reduce`), half types in f32,
/// integers wrap. Output dtype is the op's: sums of integers are i64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fold {
    /// Sum; 0 of nothing.
    Sum,
    /// Sum divided by the count; NaN of nothing.
    Mean,
    /// Product; 1 of nothing.
    Prod,
    /// Largest; NaN wins.
    Max,
    /// Smallest; NaN wins.
    Min,
}

/// The operands of a convolution call. `x [n, c, h, w]`, `w [k, c/groups, r, s]`, `y [n, k, oh, ow]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConvPass {
    /// `(x, w) -> y`.
    Forward,
    /// `(dy, w) -> dx`.
    Input,
    /// `(x, dy) -> dw`.
    Weight,
}

/// Geometry of a 2-d convolution, each pair as (height, width).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Conv2d {
    /// Step of the window.
    pub stride: [usize; 2],
    /// Zeros added on both sides.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Number of channel groups.
    pub groups: usize,
}

/// The operands of a pooling call. `x [n, c, h, w]`, `y, index [n, c, oh, ow]`; `index` is i64, `h * w_size + w`. The
/// output's size says how many windows there are; the last may reach beyond the padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PoolPass {
    /// `x -> (y, index)`: largest in each window; ties give the first, NaN wins.
    Max,
    /// `(dy, index) -> dx`: dy added at index.
    MaxInput,
    /// `(x, index) -> y`: the elements of x at index (what differentiates `MaxInput`).
    MaxGather,
    /// `x -> y`: the sum of each window (its taps side by side) divided; padding counts as 0.
    Mean(Divisor),
    /// `dy -> dx`: each element of dy, divided, added to its window.
    MeanInput(Divisor),
}

/// What the sum of a window is divided by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Divisor {
    /// The number of its taps that lie in the input or its padding.
    Padded,
    /// The number of its taps that lie in the input.
    Inside,
    /// A number.
    Fixed(usize),
}

/// Geometry of a 2-d pooling window, each pair as (height, width). For the largest, padding counts as minus infinity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pool2d {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Padding on both sides; at most half the window.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Whether the last windows may reach beyond the padding.
    pub ceil: bool,
}

/// Fills and masks. Element `i` (row-major) of a random fill depends on (key, i) alone: word `i % 4` of Philox block
/// `i / 4` for f32 and half types; for f64 words `2 (i % 2)` (the high half) and the next of block
/// `i / 2`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Random {
    /// `() -> y`: a constant.
    Fill(F64Bits),
    /// `() -> y`: start + i * step.
    Arange {
        /// First value.
        start: F64Bits,
        /// Increment.
        step: F64Bits,
    },
    /// `() -> y`: uniform in [low, high).
    Uniform {
        /// Lower end, included.
        low: F64Bits,
        /// Upper end, excluded.
        high: F64Bits,
        /// The stream.
        key: Key,
    },
    /// `() -> y`: normal by Box and Muller: elements 2j and 2j+1 share words 2j and 2j+1 (u1 as 1 - uniform, u2):
    /// r = sqrt(-2 ln u1), r cos(2 pi u2), r sin(2 pi u2).
    Normal {
        /// Mean.
        mean: F64Bits,
        /// Standard deviation.
        std: F64Bits,
        /// The stream.
        key: Key,
    },
    /// `x -> y`: x / (1 - p) where the uniform of element i is at least p, else 0. Its own gradient kernel.
    Dropout {
        /// Probability of zero.
        p: F64Bits,
        /// The stream.
        key: Key,
    },
}

/// Kernels over rows (the last dimension); rows compute in f32 for f32 and half types, f64 for f64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Row {
    /// `x -> y`.
    Softmax,
    /// `(y, dy) -> dx = y * (dy - sum(y * dy))`.
    SoftmaxGrad,
    /// `x -> y`.
    LogSoftmax,
    /// `(y, dy) -> dx = dy - exp(y) * sum(dy)`.
    LogSoftmaxGrad,
    /// `(x, weight [n], bias [n]) -> (y, mean, rstd)`: (x - mean) * rstd * weight + bias; mean and rstd have size 1 in the last
    /// dimension, and are f32 for half types.
    Normalize {
        /// Whether the row's mean is taken off; else `mean` is 0.
        centre: bool,
        /// Added to the variance.
        eps: F64Bits,
    },
    /// `(x, weight [n], mean, rstd, dy) -> (dx, dweight [n], dbias [n])`: with `y = (x - mean) * rstd` and
    /// `d = dy * weight`, dx is `rstd * (d - mean(d) - y * mean(d * y))`; dweight the sum over the rows of `dy * y`, dbias
    /// that of dy.
    NormalizeGrad {
        /// Whether the mean is the row's own; else `mean(d)` is left out.
        centre: bool,
    },
    /// `(x, y, dy) -> dx`: the elements of x equal to y share dy; y and dy have size 1 in the last dimension.
    ExtremeGrad,
    /// `(x [n, c], i64 target [n]) -> (loss [n], lse [n])`: -log softmax at the target; 0 where target is `ignore`.
    /// A target outside `0..c` that is not `ignore` is an error naming its row.
    CrossEntropy {
        /// The target that does not count.
        ignore: i64,
    },
    /// `(x [n, c], i64 target [n], lse [n], dloss [n]) -> dx = dloss * (exp(x - lse) - onehot)`; 0 where ignored.
    CrossEntropyGrad {
        /// The target that does not count.
        ignore: i64,
    },
}

/// The operands of a normalisation. `weight` and `bias` are `[c]`; `mean` and `variance` are `[c]` or `[n, groups]`, see
/// [`Share`], and f32 for half types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NormPass {
    /// `(x, weight, bias) -> (y, mean, variance)` with `y = (x - mean) * rstd * weight + bias`.
    Forward,
    /// `(x, weight, mean, variance, dy) -> (dx, dweight, dbias)`.
    Grad,
}

/// Which elements of `[n, c, ..]` share a mean and a variance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Share {
    /// Those of a channel, in all images.
    Batch,
    /// Those of a group of neighbouring channels, image by image; so many groups of equal size.
    Groups(usize),
}
