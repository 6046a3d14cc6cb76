//! Losses of distances and margins, and of distributions that are not of classes.

use esker_tensor::{Error, Result};

use super::loss::{reduced, weighted};
use super::{function, need_float, need_i64, scalar_like};
use crate::{Ops, Opt, Value};

/// `x` where above 0, keeping the slope at 0 as PyTorch's clamp does.
fn positive<V: Value>(x: &V) -> Result<V> {
    x.clamp(0.0, Opt::from(()))
}

fn plus<V: Value>(x: &V, value: f64) -> Result<V> {
    x.add(&scalar_like(x, value)?)
}

function! { PoissonNllLoss |op, x, target| {
    need_float("the input", x.meta().dtype)?;
    let mut loss = match op.log_input {
        true => x.exp()?.sub(&target.mul(x)?)?,
        false => x.sub(&target.mul(&plus(x, op.eps.get())?.log()?)?)?,
    };
    if op.full {
        // Stirling's approximation of log(target!), which matters above 1.
        let one = scalar_like(target, 1.0)?;
        let large = target.gt(&one)?;
        let safe = large.where_cond(target, &one)?;
        let circle = safe.mul(&scalar_like(x, 2.0 * std::f64::consts::PI)?)?.log()?.mul(&scalar_like(x, 0.5)?)?;
        let stirling = safe.mul(&safe.log()?)?.sub(&safe)?.add(&circle)?;
        loss = loss.add(&large.where_cond(&stirling, &scalar_like(&stirling, 0.0)?)?)?;
    }
    reduced(&loss, &op.reduction)?
} }

function! { GaussianNllLoss |op, x, target, var| {
    need_float("the input", x.meta().dtype)?;
    let (shape, given) = (x.meta().shape, var.meta().shape);
    // One variance for each row, whose last dimension may be left out.
    let var = if given != shape && shape.len() == given.len() + 1 && shape[..given.len()] == given[..] {
        var.unsqueeze(-1)?
    } else {
        var.clone()
    };
    let least = scalar_like(&var, op.eps.get())?;
    // What is too small counts as `eps` but keeps its slope.
    let short = var.lt(&least)?.where_cond(&least.sub(&var)?, &scalar_like(&var, 0.0)?)?.stop_gradient()?;
    let var = var.add(&short)?;
    let half = scalar_like(x, 0.5)?;
    let mut loss = var.log()?.add(&x.sub(target)?.square()?.div(&var)?)?.mul(&half)?;
    if op.full {
        loss = plus(&loss, 0.5 * (2.0 * std::f64::consts::PI).ln())?;
    }
    reduced(&loss, &op.reduction)?
} }

function! { CosineEmbeddingLoss |op, a, b, target| {
    let ranks = [a, b, target].map(|x| x.meta().shape.len());
    if ![[2, 2, 1], [1, 1, 0]].contains(&ranks) {
        return Err(Error::shape(format!("takes [n, d], [n, d] and [n], or [d], [d] and a scalar, got ranks {ranks:?}")));
    }
    need_float("the first input", a.meta().dtype)?;
    let dot = |a: &V, b: &V| a.mul(b)?.sum(-1, false);
    let size = |x: &V| plus(&dot(x, x)?, 1e-12);
    let cosine = dot(a, b)?.div(&size(a)?.mul(&size(b)?)?.sqrt()?)?;
    let is = |v: f64| target.eq(&scalar_like(target, v)?);
    let zero = scalar_like(&cosine, 0.0)?;
    let alike = is(1.0)?.where_cond(&scalar_like(&cosine, 1.0)?.sub(&cosine)?, &zero)?;
    let apart = is(-1.0)?.where_cond(&positive(&plus(&cosine, -op.margin.get())?)?, &zero)?;
    reduced(&alike.add(&apart)?, &op.reduction)?
} }

function! { MarginRankingLoss |op, a, b, target| {
    let loss = positive(&plus(&target.neg()?.mul(&a.sub(b)?)?, op.margin.get())?)?;
    need_float("an input", loss.meta().dtype)?;
    reduced(&loss, &op.reduction)?
} }

function! { TripletMarginLoss |op, anchor, same, other| {
    let distance = |a: &V, b: &V| a.pairwise_distance(b, op.p, op.eps, false);
    let near = distance(anchor, same)?;
    let mut far = distance(anchor, other)?;
    if op.swap {
        far = far.minimum(&distance(same, other)?)?;
    }
    reduced(&positive(&plus(&near.sub(&far)?, op.margin.get())?)?, &op.reduction)?
} }

function! { HingeEmbeddingLoss |op, x, target| {
    need_float("the input", x.meta().dtype)?;
    let is = |v: f64| target.eq(&scalar_like(target, v)?);
    let zero = scalar_like(x, 0.0)?;
    let apart = is(1.0)?.where_cond(&zero, &positive(&scalar_like(x, op.margin.get())?.sub(x)?)?)?;
    let alike = is(-1.0)?.where_cond(&zero, x)?;
    reduced(&apart.add(&alike)?, &op.reduction)?
} }

function! { SoftMarginLoss |op, x, target| {
    need_float("the input", x.meta().dtype)?;
    reduced(&target.mul(x)?.logsigmoid()?.neg()?, &op.reduction)?
} }

function! { MultiMarginLoss |op, x, target; weight| {
    need_float("the input", x.meta().dtype)?;
    need_i64("the target", target.meta().dtype)?;
    let (shape, given) = (x.meta().shape, target.meta().shape);
    if !(1..=2).contains(&shape.len()) || given[..] != shape[..shape.len() - 1] {
        return Err(Error::shape(format!("takes [n, c] with [n] or [c] with a scalar, got {shape:?} and {given:?}")));
    }
    let (classes, p) = (shape[shape.len() - 1] as i64, op.p);
    if p != 1 && p != 2 {
        return Err(Error::kernel(format!("p must be 1 or 2, got {p}")));
    }
    // Selecting by class checks the classes, too.
    let weights = match weight {
        Some(w) => w.clone(),
        None => V::full(1.0, [classes], x.meta().dtype, x.meta().device)?,
    };
    let weights = weights.index_select(&target.reshape([given.numel()])?, 0)?;
    let own = target.unsqueeze(-1)?.eq(&V::iota(0.0, 1.0, classes, esker_tensor::DType::I64, x.meta().device)?)?;
    let zero = scalar_like(x, 0.0)?;
    let chosen = own.where_cond(x, &zero)?.sum(-1, true)?;
    let over = positive(&plus(&x.sub(&chosen)?, op.margin.get())?)?;
    let over = if p == 2 { over.square()? } else { over };
    let rows = own.where_cond(&zero, &over)?.mean(-1, false)?;
    reduced(&rows.mul(&weights.reshape(given)?)?, &op.reduction)?
} }

function! { MultilabelSoftMarginLoss |op, x, target; weight| {
    need_float("the input", x.meta().dtype)?;
    if x.meta().shape.is_empty() {
        return Err(Error::shape("the input must end in its classes, got a scalar"));
    }
    let rest = scalar_like(x, 1.0)?.sub(target)?;
    let logs = target.mul(&x.logsigmoid()?)?.add(&rest.mul(&x.neg()?.logsigmoid()?)?)?.neg()?;
    reduced(&weighted(logs, weight)?.mean(-1, false)?, &op.reduction)?
} }

#[cfg(feature = "spec")]
mod spec {
    use super::super::loss::spec::reduce;
    use crate::Op;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, each_value, index, ints, real, real_in, values};

    /// Signs, 1 and -1.
    fn signs(n: usize) -> crate::spec::Input {
        values(&[n], &(0..n).map(|i| if i % 3 == 1 { -1.0 } else { 1.0 }).collect::<Vec<_>>())
    }

    fn refused(op: impl Fn(&str) -> Op, x: Vec<crate::spec::Input>) -> [Sample; 2] {
        let whole = x.iter().map(|x| ints(&x.shape, 0, 1).of(x.dtype.unwrap_or(esker_tensor::DType::I32)));
        [
            Sample::new(op("max"), x.clone()).fails("Kernel", "no such reduction"),
            Sample::new(op("none"), whole.collect::<Vec<_>>()).fails("DType", "integers"),
        ]
    }

    impl OpSpec for PoissonNllLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let loss = each_value(x, |v| {
                let plain =
                    if self.log_input { v[0].exp() - v[1] * v[0] } else { v[0] - v[1] * (v[0] + self.eps.get()).ln() };
                let log_factorial = v[1] * v[1].ln() - v[1] + 0.5 * (2.0 * std::f64::consts::PI * v[1]).ln();
                plain + if self.full && v[1] > 1.0 { log_factorial } else { 0.0 }
            });
            vec![reduce(loss.into_iter().next().unwrap_or_else(|| RefArray::zeros(&[])), &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |log_input, full, r: &str| -> Op {
                PoissonNllLoss { log_input, full, eps: 1e-8.into(), reduction: r.into() }.into()
            };
            let pair = || vec![real_in(&[2, 3], 0.2, 2.0), real_in(&[2, 3], 1.2, 4.0)];
            let mut out = vec![
                Sample::new(op(true, false, "mean"), pair()),
                Sample::new(op(false, false, "sum"), pair()),
                Sample::new(op(true, true, "none"), pair()),
                Sample::new(op(true, true, "none"), [real(&[3]), real_in(&[3], 0.1, 0.9)]).note("below 1"),
                Sample::new(op(true, false, "none"), [values(&[2], &[0.0, 0.0]), values(&[2], &[3.0, 0.0])])
                    .known(&[&[1.0, 1.0]], "by hand"),
            ];
            out.extend(refused(|r| op(true, false, r), pair()));
            out
        }
    }

    impl OpSpec for GaussianNllLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [mean, target, var] = x else { return vec![] };
            let mut var = var.clone();
            if var.shape.len() < mean.shape.len() {
                var.shape.push(1);
            }
            let var = var.broadcast_to(&mean.shape);
            let loss = RefArray::from_fn(&mean.shape, |i| {
                let v = var.at(i).max(self.eps.get());
                let constant = if self.full { 0.5 * (2.0 * std::f64::consts::PI).ln() } else { 0.0 };
                0.5 * (v.ln() + (mean.at(i) - target.at(i)).powi(2) / v) + constant
            });
            vec![reduce(loss, &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |full, r: &str| -> Op { GaussianNllLoss { full, eps: 1e-6.into(), reduction: r.into() }.into() };
            let triple = |v: &[usize]| vec![real(&[2, 3]), real(&[2, 3]), real_in(v, 0.5, 2.0)];
            let mut out = vec![
                Sample::new(op(false, "mean"), triple(&[2, 3])),
                Sample::new(op(true, "sum"), triple(&[2, 1])),
                Sample::new(op(false, "none"), triple(&[2])),
                Sample::new(
                    op(false, "none"),
                    [values(&[2], &[1.0, 3.0]), values(&[2], &[1.0, 1.0]), values(&[2], &[1.0, 1.0])],
                )
                .known(&[&[0.0, 2.0]], "by hand"),
                Sample::new(op(false, "none"), [values(&[1], &[1.0]), values(&[1], &[1.0]), values(&[1], &[0.0])])
                    .known(&[&[-6.907_755_278_982_137]], "log(1e-6) / 2")
                    .on(Dtypes::Only(&[esker_tensor::DType::F32, esker_tensor::DType::F64])),
            ];
            out.extend(refused(|r| op(false, r), triple(&[2, 3])));
            out
        }
    }

    impl OpSpec for CosineEmbeddingLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [a, b, t] = x else { return vec![] };
            let d = a.shape[a.shape.len() - 1];
            let loss = t.data.iter().enumerate().map(|(k, t)| {
                let [a, b] = [a, b].map(|x| &x.data[k * d..(k + 1) * d]);
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let size = |x: &[f64]| dot(x, x) + 1e-12; // PyTorch's guard against vectors without length.
                let cosine = dot(a, b) / (size(a) * size(b)).sqrt();
                if *t == 1.0 { 1.0 - cosine } else { (cosine - self.margin.get()).max(0.0) }
            });
            vec![reduce(RefArray::new(&t.shape, loss.collect()), &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |margin: f64, r: &str| -> Op {
                CosineEmbeddingLoss { margin: margin.into(), reduction: r.into() }.into()
            };
            let triple =
                || vec![real_in(&[4, 3], 0.5, 2.0), real_in(&[4, 3], 0.5, 2.0), signs(4).of(esker_tensor::DType::I64)];
            let unit = [
                values(&[2, 2], &[1.0, 0.0, 3.0, 4.0]),
                values(&[2, 2], &[0.0, 2.0, 3.0, 4.0]),
                values(&[2], &[1.0, -1.0]),
            ];
            let mut out = vec![
                Sample::new(op(0.0, "mean"), triple()),
                Sample::new(op(0.25, "none"), triple()),
                Sample::new(op(0.0, "sum"), [real(&[3]), real(&[3]), values(&[], &[1.0]).of(esker_tensor::DType::I64)]),
                Sample::new(op(0.25, "none"), unit).known(&[&[1.0, 0.75]], "by hand").slack(1e-11),
                Sample::new(op(0.0, "mean"), [real(&[2, 3]), real(&[2, 3]), real(&[2, 1])]).fails("Shape", "ranks"),
            ];
            out.extend(refused(|r| op(0.0, r), triple()));
            out
        }
    }

    impl OpSpec for MarginRankingLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let loss = each_value(x, |v| (-v[2] * (v[0] - v[1]) + self.margin.get()).max(0.0));
            vec![reduce(loss.into_iter().next().unwrap_or_else(|| RefArray::zeros(&[])), &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |margin: f64, r: &str| -> Op {
                MarginRankingLoss { margin: margin.into(), reduction: r.into() }.into()
            };
            let triple = || vec![real_in(&[4], 0.5, 2.0), real_in(&[4], -2.0, 0.0), signs(4)];
            let mut out = vec![
                Sample::new(op(0.0, "mean"), triple()),
                Sample::new(op(0.3, "none"), triple()),
                Sample::new(
                    op(0.5, "sum"),
                    [values(&[2], &[1.0, 2.0]), values(&[2], &[2.0, 2.0]), values(&[2], &[1.0, -1.0])],
                )
                .known(&[&[2.0]], "1.5 and 0.5"),
            ];
            out.extend(refused(|r| op(0.0, r), triple()));
            out
        }
    }

    impl OpSpec for TripletMarginLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let d = x[0].shape[x[0].shape.len() - 1];
            let distance = |a: &RefArray, b: &RefArray, k: usize| {
                let terms =
                    (k * d..(k + 1) * d).map(|i| (a.data[i] - b.data[i] + self.eps.get()).abs().powf(self.p.get()));
                terms.sum::<f64>().powf(1.0 / self.p.get())
            };
            let shape = &x[0].shape[..x[0].shape.len() - 1];
            let loss = (0..shape.iter().product()).map(|k| {
                let far = distance(&x[0], &x[2], k);
                let far = if self.swap { far.min(distance(&x[1], &x[2], k)) } else { far };
                (distance(&x[0], &x[1], k) - far + self.margin.get()).max(0.0)
            });
            vec![reduce(RefArray::new(shape, loss.collect()), &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |p: f64, swap, r: &str| -> Op {
                TripletMarginLoss { margin: 1.0.into(), p: p.into(), eps: 1e-6.into(), swap, reduction: r.into() }
                    .into()
            };
            let triple = || [[4, 3]; 3].map(|s| real(&s)).to_vec();
            let known = [values(&[1, 2], &[0.0, 0.0]), values(&[1, 2], &[3.0, 4.0]), values(&[1, 2], &[0.0, 2.0])];
            let mut out = vec![
                Sample::new(op(2.0, false, "mean"), triple()),
                Sample::new(op(2.0, true, "none"), triple()),
                Sample::new(op(1.0, false, "sum"), [real(&[3]), real(&[3]), real(&[3])]),
                Sample::new(op(2.0, false, "none"), known).known(&[&[4.0]], "5 - 2 + 1").slack(1e-5),
            ];
            out.extend(refused(|r| op(2.0, false, r), triple()).into_iter().take(1));
            out
        }
    }

    impl OpSpec for HingeEmbeddingLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let loss = each_value(x, |v| if v[1] == 1.0 { v[0] } else { (self.margin.get() - v[0]).max(0.0) });
            vec![reduce(loss.into_iter().next().unwrap_or_else(|| RefArray::zeros(&[])), &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |margin: f64, r: &str| -> Op {
                HingeEmbeddingLoss { margin: margin.into(), reduction: r.into() }.into()
            };
            let pair = || vec![real_in(&[4], 0.0, 0.9), signs(4).of(esker_tensor::DType::I64)];
            let mut out = vec![
                Sample::new(op(1.0, "mean"), pair()),
                Sample::new(op(2.0, "none"), pair()),
                Sample::new(op(1.0, "sum"), [values(&[3], &[0.25, 0.25, 2.0]), values(&[3], &[1.0, -1.0, -1.0])])
                    .known(&[&[1.0]], "0.25, 0.75 and 0"),
            ];
            out.extend(refused(|r| op(1.0, r), pair()));
            out
        }
    }

    impl OpSpec for SoftMarginLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let loss = each_value(x, |v| (-v[0] * v[1]).exp().ln_1p());
            vec![reduce(loss.into_iter().next().unwrap_or_else(|| RefArray::zeros(&[])), &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |r: &str| -> Op { SoftMarginLoss { reduction: r.into() }.into() };
            let pair = || vec![real(&[4]), signs(4)];
            let mut out = vec![
                Sample::new(op("mean"), pair()),
                Sample::new(op("sum"), pair()),
                Sample::new(op("none"), [values(&[1], &[0.0]), values(&[1], &[1.0])])
                    .known(&[&[std::f64::consts::LN_2]], "log 2"),
            ];
            out.extend(refused(op, pair()));
            out
        }
    }

    impl OpSpec for MultiMarginLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let c = x[0].shape[x[0].shape.len() - 1];
            let loss = x[1].data.iter().enumerate().map(|(k, class)| {
                let (row, own) = (&x[0].data[k * c..(k + 1) * c], *class as usize);
                let each = |j: usize| (self.margin.get() - row[own] + row[j]).max(0.0).powi(self.p as i32);
                let weight = x.get(2).map_or(1.0, |w| w.data[own]);
                weight * (0..c).filter(|j| *j != own).map(each).sum::<f64>() / c as f64
            });
            vec![reduce(RefArray::new(&x[1].shape, loss.collect()), &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |p, r: &str| -> Op { MultiMarginLoss { p, margin: 1.0.into(), reduction: r.into() }.into() };
            let rows = || vec![real(&[3, 4]), index(&[0, 3, 1])];
            let class = || values(&[], &[2.0]).of(esker_tensor::DType::I64);
            let mut out = vec![
                Sample::new(op(1, "mean"), rows()),
                Sample::new(op(2, "none"), [rows(), vec![real_in(&[4], 0.5, 2.0)]].concat()),
                Sample::new(op(1, "sum"), [real(&[4]), class()]),
                Sample::new(op(1, "none"), [values(&[1, 4], &[0.1, 0.2, 0.4, 0.8]), index(&[3])])
                    .known(&[&[0.325]], "(0.3 + 0.4 + 0.6) / 4"),
                Sample::new(op(1, "none"), [real(&[1, 4]), index(&[4])]).fails("Kernel", "no such class"),
                Sample::new(op(3, "none"), rows()).fails("Kernel", "no such power"),
                Sample::new(op(1, "none"), [real(&[2, 4]), index(&[1])]).fails("Shape", "one class for two rows"),
            ];
            out.extend(refused(|r| op(1, r), rows()));
            out
        }
    }

    impl OpSpec for MultilabelSoftMarginLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let c = x[0].shape[x[0].shape.len() - 1];
            let loss = each_value(x, |v| {
                let p = 1.0 / (1.0 + (-v[0]).exp());
                -v.get(2).copied().unwrap_or(1.0) * (v[1] * p.ln() + (1.0 - v[1]) * (1.0 - p).ln())
            });
            let rows = loss[0].fold(&[x[0].shape.len() - 1], false, |g| g.iter().sum::<f64>() / c as f64);
            vec![reduce(rows, &self.reduction)]
        }
        fn samples() -> Vec<Sample> {
            let op = |r: &str| -> Op { MultilabelSoftMarginLoss { reduction: r.into() }.into() };
            let pair = || vec![real(&[3, 4]), ints(&[3, 4], 0, 1)];
            let mut out = vec![
                Sample::new(op("mean"), pair()),
                Sample::new(op("none"), [pair(), vec![real_in(&[4], 0.5, 2.0)]].concat()),
                Sample::new(op("sum"), [values(&[1, 2], &[0.0, 0.0]), values(&[1, 2], &[1.0, 0.0])])
                    .known(&[&[std::f64::consts::LN_2]], "log 2"),
                Sample::new(op("mean"), [real(&[]), real(&[])]).fails("Shape", "a scalar"),
            ];
            out.extend(refused(op, pair()));
            out
        }
    }
}
