//! The gradient of the extremes of rows: those that are equal share it.

use esker_tensor::{Error, Result};
use smallvec::smallvec;

use super::reduce::reduced;
use super::{ExtremeGrad, inputs, need_float, no_sizes, vjp_by_composition};
use crate::{Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Row, Value};

impl OpRule for ExtremeGrad {
    fn name(&self) -> &'static str {
        "extreme_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, y, dy] = inputs(x)?;
        need_float("the input", x.dtype)?;
        let rank = x.shape.len();
        let kept = match rank {
            0 => return Err(Error::shape("a scalar has no row to find the extreme of")),
            _ => reduced(&x.shape, &[rank as u8 - 1].into(), true),
        };
        if [y.shape, dy.shape] != [kept; 2] {
            return Err(Error::shape(format!("{:?}, {:?} and {:?} do not fit", x.shape, y.shape, dy.shape)));
        }
        if [y.dtype, dy.dtype] != [x.dtype; 2] {
            return Err(Error::dtype(format!("{}, {} and {} do not fit", x.dtype, y.dtype, dy.dtype)));
        }
        Ok(smallvec![Meta { device: x.device.meet(y.device)?.meet(dy.device)?, ..x }])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::ExtremeGrad))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, y, dy] = *x else { return None };
        Some((|| {
            let hits = x.eq(y)?.cast(x.meta().dtype)?;
            Ok(smallvec![hits.mul(&dy.div(&hits.sum(-1, true)?)?)?])
        })())
    }

    vjp_by_composition!(3);

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::DType;

    use super::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real, values};

    impl OpSpec for ExtremeGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, y, dy] = x else { return vec![] };
            let n = x.shape.last().copied().unwrap_or(1);
            let count = |row: usize| x.data[row * n..][..n].iter().filter(|&&v| v == y.data[row]).count() as f64;
            let at = |(i, &v): (usize, &f64)| f64::from(u8::from(v == y.data[i / n])) * (dy.data[i / n] / count(i / n));
            vec![RefArray::new(&x.shape, x.data.iter().enumerate().map(at).collect())]
        }

        fn samples() -> Vec<Sample> {
            let op = ExtremeGrad {};
            let mut out = vec![
                Sample::new(
                    op,
                    [
                        values(&[2, 3], &[1.0, 4.0, 2.0, 5.0, 5.0, -1.0]),
                        values(&[2, 1], &[4.0, 5.0]),
                        values(&[2, 1], &[3.0, 1.0]),
                    ],
                )
                .rough()
                .known(&[&[0.0, 3.0, 0.0, 0.5, 0.5, 0.0]], "by hand"),
                Sample::new(op, [ints(&[3, 2, 37], -2, 2), values(&[3, 2, 1], &[2.0; 6]), real(&[3, 2, 1])])
                    .on(Dtypes::Floats)
                    .rough()
                    .note("many ties"),
                Sample::new(
                    op,
                    [values(&[5], &[0.0, -0.0, -1.0, 0.0, -2.0]), values(&[1], &[0.0]), values(&[1], &[6.0])],
                )
                .rough()
                .known(&[&[2.0, 2.0, 0.0, 2.0, 0.0]], "by hand: the zeros are equal"),
                Sample::new(op, [real(&[0, 3]), real(&[0, 1]), real(&[0, 1])]).rough(),
            ];
            let (a, b): (&[usize], &[usize]) = (&[2, 3], &[2, 1]);
            out.push(Sample::new(op, [real(a), real(&[2]), real(b)]).fails("Shape", "y without its last dimension"));
            out.push(Sample::new(op, [real(a), real(b), real(&[1, 1])]).fails("Shape", "dy of other rows"));
            out.push(Sample::new(op, [real(&[]), real(&[]), real(&[])]).fails("Shape", "scalars"));
            let mixed = Sample::new(op, [real(a), real(b).of(DType::F64), real(b)]);
            out.push(mixed.on(Dtypes::Only(&[DType::F32])).fails("DType", "y of another dtype"));
            let whole = Sample::new(op, [ints(a, 1, 2), ints(b, 1, 2), ints(b, 1, 2)]);
            out.push(whole.on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }
}
