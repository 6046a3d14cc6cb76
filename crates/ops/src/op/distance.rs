//! Lengths, angles and distances of vectors.

use esker_tensor::{DType, Error};

use super::{function, scalar_like};
use crate::Ops;

/// The smallest float16 above 0: PyTorch's usual `eps` would round to 0, and vectors without length to NaN.
const LEAST_F16: f64 = 5.960_464_477_539_063e-8;

function! { Normalize |op, x| {
    let length = x.norm(op.p, op.dim, true)?;
    let eps = op.eps.get();
    let eps = if length.meta().dtype == DType::F16 && eps > 0.0 { eps.max(LEAST_F16) } else { eps };
    x.div(&length.maximum(&scalar_like(&length, eps)?)?)?
} }

function! { CosineSimilarity |op, a, b| {
    // Each is brought to length 1 first, which keeps products in range; the dimension is one of their common shape.
    let shape = a.meta().shape.broadcast(&b.meta().shape)?;
    let unit = |x: &V| x.expand(shape)?.normalize(2.0, op.dim, op.eps);
    unit(a)?.mul(&unit(b)?)?.sum(op.dim, false)?
} }

function! { PairwiseDistance |op, a, b| {
    let difference = a.sub(b)?;
    let shifted = difference.add(&scalar_like(&difference, op.eps.get())?)?;
    shifted.norm(op.p, -1, op.keepdim)?
} }

function! { Cdist |op, a, b| {
    let (x, y) = (a.meta().shape, b.meta().shape);
    if x.len() < 2 || y.len() < 2 || x.last() != y.last() {
        return Err(Error::shape(format!("takes [.., p, d] and [.., r, d], got {x:?} and {y:?}")));
    }
    if op.p.get() < 0.0 {
        return Err(Error::kernel(format!("p must be at least 0, got {}", op.p.get())));
    }
    a.unsqueeze(-2)?.sub(&b.unsqueeze(-3)?)?.norm(op.p, -1, false)?
} }

#[cfg(feature = "spec")]
mod spec {
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, axis, broadcast, each_value, ints, real, real_in, values};

    /// `|x_1|^p + ..` to the power `1 / p`.
    fn length(line: &[f64], p: f64) -> f64 {
        match p {
            f64::INFINITY => line.iter().fold(0.0, |a, v| v.abs().max(a)),
            0.0 => line.iter().filter(|v| **v != 0.0).count() as f64,
            p => line.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p),
        }
    }

    impl OpSpec for Normalize {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let unit = |line: &[f64]| {
                let n = length(line, self.p.get()).max(self.eps.get());
                line.iter().map(|v| v / n).collect()
            };
            vec![x[0].lines(axis(self.dim, x[0].shape.len()), unit)]
        }
        fn samples() -> Vec<Sample> {
            let op = |p: f64, dim| Normalize { p: p.into(), dim, eps: 1e-12.into() };
            vec![
                Sample::new(op(2.0, 1), [real(&[2, 3])]),
                Sample::new(op(2.0, 0), [real(&[4])]),
                Sample::new(op(1.0, -2), [real_in(&[2, 3, 2], 0.2, 2.0)]),
                Sample::new(op(3.0, -1), [real_in(&[2, 3], 0.2, 2.0)]),
                Sample::new(op(2.0, 1), [values(&[2, 2], &[3.0, 4.0, 0.0, 0.0])])
                    .known(&[&[0.6, 0.8, 0.0, 0.0]], "by hand; a vector without length stays"),
                Sample::new(op(2.0, 2), [real(&[2, 3])]).fails("Dim", "out of range"),
                Sample::new(op(2.0, 0), [ints(&[3], 1, 2)]).on(Dtypes::Ints).fails("DType", "integers"),
            ]
        }
    }

    impl OpSpec for CosineSimilarity {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let shape = broadcast(&[&x[0].shape, &x[1].shape]);
            let dim = axis(self.dim, shape.len());
            let [a, b] = [&x[0], &x[1]].map(|x| x.broadcast_to(&shape));
            let product = |a: &RefArray, b: &RefArray| {
                let data = a.data.iter().zip(&b.data).map(|(a, b)| a * b).collect();
                RefArray::new(&shape, data).fold(&[dim], false, |g| g.iter().sum())
            };
            let (ab, aa, bb) = (product(&a, &b), product(&a, &a), product(&b, &b));
            let size = |v: f64| v.sqrt().max(self.eps.get());
            let data = (0..ab.data.len()).map(|i| ab.data[i] / (size(aa.data[i]) * size(bb.data[i])));
            vec![RefArray::new(&ab.shape, data.collect())]
        }
        fn samples() -> Vec<Sample> {
            let op = |dim| CosineSimilarity { dim, eps: 1e-8.into() };
            vec![
                Sample::new(op(1), [real(&[2, 3]), real(&[2, 3])]),
                Sample::new(op(0), [real(&[3]), real(&[3])]),
                Sample::new(op(-1), [real(&[2, 1, 3]), real(&[4, 3])]).note("broadcast"),
                Sample::new(op(-2), [real(&[1, 2, 3]), real(&[2, 1, 3])]).note("broadcast along the dimension itself"),
                Sample::new(op(1), [values(&[2, 2], &[1.0, 0.0, 3.0, 4.0]), values(&[2, 2], &[0.0, 2.0, 4.0, 3.0])])
                    .known(&[&[0.0, 0.96]], "by hand"),
                Sample::new(op(2), [real(&[2, 3]), real(&[2, 3])]).fails("Dim", "out of range"),
                Sample::new(op(1), [real(&[2, 3]), real(&[2, 4])]).fails("Shape", "they do not broadcast"),
            ]
        }
    }

    impl OpSpec for PairwiseDistance {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let difference = &each_value(x, |v| v[0] - v[1] + self.eps.get())[0];
            vec![difference.fold(&[difference.shape.len() - 1], self.keepdim, |g| length(g, self.p.get()))]
        }
        fn samples() -> Vec<Sample> {
            let op = |p: f64, keepdim| PairwiseDistance { p: p.into(), eps: 1e-6.into(), keepdim };
            let apart = |a: &[usize], b: &[usize]| [real_in(a, 0.5, 2.0), real_in(b, -2.0, 0.0)];
            let f64_only = Dtypes::Only(&[esker_tensor::DType::F64]);
            vec![
                Sample::new(op(2.0, false), apart(&[2, 3], &[2, 3])),
                Sample::new(op(1.0, true), apart(&[2, 3], &[3])),
                Sample::new(op(3.0, false), apart(&[4], &[4])),
                Sample::new(op(2.0, false), [values(&[1, 2], &[3.0, 4.0]), values(&[1, 2], &[0.0, 0.0])])
                    .on(f64_only)
                    .known(&[&[5.000_001_400_000_004]], "root of 3.000001^2 + 4.000001^2"),
                Sample::new(op(2.0, false), apart(&[2, 3], &[2, 4])).fails("Shape", "they do not broadcast"),
            ]
        }
    }

    impl OpSpec for Cdist {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [a, b] = [&x[0], &x[1]];
            let (m, n) = (a.shape.len() - 2, b.shape.len() - 2);
            let mut shape = broadcast(&[&a.shape[..m], &b.shape[..n]]);
            let lead = shape.len();
            shape.extend([a.shape[m], b.shape[n]]);
            let whole = |x: &RefArray| x.broadcast_to(&[&shape[..lead], &x.shape[x.shape.len() - 2..]].concat());
            let (a, b) = (whole(a), whole(b));
            vec![RefArray::from_fn(&shape, |i| {
                let at = |x: &RefArray, row: usize, e: usize| x.at(&[&i[..lead], &[row, e]].concat());
                let d: Vec<f64> = (0..x[0].shape[m + 1]).map(|e| at(&a, i[lead], e) - at(&b, i[lead + 1], e)).collect();
                length(&d, self.p.get())
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |p: f64| Cdist { p: p.into() };
            let apart = |a: &[usize], b: &[usize]| [real_in(a, 0.5, 2.0), real_in(b, -2.0, 0.0)];
            vec![
                Sample::new(op(2.0), apart(&[2, 3], &[4, 3])),
                Sample::new(op(1.0), apart(&[2, 2, 3], &[1, 3, 3])),
                Sample::new(op(3.0), apart(&[3, 2], &[2, 2])),
                Sample::new(op(f64::INFINITY), apart(&[2, 3], &[2, 3])),
                Sample::new(op(0.0), [ints(&[3, 4], 0, 1), ints(&[2, 4], 0, 1)]).rough(),
                Sample::new(op(2.0), apart(&[0, 3], &[2, 3])),
                Sample::new(op(2.0), [values(&[1, 2], &[0.0, 0.0]), values(&[2, 2], &[3.0, 4.0, 0.0, 0.0])])
                    .known(&[&[5.0, 0.0]], "by hand"),
                Sample::new(op(-1.0), apart(&[2, 3], &[2, 3])).fails("Kernel", "a negative power"),
                Sample::new(op(2.0), apart(&[2, 3], &[2, 4])).fails("Shape", "widths"),
                Sample::new(op(2.0), apart(&[3], &[2, 3])).fails("Shape", "rank 1"),
            ]
        }
    }
}
