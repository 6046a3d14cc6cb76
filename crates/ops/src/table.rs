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
        }
    };
}

/// All other ops. `$then` receives the rows: `Variant method (inputs; attributes) -> outputs;`, with `[list]` for an op
/// that takes any number of inputs. The row also defines the op's struct; its rules are in `op/`.
#[macro_export]
macro_rules! op_rows {
    ($then:path $(, $($pass:tt)*)?) => {
        $then! {
            $($($pass)*)?
            /// Incoming gradient times the derivative of an elementwise op by one input: `(x.., dy)`.
            MapGrad map_grad [xs; op: MapOp, wrt: u8] -> 1;
            /// Elements where the condition holds from the second input, else from the third.
            Where where_cond (cond, x, y;) -> 1;
            /// `x == y`.
            Eq eq (x, y;) -> 1;
            /// `x != y`.
            Ne ne (x, y;) -> 1;
            /// `x < y`.
            Lt lt (x, y;) -> 1;
            /// `x <= y`.
            Le le (x, y;) -> 1;
            /// `x > y`.
            Gt gt (x, y;) -> 1;
            /// `x >= y`.
            Ge ge (x, y;) -> 1;
            /// Elements in another dtype: floats to integers truncate and saturate.
            Cast cast (x; dtype: DType) -> 1;
            /// Sum over dimensions (all for `()`); integers sum in i64.
            Sum sum (x; dims: Axes, keepdim: bool) -> 1;
            /// Mean over dimensions (all for `()`).
            Mean mean (x; dims: Axes, keepdim: bool) -> 1;
            /// Largest over dimensions (all for `()`), NaN wins; ties share the gradient equally.
            Amax amax (x; dims: Axes, keepdim: bool) -> 1;
            /// Largest along one dimension with its index: `(values, i64 indices)`; ties give the first.
            Max max (x; dim: i64, keepdim: bool) -> 2;
            /// Smallest along one dimension with its index: `(values, i64 indices)`; ties give the first.
            Min min (x; dim: i64, keepdim: bool) -> 2;
            /// Index of the largest along one dimension.
            Argmax argmax (x; dim: i64, keepdim: bool) -> 1;
            /// Index of the smallest along one dimension.
            Argmin argmin (x; dim: i64, keepdim: bool) -> 1;
            /// Running sum along one dimension, from the end when `reverse`.
            Cumsum cumsum (x; dim: i64, reverse: bool) -> 1;
            /// Running mean along one dimension.
            Cummean cummean (x; dim: i64) -> 1;
            /// Matrix product `[.., m, k] x [.., k, n]`; leading dimensions broadcast, vectors as in NumPy.
            Matmul matmul (x, y;) -> 1;
            /// Two-dimensional convolution of `[n, c, h, w]` with `[k, c / groups, r, s]`.
            Conv2d conv2d (x, w; conv: kernel::Conv2d) -> 1;
            /// Gradient of a convolution by its input (a transposed convolution): `(dy, w)`.
            Conv2dInputGrad conv2d_input_grad (dy, w; conv: kernel::Conv2d, size: Sizes) -> 1;
            /// Gradient of a convolution by its weight: `(x, dy)`.
            Conv2dWeightGrad conv2d_weight_grad (x, dy; conv: kernel::Conv2d, kernel: Sizes) -> 1;
            /// Largest in each window with its index: `(values, i64 indices)`.
            MaxPool2d max_pool2d (x; pool: kernel::Pool2d) -> 2;
            /// Gradient of max pooling: `dy` added at `index`: `(dy, index)`.
            MaxUnpool2d max_unpool2d (dy, index; pool: kernel::Pool2d, size: Sizes) -> 1;
            /// The elements that max pooling chose: `(x, index)`.
            MaxPoolGather max_pool_gather (x, index; pool: kernel::Pool2d) -> 1;
            /// The same elements, row-major, under another shape; one size may be -1.
            Reshape reshape (x; sizes: Sizes) -> 1;
            /// Dimensions in another order.
            Permute permute (x; dims: Axes) -> 1;
            /// Size-1 and new leading dimensions repeated without a copy; -1 keeps a size.
            Expand expand (x; sizes: Sizes) -> 1;
            /// Elements `start..end` of a dimension, every `step`-th; Python's rules, the step may be negative.
            Slice slice (x; dim: i64, start: i64, end: i64, step: i64) -> 1;
            /// Gradient of a slice: zeros of `size` along the dimension with `dy` in the slice's place.
            SliceGrad slice_grad (dy; dim: i64, start: i64, step: i64, size: i64) -> 1;
            /// Inputs one after the other along a dimension.
            Cat cat [xs; dim: i64] -> 1;
            /// Slices `index` (1-d i64) of a dimension.
            IndexSelect index_select (x, index; dim: i64) -> 1;
            /// Zeros of `size` along a dimension, with slice `i` of `src` added at `index[i]`: `(index, src)`.
            IndexAdd index_add (index, src; dim: i64, size: i64) -> 1;
            /// `exp(x) / sum(exp(x))` along one dimension.
            Softmax softmax (x; dim: i64) -> 1;
            /// Gradient of softmax over the last dimension: `(y, dy)`.
            SoftmaxGrad softmax_grad (y, dy;) -> 1;
            /// `log(softmax(x))` along one dimension.
            LogSoftmax log_softmax (x; dim: i64) -> 1;
            /// Gradient of log-softmax over the last dimension: `(y, dy)`.
            LogSoftmaxGrad log_softmax_grad (y, dy;) -> 1;
            /// Rows of the last dimension to mean 0 and variance 1: `(y, mean, rstd)`.
            Normalize normalize (x; eps: F64Bits) -> 3;
            /// Gradient of `normalize`: `(y, rstd, dy)`.
            NormalizeGrad normalize_grad (y, rstd, dy;) -> 1;
            /// Layer normalisation over the last dimension with weight and bias.
            LayerNorm layer_norm (x, weight, bias; eps: F64Bits) -> 1;
            /// Cross-entropy of each row of logits `[n, c]` with an i64 class: `(loss [n], logsumexp [n])`.
            CrossEntropy cross_entropy_rows (x, target; ignore: i64) -> 2;
            /// Gradient of `cross_entropy_rows` by the logits: `(x, target, lse, dloss)`.
            CrossEntropyGrad cross_entropy_grad (x, target, lse, dloss; ignore: i64) -> 1;
            /// Zeroes elements with probability `p` and scales the rest by `1 / (1 - p)`; the mask follows from the key.
            Dropout dropout (x; p: F64Bits, key: Key) -> 1;
            /// A constant.
            Full full (; value: F64Bits, sizes: Sizes, dtype: DType, device: Device) -> 1;
            /// `start + i * step` for `i` in `0..len`.
            Arange arange (; start: F64Bits, step: F64Bits, len: i64, dtype: DType, device: Device) -> 1;
            /// Uniform in `[low, high)`.
            Uniform uniform (; low: F64Bits, high: F64Bits, key: Key, sizes: Sizes, dtype: DType, device: Device) -> 1;
            /// Normal.
            Normal normal (; mean: F64Bits, std: F64Bits, key: Key, sizes: Sizes, dtype: DType, device: Device) -> 1;
        }
    };
}

macro_rules! define_maps {
    ($($(#[doc = $doc:literal])* $Name:ident $method:ident $kind:ident ($($x:ident),+);)*) => {
        /// The elementwise ops.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum MapOp { $($(#[doc = $doc])* $Name,)* }

        impl MapOp {
            /// Every elementwise op, in table order.
            pub const ALL: &'static [MapOp] = &[$(MapOp::$Name),*];

            /// Calls the visitor with the op's function.
            pub fn visit<V: MapVisitor>(self, v: V) -> V::Out {
                match self { $(MapOp::$Name => v.visit::<elementwise::$Name>(),)* }
            }
        }

        #[cfg(feature = "spec")]
        impl MapOp {
            /// The op's reference and samples.
            pub(crate) fn spec(self) -> crate::spec::MapSpec {
                match self { $(MapOp::$Name => crate::spec::MapSpec::of::<elementwise::$Name>(),)* }
            }
        }

        #[cfg(feature = "spec")]
        const MAP_DOCS: &[&str] = &[$(concat!($($doc),*)),*];
    };
}

macro_rules! define_ops {
    ($($(#[doc = $doc:literal])* $Name:ident $method:ident $args:tt -> $outs:tt;)*) => {
        $(define_struct! { [$(#[doc = $doc])*] $Name $args })*

        /// An operation with its attributes: one variant for each row of the table.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // Documented on the structs.
        pub enum Op { Map(MapOp), $($Name($Name),)* }

        impl From<MapOp> for Op {
            fn from(op: MapOp) -> Op { Op::Map(op) }
        }

        $(impl From<$Name> for Op {
            fn from(op: $Name) -> Op { Op::$Name(op) }
        })*

        /// The rules of whichever op it is; see [`OpRule`].
        #[allow(missing_docs)]
        impl Op {
            pub fn name(&self) -> &'static str {
                match self { Op::Map(op) => op.name(), $(Op::$Name(op) => op.name(),)* }
            }
            pub fn promote(&self) -> Promote {
                match self { Op::Map(op) => op.promote(), $(Op::$Name(op) => op.promote(),)* }
            }
            pub fn infer(&self, x: &[Meta]) -> Result<Metas> {
                match self { Op::Map(op) => op.infer(x), $(Op::$Name(op) => op.infer(x),)* }
            }
            pub fn lower(&self, x: &[Meta]) -> Lowering {
                match self { Op::Map(op) => op.lower(x), $(Op::$Name(op) => op.lower(x),)* }
            }
            pub fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
                match self { Op::Map(op) => op.compose(x), $(Op::$Name(op) => op.compose(x),)* }
            }
            pub fn grad(&self) -> Grad {
                match self { Op::Map(op) => op.grad(), $(Op::$Name(op) => op.grad(),)* }
            }
            pub fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
                match self { Op::Map(op) => op.vjp(cx), $(Op::$Name(op) => op.vjp(cx),)* }
            }
            pub fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                match self { Op::Map(op) => op.onnx(cx), $(Op::$Name(op) => op.onnx(cx),)* }
            }
            pub fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
                match self { Op::Map(op) => op.sizes(f), $(Op::$Name(op) => op.sizes(f),)* }
            }
        }

        #[cfg(feature = "spec")]
        impl Op {
            /// The independent f64 reference of the op.
            pub fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
                use crate::spec::OpSpec;
                match self { Op::Map(op) => vec![op.spec().reference(x)], $(Op::$Name(op) => op.reference(x),)* }
            }
        }

        /// Every row of the table with its samples: what the table test, the benchmarks and the documentation walk.
        #[cfg(feature = "spec")]
        pub fn rows() -> Vec<crate::spec::Row> {
            use crate::spec::{OpSpec, Row};
            let maps = MapOp::ALL.iter().zip(MAP_DOCS).map(|(&op, doc)| Row {
                name: op.name(), doc, samples: op.spec().samples(op),
            });
            maps.chain([$(Row {
                name: stringify!($method),
                doc: concat!($($doc),*),
                samples: <$Name as OpSpec>::samples(),
            }),*]).collect()
        }
    };
}

/// The struct of a row: its attributes and nothing else.
macro_rules! define_struct {
    ([$(#[$doc:meta])*] $Name:ident ($($x:ident),* ; $($attr:ident : $T:ty),*)) => {
        define_struct! { @ [$(#[$doc])*] $Name $($attr: $T),* }
    };
    ([$(#[$doc:meta])*] $Name:ident [$xs:ident ; $($attr:ident : $T:ty),*]) => {
        define_struct! { @ [$(#[$doc])*] $Name $($attr: $T),* }
    };
    (@ [$(#[$doc:meta])*] $Name:ident $($attr:ident : $T:ty),*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // The attributes are the arguments of the row's method.
        pub struct $Name { $(pub $attr: $T),* }
    };
}

/// The methods of the table's rows.
macro_rules! define_methods {
    (
        maps { $($(#[$mdoc:meta])* $Map:ident $mmethod:ident $kind:ident ($x:ident $(, $y:ident)*);)* }
        $($(#[$doc:meta])* $Name:ident $method:ident $args:tt -> $outs:tt;)*
    ) => {
        /// The op table as methods, on everything that ops apply to.
        ///
        /// # Errors
        /// Every method fails with the op's name and one sentence when shapes, dtypes or devices do not fit.
        #[allow(clippy::missing_errors_doc)]
        pub trait Ops: Value {
            $(
                $(#[$mdoc])*
                #[track_caller]
                fn $mmethod(&self $(, $y: &Self)*) -> Result<Self> {
                    one(Self::apply(Op::Map(MapOp::$Map), &[self $(, $y)*])?)
                }
            )*
            $(define_method! { [$(#[$doc])*] $Name $method $args $outs })*
        }

        impl<V: Value> Ops for V {}
    };
}

macro_rules! define_method {
    ([$(#[$doc:meta])*] $Name:ident $method:ident (; $($attr:ident : $T:ty),*) $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method($($attr: impl Into<$T>),*) -> Result<outs!($outs)> {
            pick!($outs, Self::apply(Op::$Name($Name { $($attr: $attr.into()),* }), &[])?)
        }
    };
    ([$(#[$doc:meta])*] $Name:ident $method:ident ($x:ident $(, $y:ident)* ; $($attr:ident : $T:ty),*) $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method(&self $(, $y: &Self)* $(, $attr: impl Into<$T>)*) -> Result<outs!($outs)> {
            pick!($outs, Self::apply(Op::$Name($Name { $($attr: $attr.into()),* }), &[self $(, $y)*])?)
        }
    };
    ([$(#[$doc:meta])*] $Name:ident $method:ident [$xs:ident ; $($attr:ident : $T:ty),*] $outs:tt) => {
        $(#[$doc])*
        #[track_caller]
        fn $method($xs: &[&Self] $(, $attr: impl Into<$T>)*) -> Result<outs!($outs)> {
            pick!($outs, Self::apply(Op::$Name($Name { $($attr: $attr.into()),* }), $xs)?)
        }
    };
}

macro_rules! outs {
    (1) => {
        Self
    };
    (2) => {
        (Self, Self)
    };
    (3) => {
        (Self, Self, Self)
    };
}

macro_rules! pick {
    (1, $outs:expr) => {
        one($outs)
    };
    (2, $outs:expr) => {{
        let mut o = $outs.into_iter();
        Ok((next(&mut o)?, next(&mut o)?))
    }};
    (3, $outs:expr) => {{
        let mut o = $outs.into_iter();
        Ok((next(&mut o)?, next(&mut o)?, next(&mut o)?))
    }};
}

use esker_tensor::philox::Key;
use esker_tensor::{DType, Device, Error, Result};

use crate::op::elementwise;
use crate::{
    Axes, F64Bits, Grad, Grads, Lowering, MapVisitor, Meta, Metas, Onnx, OnnxCx, OpRule, Outs, Promote, Sizes, Value,
    Vjp, kernel,
};

fn next<V>(outs: &mut impl Iterator<Item = V>) -> Result<V> {
    outs.next().ok_or_else(|| Error::kernel("an op returned fewer outputs than its row says"))
}

fn one<V>(outs: Outs<V>) -> Result<V> {
    next(&mut outs.into_iter())
}

map_rows!(define_maps);
op_rows!(define_ops);

macro_rules! methods_of_maps {
    ($($maps:tt)*) => { op_rows!(define_methods, maps { $($maps)* }); };
}
map_rows!(methods_of_maps);
