//! Matrix products.

use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::gpu::Gpu;

pub(crate) fn run(_: &Gpu, _a: &Array, _b: &Array, _y: &mut Array) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}

pub(crate) fn affine(_: &Gpu, _x: &Array, _w: &Array, _bias: Option<&Array>, _y: &mut Array) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}
