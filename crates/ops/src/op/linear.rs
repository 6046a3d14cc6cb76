//! The affine map of a fully connected layer, and the bilinear map of two inputs.

use esker_tensor::{DType, Error};

use super::function;
use crate::Ops;

function! { Linear |_op, x, weight; bias| {
    let (given, w) = (x.meta().shape, weight.meta().shape);
    if w.len() != 2 || given.is_empty() || given[given.len() - 1] != w[1] {
        let needed = w.last().copied().unwrap_or(0);
        return Err(Error::shape(format!(
            "the input {given:?} must end in {needed}, the inputs of the weight {w:?}, which is [out, in]"
        )));
    }
    let float = DType::promote(x.meta().dtype, weight.meta().dtype).is_float();
    match bias {
        None if float => V::affine(&[x, weight])?,
        Some(bias) if float && bias.meta().shape[..] == w[..1] => V::affine(&[x, weight, bias])?,
        // Integers, and a bias that is spread out.
        _ => {
            let y = x.matmul(&weight.permute([1, 0])?)?;
            match bias {
                Some(bias) => y.add(bias)?,
                None => y,
            }
        }
    }
}}

function! { Bilinear |_op, a, b, weight; bias| {
    let (x, y, w) = (a.meta().shape, b.meta().shape, weight.meta().shape);
    let fits = w.len() == 3 && !x.is_empty() && x.len() == y.len() && x[..x.len() - 1] == y[..y.len() - 1];
    if !fits || x[x.len() - 1] != w[1] || y[y.len() - 1] != w[2] {
        return Err(Error::shape(format!("inputs [.., in1] and [.., in2] and a weight [out, in1, in2] are needed, got {x:?}, {y:?} and {w:?}")));
    }
    let rows = x[..x.len() - 1].iter().product::<usize>();
    let first = weight.permute([1, 0, 2])?.reshape([w[1], w[0] * w[2]])?;
    let first = a.reshape([rows, w[1]])?.matmul(&first)?.reshape([rows, w[0], w[2]])?;
    let sums = first.mul(&b.reshape([rows, 1, w[2]])?)?.sum(-1, false)?;
    let mut shape = x;
    shape[x.len() - 1] = w[0];
    let y = sums.reshape(shape)?;
    match bias {
        Some(bias) => y.add(bias)?,
        None => y,
    }
}}

#[cfg(feature = "spec")]
impl crate::spec::OpSpec for super::Linear {
    fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
        let (outs, ins) = (x[1].shape[0], x[1].shape[1]);
        let rows = x[0].shape[..x[0].shape.len() - 1].iter().product::<usize>();
        let y = |(row, out): (usize, usize)| {
            let dot = (0..ins).map(|i| x[0].data[row * ins + i] * x[1].data[out * ins + i]).sum::<f64>();
            dot + x.get(2).map_or(0.0, |bias| bias.data[out])
        };
        let data = (0..rows).flat_map(|row| (0..outs).map(move |out| (row, out))).map(y).collect();
        let mut shape = x[0].shape.clone();
        shape.iter_mut().last().into_iter().for_each(|n| *n = outs);
        vec![crate::spec::RefArray::new(&shape, data)]
    }
    fn samples() -> Vec<crate::spec::Sample> {
        use crate::spec::{Sample, real, values};
        let op = super::Linear {};
        vec![
            Sample::new(op.clone(), [real(&[2, 3]), real(&[4, 3]), real(&[4])]),
            Sample::new(op.clone(), [real(&[2, 1, 3]), real(&[4, 3])]),
            Sample::new(op.clone(), [real(&[3]), real(&[2, 3]), real(&[2])]),
            Sample::new(op.clone(), [values(&[2], &[1.0, 2.0]), values(&[1, 2], &[3.0, 4.0]), values(&[1], &[0.5])])
                .known(&[&[11.5]], "by hand"),
            Sample::new(op.clone(), [real(&[2, 3]), real(&[3, 4])]).fails("Shape", "a weight that is not [out, in]"),
            Sample::new(op, [real(&[2, 3])]).fails("Shape", "no weight"),
        ]
    }
}

#[cfg(feature = "spec")]
impl crate::spec::OpSpec for super::Bilinear {
    fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
        let mut shape = x[0].shape.clone();
        let last = shape.len() - 1;
        shape[last] = x[2].shape[0];
        vec![crate::spec::RefArray::from_fn(&shape, |i| {
            let (row, k) = (&i[..last], i[last]);
            let term = |p: usize, q: usize| {
                x[0].at(&[row, &[p]].concat()) * x[2].at(&[k, p, q]) * x[1].at(&[row, &[q]].concat())
            };
            let sum: f64 = (0..x[2].shape[1]).map(|p| (0..x[2].shape[2]).map(|q| term(p, q)).sum::<f64>()).sum();
            sum + x.get(3).map_or(0.0, |b| b.data[k])
        })]
    }
    fn samples() -> Vec<crate::spec::Sample> {
        use crate::spec::{Sample, real, values};
        let op = super::Bilinear {};
        let ones = [values(&[1], &[2.0]), values(&[1], &[3.0]), values(&[1, 1, 1], &[4.0]), values(&[1], &[0.5])];
        vec![
            Sample::new(op.clone(), [real(&[2, 3]), real(&[2, 2]), real(&[4, 3, 2]), real(&[4])]),
            Sample::new(op.clone(), [real(&[2, 2, 3]), real(&[2, 2, 1]), real(&[2, 3, 1])]),
            Sample::new(op.clone(), [real(&[3]), real(&[2]), real(&[2, 3, 2])]),
            Sample::new(op.clone(), ones).known(&[&[24.5]], "by hand"),
            Sample::new(op.clone(), [real(&[2, 3]), real(&[3, 2]), real(&[4, 3, 2])]).fails("Shape", "rows differ"),
            Sample::new(op, [real(&[2, 3]), real(&[2, 2]), real(&[4, 2, 3])]).fails("Shape", "the weight is turned"),
        ]
    }
}
