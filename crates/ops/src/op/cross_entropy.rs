//! Cross-entropy of logits with class indices, one row at a time; no log-softmax tensor is ever made.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{CrossEntropy, CrossEntropyGrad, inputs, need_float, need_i64, need_rank, no_sizes, vjp_by_composition};
use crate::{Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Row, Value, Vjp};

fn check(x: &Meta, target: &Meta) -> Result<Meta> {
    need_float("the logits", x.dtype)?;
    need_rank("the logits", x, 2)?;
    need_i64("the target", target.dtype)?;
    if target.shape[..] != [x.shape[0]] {
        return Err(Error::shape(format!(
            "the target must be [{}], one class for each row of logits {:?}, got {:?}",
            x.shape[0], x.shape, target.shape
        )));
    }
    Ok(Meta::new(x.dtype, target.shape, x.device.meet(target.device)?))
}

/// `bool [n, c]`: true at each row's class. An ignored target matches no class as long as it lies outside of `0..c`.
fn one_hot<V: Value>(x: &V, target: &V) -> Result<V> {
    let meta = x.meta();
    let classes = V::arange(0.0, 1.0, meta.shape[1] as i64, DType::I64, meta.device)?;
    target.reshape([-1, 1])?.eq(&classes)
}

/// `bool [n]`: true where the row counts.
fn counts<V: Value>(target: &V, ignore: i64) -> Result<V> {
    target.ne(&V::scalar(ignore as f64, DType::I64, target.meta().device)?)
}

impl OpRule for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy_rows"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, target] = inputs(x)?;
        let row = check(&x, &target)?;
        Ok(smallvec![row, row])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::CrossEntropy { ignore: self.ignore }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, target] = *x else { return None };
        Some((|| {
            let meta = x.meta();
            let top = x.amax(-1, true)?;
            let lse = x.sub(&top)?.exp()?.sum(-1, true)?.log()?.add(&top)?;
            let zero = V::scalar(0.0, meta.dtype, meta.device)?;
            let loss = one_hot(x, target)?.where_cond(&lse.sub(x)?, &zero)?.sum(-1, false)?;
            let loss = counts(target, self.ignore)?.where_cond(&loss, &zero)?;
            Ok(smallvec![loss, lse.reshape([-1])?])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::Saves { inputs: 0b11, outputs: 0b10 }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (x, target, lse) = (cx.x(0)?, cx.x(1)?, cx.y(1)?);
        cx.only(0, || {
            let by_loss = match cx.dy.first() {
                Some(Some(dloss)) => Some(x.cross_entropy_grad(target, lse, dloss, self.ignore)?),
                _ => None,
            };
            let by_lse = match cx.dy.get(1) {
                Some(Some(dlse)) => Some(x.softmax(-1)?.mul(&dlse.reshape([-1, 1])?)?),
                _ => None,
            };
            match (by_loss, by_lse) {
                (Some(a), Some(b)) => a.add(&b),
                (a, b) => a.or(b).ok_or_else(|| Error::autograd("no gradient arrived at cross_entropy_rows")),
            }
        })
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

impl OpRule for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, target, lse, dloss] = inputs(x)?;
        let row = check(&x, &target)?;
        if lse.shape != row.shape || dloss.shape != row.shape {
            return Err(Error::shape(format!("{:?} and {:?} must be {:?}", lse.shape, dloss.shape, row.shape)));
        }
        if lse.dtype != x.dtype || dloss.dtype != x.dtype {
            return Err(Error::dtype(format!("{} and {} must be {}", lse.dtype, dloss.dtype, x.dtype)));
        }
        Ok(smallvec![Meta { device: row.device.meet(lse.device)?.meet(dloss.device)?, ..x }])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::CrossEntropyGrad { ignore: self.ignore }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, target, lse, dloss] = *x else { return None };
        Some((|| {
            let meta = x.meta();
            let p = x.sub(&lse.reshape([-1, 1])?)?.exp()?;
            let slope = p.sub(&one_hot(x, target)?.cast(meta.dtype)?)?;
            let zero = V::scalar(0.0, meta.dtype, meta.device)?;
            let dloss = counts(target, self.ignore)?.where_cond(dloss, &zero)?;
            Ok(smallvec![slope.mul(&dloss.reshape([-1, 1])?)?])
        })())
    }

    vjp_by_composition!(4);

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}
