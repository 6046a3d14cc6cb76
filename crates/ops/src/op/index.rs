//! Selection by index, and its transpose.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{IndexAdd, IndexSelect, inputs, need_i64, need_rank, no_compose, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Promote, Value,
    Vjp,
};

impl OpRule for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, index] = inputs(x)?;
        need_i64("the index", index.dtype)?;
        need_rank("the index", &index, 1)?;
        if x.shape.is_empty() {
            return Err(Error::dim("a scalar has no dimension to index"));
        }
        let mut shape = x.shape;
        shape[x.shape.dim(self.dim)?] = index.shape[0];
        shape.checked_numel()?;
        Ok(smallvec![Meta::new(x.dtype, shape, x.device.meet(index.device)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let dim = x.first().and_then(|m| m.shape.dim(self.dim).ok()).unwrap_or(0);
        Lowering::Kernel(Kernel::Gather { dim })
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b10)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let shape = &cx.x_metas[0].shape;
        let dim = shape.dim(self.dim)?;
        cx.only(0, || cx.x(1)?.index_add(cx.dy()?, dim as i64, shape[dim] as i64))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let dim = cx.x[0].shape.dim(self.dim).unwrap_or(0) as i64;
        OnnxNode::new("Gather", vec![OnnxRef::In(0), OnnxRef::In(1)]).attr("axis", OnnxAttr::Int(dim)).into()
    }

    no_sizes!();
}

impl OpRule for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [index, src] = inputs(x)?;
        need_i64("the index", index.dtype)?;
        need_rank("the index", &index, 1)?;
        if src.dtype == DType::Bool {
            return Err(Error::dtype("takes numbers, got bool; cast first"));
        }
        if src.shape.is_empty() {
            return Err(Error::dim("a scalar has no dimension to index"));
        }
        let dim = src.shape.dim(self.dim)?;
        if src.shape[dim] != index.shape[0] {
            return Err(Error::shape(format!(
                "{} indices were given for the {} slices of dimension {dim} of {:?}",
                index.shape[0], src.shape[dim], src.shape
            )));
        }
        if self.size < 0 {
            return Err(Error::shape(format!("size {} is negative", self.size)));
        }
        let mut shape = src.shape;
        shape[dim] = self.size as usize;
        shape.checked_numel()?;
        Ok(smallvec![Meta::new(src.dtype, shape, src.device.meet(index.device)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let dim = x.get(1).and_then(|m| m.shape.dim(self.dim).ok()).unwrap_or(0);
        Lowering::Kernel(Kernel::Scatter { dim })
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b01)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(1, || cx.dy()?.index_select(cx.x(0)?, self.dim))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let dim = cx.x[1].shape.dim(self.dim).unwrap_or(0);
        if dim != 0 {
            return Onnx::None("ScatterND adds slices of the first dimension only");
        }
        if cx.opset < 16 {
            return Onnx::None("ScatterND adds only from opset 16 on");
        }
        Onnx::Nodes(vec![
            OnnxNode::new("Expand", vec![OnnxRef::Scalar(0.0, cx.x[1].dtype), OnnxRef::ShapeOf(0)]),
            OnnxNode::new("Unsqueeze", vec![OnnxRef::In(0), OnnxRef::Ints(vec![1])]),
            OnnxNode::new("ScatterND", vec![OnnxRef::Node(0, 0), OnnxRef::Node(1, 0), OnnxRef::In(1)])
                .attr("reduction", OnnxAttr::Str("add")),
        ])
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        f(&mut self.size);
    }
}
