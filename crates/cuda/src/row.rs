//! Kernels over rows.

use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::gpu::Gpu;

pub(crate) fn run(_: &Gpu, _row: &esker_ops::Row, _x: &[&Array], _y: &mut [Array]) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}
