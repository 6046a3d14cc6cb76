//! Random tensors in terms of uniform and normal fills. What is drawn follows from the key alone.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{StopGradient, function, inputs, need_float, no_compose, no_sizes};
use crate::{Grad, Grads, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Promote, Value, View, Vjp};

const DRAWN: &str = "it draws";
const NO_ONNX: &str = "ONNX's random operators draw other numbers than Esker's generator";

function! { Rand |op| V::uniform(0.0, 1.0, op.key, op.size, op.dtype, op.device)?, no_grad DRAWN, no_onnx NO_ONNX }

function! { Randn |op| V::normal(0.0, 1.0, op.key, op.size, op.dtype, op.device)?, no_grad DRAWN, no_onnx NO_ONNX }

/// The widest range of [`Randint`]: beyond, a uniform f64 does not reach every integer.
const MOST: i128 = 1 << 53;

function! { Randint |op| {
    let span = i128::from(op.high) - i128::from(op.low);
    if !(1..=MOST).contains(&span) {
        return Err(Error::kernel(format!("the range {} to before {} must hold 1 to 2^53 integers", op.low, op.high)));
    }
    let scalar = |v: f64, dtype| V::scalar(v, dtype, op.device);
    let unit = V::uniform(0.0, 1.0, op.key, op.size, DType::F64, op.device)?;
    let steps = unit.mul(&scalar(span as f64, DType::F64)?)?.floor()?.cast(DType::I64)?;
    steps.add(&scalar(op.low as f64, DType::I64)?)?.cast(op.dtype)?
}, no_grad DRAWN, no_onnx NO_ONNX }

function! { RandLike |op, x| {
    let meta = x.meta();
    V::uniform(0.0, 1.0, op.key, meta.shape, op.dtype.get().unwrap_or(meta.dtype), meta.device)?
}, no_grad DRAWN, no_onnx NO_ONNX }

function! { RandnLike |op, x| {
    let meta = x.meta();
    V::normal(0.0, 1.0, op.key, meta.shape, op.dtype.get().unwrap_or(meta.dtype), meta.device)?
}, no_grad DRAWN, no_onnx NO_ONNX }

/// The float type in which probabilities of a type are compared.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

function! { Bernoulli |op, x| {
    let meta = x.meta();
    need_float("the probabilities", meta.dtype)?;
    let dtype = wide(meta.dtype);
    V::uniform(0.0, 1.0, op.key, meta.shape, dtype, meta.device)?.lt(&x.cast(dtype)?)?.cast(meta.dtype)?
}, no_grad DRAWN, no_onnx NO_ONNX }

/// The running sum of each row's weights, as parts of their sum.
fn shares<V: Value>(weights: &V) -> Result<V> {
    let sums = weights.cumsum(-1, false)?;
    sums.div(&weights.sum(-1, true)?)
}

/// With replacement: how many of a row's running sums lie at or below a uniform number. The last weight that is not 0
/// closes the row, so that rounding cannot lead behind it.
fn with_replacement<V: Value>(weights: &V, n: i64, key: esker_tensor::philox::Key) -> Result<V> {
    let (meta, shape) = (weights.meta(), weights.meta().shape);
    let mut drawn = shape.to_vec();
    drawn[shape.len() - 1] = n as usize;
    let unit = V::uniform(0.0, 1.0, key, &drawn[..], meta.dtype, meta.device)?;
    let below = shares(weights)?.unsqueeze(-2)?.le(&unit.unsqueeze(-1)?)?.cast(DType::I64)?.sum(-1, false)?;
    let place = V::iota(0.0, 1.0, shape[shape.len() - 1] as i64, DType::I64, meta.device)?;
    let last = weights.gt(&V::scalar(0.0, meta.dtype, meta.device)?)?.cast(DType::I64)?.mul(&place)?.amax(-1, true)?;
    below.minimum(&last)
}

function! { Multinomial |op, x| {
    let meta = x.meta();
    need_float("the weights", meta.dtype)?;
    let classes = meta.shape.last().copied().unwrap_or(0);
    if !(1..=2).contains(&meta.shape.len()) || classes == 0 {
        return Err(Error::shape(format!("the weights must be [classes] or [rows, classes], got {:?}", meta.shape)));
    }
    if op.num_samples < 1 || (!op.replacement && op.num_samples as usize > classes) {
        return Err(Error::kernel(format!("{} of {classes} classes cannot be drawn", op.num_samples)));
    }
    let dtype = wide(meta.dtype);
    let weights = x.cast(dtype)?;
    if !op.replacement {
        // The first of exponential arrivals at rates that are the weights (Efraimidis and Spirakis, 2006).
        let unit = V::uniform(0.0, 1.0, op.key, meta.shape, dtype, meta.device)?;
        let wait = unit.neg()?.log1p()?.neg()?.maximum(&V::scalar(1e-30, dtype, meta.device)?)?;
        let mut speed = weights.div(&wait)?;
        let place = V::iota(0.0, 1.0, classes as i64, DType::I64, meta.device)?;
        let gone = V::scalar(-1.0, dtype, meta.device)?;
        let mut drawn = Vec::new();
        for _ in 0..op.num_samples {
            let next = speed.argmax(-1, true)?;
            speed = place.eq(&next)?.where_cond(&gone, &speed)?;
            drawn.push(next);
        }
        V::cat(&drawn.iter().collect::<Vec<_>>(), -1)?
    } else {
        with_replacement(&weights, op.num_samples, op.key)?
    }
}, no_grad DRAWN, no_onnx NO_ONNX }

function! { Dropout |op, x| {
    let p = op.p.get();
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::kernel(format!("the probability must lie in 0..=1, got {p}")));
    }
    if op.training { x.dropout_mask(p, op.key)? } else { x.clone() }
} }

impl OpRule for StopGradient {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        Ok(smallvec![x])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        Lowering::View(View::Expand(x.first().map(|m| m.shape).unwrap_or_default()))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, _: &Vjp<'_, V>) -> Result<Grads<V>> {
        Ok(smallvec![None])
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        Onnx::node("Identity", cx)
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::philox::Key;
    use esker_tensor::{DType, Device};

    use crate::Opt;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real, real_in, uniform_at, values};

    const CPU: Device = Device::Cpu;
    const F32: Dtypes = Dtypes::Only(&[DType::F32]);
    const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
    const WIDE: Dtypes = Dtypes::Only(&[DType::F32, DType::F64]);

    fn holds(b: bool) -> f64 {
        f64::from(u8::from(b))
    }

    /// Element by element from the number of the element.
    fn drawn(shape: &[usize], f: impl Fn(usize) -> f64) -> RefArray {
        let n = shape.iter().product::<usize>();
        RefArray::new(shape, (0..n).map(f).collect())
    }

    fn sizes(size: &crate::Sizes) -> Vec<usize> {
        size.get().unwrap_or(&[]).iter().map(|&n| n as usize).collect()
    }

    /// Box and Muller, as [`crate::Random::Normal`] documents it.
    fn normal_at(key: Key, i: usize, dtype: DType) -> f64 {
        let u1 = 1.0 - uniform_at(key, i / 2 * 2, dtype);
        let angle = 2.0 * std::f64::consts::PI * uniform_at(key, i / 2 * 2 + 1, dtype);
        (-2.0 * u1.ln()).sqrt() * if i % 2 == 1 { angle.sin() } else { angle.cos() }
    }

    macro_rules! draws {
        ($($Name:ident $Like:ident $at:ident;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
                    vec![drawn(&sizes(&self.size), |i| $at(self.key, i, self.dtype))]
                }
                fn samples() -> Vec<Sample> {
                    let op = |size: &[i64], dtype| {
                        Sample::new($Name { key: Key(9), size: size.into(), dtype, device: CPU }, []).on(F32)
                    };
                    let mut out: Vec<Sample> = FLOATS.into_iter().map(|d| op(&[3, 7], d)).collect();
                    out.extend([op(&[], DType::F32), op(&[0], DType::F32)]);
                    out.push(op(&[-1], DType::F32).fails("Shape", "a negative size"));
                    out.push(op(&[2], DType::I64).fails("DType", "integers"));
                    out
                }
            }

            impl OpSpec for $Like {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let dtype = self.dtype.get().unwrap_or(x[0].dtype);
                    vec![drawn(&x[0].shape, |i| $at(self.key, i, dtype))]
                }
                fn samples() -> Vec<Sample> {
                    let op = |dtype: Opt<DType>| $Like { key: Key(9), dtype };
                    vec![
                        Sample::new(op(().into()), [real(&[2, 5])]),
                        Sample::new(op(DType::F64.into()), [real(&[3])]),
                        Sample::new(op(DType::F32.into()), [ints(&[3], 0, 1)]).on(Dtypes::Ints),
                        Sample::new(op(().into()), [ints(&[3], 0, 1)]).on(Dtypes::Ints).fails("DType", "integers"),
                    ]
                }
            }
        )*};
    }

    draws! { Rand RandLike uniform_at; Randn RandnLike normal_at; }

    impl OpSpec for Randint {
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let span = (self.high - self.low) as f64;
            vec![drawn(&sizes(&self.size), |i| self.low as f64 + (span * uniform_at(self.key, i, DType::F64)).floor())]
        }
        fn samples() -> Vec<Sample> {
            let op = |low, high, size: &[i64], dtype| {
                Sample::new(Randint { low, high, key: Key(5), size: size.into(), dtype, device: CPU }, []).on(F32)
            };
            let mut out: Vec<Sample> = DType::ALL.into_iter().skip(1).map(|d| op(3, 9, &[5, 4], d)).collect();
            out.extend([op(-7, 1 << 40, &[30], DType::I64), op(0, 10, &[0], DType::I64)]);
            out.push(op(4, 5, &[3], DType::I64).known(&[&[4.0; 3]], "there is no other"));
            out.push(op(4, 4, &[3], DType::I64).fails("Kernel", "nothing to draw"));
            out.push(op(i64::MIN, i64::MAX, &[3], DType::I64).fails("Kernel", "too wide"));
            out
        }
    }

    impl OpSpec for Bernoulli {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dtype = if x[0].dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let draw = |(i, p): (usize, &f64)| holds(uniform_at(self.key, i, dtype) < *p);
            vec![RefArray::new(&x[0].shape, x[0].data.iter().enumerate().map(draw).collect())]
        }
        fn samples() -> Vec<Sample> {
            let op = Bernoulli { key: Key(7) };
            vec![
                Sample::new(op.clone(), [real_in(&[3, 40], 0.0, 1.0)]),
                Sample::new(op.clone(), [values(&[2], &[0.0, 1.0])]).known(&[&[0.0, 1.0]], "never and always"),
                Sample::new(op, [ints(&[2], 0, 1)]).on(Dtypes::Ints).fails("DType", "integers"),
            ]
        }
    }

    impl OpSpec for Multinomial {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let classes = x[0].shape[x[0].shape.len() - 1];
            let dtype = if x[0].dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let n = self.num_samples as usize;
            let mut data = Vec::new();
            for (row, weights) in x[0].data.chunks(classes).enumerate() {
                if self.replacement {
                    let total: f64 = weights.iter().sum();
                    for k in 0..n {
                        let (u, mut sum, mut class) = (uniform_at(self.key, row * n + k, dtype), 0.0, 0);
                        for (c, w) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                            class = c;
                            sum += w / total;
                            if sum > u {
                                break;
                            }
                        }
                        data.push(class as f64);
                    }
                } else {
                    let wait = |c: usize| -(1.0 - uniform_at(self.key, row * classes + c, dtype)).ln() / weights[c];
                    let mut order: Vec<usize> = (0..classes).collect();
                    order.sort_by(|a, b| wait(*a).total_cmp(&wait(*b)));
                    data.extend(order[..n].iter().map(|&c| c as f64));
                }
            }
            let mut shape = x[0].shape.clone();
            shape[x[0].shape.len() - 1] = n;
            vec![RefArray::new(&shape, data)]
        }
        fn samples() -> Vec<Sample> {
            let op = |num_samples, replacement| Multinomial { num_samples, replacement, key: Key(3) };
            let row = || real_in(&[6], 0.1, 2.0);
            vec![
                Sample::new(op(4, true), [row()]).on(WIDE),
                Sample::new(op(9, true), [real_in(&[2, 5], 0.1, 2.0)]).on(WIDE),
                Sample::new(op(6, false), [row()]).on(WIDE),
                Sample::new(op(2, false), [real_in(&[3, 4], 0.1, 2.0)]).on(WIDE),
                Sample::new(op(5, true), [values(&[4], &[0.0, 2.0, 0.0, 0.0])]).known(&[&[1.0; 5]], "the only one"),
                Sample::new(op(1, false), [values(&[3], &[0.0, 0.0, 4.0])]).known(&[&[2.0]], "the only one"),
                Sample::new(op(4, false), [real_in(&[3], 0.0, 1.0)]).fails("Kernel", "4 of 3"),
                Sample::new(op(1, true), [real_in(&[1, 1, 3], 0.0, 1.0)]).fails("Shape", "rank 3"),
                Sample::new(op(1, true), [ints(&[3], 1, 2)]).on(Dtypes::Ints).fails("DType", "integers"),
            ]
        }
    }

    impl OpSpec for Dropout {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let p = self.p.get();
            let keeps = |i: usize| !self.training || uniform_at(self.key, i, x[0].dtype) >= p;
            let scale = if self.training { 1.0 - p } else { 1.0 };
            vec![drawn(&x[0].shape, |i| if keeps(i) { x[0].data[i] / scale } else { 0.0 })]
        }
        fn samples() -> Vec<Sample> {
            let op = |p: f64, training| Dropout { p: p.into(), training, key: Key(7) };
            vec![
                Sample::new(op(0.5, true), [real(&[4, 5])]),
                Sample::new(op(0.3, false), [real(&[4, 5])]),
                Sample::new(op(0.3, false), [ints(&[4], 1, 5)]).on(Dtypes::Ints).note("nothing is scaled"),
                Sample::new(op(1.0, true), [values(&[2], &[1.0, 2.0])]).known(&[&[0.0; 2]], "by definition"),
                Sample::new(op(1.5, false), [real(&[3])]).fails("Kernel", "a probability above 1"),
                Sample::new(op(0.5, true), [ints(&[3], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
            ]
        }
    }

    impl OpSpec for StopGradient {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![x[0].clone()]
        }
        fn samples() -> Vec<Sample> {
            vec![
                Sample::new(StopGradient {}, [real(&[2, 3])]).on(Dtypes::All).rough(),
                Sample::new(StopGradient {}, [real(&[])]).rough(),
                // Only of nothing is the slope that of the values.
                Sample::new(StopGradient {}, [real(&[0])]),
                Sample::new(StopGradient {}, [real(&[2, 0])]),
                Sample::new(StopGradient {}, [real(&[2]), real(&[2])]).fails("Shape", "two inputs"),
            ]
        }
    }
}
