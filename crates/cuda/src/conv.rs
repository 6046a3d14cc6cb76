//! Convolution and its gradients.

use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::gpu::Gpu;

pub(crate) fn run(
    _: &Gpu,
    _pass: esker_ops::ConvPass,
    _conv: &esker_ops::kernel::Conv2d,
    _a: &Array,
    _b: &Array,
    _y: &mut Array,
) -> Result<()> {
    Err(Error::unavailable("no kernel"))
}
