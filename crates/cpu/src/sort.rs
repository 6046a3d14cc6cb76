//! Order along a dimension: each line sorted by keys that carry their position, so that equals keep their order.

use std::ops::Range;

use esker_ops::Array;
use esker_tensor::{DType, Result};
use half::{bf16, f16};

use crate::key::{Bits, Keyed};
use crate::operand::{Shared, parallel, source, split_at, target, with_order};

/// `values` and `index` are `x` in order along `dim` and where its elements were.
///
/// # Errors
/// Those of copies.
pub(crate) fn run(dim: usize, descending: bool, x: &Array, values: &mut Array, index: &mut Array) -> Result<()> {
    let x = x.contiguous()?;
    let order = (0..x.shape().len() as u8).collect();
    with_order(values, &order, |values| {
        with_order(index, &order, |index| match x.dtype() {
            DType::Bool | DType::U8 => sort_as::<u8>(dim, descending, &x, values, index),
            DType::I8 => sort_as::<i8>(dim, descending, &x, values, index),
            DType::I16 => sort_as::<i16>(dim, descending, &x, values, index),
            DType::I32 => sort_as::<i32>(dim, descending, &x, values, index),
            DType::I64 => sort_as::<i64>(dim, descending, &x, values, index),
            DType::F16 => sort_as::<f16>(dim, descending, &x, values, index),
            DType::BF16 => sort_as::<bf16>(dim, descending, &x, values, index),
            DType::F32 => sort_as::<f32>(dim, descending, &x, values, index),
            DType::F64 => sort_as::<f64>(dim, descending, &x, values, index),
        })
    })
}

fn sort_as<T: Keyed>(dim: usize, descending: bool, x: &Array, values: &mut Array, index: &mut Array) -> Result<()> {
    let [outer, size, inner] = split_at(x.shape(), dim);
    let lines = Lines::<T> { x: source(x), values: target(values)?, index: target(index)?, size, inner, descending };
    // A line's cost grows a little faster than its length.
    parallel(outer * inner, size * (1 + size.max(1).ilog2() as usize), &|items| {
        // SAFETY: the geometry is that of the arrays, which have the same shape; items are disjoint lines.
        unsafe {
            if T::Key::COUNT <= 32 && size <= u32::MAX as usize {
                lines.sort(items, |key, i| key << 32 | i as u64, |packed| packed as u32 as usize);
            } else {
                lines.sort(items, |key, i| u128::from(key) << 64 | i as u128, |packed| packed as u64 as usize);
            }
        }
    });
    Ok(())
}

/// The lines of an array along a dimension.
struct Lines<T: Keyed> {
    x: Shared<T::Stored>,
    values: Shared<T::Stored>,
    index: Shared<i64>,
    size: usize,
    inner: usize,
    descending: bool,
}

impl<T: Keyed> Lines<T> {
    /// Sorts some lines. `pack` makes a number that orders by key, then by position, which `place` gets back.
    ///
    /// # Safety
    /// The geometry is that of the arrays, and nobody else writes these lines.
    unsafe fn sort<P: Copy + Ord>(
        &self,
        items: Range<usize>,
        pack: impl Fn(u64, usize) -> P,
        place: impl Fn(P) -> usize,
    ) {
        let mut line: Vec<P> = Vec::with_capacity(self.size);
        for item in items {
            let start = item / self.inner * self.size * self.inner + item % self.inner;
            line.clear();
            line.extend((0..self.size).map(|i| {
                // SAFETY: element `i` of the line lies within x.
                let v = unsafe { *self.x.at(start + i * self.inner) };
                pack(T::key(v, true).bits(self.descending), i)
            }));
            line.sort_unstable(); // No two are equal.
            for (i, &packed) in line.iter().enumerate() {
                let (from, to) = (place(packed), start + i * self.inner);
                // SAFETY: both are elements of the line.
                unsafe {
                    *self.values.at(to) = *self.x.at(start + from * self.inner);
                    *self.index.at(to) = from as i64;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use esker_tensor::DType;

    use crate::test::{from_f64, layouts, out, same_bits, signal};

    /// By value with NaN last, equals in their order.
    fn plain(line: &[f64], descending: bool) -> Vec<usize> {
        let mut order: Vec<usize> = (0..line.len()).collect();
        let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        order.sort_by(|&a, &b| {
            let order = compare(line[a], line[b]);
            if descending { order.reverse() } else { order }
        });
        assert!(order.windows(2).all(|w| compare(line[w[0]], line[w[1]]) != Ordering::Equal || w[0] < w[1]));
        order
    }

    #[test]
    fn agrees_with_a_plain_sort() {
        crate::register();
        for dtype in DType::ALL {
            for (shape, dim) in [([3, 4, 130], 2), ([2, 67, 5], 1), ([5, 1, 1], 0), ([0, 2, 1], 1), ([2, 0, 3], 1)] {
                for descending in [false, true] {
                    check(dtype, shape, dim, descending);
                }
            }
        }
    }

    fn check(dtype: DType, shape: [usize; 3], dim: usize, descending: bool) {
        let x = signal(dtype, &shape);
        let xv = x.to_f64_vec().unwrap();
        let inner: usize = shape[dim + 1..].iter().product();
        for x in layouts(&x) {
            let (mut values, mut index) = (out(dtype, &shape), out(DType::I64, &shape));
            super::run(dim, descending, &x, &mut values, &mut index).unwrap();
            let (values, index) = (values.to_f64_vec().unwrap(), index.to_vec::<i64>().unwrap());
            let n = shape[dim];
            for line in 0..xv.len() / n.max(1) {
                let at = |i: usize| (line / inner * n + i) * inner + line % inner;
                let own: Vec<f64> = (0..n).map(|i| xv[at(i)]).collect();
                for (i, from) in plain(&own, descending).into_iter().enumerate() {
                    assert_eq!((values[at(i)], index[at(i)]), (own[from], from as i64), "{dtype} {shape:?} {dim}");
                }
            }
        }
    }

    #[test]
    fn nan_is_the_largest_and_zeros_are_equal() {
        crate::register();
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let line = [1.0, nan, 0.0, -0.0, inf, nan, -inf, -1.0];
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            for descending in [false, true] {
                let (mut values, mut index) = (out(dtype, &[8]), out(DType::I64, &[8]));
                super::run(0, descending, &from_f64(dtype, &line, &[8]), &mut values, &mut index).unwrap();
                let want: Vec<i64> = plain(&line, descending).into_iter().map(|i| i as i64).collect();
                assert_eq!(index.to_vec::<i64>().unwrap(), want);
                let zeros: Vec<bool> = values.to_f64_vec().unwrap().iter().map(|v| v.is_sign_negative()).collect();
                assert!(zeros.contains(&true), "the sign of a zero is kept");
            }
        }
    }

    #[test]
    fn same_bits_everywhere() {
        crate::register();
        let x = signal(DType::F32, &[30, 70, 40]);
        same_bits(|| {
            let (mut values, mut index) = (out(DType::F32, &[30, 70, 40]), out(DType::I64, &[30, 70, 40]));
            super::run(1, true, &x, &mut values, &mut index).unwrap();
            vec![values, index]
        });
    }
}
