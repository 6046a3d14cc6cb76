//! How far the f32 functions are from the exact values.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use esker_ops::{Array, Map, MapOp};
use esker_tensor::{DType, Layout, Shape};

use super::tests::Reference;
use crate::F32_BOUNDS;
use crate::operand::uninit;

/// Distance in units in the last place of f32.
fn ulps(got: f32, want: f64) -> f64 {
    if got.is_nan() && want.is_nan()
        || f64::from(got) == want
        || (got.is_infinite() && want.abs() > f64::from(f32::MAX))
    {
        return 0.0;
    }
    let rounded = want as f32;
    let unit = f64::from((f32::from_bits(rounded.abs().to_bits() + 1) - rounded.abs()).max(f32::from_bits(1)));
    (f64::from(got) - want).abs() / unit
}

/// The greatest distance over some inputs, and the input.
fn worst(op: MapOp, x: &[f32]) -> (f64, f32) {
    let shape = Shape::from([x.len()]);
    let input = Array::from_slice(x, shape).unwrap();
    let mut y = uninit(DType::F32, Layout::contiguous(shape)).unwrap();
    super::run(Map::Value(op), &[&input], &mut y).unwrap();
    let distance = |(got, &x): (f32, &f32)| (ulps(got, op.visit(Reference([f64::from(x); 3])).0), x);
    y.to_vec::<f32>().unwrap().into_iter().zip(x).map(distance).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn check(op: MapOp, bound: f64, (distance, at): (f64, f32)) {
    println!("{op:?}: {distance:.3} of {bound} ulp at {at:e} ({:#x})", at.to_bits());
    assert!(distance <= bound, "{op:?}: {distance} ulp at {at:e}, bound {bound}");
}

#[test]
fn f32_functions_stay_within_their_bounds_over_all_magnitudes() {
    // Every 4,099th bit pattern: all exponents, both signs, denormals, infinities, NaN.
    let x: Vec<f32> = (0..=u32::MAX).step_by(4_099).map(f32::from_bits).collect();
    F32_BOUNDS.iter().for_each(|&(op, bound)| check(op, bound, worst(op, &x)));
}

/// `cargo test -p esker-cpu every_f32 -- --ignored --nocapture`: half an hour on two cores. `ESKER_ROWS=exp,erf`
/// walks only functions whose names contain one of these.
#[test]
#[ignore = "walks all 2^32 numbers"]
fn f32_functions_stay_within_their_bounds_on_every_f32() {
    const PART: u64 = 1 << 16;
    let only = std::env::var("ESKER_ROWS").unwrap_or_default();
    let wanted = |op: MapOp| only.split(',').any(|part| op.info().name.contains(part));
    for &(op, bound) in F32_BOUNDS.iter().filter(|(op, _)| wanted(*op)) {
        let (next, most) = (AtomicU64::new(0), Mutex::new((0.0, 0.0)));
        let work = || {
            loop {
                let start = next.fetch_add(PART, Ordering::Relaxed);
                if start > u64::from(u32::MAX) {
                    return;
                }
                let x: Vec<f32> = (start..start + PART).map(|bits| f32::from_bits(bits as u32)).collect();
                let found = worst(op, &x);
                let mut most = most.lock().unwrap();
                if found.0 > most.0 {
                    *most = found;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        check(op, bound, most.into_inner().unwrap());
    }
}
