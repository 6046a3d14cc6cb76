//! The product of a fully connected layer in one kernel, with gradients that lie as the layer's parameters do.

use esker_tensor::{Error, Result};
use smallvec::smallvec;

use super::matmul::{rows, transposed};
use super::{Affine, need_float, need_rank, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Value, Vjp,
};

impl OpRule for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let ([x, w], bias) = match x {
            [x, w] => ([x, w], None),
            [x, w, bias] => ([x, w], Some(bias)),
            _ => return Err(Error::shape(format!("takes 2 or 3 inputs, got {}", x.len()))),
        };
        need_float("the input", x.dtype)?;
        need_rank("the weight", w, 2)?;
        if x.shape.last() != Some(&w.shape[1]) {
            return Err(Error::shape(format!(
                "rows of {} are needed for the weight {:?}, got {:?}",
                w.shape[1], w.shape, x.shape
            )));
        }
        let mut device = x.device.meet(w.device)?;
        if let Some(bias) = bias {
            if bias.shape[..] != w.shape[..1] {
                return Err(Error::shape(format!("the bias must be [{}], got {:?}", w.shape[0], bias.shape)));
            }
            device = device.meet(bias.device)?;
        }
        let mut shape = x.shape;
        let last = shape.len() - 1;
        shape[last] = w.shape[0];
        shape.checked_numel()?;
        Ok(smallvec![Meta::new(x.dtype, shape, device)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Affine)
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        Some((|| {
            let y = x[0].matmul(&transposed(x[1])?)?;
            Ok(smallvec![match x.get(2) {
                Some(bias) => y.add(bias)?,
                None => y,
            }])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::inputs(0b011)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (x, w) = (&cx.x_metas[0].shape, &cx.x_metas[1].shape);
        let dy = rows(cx.dy()?, x, w[0])?;
        cx.each(|i| match i {
            0 => dy.matmul(cx.x(1)?)?.reshape(x),
            1 => transposed(&dy)?.matmul(&rows(cx.x(0)?, x, w[1])?),
            _ => dy.sum(0, false),
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if cx.x[0].shape.len() != 2 {
            return Onnx::Compose;
        }
        let inputs = (0..cx.x.len()).map(OnnxRef::In).collect();
        OnnxNode::new("Gemm", inputs).attr("transB", OnnxAttr::Int(1)).into()
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{OpSpec, RefArray, Sample, real, values};

    impl OpSpec for Affine {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (k, mut shape) = (x[1].shape[1], x[0].shape.clone());
            let last = shape.len() - 1;
            shape[last] = x[1].shape[0];
            vec![RefArray::from_fn(&shape, |at| {
                let (row, n) = (&at[..last], at[last]);
                let dot = (0..k).map(|i| x[0].at(&[row, &[i]].concat()) * x[1].at(&[n, i])).sum::<f64>();
                dot + x.get(2).map_or(0.0, |bias| bias.data[n])
            })]
        }

        fn samples() -> Vec<Sample> {
            let plain = |x: &[usize], w: &[usize]| Sample::new(Affine {}, [real(x), real(w)]);
            let biased = |x: &[usize], w: &[usize]| Sample::new(Affine {}, [real(x), real(w), real(&w[..1])]);
            let one = [values(&[2], &[1.0, 2.0]), values(&[1, 2], &[3.0, 4.0]), values(&[1], &[0.5])];
            vec![
                plain(&[2, 3], &[4, 3]),
                biased(&[2, 3], &[4, 3]),
                biased(&[2, 2, 3], &[5, 3]),
                biased(&[3], &[2, 3]),
                biased(&[1, 300], &[1, 300]),
                biased(&[17, 9], &[1, 9]),
                biased(&[3, 1], &[4, 1]),
                biased(&[0, 3], &[2, 3]),
                biased(&[2, 0], &[3, 0]),
                biased(&[2, 3], &[0, 3]),
                Sample::new(Affine {}, one).known(&[&[11.5]], "by hand"),
                plain(&[2, 3], &[3, 4]).fails("Shape", "a weight that is not [n, k]"),
                plain(&[], &[1, 1]).fails("Shape", "a scalar"),
                plain(&[3], &[3]).fails("Shape", "a weight that is no matrix"),
                Sample::new(Affine {}, [real(&[2, 3]), real(&[4, 3]), real(&[1])])
                    .fails("Shape", "a bias of another size"),
                Sample::new(Affine {}, [real(&[2, 3])]).fails("Shape", "no weight"),
            ]
        }
    }
}
