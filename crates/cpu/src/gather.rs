//! Rows picked by index, and rows added back at an index.
//!
//! Scattering sorts the positions by target first (stably, by counting), so that each target adds its sources in rising
//! position whatever the number of threads.

use std::ops::Range;

use esker_ops::Array;
use esker_tensor::{DType, Error, Result};

use crate::lanes::{self, Lanes, Num, Task};
use crate::operand::{self, Shared, index_array, is_half, parallel, slice, source, split_at, target};
use crate::stream;

/// Rows ahead of which one is asked for.
const AHEAD: usize = 12;
/// Bytes of a row from which on it may be written past the caches.
const PAST: usize = 64;
/// Bytes of a target of sums from which on it is written past the caches. Most of it is zeros or written once, so that
/// less of it is missed there than of a copy.
const SCATTERED: usize = 8 << 20;
/// Bytes of the longest row that is summed aside before it is written past the caches.
const ASIDE: usize = 4096;

/// `y = x` at `index` along `dim`.
///
/// # Errors
/// `Kernel` when an index is out of range, naming its position.
pub(crate) fn gather(dim: usize, x: &Array, index: &Array, y: &mut Array) -> Result<()> {
    let [outer, size, inner] = split_at(x.shape(), dim);
    let index = index_array(index)?;
    let index = slice::<i64>(&index);
    check(index, size)?;
    let x = x.contiguous()?;
    let order = (0..y.shape().len() as u8).collect();
    operand::with_order(y, &order, |y| {
        let row = inner * x.dtype().size();
        let (from, to) = (source::<u8>(&x), target::<u8>(y)?);
        let past = row >= PAST && outer * index.len() * row >= stream::LARGE;
        parallel(outer * index.len(), inner, &|items| {
            let (mut o, mut i) = (items.start / index.len(), items.start % index.len());
            for item in items {
                if let Some(&next) = index.get(i + AHEAD) {
                    stream::fetch(from.at((o * size + next as usize) * row), row);
                }
                let at = (o * size + index[i] as usize) * row;
                // SAFETY: `check` found the index below `size`, so that the row lies within x; item rows of y are
                // disjoint and within it.
                unsafe {
                    match past {
                        true => stream::copy(from.at(at), to.at(item * row), row),
                        false => copy_row(from.at(at), to.at(item * row), row),
                    }
                }
                i += 1;
                if i == index.len() {
                    (o, i) = (o + 1, 0);
                }
            }
            stream::fence();
        });
        Ok(())
    })
}

/// Copies a row; the sizes of single elements without a call.
///
/// # Safety
/// Both rows are valid for `bytes` bytes and do not overlap.
#[inline(always)]
unsafe fn copy_row(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: the caller vouches for both.
    unsafe {
        match bytes {
            4 => to.cast::<u32>().write_unaligned(from.cast::<u32>().read_unaligned()),
            8 => to.cast::<u64>().write_unaligned(from.cast::<u64>().read_unaligned()),
            _ => std::ptr::copy_nonoverlapping(from, to, bytes),
        }
    }
}

/// Whether every index is within `0..size`.
///
/// # Errors
/// `Kernel` naming the first that is not.
pub(crate) fn check(index: &[i64], size: usize) -> Result<()> {
    match index.iter().position(|&i| i < 0 || i as usize >= size) {
        None => Ok(()),
        Some(at) => Err(Error::kernel(format!(
            "index {} at position {at} is out of range for a dimension of size {size}",
            index[at]
        ))),
    }
}

/// Zeros, with slice `i` of `src` added at `index[i]` of `dim`, in rising `i`.
///
/// # Errors
/// `Kernel` when an index is out of range, naming its position; `Unavailable` for booleans.
pub(crate) fn scatter(dim: usize, index: &Array, src: &Array, y: &mut Array) -> Result<()> {
    if is_half(src.dtype()) {
        let outputs = std::slice::from_mut(y);
        return operand::through_f32(&[index, src], outputs, |x, y| scatter(dim, x[0], x[1], &mut y[0]));
    }
    let index = index_array(index)?;
    let index = slice::<i64>(&index);
    check(index, split_at(y.shape(), dim)[1])?;
    let src = src.contiguous()?;
    let order = (0..y.shape().len() as u8).collect();
    operand::with_order(y, &order, |y| match src.dtype() {
        DType::F32 => scatter_as::<f32>(dim, index, &src, y),
        DType::F64 => scatter_as::<f64>(dim, index, &src, y),
        DType::U8 => scatter_as::<u8>(dim, index, &src, y),
        DType::I8 => scatter_as::<i8>(dim, index, &src, y),
        DType::I16 => scatter_as::<i16>(dim, index, &src, y),
        DType::I32 => scatter_as::<i32>(dim, index, &src, y),
        DType::I64 => scatter_as::<i64>(dim, index, &src, y),
        dtype => Err(Error::unavailable(format!("scatter adds, and {dtype} has no addition; cast it first"))),
    })
}

/// Positions sorted by where they go: those of target `t` are `positions[starts[t]..starts[t + 1]]`, rising.
struct Buckets {
    positions: Vec<usize>,
    starts: Vec<usize>,
}

fn buckets(index: &[i64], size: usize) -> Buckets {
    // Counted two places on, so that the ends become the starts while positions are put down.
    let mut starts = vec![0usize; size + 2];
    for &t in index {
        starts[t as usize + 2] += 1;
    }
    for t in 1..=size {
        starts[t + 1] += starts[t];
    }
    let mut positions = vec![0; index.len()];
    for (i, &t) in index.iter().enumerate() {
        let slot = &mut starts[t as usize + 1];
        positions[*slot] = i;
        *slot += 1;
    }
    Buckets { positions, starts }
}

fn scatter_as<T: Num>(dim: usize, index: &[i64], src: &Array, y: &mut Array) -> Result<()> {
    let [outer, size, inner] = split_at(y.shape(), dim);
    let buckets = buckets(index, size);
    let (from, to) = (source::<T>(src), target::<T>(y)?);
    let cost = inner * (1 + index.len() / size.max(1));
    let bytes = inner * size_of::<T>();
    let past = (PAST..=ASIDE).contains(&bytes) && outer * size * bytes >= SCATTERED;
    parallel(outer * size, cost, &|items| {
        // SAFETY: the geometry is that of the arrays, whose sizes the op inferred; items are disjoint rows of y.
        unsafe { lanes::run(AddRows { from, to, items, buckets: &buckets, count: index.len(), size, inner, past }) }
        stream::fence();
    });
    Ok(())
}

/// Sums the source rows of each target row.
struct AddRows<'a, T> {
    from: Shared<T>,
    to: Shared<T>,
    items: Range<usize>,
    buckets: &'a Buckets,
    count: usize,
    size: usize,
    inner: usize,
    /// Write past the caches; rows then have [`ASIDE`] bytes at most.
    past: bool,
}

impl<T: Num> Task<T> for AddRows<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        let Buckets { positions, starts } = self.buckets;
        let bytes = self.inner * size_of::<T>();
        let (mut o, mut t) = (self.items.start / self.size, self.items.start % self.size);
        let mut aside = Aside([0; ASIDE]);
        for item in self.items.clone() {
            let (from, to) = (self.from.at(o * self.count * self.inner), self.to.at(item * self.inner));
            for next in starts[t] + AHEAD..starts[t + 1] + AHEAD {
                if let Some(&p) = positions.get(next) {
                    stream::fetch(from.wrapping_add(p * self.inner).cast(), bytes);
                }
            }
            let sources = &positions[starts[t]..starts[t + 1]];
            // SAFETY: the caller vouches for the geometry; what is summed aside fits there.
            unsafe {
                if self.past {
                    self.sum::<V>(from, sources, aside.0.as_mut_ptr().cast());
                    stream::copy(aside.0.as_ptr(), to.cast(), bytes);
                } else {
                    self.sum::<V>(from, sources, to);
                }
            }
            t += 1;
            if t == self.size {
                (o, t) = (o + 1, 0);
            }
        }
    }
}

/// Room for a row, aligned to cache lines.
#[repr(align(64))]
struct Aside([u8; ASIDE]);

impl<T: Num> AddRows<'_, T> {
    /// The sum of the rows at `positions`.
    ///
    /// # Safety
    /// The rows lie within the source, and `to` has room for one.
    #[inline(always)]
    unsafe fn sum<V: Lanes<E = T>>(&self, from: *const T, positions: &[usize], to: *mut T) {
        // SAFETY: the caller vouches for the rows; lanes and tail stay within a row of `inner`.
        unsafe {
            let mut at = 0;
            while at + lanes::LANES <= self.inner {
                let mut sum = V::splat(T::ZERO);
                for &p in positions {
                    sum = sum.add(V::load(from.add(p * self.inner + at)));
                }
                sum.store(to.add(at));
                at += lanes::LANES;
            }
            for at in at..self.inner {
                let sum = positions.iter().fold(T::ZERO, |s, &p| s.plus(*from.add(p * self.inner + at)));
                *to.add(at) = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_ops::{Array, Meta};
    use esker_tensor::{DType, Device, Layout, Shape};

    use crate::test::{out, signal};

    #[test]
    fn gathers_and_scatters_along_every_dimension() {
        crate::register();
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::I32, DType::I64, DType::U8] {
            for shape in [[3, 5, 37], [1, 40, 1], [2, 7, 16]] {
                for dim in 0..3 {
                    round_trip(dtype, shape, dim);
                }
            }
        }
    }

    fn round_trip(dtype: DType, shape: [usize; 3], dim: usize) {
        let x = signal(dtype, &shape);
        let index: Vec<i64> = (0..9).map(|i| (i * 7 % shape[dim]) as i64).collect();
        let mut picked = shape;
        picked[dim] = index.len();
        let idx = Array::from_slice(&index, Shape::from([9])).unwrap();
        let mut y = out(dtype, &picked);
        super::gather(dim, &x, &idx, &mut y).unwrap();
        let (xv, yv) = (x.to_f64_vec().unwrap(), y.to_f64_vec().unwrap());
        let inner: usize = shape[dim + 1..].iter().product();
        let place = |flat: usize, n: usize| (flat / inner / n, flat / inner % n, flat % inner);
        for (flat, &v) in yv.iter().enumerate() {
            let (o, i, k) = place(flat, 9);
            assert_eq!(v, xv[(o * shape[dim] + index[i] as usize) * inner + k]);
        }
        let mut back = out(dtype, &shape);
        super::scatter(dim, &idx, &y, &mut back).unwrap();
        let mut want = vec![0.0; xv.len()];
        for (flat, &v) in yv.iter().enumerate() {
            let (o, i, k) = place(flat, 9);
            want[(o * shape[dim] + index[i] as usize) * inner + k] += v;
        }
        let tolerance = if dtype == DType::BF16 { 0.02 } else { 1e-5 };
        for (a, b) in back.to_f64_vec().unwrap().iter().zip(want) {
            let b = if dtype == DType::U8 { b.rem_euclid(256.0) } else { b };
            assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{dtype} {a} {b}");
        }
    }

    #[test]
    fn large_tables_are_written_past_the_caches_with_the_same_values() {
        crate::register();
        let (rows, count, width) = (11_000, 10_503, 300);
        let x = signal(DType::F32, &[rows, width]);
        let places: Vec<i64> = (0..count).map(|i| (i * i % rows) as i64).collect();
        let index = Array::from_slice(&places, Shape::from([count])).unwrap();
        let xv = x.to_f64_vec().unwrap();
        let (mut y, mut back) = (out(DType::F32, &[count, width]), out(DType::F32, &[rows, width]));
        super::gather(0, &x, &index, &mut y).unwrap();
        let yv = y.to_f64_vec().unwrap();
        let mut want = vec![0f32; rows * width];
        for (i, v) in yv.iter().enumerate() {
            let at = places[i / width] as usize * width + i % width;
            assert_eq!(*v, xv[at]);
            want[at] += *v as f32;
        }
        super::scatter(0, &index, &y, &mut back).unwrap();
        let got = back.to_vec::<f32>().unwrap();
        assert!(got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn reports_the_index_that_is_out_of_range() {
        crate::register();
        let x = signal(DType::F32, &[3, 2]);
        let idx = Array::from_slice(&[0i64, 3, 1], Shape::from([3])).unwrap();
        let error = super::gather(0, &x, &idx, &mut out(DType::F32, &[3, 2])).unwrap_err();
        assert_eq!(error.to_string(), "index 3 at position 1 is out of range for a dimension of size 3");
        let idx = Array::from_slice(&[-1i64, 0, 0], Shape::from([3])).unwrap();
        assert!(super::scatter(0, &idx, &x, &mut out(DType::F32, &[3, 2])).is_err());
        let meta = Meta::new(DType::F32, Shape::from([0, 2]), Device::Cpu);
        let mut none = Array::uninit(&meta, Layout::contiguous(meta.shape)).unwrap();
        let idx = Array::from_slice::<i64>(&[], Shape::from([0])).unwrap();
        super::gather(0, &x, &idx, &mut none).unwrap();
    }
}
