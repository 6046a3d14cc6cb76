//! Fills, ranges and random numbers, all functions of the element's row-major index.

mod tile;

use esker_ops::{Array, Random};
use esker_tensor::philox::{Key, block, uniform_f32, uniform_f64};
use esker_tensor::{DType, Element, Error, Result};

use crate::operand::{cast, copy, target, uninit};
use crate::threads::parallel_for;

/// Elements a task makes; a multiple of [`tile::TILE`].
const GRAIN: usize = 8_192;

/// Runs a fill or a dropout.
///
/// # Errors
/// `OutOfMemory`; `Shape` when an operand is missing.
pub(crate) fn run(random: &Random, inputs: &[&Array], y: &mut Array) -> Result<()> {
    if !y.layout().is_contiguous() {
        let mut dense = uninit(y.dtype(), esker_tensor::Layout::contiguous(*y.shape()))?;
        run(random, inputs, &mut dense)?;
        return copy(&dense, y);
    }
    match *random {
        Random::Fill(value) => {
            let value = value.get();
            esker_ops::match_dtype!(y.dtype(), T => fill::<T>(y, |_| T::from_f64(value)))
        }
        Random::Arange { start, step } => {
            let (start, step) = (start.get(), step.get());
            esker_ops::match_dtype!(y.dtype(), T => fill::<T>(y, |i| T::from_f64(start + i as f64 * step)))
        }
        // The end of a uniform range is excluded, also after rounding to the dtype.
        Random::Uniform { low, high, key } if y.dtype() == DType::F64 => {
            let (low, high) = (low.get(), high.get());
            fill::<f64>(y, |i| low + (high - low) * uniform(key, i))
        }
        Random::Uniform { low, high, key } => {
            let (low, high) = (low.get(), high.get());
            let scaled = move |w: u32| low + (high - low) * f64::from(uniform_f32(w));
            esker_ops::match_dtype!(y.dtype(), T => fill_words::<T>(y, key, move |_, w| T::from_f64(scaled(w))))
        }
        Random::Normal { mean, std, key } if y.dtype() == DType::F64 => {
            let (mean, std) = (mean.get(), std.get());
            fill::<f64>(y, |i| mean + std * normal(key, i))
        }
        Random::Normal { mean, std, key } => {
            let (mean, std) = (mean.get(), std.get());
            esker_ops::match_dtype!(y.dtype(), T => {
                fill_normals::<T>(y, key, move |z| T::from_f64(mean + std * f64::from(z)))
            })
        }
        Random::Dropout { p, key } => {
            let x = inputs.first().ok_or_else(|| Error::shape("dropout takes an input"))?.contiguous()?;
            dropout(&x, p.get(), key, y)
        }
    }
}

/// Element `i` of a stream of uniform f64.
fn uniform(key: Key, i: usize) -> f64 {
    let words = block(key, i as u64 / 2);
    let first = i % 2 * 2;
    uniform_f64(words[first], words[first + 1])
}

/// Element `i` of a stream of normal f64, by Box and Muller's transform; through `libm`, so that every machine gives the
/// same bits.
fn normal(key: Key, i: usize) -> f64 {
    let j = i / 2 * 2;
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - uniform(key, j)));
    let angle = 2.0 * std::f64::consts::PI * uniform(key, j + 1);
    radius * if i % 2 == 1 { libm::sin(angle) } else { libm::cos(angle) }
}

fn fill<T: Element>(y: &mut Array, f: impl Fn(usize) -> T + Sync) -> Result<()> {
    let n = y.shape().numel();
    let to = target::<T::Stored>(y)?;
    parallel_for(n, GRAIN, &|range| {
        for i in range {
            // SAFETY: `i` lies within the contiguous output; ranges are disjoint.
            unsafe { *to.at(i) = f(i).store() };
        }
    });
    Ok(())
}

/// Element `i` from its word.
fn fill_words<T: Element>(y: &mut Array, key: Key, f: impl Fn(usize, u32) -> T + Sync) -> Result<()> {
    let n = y.shape().numel();
    let to = target::<T::Stored>(y)?;
    parallel_for(n, GRAIN, &|range| {
        // SAFETY: the elements of the range lie within the contiguous output; ranges are disjoint.
        tile::each::<tile::Word>(key, range, |i, w| unsafe { *to.at(i) = f(i, w).store() });
    });
    Ok(())
}

/// Element `i` from a standard normal number in f32.
fn fill_normals<T: Element>(y: &mut Array, key: Key, f: impl Fn(f32) -> T + Sync) -> Result<()> {
    let n = y.shape().numel();
    let to = target::<T::Stored>(y)?;
    parallel_for(n, GRAIN, &|range| {
        // SAFETY: as above.
        tile::each::<tile::Normal>(key, range, |i, z| unsafe { *to.at(i) = f(z).store() });
    });
    Ok(())
}

fn dropout(x: &Array, p: f64, key: Key, y: &mut Array) -> Result<()> {
    if y.dtype() == DType::F64 {
        let values: &[f64] = crate::operand::slice(x);
        return fill::<f64>(y, |i| if uniform(key, i) >= p { values[i] / (1.0 - p) } else { 0.0 });
    }
    // Halves compute in f32.
    let wide = cast(x, DType::F32)?;
    let values: &[f32] = crate::operand::slice(&wide);
    let keep = (1.0 - p) as f32;
    esker_ops::match_dtype!(y.dtype(), T => fill_words::<T>(y, key, |i, w| {
        T::from_f64(if f64::from(uniform_f32(w)) >= p { f64::from(values[i] / keep) } else { 0.0 })
    }))
}
