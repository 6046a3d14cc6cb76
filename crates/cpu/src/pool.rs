//! Pooling on channels-last memory, vectorised over the channels.

mod mean;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use esker_ops::kernel::Pool2d;
use esker_ops::{Array, PoolPass};
use esker_tensor::{DType, Error, Result};

use crate::lanes::{self, Lanes, Num, Task};
use crate::operand::{self, Shared, channels_last, in_order, is_half, parallel, source, target, with_order};

/// Runs a pooling pass.
///
/// # Errors
/// `Kernel` for an index outside its plane; those of copies.
pub(crate) fn run(pass: PoolPass, pool: &Pool2d, inputs: &[&Array], outputs: &mut [Array]) -> Result<()> {
    let Some(dtype) = inputs.first().map(|x| x.dtype()) else {
        return Err(Error::kernel("pooling got no operands"));
    };
    match (pass, dtype) {
        (_, dtype) if is_half(dtype) => operand::through_f32(inputs, outputs, |x, y| run(pass, pool, x, y)),
        (PoolPass::Mean(divisor), DType::F32) => mean::run::<f32>(pool, divisor, false, inputs, outputs),
        (PoolPass::Mean(divisor), DType::F64) => mean::run::<f64>(pool, divisor, false, inputs, outputs),
        (PoolPass::MeanInput(divisor), DType::F32) => mean::run::<f32>(pool, divisor, true, inputs, outputs),
        (PoolPass::MeanInput(divisor), DType::F64) => mean::run::<f64>(pool, divisor, true, inputs, outputs),
        (_, DType::F32) => run_as::<f32>(pass, pool, inputs, outputs),
        (_, DType::F64) => run_as::<f64>(pass, pool, inputs, outputs),
        (_, DType::U8) => run_as::<u8>(pass, pool, inputs, outputs),
        (_, DType::I8) => run_as::<i8>(pass, pool, inputs, outputs),
        (_, DType::I16) => run_as::<i16>(pass, pool, inputs, outputs),
        (_, DType::I32) => run_as::<i32>(pass, pool, inputs, outputs),
        (_, DType::I64) => run_as::<i64>(pass, pool, inputs, outputs),
        _ => Err(Error::unavailable(format!("pooling of {dtype:?} has no kernel; cast it to a float first"))),
    }
}

fn run_as<T: Num>(pass: PoolPass, pool: &Pool2d, inputs: &[&Array], outputs: &mut [Array]) -> Result<()> {
    let last = channels_last();
    match (pass, inputs, outputs) {
        (PoolPass::Max, [x], [y, index]) => {
            let x = in_order(x, &last)?;
            with_order(y, &last, |y| with_order(index, &last, |index| max::<T>(pool, &x, y, index)))
        }
        (PoolPass::MaxInput, [dy, index], [dx]) => {
            let (dy, index) = (in_order(dy, &last)?, in_order(index, &last)?);
            with_order(dx, &last, |dx| unpool::<T>(&dy, &index, dx))
        }
        (PoolPass::MaxGather, [x, index], [y]) => {
            let (x, index) = (in_order(x, &last)?, in_order(index, &last)?);
            with_order(y, &last, |y| pick::<T>(&x, &index, y))
        }
        _ => Err(Error::kernel("pooling got the wrong number of operands")),
    }
}

/// `[n, c, h, w]` sizes of an array.
fn sizes(x: &Array) -> Result<[usize; 4]> {
    x.shape()[..].try_into().map_err(|_| Error::shape(format!("pooling needs four dimensions, not {:?}", x.shape())))
}

// ---- the largest of each window

/// Channels of a block, whose running maximum stays in the first cache.
const BLOCK: usize = 128;

fn max<T: Num>(pool: &Pool2d, x: &Array, y: &mut Array, index: &mut Array) -> Result<()> {
    let ([_, c, h, w], [n, _, oh, ow]) = (sizes(x)?, sizes(y)?);
    let (x, y, index) = (source::<T>(x), target::<T>(y)?, target::<i64>(index)?);
    let cost = ow * c * pool.kernel[0] * pool.kernel[1];
    parallel(n * oh, cost, &|rows| {
        // SAFETY: the geometry is that of the arrays; items are disjoint rows of the outputs.
        unsafe { lanes::run(Max { pool, x, y, index, rows, c, h, w, oh, ow }) }
    });
    Ok(())
}

struct Max<'a, T> {
    pool: &'a Pool2d,
    x: Shared<T>,
    y: Shared<T>,
    index: Shared<i64>,
    rows: Range<usize>,
    c: usize,
    h: usize,
    w: usize,
    oh: usize,
    ow: usize,
}

/// The taps along one axis that fall inside the input: `(first position, how many)`.
fn taps(pool: &Pool2d, axis: usize, out: usize, size: usize) -> (usize, usize) {
    let (start, d) = ((out * pool.stride[axis]) as isize - pool.padding[axis] as isize, pool.dilation[axis] as isize);
    let skip = if start < 0 { (-start + d - 1) / d } else { 0 };
    let first = start + skip * d;
    let left = (size as isize - first + d - 1).max(0) / d;
    (first.max(0) as usize, left.min(pool.kernel[axis] as isize - skip).max(0) as usize)
}

impl<T: Num> Task<T> for Max<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        for row in self.rows.clone() {
            let (n, i) = (row / self.oh, row % self.oh);
            let down = taps(self.pool, 0, i, self.h);
            for j in 0..self.ow {
                let across = taps(self.pool, 1, j, self.w);
                for start in (0..self.c).step_by(BLOCK) {
                    let width = BLOCK.min(self.c - start);
                    let to = (row * self.ow + j) * self.c + start;
                    // SAFETY: the caller vouches for the geometry; the window was clipped to the plane.
                    unsafe { self.window(n, down, across, start, to, width) }
                }
            }
        }
    }
}

impl<T: Num> Max<'_, T> {
    /// One window of one block of channels.
    ///
    /// # Safety
    /// Image, taps and channels lie within x, and `to` with `width` elements within the outputs.
    #[inline(always)]
    unsafe fn window(
        &self,
        n: usize,
        (h0, hn): (usize, usize),
        (w0, wn): (usize, usize),
        start: usize,
        to: usize,
        width: usize,
    ) {
        let (mut best, mut at) = (
            [T::LOWEST; BLOCK],
            [(h0.min(self.h.saturating_sub(1)) * self.w + w0.min(self.w.saturating_sub(1))) as i64; BLOCK],
        );
        for r in 0..hn {
            for s in 0..wn {
                let place = (h0 + r * self.pool.dilation[0]) * self.w + w0 + s * self.pool.dilation[1];
                // SAFETY: the caller vouches for the place and the channels.
                let x = unsafe {
                    std::slice::from_raw_parts(self.x.at((n * self.h * self.w + place) * self.c + start), width)
                };
                for ((&v, best), at) in x.iter().zip(&mut best).zip(&mut at) {
                    let better = (v > *best) | (v.is_nan() & !best.is_nan());
                    *best = if better { v } else { *best };
                    *at = if better { place as i64 } else { *at };
                }
            }
        }
        // SAFETY: the caller vouches for the outputs.
        unsafe {
            std::ptr::copy_nonoverlapping(best.as_ptr(), self.y.at(to), width);
            std::ptr::copy_nonoverlapping(at.as_ptr(), self.index.at(to), width);
        }
    }
}

// ---- there and back by index

/// Channels of a block of the passes by index.
const STRIP: usize = 64;

fn unpool<T: Num>(dy: &Array, index: &Array, dx: &mut Array) -> Result<()> {
    let ([n, c, oh, ow], [_, _, h, w]) = (sizes(dy)?, sizes(dx)?);
    let (dy, index, dx) = (source::<T>(dy), source::<i64>(index), target::<T>(dx)?);
    let (strips, outside) = (c.div_ceil(STRIP), AtomicBool::new(false));
    parallel(n * strips, h * w * STRIP.min(c), &|items| {
        for item in items {
            let (n, start) = (item / strips, item % strips * STRIP);
            let width = STRIP.min(c - start);
            // SAFETY: places are below h * w and oh * ow, and channels below c; items are disjoint strips of dx.
            unsafe {
                for place in 0..h * w {
                    std::slice::from_raw_parts_mut(dx.at((n * h * w + place) * c + start), width).fill(T::ZERO);
                }
                for place in 0..oh * ow {
                    let from = (n * oh * ow + place) * c + start;
                    for k in 0..width {
                        let at = *index.at(from + k) as usize;
                        if at >= h * w {
                            outside.store(true, Ordering::Relaxed);
                            continue;
                        }
                        let to = dx.at((n * h * w + at) * c + start + k);
                        *to = (*to).plus(*dy.at(from + k));
                    }
                }
            }
        }
    });
    found_inside(outside, h, w)
}

fn pick<T: Num>(x: &Array, index: &Array, y: &mut Array) -> Result<()> {
    let ([_, c, h, w], [n, _, oh, ow]) = (sizes(x)?, sizes(y)?);
    let (x, index, y) = (source::<T>(x), source::<i64>(index), target::<T>(y)?);
    let outside = AtomicBool::new(false);
    parallel(n * oh * ow, c, &|places| {
        for place in places {
            let n = place / (oh * ow);
            for k in 0..c {
                // SAFETY: the place and the channel are within y and index; `at` is checked to be within x.
                unsafe {
                    let at = *index.at(place * c + k) as usize;
                    if at >= h * w {
                        outside.store(true, Ordering::Relaxed);
                        continue;
                    }
                    *y.at(place * c + k) = *x.at((n * h * w + at) * c + k);
                }
            }
        }
    });
    found_inside(outside, h, w)
}

fn found_inside(outside: AtomicBool, h: usize, w: usize) -> Result<()> {
    if outside.into_inner() {
        return Err(Error::kernel(format!("an index lies outside its plane of {h} x {w}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use esker_ops::kernel::Pool2d;
    use esker_ops::{Array, PoolPass};
    use esker_tensor::DType;

    use crate::test::{from_f64, layouts, out, out_last, same_bits, signal};

    fn pool(kernel: usize, stride: usize, padding: usize, dilation: usize) -> Pool2d {
        Pool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], ceil: false }
    }

    fn output(p: &Pool2d, size: usize) -> usize {
        (size + 2 * p.padding[0] - p.dilation[0] * (p.kernel[0] - 1) - 1) / p.stride[0] + 1
    }

    /// The largest and its index in each window, by plain loops over row-major values.
    fn reference(p: &Pool2d, x: &[f64], [n, c, h, w]: [usize; 4]) -> (Vec<f64>, Vec<i64>) {
        let (oh, ow) = (output(p, h), output(p, w));
        let (mut values, mut index) = (Vec::new(), Vec::new());
        for plane in 0..n * c {
            for (i, j) in (0..oh * ow).map(|o| (o / ow, o % ow)) {
                let (mut best, mut at) = (f64::NEG_INFINITY, -1);
                for (r, s) in (0..p.kernel[0] * p.kernel[1]).map(|t| (t / p.kernel[1], t % p.kernel[1])) {
                    let (y, x_) = (i * p.stride[0] + r * p.dilation[0], j * p.stride[1] + s * p.dilation[1]);
                    let (Some(y), Some(x_)) = (y.checked_sub(p.padding[0]), x_.checked_sub(p.padding[1])) else {
                        continue;
                    };
                    if y < h && x_ < w {
                        let v = x[(plane * h + y) * w + x_];
                        if at < 0 || v > best || (v.is_nan() && !best.is_nan()) {
                            (best, at) = (v, (y * w + x_) as i64);
                        }
                    }
                }
                values.push(best);
                index.push(at);
            }
        }
        (values, index)
    }

    fn check(p: &Pool2d, dtype: DType, shape: [usize; 4]) {
        let [n, c, h, w] = shape;
        let small = [n, c, output(p, h), output(p, w)];
        let mut values = signal(dtype, &shape).to_f64_vec().unwrap();
        if values.len() > 20 {
            values[11] = f64::NAN;
        }
        let x = from_f64(dtype, &values, &shape);
        let (want, at) = reference(p, &x.to_f64_vec().unwrap(), shape);
        for x in layouts(&x) {
            for make in [out, out_last] {
                let mut outs = [make(dtype, &small), make(DType::I64, &small)];
                super::run(PoolPass::Max, p, &[&x], &mut outs).unwrap();
                let got = outs[0].to_f64_vec().unwrap();
                assert!(got.iter().zip(&want).all(|(a, b)| a == b || a.is_nan() && b.is_nan()));
                assert_eq!(outs[1].to_vec::<i64>().unwrap(), at);
                let mut again = [make(dtype, &small)];
                super::run(PoolPass::MaxGather, p, &[&x, &outs[1]], &mut again).unwrap();
                assert!(
                    again[0].to_f64_vec().unwrap().iter().zip(&got).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
                );
            }
        }
        back(p, dtype, shape, &at);
    }

    fn back(p: &Pool2d, dtype: DType, shape: [usize; 4], at: &[i64]) {
        let [n, c, h, w] = shape;
        let small = [n, c, output(p, h), output(p, w)];
        let (dy, index) = (signal(dtype, &small), from_i64(at, &small));
        let mut dx = [out_last(dtype, &shape)];
        super::run(PoolPass::MaxInput, p, &[&dy, &index], &mut dx).unwrap();
        let mut want = vec![0.0; n * c * h * w];
        for (i, (v, at)) in dy.to_f64_vec().unwrap().iter().zip(at).enumerate() {
            want[i / (small[2] * small[3]) * h * w + *at as usize] += v;
        }
        for (a, b) in dx[0].to_f64_vec().unwrap().iter().zip(want) {
            assert!((a - b).abs() < 0.05, "{a} {b}");
        }
    }

    fn from_i64(values: &[i64], shape: &[usize]) -> Array {
        Array::from_slice(values, esker_tensor::Shape::new(shape).unwrap()).unwrap()
    }

    #[test]
    fn agrees_with_plain_loops() {
        crate::register();
        for p in [pool(2, 2, 0, 1), pool(3, 2, 1, 1), pool(3, 1, 1, 2), pool(1, 1, 0, 1), pool(5, 3, 2, 1)] {
            for dtype in [DType::F32, DType::F64, DType::F16] {
                for shape in [[2, 3, 9, 8], [1, 130, 7, 7], [0, 3, 9, 9]] {
                    check(&p, dtype, shape);
                }
            }
        }
    }

    #[test]
    fn an_index_outside_is_an_error() {
        crate::register();
        let (dy, index) = (signal(DType::F32, &[1, 1, 1, 1]), from_i64(&[4], &[1, 1, 1, 1]));
        let error =
            super::run(PoolPass::MaxInput, &pool(2, 2, 0, 1), &[&dy, &index], &mut [out(DType::F32, &[1, 1, 2, 2])]);
        assert!(error.is_err());
    }

    #[test]
    fn same_bits_everywhere() {
        crate::register();
        let x = signal(DType::F32, &[3, 40, 20, 21]);
        same_bits(|| {
            let p = pool(3, 2, 1, 1);
            let mut outs = vec![out_last(DType::F32, &[3, 40, 10, 11]), out_last(DType::I64, &[3, 40, 10, 11])];
            super::run(PoolPass::Max, &p, &[&x], &mut outs).unwrap();
            let mut dx = [out_last(DType::F32, &[3, 40, 20, 21])];
            super::run(PoolPass::MaxInput, &p, &[&outs[0], &outs[1]], &mut dx).unwrap();
            outs.into_iter().chain(dx).collect()
        });
    }
}
