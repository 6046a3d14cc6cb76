//! Cross-entropy of logits with class indices, one row at a time; no log-softmax tensor is ever made.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{
    CrossEntropyGrad, CrossEntropyRows, inputs, need_float, need_i64, need_rank, no_sizes, vjp_by_composition,
};
use crate::{Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Row, Value, Vjp};

fn check(x: &Meta, target: &Meta) -> Result<Meta> {
    need_float("the logits", x.dtype)?;
    need_rank("the logits", x, 2)?;
    need_i64("the target", target.dtype)?;
    if target.shape[..] != [x.shape[0]] {
        return Err(Error::shape(format!(
            "the target must be [{}], one class for each row of logits {:?}, got {:?}",
            x.shape[0], x.shape, target.shape
        )));
    }
    Ok(Meta::new(x.dtype, target.shape, x.device.meet(target.device)?))
}

/// `bool [n, c]`: true at each row's class. An ignored target matches no class as long as it lies outside of `0..c`.
fn one_hot<V: Value>(x: &V, target: &V) -> Result<V> {
    let meta = x.meta();
    let classes = V::iota(0.0, 1.0, meta.shape[1] as i64, DType::I64, meta.device)?;
    target.reshape([-1, 1])?.eq(&classes)
}

/// `bool [n]`: true where the row counts.
fn counts<V: Value>(target: &V, ignore: i64) -> Result<V> {
    target.ne(&V::scalar(ignore as f64, DType::I64, target.meta().device)?)
}

impl OpRule for CrossEntropyRows {
    fn name(&self) -> &'static str {
        "cross_entropy_rows"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, target] = inputs(x)?;
        let row = check(&x, &target)?;
        Ok(smallvec![row, row])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::CrossEntropy { ignore: self.ignore }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, target] = *x else { return None };
        Some((|| {
            let meta = x.meta();
            let top = x.amax(-1, true)?;
            let lse = x.sub(&top)?.exp()?.sum(-1, true)?.log()?.add(&top)?;
            let zero = V::scalar(0.0, meta.dtype, meta.device)?;
            let loss = one_hot(x, target)?.where_cond(&lse.sub(x)?, &zero)?.sum(-1, false)?;
            let loss = counts(target, self.ignore)?.where_cond(&loss, &zero)?;
            Ok(smallvec![loss, lse.reshape([-1])?])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::Saves { inputs: 0b11, outputs: 0b10 }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (x, target, lse) = (cx.x(0)?, cx.x(1)?, cx.y(1)?);
        cx.only(0, || {
            let by_loss = match cx.dy.first() {
                Some(Some(dloss)) => Some(x.cross_entropy_grad(target, lse, dloss, self.ignore)?),
                _ => None,
            };
            let by_lse = match cx.dy.get(1) {
                Some(Some(dlse)) => Some(x.softmax(-1)?.mul(&dlse.reshape([-1, 1])?)?),
                _ => None,
            };
            match (by_loss, by_lse) {
                (Some(a), Some(b)) => a.add(&b),
                (a, b) => a.or(b).ok_or_else(|| Error::autograd("no gradient arrived at cross_entropy_rows")),
            }
        })
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

impl OpRule for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, target, lse, dloss] = inputs(x)?;
        let row = check(&x, &target)?;
        if lse.shape != row.shape || dloss.shape != row.shape {
            return Err(Error::shape(format!("{:?} and {:?} must be {:?}", lse.shape, dloss.shape, row.shape)));
        }
        if lse.dtype != x.dtype || dloss.dtype != x.dtype {
            return Err(Error::dtype(format!("{} and {} must be {}", lse.dtype, dloss.dtype, x.dtype)));
        }
        Ok(smallvec![Meta { device: row.device.meet(lse.device)?.meet(dloss.device)?, ..x }])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Row(Row::CrossEntropyGrad { ignore: self.ignore }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, target, lse, dloss] = *x else { return None };
        Some((|| {
            let meta = x.meta();
            let p = x.sub(&lse.reshape([-1, 1])?)?.exp()?;
            let slope = p.sub(&one_hot(x, target)?.cast(meta.dtype)?)?;
            let zero = V::scalar(0.0, meta.dtype, meta.device)?;
            let dloss = counts(target, self.ignore)?.where_cond(dloss, &zero)?;
            Ok(smallvec![slope.mul(&dloss.reshape([-1, 1])?)?])
        })())
    }

    vjp_by_composition!(4);

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, index, ints, real, real_in, values};

    fn logsumexp(line: &[f64]) -> f64 {
        let top = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + line.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
    }

    /// Logits' shapes, targets, the ignored class.
    fn cases() -> Vec<([usize; 2], Vec<i64>, i64)> {
        vec![
            ([3, 4], vec![0, 3, 2], -100),
            ([3, 4], vec![-100, 3, -100], -100),
            ([3, 4], vec![1, 3, 1], 1),
            ([2, 3], vec![7, 7], 7),
            ([1, 1], vec![0], -100),
            ([0, 3], vec![], -100),
            ([4, 10], vec![9, 0, 5, 5], -1),
            ([3, 67], vec![66, 0, 33], -100),
        ]
    }

    impl OpSpec for CrossEntropyRows {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, target] = x else { return vec![] };
            let lse = x.fold(&[1], false, logsumexp);
            let loss = RefArray::from_fn(&target.shape, |i| {
                let class = target.at(i);
                if class == self.ignore as f64 { 0.0 } else { lse.at(i) - x.at(&[i[0], class as usize]) }
            });
            vec![loss, lse]
        }

        fn samples() -> Vec<Sample> {
            let op = |ignore| CrossEntropyRows { ignore };
            let case = |(x, t, ignore): ([usize; 2], Vec<i64>, i64)| Sample::new(op(ignore), [real(&x), index(&t)]);
            let mut out: Vec<Sample> = cases().into_iter().map(case).collect();
            out.push(Sample::new(op(-1), [real_in(&[2, 5], 80.0, 90.0), index(&[0, 4])]).note("no overflow"));
            let logits = values(&[1, 3], &[1.0, 2.0, 3.0]);
            let y: &[&[f64]] = &[&[2.407_605_964_444_38], &[3.407_605_964_444_38]];
            out.push(Sample::new(op(-1), [logits, index(&[0])]).known(y, "mpmath 1.3 at 50 digits"));
            let fails = |x: Input, t: Input, kind, note| Sample::new(op(-100), [x, t]).fails(kind, note);
            out.push(fails(real(&[2, 3]), index(&[0, 3]), "Kernel", "a class beyond the last"));
            out.push(fails(real(&[2, 3]), index(&[-1, 0]), "Kernel", "a negative class that is not ignored"));
            out.push(fails(real(&[2, 3]), index(&[0, 1, 2]), "Shape", "3 targets for 2 rows"));
            out.push(fails(real(&[3]), index(&[0]), "Shape", "logits of rank 1"));
            out.push(fails(real(&[1, 1, 3]), index(&[0]), "Shape", "logits of rank 3"));
            out.push(fails(real(&[1, 3]), values(&[1, 1], &[0.0]).of(DType::I64), "Shape", "a target of rank 2"));
            out.push(fails(real(&[1, 3]), real(&[1]), "DType", "a float target"));
            out.push(fails(real(&[1, 3]), index(&[0]).of(DType::I32), "DType", "an int32 target"));
            out.push(fails(ints(&[1, 3], 0, 3), index(&[0]), "DType", "integer logits").on(Dtypes::Ints));
            out
        }
    }

    impl OpSpec for CrossEntropyGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, target, lse, dloss] = x else { return vec![] };
            vec![RefArray::from_fn(&x.shape, |i| {
                let class = target.at(&i[..1]);
                if class == self.ignore as f64 {
                    return 0.0;
                }
                let chosen = f64::from(u8::from(i[1] == class as usize));
                dloss.at(&i[..1]) * ((x.at(i) - lse.at(&i[..1])).exp() - chosen)
            })]
        }

        fn samples() -> Vec<Sample> {
            let op = |ignore| CrossEntropyGrad { ignore };
            let case = |(x, t, ignore): ([usize; 2], Vec<i64>, i64)| {
                Sample::new(op(ignore), [real(&x), index(&t), real_in(&[x[0]], 1.0, 3.0), real(&[x[0]])])
            };
            let mut out: Vec<Sample> = cases().into_iter().map(case).collect();
            let new = |t: Input, lse: Input, dloss: Input| Sample::new(op(-1), [real(&[2, 3]), t, lse, dloss]);
            out.push(new(index(&[0, 3]), real(&[2]), real(&[2])).fails("Kernel", "a class beyond the last"));
            out.push(new(index(&[0, -2]), real(&[2]), real(&[2])).fails("Kernel", "a negative class, not ignored"));
            out.push(new(index(&[0]), real(&[2]), real(&[2])).fails("Shape", "one target for two rows"));
            out.push(new(index(&[0, 1]), real(&[3]), real(&[2])).fails("Shape", "logsumexp of other rows"));
            out.push(new(index(&[0, 1]), real(&[2]), real(&[])).fails("Shape", "one gradient for two rows"));
            let other = new(index(&[0, 1]), real(&[2]).of(DType::F64), real(&[2]));
            out.push(other.on(Dtypes::Only(&[DType::F32])).fails("DType", "dtypes differ"));
            out
        }
    }
}
