//! The means of windows, and their gradient as sums over the windows that hold an element: no two tasks write one place.

use std::ops::Range;

use esker_ops::Array;
use esker_ops::kernel::{Divisor, Pool2d};
use esker_tensor::{Error, Result};

use super::{BLOCK, sizes};
use crate::lanes::{self, Lanes, Real, Task};
use crate::operand::{Shared, channels_last, in_order, parallel, source, target, with_order};

/// Runs the means (or their gradient, when `back`).
///
/// # Errors
/// Those of copies.
pub(super) fn run<T: Real>(
    pool: &Pool2d,
    divisor: Divisor,
    back: bool,
    inputs: &[&Array],
    outputs: &mut [Array],
) -> Result<()> {
    let ([from], [to]) = (inputs, outputs) else {
        return Err(Error::kernel("mean pooling takes one input and gives one output"));
    };
    let last = channels_last();
    let from = in_order(from, &last)?;
    with_order(to, &last, |to| {
        let ([n, c, from_h, from_w], [_, _, to_h, to_w]) = (sizes(&from)?, sizes(to)?);
        let (wide, narrow) = if back { ([to_h, to_w], [from_h, from_w]) } else { ([from_h, from_w], [to_h, to_w]) };
        let (from, to) = (source::<T>(&from), target::<T>(to)?);
        let taps = pool.kernel[0] * pool.kernel[1];
        let each = if back { taps.div_ceil((pool.stride[0] * pool.stride[1]).max(1)) } else { taps };
        parallel(n * to_h, to_w * c * each, &|rows| {
            let windows = Windows { pool, divisor, wide, narrow };
            // SAFETY: the geometry is that of the arrays; items are disjoint rows of the output.
            unsafe { lanes::run(Means { windows, from, to, rows, c, back }) }
        });
        Ok(())
    })
}

/// Where windows lie.
struct Windows<'a> {
    pool: &'a Pool2d,
    divisor: Divisor,
    /// The input's plane.
    wide: [usize; 2],
    /// The output's plane.
    narrow: [usize; 2],
}

impl Windows<'_> {
    /// The places of the input that window `at` covers along an axis.
    fn covers(&self, axis: usize, at: usize) -> Range<usize> {
        let (start, padding) = (at * self.pool.stride[axis], self.pool.padding[axis]);
        let end = (start + self.pool.kernel[axis]).saturating_sub(padding).min(self.wide[axis]);
        start.saturating_sub(padding).min(end)..end
    }

    /// The windows that cover place `at` of the input along an axis.
    fn holding(&self, axis: usize, at: usize) -> Range<usize> {
        let (stride, reach) = (self.pool.stride[axis], at + self.pool.padding[axis]);
        let first = (reach + 1).saturating_sub(self.pool.kernel[axis]).div_ceil(stride);
        let end = (reach / stride + 1).min(self.narrow[axis]);
        first.min(end)..end
    }

    /// What the sum of the window is divided by.
    fn count(&self, at: [usize; 2]) -> usize {
        let along = |axis: usize| match self.divisor {
            Divisor::Inside => self.covers(axis, at[axis]).len(),
            _ => {
                let start = at[axis] * self.pool.stride[axis];
                let end = (start + self.pool.kernel[axis]).min(self.wide[axis] + 2 * self.pool.padding[axis]);
                end.saturating_sub(start)
            }
        };
        match self.divisor {
            Divisor::Fixed(n) => n,
            _ => along(0) * along(1),
        }
    }
}

struct Means<'a, T> {
    windows: Windows<'a>,
    from: Shared<T>,
    to: Shared<T>,
    rows: Range<usize>,
    c: usize,
    back: bool,
}

impl<T: Real> Task<T> for Means<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        let plane = if self.back { self.windows.wide } else { self.windows.narrow };
        for row in self.rows.clone() {
            let (n, i) = (row / plane[0], row % plane[0]);
            for j in 0..plane[1] {
                for start in (0..self.c).step_by(BLOCK) {
                    let width = BLOCK.min(self.c - start);
                    let to = (row * plane[1] + j) * self.c + start;
                    // SAFETY: the caller vouches for the geometry.
                    unsafe { self.place(n, [i, j], start, to, width) }
                }
            }
        }
    }
}

impl<T: Real> Means<'_, T> {
    /// One place of the output, for one block of channels.
    ///
    /// # Safety
    /// The place and the channels lie within the output, and `to` with `width` elements is theirs.
    #[inline(always)]
    unsafe fn place(&self, n: usize, at: [usize; 2], start: usize, to: usize, width: usize) {
        let windows = &self.windows;
        let (size, down, across) = match self.back {
            true => (windows.narrow, windows.holding(0, at[0]), windows.holding(1, at[1])),
            false => (windows.wide, windows.covers(0, at[0]), windows.covers(1, at[1])),
        };
        let mut sum = [T::ZERO; BLOCK];
        for r in down {
            for s in across.clone() {
                let from = ((n * size[0] + r) * size[1] + s) * self.c + start;
                // SAFETY: `r` and `s` were clipped to the plane of `from`; the caller vouches for the channels.
                let x = unsafe { std::slice::from_raw_parts(self.from.at(from), width) };
                if self.back {
                    let count = windows.count([r, s]);
                    x.iter().zip(&mut sum).for_each(|(&v, sum)| *sum = sum.plus(v.over(count)));
                } else {
                    x.iter().zip(&mut sum).for_each(|(&v, sum)| *sum = sum.plus(v));
                }
            }
        }
        if !self.back {
            let count = windows.count(at);
            sum.iter_mut().for_each(|sum| *sum = sum.over(count));
        }
        // SAFETY: the caller vouches for the output.
        unsafe { std::ptr::copy_nonoverlapping(sum.as_ptr(), self.to.at(to), width) }
    }
}

#[cfg(test)]
mod tests {
    use esker_ops::PoolPass;
    use esker_ops::kernel::{Divisor, Pool2d};
    use esker_tensor::DType;

    use crate::pool::run;
    use crate::test::{layouts, out, out_last, same_bits, signal};

    fn pool(kernel: usize, stride: usize, padding: usize, ceil: bool) -> Pool2d {
        Pool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [1; 2], ceil }
    }

    /// For each window the places that it covers (with their planes) and its divisor, by plain loops.
    fn windows(p: &Pool2d, d: Divisor, [h, w]: [usize; 2], [oh, ow]: [usize; 2]) -> Vec<(Vec<usize>, f64)> {
        let one = |o: usize| {
            let (mut inside, mut padded) = (Vec::new(), 0);
            for (r, s) in (0..p.kernel[0] * p.kernel[1]).map(|t| (t / p.kernel[1], t % p.kernel[1])) {
                let (y, x) = (o / ow * p.stride[0] + r, o % ow * p.stride[1] + s);
                padded += usize::from(y < h + 2 * p.padding[0] && x < w + 2 * p.padding[1]);
                let (Some(y), Some(x)) = (y.checked_sub(p.padding[0]), x.checked_sub(p.padding[1])) else { continue };
                if y < h && x < w {
                    inside.push(y * w + x);
                }
            }
            let count = match d {
                Divisor::Padded => padded,
                Divisor::Inside => inside.len(),
                Divisor::Fixed(n) => n,
            };
            (inside, count as f64)
        };
        (0..oh * ow).map(one).collect()
    }

    fn check(p: &Pool2d, d: Divisor, dtype: DType, [n, c, h, w]: [usize; 4], [oh, ow]: [usize; 2]) {
        let tolerance = if dtype == DType::F64 { 1e-13 } else { 2e-3 };
        let windows = windows(p, d, [h, w], [oh, ow]);
        let (big, small) = ([n, c, h, w], [n, c, oh, ow]);
        let (x, dy) = (signal(dtype, &big), signal(dtype, &small));
        let (values, slopes) = (x.to_f64_vec().unwrap(), dy.to_f64_vec().unwrap());
        let (mut want, mut back) = (Vec::new(), vec![0.0; n * c * h * w]);
        for plane in 0..n * c {
            for (inside, count) in &windows {
                let sum: f64 = inside.iter().map(|i| values[plane * h * w + i]).sum();
                let slope = slopes[want.len()] / count;
                inside.iter().for_each(|i| back[plane * h * w + i] += slope);
                want.push(sum / count);
            }
        }
        let near = |got: &[f64], want: &[f64]| got.iter().zip(want).all(|(a, b)| (a - b).abs() <= tolerance);
        for make in [out, out_last] {
            for x in layouts(&x) {
                let mut y = [make(dtype, &small)];
                run(PoolPass::Mean(d), p, &[&x], &mut y).unwrap();
                assert!(near(&y[0].to_f64_vec().unwrap(), &want), "{p:?} {d:?} {dtype}");
            }
            let mut dx = [make(dtype, &big)];
            run(PoolPass::MeanInput(d), p, &[&dy], &mut dx).unwrap();
            assert!(near(&dx[0].to_f64_vec().unwrap(), &back), "{p:?} {d:?} {dtype}");
        }
    }

    #[test]
    fn agrees_with_plain_loops() {
        crate::register();
        for d in [Divisor::Padded, Divisor::Inside, Divisor::Fixed(3)] {
            for dtype in [DType::F32, DType::F64, DType::F16] {
                check(&pool(2, 2, 0, false), d, dtype, [2, 3, 9, 8], [4, 4]);
                check(&pool(3, 2, 1, false), d, dtype, [1, 130, 7, 6], [4, 3]);
                check(&pool(3, 2, 1, true), d, dtype, [1, 2, 6, 4], [4, 3]);
                check(&pool(2, 3, 0, false), d, dtype, [1, 1, 5, 8], [2, 3]);
            }
        }
    }

    #[test]
    fn same_bits_everywhere() {
        crate::register();
        let (x, p) = (signal(DType::F32, &[3, 40, 20, 21]), pool(3, 2, 1, false));
        same_bits(|| {
            let mut y = vec![out_last(DType::F32, &[3, 40, 10, 11])];
            run(PoolPass::Mean(Divisor::Inside), &p, &[&x], &mut y).unwrap();
            let mut dx = [out_last(DType::F32, &[3, 40, 20, 21])];
            run(PoolPass::MeanInput(Divisor::Inside), &p, &[&y[0]], &mut dx).unwrap();
            y.into_iter().chain(dx).collect()
        });
    }
}
