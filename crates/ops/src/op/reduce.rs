//! Reductions over dimensions: sum, mean, extremes.

use esker_tensor::{DType, Dims, Error, Result, Shape};
use smallvec::smallvec;

use super::{Amax, Amin, Mean, Sum, inputs, need_float, no_compose, no_sizes};
use crate::{
    Axes, Fold, Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops,
    Promote, Value, Vjp,
};

/// `shape` with `dims` set to 1, or without them.
pub(crate) fn reduced(shape: &Shape, dims: &Dims, keepdim: bool) -> Shape {
    let kept = shape.iter().enumerate().filter_map(|(d, &n)| match dims.contains(&(d as u8)) {
        true if keepdim => Some(1),
        true => None,
        false => Some(n),
    });
    kept.collect()
}

/// A reduced value spread over the shape it came from (as a view).
pub(crate) fn spread<V: Value>(y: &V, dims: &Dims, shape: &Shape) -> Result<V> {
    let kept = reduced(shape, dims, true);
    let given = y.meta().shape;
    if given.is_empty() || given == kept { y.expand(shape) } else { y.reshape(kept)?.expand(shape) }
}

pub(crate) fn lower(op: Fold, axes: &Axes, x: &[Meta]) -> Lowering {
    let dims = x.first().and_then(|m| axes.of(&m.shape).ok()).unwrap_or_default();
    Lowering::Kernel(Kernel::Reduce { op, dims })
}

/// ONNX moved the axes of its reductions from an attribute to an input, ReduceSum first.
pub(crate) fn onnx_reduce(
    op_type: &'static str,
    input_since: u32,
    axes: &Axes,
    keepdim: bool,
    cx: &OnnxCx<'_>,
) -> Onnx {
    let dims: Vec<i64> =
        cx.x.first().and_then(|m| axes.of(&m.shape).ok()).unwrap_or_default().iter().map(|&d| i64::from(d)).collect();
    if dims.is_empty() {
        return OnnxNode::new("Identity", vec![OnnxRef::In(0)]).into(); // A scalar reduces to itself.
    }
    let node = if cx.opset >= input_since {
        OnnxNode::new(op_type, vec![OnnxRef::In(0), OnnxRef::Ints(dims)])
    } else {
        OnnxNode::new(op_type, vec![OnnxRef::In(0)]).attr("axes", OnnxAttr::Ints(dims))
    };
    node.attr("keepdims", OnnxAttr::Int(i64::from(keepdim))).into()
}

impl OpRule for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        let shape = reduced(&x.shape, &self.dim.of(&x.shape)?, self.keepdim);
        let dtype = if x.dtype.is_float() { x.dtype } else { DType::I64 };
        Ok(smallvec![Meta::new(dtype, shape, x.device)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        match x.first() {
            Some(m) if !m.dtype.is_float() && m.dtype != DType::I64 => Lowering::Compose,
            _ => lower(Fold::Sum, &self.dim, x),
        }
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<crate::Outs<V>>> {
        let x = x.first()?;
        // Small integers sum in i64.
        (!x.meta().dtype.is_float() && x.meta().dtype != DType::I64)
            .then(|| Ok(smallvec![x.cast(DType::I64)?.sum(self.dim, self.keepdim)?]))
    }

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let shape = &cx.x_metas[0].shape;
        cx.only(0, || spread(cx.dy()?, &self.dim.of(shape)?, shape))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if cx.x[0].dtype != cx.y[0].dtype {
            return Onnx::Compose;
        }
        onnx_reduce("ReduceSum", 13, &self.dim, self.keepdim, cx)
    }

    no_sizes!();
}

impl OpRule for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        need_float("the input", x.dtype)?;
        Ok(smallvec![x.with_shape(reduced(&x.shape, &self.dim.of(&x.shape)?, self.keepdim))])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        lower(Fold::Mean, &self.dim, x)
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (x, dy) = (&cx.x_metas[0], cx.dy()?);
        let dims = self.dim.of(&x.shape)?;
        let count: usize = dims.iter().map(|&d| x.shape[d as usize]).product();
        let scale = V::scalar(1.0 / count as f64, x.dtype, x.device)?;
        cx.only(0, || spread(&dy.mul(&scale)?, &dims, &x.shape))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        onnx_reduce("ReduceMean", 18, &self.dim, self.keepdim, cx)
    }

    no_sizes!();
}

/// The number of rows and their length, where the dimensions are the last ones.
fn as_rows(shape: &Shape, dims: &Dims) -> Option<[usize; 2]> {
    let lead = shape.len() - dims.len();
    let last = !dims.is_empty() && dims.iter().all(|&d| usize::from(d) >= lead);
    last.then(|| [shape[..lead].iter().product(), shape[lead..].iter().product()])
}

macro_rules! extreme {
    ($($Name:ident $name:literal $fold:ident $onnx:literal $what:literal;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Keep
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                let [x] = inputs(x)?;
                let dims = self.dim.of(&x.shape)?;
                if let Some(&d) = dims.iter().find(|&&d| x.shape[d as usize] == 0) {
                    return Err(Error::shape(format!(
                        concat!("the ", $what, " of dimension {} of {:?} is asked for, which is empty"),
                        d, x.shape
                    )));
                }
                Ok(smallvec![x.with_shape(reduced(&x.shape, &dims, self.keepdim))])
            }
            fn lower(&self, x: &[Meta]) -> Lowering {
                lower(Fold::$fold, &self.dim, x)
            }
            no_compose!();
            fn grad(&self) -> Grad {
                Grad::Saves { inputs: 1, outputs: 1 }
            }
            /// Ties share the gradient equally, as in PyTorch.
            fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
                let (x, y, dy) = (cx.x(0)?, cx.y(0)?, cx.dy()?);
                let meta = x.meta();
                let dims = self.dim.of(&meta.shape)?;
                cx.only(0, || {
                    if let Some([rows, n]) = as_rows(&meta.shape, &dims) {
                        let [y, dy] = [y.reshape([rows, 1])?, dy.reshape([rows, 1])?];
                        return x.reshape([rows, n])?.extreme_grad(&y, &dy)?.reshape(meta.shape);
                    }
                    let hits = x.eq(&spread(y, &dims, &meta.shape)?)?.cast(meta.dtype)?;
                    let count = hits.sum(dims, true)?;
                    let dy = dy.reshape(count.meta().shape)?;
                    hits.mul(&dy.div(&count)?)
                })
            }
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                onnx_reduce($onnx, 18, &self.dim, self.keepdim, cx)
            }
            no_sizes!();
        }
    )*};
}

extreme! { Amax "amax" Max "ReduceMax" "largest"; Amin "amin" Min "ReduceMin" "smallest"; }

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, axes, distinct, ints, real, real_in, values};

    fn fold(x: &[RefArray], dims: &Axes, keepdim: bool, f: impl Fn(&[f64]) -> f64) -> Vec<RefArray> {
        vec![x[0].fold(&axes(dims, x[0].shape.len()), keepdim, f)]
    }

    /// Shapes with dimensions to reduce, none of them empty.
    fn cases() -> Vec<(&'static [usize], Axes, bool)> {
        vec![
            (&[2, 3], 1.into(), false),
            (&[2, 3], (-1).into(), true),
            (&[4, 5], 0.into(), false),
            (&[2, 3], ().into(), false),
            (&[2, 3], ().into(), true),
            (&[2, 3, 4, 2], [0, 2].into(), false),
            (&[4, 3, 2], [-1, 0].into(), true),
            (&[3, 4, 5], 1.into(), false),
            (&[3, 1, 5], 1.into(), false),
            (&[], ().into(), false),
            (&[], 0.into(), true),
            (&[0, 3], 1.into(), false),
            (&[2, 1, 3, 1, 2, 3], [1, 2, 5].into(), true),
            (&[1, 2, 1, 2, 1, 2, 2, 2], [0, 3, 7].into(), false),
            (&[3, 67], 1.into(), false),
            (&[67, 3], 0.into(), false),
            (&[293], 0.into(), false),
        ]
    }

    /// Dimensions that are empty.
    fn empty() -> Vec<(&'static [usize], Axes, bool)> {
        vec![(&[0, 3], 0.into(), false), (&[2, 0], 1.into(), true), (&[0], ().into(), false)]
    }

    fn samples<R: Into<crate::Op>>(op: fn(Axes, bool) -> R, x: fn(&[usize]) -> Input, all: bool) -> Vec<Sample> {
        let good = cases().into_iter().chain(empty().into_iter().filter(|_| all));
        let mut out: Vec<Sample> = good.map(|(shape, dims, keep)| Sample::new(op(dims, keep), [x(shape)])).collect();
        out.push(Sample::new(op(2.into(), false), [x(&[2, 3])]).fails("Dim", "out of range"));
        out.push(Sample::new(op((-3).into(), false), [x(&[2, 3])]).fails("Dim", "out of range"));
        out.push(Sample::new(op(1.into(), false), [x(&[])]).fails("Dim", "a scalar takes 0 and -1"));
        out.push(Sample::new(op([0, -2].into(), false), [x(&[2, 3])]).fails("Dim", "named twice"));
        out.push(Sample::new(op(Axes::new(&[0; 9]), false), [x(&[2, 3])]).fails("Dim", "nine dimensions"));
        out.push(Sample::new(op(0.into(), false), [x(&[2]), x(&[2])]).fails("Shape", "two inputs"));
        out
    }

    impl OpSpec for Sum {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            fold(x, &self.dim, self.keepdim, |g| g.iter().sum())
        }

        fn samples() -> Vec<Sample> {
            let op = |dims, keepdim| Sum { dim: dims, keepdim };
            let mut out = samples(op, real, true);
            for (shape, dims, keep) in cases().into_iter().take(8).chain(empty()) {
                out.push(Sample::new(op(dims, keep), [ints(shape, -9, 9)]).on(Dtypes::All).rough());
            }
            let large = values(&[3], &[100.0, 100.0, 100.0]);
            let small = Dtypes::Only(&[DType::U8, DType::I8, DType::I16, DType::I32]);
            out.push(Sample::new(op(().into(), false), [large]).on(small).known(&[&[300.0]], "integers sum in i64"));
            out
        }
    }

    impl OpSpec for Mean {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            fold(x, &self.dim, self.keepdim, |g| g.iter().sum::<f64>() / g.len() as f64)
        }

        fn samples() -> Vec<Sample> {
            let op = |dims, keepdim| Mean { dim: dims, keepdim };
            let mut out = samples(op, real, false);
            // The mean of nothing is NaN, which has no gradient.
            out.extend(
                empty().into_iter().map(|(s, d, k)| Sample::new(op(d, k), [real(s)]).rough().note("of nothing")),
            );
            let large = values(&[2], &[60000.0, 60000.0]);
            let half = Dtypes::Only(&[DType::F16]);
            let note = "by hand: the sum does not fit a half float, the mean does";
            out.push(Sample::new(op(().into(), false), [large]).on(half).known(&[&[60000.0]], note));
            let whole = Sample::new(op(0.into(), false), [ints(&[3], 1, 3)]).on(Dtypes::Ints);
            out.push(whole.fails("DType", "integers have no mean"));
            out
        }
    }

    macro_rules! extremes {
        ($($Name:ident |$a:ident, $b:ident| $wins:expr, $range:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    fold(x, &self.dim, self.keepdim, |g| {
                        g.iter().copied().reduce(|$a, $b| if $a.is_nan() || $wins { $a } else { $b }).unwrap_or(f64::NAN)
                    })
                }

                fn samples() -> Vec<Sample> {
                    let op = |dims, keepdim| $Name { dim: dims, keepdim };
                    let mut out = samples(op, distinct, false);
                    for (shape, dims, keep) in cases().into_iter().take(6) {
                        out.push(Sample::new(op(dims, keep), [ints(shape, -9, 9)]).on(Dtypes::All).rough().note("ties"));
                    }
                    let (low, high) = $range;
                    out.push(Sample::new(op(0.into(), false), [real_in(&[37], low, high)]).rough().note("of one sign"));
                    out.push(Sample::new(op(1.into(), false), [real(&[0, 3])]).note("nothing of something"));
                    out.push(Sample::new(op(0.into(), false), [real(&[2, 0])]).note("nothing of something"));
                    out.push(Sample::new(op(1.into(), false), [real(&[2, 0])]).fails("Shape", "nothing has no extreme"));
                    let far = f64::INFINITY.copysign(low);
                    let nan = values(&[2, 3], &[1.0, f64::NAN, 3.0, far, far, far]);
                    out.push(Sample::new(op(1.into(), false), [nan]).known(&[&[f64::NAN, far]], "PyTorch's rule: NaN wins"));
                    out
                }
            }
        )*};
    }

    extremes! { Amax |a, b| a >= b, (-3.0, -1.0); Amin |a, b| a <= b, (1.0, 3.0); }
}
