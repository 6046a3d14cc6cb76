//! Copies and conversions between any layouts.

use esker_ops::Array;
use esker_tensor::Result;

use crate::driver::Grid;
use crate::gpu::{Gpu, address, args, name_of};
use crate::view::Walk;

/// Threads of a block.
const THREADS: u32 = 256;
/// The side of a tile, as in `copy.cu`.
const TILE: usize = 64;

/// `y = x` in the dtype and the layout of `y`.
pub(crate) fn run(gpu: &Gpu, x: &Array, y: &mut Array) -> Result<()> {
    let walk = Walk::new(y.shape(), &[y.layout(), x.layout()])?;
    let (from, to, n) = (address(x), address(y), walk.len());
    let dense = walk.is_dense(0) && walk.is_dense(1);
    let pack = if dense { pack_of(x, y) } else { 1 };
    let defines = [("X", name_of(x.dtype())), ("Y", name_of(y.dtype())), ("N", PACKS[pack.ilog2() as usize])];
    if dense {
        let kernel = gpu.kernel(esker_kernels::COPY, "copy_dense", &defines)?;
        return gpu.launch(kernel, gpu.spread(n.div_ceil(pack), THREADS), args![from, to, n as i64]);
    }
    if let Some(turn) = Turn::of(&walk) {
        let kernel = gpu.kernel(esker_kernels::COPY, "copy_turned", &defines)?;
        let numbers = [turn.rows as isize, turn.columns as isize, turn.x_step, turn.y_step, turn.x_batch, turn.y_batch]
            .map(|v| v as i64);
        let [rows, columns, x_step, y_step, x_batch, y_batch] = numbers;
        return gpu.launch(kernel, turn.grid(), args![from, to, rows, columns, x_step, y_step, x_batch, y_batch]);
    }
    let kernel = gpu.kernel(esker_kernels::COPY, "copy_strided", &defines)?;
    gpu.launch(kernel, gpu.spread(n, THREADS), args![from, to, walk.view(1), walk.view(0), n as i64])
}

/// Elements that are moved at once, as `copy.cu` is told.
const PACKS: [&str; 5] = ["1", "2", "4", "8", "16"];

/// As many elements as fill 16 bytes of the smaller type, at most 16 in all, where both sides lie so.
fn pack_of(x: &Array, y: &Array) -> usize {
    let (x_size, y_size) = (x.dtype().size(), y.dtype().size());
    let pack = 16 / x_size.min(y_size);
    let aligned = |address: usize, size: usize| address.is_multiple_of(pack * size);
    if aligned(address(x), x_size) && aligned(address(y), y_size) { pack } else { 1 }
}

/// A walk that is a transposition of matrices.
struct Turn {
    batch: usize,
    rows: usize,
    columns: usize,
    x_step: isize,
    y_step: isize,
    x_batch: isize,
    y_batch: isize,
}

impl Turn {
    fn of(walk: &Walk) -> Option<Self> {
        let (y, x) = (&walk.strides[0][..], &walk.strides[1][..]);
        let (batch, d) = match walk.sizes[..] {
            [_, _] => (1, 0),
            [batch, _, _] if batch <= 65_535 => (batch, 1),
            _ => return None,
        };
        let (rows, columns) = (walk.sizes[d], walk.sizes[d + 1]);
        let turned = y[d + 1] == 1 && x[d] == 1 && x[d + 1] > 1;
        let worth = rows >= 8 && columns >= 8 && rows.div_ceil(TILE) <= 65_535;
        (turned && worth).then(|| Self {
            batch,
            rows,
            columns,
            x_step: x[d + 1],
            y_step: y[d],
            x_batch: if d == 1 { x[0] } else { 0 },
            y_batch: if d == 1 { y[0] } else { 0 },
        })
    }

    fn grid(&self) -> Grid {
        let across = |n: usize| u32::try_from(n.div_ceil(TILE)).unwrap_or(u32::MAX);
        let batch = u32::try_from(self.batch).unwrap_or(u32::MAX);
        Grid { blocks: [across(self.columns), across(self.rows), batch], threads: THREADS, shared: 0 }
    }
}
