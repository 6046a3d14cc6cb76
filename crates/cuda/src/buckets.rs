//! Positions sorted by the row that an index names, so that each row finds its own in rising order.

use esker_kernels::BUCKET;
use esker_ops::Array;
use esker_tensor::{Error, Result};

use crate::driver::Grid;
use crate::gpu::{Gpu, address, args};
use crate::memory::Block;
use crate::radix;

/// Threads of a block.
const THREADS: u32 = 256;
/// Positions that one block sorts, as in `bucket.cu`.
const FEW: usize = 2048;
/// Most positions and rows.
const MOST: usize = (1 << 31) - 1;

/// Positions sorted by where they go: those of row `r` are `places[starts[r]..starts[r + 1]]`, rising.
pub(crate) struct Buckets {
    pub(crate) places: Block,
    pub(crate) starts: Block,
}

impl Buckets {
    /// Of indices that name one of `size` rows.
    pub(crate) fn of_rows(gpu: &Gpu, index: &Array, size: usize) -> Result<Self> {
        let n = index.shape().numel();
        if n > MOST || size > MOST {
            return Err(Error::unavailable(format!("{n} indices into {size} rows are more than the sort counts")));
        }
        match n <= FEW {
            true => {
                let (keys, places) = Self::few(gpu, index, n, size)?;
                Self::found(gpu, &keys, places, n, size)
            }
            false => Self::sorted(gpu, index_keys(gpu, index, size)?, n, size),
        }
    }

    /// Of indices `[outer, count, inner]` along the middle, that name one of `size` rows of their own line; the rows of
    /// line after line. `None` where those are more than the sort counts.
    pub(crate) fn of_lines(gpu: &Gpu, index: &Array, sizes: [usize; 3], size: usize) -> Result<Option<Self>> {
        let [outer, count, inner] = sizes;
        let (n, rows) = (index.shape().numel(), (outer * inner).saturating_mul(size));
        if n > MOST || rows > MOST {
            return Ok(None);
        }
        let keys = gpu.scratch(n * size_of::<u32>())?;
        let kernel = gpu.kernel(BUCKET, "line_keys", &[])?;
        let [all, length, step, most, total] = [n, count, inner, size, rows].map(|v| v as i64);
        gpu.launch(
            kernel,
            gpu.spread(n, THREADS),
            args![address(index), keys.address, all, length, step, most, total, gpu.fault()],
        )?;
        Self::sorted(gpu, keys, n, rows).map(Some)
    }

    /// Where the positions of each row begin among sorted ones.
    fn found(gpu: &Gpu, keys: &Block, places: Block, n: usize, rows: usize) -> Result<Self> {
        let starts = gpu.scratch((rows + 1) * size_of::<u32>())?;
        let kernel = gpu.kernel(BUCKET, "bucket_starts", &[])?;
        let [count, all] = [n, rows].map(|v| v as i64);
        gpu.launch(kernel, gpu.spread(rows + 1, THREADS), args![keys.address, starts.address, count, all])?;
        Ok(Self { places, starts })
    }

    /// Keys and places, by one block.
    fn few(gpu: &Gpu, index: &Array, n: usize, size: usize) -> Result<(Block, Block)> {
        let (keys, places) = (gpu.scratch(n * size_of::<u32>())?, gpu.scratch(n * size_of::<u32>())?);
        let kernel = gpu.kernel(BUCKET, "sort_few", &[])?;
        let [count, width, rows] = [n, n.next_power_of_two().max(2), size].map(|v| v as i64);
        gpu.launch(
            kernel,
            Grid::new(n.min(1), 1024),
            args![address(index), keys.address, places.address, count, width, rows, gpu.fault()],
        )?;
        Ok((keys, places))
    }

    fn sorted(gpu: &Gpu, keys: Block, n: usize, rows: usize) -> Result<Self> {
        let bits = (usize::BITS - rows.leading_zeros()) as usize;
        let sorted = radix::sort(gpu, keys, radix::Lines { n, lines: 1, wide: false, bits })?;
        Self::found(gpu, &sorted.keys, sorted.places, n, rows)
    }
}

/// Indices as keys of 32 bits; those out of range are reported, and go behind all rows.
pub(crate) fn index_keys(gpu: &Gpu, index: &Array, size: usize) -> Result<Block> {
    let n = index.shape().numel();
    let keys = gpu.scratch(n * size_of::<u32>())?;
    let kernel = gpu.kernel(BUCKET, "index_keys", &[])?;
    let (from, [count, rows]) = (address(index), [n, size].map(|v| v as i64));
    gpu.launch(kernel, gpu.spread(n, THREADS), args![from, keys.address, count, rows, gpu.fault()])?;
    Ok(keys)
}
