//! Arrays of f64 and the few walks over them that references are written with.

use esker_tensor::philox::{Key, block, uniform_f32, uniform_f64};
use esker_tensor::{DType, Result};

use crate::{Array, Axes};

/// A reference array: row-major f64 with the dtype that it came from.
#[derive(Clone, PartialEq, Debug)]
pub struct RefArray {
    /// The sizes.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: Vec<f64>,
    /// The dtype of the array that was read; f64 for what a reference computes.
    pub dtype: DType,
}

impl RefArray {
    /// From sizes and elements.
    pub fn new(shape: &[usize], data: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{} elements for {shape:?}", data.len());
        Self { shape: shape.to_vec(), data, dtype: DType::F64 }
    }

    /// The elements of an array.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn of(x: &Array) -> Result<Self> {
        Ok(Self { shape: x.shape().to_vec(), data: x.to_f64_vec()?, dtype: x.dtype() })
    }

    /// Computed from each index.
    pub fn from_fn(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Self {
        let mut data = Vec::new();
        each_index(shape, |i| data.push(f(i)));
        Self::new(shape, data)
    }

    /// Zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::from_fn(shape, |_| 0.0)
    }

    /// The element at an index.
    pub fn at(&self, index: &[usize]) -> f64 {
        self.data[self.flat(index)]
    }

    /// The element at an index, for writing.
    pub fn at_mut(&mut self, index: &[usize]) -> &mut f64 {
        let i = self.flat(index);
        &mut self.data[i]
    }

    fn flat(&self, index: &[usize]) -> usize {
        assert_eq!(index.len(), self.shape.len(), "{index:?} in {:?}", self.shape);
        index.iter().zip(&self.shape).fold(0, |flat, (&i, &n)| {
            assert!(i < n, "{index:?} in {:?}", self.shape);
            flat * n + i
        })
    }

    /// Repeated to a shape by NumPy's rule.
    pub fn broadcast_to(&self, shape: &[usize]) -> Self {
        let lead = shape.len() - self.shape.len();
        Self::from_fn(shape, |i| {
            let own: Vec<usize> =
                i[lead..].iter().zip(&self.shape).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect();
            self.at(&own)
        })
    }

    /// The elements that meet in one place when `axes` disappear (or become 1), row-major, handed to `f` together.
    pub fn fold(&self, axes: &[usize], keepdim: bool, f: impl Fn(&[f64]) -> f64) -> Self {
        let kept: Vec<usize> =
            self.shape.iter().enumerate().map(|(d, &n)| if axes.contains(&d) { 1 } else { n }).collect();
        let mut groups = vec![Vec::new(); kept.iter().product()];
        let mut source = self.data.iter();
        each_index(&self.shape, |i| {
            let at = i.iter().zip(&kept).fold(0, |flat, (&i, &n)| flat * n + i.min(n - 1));
            groups[at].extend(source.next());
        });
        let shape: Vec<usize> =
            kept.iter().enumerate().filter(|(d, _)| keepdim || !axes.contains(d)).map(|(_, &n)| n).collect();
        Self::new(&shape, groups.iter().map(|g| f(g)).collect())
    }

    /// Each line along `axis` replaced by what `f` makes of it (a line of equal length); a scalar is one line.
    pub fn lines(&self, axis: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        let mut out = Self::zeros(&self.shape);
        let n = self.shape.get(axis).copied().unwrap_or(1);
        let stride: usize = self.shape.iter().skip(axis + 1).product();
        for start in (0..self.data.len()).filter(|i| (i / stride).is_multiple_of(n)) {
            let places = (0..n).map(|k| start + k * stride);
            let line: Vec<f64> = places.clone().map(|i| self.data[i]).collect();
            places.zip(f(&line)).for_each(|(i, y)| out.data[i] = y);
        }
        out
    }

    /// Each element mapped.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::new(&self.shape, self.data.iter().map(|&x| f(x)).collect())
    }

    /// As an array of `dtype` would hold it: integers wrap, floats round.
    pub fn rounded(&self, dtype: DType) -> Self {
        Self { dtype, ..self.map(|v| round_to(v, dtype)) }
    }

    /// Where `self` (what came out) is further from `want` than the dtype's tolerance (or `slack`, if that is more)
    /// allows, in words; `None` when they agree. NaN agrees with NaN, infinities with themselves.
    pub fn differs_from(&self, want: &RefArray, dtype: DType, slack: f64) -> Option<String> {
        if self.shape != want.shape {
            return Some(format!("the shape is {:?}, not {:?}", self.shape, want.shape));
        }
        let tolerance = super::tolerance(dtype).max(slack);
        let close =
            |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0);
        let bad = self.data.iter().zip(&want.data).position(|(&a, &b)| !close(a, b))?;
        let count = self.data.iter().zip(&want.data).filter(|&(&a, &b)| !close(a, b)).count();
        Some(format!(
            "element {bad} is {:?}, not {:?} ({count} of {} {dtype} elements of {:?} differ by more than {tolerance:e})",
            self.data[bad],
            want.data[bad],
            self.data.len(),
            self.shape
        ))
    }
}

/// An f64 as `dtype` holds it: an exact integer result wraps, a float rounds.
pub(crate) fn round_to(v: f64, dtype: DType) -> f64 {
    let wrap = |bits: i32, signed: bool| {
        let m = 2f64.powi(bits);
        if signed && (-m / 2.0..m / 2.0).contains(&v) {
            return v;
        }
        let r = v.rem_euclid(m); // Exact for what samples hold.
        if signed && r >= m / 2.0 { r - m } else { r }
    };
    match dtype {
        DType::Bool => f64::from(u8::from(v != 0.0)),
        DType::U8 => wrap(8, false),
        DType::I8 => wrap(8, true),
        DType::I16 => wrap(16, true),
        DType::I32 => wrap(32, true),
        // The largest i64 is 2^63 once it is read as f64.
        DType::I64 if v == 2f64.powi(63) => v,
        DType::I64 => wrap(64, true),
        DType::F16 => half::f16::from_f64(v).to_f64(),
        DType::BF16 => half::bf16::from_f64(v).to_f64(),
        DType::F32 => f64::from(v as f32),
        DType::F64 => v,
    }
}

/// A value of dtype `from` cast to dtype `to`: floats to integers truncate and saturate, integers wrap, NaN is 0 (or
/// true).
pub fn cast_value(v: f64, from: DType, to: DType) -> f64 {
    let ends = |bits: i32| (-2f64.powi(bits - 1), 2f64.powi(bits - 1) - 1.0);
    let (low, high) = match to {
        DType::U8 => (0.0, 255.0),
        DType::I8 => ends(8),
        DType::I16 => ends(16),
        DType::I32 => ends(32),
        DType::I64 => ends(64),
        _ => return round_to(v, to),
    };
    match v {
        _ if !from.is_float() => round_to(v, to),
        v if v.is_nan() => 0.0,
        v => v.trunc().clamp(low, high),
    }
}

/// The uniform number of element `i` of a stream, as [`crate::kernel::Random`] documents it.
pub fn uniform_at(key: Key, i: usize, dtype: DType) -> f64 {
    let i = i as u64;
    if dtype == DType::F64 {
        let words = block(key, i / 2);
        let first = 2 * (i % 2) as usize;
        return uniform_f64(words[first], words[first + 1]);
    }
    f64::from(uniform_f32(block(key, i / 4)[(i % 4) as usize]))
}

/// Calls `f` with every index of a shape, row-major.
pub fn each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        f(&index);
        let Some(d) = (0..shape.len()).rev().find(|&d| index[d] + 1 < shape[d]) else { return };
        index[d] += 1;
        index[d + 1..].fill(0);
    }
}

/// The shape that shapes broadcast to.
pub(crate) fn broadcast(shapes: &[&[usize]]) -> Vec<usize> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let size = |s: &[usize], back: usize| if back <= s.len() { s[s.len() - back] } else { 1 };
    // Sizes other than 1 agree.
    (1..=rank).rev().map(|back| shapes.iter().map(|s| size(s, back)).find(|&n| n != 1).unwrap_or(1)).collect()
}

/// A dimension as a user writes it; 0 for a scalar.
pub fn axis(dim: i64, rank: usize) -> usize {
    (if dim < 0 { dim + rank.max(1) as i64 } else { dim }) as usize
}

/// Dimensions as a user writes them, in the order written; all of them for an empty list.
pub fn axes(dims: &Axes, rank: usize) -> Vec<usize> {
    let dims = dims.get().unwrap_or(&[]);
    if dims.is_empty() || rank == 0 {
        return (0..rank).collect();
    }
    dims.iter().map(|&d| axis(d, rank)).collect()
}

/// The derivative of `f` at `x` by Ridders's extrapolation of central differences (Advances in Engineering Software
/// 4, 1982), good to about 1e-10 where `f` is smooth within 0.04 of `x`. It shares nothing with dual numbers.
pub fn slope(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    const ROWS: usize = 8;
    const SHRINK: f64 = 1.4;
    let mut h = 0.04;
    let mut previous = vec![(f(x + h) - f(x - h)) / (2.0 * h)];
    let (mut best, mut error) = (previous[0], f64::INFINITY);
    for _ in 1..ROWS {
        h /= SHRINK;
        let mut row = vec![(f(x + h) - f(x - h)) / (2.0 * h)];
        let mut factor = SHRINK * SHRINK;
        for j in 1..=previous.len() {
            row.push((row[j - 1] * factor - previous[j - 1]) / (factor - 1.0));
            factor *= SHRINK * SHRINK;
            let spread = (row[j] - row[j - 1]).abs().max((row[j] - previous[j - 1]).abs());
            if spread <= error {
                (best, error) = (row[j], spread);
            }
        }
        previous = row;
    }
    best
}

/// Mean and `1 / sqrt(variance + eps)` of a line.
pub(crate) fn moments(line: &[f64], eps: f64) -> (f64, f64) {
    let n = line.len() as f64;
    let mean = line.iter().sum::<f64>() / n;
    let variance = line.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.0 / (variance + eps).sqrt())
}
