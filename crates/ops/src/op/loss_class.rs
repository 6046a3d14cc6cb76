//! Losses of classes, given by index or as probabilities.

use esker_tensor::{DType, Error, Result, Shape};

use super::loss::reduced;
use super::{function, need_float, need_i64, scalar_like};
use crate::{Ops, Value};

/// The shape without its classes: of `[c]`, `[n, c]` and `[n, c, d..]`.
fn without_classes(shape: &Shape) -> Result<Shape> {
    match shape.len() {
        0 => Err(Error::shape("the input must be [c], [n, c] or [n, c, d..], got a scalar")),
        1 => Ok(Shape::empty()),
        _ => Ok(shape.iter().enumerate().filter(|(d, _)| *d != 1).map(|(_, &n)| n).collect()),
    }
}

/// `[c]`, `[n, c]` or `[n, c, d..]` as `[rows, c]`.
fn rows<V: Value>(x: &V) -> Result<V> {
    let shape = x.meta().shape;
    match shape.len() {
        1 => x.reshape([1, shape[0]]),
        2 => Ok(x.clone()),
        rank => {
            let order: Vec<i64> = [0].into_iter().chain(2..rank as i64).chain([1]).collect();
            x.permute(&order[..])?.reshape([without_classes(&shape)?.numel(), shape[1]])
        }
    }
}

/// Classes by index: `[rows]`, with 0 in place of the one that does not count, and where they count.
struct Classes<V> {
    all: V,
    counting: V,
    safe: V,
}

impl<V: Value> Classes<V> {
    fn new(input: &V, target: &V, ignore: i64) -> Result<Self> {
        need_float("the input", input.meta().dtype)?;
        need_i64("the target", target.meta().dtype)?;
        let (given, needed) = (target.meta().shape, without_classes(&input.meta().shape)?);
        if given != needed {
            let input = input.meta().shape;
            return Err(Error::shape(format!(
                "the target must be {needed:?} for an input of {input:?}, got {given:?}"
            )));
        }
        let all = target.reshape([needed.numel()])?;
        let scalar = |v: i64| V::scalar(v as f64, DType::I64, target.meta().device);
        let counting = all.ne(&scalar(ignore)?)?;
        let safe = counting.where_cond(&all, &scalar(0)?)?;
        Ok(Self { all, counting, safe })
    }

    /// `x` where the class counts, else 0.
    fn only<W: std::borrow::Borrow<V>>(&self, x: W) -> Result<V> {
        let x = x.borrow();
        self.counting.where_cond(x, &scalar_like(x, 0.0)?)
    }

    /// The weight of each row's class, 0 where it does not count; fails for an index that is no class.
    fn weights(&self, input: &V, weight: Option<&V>) -> Result<V> {
        let (meta, classes) = (input.meta(), class_count(input));
        match weight {
            Some(w) if w.meta().shape[..] != [classes] => Err(Error::shape(format!(
                "the weight must be [{classes}], one for each class, got {:?}",
                w.meta().shape
            ))),
            Some(w) => self.only(w.index_select(&self.safe, 0)?),
            None => self.only(V::full(1.0, [classes], meta.dtype, meta.device)?.index_select(&self.safe, 0)?),
        }
    }
}

fn class_count<V: Value>(input: &V) -> usize {
    let shape = input.meta().shape;
    shape.get(1).or(shape.first()).copied().unwrap_or(0)
}

/// Losses of rows in the target's shape, their sum, or their mean over the weights.
fn finish<V: Value>(loss: &V, weights: &V, target: &V, reduction: &str) -> Result<V> {
    match reduction {
        "none" => loss.reshape(target.meta().shape),
        "mean" => loss.sum((), false)?.div(&weights.sum((), false)?),
        other => reduced(loss, other),
    }
}

function! { NllLoss |op, x, target; weight| {
    let classes = Classes::new(x, target, op.ignore_index)?;
    let weights = classes.weights(x, weight)?;
    let rows = rows(x)?;
    let [n, c] = [rows.meta().shape[0] as i64, rows.meta().shape[1] as i64];
    let place = V::iota(0.0, c as f64, n, DType::I64, x.meta().device)?.add(&classes.safe)?;
    let chosen = rows.reshape([n * c])?.index_select(&place, 0)?;
    let loss = classes.only(chosen.mul(&weights)?.neg()?)?;
    finish(&loss, &weights, target, &op.reduction)?
} }

function! { CrossEntropy |op, x, target; weight| {
    let smoothing = op.label_smoothing.get();
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::kernel(format!("label_smoothing must lie in 0..=1, got {smoothing}")));
    }
    if target.meta().dtype.is_float() {
        if op.ignore_index >= 0 {
            return Err(Error::kernel("ignore_index has no meaning where the target gives probabilities"));
        }
        of_probabilities(x, target, weight, &op.reduction, smoothing)?
    } else {
        of_classes(op, x, target, weight)?
    }
} }

fn of_classes<V: Value>(op: &super::CrossEntropy, x: &V, target: &V, weight: Option<&V>) -> Result<V> {
    let smoothing = op.label_smoothing.get();
    let classes = Classes::new(x, target, op.ignore_index)?;
    let rows = rows(x)?;
    let (mut loss, lse) = rows.cross_entropy_rows(&classes.all, op.ignore_index)?;
    let weights = match weight {
        Some(_) => classes.weights(x, weight)?,
        None => classes.counting.cast(rows.meta().dtype)?,
    };
    if weight.is_some() {
        loss = loss.mul(&weights)?;
    }
    if smoothing > 0.0 {
        // The mean over classes of -log softmax is logsumexp - mean.
        let spread = match weight {
            Some(w) => lse.mul(&w.mean((), false)?)?.sub(&rows.mul(w)?.mean(-1, false)?)?,
            None => lse.sub(&rows.mean(-1, false)?)?,
        };
        let part = |x: &V, by: f64| x.mul(&scalar_like(x, by)?);
        loss = part(&loss, 1.0 - smoothing)?.add(&part(&classes.only(spread)?, smoothing)?)?;
    }
    finish(&loss, &weights, target, &op.reduction)
}

fn of_probabilities<V: Value>(x: &V, target: &V, weight: Option<&V>, reduction: &str, smoothing: f64) -> Result<V> {
    let (shape, given) = (x.meta().shape, target.meta().shape);
    need_float("the input", x.meta().dtype)?;
    if shape != given {
        return Err(Error::shape(format!("probabilities must have the shape of the input, {shape:?}, got {given:?}")));
    }
    let left = without_classes(&shape)?;
    let mut target = rows(target)?;
    if smoothing > 0.0 {
        let each = scalar_like(&target, smoothing / class_count(x) as f64)?;
        target = target.mul(&scalar_like(&target, 1.0 - smoothing)?)?.add(&each)?;
    }
    if let Some(weight) = weight {
        target = target.mul(weight)?;
    }
    let loss = rows(x)?.log_softmax(-1)?.mul(&target)?.sum(-1, false)?.neg()?;
    reduced(&loss.reshape(left)?, reduction)
}

#[cfg(feature = "spec")]
mod spec {
    use super::super::loss::spec::reduce;
    use crate::Op;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, index, ints, real, real_in, values};
    use esker_tensor::DType;

    /// The index in a row of classes of element `i` of the shape without them.
    fn place(x: &RefArray, i: &[usize], class: usize) -> f64 {
        match x.shape.len() {
            1 => x.at(&[class]),
            _ => x.at(&[&i[..1], &[class], &i[1..]].concat()),
        }
    }

    fn row(x: &RefArray, i: &[usize]) -> Vec<f64> {
        let classes = x.shape.get(1).copied().unwrap_or(x.shape[0]);
        (0..classes).map(|c| place(x, i, c)).collect()
    }

    fn log_softmax(row: &[f64]) -> Vec<f64> {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        row.iter().map(|x| x - lse).collect()
    }

    /// Losses and weights of each place; the mean is over the weights.
    fn weighed(shape: &[usize], reduction: &str, f: impl Fn(&[usize]) -> (f64, f64)) -> Vec<RefArray> {
        let loss = RefArray::from_fn(shape, |i| f(i).0);
        let weights: f64 = RefArray::from_fn(shape, |i| f(i).1).data.iter().sum();
        if reduction != "mean" {
            return vec![reduce(loss, reduction)];
        }
        vec![RefArray::new(&[], vec![loss.data.iter().sum::<f64>() / weights])]
    }

    impl OpSpec for NllLoss {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            weighed(&x[1].shape, &self.reduction, |i| {
                let class = x[1].at(i);
                if class == self.ignore_index as f64 {
                    return (0.0, 0.0);
                }
                let weight = x.get(2).map_or(1.0, |w| w.data[class as usize]);
                (-weight * place(&x[0], i, class as usize), weight)
            })
        }
        fn samples() -> Vec<Sample> {
            let op = |ignore_index, r: &str| -> Op { NllLoss { ignore_index, reduction: r.into() }.into() };
            let mut out = samples(op);
            let rows = [values(&[2, 2], &[-1.0, -2.0, -3.0, -5.0]), index(&[0, 1]), values(&[2], &[1.0, 3.0])];
            out.push(Sample::new(op(-100, "mean"), rows).known(&[&[4.0]], "(1 * 1 + 3 * 5) / (1 + 3)"));
            out
        }
    }

    impl OpSpec for CrossEntropy {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let smoothing = self.label_smoothing.get();
            let weight = |c: usize| x.get(2).map_or(1.0, |w| w.data[c]);
            if x[1].dtype.is_float() {
                let mut left = x[0].shape.clone();
                left.remove(usize::from(left.len() > 1));
                let loss = RefArray::from_fn(&left, |i| {
                    let (logs, t) = (log_softmax(&row(&x[0], i)), row(&x[1], i));
                    let n = logs.len() as f64;
                    let each = |c: usize| weight(c) * logs[c] * (t[c] * (1.0 - smoothing) + smoothing / n);
                    -(0..logs.len()).map(each).sum::<f64>()
                });
                return vec![reduce(loss, &self.reduction)];
            }
            weighed(&x[1].shape, &self.reduction, |i| {
                let class = x[1].at(i);
                if class == self.ignore_index as f64 {
                    return (0.0, 0.0);
                }
                let logs = log_softmax(&row(&x[0], i));
                let all = logs.iter().enumerate().map(|(c, l)| weight(c) * l).sum::<f64>() / logs.len() as f64;
                let own = weight(class as usize) * logs[class as usize];
                (-(own * (1.0 - smoothing) + all * smoothing), weight(class as usize))
            })
        }
        fn samples() -> Vec<Sample> {
            let op = |ignore_index, r: &str, smoothing: f64| -> Op {
                CrossEntropy { ignore_index, reduction: r.into(), label_smoothing: smoothing.into() }.into()
            };
            let mut out = samples(|ignore, r| op(ignore, r, 0.0));
            let w = || real_in(&[4], 0.5, 2.0);
            let share = |s: &[usize]| real_in(s, 0.0, 1.0);
            out.push(Sample::new(op(-100, "mean", 0.2), [real(&[3, 4]), index(&[0, 3, -100])]));
            out.push(Sample::new(op(2, "none", 0.2), [real(&[3, 4]), index(&[0, 3, 2]), w()]));
            out.push(Sample::new(op(-100, "mean", 0.1), [real(&[2, 4, 3]), ints(&[2, 3], 0, 3).of(DType::I64), w()]));
            out.push(Sample::new(op(-100, "mean", 0.0), [real(&[3, 4]), share(&[3, 4])]).note("probabilities"));
            out.push(Sample::new(op(-100, "none", 0.3), [real(&[2, 4, 2]), share(&[2, 4, 2]), w()]));
            out.push(Sample::new(op(-100, "sum", 0.0), [real(&[4]), share(&[4])]));
            // log 2 + log 2 over two rows of equal logits.
            let even = [values(&[2, 2], &[0.0; 4]), index(&[0, 1])];
            out.push(Sample::new(op(-100, "sum", 0.0), even).known(&[&[2.0 * std::f64::consts::LN_2]], "2 log 2"));
            let logits = values(&[3], &[1.0, 2.0, 3.0]);
            let class = values(&[], &[0.0]).of(DType::I64);
            let y = 2.407_605_964_444_38;
            out.push(Sample::new(op(-100, "mean", 0.0), [logits, class]).known(&[&[y]], "mpmath 1.3 at 50 digits"));
            out.push(Sample::new(op(-100, "mean", 1.5), [real(&[2, 3]), index(&[0, 1])]).fails("Kernel", "smoothing"));
            out.push(Sample::new(op(1, "mean", 0.0), [real(&[2, 3]), share(&[2, 3])]).fails("Kernel", "ignored"));
            out.push(
                Sample::new(op(-100, "mean", 0.0), [real(&[2, 3]), share(&[2])]).fails("Shape", "one probability"),
            );
            out
        }
    }

    /// Shapes, weights and ignored classes, and what must be refused.
    fn samples(op: impl Fn(i64, &str) -> Op) -> Vec<Sample> {
        let classes = |shape: &[usize]| ints(shape, 0, 3).of(DType::I64);
        let w = || real_in(&[4], 0.5, 2.0);
        let mut out: Vec<Sample> =
            ["none", "mean", "sum"].map(|r| Sample::new(op(-100, r), [real(&[3, 4]), classes(&[3])])).to_vec();
        out.extend([
            Sample::new(op(-100, "mean"), [real(&[3, 4]), classes(&[3]), w()]),
            Sample::new(op(2, "none"), [real(&[3, 4]), index(&[2, 0, 3]), w()]).note("class 2 does not count"),
            Sample::new(op(-1, "mean"), [real(&[3, 4]), index(&[2, -1, 3])]),
            Sample::new(op(-100, "mean"), [real(&[2, 4, 3]), classes(&[2, 3])]),
            Sample::new(op(1, "none"), [real(&[2, 4, 1, 2]), classes(&[2, 1, 2]), w()]),
            Sample::new(op(-100, "mean"), [real(&[4]), classes(&[])]).note("one row"),
            Sample::new(op(-100, "sum"), [real(&[0, 4]), classes(&[0])]),
            Sample::new(op(-100, "mean"), [real(&[2, 4]), index(&[-100, -100])])
                .rough()
                .note("the mean of nothing is NaN"),
            Sample::new(op(-100, "mean"), [real(&[2, 4]), index(&[0, 4])]).fails("Kernel", "a class beyond the last"),
            Sample::new(op(-100, "mean"), [real(&[2, 4]), index(&[-1, 0])]).fails("Kernel", "a negative class"),
            Sample::new(op(-100, "mean"), [real(&[2, 4]), index(&[0])]).fails("Shape", "one target for two rows"),
            Sample::new(op(-100, "mean"), [real(&[]), index(&[0])]).fails("Shape", "no classes"),
            Sample::new(op(-100, "mean"), [real(&[2, 4]), index(&[0, 1]), real(&[3])]).fails("Shape", "3 weights"),
            Sample::new(op(-100, "mean"), [real(&[2, 4]), index(&[0, 1]).of(DType::I32)]).fails("DType", "int32"),
            Sample::new(op(-100, "max"), [real(&[2, 4]), index(&[0, 1])]).fails("Kernel", "no such reduction"),
            Sample::new(op(-100, "mean"), [ints(&[1, 4], 0, 3), index(&[0])])
                .on(Dtypes::Ints)
                .fails("DType", "integers"),
        ]);
        out
    }
}
