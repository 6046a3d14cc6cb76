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

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, axis, ints, real, values};

    impl OpSpec for Cumsum {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![x[0].lines(axis(self.dim, x[0].shape.len()), |line| {
                (0..line.len()).map(|i| if self.reverse { &line[i..] } else { &line[..=i] }.iter().sum()).collect()
            })]
        }

        fn samples() -> Vec<Sample> {
            let cases: [(&[usize], i64, bool); 12] = [
                (&[2, 3], 1, false),
                (&[2, 3], -1, true),
                (&[5, 3], 0, false),
                (&[3, 4, 5], 1, true),
                (&[], 0, false),
                (&[1], 0, true),
                (&[0, 3], 0, false),
                (&[2, 0], 0, true),
                (&[2, 70], 1, false),
                (&[70, 2], 0, true),
                (&[1, 2, 1, 3, 1, 2, 2, 2], 3, false),
                (&[260], 0, true),
            ];
            let op = |dim, reverse| Cumsum { dim, reverse };
            let mut out: Vec<Sample> = cases.iter().map(|&(s, d, r)| Sample::new(op(d, r), [real(s)])).collect();
            for &(shape, dim, reverse) in &cases[..8] {
                out.push(Sample::new(op(dim, reverse), [ints(shape, -9, 9)]).on(Dtypes::All).rough());
            }
            let x = values(&[3], &[100.0, 100.0, 100.0]);
            let small = Dtypes::Only(&[DType::U8, DType::I8, DType::I32]);
            out.push(Sample::new(op(0, false), [x]).on(small).known(&[&[100.0, 200.0, 300.0]], "integers sum in i64"));
            out.push(Sample::new(op(2, false), [real(&[2, 3])]).fails("Dim", "out of range"));
            out.push(Sample::new(op(-2, false), [real(&[])]).fails("Dim", "a scalar takes 0 and -1"));
            out.push(Sample::new(op(0, false), [real(&[2]), real(&[2])]).fails("Shape", "two inputs"));
            out
        }
    }
}
