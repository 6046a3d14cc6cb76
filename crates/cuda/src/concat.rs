//! Joining along a dimension.

use esker_kernels::GATHER;
use esker_ops::{Array, View};
use esker_tensor::Result;

use crate::copy;
use crate::dense::{counter, unit_name, unit_of};
use crate::gpu::{Gpu, address, args};
use crate::view::around;

/// Threads of a block.
const THREADS: u32 = 256;

/// `y = x..` along `dim`: each input is copied to its part of the output.
pub(crate) fn run(gpu: &Gpu, dim: usize, x: &[&Array], y: &mut Array) -> Result<()> {
    let (mut start, dense) = (0, y.layout().is_contiguous());
    for x in x {
        let len = x.shape()[dim];
        if dense && x.layout().is_contiguous() && x.dtype() == y.dtype() {
            rows(gpu, dim, start, x, y)?;
        } else {
            let mut part = y.view(&View::Slice { dim, start, step: 1, len })?;
            copy::run(gpu, x, &mut part)?;
        }
        start += len;
    }
    Ok(())
}

/// A row-major input into a row-major output, from place `start` of the dimension on.
fn rows(gpu: &Gpu, dim: usize, start: usize, x: &Array, y: &Array) -> Result<()> {
    let (outer, len, inner) = around(x.shape(), dim);
    let size = x.dtype().size();
    let bytes = inner * size;
    let (row, step, to) = (len * bytes, y.shape()[dim] * bytes, address(y) + start * bytes);
    let unit = unit_of(&[row, step, to, address(x)]);
    let n = outer * row / unit;
    let kernel = gpu.kernel(GATHER, "put_rows", &[("U", unit_name(unit)), ("I", counter(n))])?;
    let [units, step, all] = [row / unit, step / unit, n].map(|v| v as i64);
    gpu.launch(kernel, gpu.spread(n, THREADS), args![address(x), to, units, step, all])
}
