//! Copies: the same values in another dtype or memory order.

use esker_ops::Array;
use esker_tensor::{DType, Layout, Result};
use half::{bf16, f16};

use crate::operand::{Shared, source, target};
use crate::strided::{Plan, Run};

/// Elements converted at a time.
const TILE: usize = 512;
/// Side of the square blocks that a transposing copy goes through, so that lines read are used before they leave.
const BLOCK: usize = 32;

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
        1 => moved::<u8>(&plan, layout, &from, p, to),
        2 => moved::<u16>(&plan, layout, &from, p, to),
        4 => moved::<u32>(&plan, layout, &from, p, to),
        _ => moved::<u64>(&plan, layout, &from, p, to),
    }
    Ok(())
}

fn moved<T: Copy>(plan: &Plan<2>, layout: &Layout, from: &Layout, p: Shared<u8>, to: Shared<u8>) {
    if let Some((outer, inner)) = transposing(layout, from) {
        return transpose::<T>(layout, from, outer, inner, p, to);
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

/// The dimension that is innermost in the source and the one that is innermost in the target, when they differ and both
/// are long enough for blocks.
fn transposing(layout: &Layout, from: &Layout) -> Option<(usize, usize)> {
    let innermost = |l: &Layout| (0..l.rank()).find(|&d| l.strides()[d] == 1 && l.shape()[d] > 1);
    let (inner, outer) = (innermost(layout)?, innermost(from)?);
    let shape = layout.shape();
    (inner != outer && shape[inner] >= 8 && shape[outer] >= 8).then_some((outer, inner))
}

fn transpose<T: Copy>(layout: &Layout, from: &Layout, outer: usize, inner: usize, p: Shared<u8>, to: Shared<u8>) {
    let shape = *layout.shape();
    let others: Vec<usize> = (0..shape.len()).filter(|&d| d != outer && d != inner).collect();
    let planes: usize = others.iter().map(|&d| shape[d]).product();
    let strips = shape[outer].div_ceil(BLOCK);
    let tasks = planes * strips;
    let grain = (32_768 / (BLOCK * shape[inner])).max(1);
    crate::threads::parallel_for(tasks, grain, &|range| {
        for task in range {
            let (mut plane, o0) = (task / strips, task % strips * BLOCK);
            let (mut t, mut s) = (0isize, 0isize);
            for &d in others.iter().rev() {
                let at = (plane % shape[d]) as isize;
                plane /= shape[d];
                t += at * layout.strides()[d];
                s += at * from.strides()[d];
            }
            let (p, to) = (p.get().cast::<T>().wrapping_offset(s), to.get().cast::<T>().wrapping_offset(t));
            let (to_outer, from_inner) = (layout.strides()[outer], from.strides()[inner]);
            for i0 in (0..shape[inner]).step_by(BLOCK) {
                for o in o0..(o0 + BLOCK).min(shape[outer]) {
                    for i in i0..(i0 + BLOCK).min(shape[inner]) {
                        // SAFETY: indices stay within both layouts; strips are disjoint.
                        unsafe {
                            *to.offset(o as isize * to_outer + i as isize) =
                                *p.offset(o as isize + i as isize * from_inner);
                        }
                    }
                }
            }
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
