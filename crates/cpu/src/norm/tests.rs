use esker_ops::{Array, NormPass, Share};
use esker_tensor::{DType, Dims, Layout};

use crate::operand::{copy, uninit};
use crate::test::{from_f64, out, same_bits, seeded, signal};

const EPS: f64 = 1e-5;

/// Shapes whose channels are cut in every way: whole images, some of one, pieces of one, one element, no spatial
/// dimension, more channels than a block.
fn shapes() -> Vec<(&'static [usize], Share)> {
    vec![
        (&[3, 5, 7, 7], Share::Batch),
        (&[2, 17, 2500], Share::Batch),
        (&[5, 16, 520], Share::Batch),
        (&[13, 3, 500], Share::Batch),
        (&[2, 2, 5000], Share::Batch),
        (&[2100, 9], Share::Batch),
        (&[20, 150], Share::Batch),
        (&[1, 1, 1], Share::Batch),
        (&[0, 3, 2], Share::Batch),
        (&[7, 12, 3, 11], Share::Groups(4)),
        (&[2, 8, 2100], Share::Groups(2)),
        (&[30, 6], Share::Groups(3)),
    ]
}

fn last(rank: usize) -> Dims {
    [0].into_iter().chain(2..rank as u8).chain([1]).collect()
}

/// The same values channels-last.
fn turned(x: &Array) -> Array {
    let mut y = uninit(x.dtype(), Layout::dense(*x.shape(), &last(x.shape().len()))).unwrap();
    copy(x, &mut y).unwrap();
    y
}

fn statistic(shape: &[usize], share: Share) -> Vec<usize> {
    match share {
        Share::Batch => vec![shape[1]],
        Share::Groups(groups) => vec![shape[0], groups],
    }
}

/// The number of the mean that element `i`, row-major, goes into, and its channel.
fn group(shape: &[usize], share: Share, i: usize) -> (usize, usize) {
    let size: usize = shape[2..].iter().product();
    let (image, channel) = (i / size / shape[1], i / size % shape[1]);
    match share {
        Share::Batch => (channel, channel),
        Share::Groups(groups) => (image * groups + channel / (shape[1] / groups), channel),
    }
}

/// Sums by key.
fn sums(keys: usize, values: impl Iterator<Item = (usize, f64)>) -> Vec<f64> {
    let mut sums = vec![0.0; keys];
    values.for_each(|(key, value)| sums[key] += value);
    sums
}

fn near(got: &Array, want: &[f64], what: &str) {
    let tolerance = match got.dtype() {
        DType::F64 => 1e-12,
        DType::F32 => 4e-6,
        DType::F16 => 4e-3,
        _ => 3e-2,
    };
    let scale = want.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    for (i, (a, b)) in got.to_f64_vec().unwrap().iter().zip(want).enumerate() {
        let near = (a - b).abs() <= tolerance * scale || (a.is_nan() && b.is_nan());
        assert!(near, "{what} {} at {i}: {a} {b}", got.dtype());
    }
}

fn forward(share: Share, x: &Array, w: &Array, b: &Array) -> [Array; 3] {
    let stat = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let of = statistic(x.shape(), share);
    let y = uninit(x.dtype(), Layout::new(*x.shape(), *x.layout().strides(), 0)).unwrap();
    let mut to = [y, out(stat, &of), out(stat, &of)];
    super::run(NormPass::Forward, share, EPS, &[x, w, b], &mut to).unwrap();
    to
}

fn backward(share: Share, [x, w, mean, variance, dy]: [&Array; 5]) -> [Array; 3] {
    let dx = uninit(x.dtype(), Layout::new(*x.shape(), *x.layout().strides(), 0)).unwrap();
    let mut to = [dx, out(x.dtype(), &[x.shape()[1]]), out(x.dtype(), &[x.shape()[1]])];
    super::run(NormPass::Grad, share, EPS, &[x, w, mean, variance, dy], &mut to).unwrap();
    to
}

#[test]
fn forwards_and_backwards() {
    crate::register();
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for (shape, share) in shapes() {
            let c = shape[1];
            let (x, dy) = (signal(dtype, shape), seeded(dtype, shape, 5));
            let (w, b) = (seeded(dtype, &[c], 8), seeded(dtype, &[c], 9));
            let f = |x: &Array| x.to_f64_vec().unwrap();
            let (xs, dys, ws, bs) = (f(&x), f(&dy), f(&w), f(&b));
            let of = |i: usize| group(shape, share, i);
            let groups: usize = statistic(shape, share).iter().product();
            let count = (xs.len() / groups.max(1)) as f64;
            let means: Vec<f64> =
                sums(groups, xs.iter().enumerate().map(|(i, x)| (of(i).0, *x))).iter().map(|s| s / count).collect();
            let squares = xs.iter().enumerate().map(|(i, x)| (of(i).0, (x - means[of(i).0]).powi(2)));
            let variances: Vec<f64> = sums(groups, squares).iter().map(|s| s / count).collect();
            let normal: Vec<f64> =
                xs.iter().enumerate().map(|(i, x)| (x - means[of(i).0]) / (variances[of(i).0] + EPS).sqrt()).collect();
            let want: Vec<f64> = normal.iter().enumerate().map(|(i, n)| n * ws[of(i).1] + bs[of(i).1]).collect();
            let scaled = |i: usize| dys[i] * ws[of(i).1];
            let plain = sums(groups, (0..xs.len()).map(|i| (of(i).0, scaled(i) / count)));
            let along = sums(groups, (0..xs.len()).map(|i| (of(i).0, scaled(i) * normal[i] / count)));
            let dx: Vec<f64> = (0..xs.len())
                .map(|i| {
                    let k = of(i).0;
                    (scaled(i) - plain[k] - normal[i] * along[k]) / (variances[k] + EPS).sqrt()
                })
                .collect();
            let dweight = sums(c, (0..xs.len()).map(|i| (of(i).1, dys[i] * normal[i])));
            let dbias = sums(c, (0..xs.len()).map(|i| (of(i).1, dys[i])));
            for (x, dy) in [(x.clone(), dy.clone()), (turned(&x), turned(&dy)), (turned(&x), dy.clone())] {
                let how = format!("{shape:?} {share:?} lying {:?}", x.layout().strides());
                let [y, mean, variance] = forward(share, &x, &w, &b);
                near(&y, &want, &how);
                near(&mean, &means, &how);
                near(&variance, &variances, &how);
                let [dx_, dw, db] = backward(share, [&x, &w, &mean, &variance, &dy]);
                near(&dx_, &dx, &format!("dx of {how}"));
                near(&dw, &dweight, &format!("dweight of {how}"));
                near(&db, &dbias, &format!("dbias of {how}"));
            }
        }
    }
}

/// A mean that the squares would drown in, and a first element far from all others.
#[test]
fn large_means_do_not_cancel() {
    crate::register();
    for first in [10_000.25, -3.0] {
        let mut values: Vec<f64> = (0..12_000).map(|i| 10_000.0 + (i * 7 % 16) as f64 / 8.0).collect();
        values[0] = first;
        let x = from_f64(DType::F32, &values, &[3, 1, 4000]);
        let one = from_f64(DType::F32, &[1.0], &[1]);
        let mean = values.iter().sum::<f64>() / 12_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 12_000.0;
        let [_, _, got] = forward(Share::Batch, &x, &one, &one);
        let got = got.to_f64_vec().unwrap()[0];
        assert!((got / variance - 1.0).abs() < 1e-5, "{got} {variance}");
    }
}

#[test]
fn bits_are_the_same_everywhere() {
    crate::register();
    for (shape, share) in shapes() {
        let c = shape[1];
        let (x, dy) = (signal(DType::F32, shape), seeded(DType::F32, shape, 5));
        let (w, b) = (seeded(DType::F32, &[c], 8), seeded(DType::F32, &[c], 9));
        let (x_last, dy_last) = (turned(&x), turned(&dy));
        let all = |x: &Array, dy: &Array| -> Vec<Array> {
            let [y, mean, variance] = forward(share, x, &w, &b);
            let grads = backward(share, [x, &w, &mean, &variance, dy]);
            [y, mean, variance].into_iter().chain(grads).collect()
        };
        let bits = |all: Vec<Array>| -> Vec<Vec<u64>> {
            all.iter().map(|a| a.to_f64_vec().unwrap().into_iter().map(f64::to_bits).collect()).collect()
        };
        assert!(bits(all(&x, &dy)) == bits(all(&x_last, &dy_last)), "{shape:?} {share:?} channels-last");
        same_bits(|| all(&x, &dy));
        same_bits(|| all(&x_last, &dy_last));
    }
}

/// Results that go past the caches.
#[test]
fn large_results_are_the_same() {
    crate::register();
    let shape: &[usize] = &[2, 16, 98_304];
    let (x, w) = (signal(DType::F32, shape), seeded(DType::F32, &[16], 8));
    let [y, mean, _] = forward(Share::Batch, &x, &w, &w);
    let [turned_y, turned_mean, _] = forward(Share::Batch, &turned(&x), &w, &w);
    assert_eq!(mean.to_f64_vec().unwrap(), turned_mean.to_f64_vec().unwrap());
    assert!(y.to_f64_vec().unwrap() == turned_y.to_f64_vec().unwrap());
    let small = x.view(&esker_ops::View::Slice { dim: 1, start: 3, step: 1, len: 1 }).unwrap();
    let w = from_f64(DType::F32, &w.to_f64_vec().unwrap()[3..4], &[1]);
    let [part, ..] = forward(Share::Batch, &small.contiguous().unwrap(), &w, &w);
    let y = y.view(&esker_ops::View::Slice { dim: 1, start: 3, step: 1, len: 1 }).unwrap();
    assert!(y.to_f64_vec().unwrap() == part.to_f64_vec().unwrap(), "as plain stores");
}
