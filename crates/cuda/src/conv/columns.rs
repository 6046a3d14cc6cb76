//! Windows written to memory, a row each, for products of the vendor's library: its units for halves are many times faster
//! than what the windows' way through memory costs.

use std::ops::Range;

use esker_kernels::CONV;
use esker_ops::{Array, View};
use esker_tensor::{DType, Dims, Layout, Result, Shape};

use super::pixels::pixels;
use super::{Geometry, THREADS, Target, Windows};
use crate::dense::{channels_last, number};
use crate::gpu::{Gpu, address, args, name_of};
use crate::{copy, matmul};

/// Products of so many multiply-adds and more, of halves, are the vendor's library's, through windows in memory.
const LARGE: usize = 1 << 24;
/// Elements of a window's pixel that are copied at once for that.
const COPIED: usize = 8;
/// Bytes that such windows take at a time.
const ROOM: usize = 512 << 20;
/// Bytes that they take at most where all of them are needed at once.
pub(super) const AT_ONCE: usize = 2 << 30;

/// Whether a product is for the vendor's library: large, of halves, without groups.
pub(super) fn suits_library(g: &Geometry, x: &Array, [m, n, k]: [usize; 3]) -> bool {
    let half = matches!(x.dtype(), DType::F16 | DType::BF16);
    let whole = x.shape()[1].is_multiple_of(COPIED) && address(x).is_multiple_of(COPIED * x.dtype().size());
    half && whole && g.conv.groups == 1 && m.saturating_mul(n).saturating_mul(k) >= LARGE
}

/// The windows of some images, a row each.
fn columns(gpu: &Gpu, x: &Array, windows: &Windows, images: Range<usize>) -> Result<Array> {
    let of = |sizes: &[i32]| sizes.iter().map(|s| *s as usize).product::<usize>();
    let (rows, k) = (images.len() * of(&windows.out), of(&windows.taps) * windows.width as usize);
    let y = Array::uninit(&x.meta().with_shape(Shape::from([rows, k])), Layout::contiguous(Shape::from([rows, k])))?;
    let defines = [("X", name_of(x.dtype())), ("VEC", number(COPIED)), ("ROWS", number(4)), ("PASS", "COLUMNS")];
    let kernel = gpu.kernel(CONV, "conv_columns", &defines)?;
    let image = of(&windows.size) * windows.channels as usize * x.dtype().size();
    let (from, n) = (address(x) + images.start * image, rows * k / COPIED);
    gpu.launch(kernel, gpu.spread(n, THREADS), args![from, address(&y), *windows, n as i64])?;
    Ok(y)
}

/// As [`super::product`], some images at a time.
pub(super) fn product(
    gpu: &Gpu,
    g: &Geometry,
    (x, windows): (&Array, Windows),
    weights: &Array,
    (y, to): (&Array, Target),
    [m, n, k]: [usize; 3],
) -> Result<()> {
    let weights = weights.view(&View::Reshape(Shape::from([k, n])))?;
    let in_place = to.step == [1, 1] && y.layout().permute(&channels_last()).is_contiguous();
    let shape = Shape::from([m, n]);
    let all = match in_place {
        true => pixels(y)?,
        false => Array::uninit(&y.meta().with_shape(shape), Layout::contiguous(shape))?,
    };
    let per_image = m / g.images;
    let step = (ROOM / (per_image * k * x.dtype().size())).max(1);
    for first in (0..g.images).step_by(step) {
        let images = first..g.images.min(first + step);
        let (start, len) = (first * per_image, images.len() * per_image);
        let mut part = all.view(&View::Slice { dim: 0, start, step: 1, len })?;
        matmul::run(gpu, &columns(gpu, x, &windows, images)?, &weights, &mut part)?;
    }
    if in_place {
        return Ok(());
    }
    let [h, w] = windows.out.map(|v| v as usize);
    let shaped = all.view(&View::Reshape(Shape::from([g.images, h, w, n])))?;
    let shaped = shaped.view(&View::Permute(Dims::from([0, 3, 1, 2])))?;
    let mut places = y.clone();
    for (axis, len) in [h, w].into_iter().enumerate() {
        let (start, step) = (to.base[axis] as usize, to.step[axis] as isize);
        places = places.view(&View::Slice { dim: axis + 2, start, step, len })?;
    }
    copy::run(gpu, &shaped, &mut places)
}

/// As [`super::weight`], of all windows at once.
pub(super) fn weight(gpu: &Gpu, g: &Geometry, x: &Array, dy: &Array, dw: &mut Array) -> Result<()> {
    let turned = pixels(dy)?.view(&View::Permute(Dims::from([1, 0])))?;
    let columns = columns(gpu, x, &g.windows()?, 0..g.images)?;
    let shape = Shape::from([g.k, columns.shape()[1]]);
    let mut sums = Array::uninit(&dw.meta().with_shape(shape), Layout::contiguous(shape))?;
    matmul::run(gpu, &turned, &columns, &mut sums)?;
    let shaped = sums.view(&View::Reshape(Shape::from([g.k, g.window[0], g.window[1], g.c])))?;
    copy::run(gpu, &shaped.view(&View::Permute(Dims::from([0, 3, 1, 2])))?, dw)
}
