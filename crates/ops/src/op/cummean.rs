//! The running mean.

use super::{function, need_float};
use crate::Ops;

function! { Cummean |op, x| {
    let (meta, mut along) = (x.meta(), x.meta().shape);
    need_float("the input", meta.dtype)?;
    let dim = meta.shape.dim(op.dim)?;
    along.iter_mut().enumerate().filter(|(d, _)| *d != dim).for_each(|(_, n)| *n = 1);
    let counts = V::iota(1.0, 1.0, along.numel() as i64, esker_tensor::DType::I64, meta.device)?;
    x.cumsum(op.dim, false)?.div(&counts.cast(meta.dtype)?.reshape(along)?)?
}}

#[cfg(feature = "spec")]
impl crate::spec::OpSpec for super::Cummean {
    fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
        let mean = |line: &[f64]| line.iter().sum::<f64>() / line.len() as f64;
        let running = |line: &[f64]| (1..=line.len()).map(|n| mean(&line[..n])).collect();
        vec![x[0].lines(crate::spec::axis(self.dim, x[0].shape.len()), running)]
    }
    fn samples() -> Vec<crate::spec::Sample> {
        crate::spec::along_each_dim(|dim| super::Cummean { dim }.into())
    }
}
