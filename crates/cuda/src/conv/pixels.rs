//! Convolutions whose window is one pixel: products of pixels and filters.

use esker_ops::{Array, ConvPass, View};
use esker_tensor::{Dims, Result, Shape};

use crate::dense::{channels_last, in_order, row_major, with_order};
use crate::gpu::Gpu;
use crate::matmul;

/// Products of pixels and filters, where a window is one pixel.
pub(super) fn run(gpu: &Gpu, pass: ConvPass, a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    let last = channels_last();
    match pass {
        ConvPass::Forward => {
            with_order(gpu, y, &last, |y| matmul::affine(gpu, &pixels(a)?, &filters(b)?, None, &mut pixels(y)?))
        }
        ConvPass::Input => with_order(gpu, y, &last, |y| matmul::run(gpu, &pixels(a)?, &filters(b)?, &mut pixels(y)?)),
        ConvPass::Weight => {
            let (x, dy) = (pixels(a)?, pixels(&in_order(gpu, b, &last)?)?.view(&View::Permute(Dims::from([1, 0])))?);
            with_order(gpu, y, &row_major(4), |y| matmul::run(gpu, &dy, &x, &mut filters(y)?))
        }
    }
}

/// The pixels of channels-last images, a row each.
pub(super) fn pixels(x: &Array) -> Result<Array> {
    let [n, c, h, w] = [0, 1, 2, 3].map(|d| x.shape()[d]);
    x.view(&View::Permute(channels_last()))?.view(&View::Reshape(Shape::from([n * h * w, c])))
}

/// Filters of one pixel, a row each.
fn filters(w: &Array) -> Result<Array> {
    w.view(&View::Reshape(Shape::from([w.shape()[0], w.shape()[1]])))
}
