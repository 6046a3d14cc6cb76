//! Extremes with their index along one dimension.

use esker_tensor::{DType, Dims, Error, Result};
use smallvec::smallvec;

use super::reduce::{reduced, spread};
use super::{Argmax, Argmin, Max, Min, inputs, no_compose, no_sizes, not_differentiable};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Promote, Value,
    Vjp,
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

/// The extreme alone, for dtypes that ONNX's reductions take.
fn onnx_arg(op_type: &'static str, dim: i64, keepdim: bool, cx: &OnnxCx<'_>) -> Onnx {
    if cx.x[0].dtype == DType::Bool {
        return Onnx::None("ArgMax and ArgMin take no bool");
    }
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
                let d = x.shape.dim(self.dim)?;
                let dims = Dims::from([d as u8]);
                cx.only(0, || {
                    let mut along = esker_tensor::Shape::filled(1, x.shape.len());
                    along[d] = x.shape[d];
                    let places = V::arange(0.0, 1.0, x.shape[d] as i64, DType::I64, x.device)?.reshape(along)?;
                    let chosen = spread(index, &dims, &x.shape)?.eq(&places)?;
                    chosen.where_cond(&spread(dy, &dims, &x.shape)?, &V::scalar(0.0, x.dtype, x.device)?)
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

macro_rules! arg {
    ($($Name:ident $name:literal $largest:literal $onnx:literal;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Keep
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                Ok(smallvec![infer(x, self.dim, self.keepdim)?.with_dtype(DType::I64)])
            }
            fn lower(&self, x: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::ArgReduce { largest: $largest, dim: axis(x, self.dim) })
            }
            no_compose!();
            not_differentiable!("an index is constant almost everywhere");
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                onnx_arg($onnx, self.dim, self.keepdim, cx)
            }
            no_sizes!();
        }
    )*};
}

arg! { Argmax "argmax" true "ArgMax"; Argmin "argmin" false "ArgMin"; }
