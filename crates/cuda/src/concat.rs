//! Joining along a dimension.

use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::gpu::Gpu;

pub(crate) fn run(_: &Gpu, _dim: usize, _x: &[&Array], _y: &mut Array) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}
