//! Elements picked and put one by one along a dimension.
//!
//! Every place of an output is reached from one line of the index alone, so that lines run in parallel and the elements
//! of a line in rising order, whatever the number of threads.

use std::ops::Range;

use esker_ops::Array;
use esker_ops::kernel::Put;
use esker_tensor::{DType, Error, Result, Shape};

use crate::gather::check;
use crate::lanes::{Num, larger, smaller};
use crate::operand::{self, Shared, index_array, is_half, parallel, slice, source, split_at, target, with_order};

/// Where the neighbours of a dimension lie in an array that may be larger than the index.
enum Offsets {
    Even(usize),
    Listed(Vec<usize>),
}

impl Offsets {
    /// Of the dimensions of the given sizes in an array of sizes `all`, whose last one has a step of `unit`.
    fn of(sizes: &[usize], all: &[usize], unit: usize) -> Self {
        if sizes.iter().skip(1).eq(all.iter().skip(1)) {
            return Offsets::Even(unit);
        }
        let mut list = vec![0; sizes.iter().product()];
        let (mut step, mut inner) = (unit, 1);
        for (&n, &whole) in sizes.iter().zip(all).rev() {
            list.iter_mut().enumerate().for_each(|(i, at)| *at += i / inner % n.max(1) * step);
            (step, inner) = (step * whole, inner * n);
        }
        Offsets::Listed(list)
    }

    #[inline(always)]
    fn at(&self, i: usize) -> usize {
        match self {
            Offsets::Even(step) => i * step,
            Offsets::Listed(list) => list[i],
        }
    }
}

/// An index over an array: the lines along `dim`, and where they lie in the array.
struct Lines {
    outer: usize,
    count: usize,
    inner: usize,
    starts: Offsets,
    columns: Offsets,
    step: usize,
}

impl Lines {
    fn new(index: &Shape, x: &Shape, dim: usize) -> Self {
        let [outer, count, inner] = split_at(index, dim);
        let [_, size, step] = split_at(x, dim);
        let (before, after) = (..dim.min(x.len()), dim + 1..);
        let part = |s: &Shape| s.get(after.clone()).unwrap_or_default().to_vec();
        Self {
            outer,
            count,
            inner,
            starts: Offsets::of(&index[before], &x[before], size * step),
            columns: Offsets::of(&part(index), &part(x), 1),
            step,
        }
    }
}

/// `y = x` at `index` along `dim`, element by element.
///
/// # Errors
/// `Kernel` when an index is out of range, naming its position.
pub(crate) fn gather(dim: usize, x: &Array, index: &Array, y: &mut Array) -> Result<()> {
    let lines = Lines::new(index.shape(), x.shape(), dim);
    let index = index_array(index)?;
    let index = slice::<i64>(&index);
    check(index, split_at(x.shape(), dim)[1])?;
    let x = x.contiguous()?;
    let order = (0..y.shape().len() as u8).collect();
    with_order(y, &order, |y| match x.dtype().size() {
        1 => gather_as::<u8>(&lines, &x, index, y),
        2 => gather_as::<u16>(&lines, &x, index, y),
        4 => gather_as::<u32>(&lines, &x, index, y),
        _ => gather_as::<u64>(&lines, &x, index, y),
    })
}

fn gather_as<T: Copy>(lines: &Lines, x: &Array, index: &[i64], y: &mut Array) -> Result<()> {
    let (x, y) = (source::<T>(x), target::<T>(y)?);
    let Lines { outer, count, inner, .. } = *lines;
    parallel(outer * count, inner, &|items| {
        let (mut o, mut i) = (items.start / count, items.start % count);
        for item in items {
            let start = lines.starts.at(o);
            for (k, &to) in index[item * inner..(item + 1) * inner].iter().enumerate() {
                let from = start + to as usize * lines.step + lines.columns.at(k);
                // SAFETY: `check` found the index within its dimension, the other coordinates are those of an element
                // of x; the output has the index's shape.
                unsafe { *y.at(item * inner + k) = *x.at(from) }
            }
            i += 1;
            if i == count {
                (o, i) = (o + 1, 0);
            }
        }
    });
    Ok(())
}

/// `y = x` with the elements of `src` put in at `index` along `dim`.
///
/// # Errors
/// `Kernel` when an index is out of range, naming its position; `Unavailable` for sums and products of booleans.
pub(crate) fn scatter(dim: usize, put: Put, x: &Array, index: &Array, src: &Array, y: &mut Array) -> Result<()> {
    if is_half(x.dtype()) && put != Put::Replace {
        let outputs = std::slice::from_mut(y);
        return operand::through_f32(&[x, index, src], outputs, |x, y| scatter(dim, put, x[0], x[1], x[2], &mut y[0]));
    }
    let lines = Lines::new(index.shape(), x.shape(), dim);
    let index = index_array(index)?;
    let index = slice::<i64>(&index);
    check(index, split_at(x.shape(), dim)[1])?;
    let src = src.contiguous()?;
    let order = (0..y.shape().len() as u8).collect();
    with_order(y, &order, |y| {
        operand::copy(x, y)?;
        match put {
            Put::Replace => match x.dtype().size() {
                1 => scatter_as::<u8>(&lines, index, &src, y, |_, b| b),
                2 => scatter_as::<u16>(&lines, index, &src, y, |_, b| b),
                4 => scatter_as::<u32>(&lines, index, &src, y, |_, b| b),
                _ => scatter_as::<u64>(&lines, index, &src, y, |_, b| b),
            },
            Put::Sum | Put::Prod if x.dtype() == DType::Bool => {
                Err(Error::unavailable("bool has neither sum nor product; cast it first"))
            }
            _ => fold(&lines, put, index, &src, y),
        }
    })
}

fn fold(lines: &Lines, put: Put, index: &[i64], src: &Array, y: &mut Array) -> Result<()> {
    match src.dtype() {
        DType::F32 => fold_as::<f32>(lines, put, index, src, y),
        DType::F64 => fold_as::<f64>(lines, put, index, src, y),
        DType::U8 | DType::Bool => fold_as::<u8>(lines, put, index, src, y),
        DType::I8 => fold_as::<i8>(lines, put, index, src, y),
        DType::I16 => fold_as::<i16>(lines, put, index, src, y),
        DType::I32 => fold_as::<i32>(lines, put, index, src, y),
        DType::I64 => fold_as::<i64>(lines, put, index, src, y),
        dtype => Err(Error::unavailable(format!("elements of {dtype} have no kernel that folds them"))),
    }
}

fn fold_as<T: Num>(lines: &Lines, put: Put, index: &[i64], src: &Array, y: &mut Array) -> Result<()> {
    match put {
        Put::Replace => scatter_as::<T>(lines, index, src, y, |_, b| b),
        Put::Sum => scatter_as::<T>(lines, index, src, y, T::plus),
        Put::Prod => scatter_as::<T>(lines, index, src, y, T::times),
        Put::Max => scatter_as::<T>(lines, index, src, y, larger),
        Put::Min => scatter_as::<T>(lines, index, src, y, smaller),
    }
}

/// Neighbouring lines that one task runs side by side.
const BLOCK: usize = 64;

fn scatter_as<T: Copy>(
    lines: &Lines,
    index: &[i64],
    src: &Array,
    y: &mut Array,
    put: impl Fn(T, T) -> T + Sync,
) -> Result<()> {
    let (src, y) = (source::<T>(src), target::<T>(y)?);
    let blocks = lines.inner.div_ceil(BLOCK);
    parallel(lines.outer * blocks, lines.count * BLOCK.min(lines.inner), &|items| {
        for item in items {
            let start = item % blocks * BLOCK;
            let columns = start..lines.inner.min(start + BLOCK);
            // SAFETY: `check` found the index within its dimension; blocks are disjoint lines.
            unsafe { block(lines, item / blocks, columns, index, src, y, &put) }
        }
    });
    Ok(())
}

/// Puts the elements of some neighbouring lines.
///
/// # Safety
/// The index is within its dimension, `src` has the index's shape, `y` the shape that the lines were made for, and nobody
/// else touches these lines.
#[inline(always)]
unsafe fn block<T: Copy>(
    lines: &Lines,
    o: usize,
    columns: Range<usize>,
    index: &[i64],
    src: Shared<T>,
    y: Shared<T>,
    put: &impl Fn(T, T) -> T,
) {
    let start = lines.starts.at(o);
    for i in 0..lines.count {
        let row = (o * lines.count + i) * lines.inner;
        for k in columns.clone() {
            let to = y.at(start + index[row + k] as usize * lines.step + lines.columns.at(k));
            // SAFETY: the caller vouches for both places.
            unsafe { *to = put(*to, *src.at(row + k)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_ops::Array;
    use esker_ops::kernel::Put;
    use esker_tensor::{DType, Shape};

    use crate::test::{out, same_bits, signal};

    fn places(shape: &[usize], size: usize) -> Array {
        let n: usize = shape.iter().product();
        let places: Vec<i64> = (0..n).map(|i| (i * 7919 % 31 % size) as i64).collect();
        Array::from_slice(&places, Shape::new(shape).unwrap()).unwrap()
    }

    /// Row-major coordinates.
    fn coordinates(mut flat: usize, shape: &[usize]) -> Vec<usize> {
        let mut at = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            (at[d], flat) = (flat % shape[d], flat / shape[d]);
        }
        at
    }

    fn flat(at: &[usize], shape: &[usize]) -> usize {
        at.iter().zip(shape).fold(0, |f, (&i, &n)| f * n + i)
    }

    #[test]
    fn agrees_with_a_plain_walk_where_the_index_is_smaller() {
        crate::register();
        for dtype in [DType::U8, DType::F16, DType::F32, DType::I64] {
            for (shape, small) in [([3, 5, 4], [3, 5, 4]), ([4, 6, 70], [3, 9, 66]), ([2, 80, 3], [2, 70, 2])] {
                for dim in 0..3 {
                    let mut sizes = small;
                    sizes.iter_mut().zip(shape).for_each(|(s, n)| *s = (*s).min(n));
                    sizes[dim] = small[dim];
                    check(dtype, &shape, &sizes, dim);
                }
            }
        }
    }

    fn check(dtype: DType, shape: &[usize], sizes: &[usize], dim: usize) {
        let (x, src, index) = (signal(dtype, shape), signal(dtype, sizes), places(sizes, shape[dim]));
        let [xv, sv] = [&x, &src].map(|a| a.to_f64_vec().unwrap());
        let to: Vec<i64> = index.to_vec().unwrap();
        let (mut y, mut z) = (out(dtype, sizes), out(dtype, shape));
        super::gather(dim, &x, &index, &mut y).unwrap();
        super::scatter(dim, Put::Replace, &x, &index, &src, &mut z).unwrap();
        let mut want = xv.clone();
        for (i, v) in y.to_f64_vec().unwrap().into_iter().enumerate() {
            let mut at = coordinates(i, sizes);
            at[dim] = to[i] as usize;
            let place = flat(&at, shape);
            assert_eq!(v, xv[place], "{dtype} {shape:?} {sizes:?} {dim}");
            want[place] = sv[i];
        }
        assert_eq!(z.to_f64_vec().unwrap(), want, "{dtype} {shape:?} {sizes:?} {dim}");
    }

    #[test]
    fn sums_have_the_same_bits_everywhere() {
        crate::register();
        let (x, src) = (signal(DType::F32, &[40, 5, 90]), signal(DType::F32, &[40, 300, 90]));
        let index = places(&[40, 300, 90], 5);
        same_bits(|| {
            let mut y = out(DType::F32, &[40, 5, 90]);
            super::scatter(1, Put::Sum, &x, &index, &src, &mut y).unwrap();
            vec![y]
        });
    }

    #[test]
    fn refuses_places_that_are_not_there() {
        crate::register();
        let x = signal(DType::F32, &[3, 2]);
        let index = Array::from_slice(&[0i64, 3, 1, 0], Shape::from([2, 2])).unwrap();
        let error = super::gather(0, &x, &index, &mut out(DType::F32, &[2, 2])).unwrap_err();
        assert_eq!(error.to_string(), "index 3 at position 1 is out of range for a dimension of size 3");
        let src = signal(DType::F32, &[2, 2]);
        assert!(super::scatter(0, Put::Sum, &x, &index, &src, &mut out(DType::F32, &[3, 2])).is_err());
    }
}
