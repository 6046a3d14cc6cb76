//! Softmax and its logarithm: row kernels over the last dimension, compositions elsewhere.

use esker_tensor::{Error, Result};
use smallvec::smallvec;

use super::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad, inputs, need_float, no_sizes, vjp_by_composition};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Row, Value, Vjp,
};

fn last(x: &[Meta], dim: i64) -> bool {
    x.first().is_some_and(|m| !m.shape.is_empty() && m.shape.dim(dim).is_ok_and(|d| d + 1 == m.shape.len()))
}

/// Two inputs of one shape and a float dtype.
fn pair(x: &[Meta]) -> Result<Metas> {
    let [y, dy] = inputs(x)?;
    need_float("the input", y.dtype)?;
    if y.shape != dy.shape || y.shape.is_empty() {
        return Err(Error::shape(format!("{:?} and {:?} must be equal and not scalars", y.shape, dy.shape)));
    }
    Ok(smallvec![Meta { device: y.device.meet(dy.device)?, ..y }])
}

macro_rules! softmax {
    ($($Name:ident $name:literal $Row:ident $onnx:literal $grad_method:ident |$x:ident, $dim:ident| $compose:expr,
       |$y:ident, $dy:ident, $d:ident| $vjp:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Float
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                let [x] = inputs(x)?;
                x.shape.dim(self.dim)?;
                Ok(smallvec![x])
            }
            fn lower(&self, x: &[Meta]) -> Lowering {
                if last(x, self.dim) { Lowering::Kernel(Kernel::Row(Row::$Row)) } else { Lowering::Compose }
            }
            fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
                let $x = *x.first()?;
                let $dim = if $x.meta().shape.is_empty() { crate::Axes::from(()) } else { self.dim.into() };
                if $x.meta().shape.contains(&0) {
                    return Some(Ok(smallvec![$x.clone()])); // Nothing to compute, and no largest element.
                }
                Some((|| Ok(smallvec![$compose]))())
            }
            fn grad(&self) -> Grad {
                Grad::outputs(1)
            }
            fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
                let ($y, $dy, $d) = (cx.y(0)?, cx.dy()?, self.dim);
                let scalar = $y.meta().shape.is_empty();
                cx.only(0, || {
                    if scalar {
                        return $dy.sub($dy);
                    }
                    if last(cx.x_metas, $d) { $y.$grad_method($dy) } else { $vjp }
                })
            }
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                if cx.x[0].shape.is_empty() {
                    return Onnx::Compose;
                }
                let dim = cx.x[0].shape.dim(self.dim).unwrap_or(0) as i64;
                OnnxNode::new($onnx, vec![OnnxRef::In(0)]).attr("axis", OnnxAttr::Int(dim)).into()
            }
            no_sizes!();
        }
    )*};
}

softmax! {
    Softmax "softmax" Softmax "Softmax" softmax_grad
        |x, dim| { let e = x.sub(&x.amax(dim, true)?)?.exp()?; e.div(&e.sum(dim, true)?)? },
        |y, dy, d| y.mul(&dy.sub(&y.mul(dy)?.sum(d, true)?)?);
    LogSoftmax "log_softmax" LogSoftmax "LogSoftmax" log_softmax_grad
        |x, dim| { let c = x.sub(&x.amax(dim, true)?)?; c.sub(&c.exp()?.sum(dim, true)?.log()?)? },
        |y, dy, d| dy.sub(&y.exp()?.mul(&dy.sum(d, true)?)?);
}

macro_rules! row_grad {
    ($($Name:ident $name:literal |$y:ident, $dy:ident| $compose:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Common { from: 0 }
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                pair(x)
            }
            fn lower(&self, _: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::Row(Row::$Name))
            }
            fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
                let [$y, $dy] = *x else { return None };
                Some((|| Ok(smallvec![$compose]))())
            }
            vjp_by_composition!(2);
            fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
                Onnx::Compose
            }
            no_sizes!();
        }
    )*};
}

row_grad! {
    SoftmaxGrad "softmax_grad" |y, dy| y.mul(&dy.sub(&y.mul(dy)?.sum(-1, true)?)?)?;
    LogSoftmaxGrad "log_softmax_grad" |y, dy| dy.sub(&y.exp()?.mul(&dy.sum(-1, true)?)?)?;
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use esker_tensor::DType;

    use crate::Op;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, axis, ints, real, real_in, values};

    fn softmax(line: &[f64]) -> Vec<f64> {
        let top = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = line.iter().map(|x| (x - top).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|e| e / sum).collect()
    }

    fn log_softmax(line: &[f64]) -> Vec<f64> {
        let top = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + line.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        line.iter().map(|x| x - lse).collect()
    }

    /// `dx` of a line of softmax `y`, element by element through the Jacobian `y_i (1 if i = j - y_j)`.
    fn softmax_grad(y: &[f64], dy: &[f64]) -> Vec<f64> {
        let at = |i: usize, j: usize| y[i] * (f64::from(u8::from(i == j)) - y[j]);
        (0..y.len()).map(|j| (0..y.len()).map(|i| dy[i] * at(i, j)).sum()).collect()
    }

    /// The same for a line of log-softmax: the Jacobian is `1 if i = j - exp(y_j)`.
    fn log_softmax_grad(y: &[f64], dy: &[f64]) -> Vec<f64> {
        let at = |i: usize, j: usize| f64::from(u8::from(i == j)) - y[j].exp();
        (0..y.len()).map(|j| (0..y.len()).map(|i| dy[i] * at(i, j)).sum()).collect()
    }

    fn samples(op: fn(i64) -> Op) -> Vec<Sample> {
        let cases: [(&[usize], i64); 13] = [
            (&[2, 3], 1),
            (&[2, 3], -1),
            (&[4, 3], 0),
            (&[2, 5, 3], 1),
            (&[2, 5, 3], -1),
            (&[2, 5, 3], -3),
            (&[], 0),
            (&[1], 0),
            (&[0, 3], 1),
            (&[2, 0], 1),
            (&[3, 67], 1),
            (&[131], -1),
            (&[1, 2, 1, 3, 2, 1, 2, 2], 3),
        ];
        let mut out: Vec<Sample> = cases.iter().map(|&(s, dim)| Sample::new(op(dim), [real(s)])).collect();
        out.push(Sample::new(op(1), [real_in(&[2, 9], 50.0, 60.0)]).note("no overflow"));
        out.push(Sample::new(op(1), [real_in(&[2, 9], -60.0, -50.0)]).note("no underflow"));
        let far = values(&[1, 3], &[0.0, -1000.0, 1000.0]);
        let wide = Dtypes::Only(&[DType::BF16, DType::F32, DType::F64]);
        out.push(Sample::new(op(1), [far.clone()]).on(wide).rough().note("far apart"));
        out.push(Sample::new(op(0), [far]).on(wide).rough().note("alone"));
        let some = Dtypes::Only(&[DType::Bool, DType::U8, DType::I32, DType::I64]);
        out.push(Sample::new(op(1), [ints(&[2, 5], 0, 5)]).on(some).note("integers become f32"));
        out.push(Sample::new(op(2), [real(&[2, 3])]).fails("Dim", "out of range"));
        out.push(Sample::new(op(1), [real(&[])]).fails("Dim", "a scalar takes 0 and -1"));
        out.push(Sample::new(op(0), [real(&[2]), real(&[2])]).fails("Shape", "two inputs"));
        out
    }

    fn grad_samples(op: impl Into<Op> + Copy, y: fn(&[usize]) -> crate::spec::Input) -> Vec<Sample> {
        let shapes: [&[usize]; 8] =
            [&[2, 3], &[5], &[2, 3, 4], &[1, 1], &[0, 3], &[2, 0], &[3, 67], &[1, 2, 1, 3, 2, 1, 2, 2]];
        let mut out: Vec<Sample> = shapes.iter().map(|s| Sample::new(op, [y(s), real(s)])).collect();
        out.push(Sample::new(op, [y(&[2, 3]), real(&[3])]).fails("Shape", "shapes differ"));
        out.push(Sample::new(op, [y(&[]), real(&[])]).fails("Shape", "scalars"));
        out.push(Sample::new(op, [y(&[3])]).fails("Shape", "one input"));
        let whole = [ints(&[3], 0, 1), ints(&[3], 0, 1)];
        out.push(Sample::new(op, whole).on(Dtypes::Ints).fails("DType", "integers"));
        out
    }

    /// `f` of each last line of two arrays.
    fn pairs(x: &[RefArray], f: fn(&[f64], &[f64]) -> Vec<f64>) -> Vec<RefArray> {
        let n = x[0].shape.last().copied().unwrap_or(1).max(1);
        let lines = x[0].data.chunks(n).zip(x[1].data.chunks(n));
        vec![RefArray::new(&x[0].shape, lines.flat_map(|(y, dy)| f(y, dy)).collect())]
    }

    impl OpSpec for Softmax {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![x[0].lines(axis(self.dim, x[0].shape.len()), softmax)]
        }

        fn samples() -> Vec<Sample> {
            let mut out = samples(|dim| Softmax { dim }.into());
            let x = values(&[3], &[1.0, 2.0, 3.0]);
            // mpmath: exp(k) / (e + e^2 + e^3).
            let y = [0.090_030_573_170_380_46, 0.244_728_471_054_797_65, 0.665_240_955_774_821_9];
            out.push(Sample::new(Softmax { dim: 0 }, [x]).known(&[&y], "mpmath 1.3 at 50 digits"));
            out
        }
    }

    impl OpSpec for LogSoftmax {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![x[0].lines(axis(self.dim, x[0].shape.len()), log_softmax)]
        }

        fn samples() -> Vec<Sample> {
            let mut out = samples(|dim| LogSoftmax { dim }.into());
            let x = values(&[3], &[1.0, 2.0, 3.0]);
            let y = [-2.407_605_964_444_38, -1.407_605_964_444_380_4, -0.407_605_964_444_380_3];
            out.push(Sample::new(LogSoftmax { dim: 0 }, [x]).known(&[&y], "mpmath 1.3 at 50 digits"));
            out
        }
    }

    impl OpSpec for SoftmaxGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            pairs(x, softmax_grad)
        }

        fn samples() -> Vec<Sample> {
            grad_samples(SoftmaxGrad {}, |s| real_in(s, 0.0, 0.5))
        }
    }

    impl OpSpec for LogSoftmaxGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            pairs(x, log_softmax_grad)
        }

        fn samples() -> Vec<Sample> {
            grad_samples(LogSoftmaxGrad {}, |s| real_in(s, -3.0, -0.5))
        }
    }
}
