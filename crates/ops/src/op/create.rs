//! Tensors from nothing: constants, ranges, random numbers.

use esker_tensor::{DType, Device, Error, Result};
use smallvec::smallvec;

use super::{Arange, Full, Normal, Uniform, inputs, need_float, no_compose, not_differentiable};
use crate::{Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OnnxNode, OnnxRef, OpRule, Promote, Random, Sizes};

fn filled(x: &[Meta], sizes: &Sizes, dtype: DType, device: Device) -> Result<Metas> {
    inputs::<0>(x)?;
    Ok(smallvec![Meta::new(dtype, sizes.shape()?, device)])
}

impl OpRule for Full {
    fn name(&self) -> &'static str {
        "full"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        filled(x, &self.sizes, self.dtype, self.device)
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Random(Random::Fill(self.value)))
    }

    no_compose!();
    not_differentiable!("it has no input");

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        let value = OnnxRef::Scalar(self.value.get(), self.dtype);
        OnnxNode::new("Expand", vec![value, OnnxRef::ShapeOf(0)]).into()
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        self.sizes.visit(f);
    }
}

impl OpRule for Arange {
    fn name(&self) -> &'static str {
        "arange"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        if self.dtype == DType::Bool {
            return Err(Error::dtype("counts in numbers, got bool"));
        }
        filled(x, &Sizes::from([self.len]), self.dtype, self.device)
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Random(Random::Arange { start: self.start, step: self.step }))
    }

    no_compose!();
    not_differentiable!("it has no input");

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if !matches!(self.dtype, DType::I64) {
            return Onnx::None("Range is exported for int64 only; its float form rounds differently");
        }
        let (start, step) = (self.start.get(), self.step.get());
        let end = start + step * cx.y[0].shape[0] as f64;
        let [start, end, step] = [start, end, step].map(|v| OnnxRef::Scalar(v, DType::I64));
        OnnxNode::new("Range", vec![start, end, step]).into()
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        f(&mut self.len);
    }
}

macro_rules! random {
    ($($Name:ident $name:literal $a:ident $b:ident |$op:ident| $check:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Keep
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                need_float("the result", self.dtype)?;
                let $op = self;
                $check?;
                filled(x, &self.sizes, self.dtype, self.device)
            }
            fn lower(&self, _: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::Random(Random::$Name { $a: self.$a, $b: self.$b, key: self.key }))
            }
            no_compose!();
            not_differentiable!("it has no input");
            fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
                Onnx::None("ONNX's random operators draw other numbers than Esker's generator")
            }
            fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
                self.sizes.visit(f);
            }
        }
    )*};
}

random! {
    Uniform "uniform" low high |op| if op.low.get() <= op.high.get() {
        Ok(())
    } else {
        Err(Error::kernel(format!("the range {:?}..{:?} is empty", op.low, op.high)))
    };
    Normal "normal" mean std |op| if op.std.get() >= 0.0 {
        Ok(())
    } else {
        Err(Error::kernel(format!("the standard deviation must not be negative, got {:?}", op.std)))
    };
}
