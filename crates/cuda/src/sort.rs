//! Order along a dimension.

use esker_kernels::SORT;
use esker_ops::{Array, View};
use esker_tensor::{DType, Dims, Error, Layout, Result};

use crate::driver::Grid;
use crate::gpu::{Gpu, address, args, name_of};
use crate::{copy, radix};

/// Threads of a block.
const THREADS: u32 = 256;
/// Elements that a block sorts, as in `sort.cu`.
const ROOM: usize = 2048;

/// `values` and `index` are `x` in order along `dim` and where its elements were.
pub(crate) fn run(
    gpu: &Gpu,
    dim: usize,
    descending: bool,
    x: &Array,
    values: &mut Array,
    index: &mut Array,
) -> Result<()> {
    if x.shape().numel() == 0 {
        return Ok(());
    }
    // Lines lie in the last dimension while they are sorted.
    let rank = x.shape().len();
    let order: Dims = (0..rank).filter(|&d| d != dim).chain((dim < rank).then_some(dim)).map(|d| d as u8).collect();
    let last = x.view(&View::Permute(order))?.contiguous()?;
    let n = x.shape().get(dim).copied().unwrap_or(1);
    let lines = last.shape().numel() / n;
    let is_ready = |y: &Array| y.layout().permute(&order).is_contiguous();
    if is_ready(values) && is_ready(index) {
        return rows(gpu, descending, &last, values, index, [n, lines]);
    }
    let lying = Layout::dense(*x.shape(), &order);
    let mut sorted = Array::uninit(&values.meta(), lying)?;
    let mut places = Array::uninit(&index.meta(), lying)?;
    rows(gpu, descending, &last, &mut sorted, &mut places, [n, lines])?;
    copy::run(gpu, &sorted, values)?;
    copy::run(gpu, &places, index)
}

/// Sorts lines of `n` that lie one after the other.
fn rows(
    gpu: &Gpu,
    descending: bool,
    x: &Array,
    values: &mut Array,
    index: &mut Array,
    [n, lines]: [usize; 2],
) -> Result<()> {
    let wide = x.dtype().size() == 8;
    let element = if x.dtype() == DType::Bool { "bool8" } else { name_of(x.dtype()) };
    let key = if wide { "u64" } else { "u32" };
    let defines = [("X", element), ("K", key), ("DESCENDING", if descending { "1" } else { "0" })];
    let (from, to, places) = (address(x), address(values), address(index));
    let [length, count] = [n, lines].map(|v| v as i64);
    if n <= ROOM {
        let kernel = gpu.kernel(SORT, "sort_short", &defines)?;
        let width = n.next_power_of_two();
        let grid = Grid::new(lines.div_ceil(ROOM / width), THREADS);
        return gpu.launch(kernel, grid, args![from, to, places, length, count, i64::from(width.ilog2())]);
    }
    if n >= 1 << 31 {
        return Err(Error::unavailable(format!("lines of {n} are longer than the sort counts")));
    }
    let keys = gpu.scratch(n * lines * if wide { 8 } else { 4 })?;
    let kernel = gpu.kernel(SORT, "sort_keys", &defines)?;
    let all = (n * lines) as i64;
    gpu.launch(kernel, gpu.spread(n * lines, THREADS), args![from, keys.address, all])?;
    let sorted = radix::sort(gpu, keys, radix::Lines { n, lines, wide, bits: 8 * x.dtype().size() })?;
    let kernel = gpu.kernel(SORT, "sort_values", &defines)?;
    gpu.launch(kernel, gpu.spread(n * lines, THREADS), args![from, sorted.places.address, to, places, length, count])
}
