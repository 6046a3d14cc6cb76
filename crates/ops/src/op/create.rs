//! Tensors from nothing: constants, ranges, random numbers.

use esker_tensor::{DType, Device, Error, Result};
use smallvec::smallvec;

use super::{Full, Iota, Normal, Uniform, inputs, need_float, no_compose, not_differentiable};
use crate::{Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Promote, Random, Sizes};

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
        filled(x, &self.size, self.dtype, self.device)
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Random(Random::Fill(self.fill_value)))
    }

    no_compose!();
    not_differentiable!("it has no input");

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        let value = OnnxRef::Scalar(self.fill_value.get(), self.dtype);
        OnnxNode::new("Expand", vec![value, OnnxRef::ShapeOf(0)]).into()
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        self.size.visit(f);
    }
}

impl OpRule for Iota {
    fn name(&self) -> &'static str {
        "iota"
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

    /// Only whole numbers count in ONNX's own `Range`, whose float form rounds differently.
    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let (start, step, len) = (self.start.get(), self.step.get(), cx.y[0].shape[0] as f64);
        let whole = start.fract() == 0.0 && step.fract() == 0.0 && step != 0.0;
        let range =
            |numbers: [f64; 3]| OnnxNode::new("Range", numbers.map(|v| OnnxRef::Scalar(v, DType::I64)).to_vec());
        if whole && self.dtype == DType::I64 {
            return range([start, start + step * len, step]).into();
        }
        let cast = |i, dtype| OnnxNode::new("Cast", vec![OnnxRef::Node(i, 0)]).attr("to", OnnxAttr::DType(dtype));
        let with = |op, i, v| OnnxNode::new(op, vec![OnnxRef::Node(i, 0), OnnxRef::Scalar(v, DType::F64)]);
        Onnx::Nodes(vec![
            range([0.0, len, 1.0]),
            cast(0, DType::F64),
            with("Mul", 1, step),
            with("Add", 2, start),
            cast(3, self.dtype),
        ])
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
                filled(x, &self.size, self.dtype, self.device)
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
                self.size.visit(f);
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

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use esker_tensor::philox::Key;

    use crate::Op;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, cast_value, real, uniform_at};

    fn shape(sizes: &Sizes) -> Vec<usize> {
        sizes.get().unwrap_or(&[]).iter().map(|&n| n as usize).collect()
    }

    /// Each dtype as the only one under test: creation ops carry theirs.
    const EACH: [Dtypes; 10] = {
        const ALL: &[DType] = &DType::ALL;
        let mut each = [Dtypes::All; 10];
        let mut i = 0;
        while i < 10 {
            each[i] = Dtypes::Only(ALL.split_at(i).1.split_at(1).0);
            i += 1;
        }
        each
    };

    fn new(op: impl Into<Op>, dtype: DType) -> Sample {
        Sample::new(op, []).on(EACH[dtype as usize])
    }

    const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
    const CPU: Device = Device::Cpu;

    impl OpSpec for Full {
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let value = cast_value(self.fill_value.get(), DType::F64, self.dtype);
            vec![RefArray::zeros(&shape(&self.size)).map(|_| value)]
        }

        fn samples() -> Vec<Sample> {
            let op = |value: f64, sizes: &[i64], dtype| Full {
                fill_value: value.into(),
                size: sizes.into(),
                dtype,
                device: CPU,
            };
            let mut out = vec![];
            for dtype in DType::ALL {
                out.push(new(op(1.0, &[3, 4], dtype), dtype));
                out.push(new(op(-2.75, &[131], dtype), dtype).note("truncates and saturates"));
                out.push(new(op(0.0, &[], dtype), dtype));
                out.push(new(op(7.0, &[2, 0], dtype), dtype));
                out.push(new(op(300.5, &[1, 2, 1, 2, 1, 2, 1, 2], dtype), dtype));
            }
            for dtype in FLOATS {
                out.push(new(op(f64::NAN, &[3], dtype), dtype));
                out.push(new(op(f64::NEG_INFINITY, &[3], dtype), dtype));
            }
            let f32 = DType::F32;
            out.push(new(op(1.0, &[2, -1], f32), f32).fails("Shape", "a negative size"));
            out.push(new(op(1.0, &[i64::MAX, 3], f32), f32).fails("Shape", "more elements than addresses"));
            out.push(new(op(1.0, &[1; 9], f32), f32).fails("Dim", "rank 9"));
            out.push(Sample::new(op(1.0, &[2], f32), [real(&[2])]).fails("Shape", "an input"));
            out
        }
    }

    impl OpSpec for Iota {
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let value = |i: &[usize]| self.start.get() + i[0] as f64 * self.step.get();
            vec![RefArray::from_fn(&[self.len as usize], |i| cast_value(value(i), DType::F64, self.dtype))]
        }

        fn samples() -> Vec<Sample> {
            let op = |start: f64, step: f64, len, dtype| Iota {
                start: start.into(),
                step: step.into(),
                len,
                dtype,
                device: CPU,
            };
            let mut out = vec![];
            for dtype in DType::ALL.into_iter().skip(1) {
                out.push(new(op(0.0, 1.0, 67, dtype), dtype));
                out.push(new(op(50.0, -2.0, 9, dtype), dtype));
                out.push(new(op(5.0, 0.5, 11, dtype), dtype).note("integers truncate each value"));
                out.push(new(op(3.0, 1.0, 0, dtype), dtype));
                out.push(new(op(3.0, 0.0, 1, dtype), dtype));
            }
            let f32 = DType::F32;
            out.push(new(op(0.0, 1.0, -1, f32), f32).fails("Shape", "a negative length"));
            out.push(new(op(0.0, 1.0, 2, DType::Bool), DType::Bool).fails("DType", "bool does not count"));
            out.push(Sample::new(op(0.0, 1.0, 2, f32), [real(&[2])]).fails("Shape", "an input"));
            out
        }
    }

    /// Shapes to draw.
    const SHAPES: [&[i64]; 6] = [&[3, 5], &[], &[131], &[0, 2], &[1], &[1, 2, 1, 3, 2, 1, 2, 2]];

    impl OpSpec for Uniform {
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let mut i = 0;
            vec![RefArray::from_fn(&shape(&self.size), |_| {
                i += 1;
                let (low, high) = (self.low.get(), self.high.get());
                low + (high - low) * uniform_at(self.key, i - 1, self.dtype)
            })]
        }

        fn samples() -> Vec<Sample> {
            let op = |low: f64, high: f64, key, sizes: &[i64], dtype| {
                let (low, high, size) = (low.into(), high.into(), sizes.into());
                Uniform { low, high, key: Key(key), size, dtype, device: CPU }
            };
            let mut out = vec![];
            for dtype in FLOATS {
                out.extend(SHAPES.map(|s| new(op(0.0, 1.0, 42, s, dtype), dtype)));
                out.push(new(op(-3.0, 5.0, u64::MAX, &[67], dtype), dtype));
                out.push(new(op(2.0, 2.0, 1, &[5], dtype), dtype).note("an empty range has its end"));
            }
            let f32 = DType::F32;
            out.push(new(op(1.0, 0.0, 1, &[2], f32), f32).fails("Kernel", "the range is reversed"));
            out.push(new(op(f64::NAN, 0.0, 1, &[2], f32), f32).fails("Kernel", "no range"));
            out.push(new(op(0.0, 1.0, 1, &[-2], f32), f32).fails("Shape", "a negative size"));
            out.push(new(op(0.0, 1.0, 1, &[1; 9], f32), f32).fails("Dim", "rank 9"));
            out.push(new(op(0.0, 1.0, 1, &[2], DType::I32), DType::I32).fails("DType", "integers"));
            out
        }
    }

    impl OpSpec for Normal {
        /// Box and Muller: elements 2j and 2j + 1 share the uniforms 2j and 2j + 1.
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let mut i = 0;
            vec![RefArray::from_fn(&shape(&self.size), |_| {
                let (j, odd) = (i / 2 * 2, i % 2 == 1);
                i += 1;
                let u1 = 1.0 - uniform_at(self.key, j, self.dtype);
                let angle = 2.0 * std::f64::consts::PI * uniform_at(self.key, j + 1, self.dtype);
                let z = (-2.0 * u1.ln()).sqrt() * if odd { angle.sin() } else { angle.cos() };
                self.mean.get() + self.std.get() * z
            })]
        }

        fn samples() -> Vec<Sample> {
            let op = |mean: f64, std: f64, key, sizes: &[i64], dtype| {
                let (mean, std, size) = (mean.into(), std.into(), sizes.into());
                Normal { mean, std, key: Key(key), size, dtype, device: CPU }
            };
            let mut out = vec![];
            for dtype in FLOATS {
                out.extend(SHAPES.map(|s| new(op(0.0, 1.0, 42, s, dtype), dtype)));
                out.push(new(op(-3.0, 5.0, u64::MAX, &[67], dtype), dtype));
                out.push(new(op(2.0, 0.0, 1, &[5], dtype), dtype).note("no deviation"));
            }
            let f32 = DType::F32;
            out.push(new(op(0.0, -1.0, 1, &[2], f32), f32).fails("Kernel", "a negative deviation"));
            out.push(new(op(0.0, f64::NAN, 1, &[2], f32), f32).fails("Kernel", "no deviation"));
            out.push(new(op(0.0, 1.0, 1, &[-2], f32), f32).fails("Shape", "a negative size"));
            out.push(new(op(0.0, 1.0, 1, &[2], DType::Bool), DType::Bool).fails("DType", "bool"));
            out
        }
    }
}
