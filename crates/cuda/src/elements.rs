//! Picking and putting single elements by index.

use esker_kernels::ELEMENTS;
use esker_ops::{Array, Put};
use esker_tensor::{DType, Error, Layout, Result};

use crate::dense::{counter, index_array, unit_name};
use crate::gpu::{Gpu, address, args, name_of};
use crate::view::{Walk, around};
use crate::{copy, dense};

/// Threads of a block.
const THREADS: u32 = 256;

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
    let kernel = gpu.kernel(ELEMENTS, "put_elements", &[("X", from), ("Y", to), ("PUT", name)])?;
    let [places, sources, targets] = [index, src, y].map(|a| without(a.layout(), dim));
    let targets = Layout::new(*places.shape(), *targets.strides(), 0);
    let walk = Walk::new(places.shape(), &[&places, &sources, &targets])?;
    let step = |a: &Array| a.layout().strides().get(dim).map_or(0, |&step| step as i64);
    let (i_step, s_step, y_step) = (step(index), step(src), step(y));
    let (count, size) = (around(index.shape(), dim).1, around(y.shape(), dim).1);
    let (count, size, n) = (count as i64, size as i64, walk.len());
    let (list, source, target) = (address(index), address(src), address(y));
    let (v0, v1, v2, all) = (walk.view(0), walk.view(1), walk.view(2), n as i64);
    gpu.launch(
        kernel,
        gpu.spread(n, THREADS),
        args![list, source, target, v0, v1, v2, i_step, s_step, y_step, count, size, all, gpu.fault()],
    )
}

/// The layout of the other dimensions.
fn without(layout: &Layout, dim: usize) -> Layout {
    let others = |d: &usize| *d != dim;
    let rank = layout.shape().len();
    let shape = (0..rank).filter(others).map(|d| layout.shape()[d]).collect();
    let strides = (0..rank).filter(others).map(|d| layout.strides()[d]).collect();
    Layout::new(shape, strides, 0)
}
