//! The kernel that normalises channels, or groups of them, and its gradient. Statistics of half types are f32.

use esker_tensor::{Error, Result, Shape};
use smallvec::smallvec;

use super::{to, wide};
use crate::op::{StandardizeChannels, StandardizeChannelsGrad, inputs, need_float, no_sizes, vjp_by_composition};
use crate::{
    F64Bits, Grad, Grads, Kernel, Lowering, Meta, Metas, NormPass, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Share,
    Value, Vjp,
};

/// The mean, and the variance, of `x`.
fn statistics(x: &Meta, share: Share) -> Result<Meta> {
    need_float("the input", x.dtype)?;
    let (&[n, c], _) = x.shape.split_at(x.shape.len().min(2)) else {
        return Err(Error::shape(format!("the input must have rank 2 or more, [n, c, ..], got {:?}", x.shape)));
    };
    let shape = match share {
        Share::Batch => Shape::from([c]),
        Share::Groups(groups) if groups > 0 && c % groups == 0 => Shape::from([n, groups]),
        Share::Groups(groups) => {
            return Err(Error::shape(format!("{groups} groups do not divide the {c} channels of {:?}", x.shape)));
        }
    };
    Ok(x.with_shape(shape).with_dtype(wide(x.dtype)))
}

/// Fails unless a parameter has a number for each channel, in the dtype of the input.
fn check_param(x: &Meta, param: &Meta, name: &str) -> Result<()> {
    if param.shape[..] != [x.shape[1]] {
        return Err(Error::shape(format!(
            "{name} must have one number for each channel of {:?}, got {:?}",
            x.shape, param.shape
        )));
    }
    if param.dtype != x.dtype {
        return Err(Error::dtype(format!("{name} must be {} as the input, got {}", x.dtype, param.dtype)));
    }
    Ok(())
}

/// `[parts, images, groups, each, size]`: a part and a group share a mean, a group and one of its channels a weight.
fn split(x: &Meta, share: Share) -> [usize; 5] {
    let (n, c, size) = (x.shape[0], x.shape[1], x.shape[2..].iter().product());
    match share {
        Share::Batch => [1, n, c, 1, size],
        Share::Groups(groups) => [n, 1, groups, c / groups, size],
    }
}

/// What of [`split`] a mean is over, and what the sum that is a weight's gradient is over.
const SHARED: [i64; 3] = [1, 3, 4];
const REPEATED: [i64; 3] = [0, 1, 4];

fn rstd<V: Value>(variance: &V, eps: F64Bits) -> Result<V> {
    let meta = variance.meta();
    variance.add(&V::scalar(eps.get(), meta.dtype, meta.device)?)?.rsqrt()
}

impl OpRule for StandardizeChannels {
    fn name(&self) -> &'static str {
        "standardize_channels"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, weight, bias] = inputs(x)?;
        let s = statistics(&x, self.share)?;
        check_param(&x, &weight, "the weight")?;
        check_param(&x, &bias, "the bias")?;
        let device = x.device.meet(weight.device)?.meet(bias.device)?;
        Ok([x, s, s].into_iter().map(|meta| Meta { device, ..meta }).collect())
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Norm { pass: NormPass::Forward, share: self.share, eps: self.eps })
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, weight, bias] = *x else { return None };
        Some((|| {
            let (meta, dtype) = (x.meta(), wide(x.meta().dtype));
            let sizes @ [_, _, groups, each, _] = split(&meta, self.share);
            let param = |p: &V| to(p, dtype)?.reshape([1, 1, groups, each, 1]);
            let x = to(x, dtype)?.reshape(sizes)?;
            let mean = x.mean(SHARED, true)?;
            let centred = x.sub(&mean)?;
            let variance = centred.square()?.mean(SHARED, true)?;
            let y = centred.mul(&rstd(&variance, self.eps)?)?.mul(&param(weight)?)?.add(&param(bias)?)?;
            let of = statistics(&meta, self.share)?.shape;
            Ok(smallvec![to(&y.reshape(meta.shape)?, meta.dtype)?, mean.reshape(of)?, variance.reshape(of)?])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::Saves { inputs: 0b111, outputs: 0b110 }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        if cx.dy.iter().skip(1).any(Option::is_some) {
            return crate::compose_vjp(self, cx);
        }
        let (x, weight, mean, variance) = (cx.x(0)?, cx.x(1)?, cx.y(1)?, cx.y(2)?);
        let (dx, dweight, dbias) =
            x.standardize_channels_grad(weight, mean, variance, cx.dy()?, self.share, self.eps)?;
        let mut all = [Some(dx), Some(dweight), Some(dbias)];
        cx.needs.iter().zip(&mut all).map(|(&needs, d)| Ok(d.take().filter(|_| needs))).collect()
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

impl OpRule for StandardizeChannelsGrad {
    fn name(&self) -> &'static str {
        "standardize_channels_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, weight, mean, variance, dy] = inputs(x)?;
        let s = statistics(&x, self.share)?;
        check_param(&x, &weight, "the weight")?;
        if [mean.shape, variance.shape, dy.shape] != [s.shape, s.shape, x.shape] {
            return Err(Error::shape(format!(
                "{:?}, {:?}, {:?} and {:?} do not fit",
                x.shape, mean.shape, variance.shape, dy.shape
            )));
        }
        if [mean.dtype, variance.dtype, dy.dtype] != [s.dtype, s.dtype, x.dtype] {
            return Err(Error::dtype(format!(
                "{}, {}, {} and {} do not fit",
                x.dtype, mean.dtype, variance.dtype, dy.dtype
            )));
        }
        let device = [weight, mean, variance, dy].iter().try_fold(x.device, |device, meta| device.meet(meta.device))?;
        Ok([x, weight, weight].into_iter().map(|meta| Meta { device, ..meta }).collect())
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Norm { pass: NormPass::Grad, share: self.share, eps: self.eps })
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, weight, mean, variance, dy] = *x else { return None };
        Some((|| {
            let (meta, dtype) = (x.meta(), wide(x.meta().dtype));
            let sizes @ [parts, _, groups, each, _] = split(&meta, self.share);
            let statistic = [parts, 1, groups, 1, 1];
            let rstd = rstd(variance, self.eps)?.reshape(statistic)?;
            let y = to(x, dtype)?.reshape(sizes)?.sub(&mean.reshape(statistic)?)?.mul(&rstd)?;
            let dy = to(dy, dtype)?.reshape(sizes)?;
            let scaled = dy.mul(&to(weight, dtype)?.reshape([1, 1, groups, each, 1])?)?;
            let along = y.mul(&scaled.mul(&y)?.mean(SHARED, true)?)?;
            let dx = scaled.sub(&scaled.mean(SHARED, true)?)?.sub(&along)?.mul(&rstd)?;
            let param = |d: V| to(&d.sum(REPEATED, false)?.reshape([groups * each])?, meta.dtype);
            let dx = to(&dx.reshape(meta.shape)?, meta.dtype)?;
            Ok(smallvec![dx, param(dy.mul(&y)?)?, param(dy)?])
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

    use super::super::spec::{moments, normalized};
    use super::*;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, each_index, ints, real, real_in, values};

    const EPS: F64Bits = F64Bits::new(1e-5);
    const HALF: Dtypes = Dtypes::Only(&[DType::F16, DType::BF16]);

    /// Inputs to normalise, and what shares statistics.
    fn shapes() -> Vec<(&'static [usize], Share)> {
        vec![
            (&[3, 2, 2, 3], Share::Batch),
            (&[4, 17], Share::Batch),
            (&[2, 1, 35], Share::Batch),
            (&[0, 3, 2], Share::Batch),
            (&[1, 1], Share::Batch),
            (&[2, 4, 3, 2], Share::Groups(2)),
            (&[2, 3], Share::Groups(1)),
            (&[6, 3, 1, 2, 2], Share::Groups(3)),
            (&[2, 0, 3], Share::Groups(1)),
        ]
    }

    /// The number of the mean that an element goes into.
    fn group(x: &RefArray, share: Share, i: &[usize]) -> usize {
        match share {
            Share::Batch => i[1],
            Share::Groups(groups) => i[0] * groups + i[1] / (x.shape[1] / groups),
        }
    }

    fn statistic(shape: &[usize], share: Share) -> Vec<usize> {
        match share {
            Share::Batch => vec![shape[1]],
            Share::Groups(groups) => vec![shape[0], groups],
        }
    }

    impl OpSpec for StandardizeChannels {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, weight, bias] = x else { return vec![] };
            let group = |i: &[usize]| group(x, self.share, i);
            let y = normalized(x, self.eps.get(), group, |i| i[1], [Some(weight), Some(bias)]);
            let of = statistic(&x.shape, self.share);
            let mut members = vec![Vec::new(); of.iter().product()];
            each_index(&x.shape, |i| members[group(i)].push(x.at(i)));
            let (means, variances) = members.iter().map(|v| moments(v)).unzip();
            vec![y, RefArray::new(&of, means), RefArray::new(&of, variances)]
        }

        fn samples() -> Vec<Sample> {
            let op = |share| StandardizeChannels { share, eps: EPS };
            let param = |n: usize| real_in(&[n], 0.5, 2.0);
            let new = |(s, share): (&[usize], Share)| Sample::new(op(share), [real(s), param(s[1]), real(&[s[1]])]);
            let mut out: Vec<Sample> = shapes()
                .into_iter()
                .map(|s| if s.0.iter().product::<usize>() < 2 { new(s).rough() } else { new(s) })
                .collect();
            let far = [real_in(&[5, 2, 9], 1000.0, 1004.0), param(2), real(&[2])];
            let note = "the mean is far from 0: the variance must not cancel";
            let full = Dtypes::Only(&[DType::F32, DType::F64]);
            out.push(Sample::new(op(Share::Batch), far).on(full).slack(2e-3).note(note));
            let exact = |share| StandardizeChannels { share, eps: 0.0.into() };
            let [five, seven] = [values(&[1], &[5.0]), values(&[1], &[7.0])];
            let batch = Sample::new(exact(Share::Batch), [values(&[2, 1], &[1.0, 3.0]), five, seven]);
            out.push(batch.known(&[&[2.0, 12.0], &[2.0], &[1.0]], "by hand"));
            let three = [values(&[1, 2, 1], &[1.0, 3.0]), values(&[2], &[5.0, 1.0]), values(&[2], &[7.0, 0.0])];
            let groups = Sample::new(exact(Share::Groups(1)), three);
            out.push(groups.known(&[&[2.0, 1.0], &[2.0], &[1.0]], "by hand: two channels share a mean"));
            let (a, three, two): (Input, Input, Input) = (real(&[2, 3]), real(&[3]), real(&[2]));
            let batch = op(Share::Batch);
            out.push(Sample::new(batch, [a.clone(), two.clone(), three.clone()]).fails("Shape", "the weight's size"));
            out.push(Sample::new(batch, [a.clone(), three.clone(), two]).fails("Shape", "the bias's size"));
            out.push(Sample::new(batch, [three.clone(), three.clone(), three.clone()]).fails("Shape", "no channels"));
            let all = [a.clone(), three.clone(), three.clone()];
            out.push(Sample::new(op(Share::Groups(2)), all.clone()).fails("Shape", "2 groups of 3 channels"));
            out.push(Sample::new(op(Share::Groups(0)), all).fails("Shape", "no groups"));
            let mixed = Sample::new(batch, [a, three.clone().of(DType::F64), three]);
            out.push(mixed.on(Dtypes::Only(&[DType::F32])).fails("DType", "a weight of another dtype"));
            let whole = Sample::new(batch, [ints(&[2, 3], 1, 3), ints(&[3], 1, 3), ints(&[3], 1, 3)]);
            out.push(whole.on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }

    impl OpSpec for StandardizeChannelsGrad {
        /// Through the Jacobian of the normalised group: `rstd (1 if i = j - 1/n - y_i y_j / n)`.
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, weight, mean, variance, dy] = x else { return vec![] };
            let mut members: Vec<Vec<Vec<usize>>> = vec![Vec::new(); mean.data.len()];
            each_index(&x.shape, |i| members[group(x, self.share, i)].push(i.to_vec()));
            let rstd = |k: usize| 1.0 / (variance.data[k] + self.eps.get()).sqrt();
            let y = |i: &[usize]| {
                let k = group(x, self.share, i);
                (x.at(i) - mean.data[k]) * rstd(k)
            };
            let dx = RefArray::from_fn(&x.shape, |j| {
                let k = group(x, self.share, j);
                let n = members[k].len() as f64;
                let slope = |i: &[usize]| f64::from(u8::from(i == j)) - (1.0 + y(i) * y(j)) / n;
                rstd(k) * members[k].iter().map(|i| dy.at(i) * weight.data[i[1]] * slope(i)).sum::<f64>()
            });
            let (mut dweight, mut dbias) = (vec![0.0; weight.data.len()], vec![0.0; weight.data.len()]);
            each_index(&x.shape, |i| {
                dweight[i[1]] += dy.at(i) * y(i);
                dbias[i[1]] += dy.at(i);
            });
            vec![dx, RefArray::new(&weight.shape, dweight), RefArray::new(&weight.shape, dbias)]
        }

        fn samples() -> Vec<Sample> {
            let op = |share| StandardizeChannelsGrad { share, eps: 0.1.into() };
            let full = Dtypes::Only(&[DType::F32, DType::F64]);
            let all = |s: &[usize], share: Share| {
                let of = statistic(s, share);
                [real(s), real(&[s[1]]), real(&of), real_in(&of, 0.5, 2.0), real(s)]
            };
            let mut out: Vec<Sample> =
                shapes().into_iter().map(|(s, share)| Sample::new(op(share), all(s, share)).on(full)).collect();
            let batch = op(Share::Batch);
            let [x, w, mean, variance, dy] = all(&[2, 5, 3], Share::Batch);
            out.push(Sample::new(batch, [x, w, mean.of(DType::F32), variance.of(DType::F32), dy]).on(HALF));
            let bf16 = Dtypes::Only(&[DType::BF16]);
            out.push(Sample::new(batch, all(&[2, 3], Share::Batch)).on(bf16).fails("DType", "statistics of half type"));
            let [x, w, mean, variance, dy] = all(&[2, 3], Share::Batch);
            let wrong = [x.clone(), w.clone(), mean.clone(), variance.clone(), real(&[2, 4])];
            out.push(Sample::new(batch, wrong).fails("Shape", "x and dy differ"));
            let wrong = [x.clone(), real(&[2]), mean.clone(), variance.clone(), dy.clone()];
            out.push(Sample::new(batch, wrong).fails("Shape", "the weight's size"));
            out.push(Sample::new(batch, [x, w, real(&[2]), variance, dy]).fails("Shape", "the mean's size"));
            let whole =
                [ints(&[2, 3], 1, 2), ints(&[3], 1, 2), ints(&[3], 1, 2), ints(&[3], 1, 2), ints(&[2, 3], 1, 2)];
            out.push(Sample::new(batch, whole).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }
}
