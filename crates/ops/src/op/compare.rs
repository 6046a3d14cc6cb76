//! Comparisons and the choice that follows from them.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{Eq, Ge, Gt, Le, Lt, Ne, Where, inputs, no_compose, no_sizes, not_differentiable};
use crate::{
    Cmp, Grad, Grads, Kernel, Lowering, Map, Meta, Metas, Onnx, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Promote, Value,
    Vjp, sum_to,
};

fn negated(op_type: &'static str) -> Onnx {
    let compare = OnnxNode::new(op_type, vec![OnnxRef::In(0), OnnxRef::In(1)]);
    Onnx::Nodes(vec![compare, OnnxNode::new("Not", vec![OnnxRef::Node(0, 0)])])
}

macro_rules! compare {
    ($($Name:ident $name:literal $onnx:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Common { from: 0 }
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                let [a, b] = inputs(x)?;
                let shape = a.shape.broadcast(&b.shape)?;
                Ok(smallvec![Meta::new(DType::Bool, shape, a.device.meet(b.device)?)])
            }
            fn lower(&self, _: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::Map(Map::Compare(Cmp::$Name)))
            }
            no_compose!();
            not_differentiable!("a comparison is constant almost everywhere and its result is bool");
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                let rule: fn(&OnnxCx<'_>) -> Onnx = $onnx;
                rule(cx)
            }
            no_sizes!();
        }
    )*};
}

compare! {
    Eq "eq" |cx| Onnx::node("Equal", cx);
    Ne "ne" |_| negated("Equal");
    Lt "lt" |cx| Onnx::node("Less", cx);
    Le "le" |cx| Onnx::node("LessOrEqual", cx);
    Gt "gt" |cx| Onnx::node("Greater", cx);
    Ge "ge" |cx| Onnx::node("GreaterOrEqual", cx);
}

impl OpRule for Where {
    fn name(&self) -> &'static str {
        "where_cond"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 1 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [cond, a, b] = inputs(x)?;
        if cond.dtype != DType::Bool {
            return Err(Error::dtype(format!("the condition must be bool, got {}", cond.dtype)));
        }
        let shape = cond.shape.broadcast(&a.shape)?.broadcast(&b.shape)?;
        Ok(smallvec![Meta::new(a.dtype, shape, cond.device.meet(a.device)?.meet(b.device)?)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Map(Map::Select))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b001)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (cond, dy) = (cx.x(0)?, cx.dy()?);
        let zero = V::scalar(0.0, dy.meta().dtype, dy.meta().device)?;
        cx.each(|i| {
            let part = match i {
                1 => cond.where_cond(dy, &zero)?,
                2 => cond.where_cond(&zero, dy)?,
                _ => return Err(Error::autograd("the condition of where has no gradient: it is bool")),
            };
            sum_to(&part, &cx.x_metas[i].shape)
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        Onnx::node("Where", cx)
    }

    no_sizes!();
}
