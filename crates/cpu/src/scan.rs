//! Running folds along a dimension, element after element, f32 in f64; sums of floats along the innermost dimension go
//! in [`eights`].

mod eights;

use std::ops::Range;

use esker_ops::{Array, Fold};
use esker_tensor::{DType, Error, Result};

use crate::lanes::{self, Lanes, Num, Task, larger, smaller};
use crate::operand::{self, Shared, is_half, parallel, source, split_at, target, with_order};

/// Runs the fold along `dim`.
///
/// # Errors
/// `Unavailable` for a mean and for booleans; those of copies.
pub(crate) fn run(op: Fold, dim: usize, reverse: bool, x: &Array, y: &mut Array) -> Result<()> {
    if op == Fold::Mean {
        return Err(Error::unavailable("a running mean has no kernel; divide a running sum by the positions"));
    }
    if is_half(x.dtype()) {
        let outputs = std::slice::from_mut(y);
        return operand::through_f32(&[x], outputs, |x, y| run(op, dim, reverse, x[0], &mut y[0]));
    }
    let x = x.contiguous()?;
    let order = (0..y.shape().len() as u8).collect();
    let [outer, size, inner] = split_at(x.shape(), dim);
    let eights = op == Fold::Sum && inner == 1;
    with_order(y, &order, |y| match x.dtype() {
        DType::F32 if eights => {
            eights::run::<f32>(source(&x), target(y)?, outer, size, reverse);
            Ok(())
        }
        DType::F64 if eights => {
            eights::run::<f64>(source(&x), target(y)?, outer, size, reverse);
            Ok(())
        }
        DType::F32 => fold_as::<f32>(op, dim, reverse, &x, y),
        DType::F64 => fold_as::<f64>(op, dim, reverse, &x, y),
        DType::U8 => fold_as::<u8>(op, dim, reverse, &x, y),
        DType::I8 => fold_as::<i8>(op, dim, reverse, &x, y),
        DType::I16 => fold_as::<i16>(op, dim, reverse, &x, y),
        DType::I32 => fold_as::<i32>(op, dim, reverse, &x, y),
        DType::I64 => fold_as::<i64>(op, dim, reverse, &x, y),
        dtype => Err(Error::unavailable(format!("a running fold of {dtype} has no kernel; cast it first"))),
    })
}

/// An element and what it accumulates in.
trait Running: Num {
    type Acc: Num;
    fn widen(self) -> Self::Acc;
    fn narrow(acc: Self::Acc) -> Self;
}

macro_rules! running {
    ($($t:ty: $acc:ty)*) => {$(
        impl Running for $t {
            type Acc = $acc;
            #[inline(always)]
            fn widen(self) -> $acc { self as $acc }
            #[inline(always)]
            fn narrow(acc: $acc) -> $t { acc as $t }
        }
    )*};
}
running! { f32: f64 f64: f64 u8: u8 i8: i8 i16: i16 i32: i32 i64: i64 }

/// Inner positions that one task runs side by side.
const BLOCK: usize = 64;

fn fold_as<T: Running>(op: Fold, dim: usize, reverse: bool, x: &Array, y: &mut Array) -> Result<()> {
    let [outer, size, inner] = split_at(x.shape(), dim);
    let (x, y) = (source::<T>(x), target::<T>(y)?);
    let blocks = inner.div_ceil(BLOCK);
    parallel(outer * blocks, size * BLOCK.min(inner), &|items| {
        let task = Blocks { x, y, items, size, inner, reverse, op };
        // SAFETY: the geometry is that of the arrays, which have the same shape; items are disjoint columns.
        unsafe { lanes::run(task) }
    });
    Ok(())
}

/// Blocks of neighbouring columns, each folded from one end to the other.
struct Blocks<T> {
    x: Shared<T>,
    y: Shared<T>,
    items: Range<usize>,
    size: usize,
    inner: usize,
    reverse: bool,
    op: Fold,
}

impl<T: Running> Task<T> for Blocks<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        // SAFETY: the caller vouches for the geometry.
        unsafe {
            match self.op {
                Fold::Sum | Fold::Mean => self.fold(T::Acc::ZERO, |a, b| a.plus(b)),
                Fold::Prod => self.fold(T::Acc::ONE, |a, b| a.times(b)),
                Fold::Max => self.fold(T::Acc::LOWEST, larger),
                Fold::Min => self.fold(T::Acc::HIGHEST, smaller),
            }
        }
    }
}

impl<T: Running> Blocks<T> {
    #[inline(always)]
    unsafe fn fold(self, first: T::Acc, f: impl Fn(T::Acc, T::Acc) -> T::Acc) {
        if self.inner == 1 {
            return self.lines(first, f);
        }
        let blocks = self.inner.div_ceil(BLOCK);
        for item in self.items {
            let start = item % blocks * BLOCK;
            let width = BLOCK.min(self.inner - start);
            let mut acc = [first; BLOCK];
            for step in 0..self.size {
                let i = if self.reverse { self.size - 1 - step } else { step };
                let at = (item / blocks * self.size + i) * self.inner + start;
                // SAFETY: row `i` of this block lies within both arrays.
                let (x, y) = unsafe {
                    (
                        std::slice::from_raw_parts(self.x.at(at), width),
                        std::slice::from_raw_parts_mut(self.y.at(at), width),
                    )
                };
                for ((acc, &x), y) in acc.iter_mut().zip(x).zip(y) {
                    *acc = f(*acc, x.widen());
                    *y = T::narrow(*acc);
                }
            }
        }
    }
}

impl<T: Running> Blocks<T> {
    /// As [`Blocks::fold`] where the dimension is the innermost one.
    #[inline(always)]
    fn lines(self, first: T::Acc, f: impl Fn(T::Acc, T::Acc) -> T::Acc) {
        for item in self.items {
            let at = item * self.size;
            // SAFETY: line `item` lies within both arrays, as the caller of `run` vouches.
            let (x, y) = unsafe {
                (
                    std::slice::from_raw_parts(self.x.at(at), self.size),
                    std::slice::from_raw_parts_mut(self.y.at(at), self.size),
                )
            };
            let mut acc = first;
            let mut step = |x: &T, y: &mut T| {
                acc = f(acc, x.widen());
                *y = T::narrow(acc);
            };
            if self.reverse {
                x.iter().zip(y).rev().for_each(|(x, y)| step(x, y));
            } else {
                x.iter().zip(y).for_each(|(x, y)| step(x, y));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_ops::Fold;
    use esker_tensor::DType;

    use crate::test::{from_f64, layouts, out, same_bits, signal};

    fn check(op: Fold, dtype: DType, shape: [usize; 3], dim: usize, reverse: bool) {
        let x = signal(dtype, &shape);
        let mut want = x.to_f64_vec().unwrap();
        let inner: usize = shape[dim + 1..].iter().product();
        for start in 0..want.len() {
            let i = start / inner % shape[dim];
            if i != 0 {
                continue;
            }
            let places: Vec<usize> = (0..shape[dim]).map(|j| start + j * inner).collect();
            let places: Vec<usize> = if reverse { places.into_iter().rev().collect() } else { places };
            for pair in places.windows(2) {
                let (a, b) = (want[pair[0]], want[pair[1]]);
                want[pair[1]] = match op {
                    Fold::Sum => a + b,
                    Fold::Prod => a * b,
                    Fold::Max => a.max(b),
                    _ => a.min(b),
                };
            }
        }
        let tolerance = if crate::operand::is_half(dtype) { 1e-2 } else { 1e-5 };
        for x in layouts(&x) {
            let mut y = out(dtype, &shape);
            super::run(op, dim, reverse, &x, &mut y).unwrap();
            for (a, b) in y.to_f64_vec().unwrap().iter().zip(&want) {
                assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{op:?} {dtype} {shape:?} {dim}: {a} {b}");
            }
        }
    }

    #[test]
    fn agrees_with_a_plain_loop() {
        crate::register();
        let sizes =
            [([2, 3, 100], 2), ([2, 9, 100], 1), ([7, 1, 1], 0), ([3, 0, 2], 1), ([2, 3, 0], 2), ([2, 3, 16], 2)];
        for (shape, dim) in sizes {
            for reverse in [false, true] {
                for dtype in [DType::F32, DType::F64, DType::I64, DType::I32, DType::BF16] {
                    check(Fold::Sum, dtype, shape, dim, reverse);
                    check(Fold::Max, dtype, shape, dim, reverse);
                    check(Fold::Min, dtype, shape, dim, reverse);
                }
                check(Fold::Prod, DType::F64, shape, dim, reverse);
            }
        }
    }

    #[test]
    fn a_long_sum_stays_near() {
        crate::register();
        let n = 100_003;
        let values: Vec<f64> = (0..n).map(|i| f64::from((0.1 + (i * 37 % 101) as f32 * 0.013).sin())).collect();
        for reverse in [false, true] {
            let mut y = out(DType::F32, &[n]);
            super::run(Fold::Sum, 0, reverse, &from_f64(DType::F32, &values, &[n]), &mut y).unwrap();
            let (mut sum, got) = (0.0, y.to_f64_vec().unwrap());
            for step in 0..n {
                let i = if reverse { n - 1 - step } else { step };
                let x = f64::from(values[i] as f32);
                sum += x;
                // Half a unit each for what came before and for the last addition, and those within eights.
                let bound = 1.25 * f64::from(f32::EPSILON) * (sum.abs() + 8.0);
                assert!((got[i] - sum).abs() <= bound, "{reverse} {i}: {} {sum}", got[i]);
            }
        }
    }

    #[test]
    fn infinities_and_nan_run_on_from_their_place() {
        crate::register();
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for dtype in [DType::F32, DType::F64] {
            for at in 0..20 {
                let mut values = vec![-0.0; 20];
                values[at] = inf;
                values[19] = if at == 19 { inf } else { -inf };
                let mut y = out(dtype, &[20]);
                super::run(Fold::Sum, 0, false, &from_f64(dtype, &values, &[20]), &mut y).unwrap();
                for (i, y) in y.to_f64_vec().unwrap().into_iter().enumerate() {
                    let want = if i < at {
                        0.0
                    } else if i < 19 || at == 19 {
                        inf
                    } else {
                        nan
                    };
                    assert!(y == want || (y.is_nan() && want.is_nan()), "{at} {i} {y}");
                }
            }
        }
    }

    #[test]
    fn same_bits_everywhere() {
        crate::register();
        for dtype in [DType::F32, DType::F64] {
            let x = signal(dtype, &[30, 40, 70]);
            same_bits(|| {
                let run = |dim, reverse| {
                    let mut y = out(dtype, &[30, 40, 70]);
                    super::run(Fold::Sum, dim, reverse, &x, &mut y).unwrap();
                    y
                };
                vec![run(0, false), run(1, true), run(2, false), run(2, true)]
            });
        }
    }
}
