//! DropoutMask: the mask is not stored, it follows from the key.

use esker_tensor::{Error, Result};
use smallvec::smallvec;

use super::{DropoutMask, inputs, need_float, no_compose, no_sizes};
use crate::{Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Promote, Random, Value, Vjp};

impl OpRule for DropoutMask {
    fn name(&self) -> &'static str {
        "dropout_mask"
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

    /// DropoutMask is linear for a given key, so its gradient is the same op on the gradient.
    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || cx.dy()?.dropout_mask(self.p, self.key))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::None("a random mask is no part of an exported model; call eval() before the export")
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use esker_tensor::philox::Key;

    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real, uniform_at};

    impl OpSpec for DropoutMask {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let p = self.p.get();
            let keeps = |i: usize| uniform_at(self.key, i, x[0].dtype) >= p;
            let each = x[0].data.iter().enumerate().map(|(i, x)| if keeps(i) { x / (1.0 - p) } else { 0.0 });
            vec![RefArray::new(&x[0].shape, each.collect())]
        }

        fn samples() -> Vec<Sample> {
            let op = |p: f64, key| DropoutMask { p: p.into(), key: Key(key) };
            let shapes: [&[usize]; 7] = [&[4, 5], &[], &[131], &[0, 3], &[2, 3, 4], &[1], &[1, 2, 1, 3, 2, 1, 2, 2]];
            let mut out: Vec<Sample> = shapes.iter().map(|s| Sample::new(op(0.5, 7), [real(s)])).collect();
            out.push(Sample::new(op(0.0, 1), [real(&[3, 7])]).note("nothing is dropped"));
            out.push(Sample::new(op(1.0, 1), [real(&[3, 7])]).note("everything is dropped"));
            out.push(Sample::new(op(0.1, u64::MAX), [real(&[259])]));
            out.push(Sample::new(op(0.9, 1 << 40), [real(&[3, 67])]));
            out.push(Sample::new(op(1.5, 1), [real(&[3])]).fails("Kernel", "a probability above 1"));
            out.push(Sample::new(op(-0.1, 1), [real(&[3])]).fails("Kernel", "a negative probability"));
            out.push(Sample::new(op(f64::NAN, 1), [real(&[3])]).fails("Kernel", "no probability"));
            out.push(Sample::new(op(0.5, 1), [ints(&[3], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }
}
