//! Fills, ranges and random numbers, all functions of the element's row-major index.

mod tile;

use esker_ops::{Array, Random};
use esker_tensor::philox::{Key, block, uniform_f32, uniform_f64};
use esker_tensor::{DType, Element, Error, Result};

use crate::operand::{Shared, cast, copy, target, uninit};
use crate::threads::parallel_for;
use tile::{Draw, Sink};

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
            esker_ops::match_dtype!(y.dtype(), T => {
                draw::<tile::Word, T, _>(y, key, |to| Uniform::<T> { to, low, range: high - low })
            })
        }
        Random::Normal { mean, std, key } if y.dtype() == DType::F64 => {
            let (mean, std) = (mean.get(), std.get());
            fill::<f64>(y, |i| mean + std * normal(key, i))
        }
        Random::Normal { mean, std, key } => {
            let (mean, std) = (mean.get() as f32, std.get() as f32);
            esker_ops::match_dtype!(y.dtype(), T => {
                draw::<tile::Normal, T, _>(y, key, |to| Spread::<T> { to, mean, std })
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

/// Draws all elements into the sink that `sink` makes of the output.
fn draw<D: Draw, T: Element, S: Sink<D::Number>>(
    y: &mut Array,
    key: Key,
    sink: impl FnOnce(Shared<T::Stored>) -> S,
) -> Result<()> {
    let n = y.shape().numel();
    let sink = sink(target::<T::Stored>(y)?);
    // SAFETY: the elements of a range lie within the contiguous output; ranges are disjoint.
    parallel_for(n, GRAIN, &|range| unsafe { tile::each::<D, S>(key, range, &sink) });
    Ok(())
}

/// Words as numbers from `low` on, before `low + range`.
struct Uniform<T: Element> {
    to: Shared<T::Stored>,
    low: f64,
    range: f64,
}

impl<T: Element> Sink<u32> for Uniform<T> {
    #[inline(always)]
    unsafe fn put(&self, start: usize, words: &[u32]) {
        let (to, low, range) = (self.to.at(start), self.low, self.range);
        for (i, &word) in words.iter().enumerate() {
            // SAFETY: the caller vouches for the elements.
            unsafe { *to.add(i) = T::from_f64(low + range * f64::from(uniform_f32(word))).store() };
        }
    }
}

/// Standard normal numbers, spread by `std` about `mean`.
struct Spread<T: Element> {
    to: Shared<T::Stored>,
    mean: f32,
    std: f32,
}

impl<T: Element> Sink<f32> for Spread<T> {
    #[inline(always)]
    unsafe fn put(&self, start: usize, numbers: &[f32]) {
        let (to, mean, std) = (self.to.at(start), self.mean, self.std);
        for (i, &z) in numbers.iter().enumerate() {
            // SAFETY: the caller vouches for the elements.
            unsafe { *to.add(i) = T::from_f64(f64::from(z.mul_add(std, mean))).store() };
        }
    }
}

/// The elements of `x` whose word is high enough, as large again as the others are many.
struct Kept<'a, T: Element> {
    to: Shared<T::Stored>,
    x: &'a [f32],
    p: f64,
}

impl<T: Element> Sink<u32> for Kept<'_, T> {
    #[inline(always)]
    unsafe fn put(&self, start: usize, words: &[u32]) {
        let (to, p, keep) = (self.to.at(start), self.p, (1.0 - self.p) as f32);
        for (i, (&word, x)) in words.iter().zip(&self.x[start..]).enumerate() {
            let y = if f64::from(uniform_f32(word)) >= p { x / keep } else { 0.0 };
            // SAFETY: the caller vouches for the elements.
            unsafe { *to.add(i) = T::from_f64(f64::from(y)).store() };
        }
    }
}

fn dropout(x: &Array, p: f64, key: Key, y: &mut Array) -> Result<()> {
    if y.dtype() == DType::F64 {
        let values: &[f64] = crate::operand::slice(x);
        return fill::<f64>(y, |i| if uniform(key, i) >= p { values[i] / (1.0 - p) } else { 0.0 });
    }
    // Halves compute in f32.
    let wide = cast(x, DType::F32)?;
    let values: &[f32] = crate::operand::slice(&wide);
    esker_ops::match_dtype!(y.dtype(), T => draw::<tile::Word, T, _>(y, key, |to| Kept::<T> { to, x: values, p }))
}
