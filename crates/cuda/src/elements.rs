//! Picking and putting single elements by index.

use esker_kernels::ELEMENTS;
use esker_ops::{Array, Put};
use esker_tensor::{DType, Error, Layout, Result};

use crate::buckets::Buckets;
use crate::dense::{counter, index_array, unit_name};
use crate::gpu::{Defines, Gpu, address, args, name_of};
use crate::view::{View, Walk, around};
use crate::{copy, dense};

/// Threads of a block.
const THREADS: u32 = 256;
/// Indices of a line from which on one thread would walk it for too long, where there are few lines.
const LONG: usize = 128;
/// Lines up to which there are few.
const FEW: usize = 32_768;

/// `y = x` at `index` along `dim`, element by element.
pub(crate) fn gather(gpu: &Gpu, dim: usize, x: &Array, index: &Array, y: &mut Array) -> Result<()> {
    let index = index_array(index)?;
    pick(gpu, dim, x, &index, index.layout(), y)
}

/// As [`gather`], with the row-major index seen by another layout of the shape of `y`.
pub(crate) fn pick(gpu: &Gpu, dim: usize, x: &Array, index: &Array, places: &Layout, y: &mut Array) -> Result<()> {
    let mut strides = *x.layout().strides();
    let step = strides.get(dim).map_or(0, |&step| step as i64);
    if let Some(stride) = strides.get_mut(dim) {
        *stride = 0;
    }
    let from = Layout::new(*y.shape(), strides, 0);
    let walk = Walk::new(y.shape(), &[y.layout(), places, &from])?;
    let n = walk.len();
    let defines = [("U", unit_name(x.dtype().size())), ("I", counter(n))];
    let kernel = gpu.kernel(ELEMENTS, "gather_elements", &defines)?;
    let (source, list, to) = (address(x), address(index), address(y));
    let (v0, v1, v2) = (walk.view(0), walk.view(1), walk.view(2));
    let (size, all) = (around(x.shape(), dim).1 as i64, n as i64);
    gpu.launch(kernel, gpu.spread(n, THREADS), args![source, list, to, v0, v1, v2, step, size, all, gpu.fault()])
}

/// `y = x` with the elements of `src` put in at `index` along `dim`, in rising order.
pub(crate) fn scatter(
    gpu: &Gpu,
    dim: usize,
    put: Put,
    x: &Array,
    index: &Array,
    src: &Array,
    y: &mut Array,
) -> Result<()> {
    if x.dtype() == DType::Bool && matches!(put, Put::Sum | Put::Prod) {
        return Err(Error::unavailable("bool has neither sum nor product; cast it first"));
    }
    let index = index_array(index)?;
    if matches!(y.dtype(), DType::F16 | DType::BF16) && put != Put::Replace {
        // Halves fold in f32, and are rounded once.
        let mut wide = dense::cast(gpu, x, DType::F32)?;
        lines(gpu, dim, put, &index, src, &mut wide)?;
        return copy::run(gpu, &wide, y);
    }
    copy::run(gpu, x, y)?;
    lines(gpu, dim, put, &index, src, y)
}

/// Puts the elements of `src` into `y`, line by line.
fn lines(gpu: &Gpu, dim: usize, put: Put, index: &Array, src: &Array, y: &mut Array) -> Result<()> {
    let (from, to) = match (put, y.dtype()) {
        (Put::Replace, dtype) => (unit_name(dtype.size()), unit_name(dtype.size())),
        (_, DType::Bool) => ("u8", "u8"),
        (_, dtype) => (name_of(src.dtype()), name_of(dtype)),
    };
    let name = match put {
        Put::Replace => "replace",
        Put::Sum => "wrapping_add",
        Put::Prod => "wrapping_mul",
        Put::Max => "larger",
        Put::Min => "smaller",
    };
    let defines = [("X", from), ("Y", to), ("PUT", name)];
    let (outer, count, inner) = around(index.shape(), dim);
    if count >= LONG && outer * inner <= FEW {
        let size = around(y.shape(), dim).1;
        if let Some(buckets) = Buckets::of_lines(gpu, index, [outer, count, inner], size)? {
            let to = (targets(index, y, dim), step(y, dim));
            return sorted(gpu, &defines, &buckets, [outer * inner, size], &src.contiguous()?, y, to);
        }
    }
    walked(gpu, dim, &defines, index, src, y)
}

/// The distance of neighbours along a dimension.
fn step(x: &Array, dim: usize) -> i64 {
    x.layout().strides().get(dim).map_or(0, |&step| step as i64)
}

/// The lines of the index in the target: sizes of the one, strides of the other.
fn targets(index: &Array, y: &Array, dim: usize) -> Layout {
    Layout::new(*without(index.layout(), dim).shape(), *without(y.layout(), dim).strides(), 0)
}

/// Each line by one thread.
fn walked(gpu: &Gpu, dim: usize, defines: &Defines<'_>, index: &Array, src: &Array, y: &Array) -> Result<()> {
    let kernel = gpu.kernel(ELEMENTS, "put_elements", defines)?;
    let (places, sources) = (without(index.layout(), dim), without(src.layout(), dim));
    let walk = Walk::new(places.shape(), &[&places, &sources, &targets(index, y, dim)])?;
    let (i_step, s_step, y_step) = (step(index, dim), step(src, dim), step(y, dim));
    let (count, size) = (around(index.shape(), dim).1 as i64, around(y.shape(), dim).1 as i64);
    let (list, source, target, n) = (address(index), address(src), address(y), walk.len());
    let (v0, v1, v2, all) = (walk.view(0), walk.view(1), walk.view(2), n as i64);
    gpu.launch(
        kernel,
        gpu.spread(n, THREADS),
        args![list, source, target, v0, v1, v2, i_step, s_step, y_step, count, size, all, gpu.fault()],
    )
}

/// Each row of each line by one thread, from a row-major source.
fn sorted(
    gpu: &Gpu,
    defines: &Defines<'_>,
    buckets: &Buckets,
    [lines, size]: [usize; 2],
    src: &Array,
    y: &Array,
    (to, y_step): (Layout, i64),
) -> Result<()> {
    let kernel = gpu.kernel(ELEMENTS, "put_sorted", defines)?;
    let view = View::new(to.shape().iter().copied().zip(to.strides().iter().copied()));
    let (from, target, n, rows) = (address(src), address(y), lines * size, size as i64);
    let (starts, order, all) = (buckets.starts.address, buckets.places.address, n as i64);
    gpu.launch(kernel, gpu.spread(n, THREADS), args![from, target, starts, order, view, y_step, rows, all])
}

/// The layout of the other dimensions.
fn without(layout: &Layout, dim: usize) -> Layout {
    let others = |d: &usize| *d != dim;
    let rank = layout.shape().len();
    let shape = (0..rank).filter(others).map(|d| layout.shape()[d]).collect();
    let strides = (0..rank).filter(others).map(|d| layout.strides()[d]).collect();
    Layout::new(shape, strides, 0)
}
