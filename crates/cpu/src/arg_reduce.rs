//! The position of the extreme along a dimension.
//!
//! Elements map to integer keys whose largest is the answer (NaN the largest of all, both zeros the same), so that one
//! integer maximum serves every dtype and either direction, and vectorises. Rows of f32 and f64 are searched as they are.

mod rows;

use std::ops::Range;

use esker_ops::Array;
use esker_tensor::{DType, Error, Result};
use half::{bf16, f16};

use crate::key::Keyed;
use crate::lanes::{self, Lanes, Num, Real, Task};
use crate::operand::{Shared, parallel, source, split_at, target, with_order};

/// Finds the extreme along `dim`: outputs are the index, or the value and the index.
///
/// # Errors
/// `Kernel` for an empty dimension.
pub(crate) fn run(largest: bool, dim: usize, x: &Array, outputs: &mut [Array]) -> Result<()> {
    let [outer, size, inner] = split_at(x.shape(), dim);
    if size == 0 && outer * inner > 0 {
        let what = if largest { "largest" } else { "smallest" };
        return Err(Error::kernel(format!("dimension {dim} of {:?} is empty and has no {what} element", x.shape())));
    }
    let x = x.contiguous()?;
    let [values @ .., index] = outputs else {
        return Err(Error::kernel("an index needs an output"));
    };
    let geometry = Geometry { outer, size, inner, largest };
    row_major(index, &mut |index| match values {
        [value, ..] => row_major(value, &mut |value| geometry.search(&x, Some(value), index)),
        [] => geometry.search(&x, None, index),
    })
}

fn row_major(y: &mut Array, f: &mut dyn FnMut(&mut Array) -> Result<()>) -> Result<()> {
    let order = (0..y.shape().len() as u8).collect();
    with_order(y, &order, f)
}

#[derive(Clone, Copy)]
struct Geometry {
    outer: usize,
    size: usize,
    inner: usize,
    largest: bool,
}

impl Geometry {
    fn search(self, x: &Array, value: Option<&mut Array>, index: &mut Array) -> Result<()> {
        match x.dtype() {
            DType::Bool | DType::U8 => self.search_as::<u8>(x, value, index),
            DType::I8 => self.search_as::<i8>(x, value, index),
            DType::I16 => self.search_as::<i16>(x, value, index),
            DType::I32 => self.search_as::<i32>(x, value, index),
            DType::I64 => self.search_as::<i64>(x, value, index),
            DType::F16 => self.search_as::<f16>(x, value, index),
            DType::BF16 => self.search_as::<bf16>(x, value, index),
            DType::F32 if self.inner == 1 => self.search_rows::<f32>(x, value, index),
            DType::F32 => self.search_as::<f32>(x, value, index),
            DType::F64 if self.inner == 1 => self.search_rows::<f64>(x, value, index),
            DType::F64 => self.search_as::<f64>(x, value, index),
        }
    }

    fn search_rows<T: Real>(self, x: &Array, value: Option<&mut Array>, index: &mut Array) -> Result<()> {
        let value = value.map(target::<T>).transpose()?;
        let (x, index) = (source::<T>(x), target::<i64>(index)?);
        parallel(self.outer, self.size, &|items| {
            // SAFETY: the geometry is that of the arrays; items are disjoint elements of the outputs.
            unsafe { lanes::run(rows::Search { x, value, index, items, size: self.size, largest: self.largest }) }
        });
        Ok(())
    }

    fn search_as<T: Keyed>(self, x: &Array, value: Option<&mut Array>, index: &mut Array) -> Result<()> {
        let value = value.map(target::<T::Stored>).transpose()?;
        let (x, index) = (source::<T::Stored>(x), target::<i64>(index)?);
        let task = |items| Search::<T> { x, value, index, items, geometry: self };
        // Items are outer positions, or blocks of inner ones.
        if self.inner == 1 {
            parallel(self.outer, self.size, &|items| {
                // SAFETY: the geometry is that of the arrays; items are disjoint elements of the outputs.
                unsafe { lanes::run(Rows(task(items))) }
            });
        } else {
            let blocks = self.inner.div_ceil(BLOCK);
            parallel(self.outer * blocks, self.size * BLOCK.min(self.inner), &|items| {
                // SAFETY: as above.
                unsafe { lanes::run(Columns(task(items))) }
            });
        }
        Ok(())
    }
}

/// Inner positions that one step searches side by side.
const BLOCK: usize = 64;

struct Search<T: Keyed> {
    x: Shared<T::Stored>,
    value: Option<Shared<T::Stored>>,
    index: Shared<i64>,
    items: Range<usize>,
    geometry: Geometry,
}

/// The dimension is the innermost one.
struct Rows<T: Keyed>(Search<T>);

impl<T: Keyed> Task<T::Key> for Rows<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T::Key>>(self) {
        let Search { x, value, index, items, geometry: g } = self.0;
        for o in items {
            // SAFETY: the caller vouches that row `o` lies within x and element `o` within the outputs.
            unsafe {
                let row = std::slice::from_raw_parts(x.at(o * g.size), g.size);
                let at = if g.largest { first::<T, true>(row) } else { first::<T, false>(row) };
                *index.at(o) = at as i64;
                if let Some(value) = value {
                    *value.at(o) = row[at];
                }
            }
        }
    }
}

/// The first position of the largest key: the maximum of each chunk, then the position in the best one.
#[inline(always)]
fn first<T: Keyed, const LARGEST: bool>(row: &[T::Stored]) -> usize {
    let (mut best, mut chunk_at) = (T::Key::LOWEST, 0);
    for (c, chunk) in row.chunks(1024).enumerate() {
        let mut top = T::Key::LOWEST;
        for &v in chunk {
            top = top.max(T::key(v, LARGEST));
        }
        if top > best {
            (best, chunk_at) = (top, c);
        }
    }
    let start = chunk_at * 1024;
    start + row[start..].iter().position(|&v| T::key(v, LARGEST) == best).unwrap_or(0)
}

/// The dimension has others inside: they are searched side by side.
struct Columns<T: Keyed>(Search<T>);

impl<T: Keyed> Task<T::Key> for Columns<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T::Key>>(self) {
        let Search { x, value, index, items, geometry: g } = self.0;
        let blocks = g.inner.div_ceil(BLOCK);
        for item in items {
            let (o, start) = (item / blocks, item % blocks * BLOCK);
            let width = BLOCK.min(g.inner - start);
            // SAFETY: the caller vouches for the geometry; the block lies within `inner`.
            unsafe {
                let x = x.at(o * g.size * g.inner + start);
                let at = if g.largest { block::<T, true>(x, g, width) } else { block::<T, false>(x, g, width) };
                for (k, &at) in at.iter().enumerate().take(width) {
                    *index.at(o * g.inner + start + k) = at as i64;
                    if let Some(value) = value {
                        *value.at(o * g.inner + start + k) = *x.add(at * g.inner + k);
                    }
                }
            }
        }
    }
}

/// The first positions of the largest keys of `width` neighbouring columns.
///
/// # Safety
/// `x` points at `g.size` rows of `width` elements, `g.inner` apart.
#[inline(always)]
unsafe fn block<T: Keyed, const LARGEST: bool>(x: *const T::Stored, g: Geometry, width: usize) -> [usize; BLOCK] {
    let (mut best, mut at) = ([T::Key::LOWEST; BLOCK], [0usize; BLOCK]);
    for i in 0..g.size {
        // SAFETY: the caller vouches for the row.
        let row = unsafe { std::slice::from_raw_parts(x.add(i * g.inner), width) };
        for ((&v, best), at) in row.iter().zip(&mut best).zip(&mut at) {
            let key = T::key(v, LARGEST);
            let better = key > *best;
            *best = if better { key } else { *best };
            *at = if better { i } else { *at };
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use esker_tensor::DType;

    use crate::test::{from_f64, layouts, out, same_bits, signal};

    fn check(dtype: DType, shape: [usize; 3], dim: usize, largest: bool) {
        let x = signal(dtype, &shape);
        let xv = x.to_f64_vec().unwrap();
        let mut kept = shape;
        kept[dim] = 1;
        let inner: usize = shape[dim + 1..].iter().product();
        for x in layouts(&x) {
            let mut outs = [out(dtype, &kept), out(DType::I64, &kept)];
            super::run(largest, dim, &x, &mut outs).unwrap();
            let (v, i) = (outs[0].to_f64_vec().unwrap(), outs[1].to_vec::<i64>().unwrap());
            for (flat, (v, i)) in v.iter().zip(i).enumerate() {
                let at = |j: usize| xv[(flat / inner * shape[dim] + j) * inner + flat % inner];
                let mut want = 0;
                for j in 1..shape[dim] {
                    if (largest && at(j) > at(want)) || (!largest && at(j) < at(want)) {
                        want = j;
                    }
                }
                assert_eq!((want as i64, at(want)), (i, *v), "{dtype} {shape:?} {dim}");
            }
        }
    }

    #[test]
    fn agrees_with_a_plain_search() {
        crate::register();
        for dtype in DType::ALL {
            for (shape, dim) in [
                ([3, 4, 130], 2),
                ([2, 1, 9001], 2),
                ([4, 2, 16], 2),
                ([4, 2, 31], 2),
                ([3, 30, 130], 1),
                ([5, 1, 1], 0),
                ([2, 3, 3000], 2),
            ] {
                check(dtype, shape, dim, true);
                check(dtype, shape, dim, false);
            }
        }
    }

    #[test]
    fn nan_wins_and_ties_give_the_first() {
        crate::register();
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            for (values, want) in [
                ([1.0, f64::NAN, 3.0, f64::NAN], 1),
                ([-0.0, 0.0, -0.0, 0.0], 0),
                ([f64::NEG_INFINITY; 4], 0),
                ([2.0, 2.0, 2.0, 2.0], 0),
            ] {
                for largest in [true, false] {
                    let mut index = [out(DType::I64, &[1])];
                    super::run(largest, 1, &from_f64(dtype, &values, &[1, 4]), &mut index).unwrap();
                    assert_eq!(index[0].to_vec::<i64>().unwrap(), [want]);
                    super::run(largest, 0, &from_f64(dtype, &values, &[4]), &mut index).unwrap();
                    assert_eq!(index[0].to_vec::<i64>().unwrap(), [want]);
                }
            }
        }
        assert!(super::run(true, 1, &signal(DType::F32, &[2, 0]), &mut [out(DType::I64, &[2])]).is_err());
    }

    #[test]
    fn every_place_is_found_and_nan_before_all() {
        crate::register();
        for dtype in [DType::F32, DType::F64] {
            for (n, step) in [(200, 1), (9000, 211)] {
                for at in (0..n).step_by(step) {
                    for (win, largest) in [(9.0, true), (-9.0, false), (f64::NAN, true), (f64::NAN, false)] {
                        let mut values: Vec<f64> = (0..n).map(|i| (i * 7 % 5) as f64).collect();
                        values[at] = win;
                        values[n - 1] = if at == n - 1 { win } else { values[at].clamp(-8.0, 8.0) };
                        let mut index = [out(DType::I64, &[1])];
                        super::run(largest, 1, &from_f64(dtype, &values, &[1, n]), &mut index).unwrap();
                        assert_eq!(index[0].to_vec::<i64>().unwrap(), [at as i64], "{dtype} {n} {win}");
                    }
                }
            }
        }
    }

    #[test]
    fn same_bits_everywhere() {
        crate::register();
        let x = signal(DType::F32, &[40, 50, 70]);
        same_bits(|| {
            let mut a = [out(DType::F32, &[40, 50]), out(DType::I64, &[40, 50])];
            super::run(true, 2, &x, &mut a).unwrap();
            let mut b = [out(DType::I64, &[40, 70])];
            super::run(false, 1, &x, &mut b).unwrap();
            a.into_iter().chain(b).collect()
        });
    }
}
