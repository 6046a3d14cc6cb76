//! The running log-sum-exp.

use super::{function, need_float};
use crate::Ops;

function! { Logcumsumexp |op, x| {
    let shape = x.meta().shape;
    need_float("the input", x.meta().dtype)?;
    let dim = shape.dim(op.dim)?;
    let size = shape.get(dim).copied().unwrap_or(1);
    let (axis, mut y, mut reach) = (dim as i64, x.clone(), 1);
    // Sums over 1, 2, 4, .. places: each round adds the sums that end where its own begin.
    while reach < size {
        let (done, left) = (reach as i64, (size - reach) as i64);
        let rest = y.narrow(axis, done, left)?.logaddexp(&y.narrow(axis, 0, left)?)?;
        y = V::cat(&[&y.narrow(axis, 0, done)?, &rest], axis)?;
        reach *= 2;
    }
    y
} }

#[cfg(feature = "spec")]
impl crate::spec::OpSpec for super::Logcumsumexp {
    fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
        let sum = |line: &[f64]| {
            let top = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            top + line.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
        };
        let running = |line: &[f64]| (1..=line.len()).map(|n| sum(&line[..n])).collect();
        vec![x[0].lines(crate::spec::axis(self.dim, x[0].shape.len()), running)]
    }
    fn samples() -> Vec<crate::spec::Sample> {
        use crate::spec::{Sample, real, real_in, values};
        let op = |dim| super::Logcumsumexp { dim };
        vec![
            Sample::new(op(0), [real(&[5])]),
            Sample::new(op(1), [real(&[2, 3, 2])]),
            Sample::new(op(-1), [real(&[2, 9])]),
            Sample::new(op(0), [real(&[])]),
            Sample::new(op(0), [real(&[0, 2])]),
            Sample::new(op(0), [real_in(&[1, 3], 1.0, 2.0)]),
            Sample::new(op(0), [values(&[4], &[0.5; 4])]).note("equal ones share the slope"),
            Sample::new(op(0), [values(&[3], &[-1000.0, 0.0, 0.0])])
                .on(crate::spec::Dtypes::Only(&[esker_tensor::DType::F32, esker_tensor::DType::F64]))
                .known(&[&[-1000.0, 0.0, std::f64::consts::LN_2]], "nothing is lost far below"),
            Sample::new(op(1), [real(&[3])]).fails("Dim", "out of range"),
        ]
    }
}
