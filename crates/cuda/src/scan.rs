//! Running folds along a dimension: a thread for each column, a warp for each short row, a block for each long one. Few long
//! lines go in pieces, whose folds are scanned first.

use esker_ops::{Array, Fold};
use esker_tensor::{DType, Error, Result};

use crate::driver::Grid;
use crate::gpu::{Gpu, address, args, name_of};
use crate::reduce::digits;
use crate::row::dense_outputs;
use crate::view::around;

/// Threads of a block.
const THREADS: usize = 256;
/// Elements of a row up to which a warp scans it.
const SHORT: usize = 512;
/// Blocks, and threads of columns, that keep any device busy.
const BLOCKS: usize = 1024;
const COLUMNS: usize = 1 << 17;
/// Elements that are worth a piece of their own: of a row, of a column.
const PIECE: usize = 8192;
const PIECE_OF_COLUMN: usize = 64;

/// Runs the fold along `dim`.
pub(crate) fn run(gpu: &Gpu, op: Fold, dim: usize, reverse: bool, x: &Array, y: &mut Array) -> Result<()> {
    if op == Fold::Mean {
        return Err(Error::unavailable("a running mean has no kernel; divide a running sum by the positions"));
    }
    if x.dtype() == DType::Bool {
        return Err(Error::unavailable(format!("a running fold of {} has no kernel; cast it first", x.dtype())));
    }
    let (outer, size, inner) = around(x.shape(), dim);
    if outer * size * inner == 0 {
        return Ok(());
    }
    let x = x.contiguous()?;
    dense_outputs(std::slice::from_mut(y), |y| {
        let ends = [(address(&x), x.dtype()), (address(&y[0]), y[0].dtype())];
        Scan { gpu, op, reverse, wide: wide(x.dtype()), outer, size, inner }.run(ends)
    })
}

/// What elements of a dtype accumulate in: f32 in f64, so that long sums stay near.
fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        DType::F32 | DType::F64 => DType::F64,
        DType::I64 => DType::I64,
        _ => DType::I32,
    }
}

#[derive(Clone, Copy)]
struct Scan<'a> {
    gpu: &'a Gpu,
    op: Fold,
    reverse: bool,
    wide: DType,
    outer: usize,
    size: usize,
    inner: usize,
}

/// Where something lies, and what it is.
type End = (usize, DType);

impl Scan<'_> {
    fn run(&self, [x, y]: [End; 2]) -> Result<()> {
        let (pieces, length) = self.pieces();
        if pieces == 1 {
            return self.scan([x, y], 0, 1, length);
        }
        let n = self.outer * pieces * self.inner;
        let block = self.gpu.scratch(2 * n * self.wide.size())?;
        let (sums, totals) = (block.address, block.address + n * self.wide.size());
        self.totals(x, sums, pieces, length)?;
        let between = Self { size: pieces, reverse: false, ..*self };
        between.run([(sums, self.wide), (totals, self.wide)])?;
        self.scan([x, y], totals, pieces, length)
    }

    /// In how many pieces of how many elements the dimension goes.
    fn pieces(&self) -> (usize, usize) {
        let (busy, now, least) = match self.inner {
            1 => (BLOCKS, self.outer, PIECE),
            _ => (COLUMNS, self.outer * self.inner, PIECE_OF_COLUMN),
        };
        if self.size < 4 * least || now >= busy / 2 {
            return (1, self.size);
        }
        let length = self.size.div_ceil(busy / now).max(least);
        (self.size.div_ceil(length), length)
    }

    fn defines(&self, x: DType, y: DType, reverse: bool) -> [(&'static str, &'static str); 5] {
        let fold = match self.op {
            Fold::Sum | Fold::Mean => "FoldSum",
            Fold::Prod => "FoldProd",
            Fold::Max => "FoldMax",
            Fold::Min => "FoldMin",
        };
        [
            ("X", name_of(x)),
            ("Y", name_of(y)),
            ("A", name_of(self.wide)),
            ("F", fold),
            ("REVERSE", digits(usize::from(reverse))),
        ]
    }

    fn totals(&self, x: End, sums: usize, pieces: usize, length: usize) -> Result<()> {
        let across = self.inner.next_power_of_two().min(32);
        let tiles = self.inner.div_ceil(across);
        let defines = self.defines(x.1, self.wide, self.reverse);
        let kernel = self.gpu.kernel(esker_kernels::SCAN, "totals", &defines)?;
        let grid = Grid::new(self.outer * pieces * tiles, THREADS as u32);
        let [size, inner, pieces, length] = [self.size, self.inner, pieces, length].map(|v| v as i64);
        self.gpu.launch(kernel, grid, args![x.0, sums, size, inner, pieces, length, tiles as i64, across as i64])
    }

    fn scan(&self, [x, y]: [End; 2], totals: usize, pieces: usize, length: usize) -> Result<()> {
        let defines = self.defines(x.1, y.1, self.reverse);
        let kernel = |entry| self.gpu.kernel(esker_kernels::SCAN, entry, &defines);
        let [outer, size, inner, of, each] = [self.outer, self.size, self.inner, pieces, length].map(|v| v as i64);
        if self.inner > 1 {
            let grid = self.gpu.spread(self.outer * pieces * self.inner, THREADS as u32);
            return self.gpu.launch(kernel("columns")?, grid, args![x.0, y.0, totals, outer, size, inner, of, each]);
        }
        if self.size <= SHORT {
            let grid = Grid::new(self.outer.div_ceil(THREADS / 32), THREADS as u32);
            return self.gpu.launch(kernel("short_rows")?, grid, args![x.0, y.0, outer, size]);
        }
        let grid = Grid::new(self.outer * pieces, THREADS as u32);
        self.gpu.launch(kernel("long_rows")?, grid, args![x.0, y.0, totals, size, of, each])
    }
}
