//! Dropout: the mask is not stored, it follows from the key.

use esker_tensor::{Error, Result};
use smallvec::smallvec;

use super::{Dropout, inputs, need_float, no_compose, no_sizes};
use crate::{Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Promote, Random, Value, Vjp};

impl OpRule for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        need_float("the input", x.dtype)?;
        if !(0.0..=1.0).contains(&self.p.get()) {
            return Err(Error::kernel(format!("the probability must lie in 0..=1, got {:?}", self.p)));
        }
        Ok(smallvec![x])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Random(Random::Dropout { p: self.p, key: self.key }))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    /// Dropout is linear for a given key, so its gradient is the same op on the gradient.
    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || cx.dy()?.dropout(self.p, self.key))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::None("a random mask is no part of an exported model; call eval() before the export")
    }

    no_sizes!();
}
