//! Random inputs.

use esker::prelude::*;
use esker::tensor::philox::next_key;

/// Classes, letters or places: whole numbers from 0 to below `high`.
pub(crate) fn integers(high: i64, shape: impl Into<esker::ops::Sizes>) -> Result<Tensor> {
    Tensor::randint(0, high, next_key(), shape, DType::I64, Device::Cpu)
}

/// The number of elements, for counts of work.
pub(crate) fn count(shape: &[usize]) -> f64 {
    shape.iter().product::<usize>() as f64
}
