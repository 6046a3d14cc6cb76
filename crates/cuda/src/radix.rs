//! Stable sorting of long lines of keys in scratch memory, eight bits at a time.

use esker_kernels::RADIX;
use esker_tensor::{Error, Result};

use crate::driver::Grid;
use crate::gpu::{Gpu, args};
use crate::memory::Block;

/// As in `radix.cu`.
const THREADS: u32 = 256;
/// Keys of a tile, as in `radix.cu`.
const TILE: usize = 4096;
/// Values of a digit.
const DIGITS: usize = 256;
/// Bits of a digit.
const DIGIT_BITS: usize = 8;

/// What is sorted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// Keys of a line; below 2^31.
    pub(crate) n: usize,
    /// How many lines lie one after the other.
    pub(crate) lines: usize,
    /// Whether keys are u64; u32 otherwise.
    pub(crate) wide: bool,
    /// The bits of a key that may differ, from the lowest on.
    pub(crate) bits: usize,
}

/// Sorted keys, and where each was in its line (u32).
pub(crate) struct Sorted {
    pub(crate) keys: Block,
    pub(crate) places: Block,
}

/// Sorts the keys of each line, equals in their order.
pub(crate) fn sort(gpu: &Gpu, keys: Block, what: Lines) -> Result<Sorted> {
    let Lines { n, lines, wide, bits } = what;
    let tiles = n.div_ceil(TILE);
    let blocks = lines * tiles.max(DIGITS);
    if u32::try_from(blocks).is_err() {
        return Err(Error::unavailable(format!("{lines} lines of {n} are more than the sort has blocks for")));
    }
    let define = [("K", if wide { "u64" } else { "u32" })];
    let count = gpu.kernel(RADIX, "radix_count", &define)?;
    let sum = gpu.kernel(RADIX, "radix_sum", &define)?;
    let shift_keys = gpu.kernel(RADIX, "radix_move", &define)?;
    let key = if wide { size_of::<u64>() } else { size_of::<u32>() };
    let counts = gpu.scratch(lines * tiles * DIGITS * size_of::<u32>())?;
    let totals = gpu.scratch(lines * DIGITS * size_of::<u32>())?;
    let list = || gpu.scratch(n * lines * size_of::<u32>());
    let (mut from, mut to) = (keys, gpu.scratch(n * lines * key)?);
    let (mut places, mut next) = (list()?, list()?);
    let [length, per_line] = [n, tiles].map(|v| v as i64);
    for shift in (0..bits.max(1)).step_by(DIGIT_BITS) {
        let at = shift as i64;
        let by_tile = Grid::new(lines * tiles, THREADS);
        gpu.launch(count, by_tile, args![from.address, counts.address, length, per_line, at])?;
        gpu.launch(sum, Grid::new(lines * DIGITS, THREADS), args![counts.address, totals.address, per_line])?;
        let old = if shift == 0 { 0 } else { places.address };
        let (old_keys, new_keys, new) = (from.address, to.address, next.address);
        gpu.launch(
            shift_keys,
            by_tile,
            args![old_keys, old, new_keys, new, counts.address, totals.address, length, per_line, at],
        )?;
        std::mem::swap(&mut from, &mut to);
        std::mem::swap(&mut places, &mut next);
    }
    Ok(Sorted { keys: from, places })
}
