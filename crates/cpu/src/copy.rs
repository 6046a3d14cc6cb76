//! Copies: the same values in another dtype or memory order.

use esker_ops::Array;
use esker_tensor::{DType, Layout, Result};
use half::{bf16, f16};

use crate::operand::{Shared, parallel, source, target};
use crate::stream;
use crate::strided::{Plan, Run};
use crate::transpose::{self, Plane, STRIP, Turn};

/// Elements converted at a time.
const TILE: usize = 512;

/// `y = x` in the dtype and layout of `y`.
///
/// # Errors
/// `Kernel` when the output is shared.
pub(crate) fn run(x: &Array, y: &mut Array) -> Result<()> {
    let layout = *y.layout();
    let dtype = y.dtype();
    let to = target::<u8>(y)?;
    to_place(x, to, &layout, dtype)
}

/// Writes `x` to the places of `layout` from `to` on (the layout's own offset is already in `to`).
///
/// # Errors
/// `Shape` when the shapes differ.
pub(crate) fn to_place(x: &Array, to: Shared<u8>, layout: &Layout, dtype: DType) -> Result<()> {
    let from = x.layout().expand(layout.shape())?;
    let plan = Plan::new([layout, &from]);
    let p = source::<u8>(x);
    if x.dtype() != dtype {
        let source_dtype = x.dtype();
        // SAFETY: the plan stays within both layouts; runs write different elements.
        plan.each(&|run| unsafe { convert(p.get(), source_dtype, to.get(), dtype, &run) });
        return Ok(());
    }
    match dtype.size() {
        1 => moved::<u8>(&plan, p, to),
        2 => moved::<u16>(&plan, p, to),
        4 => moved::<u32>(&plan, p, to),
        _ => moved::<u64>(&plan, p, to),
    }
    Ok(())
}

fn moved<T: Turn>(plan: &Plan<2>, p: Shared<u8>, to: Shared<u8>) {
    if let Some((columns, rows)) = transposing(plan) {
        return transpose::<T>(plan, columns, rows, p, to);
    }
    plan.each(&|run| {
        let (p, to) = (p.get().cast::<T>(), to.get().cast::<T>());
        let [t, s] = run.offsets;
        // SAFETY: the plan stays within both layouts; runs write different elements.
        unsafe {
            match run.strides {
                [1, 1] => std::ptr::copy_nonoverlapping(p.offset(s).cast_const(), to.offset(t), run.len),
                [1, 0] => std::slice::from_raw_parts_mut(to.offset(t), run.len).fill(*p.offset(s)),
                [dt, ds] => {
                    for i in 0..run.len as isize {
                        *to.offset(t + i * dt) = *p.offset(s + i * ds);
                    }
                }
            }
        }
    });
}

/// The dimension that is innermost in the target and the one that is innermost in the source, when they differ and both
/// are long enough for tiles.
fn transposing(plan: &Plan<2>) -> Option<(usize, usize)> {
    let innermost = |operand: usize| plan.dims().iter().position(|(n, steps)| *n >= 8 && steps[operand] == 1);
    let (columns, rows) = (innermost(0)?, innermost(1)?);
    (columns != rows).then_some((columns, rows))
}

/// Each plane of two dimensions by strips of rows.
fn transpose<T: Turn>(plan: &Plan<2>, columns: usize, rows: usize, p: Shared<u8>, to: Shared<u8>) {
    let dims = plan.dims();
    let (width, [_, from_step]) = dims[columns];
    let (height, [to_step, _]) = dims[rows];
    let others: Vec<_> = (0..dims.len()).filter(|&d| d != columns && d != rows).map(|d| dims[d]).collect();
    let planes: usize = others.iter().map(|(n, _)| n).product();
    let strips = height.div_ceil(STRIP);
    let past = planes * height * width * size_of::<T>() >= stream::LARGE;
    parallel(planes * strips, STRIP.min(height) * width, &|tasks| {
        for task in tasks {
            let (mut rest, row) = (task / strips, task % strips * STRIP);
            let (mut t, mut s) = (row as isize * to_step, row as isize);
            for &(n, steps) in others.iter().rev() {
                let at = (rest % n) as isize;
                rest /= n;
                t += at * steps[0];
                s += at * steps[1];
            }
            let from = p.get().cast::<T>().wrapping_offset(s);
            let to = to.get().cast::<T>().wrapping_offset(t);
            let rows = STRIP.min(height - row);
            // SAFETY: the strip lies within both layouts; strips are disjoint.
            unsafe { transpose::plane(&Plane { from, from_step, to, to_step, rows, columns: width }, past) }
        }
    });
}

/// Converts a run: integers by way of i64, floats by way of f64, both of which hold every value of their kind.
unsafe fn convert(p: *const u8, from: DType, to: *mut u8, dtype: DType, run: &Run<2>) {
    let [t, s] = run.offsets;
    let [dt, ds] = run.strides;
    let (mut floats, mut ints) = ([0f64; TILE], [0i64; TILE]);
    for start in (0..run.len).step_by(TILE) {
        let n = TILE.min(run.len - start);
        let (t, s) = (t + start as isize * dt, s + start as isize * ds);
        // SAFETY: the run's elements, as the caller vouches.
        unsafe {
            if from.is_float() {
                let x = &mut floats[..n];
                match from {
                    DType::F16 => read::<f16, f64>(p, s, ds, x, f16::to_f64),
                    DType::BF16 => read::<bf16, f64>(p, s, ds, x, bf16::to_f64),
                    DType::F32 => read::<f32, f64>(p, s, ds, x, f64::from),
                    _ => read::<f64, f64>(p, s, ds, x, |x| x),
                }
                store_floats(x, to, t, dt, dtype);
            } else {
                let x = &mut ints[..n];
                match from {
                    DType::I64 => read::<i64, i64>(p, s, ds, x, |x| x),
                    DType::I32 => read::<i32, i64>(p, s, ds, x, i64::from),
                    DType::I16 => read::<i16, i64>(p, s, ds, x, i64::from),
                    DType::I8 => read::<i8, i64>(p, s, ds, x, i64::from),
                    _ => read::<u8, i64>(p, s, ds, x, i64::from),
                }
                store_ints(x, to, t, dt, dtype);
            }
        }
    }
}

#[inline(always)]
unsafe fn read<S: Copy, M>(p: *const u8, at: isize, stride: isize, to: &mut [M], f: impl Fn(S) -> M) {
    for (i, x) in to.iter_mut().enumerate() {
        // SAFETY: as the caller vouches.
        *x = f(unsafe { *p.cast::<S>().offset(at + i as isize * stride) });
    }
}

#[inline(always)]
unsafe fn write<M: Copy, S>(from: &[M], to: *mut u8, at: isize, stride: isize, f: impl Fn(M) -> S) {
    for (i, &x) in from.iter().enumerate() {
        // SAFETY: as the caller vouches.
        unsafe { *to.cast::<S>().offset(at + i as isize * stride) = f(x) };
    }
}

/// Floats to anything: integers truncate and saturate, NaN gives 0.
unsafe fn store_floats(x: &[f64], to: *mut u8, t: isize, dt: isize, dtype: DType) {
    // SAFETY: as the caller vouches.
    unsafe {
        match dtype {
            DType::Bool => write(x, to, t, dt, |x| u8::from(x != 0.0)),
            DType::U8 => write(x, to, t, dt, |x| x as u8),
            DType::I8 => write(x, to, t, dt, |x| x as i8),
            DType::I16 => write(x, to, t, dt, |x| x as i16),
            DType::I32 => write(x, to, t, dt, |x| x as i32),
            DType::I64 => write(x, to, t, dt, |x| x as i64),
            DType::F16 => write(x, to, t, dt, f16::from_f64),
            DType::BF16 => write(x, to, t, dt, bf16::from_f64),
            DType::F32 => write(x, to, t, dt, |x| x as f32),
            DType::F64 => write(x, to, t, dt, |x| x),
        }
    }
}

/// Integers to anything: smaller integers wrap.
unsafe fn store_ints(x: &[i64], to: *mut u8, t: isize, dt: isize, dtype: DType) {
    // SAFETY: as the caller vouches.
    unsafe {
        match dtype {
            DType::Bool => write(x, to, t, dt, |x| u8::from(x != 0)),
            DType::U8 => write(x, to, t, dt, |x| x as u8),
            DType::I8 => write(x, to, t, dt, |x| x as i8),
            DType::I16 => write(x, to, t, dt, |x| x as i16),
            DType::I32 => write(x, to, t, dt, |x| x as i32),
            DType::I64 => write(x, to, t, dt, |x| x),
            DType::F16 => write(x, to, t, dt, |x| f16::from_f64(x as f64)),
            DType::BF16 => write(x, to, t, dt, |x| bf16::from_f64(x as f64)),
            DType::F32 => write(x, to, t, dt, |x| x as f32),
            DType::F64 => write(x, to, t, dt, |x| x as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_tensor::{DType, Layout, Shape};

    use crate::operand;
    use crate::test::{bits, copied, same_bits, signal};

    /// Copies to every order of three dimensions, from every order.
    fn orders(dtype: DType, sizes: [usize; 3]) {
        const ORDERS: [[u8; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let shape = Shape::from(sizes);
        let x = signal(dtype, &sizes);
        let dense = |order: [u8; 3]| Layout::dense(shape, &order.into_iter().collect());
        for (from, to) in ORDERS.into_iter().flat_map(|a| ORDERS.map(|b| (a, b))) {
            let from = copied(&x, dense(from));
            same_bits(|| {
                let mut y = operand::uninit(dtype, dense(to)).unwrap();
                y.storage_mut().make_mut().unwrap().fill(0xa5);
                super::run(&from, &mut y).unwrap();
                assert!(bits(&y) == bits(&x), "{dtype} {sizes:?} {to:?}");
                vec![y]
            });
        }
    }

    #[test]
    fn copies_between_all_orders_are_exact() {
        crate::register();
        for dtype in [DType::U8, DType::BF16, DType::F32, DType::I64] {
            for sizes in [[2, 17, 40], [3, 8, 9], [1, 300, 33], [20, 7, 64]] {
                orders(dtype, sizes);
            }
        }
    }

    #[test]
    fn large_copies_go_past_the_caches_and_are_exact() {
        crate::register();
        // Rows of the target that are aligned to cache lines, and rows that are not.
        let cases =
            [(DType::U8, 4160, 1025), (DType::BF16, 1056, 2043), (DType::F32, 2064, 521), (DType::F64, 1032, 515)];
        for (dtype, columns, rows) in cases {
            large(dtype, [3, columns, rows]);
            large(dtype, [3, columns + 5, rows]);
        }
    }

    fn large(dtype: DType, sizes: [usize; 3]) {
        let x = signal(dtype, &sizes);
        let mut y = operand::uninit(dtype, Layout::dense(*x.shape(), &[0u8, 2, 1].into_iter().collect())).unwrap();
        super::run(&x, &mut y).unwrap();
        assert!(bits(&y) == bits(&x), "{dtype} {sizes:?}");
    }
}
