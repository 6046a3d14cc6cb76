//! Softmax and its logarithm: row kernels over the last dimension, compositions elsewhere.

use esker_tensor::{Error, Result};
use smallvec::smallvec;

use super::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad, inputs, need_float, no_sizes, vjp_by_composition};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Row, Value, Vjp,
};

fn last(x: &[Meta], dim: i64) -> bool {
    x.first().is_some_and(|m| !m.shape.is_empty() && m.shape.dim(dim).is_ok_and(|d| d + 1 == m.shape.len()))
}

/// Two inputs of one shape and a float dtype.
fn pair(x: &[Meta]) -> Result<Metas> {
    let [y, dy] = inputs(x)?;
    need_float("the input", y.dtype)?;
    if y.shape != dy.shape || y.shape.is_empty() {
        return Err(Error::shape(format!("{:?} and {:?} must be equal and not scalars", y.shape, dy.shape)));
    }
    Ok(smallvec![Meta { device: y.device.meet(dy.device)?, ..y }])
}

macro_rules! softmax {
    ($($Name:ident $name:literal $Row:ident $onnx:literal $grad_method:ident |$x:ident, $dim:ident| $compose:expr,
       |$y:ident, $dy:ident, $d:ident| $vjp:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Float
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                let [x] = inputs(x)?;
                x.shape.dim(self.dim)?;
                Ok(smallvec![x])
            }
            fn lower(&self, x: &[Meta]) -> Lowering {
                if last(x, self.dim) { Lowering::Kernel(Kernel::Row(Row::$Row)) } else { Lowering::Compose }
            }
            fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
                let $x = *x.first()?;
                let $dim = if $x.meta().shape.is_empty() { crate::Axes::from(()) } else { self.dim.into() };
                if $x.meta().shape.contains(&0) {
                    return Some(Ok(smallvec![$x.clone()])); // Nothing to compute, and no largest element.
                }
                Some((|| Ok(smallvec![$compose]))())
            }
            fn grad(&self) -> Grad {
                Grad::outputs(1)
            }
            fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
                let ($y, $dy, $d) = (cx.y(0)?, cx.dy()?, self.dim);
                let scalar = $y.meta().shape.is_empty();
                cx.only(0, || {
                    if scalar {
                        return $dy.sub($dy);
                    }
                    if last(cx.x_metas, $d) { $y.$grad_method($dy) } else { $vjp }
                })
            }
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                if cx.x[0].shape.is_empty() {
                    return Onnx::Compose;
                }
                let dim = cx.x[0].shape.dim(self.dim).unwrap_or(0) as i64;
                OnnxNode::new($onnx, vec![OnnxRef::In(0)]).attr("axis", OnnxAttr::Int(dim)).into()
            }
            no_sizes!();
        }
    )*};
}

softmax! {
    Softmax "softmax" Softmax "Softmax" softmax_grad
        |x, dim| { let e = x.sub(&x.amax(dim, true)?)?.exp()?; e.div(&e.sum(dim, true)?)? },
        |y, dy, d| y.mul(&dy.sub(&y.mul(dy)?.sum(d, true)?)?);
    LogSoftmax "log_softmax" LogSoftmax "LogSoftmax" log_softmax_grad
        |x, dim| { let c = x.sub(&x.amax(dim, true)?)?; c.sub(&c.exp()?.sum(dim, true)?.log()?)? },
        |y, dy, d| dy.sub(&y.exp()?.mul(&dy.sum(d, true)?)?);
}

macro_rules! row_grad {
    ($($Name:ident $name:literal |$y:ident, $dy:ident| $compose:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Common { from: 0 }
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                pair(x)
            }
            fn lower(&self, _: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::Row(Row::$Name))
            }
            fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
                let [$y, $dy] = *x else { return None };
                Some((|| Ok(smallvec![$compose]))())
            }
            vjp_by_composition!(2);
            fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
                Onnx::Compose
            }
            no_sizes!();
        }
    )*};
}

row_grad! {
    SoftmaxGrad "softmax_grad" |y, dy| y.mul(&dy.sub(&y.mul(dy)?.sum(-1, true)?)?)?;
    LogSoftmaxGrad "log_softmax_grad" |y, dy| dy.sub(&y.exp()?.mul(&dy.sum(-1, true)?)?)?;
}
