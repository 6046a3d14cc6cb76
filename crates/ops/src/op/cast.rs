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

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use esker_tensor::DType;

    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, cast_value, ints, real, real_in, values};

    impl OpSpec for Cast {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![x[0].map(|v| cast_value(v, x[0].dtype, self.dtype))]
        }

        fn samples() -> Vec<Sample> {
            let (nan, inf) = (f64::NAN, f64::INFINITY);
            let mut out = vec![];
            for dtype in DType::ALL {
                let op = Cast { dtype };
                out.push(Sample::new(op, [ints(&[3, 7], -100, 100)]).on(Dtypes::All));
                out.push(Sample::new(op, [real_in(&[67], -9.0, 9.0)]).rough());
                out.push(Sample::new(op, [ints(&[], 1, 1)]).on(Dtypes::All));
                out.push(Sample::new(op, [ints(&[2, 0, 3], 1, 1)]).on(Dtypes::All));
                let ends = [0.0, -0.5, 0.5, -1.5, 127.9, 300.0, -300.0, 40000.0, -40000.0, inf, -inf, nan];
                out.push(Sample::new(op, [values(&[12], &ends)]).rough().note("floats to integers saturate"));
                let ends = [-128.0, 127.0, -1.0, 0.0, 1.0];
                let signed = Dtypes::Only(&[DType::I8, DType::I16, DType::I32, DType::I64]);
                out.push(Sample::new(op, [values(&[5], &ends)]).on(signed).note("integers to integers wrap"));
                let ends = [300.0, -300.0, 65536.0, 4_294_967_297.0, -4_294_967_297.0];
                let wide = Dtypes::Only(&[DType::I64]);
                out.push(Sample::new(op, [values(&[5], &ends)]).on(wide).note("integers to integers wrap"));
            }
            let known = |dtype, x: &[f64], y: &[f64], note| {
                Sample::new(Cast { dtype }, [values(&[x.len()], x)]).known(&[y], note)
            };
            let note = "the rule: truncate, saturate, NaN is 0";
            let x = [2.9, -2.9, 300.0, -300.0, inf, -inf, nan];
            out.push(known(DType::I8, &x, &[2.0, -2.0, 127.0, -128.0, 127.0, -128.0, 0.0], note));
            out.push(known(DType::U8, &x, &[2.0, 0.0, 255.0, 0.0, 255.0, 0.0, 0.0], note));
            let high = 2f64.powi(63);
            out.push(known(DType::I64, &x[3..], &[-300.0, high, -high, 0.0], note));
            out.push(known(DType::Bool, &x, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], "all but 0 is true, as in PyTorch"));
            let precise = Dtypes::Only(&[DType::F32, DType::F64]);
            // Between the two neighbours 2048 and 2050 of a half float, and beyond its range.
            let half = known(
                DType::F16,
                &[2049.0, 2051.0, 65519.0, 65520.0],
                &[2048.0, 2052.0, 65504.0, inf],
                "IEEE 754: to nearest even",
            );
            out.push(half.on(precise));
            out.push(Sample::new(Cast { dtype: DType::F32 }, [real(&[2, 3])]));
            out.push(Sample::new(Cast { dtype: DType::F64 }, [real(&[1, 2, 1, 3, 2, 1, 2, 2])]));
            out.push(Sample::new(Cast { dtype: DType::F32 }, [real(&[2]), real(&[2])]).fails("Shape", "two inputs"));
            // Rounding to fewer bits hides small differences.
            let coarse = |s: &Sample| s.op != Cast { dtype: DType::F64 }.into();
            out.into_iter().map(|s| if coarse(&s) { s.rough() } else { s }).collect()
        }
    }
}
