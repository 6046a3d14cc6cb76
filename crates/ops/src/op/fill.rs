//! Tensors from nothing that follow from a few numbers, in terms of constants and counting.

use esker_tensor::{DType, Error, Result};

use super::function;
use crate::{Ops, Opt, Value};

const CONSTANT: &str = "it is constant";

function! { Zeros |op| V::full(0.0, op.size, op.dtype, op.device)?, no_grad CONSTANT }

function! { Ones |op| V::full(1.0, op.size, op.dtype, op.device)?, no_grad CONSTANT }

function! { Empty |op| V::full(0.0, op.size, op.dtype, op.device)?, no_grad CONSTANT }

function! { Eye |op| {
    let (n, m) = (op.n, op.m.get().unwrap_or(op.n));
    if n < 0 || m < 0 {
        return Err(Error::shape(format!("the sizes must not be negative, got {n} and {m}")));
    }
    let count = |n| V::iota(0.0, 1.0, n, DType::I64, op.device);
    count(n)?.reshape([n, 1])?.eq(&count(m)?)?.cast(op.dtype)?
}, no_grad CONSTANT }

function! { Arange |op| {
    let (start, end, step) = (op.start.get(), op.end.get(), op.step.get());
    let count = ((end - start) / step).ceil();
    if !count.is_finite() || count < 0.0 {
        return Err(Error::kernel(format!("steps of {step} do not lead from {start} to {end}")));
    }
    let whole = [start, end, step].iter().all(|v| v.fract() == 0.0);
    let dtype = op.dtype.get().unwrap_or(if whole { DType::I64 } else { DType::F32 });
    V::iota(start, step, count as i64, dtype, op.device)?
}, no_grad CONSTANT }

function! { Linspace |op| {
    let (start, end, steps) = (op.start.get(), op.end.get(), op.steps);
    if steps < 0 {
        return Err(Error::shape(format!("the number of steps must not be negative, got {steps}")));
    }
    let step = if steps > 1 { (end - start) / (steps - 1) as f64 } else { 0.0 };
    // Counted from the nearer end, so that both ends are exact.
    let half = steps / 2;
    let last = end - step * (steps - 1 - half) as f64;
    let first = V::iota(start, step, half, DType::F64, op.device)?;
    let second = V::iota(if steps > 1 { last } else { start }, step, steps - half, DType::F64, op.device)?;
    V::cat(&[&first, &second], 0)?.cast(op.dtype)?
}, no_grad CONSTANT }

/// One value where `x` lies.
fn like<V: Value>(x: &V, value: f64, dtype: &Opt<DType>) -> Result<V> {
    let meta = x.meta();
    V::full(value, meta.shape, dtype.get().unwrap_or(meta.dtype), meta.device)
}

function! { ZerosLike |op, x| like(x, 0.0, &op.dtype)?, no_grad CONSTANT }

function! { OnesLike |op, x| like(x, 1.0, &op.dtype)?, no_grad CONSTANT }

function! { EmptyLike |op, x| like(x, 0.0, &op.dtype)?, no_grad CONSTANT }

function! { FullLike |op, x| like(x, op.fill_value.get(), &op.dtype)?, no_grad CONSTANT }

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::{DType, Device};

    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, cast_value, real};
    use crate::{Opt, Sizes};

    const CPU: Device = Device::Cpu;
    const F32: Dtypes = Dtypes::Only(&[DType::F32]);

    /// Samples that carry their dtype run once.
    fn once(op: impl Into<crate::Op>) -> Sample {
        Sample::new(op, []).on(F32)
    }

    fn shape(size: &Sizes) -> Vec<usize> {
        size.get().unwrap_or(&[]).iter().map(|&n| n as usize).collect()
    }

    macro_rules! constants {
        ($($Name:ident $value:literal;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
                    vec![RefArray::zeros(&shape(&self.size)).map(|_| $value)]
                }
                fn samples() -> Vec<Sample> {
                    let op = |size: &[i64], dtype| $Name { size: size.into(), dtype, device: CPU };
                    let mut out: Vec<Sample> = DType::ALL.into_iter().map(|d| once(op(&[2, 3], d))).collect();
                    out.extend([once(op(&[], DType::F32)), once(op(&[0, 2], DType::F32))]);
                    out.push(once(op(&[3], DType::F32)).known(&[&[$value; 3]], "by definition"));
                    out.push(once(op(&[-1], DType::F32)).fails("Shape", "a negative size"));
                    out.push(Sample::new(op(&[1], DType::F32), [real(&[1])]).on(F32).fails("Shape", "an input"));
                    out
                }
            }
        )*};
    }

    constants! { Zeros 0.0; Ones 1.0; Empty 0.0; }

    macro_rules! likes {
        ($($Name:ident $($attr:ident)? $value:literal;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    vec![x[0].map(|_| $value)]
                }
                fn samples() -> Vec<Sample> {
                    let op = |dtype: Opt<DType>| $Name { $($attr: $value.into(),)? dtype };
                    vec![
                        Sample::new(op(().into()), [real(&[2, 3])]).on(Dtypes::All),
                        Sample::new(op(DType::I32.into()), [real(&[2])]),
                        Sample::new(op(DType::Bool.into()), [real(&[0])]),
                        Sample::new(op(().into()), [real(&[2])]).known(&[&[$value; 2]], "by definition"),
                        Sample::new(op(().into()), [real(&[2]), real(&[2])]).fails("Shape", "two inputs"),
                    ]
                }
            }
        )*};
    }

    likes! { ZerosLike 0.0; OnesLike 1.0; EmptyLike 0.0; FullLike fill_value 1.0; }

    impl OpSpec for Eye {
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let m = self.m.get().unwrap_or(self.n);
            vec![RefArray::from_fn(&[self.n as usize, m as usize], |i| f64::from(u8::from(i[0] == i[1])))]
        }
        fn samples() -> Vec<Sample> {
            let op = |n, m: Opt<i64>, dtype| Eye { n, m, dtype, device: CPU };
            let mut out: Vec<Sample> = DType::ALL.into_iter().map(|d| once(op(3, ().into(), d))).collect();
            out.extend([(2, 4), (4, 2), (0, 3), (3, 0)].map(|(n, m): (i64, i64)| once(op(n, m.into(), DType::F32))));
            out.push(once(op(2, ().into(), DType::F32)).known(&[&[1.0, 0.0, 0.0, 1.0]], "by definition"));
            out.push(once(op(-1, ().into(), DType::F32)).fails("Shape", "a negative size"));
            out.push(once(op(2, (-2).into(), DType::F32)).fails("Shape", "a negative size"));
            out
        }
    }

    impl OpSpec for Arange {
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let (start, end, step) = (self.start.get(), self.end.get(), self.step.get());
            let each = (0..).map(|i| start + f64::from(i) * step);
            let data: Vec<f64> = each.take_while(|v| if step > 0.0 { *v < end } else { *v > end }).collect();
            let whole = start.fract() == 0.0 && end.fract() == 0.0 && step.fract() == 0.0;
            let dtype = self.dtype.get().unwrap_or(if whole { DType::I64 } else { DType::F32 });
            vec![RefArray::new(&[data.len()], data.iter().map(|&v| cast_value(v, DType::F64, dtype)).collect())]
        }
        fn samples() -> Vec<Sample> {
            let op = |start: f64, end: f64, step: f64, dtype: Opt<DType>| {
                once(Arange { start: start.into(), end: end.into(), step: step.into(), dtype, device: CPU })
            };
            let mut out: Vec<Sample> = DType::ALL.into_iter().skip(1).map(|d| op(1.0, 6.5, 1.5, d.into())).collect();
            out.push(op(0.0, 5.0, 1.0, ().into()).known(&[&[0.0, 1.0, 2.0, 3.0, 4.0]], "by hand"));
            out.push(op(5.0, -1.0, -2.0, ().into()).known(&[&[5.0, 3.0, 1.0]], "by hand"));
            out.push(op(0.0, 1.0, 0.25, ().into()).known(&[&[0.0, 0.25, 0.5, 0.75]], "by hand"));
            out.push(op(2.0, 2.0, 1.0, ().into()).note("nothing"));
            out.push(op(0.0, 1.0, -1.0, ().into()).fails("Kernel", "the wrong way"));
            out.push(op(0.0, 1.0, 0.0, ().into()).fails("Kernel", "no step"));
            out.push(op(0.0, f64::INFINITY, 1.0, ().into()).fails("Kernel", "no end"));
            out.push(op(0.0, 2.0, 1.0, DType::Bool.into()).fails("DType", "bool does not count"));
            out
        }
    }

    impl OpSpec for Linspace {
        fn reference(&self, _: &[RefArray]) -> Vec<RefArray> {
            let (start, end, n) = (self.start.get(), self.end.get(), self.steps as usize);
            let part = |i: usize| if n > 1 { i as f64 / (n - 1) as f64 } else { 0.0 };
            vec![RefArray::from_fn(&[n], |i| {
                let value = start * (1.0 - part(i[0])) + end * part(i[0]);
                cast_value(value, DType::F64, self.dtype)
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |start: f64, end: f64, steps, dtype| {
                once(Linspace { start: start.into(), end: end.into(), steps, dtype, device: CPU })
            };
            let mut out: Vec<Sample> = DType::ALL.into_iter().skip(1).map(|d| op(0.25, 4.25, 5, d)).collect();
            out.extend([op(-3.0, 7.0, 8, DType::F64), op(2.0, 2.0, 3, DType::F32), op(9.0, -9.0, 0, DType::F32)]);
            out.push(op(5.0, 9.0, 1, DType::F32).known(&[&[5.0]], "PyTorch: one step is the start"));
            out.push(op(1.0, 2.0, 5, DType::F32).known(&[&[1.0, 1.25, 1.5, 1.75, 2.0]], "by hand"));
            out.push(op(0.0, 1.0, -1, DType::F32).fails("Shape", "a negative number"));
            out
        }
    }
}
