//! Folding dimensions.

use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::gpu::Gpu;

pub(crate) fn run(_: &Gpu, _op: esker_ops::Fold, _dims: &esker_tensor::Dims, _x: &Array, _y: &mut Array) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}
