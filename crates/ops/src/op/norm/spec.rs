//! References and samples of normalisations: the values that share statistics as a list.

use esker_tensor::DType;

use crate::op::{BatchNorm, BatchNormTrain, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm, RmsNorm};
use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, ints, real, real_in, values};
use crate::{Call, F64Bits, Function, Op};

/// Mean and variance.
pub(super) fn moments(v: &[f64]) -> (f64, f64) {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, where elements with one `group(index)` share mean and variance,
/// and those with one `param(index)` weight and bias.
pub(super) fn normalized(
    x: &RefArray,
    eps: f64,
    group: impl Fn(&[usize]) -> usize,
    param: impl Fn(&[usize]) -> usize,
    [weight, bias]: [Option<&RefArray>; 2],
) -> RefArray {
    let mut groups: std::collections::BTreeMap<usize, Vec<f64>> = std::collections::BTreeMap::new();
    crate::spec::each_index(&x.shape, |i| groups.entry(group(i)).or_default().push(x.at(i)));
    RefArray::from_fn(&x.shape, |i| {
        let (mean, variance) = moments(&groups[&group(i)]);
        let at = |v: Option<&RefArray>, otherwise: f64| v.map_or(otherwise, |v| v.data[param(i)]);
        (x.at(i) - mean) / (variance + eps).sqrt() * at(weight, 1.0) + at(bias, 0.0)
    })
}

/// A call in which bit `i` of `given` says whether tensor `i` is there.
fn call(function: impl Into<Function>, given: u64) -> Op {
    Call::new(function, given).into()
}

const EPS: F64Bits = F64Bits::new(1e-5);

fn positive(n: usize) -> Input {
    real_in(&[n], 0.5, 2.0)
}

impl OpSpec for BatchNormTrain {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let c = x[0].shape[1];
        let y = normalized(&x[0], self.eps.get(), |i| i[1], |i| i[1], [x.get(1), x.get(2)]);
        let of = |k: usize| {
            let mut values = Vec::new();
            crate::spec::each_index(&x[0].shape, |i| values.extend((i[1] == k).then(|| x[0].at(i))));
            moments(&values)
        };
        let means = (0..c).map(|k| of(k).0).collect();
        vec![y, RefArray::new(&[c], means), RefArray::new(&[c], (0..c).map(|k| of(k).1).collect())]
    }

    fn samples() -> Vec<Sample> {
        let op = || BatchNormTrain { eps: EPS };
        let known = values(&[2, 2], &[1.0, 5.0, 3.0, 5.0]);
        let plain: &[&[f64]] = &[&[-1.0, 0.0, 1.0, 0.0], &[2.0, 5.0], &[1.0, 0.0]];
        vec![
            Sample::new(op(), [real(&[3, 2, 2, 3]), positive(2), real(&[2])]),
            Sample::new(op(), [real(&[4, 3])]),
            Sample::new(op(), [real(&[2, 1, 3, 2, 2]), positive(1)]),
            Sample::new(BatchNormTrain { eps: 0.0.into() }, [values(&[2, 1], &[1.0, 3.0])])
                .known(&[&[-1.0, 1.0], &[2.0], &[1.0]], "by hand"),
            Sample::new(BatchNormTrain { eps: 1e-20.into() }, [known])
                .on(Dtypes::Only(&[DType::F64]))
                .known(plain, "by hand"),
            Sample::new(op(), [real(&[1, 3])]).fails("Shape", "one value for each channel"),
            Sample::new(op(), [real(&[3])]).fails("Shape", "no channels"),
            Sample::new(op(), [real(&[3, 2]), real(&[3])]).fails("Shape", "the weight's size"),
            Sample::new(op(), [ints(&[3, 2], 0, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }
}

impl OpSpec for BatchNorm {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        if self.training {
            // The samples give all five, or the input alone.
            return vec![normalized(&x[0], self.eps.get(), |i| i[1], |i| i[1], [x.get(3), x.get(4)])];
        }
        vec![RefArray::from_fn(&x[0].shape, |i| {
            let at = |k: usize, otherwise: f64| x.get(k).map_or(otherwise, |v| v.data[i[1]]);
            (x[0].at(i) - at(1, 0.0)) / (at(2, 1.0) + self.eps.get()).sqrt() * at(3, 1.0) + at(4, 0.0)
        })]
    }

    fn samples() -> Vec<Sample> {
        let op = |training| BatchNorm { training, momentum: 0.1.into(), eps: EPS };
        let all = |shape: &[usize]| {
            let c = shape[1];
            vec![real(shape), real(&[c]), positive(c), positive(c), real(&[c])]
        };
        let running = |shape: &[usize]| all(shape)[..3].to_vec();
        let known = [values(&[1, 2], &[3.0, 4.0]), values(&[2], &[1.0, 2.0]), values(&[2], &[3.0, 15.0])];
        let one = BatchNorm { eps: 1.0.into(), ..op(false) };
        vec![
            Sample::new(op(false), all(&[2, 3, 2, 2])),
            Sample::new(op(false), running(&[1, 2])),
            Sample::new(op(false), running(&[0, 2, 3])),
            Sample::new(op(true), all(&[3, 2, 4])),
            Sample::new(op(true), [real(&[3, 2, 4])]),
            Sample::new(one, known).known(&[&[1.0, 0.5]], "by hand: 2 / sqrt(4) and 2 / sqrt(16)"),
            Sample::new(
                call(op(true), 0b11001),
                [values(&[2, 1], &[1.0, 3.0]), values(&[1], &[2.0]), values(&[1], &[1.0])],
            )
            .slack(1e-4)
            .known(&[&[-1.0, 3.0]], "by hand, but for eps: a weight and a bias, no running statistics"),
            Sample::new(op(false), [real(&[3, 2])]).fails("Shape", "no running statistics"),
            Sample::new(op(true), [real(&[1, 2])]).fails("Shape", "one value for each channel"),
            Sample::new(op(false), [real(&[3, 2]), real(&[3]), positive(2)]).fails("Shape", "the mean's size"),
            Sample::new(op(false), [real(&[2]), real(&[2]), positive(2)]).fails("Shape", "no channels"),
            Sample::new(op(true), [ints(&[3, 2], 0, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }
}

impl OpSpec for InstanceNorm {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        if !self.use_input_stats {
            return BatchNorm { training: false, momentum: self.momentum, eps: self.eps }.reference(x);
        }
        let c = x[0].shape[1];
        vec![normalized(&x[0], self.eps.get(), |i| i[0] * c + i[1], |i| i[1], [x.get(3), x.get(4)])]
    }

    fn samples() -> Vec<Sample> {
        let op = |use_input_stats| InstanceNorm { use_input_stats, momentum: 0.1.into(), eps: EPS };
        let all = vec![real(&[2, 3, 2, 4]), real(&[3]), positive(3), positive(3), real(&[3])];
        let affine = [values(&[1, 1, 2], &[1.0, 3.0]), values(&[1], &[2.0]), values(&[1], &[1.0])];
        let exact = InstanceNorm { eps: 0.0.into(), ..op(true) };
        vec![
            Sample::new(op(true), all.clone()),
            Sample::new(op(true), [real(&[2, 3, 4])]),
            Sample::new(op(false), all),
            Sample::new(call(exact, 0b11001), affine).known(&[&[-1.0, 3.0]], "by hand"),
            Sample::new(op(true), [real(&[2, 3, 1])]).fails("Shape", "one value for each channel"),
            Sample::new(op(true), [real(&[2, 3])]).fails("Shape", "no spatial dimension"),
            Sample::new(op(false), [real(&[2, 3, 4])]).fails("Shape", "no running statistics"),
            Sample::new(op(true), [ints(&[3, 2, 2], 0, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }
}

impl OpSpec for GroupNorm {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let groups = self.num_groups as usize;
        let each = x[0].shape[1] / groups;
        let group = |i: &[usize]| i[0] * groups + i[1] / each;
        vec![normalized(&x[0], self.eps.get(), group, |i| i[1], [x.get(1), x.get(2)])]
    }

    fn samples() -> Vec<Sample> {
        let op = |num_groups| GroupNorm { num_groups, eps: EPS };
        let exact = GroupNorm { num_groups: 1, eps: 0.0.into() };
        vec![
            Sample::new(op(2), [real(&[2, 4, 3, 2]), positive(4), real(&[4])]),
            Sample::new(op(3), [real(&[2, 12])]),
            Sample::new(op(1), [real(&[2, 3, 4]), positive(3)]),
            Sample::new(exact, [values(&[1, 2, 1], &[1.0, 3.0])]).known(&[&[-1.0, 1.0]], "by hand"),
            Sample::new(op(2), [real(&[2, 3, 4])]).fails("Shape", "2 groups of 3 channels"),
            Sample::new(op(0), [real(&[2, 3, 4])]).fails("Shape", "no groups"),
            Sample::new(op(2), [real(&[1, 2])]).fails("Shape", "one value for each group"),
            Sample::new(op(1), [real(&[2, 3, 4]), real(&[4])]).fails("Shape", "the weight's size"),
            Sample::new(op(1), [ints(&[3, 2], 0, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }
}

/// The number of the row of last dimensions of `sizes` elements that an index lies in, and its place there.
fn row(x: &RefArray, sizes: usize, i: &[usize]) -> (usize, usize) {
    let flat = i.iter().zip(&x.shape).fold(0, |flat, (&i, &n)| flat * n + i);
    (flat / sizes, flat % sizes)
}

fn numel(sizes: &crate::Sizes) -> usize {
    sizes.get().unwrap_or(&[]).iter().product::<i64>() as usize
}

impl OpSpec for LayerNorm {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let n = numel(&self.normalized_shape);
        let (group, param) = (|i: &[usize]| row(&x[0], n, i).0, |i: &[usize]| row(&x[0], n, i).1);
        vec![normalized(&x[0], self.eps.get(), group, param, [x.get(1), x.get(2)])]
    }

    fn samples() -> Vec<Sample> {
        let op = |sizes: &[usize]| LayerNorm { normalized_shape: sizes.into(), eps: EPS };
        let weight = |shape: &[usize]| real_in(shape, 0.5, 2.0);
        let half = [real(&[2, 35]).of(DType::BF16), weight(&[35]).of(DType::F32)];
        let exact = LayerNorm { normalized_shape: [2].into(), eps: 0.0.into() };
        let biased = [values(&[1, 2], &[1.0, 3.0]), values(&[2], &[1.0, 2.0])];
        vec![
            Sample::new(op(&[5]), [real(&[2, 5]), weight(&[5]), real(&[5])]),
            Sample::new(op(&[67]), [real(&[3, 67]), weight(&[67])]),
            Sample::new(op(&[3, 4]), [real(&[2, 3, 4]), weight(&[3, 4]), real(&[3, 4])]),
            Sample::new(op(&[2, 3]), [real(&[2, 3])]),
            Sample::new(op(&[3]), [real(&[0, 3]), weight(&[3]), real(&[3])]),
            Sample::new(op(&[35]), half).on(Dtypes::Only(&[DType::BF16])).note("a weight of wider type"),
            Sample::new(call(exact, 0b101), biased).known(&[&[0.0, 3.0]], "by hand: a bias alone"),
            Sample::new(op(&[3]), [real(&[2, 4])]).fails("Shape", "the input ends otherwise"),
            Sample::new(op(&[]), [real(&[2, 4])]).fails("Shape", "nothing to normalise over"),
            Sample::new(op(&[3]), [real(&[2, 3]), real(&[1])]).fails("Shape", "the weight's size"),
            Sample::new(op(&[3]), [real(&[2, 3]), real(&[3]), real(&[1, 3])]).fails("Shape", "the bias's rank"),
            Sample::new(op(&[1]), [real(&[])]).fails("Shape", "a scalar"),
            Sample::new(op(&[3]), [ints(&[2, 3], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }
}

impl OpSpec for RmsNorm {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let n = numel(&self.normalized_shape);
        let eps = self.eps.get().map_or_else(
            || match x[0].dtype {
                DType::F16 => 2f64.powi(-10),
                DType::BF16 => 2f64.powi(-7),
                DType::F32 => 2f64.powi(-23),
                _ => 2f64.powi(-52),
            },
            |e| e.get(),
        );
        vec![RefArray::from_fn(&x[0].shape, |i| {
            let (group, place) = row(&x[0], n, i);
            let square = x[0].data[group * n..][..n].iter().map(|v| v * v).sum::<f64>() / n as f64;
            x[0].at(i) / (square + eps).sqrt() * x.get(1).map_or(1.0, |w| w.data[place])
        })]
    }

    fn samples() -> Vec<Sample> {
        let op = |sizes: &[usize], eps: Option<f64>| RmsNorm { normalized_shape: sizes.into(), eps: eps.into() };
        vec![
            Sample::new(op(&[5], None), [real(&[2, 5]), real(&[5])]),
            Sample::new(op(&[3, 2], Some(0.1)), [real(&[2, 3, 2]), real(&[3, 2])]),
            Sample::new(op(&[4], None), [real(&[4])]),
            Sample::new(op(&[4], None), [real(&[0, 4])]),
            Sample::new(op(&[2], Some(0.5)), [values(&[1, 2], &[1.0, 2.0])])
                .slack(1e-6)
                .known(&[&[0.577_350_269_189_625_8, 1.154_700_538_379_251_5]], "by hand: over sqrt(2.5 + 0.5)"),
            Sample::new(op(&[3], None), [real(&[2, 4])]).fails("Shape", "the input ends otherwise"),
            Sample::new(op(&[3], None), [real(&[2, 3]), real(&[2])]).fails("Shape", "the weight's size"),
            Sample::new(op(&[3], None), [ints(&[2, 3], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }
}

impl OpSpec for LocalResponseNorm {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let (size, x) = (self.size, &x[0]);
        vec![RefArray::from_fn(&x.shape, |i| {
            let channels = i[1] as i64 - size / 2..i[1] as i64 - size / 2 + size;
            let inside = channels.filter(|c| (0..x.shape[1] as i64).contains(c));
            let square = |c: i64| {
                let mut at = i.to_vec();
                at[1] = c as usize;
                x.at(&at).powi(2)
            };
            let mean = inside.map(square).sum::<f64>() / size as f64;
            x.at(i) / (self.k.get() + self.alpha.get() * mean).powf(self.beta.get())
        })]
    }

    fn samples() -> Vec<Sample> {
        let op = |size, alpha: f64| LocalResponseNorm { size, alpha: alpha.into(), beta: 0.75.into(), k: 1.0.into() };
        let known = LocalResponseNorm { beta: 1.0.into(), ..op(3, 3.0) };
        vec![
            Sample::new(op(3, 0.5), [real(&[2, 4, 2, 3])]),
            Sample::new(op(2, 0.5), [real(&[2, 3, 4])]),
            Sample::new(op(5, 1e-4), [real(&[1, 2, 2, 1, 2])]),
            Sample::new(known, [values(&[1, 3, 1], &[1.0, 2.0, 3.0])])
                .known(&[&[1.0 / 6.0, 2.0 / 15.0, 3.0 / 14.0]], "by hand: over 1 + the sum of squares around"),
            Sample::new(op(0, 1.0), [real(&[2, 3, 4])]).fails("Shape", "no channels"),
            Sample::new(op(3, 1.0), [real(&[2, 3])]).fails("Shape", "rank 2"),
            Sample::new(op(3, 1.0), [ints(&[1, 2, 2], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }
}
