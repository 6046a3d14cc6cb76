//! The position of an extreme along a dimension: threads search parts of a row, or neighbouring columns; few rows of many
//! elements are searched in pieces.

use esker_ops::Array;
use esker_tensor::{DType, Error, Result};

use crate::driver::Grid;
use crate::gpu::{Defines, Gpu, address, args, name_of};
use crate::reduce::digits;
use crate::row::dense_outputs;
use crate::view::around;

/// Threads of a block.
const THREADS: usize = 256;
/// Blocks that keep any device busy.
const BLOCKS: usize = 1024;
/// Elements that are worth a block of their own.
const PIECE: usize = 8192;

/// Finds the extreme along `dim`: outputs are the index, or the value and the index.
pub(crate) fn run(gpu: &Gpu, largest: bool, dim: usize, x: &Array, outputs: &mut [Array]) -> Result<()> {
    let (outer, size, inner) = around(x.shape(), dim);
    if size == 0 && outer * inner > 0 {
        let what = if largest { "largest" } else { "smallest" };
        return Err(Error::kernel(format!("dimension {dim} of {:?} is empty and has no {what} element", x.shape())));
    }
    if outputs.is_empty() {
        return Err(Error::kernel("an index needs an output"));
    }
    if outer * inner == 0 {
        return Ok(());
    }
    let x = x.contiguous()?;
    let search = Search { gpu, x: address(&x), dtype: x.dtype(), largest, outer, size, inner };
    dense_outputs(outputs, |outputs| match outputs {
        [index] => search.run(0, address(index)),
        [value, index, ..] => search.run(address(value), address(index)),
        [] => Ok(()),
    })
}

struct Search<'a> {
    gpu: &'a Gpu,
    x: usize,
    dtype: DType,
    largest: bool,
    outer: usize,
    size: usize,
    inner: usize,
}

impl Search<'_> {
    fn run(&self, value: usize, index: usize) -> Result<()> {
        let blocks = self.outer * self.inner.div_ceil(32);
        let pieces = if self.size < 2 * PIECE { 1 } else { (BLOCKS / blocks).min(self.size / PIECE).max(1) };
        let length = self.size.div_ceil(pieces).next_multiple_of(16);
        let pieces = self.size.div_ceil(length);
        if pieces == 1 {
            return self.search(value, index, 1, length);
        }
        let n = self.outer * pieces * self.inner;
        let values = self.gpu.scratch(n * self.dtype.size())?;
        let places = self.gpu.scratch(n * size_of::<i64>())?;
        self.search(values.address, places.address, pieces, length)?;
        let kernel = self.gpu.kernel(esker_kernels::ARG_REDUCE, "merge", &self.defines())?;
        let [outer, pieces, inner] = [self.outer, pieces, self.inner].map(|v| v as i64);
        let grid = self.gpu.spread(self.outer * self.inner, THREADS as u32);
        self.gpu.launch(kernel, grid, args![values.address, places.address, value, index, outer, pieces, inner])
    }

    fn defines(&self) -> [(&'static str, &'static str); 2] {
        [("X", name_of(self.dtype)), ("LARGEST", digits(usize::from(self.largest)))]
    }

    fn search(&self, value: usize, index: usize, pieces: usize, length: usize) -> Result<()> {
        let [outer, size, inner, of, each] = [self.outer, self.size, self.inner, pieces, length].map(|v| v as i64);
        if self.inner == 1 {
            let lanes = match length * self.dtype.size() {
                0..=128 => 4,
                129..=8192 => 32,
                _ => THREADS,
            };
            let [x, direction] = self.defines();
            let defines: &Defines<'_> = &[x, direction, ("LANES", digits(lanes))];
            let kernel = self.gpu.kernel(esker_kernels::ARG_REDUCE, "rows", defines)?;
            let grid = Grid::new((self.outer * pieces).div_ceil(THREADS / lanes), THREADS as u32);
            return self.gpu.launch(kernel, grid, args![self.x, value, index, outer, size, of, each]);
        }
        let across = self.inner.next_power_of_two().min(32);
        let tiles = self.inner.div_ceil(across);
        let kernel = self.gpu.kernel(esker_kernels::ARG_REDUCE, "columns", &self.defines())?;
        let grid = Grid::new(self.outer * pieces * tiles, THREADS as u32);
        let (tiles, across) = (tiles as i64, across as i64);
        self.gpu.launch(kernel, grid, args![self.x, value, index, size, inner, of, each, tiles, across])
    }
}
