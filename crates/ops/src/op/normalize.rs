//! The row kernel that centres and scales and then applies a weight and a bias, and its gradient. Statistics of half types
//! are f32.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::reduce::reduced;
use super::{Standardize, StandardizeGrad, inputs, need_float, no_sizes, vjp_by_composition};
use crate::{Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Row, Value, Vjp};

/// Mean and rstd have size 1 in the last dimension.
fn statistics(x: &Meta) -> Result<Meta> {
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

/// Fails unless a parameter is `[n]` for rows of `n`, in their dtype.
fn check_param(x: &Meta, param: &Meta, name: &str) -> Result<()> {
    if x.shape.last().is_none_or(|&n| param.shape[..] != [n]) {
        return Err(Error::shape(format!(
            "{name} must have one number for each column of {:?}, got {:?}",
            x.shape, param.shape
        )));
    }
    if param.dtype != x.dtype {
        return Err(Error::dtype(format!("{name} must be {} as the input, got {}", x.dtype, param.dtype)));
    }
    Ok(())
}

/// The sum over all dimensions but the last.
fn over_rows<V: Value>(v: &V) -> Result<V> {
    let dims: Vec<i64> = (0..v.meta().shape.len() as i64 - 1).collect();
    if dims.is_empty() { Ok(v.clone()) } else { v.sum(&dims[..], false) }
}

impl OpRule for Standardize {
    fn name(&self) -> &'static str {
        "standardize"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, weight, bias] = inputs(x)?;
        let s = statistics(&x)?;
        check_param(&x, &weight, "the weight")?;
        check_param(&x, &bias, "the bias")?;
        let device = x.device.meet(weight.device)?.meet(bias.device)?;
        Ok([x, s, s].into_iter().map(|meta| Meta { device, ..meta }).collect())
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::Normalize { centre: self.centre, eps: self.eps }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, weight, bias] = *x else { return None };
        Some((|| {
            let dtype = x.meta().dtype;
            let wide = wide(dtype);
            let x = to(x, wide)?;
            let scalar = |v: f64| V::scalar(v, wide, x.meta().device);
            let (mean, centred) = if self.centre {
                let mean = x.mean(-1, true)?;
                (mean.clone(), x.sub(&mean)?)
            } else {
                (scalar(0.0)?.expand(statistics(&x.meta())?.shape)?, x.clone())
            };
            let deviation = centred.square()?.mean(-1, true)?.add(&scalar(self.eps.get())?)?.sqrt()?;
            let rstd = scalar(1.0)?.div(&deviation)?;
            let y = centred.mul(&rstd)?.mul(&to(weight, wide)?)?.add(&to(bias, wide)?)?;
            Ok(smallvec![to(&y, dtype)?, mean, rstd])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::Saves { inputs: 0b111, outputs: 0b110 }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let of_statistics = cx.dy.iter().skip(1).any(Option::is_some);
        if of_statistics {
            return crate::compose_vjp(self, cx);
        }
        let (dx, dweight, dbias) = cx.x(0)?.standardize_grad(cx.x(1)?, cx.y(1)?, cx.y(2)?, cx.dy()?, self.centre)?;
        let mut all = [Some(dx), Some(dweight), Some(dbias)];
        cx.needs.iter().zip(&mut all).map(|(&needs, d)| Ok(d.take().filter(|_| needs))).collect()
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
        let [x, weight, mean, rstd, dy] = inputs(x)?;
        let s = statistics(&x)?;
        check_param(&x, &weight, "the weight")?;
        if [mean.shape, rstd.shape, dy.shape] != [s.shape, s.shape, x.shape] {
            return Err(Error::shape(format!(
                "{:?}, {:?}, {:?} and {:?} do not fit",
                x.shape, mean.shape, rstd.shape, dy.shape
            )));
        }
        if [mean.dtype, rstd.dtype, dy.dtype] != [s.dtype, s.dtype, x.dtype] {
            return Err(Error::dtype(format!(
                "{}, {}, {} and {} do not fit",
                x.dtype, mean.dtype, rstd.dtype, dy.dtype
            )));
        }
        let device = [weight, mean, rstd, dy].iter().try_fold(x.device, |device, meta| device.meet(meta.device))?;
        Ok([x, weight, weight].into_iter().map(|meta| Meta { device, ..meta }).collect())
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::NormalizeGrad { centre: self.centre }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, weight, mean, rstd, dy] = *x else { return None };
        Some((|| {
            let dtype = x.meta().dtype;
            let wide = wide(dtype);
            let (x, weight, dy) = (to(x, wide)?, to(weight, wide)?, to(dy, wide)?);
            let y = x.sub(mean)?.mul(rstd)?;
            let scaled = dy.mul(&weight)?;
            let along = y.mul(&scaled.mul(&y)?.mean(-1, true)?)?;
            let flat = if self.centre { scaled.sub(&scaled.mean(-1, true)?)? } else { scaled };
            let dx = flat.sub(&along)?.mul(rstd)?;
            let (dweight, dbias) = (over_rows(&dy.mul(&y)?)?, over_rows(&dy)?);
            Ok(smallvec![to(&dx, dtype)?, to(&dweight, dtype)?, to(&dbias, dtype)?])
        })())
    }

    vjp_by_composition!(5);

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::DType;

    use super::*;
    use crate::F64Bits;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, ints, moments, real, real_in, values};

    const EPS: F64Bits = F64Bits::new(1e-5);
    /// Shapes to normalise over the last dimension of.
    const SHAPES: [&[usize]; 9] =
        [&[2, 5], &[7], &[2, 3, 4], &[3, 67], &[1, 35], &[0, 3], &[2, 0], &[66, 4], &[1, 2, 1, 1, 2, 1, 1, 7]];

    fn last(shape: &[usize]) -> usize {
        shape.last().copied().unwrap_or(1)
    }

    impl OpSpec for Standardize {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, weight, bias] = x else { return vec![] };
            let (eps, centre) = (self.eps.get(), self.centre);
            let moments = move |line: &[f64]| match centre {
                true => moments(line, eps),
                false => (0.0, 1.0 / (line.iter().map(|x| x * x).sum::<f64>() / line.len() as f64 + eps).sqrt()),
            };
            let axis = x.shape.len() - 1;
            let y = x.lines(axis, |line| {
                let (mean, rstd) = moments(line);
                line.iter().enumerate().map(|(i, x)| (x - mean) * rstd * weight.data[i] + bias.data[i]).collect()
            });
            let of = |f: fn((f64, f64)) -> f64| x.fold(&[axis], true, |line| f(moments(line)));
            vec![y, of(|m| m.0), of(|m| m.1)]
        }

        fn samples() -> Vec<Sample> {
            let op = Standardize { centre: true, eps: EPS };
            let param = |shape: &[usize]| real_in(&[last(shape)], 0.5, 2.0);
            let new = |shape: &[usize]| Sample::new(op, [real(shape), param(shape), real(&[last(shape)])]);
            let mut out: Vec<Sample> =
                SHAPES.iter().map(|s| if s.contains(&0) { new(s).rough() } else { new(s) }).collect();
            let equal =
                [values(&[2, 2], &[3.0, 3.0, -1.0, -1.0]), values(&[2], &[5.0, 7.0]), values(&[2], &[1.0, -2.0])];
            let known: [&[f64]; 3] = [&[1.0, -2.0, 1.0, -2.0], &[3.0, -1.0], &[2.0, 2.0]];
            out.push(
                Sample::new(Standardize { centre: true, eps: 0.25.into() }, equal)
                    .known(&known, "by hand: no variance"),
            );
            let far = [real_in(&[2, 40], 1000.0, 1004.0), param(&[40]), real(&[40])];
            let note = "the mean is far from 0: the variance must not cancel";
            let wide = Dtypes::Only(&[DType::F32, DType::F64]);
            out.push(Sample::new(op, far).on(wide).slack(2e-3).note(note));
            let halves = [values(&[4], &[-3.0, -1.0, 3.0, 1.0]), values(&[4], &[1.0; 4]), values(&[4], &[0.0; 4])];
            // mean 0, variance 5.
            let y =
                [-1.341_640_786_499_873_8, -0.447_213_595_499_957_9, 1.341_640_786_499_873_8, 0.447_213_595_499_957_9];
            let exact = Sample::new(Standardize { centre: true, eps: 0.0.into() }, halves);
            out.push(exact.known(&[&y, &[0.0], &[0.447_213_595_499_957_9]], "mpmath 1.3: multiples of 1 / sqrt(5)"));
            let around_zero = Standardize { centre: false, eps: EPS };
            for s in [&[2, 5][..], &[3, 67], &[2, 0]] {
                let sample = Sample::new(around_zero, [real(s), param(s), real(&[last(s)])]);
                out.push(if s.contains(&0) { sample.rough() } else { sample });
            }
            let squares = [values(&[1, 2], &[1.0, 7.0]), values(&[2], &[5.0, 10.0]), values(&[2], &[1.0, 0.0])];
            let root = Sample::new(Standardize { centre: false, eps: 0.0.into() }, squares);
            out.push(root.known(&[&[2.0, 14.0], &[0.0], &[0.2]], "by hand: the root of the mean square is 5"));
            let (a, three, two): (Input, Input, Input) = (real(&[2, 3]), real(&[3]), real(&[2]));
            out.push(Sample::new(op, [a.clone(), two.clone(), three.clone()]).fails("Shape", "the weight's size"));
            out.push(Sample::new(op, [a.clone(), three.clone(), two]).fails("Shape", "the bias's size"));
            out.push(Sample::new(op, [real(&[]), real(&[]), real(&[])]).fails("Shape", "a scalar"));
            let mixed = Sample::new(op, [a, three.clone().of(DType::F64), three]);
            out.push(mixed.on(Dtypes::Only(&[DType::F32])).fails("DType", "a weight of another dtype"));
            let whole = Sample::new(op, [ints(&[2, 3], 1, 3), ints(&[3], 1, 3), ints(&[3], 1, 3)]);
            out.push(whole.on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }

    impl OpSpec for StandardizeGrad {
        /// Through the Jacobian of the normalised row: `rstd (1 if i = j - 1/n - y_i y_j / n)`.
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, weight, mean, rstd, dy] = x else { return vec![] };
            let n = last(&x.shape);
            let y: Vec<f64> =
                x.data.iter().enumerate().map(|(at, x)| (x - mean.data[at / n]) * rstd.data[at / n]).collect();
            let dx = |at: usize| {
                let (row, j) = (at / n, at % n);
                let (y, dy) = (&y[row * n..][..n], &dy.data[row * n..][..n]);
                let slope = |i: usize| {
                    f64::from(u8::from(i == j)) - (f64::from(u8::from(self.centre)) + y[i] * y[j]) / n as f64
                };
                rstd.data[row] * (0..n).map(|i| dy[i] * weight.data[i] * slope(i)).sum::<f64>()
            };
            let (mut dweight, mut dbias) = (vec![0.0; n], vec![0.0; n]);
            for (at, (y, dy)) in y.iter().zip(&dy.data).enumerate() {
                dweight[at % n] += y * dy;
                dbias[at % n] += dy;
            }
            let dx = RefArray::new(&x.shape, (0..x.data.len()).map(dx).collect());
            vec![dx, RefArray::new(&[n], dweight), RefArray::new(&[n], dbias)]
        }

        fn samples() -> Vec<Sample> {
            let stat = |shape: &[usize]| {
                let mut shape = shape.to_vec();
                shape.iter_mut().last().into_iter().for_each(|n| *n = 1);
                real_in(&shape, 0.5, 2.0)
            };
            let op = StandardizeGrad { centre: true };
            let full = Dtypes::Only(&[DType::F32, DType::F64]);
            let all = |s: &[usize]| [real(s), real(&[last(s)]), stat(s), stat(s), real(s)];
            let mut out: Vec<Sample> = SHAPES.iter().map(|s| Sample::new(op, all(s)).on(full)).collect();
            let around_zero = StandardizeGrad { centre: false };
            out.extend([&[2, 5][..], &[3, 67]].map(|s| Sample::new(around_zero, all(s)).on(full)));
            let [x, w, mean, rstd, dy] = all(&[2, 35]);
            let half = [x, w, mean.of(DType::F32), rstd.of(DType::F32), dy];
            out.push(Sample::new(op, half).on(Dtypes::Only(&[DType::F16, DType::BF16])));
            let bf16 = Dtypes::Only(&[DType::BF16]);
            out.push(Sample::new(op, all(&[2, 3])).on(bf16).fails("DType", "statistics of half type"));
            let [x, w, mean, rstd, dy] = all(&[2, 3]);
            let wrong = [x.clone(), w.clone(), mean.clone(), rstd.clone(), real(&[2, 4])];
            out.push(Sample::new(op, wrong).fails("Shape", "x and dy differ"));
            out.push(
                Sample::new(op, [x.clone(), real(&[2]), mean, rstd.clone(), dy.clone()])
                    .fails("Shape", "the weight's size"),
            );
            out.push(
                Sample::new(op, [x, w, real(&[2]), rstd, dy]).fails("Shape", "the mean without its last dimension"),
            );
            let a: &[usize] = &[2, 3];
            let whole = [ints(a, 1, 2), ints(&[3], 1, 2), ints(&[2, 1], 1, 2), ints(&[2, 1], 1, 2), ints(a, 1, 2)];
            out.push(Sample::new(op, whole).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }
}
