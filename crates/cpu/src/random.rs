//! Fills, ranges and random numbers, all functions of the element's row-major index.

use esker_ops::{Array, Random};
use esker_tensor::philox::{Key, block, uniform_f32, uniform_f64};
use esker_tensor::{DType, Element, Error, Result};

use crate::operand::{cast, copy, target, uninit};
use crate::threads::parallel_for;

/// Elements a task makes; a multiple of what one block of the generator serves.
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
        Random::Uniform { low, high, key } => {
            let (low, high) = (low.get(), high.get());
            let draw = Draw::of(y.dtype(), key);
            // The end of the range is excluded, also after rounding to the dtype.
            esker_ops::match_dtype!(y.dtype(), T => fill::<T>(y, |i| T::from_f64(low + (high - low) * draw.at(i))))
        }
        Random::Normal { mean, std, key } => {
            let (mean, std) = (mean.get(), std.get());
            let draw = Draw::of(y.dtype(), key);
            esker_ops::match_dtype!(y.dtype(), T => fill::<T>(y, |i| T::from_f64(mean + std * draw.normal(i))))
        }
        Random::Dropout { p, key } => {
            let x = inputs.first().ok_or_else(|| Error::shape("dropout takes an input"))?.contiguous()?;
            dropout(&x, p.get(), key, y)
        }
    }
}

/// Uniform numbers of a stream, as exact f64.
#[derive(Clone, Copy)]
struct Draw {
    wide: bool,
    key: Key,
}

impl Draw {
    fn of(dtype: DType, key: Key) -> Self {
        Self { wide: dtype == DType::F64, key }
    }

    fn at(self, i: usize) -> f64 {
        if self.wide {
            let words = block(self.key, i as u64 / 2);
            let first = i % 2 * 2;
            return uniform_f64(words[first], words[first + 1]);
        }
        f64::from(uniform_f32(block(self.key, i as u64 / 4)[i % 4]))
    }

    /// Box and Muller's transform, in f64; through `libm`, so that every machine gives the same bits.
    fn normal(self, i: usize) -> f64 {
        let j = i / 2 * 2;
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.at(j)));
        let angle = 2.0 * std::f64::consts::PI * self.at(j + 1);
        radius * if i % 2 == 1 { libm::sin(angle) } else { libm::cos(angle) }
    }
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

fn dropout(x: &Array, p: f64, key: Key, y: &mut Array) -> Result<()> {
    let draw = Draw::of(y.dtype(), key);
    if y.dtype() == DType::F64 {
        let values: &[f64] = crate::operand::slice(x);
        return fill::<f64>(y, |i| if draw.at(i) >= p { values[i] / (1.0 - p) } else { 0.0 });
    }
    // Halves compute in f32.
    let wide = cast(x, DType::F32)?;
    let values: &[f32] = crate::operand::slice(&wide);
    let keep = (1.0 - p) as f32;
    esker_ops::match_dtype!(y.dtype(), T => fill::<T>(y, |i| {
        T::from_f64(if draw.at(i) >= p { f64::from(values[i] / keep) } else { 0.0 })
    }))
}
