//! Kernel calls larger than the table's samples, and numbers that must have the CPU's bits, beside the CPU.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{OnceLock, PoisonError, RwLock};

use esker_ops::kernel::{Conv2d, Pool2d};
use esker_ops::{Array, ConvPass, F64Bits, Kernel, Meta, PoolPass, Put, Random, Value, backend};
use esker_tensor::philox::{Key, block};
use esker_tensor::{DType, Device, Dims, Layout, Shape};

/// What a kernel finds wrong is told to whoever waits next, so a call that fails does not run beside others.
static ALONE: RwLock<()> = RwLock::new(());

/// The GPU under test: the real one, or an emulated one; `None` where there is neither.
fn device() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        esker_cpu::register();
        esker_cuda::open_for_tests(0).unwrap()
    })
}

/// Whole numbers below `below` that look random.
fn numbers(n: usize, below: u64, seed: u64) -> Vec<i64> {
    (0..n as u64).map(|i| (u64::from(block(Key(seed), i)[0]) % below) as i64).collect()
}

/// Values of few digits, so that many are equal.
fn values(dtype: DType, shape: &[usize], seed: u64) -> Array {
    let shape = Shape::new(shape).unwrap();
    let all: Vec<f64> = numbers(shape.numel(), 2001, seed).into_iter().map(|v| (v - 1000) as f64 / 64.0).collect();
    let wide = Array::from_slice(&all, shape).unwrap();
    let mut y = [Array::uninit(&wide.meta().with_dtype(dtype), Layout::contiguous(shape)).unwrap()];
    backend(Device::Cpu).unwrap().run(&Kernel::Copy, &[&wide], &mut y).unwrap();
    let [y] = y;
    y
}

/// An output to be: dtype, shape, whether channels lie last.
type Out<'a> = (DType, &'a [usize], bool);

fn call(device: Device, kernel: &Kernel, x: &[&Array], outs: &[Out<'_>]) -> Vec<Array> {
    let x: Vec<Array> = x.iter().map(|x| <Array as Value>::of_values((*x).clone(), device).unwrap()).collect();
    let make = |(dtype, shape, last): &Out<'_>| {
        let shape = Shape::new(shape).unwrap();
        let layout = if *last { Layout::dense(shape, &Dims::from([0, 2, 3, 1])) } else { Layout::contiguous(shape) };
        Array::uninit(&Meta { dtype: *dtype, shape, device }, layout).unwrap()
    };
    let mut y: Vec<Array> = outs.iter().map(make).collect();
    backend(device).unwrap().run(kernel, &x.iter().collect::<Vec<_>>(), &mut y).unwrap();
    y.iter().map(|y| y.to_cpu().unwrap()).collect()
}

fn bits(x: &Array) -> Vec<u8> {
    let x = x.contiguous().unwrap();
    let size = x.dtype().size();
    x.storage().bytes()[x.layout().offset() * size..][..x.shape().numel() * size].to_vec()
}

/// That both devices give the same bits.
fn same(device: Device, kernel: &Kernel, x: &[&Array], outs: &[Out<'_>]) {
    let (want, got) = (call(Device::Cpu, kernel, x, outs), call(device, kernel, x, outs));
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!(bits(got) == bits(want), "output {i} of {kernel:?} for {outs:?}");
    }
}

/// That both give the same within a part of the largest value.
fn near(device: Device, kernel: &Kernel, x: &[&Array], outs: &[Out<'_>], part: f64) {
    let (want, got) = (call(Device::Cpu, kernel, x, outs), call(device, kernel, x, outs));
    for (got, want) in got.iter().zip(&want) {
        let (got, want) = (got.to_f64_vec().unwrap(), want.to_f64_vec().unwrap());
        let most = want.iter().fold(1.0f64, |most, v| most.max(v.abs()));
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            assert!((g - w).abs() <= part * most, "element {i} of {kernel:?} for {outs:?}: {g} and {w}");
        }
    }
}

#[test]
fn random_numbers_have_the_bits_of_the_cpu() {
    let Some(device) = device() else { return };
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let (low, high) = (F64Bits::new(-1.7), F64Bits::new(3.1));
    let key = Key(0x1234_5678_9abc_def0);
    for dtype in DType::ALL {
        let outs: &[Out<'_>] = &[(dtype, &[20_001], false)];
        same(device, &Kernel::Random(Random::Fill(high)), &[], outs);
        same(device, &Kernel::Random(Random::Arange { start: low, step: high }), &[], outs);
        same(device, &Kernel::Random(Random::Uniform { low, high, key }), &[], outs);
        same(device, &Kernel::Random(Random::Normal { mean: low, std: high, key }), &[], outs);
        let x = values(dtype, &[20_001], 3);
        same(device, &Kernel::Random(Random::Dropout { p: F64Bits::new(0.3), key }), &[&x], outs);
    }
    // Many of both kinds: rare branches of the functions too.
    for dtype in [DType::F32, DType::F64] {
        let kernel = Kernel::Random(Random::Normal { mean: F64Bits::new(0.0), std: F64Bits::new(1.0), key: Key(7) });
        same(device, &kernel, &[], &[(dtype, &[1_000_000], false)]);
    }
}

#[test]
fn long_and_short_lines_are_sorted() {
    let Some(device) = device() else { return };
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for dtype in DType::ALL {
        for (shape, dim) in
            [([2, 5000], 1), ([4097, 1], 0), ([300, 33], 1), ([33, 300], 0), ([1, 2048], 1), ([3, 9000], 1)]
        {
            let x = values(dtype, &shape, 5);
            for descending in [false, true] {
                let outs: &[Out<'_>] = &[(dtype, &shape, false), (DType::I64, &shape, false)];
                same(device, &Kernel::Sort { dim, descending }, &[&x], outs);
            }
        }
    }
    for dtype in [DType::F32, DType::F64, DType::U8] {
        let n = (1 << 20) + 77;
        let outs: &[Out<'_>] = &[(dtype, &[n], false), (DType::I64, &[n], false)];
        same(device, &Kernel::Sort { dim: 0, descending: false }, &[&values(dtype, &[n], 6)], outs);
    }
}

#[test]
fn rows_are_added_in_their_order() {
    let Some(device) = device() else { return };
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for (count, size, inner) in
        [(70, 9, 5), (3000, 40, 8), (9000, 700, 12), (9000, 70_000, 1), (5000, 1, 33), (2048, 3, 4)]
    {
        let index = Array::from_slice(&numbers(count, size as u64, 11), Shape::from([count])).unwrap();
        for dtype in [DType::F32, DType::BF16, DType::F64, DType::I8, DType::I64] {
            let (src, base) = (values(dtype, &[2, count, inner], 1), values(dtype, &[2, size, inner], 2));
            let outs: &[Out<'_>] = &[(dtype, &[2, size, inner], false)];
            same(device, &Kernel::Scatter { dim: 1 }, &[&index, &src], outs);
            same(device, &Kernel::Scatter { dim: 1 }, &[&base, &index, &src], outs);
            same(device, &Kernel::Gather { dim: 1 }, &[&base, &index], &[(dtype, &[2, count, inner], false)]);
        }
    }
}

#[test]
fn elements_are_put_in_their_order() {
    let Some(device) = device() else { return };
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    for (shape, sizes, dim) in
        [([7, 50, 6], [5, 900, 6], 1), ([400, 3, 1], [9000, 3, 1], 0), ([2, 3, 700], [2, 2, 5000], 2)]
    {
        let index =
            Array::from_slice(&numbers(sizes.iter().product(), shape[dim] as u64, 4), Shape::from(sizes)).unwrap();
        for dtype in [DType::F32, DType::F16, DType::U8, DType::I64] {
            let (x, src) = (values(dtype, &shape, 1), values(dtype, &sizes, 2));
            same(device, &Kernel::GatherElements { dim }, &[&x, &index], &[(dtype, &sizes, false)]);
            for put in [Put::Replace, Put::Sum, Put::Prod, Put::Max, Put::Min] {
                same(device, &Kernel::ScatterElements { dim, put }, &[&x, &index, &src], &[(dtype, &shape, false)]);
            }
        }
    }
}

#[test]
fn an_index_out_of_range_is_told_as_on_the_cpu() {
    let Some(device) = device() else { return };
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let x = values(DType::F32, &[3, 2], 1);
    let index = Array::from_slice(&[0i64, 2, 3], Shape::from([3])).unwrap();
    let told = |device| {
        let to = |x: &Array| <Array as Value>::of_values(x.clone(), device).unwrap();
        let meta = Meta { dtype: DType::F32, shape: Shape::from([3, 2]), device };
        let mut y = [Array::uninit(&meta, Layout::contiguous(meta.shape)).unwrap()];
        let run = backend(device).unwrap().run(&Kernel::Gather { dim: 0 }, &[&to(&x), &to(&index)], &mut y);
        run.and_then(|()| y[0].to_cpu()).unwrap_err().to_string()
    };
    assert_eq!(told(device), told(Device::Cpu));
}

#[test]
fn convolutions_of_every_geometry() {
    let Some(device) = device() else { return };
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let geometry = |stride, padding, dilation, groups| Conv2d { stride, padding, dilation, groups };
    let cases = [
        ([2, 6, 13, 11], [8, 3, 3], geometry([1, 1], [1, 1], [1, 1], 2)),
        ([2, 5, 13, 11], [7, 3, 2], geometry([2, 3], [1, 0], [1, 2], 1)),
        ([1, 4, 17, 16], [4, 4, 3], geometry([3, 2], [2, 1], [2, 1], 4)),
        ([2, 32, 9, 9], [70, 1, 1], geometry([1, 1], [0, 0], [1, 1], 1)),
        ([2, 16, 9, 9], [24, 1, 1], geometry([2, 2], [0, 0], [1, 1], 1)),
        ([3, 80, 20, 20], [72, 3, 3], geometry([1, 1], [1, 1], [1, 1], 1)),
        ([1, 3, 12, 12], [16, 5, 5], geometry([4, 4], [2, 2], [1, 1], 1)),
        ([2, 8, 10, 10], [16, 3, 3], geometry([1, 1], [1, 1], [1, 1], 8)),
        ([4, 48, 40, 40], [64, 3, 3], geometry([2, 2], [1, 1], [1, 1], 1)),
        ([1, 4, 200, 180], [4, 2, 3], geometry([1, 1], [1, 1], [1, 1], 1)),
        ([1, 3, 200, 180], [5, 2, 3], geometry([1, 1], [1, 1], [1, 1], 1)),
    ];
    for (x, [k, r, s], conv) in cases {
        let [n, c, h, w] = x;
        let reach = |axis: usize, size: usize, taps: usize| {
            (size + 2 * conv.padding[axis] - conv.dilation[axis] * (taps - 1) - 1) / conv.stride[axis] + 1
        };
        let y = [n, k, reach(0, h, r), reach(1, w, s)];
        let f = [k, c / conv.groups, r, s];
        for (dtype, part) in [(DType::F32, 1e-5), (DType::F64, 1e-13), (DType::F16, 2e-3), (DType::BF16, 1e-2)] {
            for last in [false, true] {
                let (xs, fs, ys) = (values(dtype, &x, 1), values(dtype, &f, 2), values(dtype, &y, 3));
                near(device, &Kernel::Conv(ConvPass::Forward, conv), &[&xs, &fs], &[(dtype, &y, last)], part);
                near(device, &Kernel::Conv(ConvPass::Input, conv), &[&ys, &fs], &[(dtype, &x, last)], part);
                near(device, &Kernel::Conv(ConvPass::Weight, conv), &[&xs, &ys], &[(dtype, &f, last)], part);
            }
        }
    }
}

#[test]
fn pooling_goes_there_and_back_by_any_index() {
    let Some(device) = device() else { return };
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let pool = Pool2d { kernel: [3, 2], stride: [2, 1], padding: [1, 1], dilation: [1, 2], ceil: false };
    let (wide, narrow) = ([2, 20, 11, 9], [2, 20, 6, 9]);
    let index = |seed| Array::from_slice(&numbers(2 * 20 * 6 * 9, 99, seed), Shape::from(narrow)).unwrap();
    for dtype in [DType::F32, DType::BF16, DType::I32] {
        for last in [false, true] {
            let (x, dy) = (values(dtype, &wide, 1), values(dtype, &narrow, 2));
            let max = Kernel::Pool(PoolPass::Max, pool);
            same(device, &max, &[&x], &[(dtype, &narrow, last), (DType::I64, &narrow, last)]);
            let found = call(Device::Cpu, &max, &[&x], &[(dtype, &narrow, false), (DType::I64, &narrow, false)]);
            let back = Kernel::Pool(PoolPass::MaxInput, pool);
            same(device, &back, &[&dy, &found[1]], &[(dtype, &wide, last)]);
            near(device, &back, &[&dy, &index(9)], &[(dtype, &wide, last)], 0.02);
            same(device, &Kernel::Pool(PoolPass::MaxGather, pool), &[&x, &index(9)], &[(dtype, &narrow, last)]);
        }
    }
}
