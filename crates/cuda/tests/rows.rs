//! Folds, scans, rows, normalisation and optimisers' steps where they are long: in stages, in pieces, by blocks of threads.
//! Beside the CPU, as in `table.rs`.

#![allow(clippy::unwrap_used)]

use esker_ops::{
    AdamUpdate, Array, F64Bits, Fold, Kernel, MomentumUpdate, NormPass, Ops, Row, Share, Update, Value, View, backend,
};
use esker_tensor::{DType, Device, Dims, Layout, Shape};

/// The GPU under test; `None` where there is none to be had.
fn device() -> Option<Device> {
    esker_cpu::register();
    esker_cuda::open_for_tests(0).unwrap()
}

/// Numbers in [-1, 1) that look like any.
fn random(dtype: DType, shape: &[usize], seed: u64) -> Array {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| if dtype.is_float() { next() } else { (next() * 100.0).round() }).collect();
    Array::from_slice(&values, Shape::new(shape).unwrap()).unwrap().cast(dtype).unwrap()
}

fn classes(values: &[i64]) -> Array {
    Array::from_slice(values, Shape::new(&[values.len()]).unwrap()).unwrap()
}

fn moved(x: &Array, device: Device) -> Array {
    let bytes = x.storage().bytes();
    let to = backend(device).unwrap();
    let mut storage = to.alloc(bytes.len()).unwrap();
    to.write(bytes, &mut storage).unwrap();
    Array::new(x.dtype(), device, *x.layout(), storage).unwrap()
}

/// The outputs of a kernel, on the CPU.
fn run(kernel: &Kernel, x: &[Array], outputs: &[(DType, Layout)], device: Device) -> Vec<Array> {
    let x: Vec<Array> = x.iter().map(|x| if device == Device::Cpu { x.clone() } else { moved(x, device) }).collect();
    let uninit = |(dtype, layout): &(DType, Layout)| {
        let bytes = layout.shape().numel() * dtype.size();
        Array::new(*dtype, device, *layout, backend(device).unwrap().alloc(bytes).unwrap()).unwrap()
    };
    let mut y: Vec<Array> = outputs.iter().map(uninit).collect();
    backend(device).unwrap().run(kernel, &x.iter().collect::<Vec<_>>(), &mut y).unwrap();
    y.iter().map(|y| y.to_cpu().unwrap()).collect()
}

fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-11,
        DType::F32 => 3e-5,
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 0.0,
    }
}

fn near(got: &Array, want: &Array, what: &str) {
    let allowed = tolerance(got.dtype());
    for (i, (g, w)) in got.to_f64_vec().unwrap().into_iter().zip(want.to_f64_vec().unwrap()).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan());
        assert!(same || (g - w).abs() <= allowed * w.abs().max(1.0), "{what}: {g} at {i}, the CPU has {w}");
    }
}

fn check(kernel: &Kernel, x: &[Array], outputs: &[(DType, Layout)], device: Device) {
    let (got, want) = (run(kernel, x, outputs, device), run(kernel, x, outputs, Device::Cpu));
    let lies: Vec<_> = x.iter().map(|x| (x.dtype(), *x.shape(), *x.layout().strides())).collect();
    for (k, (got, want)) in got.iter().zip(&want).enumerate() {
        near(got, want, &format!("output {k} of {kernel:?} of {lies:?}"));
    }
}

fn dense(dtype: DType, shape: &[usize]) -> (DType, Layout) {
    (dtype, Layout::contiguous(Shape::new(shape).unwrap()))
}

/// The array, turned round in its last dimension, and with its dimensions in the opposite order in memory.
fn layouts(x: &Array) -> Vec<Array> {
    let rank = x.shape().len();
    let mut all = vec![x.clone()];
    if rank > 1 {
        let order: Dims = (0..rank as u8).rev().collect();
        all.push(x.view(&View::Permute(order)).unwrap().contiguous().unwrap().view(&View::Permute(order)).unwrap());
    }
    let len = x.shape()[rank - 1];
    all.push(x.view(&View::Slice { dim: rank - 1, start: len - 1, step: -1, len }).unwrap());
    all.push(x.view(&View::Slice { dim: 0, start: x.shape()[0] - 1, step: -1, len: x.shape()[0] }).unwrap());
    all
}

#[test]
fn folds() {
    let Some(device) = device() else { return };
    let shapes: [(&[usize], &[u8]); 12] = [
        (&[3, 1_100_000], &[0]),
        (&[3, 70_001], &[1]),
        (&[66_000], &[0]),
        (&[5000, 65], &[0]),
        (&[4000, 64], &[0]),
        (&[8, 5, 28, 28], &[0, 2, 3]),
        (&[64, 3, 7, 7], &[0, 2, 3]),
        (&[64, 3, 28, 28], &[0, 2, 3]),
        (&[9, 40, 17], &[1]),
        (&[300, 10], &[1]),
        (&[300, 100], &[1]),
        (&[2, 3, 600, 5], &[0, 2]),
    ];
    for (shape, dims) in shapes {
        let dims: Dims = dims.iter().copied().collect();
        let kept = shape.iter().enumerate().filter(|(d, _)| !dims.contains(&(*d as u8))).map(|(_, &n)| n);
        let kept: Vec<usize> = kept.collect();
        for dtype in [DType::F32, DType::BF16, DType::F64, DType::I64, DType::I8] {
            let x = random(dtype, shape, 3);
            let all = if x.shape().numel() > 1 << 20 { vec![x] } else { layouts(&x) };
            for x in all {
                let folds: &[Fold] = match dtype {
                    DType::F32 => &[Fold::Sum, Fold::Mean, Fold::Max],
                    DType::BF16 => &[Fold::Mean, Fold::Min],
                    DType::F64 | DType::I64 => &[Fold::Sum],
                    _ => &[Fold::Max, Fold::Min],
                };
                for &op in folds {
                    check(&Kernel::Reduce { op, dims }, std::slice::from_ref(&x), &[dense(dtype, &kept)], device);
                }
            }
        }
    }
}

#[test]
fn extremes() {
    let Some(device) = device() else { return };
    let shapes: [(&[usize], usize); 6] =
        [(&[3, 40_001], 1), (&[40_000, 5], 0), (&[2, 300, 70], 1), (&[50, 9], 1), (&[20, 1000], 1), (&[3, 9001], 1)];
    for (shape, dim) in shapes {
        let mut kept = shape.to_vec();
        kept.remove(dim);
        for dtype in [DType::F32, DType::BF16, DType::I8, DType::I64] {
            for x in layouts(&random(dtype, shape, 4)) {
                for largest in [true, false] {
                    let kernel = Kernel::ArgReduce { largest, dim };
                    check(&kernel, std::slice::from_ref(&x), &[dense(dtype, &kept), dense(DType::I64, &kept)], device);
                    check(&kernel, std::slice::from_ref(&x), &[dense(DType::I64, &kept)], device);
                }
            }
        }
    }
    // NaN wins wherever it is, and the first of several.
    for at in [0, 5, 9000, 39_999] {
        let mut values: Vec<f32> = (0..40_000).map(|i| (i * 7 % 5) as f32).collect();
        values[at] = f32::NAN;
        values[39_999] = f32::NAN;
        let x = Array::from_slice(&values, Shape::new(&[40_000]).unwrap()).unwrap();
        for largest in [true, false] {
            check(&Kernel::ArgReduce { largest, dim: 0 }, std::slice::from_ref(&x), &[dense(DType::I64, &[])], device);
        }
    }
}

#[test]
fn scans() {
    let Some(device) = device() else { return };
    let shapes: [(&[usize], usize); 7] = [
        (&[2, 70_001], 1),
        (&[20_000, 3], 0),
        (&[5, 700, 9], 1),
        (&[30, 40], 1),
        (&[30, 513], 1),
        (&[3, 5000], 1),
        (&[40_000], 0),
    ];
    for (shape, dim) in shapes {
        for dtype in [DType::F32, DType::BF16, DType::F64, DType::I64] {
            for x in layouts(&random(dtype, shape, 5)) {
                for (op, reverse) in [(Fold::Sum, false), (Fold::Sum, true), (Fold::Max, true), (Fold::Min, false)] {
                    check(&Kernel::Scan { op, dim, reverse }, std::slice::from_ref(&x), &[dense(dtype, shape)], device);
                }
            }
        }
    }
}

const LENGTHS: [usize; 12] = [1, 5, 64, 130, 768, 1000, 1500, 3072, 2048, 5003, 20_000, 50_257];

fn rows_of(n: usize) -> usize {
    if n > 10_000 { 2 } else { 5 }
}

#[test]
fn rows() {
    let Some(device) = device() else { return };
    for n in LENGTHS {
        let shape: &[usize] = &[rows_of(n), n];
        let one: &[usize] = &[rows_of(n), 1];
        for dtype in [DType::F32, DType::BF16, DType::F64] {
            let (x, dy) = (random(dtype, shape, 6), random(dtype, shape, 7));
            let spread = x.mul(&Array::scalar(20.0, dtype).unwrap()).unwrap();
            for row in [Row::Softmax, Row::LogSoftmax] {
                for x in layouts(&spread) {
                    check(&Kernel::Row(row), &[x], &[dense(dtype, shape)], device);
                }
            }
            for row in [Row::SoftmaxGrad, Row::LogSoftmaxGrad] {
                check(&Kernel::Row(row), &[x.clone(), dy.clone()], &[dense(dtype, shape)], device);
            }
            let whole = x.mul(&Array::scalar(3.0, dtype).unwrap()).unwrap().round(0).unwrap();
            let top = whole.amax(-1, true).unwrap();
            let share = random(dtype, one, 8);
            check(&Kernel::Row(Row::ExtremeGrad), &[whole, top, share], &[dense(dtype, shape)], device);
        }
    }
}

#[test]
fn rows_normalised() {
    let Some(device) = device() else { return };
    for n in LENGTHS {
        let count = if n < 1000 { 70 } else { rows_of(n) };
        let (shape, one): (&[usize], &[usize]) = (&[count, n], &[count, 1]);
        for dtype in [DType::F32, DType::BF16, DType::F64] {
            let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let (x, dy) = (random(dtype, shape, 6), random(dtype, shape, 7));
            let (weight, bias) = (random(dtype, &[n], 8), random(dtype, &[n], 9));
            let single = Array::scalar(1.5, dtype).unwrap().expand([n]).unwrap();
            for centre in [true, false] {
                let row = Kernel::Row(Row::Normalize { centre, eps: F64Bits::new(1e-5) });
                let outputs = [dense(dtype, shape), dense(wide, one), dense(wide, one)];
                check(&row, &[x.clone(), weight.clone(), bias.clone()], &outputs, device);
                check(&row, &[x.clone(), single.clone(), single.clone()], &outputs, device);
                let (mean, rstd) = (random(wide, one, 10), random(wide, one, 11));
                let row = Kernel::Row(Row::NormalizeGrad { centre });
                let outputs = [dense(dtype, shape), dense(dtype, &[n]), dense(dtype, &[n])];
                let inputs = [x.clone(), weight.clone(), mean, rstd, dy.clone()];
                check(&row, &inputs, &outputs, device);
            }
        }
    }
    // A mean that squares would drown in.
    let values: Vec<f32> = (0..3000).map(|i| 10_000.0 + (i * 7 % 16) as f32 / 8.0).collect();
    let x = Array::from_slice(&values, Shape::new(&[2, 1500]).unwrap()).unwrap();
    let one = Array::scalar(1.0, DType::F32).unwrap().expand([1500]).unwrap();
    let row = Kernel::Row(Row::Normalize { centre: true, eps: F64Bits::new(1e-5) });
    let outputs = [dense(DType::F32, &[2, 1500]), dense(DType::F32, &[2, 1]), dense(DType::F32, &[2, 1])];
    check(&row, &[x, one.clone(), one], &outputs, device);
}

#[test]
fn cross_entropy() {
    let Some(device) = device() else { return };
    for n in LENGTHS {
        let target = classes(&[0, -100, n as i64 - 1, n as i64 / 2]);
        for dtype in [DType::F32, DType::BF16, DType::F64] {
            let x = random(dtype, &[4, n], 6).mul(&Array::scalar(9.0, dtype).unwrap()).unwrap();
            let row = Kernel::Row(Row::CrossEntropy { ignore: -100 });
            let outputs = [dense(dtype, &[4]), dense(dtype, &[4])];
            check(&row, &[x.clone(), target.clone()], &outputs, device);
            let lse = run(&row, &[x.clone(), target.clone()], &outputs, Device::Cpu).pop().unwrap();
            let row = Kernel::Row(Row::CrossEntropyGrad { ignore: -100 });
            check(&row, &[x, target.clone(), lse, random(dtype, &[4], 7)], &[dense(dtype, &[4, n])], device);
        }
    }
    let x = <Array as Value>::of_values(random(DType::F32, &[2, 3], 1), device).unwrap();
    let target = <Array as Value>::of_values(classes(&[0, 3]), device).unwrap();
    let (loss, _) = x.cross_entropy_rows(&target, -100).unwrap();
    let error = loss.to_cpu().unwrap_err();
    assert_eq!(error.to_string(), "the target of row 1 is 3, but there are 3 classes");
}

#[test]
fn channels() {
    let Some(device) = device() else { return };
    let shapes: [(&[usize], usize); 6] = [
        (&[4, 6, 30, 30], 3),
        (&[16, 4, 64, 64], 2),
        (&[3, 16, 7, 7], 4),
        (&[70, 40], 8),
        (&[2, 3, 5], 1),
        (&[2, 48, 20, 20], 16),
    ];
    for (shape, groups) in shapes {
        for share in [Share::Batch, Share::Groups(groups)] {
            for dtype in [DType::F32, DType::BF16, DType::F64] {
                channels_of(shape, share, dtype, device);
            }
        }
    }
}

fn channels_of(shape: &[usize], share: Share, dtype: DType, device: Device) {
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let c = shape[1];
    let statistics: Vec<usize> = match share {
        Share::Batch => vec![c],
        Share::Groups(groups) => vec![shape[0], groups],
    };
    let (x, dy) = (random(dtype, shape, 6), random(dtype, shape, 7));
    let x = x.add(&Array::scalar(3.0, dtype).unwrap()).unwrap();
    let (weight, bias) = (random(dtype, &[c], 8), random(dtype, &[c], 9));
    let (mean, variance) = (random(wide, &statistics, 10), random(wide, &statistics, 11).square().unwrap());
    let rank = shape.len() as u8;
    let last: Dims = [0].into_iter().chain(2..rank).chain([1]).collect();
    let back: Dims = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let back = if rank == 2 { Dims::from([0, 1]) } else { back };
    let turned =
        |x: &Array| x.view(&View::Permute(last)).unwrap().contiguous().unwrap().view(&View::Permute(back)).unwrap();
    let eps = F64Bits::new(1e-2);
    for (x, dy) in [(x.clone(), dy.clone()), (turned(&x), turned(&dy)), (turned(&x), dy.clone())] {
        let y = (dtype, Layout::new(*x.shape(), *x.layout().strides(), 0));
        let kernel = Kernel::Norm { pass: NormPass::Forward, share, eps };
        let outputs = [y, dense(wide, &statistics), dense(wide, &statistics)];
        check(&kernel, &[x.clone(), weight.clone(), bias.clone()], &outputs, device);
        let kernel = Kernel::Norm { pass: NormPass::Grad, share, eps };
        let outputs = [y, dense(dtype, &[c]), dense(dtype, &[c])];
        check(&kernel, &[x, weight.clone(), mean.clone(), variance.clone(), dy], &outputs, device);
    }
}

#[test]
fn steps_have_the_bits_of_the_cpu() {
    let Some(device) = device() else { return };
    let adam = |keep, pull| AdamUpdate { keep, pull, betas: (0.9, 0.999), root: 1.1, eps: 1e-8, rate: 3e-3 };
    let momentum = |pull, fresh, nesterov| MomentumUpdate { pull, momentum: 0.9, fresh, nesterov, rate: 0.1 };
    let updates = [
        Update::Adam(adam(1.0, 0.0)),
        Update::Adam(adam(0.999, 0.01)),
        Update::Momentum(momentum(0.0, 1.0, false)),
        Update::Momentum(momentum(0.01, 0.9, true)),
    ];
    for dtype in [DType::F32, DType::F64] {
        for update in &updates {
            let states = if matches!(update, Update::Adam(_)) { 2 } else { 1 };
            let after = |device: Device| -> Vec<Vec<u64>> {
                let new = |seed| <Array as Value>::of_values(random(dtype, &[7, 143], seed), device).unwrap();
                let (mut p, grad) = (new(1), new(2));
                let mut memory: Vec<Array> = (0..states).map(|k| new(3 + k)).collect();
                memory.iter_mut().for_each(|m| *m = m.square().unwrap());
                let mut borrowed: Vec<&mut Array> = memory.iter_mut().collect();
                assert!(backend(device).unwrap().update(update, &mut p, &grad, &mut borrowed).unwrap());
                let bits = |x: &Array| x.to_f64_vec().unwrap().into_iter().map(f64::to_bits).collect();
                [p].iter().chain(&memory).map(bits).collect()
            };
            assert_eq!(after(Device::Cpu), after(device), "{dtype} {update:?}");
        }
    }
}
