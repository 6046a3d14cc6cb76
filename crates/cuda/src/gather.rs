//! Picking and adding slices by index.

use esker_kernels::{BUCKET, GATHER, SCATTER};
use esker_ops::Array;
use esker_tensor::{DType, Error, Layout, Result, Shape};

use crate::dense::{counter, index_array, number, pack_of, row_major, unit_name, unit_of, with_order};
use crate::elements;
use crate::gpu::{Gpu, address, args, name_of};
use crate::memory::Block;
use crate::radix;
use crate::view::around;

/// Threads of a block.
const THREADS: u32 = 256;
/// Positions that one block sorts, as in `bucket.cu`.
const FEW: usize = 2048;

/// `y = x` at `index` along `dim`.
pub(crate) fn gather(gpu: &Gpu, dim: usize, x: &Array, index: &Array, y: &mut Array) -> Result<()> {
    let index = index_array(index)?;
    if y.shape().numel() == 0 {
        return index_keys(gpu, &index, around(x.shape(), dim).1).map(drop);
    }
    if !x.layout().is_contiguous() || !y.layout().is_contiguous() {
        let mut sizes = Shape::filled(1, y.shape().len());
        if let Some(size) = sizes.get_mut(dim) {
            *size = index.shape().numel();
        }
        let spread = index.layout().reshape(&sizes).unwrap_or_else(|| Layout::contiguous(sizes)).expand(y.shape())?;
        return elements::pick(gpu, dim, x, &index, &spread, y);
    }
    let ((outer, size, inner), count) = (around(x.shape(), dim), index.shape().numel());
    let row = inner * x.dtype().size();
    let unit = unit_of(&[row, address(x), address(y)]);
    let (units, n) = (row / unit, outer * count * row / unit);
    let kernel = gpu.kernel(GATHER, "gather_rows", &[("U", unit_name(unit)), ("I", counter(n))])?;
    let (from, places, to) = (address(x), address(&index), address(y));
    let [size, count, units, all] = [size, count, units, n].map(|v| v as i64);
    gpu.launch(kernel, gpu.spread(n, THREADS), args![from, places, to, size, count, units, all, gpu.fault()])
}

/// `x`, or zeros, with slice `i` of `src` added at `index[i]` of `dim`, in rising `i`.
pub(crate) fn scatter(
    gpu: &Gpu,
    dim: usize,
    x: Option<&Array>,
    index: &Array,
    src: &Array,
    y: &mut Array,
) -> Result<()> {
    if src.dtype() == DType::Bool {
        return Err(Error::unavailable(format!("scatter adds, and {} has no addition; cast it first", src.dtype())));
    }
    let index = index_array(index)?;
    let (x, src) = (x.map(Array::contiguous).transpose()?, src.contiguous()?);
    let order = row_major(y.shape().len());
    with_order(gpu, y, &order, |y| {
        let (outer, size, inner) = around(y.shape(), dim);
        if y.shape().numel() == 0 {
            return index_keys(gpu, &index, size).map(drop);
        }
        let count = index.shape().numel();
        let buckets = Buckets::new(gpu, &index, size)?;
        let base = x.as_ref().map_or(0, address);
        let pack = pack_of(y, inner, &[address(&src), base]);
        let (packs, n) = (inner / pack, outer * size * inner / pack);
        let defines = [("X", name_of(src.dtype())), ("N", number(pack)), ("I", counter(n))];
        let kernel = gpu.kernel(SCATTER, "add_rows", &defines)?;
        let (from, to, starts, places) = (address(&src), address(y), buckets.starts.address, buckets.places.address);
        let [count, size, packs, all] = [count, size, packs, n].map(|v| v as i64);
        gpu.launch(kernel, gpu.spread(n, THREADS), args![base, from, to, starts, places, count, size, packs, all])
    })
}

/// Positions sorted by where they go: those of row `r` are `places[starts[r]..starts[r + 1]]`, rising.
struct Buckets {
    places: Block,
    starts: Block,
}

impl Buckets {
    fn new(gpu: &Gpu, index: &Array, size: usize) -> Result<Self> {
        let n = index.shape().numel();
        if n >= 1 << 31 || size >= u32::MAX as usize {
            return Err(Error::unavailable(format!("{n} indices into {size} rows are more than the sort counts")));
        }
        let (keys, places) = if n <= FEW { Self::few(gpu, index, n, size)? } else { Self::many(gpu, index, n, size)? };
        let starts = gpu.scratch((size + 1) * size_of::<u32>())?;
        let kernel = gpu.kernel(BUCKET, "bucket_starts", &[])?;
        let [count, rows] = [n, size].map(|v| v as i64);
        gpu.launch(kernel, gpu.spread(size + 1, THREADS), args![keys.address, starts.address, count, rows])?;
        Ok(Self { places, starts })
    }

    /// Keys and places, by one block.
    fn few(gpu: &Gpu, index: &Array, n: usize, size: usize) -> Result<(Block, Block)> {
        let (keys, places) = (gpu.scratch(n * size_of::<u32>())?, gpu.scratch(n * size_of::<u32>())?);
        let kernel = gpu.kernel(BUCKET, "sort_few", &[])?;
        let [count, width, rows] = [n, n.next_power_of_two().max(2), size].map(|v| v as i64);
        gpu.launch(
            kernel,
            crate::driver::Grid::new(n.min(1), 1024),
            args![address(index), keys.address, places.address, count, width, rows, gpu.fault()],
        )?;
        Ok((keys, places))
    }

    fn many(gpu: &Gpu, index: &Array, n: usize, size: usize) -> Result<(Block, Block)> {
        let bits = (usize::BITS - size.leading_zeros()) as usize;
        let lines = radix::Lines { n, lines: 1, wide: false, bits };
        let sorted = radix::sort(gpu, index_keys(gpu, index, size)?, lines)?;
        Ok((sorted.keys, sorted.places))
    }
}

/// Indices as keys of 32 bits; those out of range are reported, and go behind all rows.
fn index_keys(gpu: &Gpu, index: &Array, size: usize) -> Result<Block> {
    let n = index.shape().numel();
    let keys = gpu.scratch(n * size_of::<u32>())?;
    let kernel = gpu.kernel(BUCKET, "index_keys", &[])?;
    let (from, [count, rows]) = (address(index), [n, size].map(|v| v as i64));
    gpu.launch(kernel, gpu.spread(n, THREADS), args![from, keys.address, count, rows, gpu.fault()])?;
    Ok(keys)
}
