//! Fills: constants, ranges, random numbers, dropout.

use esker_kernels::RANDOM;
use esker_ops::{Array, Random, match_dtype};
use esker_tensor::{DType, Element, Error, Layout, Result};

use crate::copy;
use crate::dense::{cast, row_major, with_order};
use crate::gpu::{Gpu, address, args, name_of};

/// Threads of a block.
const THREADS: u32 = 256;

/// Runs a fill or a dropout.
pub(crate) fn run(gpu: &Gpu, random: &Random, x: &[&Array], y: &mut Array) -> Result<()> {
    if y.shape().numel() == 0 {
        return Ok(());
    }
    if let Random::Fill(value) = random {
        return fill(gpu, value.get(), y);
    }
    let order = row_major(y.shape().len());
    with_order(gpu, y, &order, |y| draw(gpu, random, x, y))
}

/// One value everywhere, in whatever order.
fn fill(gpu: &Gpu, value: f64, y: &mut Array) -> Result<()> {
    let mut pattern = [0; 16];
    match_dtype!(y.dtype(), T => {
        let value = T::from_f64(value).store();
        let bytes = bytemuck::bytes_of(&value);
        pattern.chunks_mut(bytes.len()).for_each(|part| part.copy_from_slice(bytes));
    });
    let bytes = y.shape().numel() * y.dtype().size();
    if pattern.iter().all(|&b| b == pattern[0]) {
        return gpu.driver.fill(address(y), pattern[0], bytes);
    }
    let [low, high]: [u64; 2] = bytemuck::cast(pattern);
    let kernel = gpu.kernel(RANDOM, "fill", &[("Y", "u8")])?;
    gpu.launch(kernel, gpu.spread(bytes.div_ceil(16), THREADS), args![address(y), low, high, bytes as i64])
}

/// What depends on the row-major index.
fn draw(gpu: &Gpu, random: &Random, x: &[&Array], y: &mut Array) -> Result<()> {
    let (double, to, n) = (y.dtype() == DType::F64, address(y), y.shape().numel());
    let kernel = |entry: [&'static str; 2]| {
        let [f32, f64] = entry;
        gpu.kernel(RANDOM, if double { f64 } else { f32 }, &[("Y", name_of(y.dtype()))])
    };
    let all = n as i64;
    // Numbers of a block of words.
    let grid = gpu.spread(n.div_ceil(if double { 2 } else { 4 }), THREADS);
    match *random {
        Random::Fill(_) => Ok(()),
        Random::Arange { start, step } => {
            let kernel = kernel(["arange", "arange"])?;
            gpu.launch(kernel, gpu.spread(n, THREADS), args![to, start.get(), step.get(), all])
        }
        Random::Uniform { low, high, key } => {
            let (kernel, low, high) = (kernel(["uniform_f32", "uniform_f64"])?, low.get(), high.get());
            gpu.launch(kernel, grid, args![to, key.0, low, high - low, all])
        }
        Random::Normal { mean, std, key } => {
            let (kernel, mean, std) = (kernel(["normal_f32", "normal_f64"])?, mean.get(), std.get());
            match double {
                true => gpu.launch(kernel, grid, args![to, key.0, mean, std, all]),
                false => gpu.launch(kernel, grid, args![to, key.0, mean as f32, std as f32, all]),
            }
        }
        Random::Dropout { p, key } => {
            let x = x.first().ok_or_else(|| Error::shape("dropout takes an input"))?;
            let (x, p) = (packed(gpu, x, y.dtype())?, p.get());
            let kernel = kernel(["dropout_f32", "dropout_f64"])?;
            let from = address(&x);
            match double {
                true => gpu.launch(kernel, grid, args![from, to, key.0, p, 1.0 - p, all]),
                false => gpu.launch(kernel, grid, args![from, to, key.0, p, (1.0 - p) as f32, all]),
            }
        }
    }
}

/// Row-major elements of a dtype, four of which can be read at once.
fn packed(gpu: &Gpu, x: &Array, dtype: DType) -> Result<Array> {
    let x = cast(gpu, x, dtype)?;
    if address(&x).is_multiple_of(4 * dtype.size()) {
        return Ok(x);
    }
    let mut copied = Array::uninit(&x.meta(), Layout::contiguous(*x.shape()))?;
    copy::run(gpu, &x, &mut copied)?;
    Ok(copied)
}
