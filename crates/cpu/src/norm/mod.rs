//! Normalisation of channels, or of groups of them, and its gradient.
//!
//! The elements of a channel that share statistics, image after image, are cut into units whose length follows from the
//! shape. Element `i` of a unit adds to lane `i % 16`, the lanes fold by halving, the units add up in f64. Two loops
//! follow that order. *Planes*: a register holds sixteen elements of a channel. *Last* (channels-last memory): it holds
//! one element of sixteen channels.
//!
//! A group small enough stays in the cache between its sums and its result, so that memory is read once.

mod last;
mod planes;
#[cfg(test)]
mod tests;

use std::ops::Range;

use esker_ops::{Array, NormPass, Share};
use esker_tensor::{DType, Dims, Error, Layout, Result, Shape};

use crate::lanes::{self, LANES, Real};
use crate::moments::{Moments, UNIT};
use crate::operand::{self, Shared, in_order, is_half, parallel, source, target, with_order};
use crate::stream;

/// Planes of fewer elements share a unit.
const PLANE: usize = 512;
/// From so many groups on, each is a task of its own.
const GROUPS: usize = 16;

/// Runs a pass of a normalisation.
///
/// # Errors
/// `Unavailable` for a dtype that is no float; those of copies.
pub(crate) fn run(pass: NormPass, share: Share, eps: f64, inputs: &[&Array], outputs: &mut [Array]) -> Result<()> {
    match inputs.first().map(|x| x.dtype()) {
        Some(dtype) if is_half(dtype) => operand::through_f32(inputs, outputs, |x, y| run(pass, share, eps, x, y)),
        Some(DType::F32) => run_as::<f32>(pass, share, eps, inputs, outputs),
        Some(DType::F64) => run_as::<f64>(pass, share, eps, inputs, outputs),
        dtype => Err(Error::unavailable(format!("normalisation computes floats, not {dtype:?}; cast first"))),
    }
}

fn run_as<T: Real>(pass: NormPass, share: Share, eps: f64, x: &[&Array], outputs: &mut [Array]) -> Result<()> {
    let [y, first, second] = outputs else { return Err(Error::kernel("normalisation gives three outputs")) };
    let geometry = Geometry::new(share, y.shape())?;
    let last = lies_last(y.layout(), geometry.size);
    let order = order(y.shape().len(), last);
    let (rows, param) = (self::order(first.shape().len(), false), self::order(second.shape().len(), false));
    let full = |x: &Array| in_order(x, &order);
    let run = Run { geometry, eps, last };
    with_order(y, &order, |y| {
        with_order(first, &rows, |first| {
            with_order(second, &param, |second| match (pass, x) {
                (NormPass::Forward, [x, weight, bias]) => {
                    let (x, weight, bias) = (full(x)?, weight.contiguous()?, bias.contiguous()?);
                    let statistics = (target::<T>(first)?, target(second)?);
                    run.forward(source(&x), (source(&weight), source(&bias)), target(y)?, statistics);
                    Ok(())
                }
                (NormPass::Grad, [x, weight, mean, variance, dy]) => {
                    let (x, dy, weight) = (full(x)?, full(dy)?, weight.contiguous()?);
                    let (mean, variance) = (mean.contiguous()?, variance.contiguous()?);
                    let statistics = (source::<T>(&mean), source(&variance));
                    let params = (target(first)?, target(second)?);
                    run.grad([source(&x), source(&dy), target(y)?], source(&weight), statistics, params);
                    Ok(())
                }
                _ => Err(Error::kernel(format!("{pass:?} does not take {} inputs", x.len()))),
            })
        })
    })
}

/// The dimensions outermost first, with the channels innermost or row-major.
fn order(rank: usize, last: bool) -> Dims {
    let rank = rank as u8;
    if last { [0].into_iter().chain(2..rank).chain([1]).collect() } else { (0..rank).collect() }
}

/// Whether channels lie innermost; where planes of one element lie both ways, that is the better one.
fn lies_last(layout: &Layout, size: usize) -> bool {
    (size == 1 || !layout.is_contiguous()) && layout.permute(&order(layout.rank(), true)).is_contiguous()
}

/// `[parts, images, groups, each, size]`: a part and a group have a mean and a variance, a group and one of its `each`
/// channels a weight and a bias.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    parts: usize,
    images: usize,
    groups: usize,
    each: usize,
    size: usize,
    units: Units,
}

impl Geometry {
    fn new(share: Share, x: &Shape) -> Result<Self> {
        let &[n, c, ref plane @ ..] = &x[..] else {
            return Err(Error::shape(format!("{x:?} has no channels")));
        };
        let ([parts, images], groups) = match share {
            Share::Batch => ([1, n], c),
            Share::Groups(groups) => ([n, 1], groups),
        };
        let size = plane.iter().product();
        Ok(Self { parts, images, groups, each: c / groups.max(1), size, units: Units::new(images, size) })
    }

    fn channels(&self) -> usize {
        self.groups * self.each
    }

    /// Elements of a channel that share statistics.
    fn rows(&self) -> usize {
        self.images * self.size
    }
}

/// How the rows of a channel are cut: whole images, or pieces of one.
#[derive(Clone, Copy, Debug)]
struct Units {
    count: usize,
    rows: usize,
    /// Rows of some images, and in how many pieces of how many rows they go.
    block: usize,
    pieces: usize,
    len: usize,
}

impl Units {
    fn new(images: usize, size: usize) -> Self {
        let rows = images * size;
        if size < PLANE {
            let block = (UNIT / size.max(1)).clamp(1, images.max(1)) * size.max(1);
            return Self { count: rows.div_ceil(block), rows, block, pieces: 1, len: block };
        }
        let len = size.div_ceil(size.div_ceil(UNIT)).next_multiple_of(LANES);
        let pieces = size.div_ceil(len);
        Self { count: images * pieces, rows, block: size, pieces, len }
    }

    /// The rows of a unit.
    #[inline(always)]
    fn get(&self, unit: usize) -> Range<usize> {
        let block = unit / self.pieces * self.block;
        let start = block + unit % self.pieces * self.len;
        start..(start + self.len).min(block + self.block).min(self.rows)
    }
}

/// A normalisation that is to run.
struct Run {
    geometry: Geometry,
    eps: f64,
    last: bool,
}

/// What both passes and both loops work on. Channels count through all parts: `part * channels + channel`.
struct Call<T> {
    geometry: Geometry,
    x: Shared<T>,
    /// The gradient of the result, in the pass backwards.
    dy: Shared<T>,
    /// The means of the groups, in the pass backwards.
    mean: Shared<T>,
    /// The result.
    y: Shared<T>,
    /// Whether it goes past the caches.
    stream: bool,
    /// For each channel and unit: mean and sum of squares of the distances from it; backwards, the sums of `dy` and of
    /// `dy` times the distance from the mean.
    sums: Shared<[f64; 2]>,
    /// For each channel `centre`, `a`, `b` and `k`, one after the other: with `d = x - centre` the result is `a d + b`;
    /// backwards, `a dy + (k d + b)`.
    coefs: Shared<T>,
}

impl<T> Call<T> {
    fn coef(&self, which: usize, channel: usize) -> *mut T {
        self.coefs.at(which * self.geometry.parts * self.geometry.channels() + channel)
    }
}

impl Run {
    fn forward<T: Real>(&self, x: Shared<T>, params: (Shared<T>, Shared<T>), y: Shared<T>, to: (Shared<T>, Shared<T>)) {
        let g = &self.geometry;
        self.passes::<T, false>([x, x, to.0, y], &|call, group| {
            let mut all = Moments::none();
            for channel in group * g.each..(group + 1) * g.each {
                for unit in 0..g.units.count {
                    // SAFETY: the sums of this group are written, and no other task has them.
                    let [mean, squares] = unsafe { *call.sums.at(channel * g.units.count + unit) };
                    all.merge(&Moments { count: g.units.get(unit).len() as f64, mean, squares });
                }
            }
            let count = (g.rows() * g.each) as f64;
            let (mean, variance) = (all.mean, all.squares / count);
            let rstd = 1.0 / (variance + self.eps).sqrt();
            let centre = T::from_f64(mean);
            for channel in group * g.each..(group + 1) * g.each {
                let at = channel % g.channels();
                // SAFETY: weight and bias have one element for each channel; the coefficients are this group's.
                unsafe {
                    let (weight, bias) = ((*params.0.at(at)).to_f64(), (*params.1.at(at)).to_f64());
                    *call.coef(0, channel) = centre;
                    *call.coef(1, channel) = T::from_f64(rstd * weight);
                    // What rounding took from the mean.
                    *call.coef(2, channel) = T::from_f64(bias - (mean - centre.to_f64()) * rstd * weight);
                }
            }
            // SAFETY: there is one of both for each group, and each is written here alone.
            unsafe { (*to.0.at(group), *to.1.at(group)) = (centre, T::from_f64(variance)) }
        });
    }

    fn grad<T: Real>(
        &self,
        [x, dy, dx]: [Shared<T>; 3],
        weight: Shared<T>,
        statistics: (Shared<T>, Shared<T>),
        to: (Shared<T>, Shared<T>),
    ) {
        let g = &self.geometry;
        // The gradients of weight and bias, part by part.
        let mut params = vec![[0.0f64; 2]; g.parts * g.channels()];
        let parts = Shared::new(params.as_mut_ptr());
        self.passes::<T, true>([x, dy, statistics.0, dx], &|call, group| {
            // SAFETY: there is one of both for each group.
            let (mean, variance) = unsafe { (*statistics.0.at(group), (*statistics.1.at(group)).to_f64()) };
            let rstd = 1.0 / (variance + self.eps).sqrt();
            let (mut plain, mut along) = (0.0, 0.0);
            for channel in group * g.each..(group + 1) * g.each {
                let (mut dweight, mut dbias) = (0.0, 0.0);
                for unit in 0..g.units.count {
                    // SAFETY: the sums of this group are written, and no other task has them.
                    let [sum, distance] = unsafe { *call.sums.at(channel * g.units.count + unit) };
                    (dweight, dbias) = (dweight + distance * rstd, dbias + sum);
                }
                // SAFETY: one element for each channel, of the part and in all; the part's is written here alone.
                unsafe {
                    *parts.at(channel) = [dweight, dbias];
                    let weight = (*weight.at(channel % g.channels())).to_f64();
                    (plain, along) = (plain + weight * dbias, along + weight * dweight);
                }
            }
            let count = (g.rows() * g.each) as f64;
            for channel in group * g.each..(group + 1) * g.each {
                // SAFETY: as above; the coefficients are this group's.
                unsafe {
                    let weight = (*weight.at(channel % g.channels())).to_f64();
                    *call.coef(0, channel) = mean;
                    *call.coef(1, channel) = T::from_f64(rstd * weight);
                    *call.coef(2, channel) = T::from_f64(-rstd * plain / count);
                    *call.coef(3, channel) = T::from_f64(-rstd * rstd * along / count);
                }
            }
        });
        for channel in 0..g.channels() {
            let of = |k: usize| (0..g.parts).map(|part| params[part * g.channels() + channel][k]).sum::<f64>();
            // SAFETY: the gradients of weight and bias have one element for each channel.
            unsafe { (*to.0.at(channel), *to.1.at(channel)) = (T::from_f64(of(0)), T::from_f64(of(1))) }
        }
    }

    /// Sums, then `settle` for each group (which makes coefficients of its sums), then the result.
    fn passes<T: Real, const BACK: bool>(
        &self,
        [x, dy, mean, y]: [Shared<T>; 4],
        settle: &(dyn Fn(&Call<T>, usize) + Sync),
    ) {
        let g = self.geometry;
        let (channels, groups, units) = (g.parts * g.channels(), g.parts * g.groups, g.units.count);
        let (mut sums, mut coefs) = (vec![[0.0f64; 2]; channels * units], vec![T::ZERO; 4 * channels]);
        // Results that lie in one piece fill whole lines.
        let piece = if self.last { g.channels() } else { g.size };
        let stream = channels * g.rows() * size_of::<T>() >= stream::LARGE
            && piece.is_multiple_of(LANES)
            && y.get().addr().is_multiple_of(stream::LINE);
        let (sums, coefs) = (Shared::new(sums.as_mut_ptr()), Shared::new(coefs.as_mut_ptr()));
        let call = &Call { geometry: g, x, dy, mean, y, stream, sums, coefs };
        // SAFETY of all: the items lie within the operands, whose shapes the op inferred, and each is written by one task.
        if self.last {
            let blocks = g.channels().div_ceil(last::WIDTH);
            parallel(g.parts * units * blocks, g.units.len * g.channels().min(last::WIDTH), &|items| {
                // SAFETY: see above.
                unsafe { lanes::run_real(last::Sums::<T, BACK> { call, items }) }
            });
            parallel(groups, units * g.each, &|groups| groups.for_each(|group| settle(call, group)));
            let rows = g.parts * g.rows();
            parallel(rows, g.channels(), &|range| {
                // From the end, which the sums have left in the cache.
                let rows = rows - range.end..rows - range.start;
                // SAFETY: see above.
                unsafe { lanes::run_real(last::Write::<T, BACK> { call, rows }) }
            });
            return;
        }
        let sum = |items: Range<usize>| {
            // SAFETY: see above.
            unsafe { lanes::run_real(planes::Sums::<T, BACK> { call, items }) }
        };
        let write = |items: Range<usize>| {
            // SAFETY: see above.
            unsafe { lanes::run_real(planes::Write::<T, BACK> { call, items }) }
        };
        if groups < GROUPS {
            parallel(channels * units, g.units.len, &sum);
            (0..groups).for_each(|group| settle(call, group));
            parallel(channels * g.images, g.size, &write);
            return;
        }
        parallel(groups, g.each * g.rows(), &|groups| {
            for group in groups {
                let of = |n: usize| group * g.each * n..(group + 1) * g.each * n;
                sum(of(units));
                settle(call, group);
                write(of(g.images));
            }
        });
    }
}
