//! Steps of optimisers in one pass.

use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::gpu::Gpu;

pub(crate) fn run(
    _: &Gpu,
    _update: &esker_ops::Update,
    _p: &mut Array,
    _grad: &Array,
    _states: &mut [&mut Array],
) -> Result<bool> {
    let _ = Error::kernel("");
    Ok(false)
}
