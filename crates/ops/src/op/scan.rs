//! Running folds along a dimension.

use esker_tensor::{DType, Result};
use smallvec::smallvec;

use super::{Cumsum, inputs, no_sizes};
use crate::{
    Fold, Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs,
    Promote, Value, Vjp,
};

impl OpRule for Cumsum {
    fn name(&self) -> &'static str {
        "cumsum"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        x.shape.dim(self.dim)?;
        Ok(smallvec![x.with_dtype(if x.dtype.is_float() { x.dtype } else { DType::I64 })])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        match x.first() {
            Some(m) if m.shape.is_empty() || (!m.dtype.is_float() && m.dtype != DType::I64) => Lowering::Compose,
            Some(m) => {
                let dim = m.shape.dim(self.dim).unwrap_or(0);
                Lowering::Kernel(Kernel::Scan { op: Fold::Sum, dim, reverse: self.reverse })
            }
            None => Lowering::Compose,
        }
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let x = *x.first()?;
        let meta = x.meta();
        if !meta.dtype.is_float() && meta.dtype != DType::I64 {
            // Small integers sum in i64.
            return Some(x.cast(DType::I64).and_then(|x| x.cumsum(self.dim, self.reverse)).map(|y| smallvec![y]));
        }
        meta.shape.is_empty().then(|| Ok(smallvec![x.clone()]))
    }

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || cx.dy()?.cumsum(self.dim, !self.reverse))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if cx.x[0].dtype != cx.y[0].dtype || cx.x[0].shape.is_empty() {
            return Onnx::Compose;
        }
        let dim = cx.x[0].shape.dim(self.dim).unwrap_or(0) as f64;
        OnnxNode::new("CumSum", vec![OnnxRef::In(0), OnnxRef::Scalar(dim, DType::I64)])
            .attr("reverse", OnnxAttr::Int(i64::from(self.reverse)))
            .into()
    }

    no_sizes!();
}
