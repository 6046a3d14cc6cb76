//! Another dtype.

use esker_tensor::Result;
use smallvec::smallvec;

use super::{Cast, inputs, no_compose, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Promote, Value,
    Vjp,
};

impl OpRule for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        Ok(smallvec![x.with_dtype(self.dtype)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Copy)
    }

    no_compose!();

    fn grad(&self) -> Grad {
        if self.dtype.is_float() { Grad::SHAPES } else { Grad::None("a cast to integers or bool is a step function") }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || cx.dy()?.cast(cx.x_metas[0].dtype))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        OnnxNode::new("Cast", vec![OnnxRef::In(0)]).attr("to", OnnxAttr::DType(self.dtype)).into()
    }

    no_sizes!();
}
