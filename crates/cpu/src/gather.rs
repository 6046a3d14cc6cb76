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
/// Groups of lanes that are summed side by side.
const ABREAST: usize = 4;

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

/// `x`, or zeros, with slice `i` of `src` added at `index[i]` of `dim`, in rising `i`.
///
/// # Errors
/// `Kernel` when an index is out of range, naming its position; `Unavailable` for booleans.
pub(crate) fn scatter(dim: usize, x: Option<&Array>, index: &Array, src: &Array, y: &mut Array) -> Result<()> {
    if is_half(src.dtype()) {
        let outputs = std::slice::from_mut(y);
        return match x {
            None => operand::through_f32(&[index, src], outputs, |x, y| scatter(dim, None, x[0], x[1], &mut y[0])),
            Some(x) => {
                operand::through_f32(&[x, index, src], outputs, |x, y| scatter(dim, Some(x[0]), x[1], x[2], &mut y[0]))
            }
        };
    }
    let index = index_array(index)?;
    let index = slice::<i64>(&index);
    check(index, split_at(y.shape(), dim)[1])?;
    let x = x.map(Array::contiguous).transpose()?;
    let (x, src) = (x.as_ref(), src.contiguous()?);
    let order = (0..y.shape().len() as u8).collect();
    operand::with_order(y, &order, |y| match src.dtype() {
        DType::F32 => scatter_as::<f32>(dim, x, index, &src, y),
        DType::F64 => scatter_as::<f64>(dim, x, index, &src, y),
        DType::U8 => scatter_as::<u8>(dim, x, index, &src, y),
        DType::I8 => scatter_as::<i8>(dim, x, index, &src, y),
        DType::I16 => scatter_as::<i16>(dim, x, index, &src, y),
        DType::I32 => scatter_as::<i32>(dim, x, index, &src, y),
        DType::I64 => scatter_as::<i64>(dim, x, index, &src, y),
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

fn scatter_as<T: Num>(dim: usize, x: Option<&Array>, index: &[i64], src: &Array, y: &mut Array) -> Result<()> {
    let [outer, size, inner] = split_at(y.shape(), dim);
    let buckets = buckets(index, size);
    let (base, from, to) = (x.map(source::<T>), source::<T>(src), target::<T>(y)?);
    let cost = inner * (1 + index.len() / size.max(1));
    let bytes = inner * size_of::<T>();
    let past = bytes >= PAST && outer * size * bytes >= SCATTERED && inner.is_multiple_of(lanes::LANES);
    let past = past && to.get().align_offset(PAST) == 0;
    parallel(outer * size, cost, &|items| {
        let task = AddRows { base, from, to, items, buckets: &buckets, count: index.len(), size, inner, past };
        // SAFETY: the geometry is that of the arrays, whose sizes the op inferred; items are disjoint rows of y.
        unsafe { lanes::run(task) }
        stream::fence();
    });
    Ok(())
}

/// Sums the source rows of each target row.
struct AddRows<'a, T> {
    /// What they are added to, unless it is zeros.
    base: Option<Shared<T>>,
    from: Shared<T>,
    to: Shared<T>,
    items: Range<usize>,
    buckets: &'a Buckets,
    count: usize,
    size: usize,
    inner: usize,
    /// Write past the caches; rows are then whole groups of lanes, and begin at multiples of a cache line.
    past: bool,
}

impl<T: Num> Task<T> for AddRows<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        let Buckets { positions, starts } = self.buckets;
        let bytes = self.inner * size_of::<T>();
        let (mut o, mut t) = (self.items.start / self.size, self.items.start % self.size);
        for item in self.items.clone() {
            let from = self.from.at(o * self.count * self.inner);
            for next in starts[t] + AHEAD..starts[t + 1] + AHEAD {
                if let Some(&p) = positions.get(next) {
                    stream::fetch(from.wrapping_add(p * self.inner).cast(), bytes);
                }
            }
            // SAFETY: the caller vouches for the geometry.
            unsafe { self.sum::<V>(from, &positions[starts[t]..starts[t + 1]], item * self.inner) };
            t += 1;
            if t == self.size {
                (o, t) = (o + 1, 0);
            }
        }
    }
}

impl<T: Num> AddRows<'_, T> {
    /// The sum of the rows at `positions` for the target's row that begins at element `row`.
    ///
    /// # Safety
    /// The rows lie within the source, and the target's within it.
    #[inline(always)]
    unsafe fn sum<V: Lanes<E = T>>(&self, from: *const T, positions: &[usize], row: usize) {
        // SAFETY: the caller vouches for the rows; lanes and tail stay within a row of `inner`.
        unsafe {
            let mut at = 0;
            while at + ABREAST * lanes::LANES <= self.inner {
                self.lanes::<V, ABREAST>(from, positions, row, at);
                at += ABREAST * lanes::LANES;
            }
            while at + lanes::LANES <= self.inner {
                self.lanes::<V, 1>(from, positions, row, at);
                at += lanes::LANES;
            }
            for at in at..self.inner {
                let mut sum = match self.base {
                    Some(base) => *base.at(row + at),
                    None => T::ZERO,
                };
                for &p in positions {
                    sum = sum.plus(*from.add(p * self.inner + at));
                }
                *self.to.at(row + at) = sum;
            }
        }
    }

    /// As [`AddRows::sum`], for `N` groups of lanes of the row from its element `at` on.
    #[inline(always)]
    unsafe fn lanes<V: Lanes<E = T>, const N: usize>(
        &self,
        from: *const T,
        positions: &[usize],
        row: usize,
        at: usize,
    ) {
        // SAFETY: passed on.
        unsafe {
            let mut sums = [V::splat(T::ZERO); N];
            if let Some(base) = self.base {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(base.at(row + at + k * lanes::LANES));
                }
            }
            for &p in positions {
                let source = from.add(p * self.inner + at);
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(V::load(source.add(k * lanes::LANES)));
                }
            }
            for (k, sum) in sums.into_iter().enumerate() {
                let to = self.to.at(row + at + k * lanes::LANES);
                if self.past { sum.stream(to) } else { sum.store(to) }
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
        super::scatter(dim, None, &idx, &y, &mut back).unwrap();
        let mut want = vec![0.0; xv.len()];
        for (flat, &v) in yv.iter().enumerate() {
            let (o, i, k) = place(flat, 9);
            want[(o * shape[dim] + index[i] as usize) * inner + k] += v;
        }
        let mut more = out(dtype, &shape);
        super::scatter(dim, Some(&x), &idx, &y, &mut more).unwrap();
        let tolerance = if dtype == DType::BF16 { 0.02 } else { 1e-5 };
        let all = back.to_f64_vec().unwrap().into_iter().zip(more.to_f64_vec().unwrap());
        for ((a, c), (b, x)) in all.zip(want.into_iter().zip(xv)) {
            let wrap = |v: f64| if dtype == DType::U8 { v.rem_euclid(256.0) } else { v };
            let (b, d) = (wrap(b), wrap(x + b));
            assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{dtype} {a} {b}");
            assert!((c - d).abs() <= tolerance * (1.0 + d.abs()), "{dtype} {c} {d}, on top of {x}");
        }
    }

    #[test]
    fn large_tables_are_written_past_the_caches_with_the_same_values() {
        crate::register();
        // A row of 304 elements is whole groups of lanes, more than go side by side.
        let (rows, count, width) = (11_000, 10_503, 304);
        let x = signal(DType::F32, &[rows, width]);
        let places: Vec<i64> = (0..count).map(|i| (i * i % rows) as i64).collect();
        let index = Array::from_slice(&places, Shape::from([count])).unwrap();
        let xv = x.to_f64_vec().unwrap();
        let (mut y, mut back) = (out(DType::F32, &[count, width]), out(DType::F32, &[rows, width]));
        let mut more = out(DType::F32, &[rows, width]);
        super::gather(0, &x, &index, &mut y).unwrap();
        let yv = y.to_f64_vec().unwrap();
        let (mut want, mut top) = (vec![0f32; rows * width], x.to_vec::<f32>().unwrap());
        for (i, v) in yv.iter().enumerate() {
            let at = places[i / width] as usize * width + i % width;
            assert_eq!(*v, xv[at]);
            want[at] += *v as f32;
            top[at] += *v as f32;
        }
        super::scatter(0, None, &index, &y, &mut back).unwrap();
        super::scatter(0, Some(&x), &index, &y, &mut more).unwrap();
        for (got, want) in [(back, want), (more, top)] {
            let got = got.to_vec::<f32>().unwrap();
            assert!(got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn reports_the_index_that_is_out_of_range() {
        crate::register();
        let x = signal(DType::F32, &[3, 2]);
        let idx = Array::from_slice(&[0i64, 3, 1], Shape::from([3])).unwrap();
        let error = super::gather(0, &x, &idx, &mut out(DType::F32, &[3, 2])).unwrap_err();
        assert_eq!(error.to_string(), "index 3 at position 1 is out of range for a dimension of size 3");
        let idx = Array::from_slice(&[-1i64, 0, 0], Shape::from([3])).unwrap();
        assert!(super::scatter(0, None, &idx, &x, &mut out(DType::F32, &[3, 2])).is_err());
        let meta = Meta::new(DType::F32, Shape::from([0, 2]), Device::Cpu);
        let mut none = Array::uninit(&meta, Layout::contiguous(meta.shape)).unwrap();
        let idx = Array::from_slice::<i64>(&[], Shape::from([0])).unwrap();
        super::gather(0, &x, &idx, &mut none).unwrap();
    }
}
