//! The affine map of a fully connected layer.

use esker_tensor::Error;

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
    let y = x.matmul(&weight.permute([1, 0])?)?;
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
