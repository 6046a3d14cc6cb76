//! Extremes with their index along one dimension.

use esker_tensor::{DType, Dims, Error, Result, Shape};
use smallvec::smallvec;

use super::reduce::reduced;
use super::{Argmax, Argmin, Max, Min, inputs, no_compose, no_sizes, not_differentiable};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Opt, Outs,
    Promote, Put, Value, Vjp,
};

fn infer(x: &[Meta], dim: i64, keepdim: bool) -> Result<Meta> {
    let [x] = inputs(x)?;
    let d = x.shape.dim(dim)?;
    if x.shape.get(d) == Some(&0) {
        return Err(Error::shape(format!("dimension {dim} of {:?} is empty and has no extreme", x.shape)));
    }
    let dims = if x.shape.is_empty() { Dims::empty() } else { Dims::from([d as u8]) };
    Ok(x.with_shape(reduced(&x.shape, &dims, keepdim)))
}

fn axis(x: &[Meta], dim: i64) -> usize {
    x.first().and_then(|m| m.shape.dim(dim).ok()).unwrap_or(0)
}

/// The index of the extreme.
fn onnx_arg(op_type: &'static str, dim: i64, keepdim: bool, cx: &OnnxCx<'_>) -> Onnx {
    if cx.x[0].shape.is_empty() {
        return Onnx::None("ArgMax of a scalar has no axis");
    }
    OnnxNode::new(op_type, vec![OnnxRef::In(0)])
        .attr("axis", OnnxAttr::Int(axis(cx.x, dim) as i64))
        .attr("keepdims", OnnxAttr::Int(i64::from(keepdim)))
        .into()
}

macro_rules! extreme {
    ($($Name:ident $name:literal $largest:literal;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Keep
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                let y = infer(x, self.dim, self.keepdim)?;
                Ok(smallvec![y, y.with_dtype(DType::I64)])
            }
            fn lower(&self, x: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::ArgReduce { largest: $largest, dim: axis(x, self.dim) })
            }
            no_compose!();
            fn grad(&self) -> Grad {
                Grad::outputs(0b10)
            }
            /// The gradient goes to the element that was chosen.
            fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
                let (x, index, dy) = (&cx.x_metas[0], cx.y(1)?, cx.dy()?);
                if x.shape.is_empty() {
                    return cx.only(0, || Ok(dy.clone()));
                }
                let dims = Dims::from([x.shape.dim(self.dim)? as u8]);
                let kept = reduced(&x.shape, &dims, true);
                cx.only(0, || {
                    let zeros = V::full(0.0, x.shape, x.dtype, x.device)?;
                    zeros.scatter_elements(&index.reshape(kept)?, &dy.reshape(kept)?, self.dim, Put::Sum)
                })
            }
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                let arg = match onnx_arg(if $largest { "ArgMax" } else { "ArgMin" }, self.dim, true, cx) {
                    Onnx::Nodes(nodes) => nodes,
                    other => return other,
                };
                let axis = axis(cx.x, self.dim) as i64;
                // The value by its index, so that ties and NaN cannot disagree; Identity and Squeeze order the outputs.
                let mut nodes = arg;
                nodes.push(
                    OnnxNode::new("GatherElements", vec![OnnxRef::In(0), OnnxRef::Node(0, 0)])
                        .attr("axis", OnnxAttr::Int(axis)),
                );
                let (value, index) = (OnnxRef::Node(1, 0), OnnxRef::Node(0, 0));
                nodes.extend([value, index].map(|from| {
                    if self.keepdim {
                        OnnxNode::new("Identity", vec![from])
                    } else {
                        OnnxNode::new("Squeeze", vec![from, OnnxRef::Ints(vec![axis])])
                    }
                }));
                Onnx::Nodes(nodes)
            }
            no_sizes!();
        }
    )*};
}

extreme! { Max "max" true; Min "min" false; }

/// Of all elements in one line, when no dimension is named.
fn infer_arg(x: &[Meta], dim: Opt<i64>, keepdim: bool) -> Result<Meta> {
    if let Some(dim) = dim.get() {
        return infer(x, dim, keepdim);
    }
    let [x] = inputs(x)?;
    if x.shape.numel() == 0 {
        return Err(Error::shape(format!("{:?} is empty and has no extreme", x.shape)));
    }
    Ok(x.with_shape(Shape::filled(1, if keepdim { x.shape.len() } else { 0 })))
}

macro_rules! arg {
    ($($Name:ident $name:ident $largest:literal $onnx:literal;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                stringify!($name)
            }
            fn promote(&self) -> Promote {
                Promote::Keep
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                Ok(smallvec![infer_arg(x, self.dim, self.keepdim)?.with_dtype(DType::I64)])
            }
            fn lower(&self, x: &[Meta]) -> Lowering {
                match self.dim.get() {
                    Some(dim) => Lowering::Kernel(Kernel::ArgReduce { largest: $largest, dim: axis(x, dim) }),
                    None => Lowering::Compose,
                }
            }
            fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
                let x = *x.first()?;
                let all = || {
                    let rank = if self.keepdim { x.meta().shape.len() } else { 0 };
                    x.reshape([-1])?.$name(0, false)?.reshape(Shape::filled(1, rank))
                };
                self.dim.get().is_none().then(|| all().map(|y| smallvec![y]))
            }
            not_differentiable!("an index is constant almost everywhere");
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                self.dim.get().map_or(Onnx::Compose, |dim| onnx_arg($onnx, dim, self.keepdim, cx))
            }
            no_sizes!();
        }
    )*};
}

arg! { Argmax argmax true "ArgMax"; Argmin argmin false "ArgMin"; }

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::Op;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, axis, distinct, ints, values};

    /// The place of the extreme: NaN before all, then the first of equals.
    fn place(line: &[f64], largest: bool) -> usize {
        let mut best = 0;
        for (i, &v) in line.iter().enumerate() {
            let better = if largest { v > line[best] } else { v < line[best] };
            if !line[best].is_nan() && (better || v.is_nan()) {
                best = i;
            }
        }
        best
    }

    fn reference(x: &RefArray, largest: bool, dim: Option<i64>, keepdim: bool) -> [RefArray; 2] {
        let axes: Vec<usize> = match dim {
            Some(dim) if !x.shape.is_empty() => vec![axis(dim, x.shape.len())],
            _ => (0..x.shape.len()).collect(),
        };
        [
            x.fold(&axes, keepdim, |line| line[place(line, largest)]),
            x.fold(&axes, keepdim, |line| place(line, largest) as f64),
        ]
    }

    /// Samples of an op, and its outputs out of (value, index).
    fn samples(op: fn(i64, bool) -> Op, largest: bool, outputs: std::ops::Range<usize>) -> Vec<Sample> {
        let cases: [(&[usize], i64, bool); 14] = [
            (&[2, 3], 1, false),
            (&[2, 3], -1, true),
            (&[4, 5], 0, false),
            (&[4, 5], -2, true),
            (&[3, 4, 5], 1, false),
            (&[], 0, false),
            (&[], -1, true),
            (&[1], 0, false),
            (&[3, 1], 1, false),
            (&[0, 3], 1, false),
            (&[3, 67], 1, false),
            (&[67, 3], 0, true),
            (&[1, 2, 3, 1, 2, 2, 1, 2], 2, false),
            (&[259], 0, false),
        ];
        let new = |dim, keep, x: Input| Sample::new(op(dim, keep), [x]);
        let mut out: Vec<Sample> = cases.iter().map(|&(shape, dim, keep)| new(dim, keep, distinct(shape))).collect();
        for &(shape, dim, keep) in &cases[..5] {
            out.push(new(dim, keep, ints(shape, -2, 2)).on(Dtypes::All).rough().note("ties"));
        }
        out.push(new(0, false, ints(&[131], -2, 2)).on(Dtypes::All).rough().note("ties"));
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let mut known = |x: &[f64], value: f64, index: f64, note| {
            let both: [&[f64]; 2] = [&[value], &[index]];
            out.push(new(0, false, values(&[x.len()], x)).known(&both[outputs.clone()], note));
        };
        known(&[1.0, nan, 3.0, nan, -1.0], nan, 1.0, "PyTorch's rule: the first NaN wins");
        known(&[nan, 1.0], nan, 0.0, "PyTorch's rule: the first NaN wins");
        known(&[-inf, -inf], -inf, 0.0, "by definition: the first of equals");
        known(&[inf, inf, inf], inf, 0.0, "by definition: the first of equals");
        if largest {
            known(&[1.0, 3.0, 3.0, 2.0], 3.0, 1.0, "by definition: the first of equals");
            known(&[0.0, -0.0], 0.0, 0.0, "the zeros are equal");
        } else {
            known(&[2.0, 1.0, 3.0, 1.0], 1.0, 1.0, "by definition: the first of equals");
            known(&[0.0, -0.0], 0.0, 0.0, "the zeros are equal");
        }
        out.push(new(1, false, distinct(&[2, 0])).fails("Shape", "nothing has no extreme"));
        out.push(new(2, false, distinct(&[2, 3])).fails("Dim", "out of range"));
        out.push(new(-2, false, distinct(&[])).fails("Dim", "a scalar takes 0 and -1"));
        out.push(Sample::new(op(0, false), [distinct(&[2]), distinct(&[2])]).fails("Shape", "two inputs"));
        out
    }

    macro_rules! spec {
        ($($Name:ident $largest:literal $outputs:expr, |$op:ident| $dim:expr, $more:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let $op = self;
                    reference(&x[0], $largest, $dim, self.keepdim)[$outputs].to_vec()
                }
                fn samples() -> Vec<Sample> {
                    let mut out = samples(|dim, keepdim| $Name { dim: dim.into(), keepdim }.into(), $largest, $outputs);
                    out.extend($more);
                    out
                }
            }
        )*};
    }

    /// Samples without a dimension.
    fn of_all(op: fn(bool) -> Op) -> Vec<Sample> {
        vec![
            Sample::new(op(false), [distinct(&[3, 4])]),
            Sample::new(op(true), [ints(&[2, 3, 2], -2, 2)]).on(Dtypes::All).note("ties"),
            Sample::new(op(false), [distinct(&[])]),
            Sample::new(op(false), [values(&[2, 2], &[0.0, 1.0, 1.0, 0.0])]).known(
                &[&[if op(false).name() == "argmax" { 1.0 } else { 0.0 }]],
                "by definition: the first of equals",
            ),
            Sample::new(op(false), [distinct(&[0, 3])]).fails("Shape", "nothing has no extreme"),
        ]
    }

    spec! {
        Max true 0..2, |op| Some(op.dim), [];
        Min false 0..2, |op| Some(op.dim), [];
        Argmax true 1..2, |op| op.dim.get(), of_all(|keepdim| Argmax { dim: ().into(), keepdim }.into());
        Argmin false 1..2, |op| op.dim.get(), of_all(|keepdim| Argmin { dim: ().into(), keepdim }.into());
    }
}
