//! The row kernel that centres and scales, and its gradient. Statistics of half types are f32.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::reduce::reduced;
use super::{Standardize, StandardizeGrad, inputs, need_float, no_sizes, vjp_by_composition};
use crate::{Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Row, Value, Vjp};

/// Mean and rstd have size 1 in the last dimension.
pub(super) fn statistics(x: &Meta) -> Result<Meta> {
    need_float("the input", x.dtype)?;
    match x.shape.len() {
        0 => Err(Error::shape("a scalar has no dimension to normalise over")),
        n => Ok(x.with_shape(reduced(&x.shape, &[n as u8 - 1].into(), true)).with_dtype(wide(x.dtype))),
    }
}

/// The dtype of the statistics.
pub(super) fn wide(dtype: DType) -> DType {
    if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype }
}

pub(super) fn to<V: Value>(x: &V, dtype: DType) -> Result<V> {
    if x.meta().dtype == dtype { Ok(x.clone()) } else { x.cast(dtype) }
}

impl OpRule for Standardize {
    fn name(&self) -> &'static str {
        "standardize"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        let s = statistics(&x)?;
        Ok(smallvec![x, s, s])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::Normalize { eps: self.eps }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let x = *x.first()?;
        Some((|| {
            let dtype = x.meta().dtype;
            let x = to(x, wide(dtype))?;
            let meta = x.meta();
            let mean = x.mean(-1, true)?;
            let centred = x.sub(&mean)?;
            let variance = centred.square()?.mean(-1, true)?;
            let deviation = variance.add(&V::scalar(self.eps.get(), meta.dtype, meta.device)?)?.sqrt()?;
            let rstd = V::scalar(1.0, meta.dtype, meta.device)?.div(&deviation)?;
            Ok(smallvec![to(&centred.mul(&rstd)?, dtype)?, mean, rstd])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::Saves { inputs: 0, outputs: 0b101 }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (y, rstd) = (cx.y(0)?, cx.y(2)?);
        let n = y.meta().shape.last().copied().unwrap_or(1) as f64;
        let dtype = y.meta().dtype;
        let scalar = |v: f64| V::scalar(v, wide(dtype), y.meta().device);
        let mut dx: Option<V> = None;
        let mut add = |part: V| -> Result<()> {
            dx = Some(match dx.take() {
                Some(dx) => dx.add(&part)?,
                None => part,
            });
            Ok(())
        };
        if let Some(Some(dy)) = cx.dy.first() {
            add(y.standardize_grad(rstd, dy)?)?;
        }
        if let Some(Some(dmean)) = cx.dy.get(1) {
            add(to(&dmean.div(&scalar(n)?)?, dtype)?.expand(y.meta().shape)?)?;
        }
        if let Some(Some(drstd)) = cx.dy.get(2) {
            // rstd = (var + eps)^(-1/2) and d var / dx = 2 (x - mean) / n, with x - mean = y / rstd.
            let scale = drstd.mul(&rstd.square()?)?.mul(&scalar(-1.0 / n)?)?;
            add(to(&to(y, wide(dtype))?.mul(&scale)?, dtype)?)?;
        }
        Ok(smallvec![dx])
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

impl OpRule for StandardizeGrad {
    fn name(&self) -> &'static str {
        "standardize_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [y, rstd, dy] = inputs(x)?;
        if y.shape != dy.shape || rstd.shape != statistics(&y)?.shape {
            return Err(Error::shape(format!("{:?}, {:?} and {:?} do not fit", y.shape, rstd.shape, dy.shape)));
        }
        if y.dtype != dy.dtype || rstd.dtype != statistics(&y)?.dtype {
            return Err(Error::dtype(format!("{}, {} and {} do not fit", y.dtype, rstd.dtype, dy.dtype)));
        }
        Ok(smallvec![Meta { device: y.device.meet(rstd.device)?.meet(dy.device)?, ..y }])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::NormalizeGrad))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [y, rstd, dy] = *x else { return None };
        Some((|| {
            let dtype = y.meta().dtype;
            let (y, dy) = (to(y, wide(dtype))?, to(dy, wide(dtype))?);
            let along = y.mul(&dy.mul(&y)?.mean(-1, true)?)?;
            Ok(smallvec![to(&dy.sub(&dy.mean(-1, true)?)?.sub(&along)?.mul(rstd)?, dtype)?])
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
    use super::*;
    use esker_tensor::DType;

    use crate::F64Bits;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, moments, real, real_in, values};

    fn normalized(x: &RefArray, eps: f64) -> RefArray {
        x.lines(x.shape.len() - 1, |line| {
            let (mean, rstd) = moments(line, eps);
            line.iter().map(|x| (x - mean) * rstd).collect()
        })
    }

    const EPS: F64Bits = F64Bits::new(1e-5);
    /// Shapes to normalise over the last dimension of.
    const SHAPES: [&[usize]; 8] =
        [&[2, 5], &[7], &[2, 3, 4], &[3, 67], &[1, 35], &[0, 3], &[2, 0], &[1, 2, 1, 3, 2, 1, 2, 3]];

    impl OpSpec for Standardize {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (x, eps) = (&x[0], self.eps.get());
            let last = [x.shape.len() - 1];
            let mean = x.fold(&last, true, |line| moments(line, eps).0);
            vec![normalized(x, eps), mean, x.fold(&last, true, |line| moments(line, eps).1)]
        }

        fn samples() -> Vec<Sample> {
            let new = |shape: &[usize]| Sample::new(Standardize { eps: EPS }, [real(shape)]);
            let mut out: Vec<Sample> =
                SHAPES.iter().map(|s| if s.contains(&0) { new(s).rough() } else { new(s) }).collect();
            let far = Sample::new(Standardize { eps: EPS }, [real_in(&[2, 40], 1000.0, 1004.0)]);
            let note = "the mean is far from 0: the variance must not cancel";
            out.push(far.on(Dtypes::Only(&[DType::F32, DType::F64])).slack(1e-3).note(note));
            let equal = Sample::new(Standardize { eps: 0.25.into() }, [values(&[2, 2], &[3.0, 3.0, -1.0, -1.0])]);
            out.push(equal.known(&[&[0.0; 4], &[3.0, -1.0], &[2.0, 2.0]], "by hand: no variance"));
            let halves = Sample::new(Standardize { eps: 0.0.into() }, [values(&[4], &[-3.0, -1.0, 3.0, 1.0])]);
            // mean 0, variance 5.
            let y =
                [-1.341_640_786_499_873_8, -0.447_213_595_499_957_9, 1.341_640_786_499_873_8, 0.447_213_595_499_957_9];
            out.push(halves.known(&[&y, &[0.0], &[0.447_213_595_499_957_9]], "mpmath 1.3: multiples of 1 / sqrt(5)"));
            out.push(new(&[]).fails("Shape", "a scalar"));
            let whole = Sample::new(Standardize { eps: EPS }, [ints(&[3], 1, 3)]);
            out.push(whole.on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }

    impl OpSpec for StandardizeGrad {
        /// Through the Jacobian of y by x: `rstd (1 if i = j - 1/n - y_i y_j / n)`.
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [y, rstd, dy] = x else { return vec![] };
            let n = y.shape.last().copied().unwrap_or(1);
            let dx = |at: usize| {
                let (row, j) = (at / n, at % n);
                let (y, dy) = (&y.data[row * n..][..n], &dy.data[row * n..][..n]);
                let slope = |i: usize| f64::from(u8::from(i == j)) - (1.0 + y[i] * y[j]) / n as f64;
                rstd.data[row] * (0..n).map(|i| dy[i] * slope(i)).sum::<f64>()
            };
            vec![RefArray::new(&y.shape, (0..y.data.len()).map(dx).collect())]
        }

        fn samples() -> Vec<Sample> {
            let stat = |shape: &[usize]| {
                let mut shape = shape.to_vec();
                shape.iter_mut().last().into_iter().for_each(|n| *n = 1);
                real_in(&shape, 0.5, 2.0)
            };
            let op = StandardizeGrad {};
            let full = Dtypes::Only(&[DType::F32, DType::F64]);
            let new = |s: &&[usize]| Sample::new(op, [real(s), stat(s), real(s)]).on(full);
            let mut out: Vec<Sample> = SHAPES.iter().map(new).collect();
            let half = [real(&[2, 35]), stat(&[2, 35]).of(DType::F32), real(&[2, 35])];
            out.push(Sample::new(op, half).on(Dtypes::Only(&[DType::F16, DType::BF16])));
            let narrow = [real(&[2, 3]), real(&[2, 1]), real(&[2, 3])];
            out.push(
                Sample::new(op, narrow).on(Dtypes::Only(&[DType::BF16])).fails("DType", "statistics of half type"),
            );
            let (a, b): (&[usize], &[usize]) = (&[2, 3], &[2, 4]);
            out.push(Sample::new(op, [real(a), stat(a), real(b)]).fails("Shape", "y and dy differ"));
            out.push(Sample::new(op, [real(a), real(&[2]), real(a)]).fails("Shape", "rstd without its last dimension"));
            out.push(Sample::new(op, [real(&[]), real(&[]), real(&[])]).fails("Shape", "scalars"));
            let whole = [ints(a, 1, 2), ints(&[2, 1], 1, 2), ints(a, 1, 2)];
            out.push(Sample::new(op, whole).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }
}
