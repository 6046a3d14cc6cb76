//! Layer normalisation: a row kernel that centres and scales, and the affine part in terms of mul and add.

use esker_tensor::{Error, Result};
use smallvec::smallvec;

use super::reduce::reduced;
use super::{LayerNorm, Normalize, NormalizeGrad, inputs, need_float, no_sizes, vjp_by_composition};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Row, Value, Vjp,
};

/// Mean and rstd have size 1 in the last dimension.
fn statistics(x: &Meta) -> Result<Meta> {
    need_float("the input", x.dtype)?;
    match x.shape.len() {
        0 => Err(Error::shape("a scalar has no dimension to normalise over")),
        n => Ok(x.with_shape(reduced(&x.shape, &[n as u8 - 1].into(), true))),
    }
}

impl OpRule for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        let s = statistics(&x)?;
        Ok(smallvec![x, s, s])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::Normalize { eps: self.eps }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let x = *x.first()?;
        Some((|| {
            let meta = x.meta();
            let mean = x.mean(-1, true)?;
            let centred = x.sub(&mean)?;
            let variance = centred.square()?.mean(-1, true)?;
            let deviation = variance.add(&V::scalar(self.eps.get(), meta.dtype, meta.device)?)?.sqrt()?;
            let rstd = V::scalar(1.0, meta.dtype, meta.device)?.div(&deviation)?;
            Ok(smallvec![centred.mul(&rstd)?, mean, rstd])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::Saves { inputs: 0, outputs: 0b101 }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (y, rstd) = (cx.y(0)?, cx.y(2)?);
        let n = y.meta().shape.last().copied().unwrap_or(1) as f64;
        let scalar = |v: f64| V::scalar(v, y.meta().dtype, y.meta().device);
        let mut dx: Option<V> = None;
        let mut add = |part: V| -> Result<()> {
            dx = Some(match dx.take() {
                Some(dx) => dx.add(&part)?,
                None => part,
            });
            Ok(())
        };
        if let Some(Some(dy)) = cx.dy.first() {
            add(y.normalize_grad(rstd, dy)?)?;
        }
        if let Some(Some(dmean)) = cx.dy.get(1) {
            add(dmean.div(&scalar(n)?)?.expand(y.meta().shape)?)?;
        }
        if let Some(Some(drstd)) = cx.dy.get(2) {
            // rstd = (var + eps)^(-1/2) and d var / dx = 2 (x - mean) / n, with x - mean = y / rstd.
            let scale = drstd.mul(&rstd.square()?)?.mul(&scalar(-1.0 / n)?)?;
            add(y.mul(&scale)?)?;
        }
        Ok(smallvec![dx])
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

impl OpRule for NormalizeGrad {
    fn name(&self) -> &'static str {
        "normalize_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [y, rstd, dy] = inputs(x)?;
        if y.shape != dy.shape || rstd.shape != statistics(&y)?.shape {
            return Err(Error::shape(format!("{:?}, {:?} and {:?} do not fit", y.shape, rstd.shape, dy.shape)));
        }
        Ok(smallvec![Meta { device: y.device.meet(rstd.device)?.meet(dy.device)?, ..y }])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::NormalizeGrad))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [y, rstd, dy] = *x else { return None };
        Some((|| {
            let along = y.mul(&dy.mul(y)?.mean(-1, true)?)?;
            Ok(smallvec![dy.sub(&dy.mean(-1, true)?)?.sub(&along)?.mul(rstd)?])
        })())
    }

    vjp_by_composition!(3);

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

impl OpRule for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, w, b] = inputs(x)?;
        statistics(&x)?;
        let n = x.shape[x.shape.len() - 1];
        if w.shape[..] != [n] || b.shape[..] != [n] {
            return Err(Error::shape(format!(
                "weight and bias must be [{n}] as the last dimension of {:?}, got {:?} and {:?}",
                x.shape, w.shape, b.shape
            )));
        }
        Ok(smallvec![Meta { device: x.device.meet(w.device)?.meet(b.device)?, ..x }])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Compose
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, w, b] = *x else { return None };
        Some((|| Ok(smallvec![x.normalize(self.eps)?.0.mul(w)?.add(b)?]))())
    }

    vjp_by_composition!(3);

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if cx.opset < 17 {
            return Onnx::Compose;
        }
        OnnxNode::new("LayerNormalization", vec![OnnxRef::In(0), OnnxRef::In(1), OnnxRef::In(2)])
            .attr("axis", OnnxAttr::Int(-1))
            .attr("epsilon", OnnxAttr::Float(self.eps.get() as f32))
            .into()
    }

    no_sizes!();
}
