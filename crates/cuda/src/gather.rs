//! Picking and adding slices by index.

use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::gpu::Gpu;

pub(crate) fn gather(_: &Gpu, _dim: usize, _x: &Array, _index: &Array, _y: &mut Array) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}

pub(crate) fn scatter(
    _: &Gpu,
    _dim: usize,
    _x: Option<&Array>,
    _index: &Array,
    _src: &Array,
    _y: &mut Array,
) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}
