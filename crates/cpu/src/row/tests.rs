use esker_ops::{Array, F64Bits, Row};
use esker_tensor::{DType, Shape};

use crate::test::{from_f64, layouts, out, same_bits, seeded, signal};

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];
const SIZES: [usize; 8] = [1, 3, 16, 37, 64, 100, 768, 5000];

fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::F32 => 2e-6,
        DType::F16 => 4e-3,
        _ => 3e-2,
    }
}

fn near(got: &Array, want: &[f64], what: &str) {
    let tolerance = tolerance(got.dtype());
    for (i, (a, b)) in got.to_f64_vec().unwrap().iter().zip(want).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what} {} at {i}: {a} {b}", got.dtype());
    }
}

fn run(row: &Row, inputs: &[&Array], shapes: &[&[usize]]) -> Vec<Array> {
    let mut outputs: Vec<Array> = shapes.iter().map(|s| out(inputs[0].dtype(), s)).collect();
    super::run(row, inputs, &mut outputs).unwrap();
    outputs
}

fn rows(x: &Array, n: usize) -> Vec<Vec<f64>> {
    x.to_f64_vec().unwrap().chunks(n).map(<[f64]>::to_vec).collect()
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
    row.iter().map(|v| (v - top).exp() / sum).collect()
}

#[test]
fn softmax_and_gradients() {
    crate::register();
    for dtype in FLOATS {
        for n in SIZES {
            let shape: &[usize] = &[2, 3, n];
            let (x, dy) = (signal(dtype, shape), seeded(dtype, shape, 7));
            let want: Vec<f64> = rows(&x, n).iter().flat_map(|r| softmax(r)).collect();
            let logs: Vec<f64> = want.iter().map(|v| v.ln()).collect();
            for x in layouts(&x) {
                near(&run(&Row::Softmax, &[&x], &[shape])[0], &want, "softmax");
                near(&run(&Row::LogSoftmax, &[&x], &[shape])[0], &logs, "log_softmax");
            }
            let y = from_f64(dtype, &want, shape);
            let grads = rows(&y, n).into_iter().zip(rows(&dy, n)).flat_map(|(y, dy)| {
                let s: f64 = y.iter().zip(&dy).map(|(a, b)| a * b).sum();
                y.into_iter().zip(dy).map(move |(y, dy)| y * (dy - s)).collect::<Vec<_>>()
            });
            near(&run(&Row::SoftmaxGrad, &[&y, &dy], &[shape])[0], &grads.collect::<Vec<_>>(), "softmax_grad");
            let y = from_f64(dtype, &logs, shape);
            let grads = rows(&y, n).into_iter().zip(rows(&dy, n)).flat_map(|(y, dy)| {
                let s: f64 = dy.iter().sum();
                y.into_iter().zip(dy).map(move |(y, dy)| dy - y.exp() * s).collect::<Vec<_>>()
            });
            near(&run(&Row::LogSoftmaxGrad, &[&y, &dy], &[shape])[0], &grads.collect::<Vec<_>>(), "log_softmax_grad");
        }
    }
}

#[test]
fn softmax_of_extremes() {
    crate::register();
    let inf = f64::INFINITY;
    let x = from_f64(DType::F32, &[-inf, -inf, 1.0, -inf, 1e30, -1e30, f64::NAN, 0.0], &[4, 2]);
    let y = run(&Row::Softmax, &[&x], &[&[4, 2]])[0].to_f64_vec().unwrap();
    assert!(y[0].is_nan() && y[1].is_nan() && y[6].is_nan() && y[7].is_nan());
    assert_eq!(y[2..6], [1.0, 0.0, 1.0, 0.0]);
    run(&Row::Softmax, &[&signal(DType::F32, &[3, 0])], &[&[3, 0]]);
}

#[test]
fn normalize_and_gradient() {
    crate::register();
    for dtype in FLOATS {
        for (count, n) in SIZES.into_iter().map(|n| (5, n)).chain([(150, 3), (0, 3)]) {
            let shape: &[usize] = &[count, n];
            let (x, w, b) = (signal(dtype, shape), seeded(dtype, &[n], 8), seeded(dtype, &[n], 9));
            let stat = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let f = |x: &Array| x.to_f64_vec().unwrap();
            let eps = 1e-5;
            let (wv, bv) = (f(&w), f(&b));
            let (mut want, mut means, mut rstds) = (Vec::new(), Vec::new(), Vec::new());
            for r in rows(&x, n) {
                let mean = r.iter().sum::<f64>() / n as f64;
                let rstd = 1.0 / (r.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64 + eps).sqrt();
                want.extend(r.iter().zip(wv.iter().zip(&bv)).map(|(v, (w, b))| (v - mean) * rstd * w + b));
                means.push(mean);
                rstds.push(rstd);
            }
            for x in layouts(&x) {
                let mut got = [out(dtype, shape), out(stat, &[count, 1]), out(stat, &[count, 1])];
                super::run(&Row::Normalize { centre: true, eps: F64Bits::new(eps) }, &[&x, &w, &b], &mut got).unwrap();
                near(&got[0], &want, "normalize");
                near(&got[1], &means, "mean");
                near(&got[2], &rstds, "rstd");
            }
            let (mean, rstd, dy) =
                (seeded(stat, &[count, 1], 3), seeded(stat, &[count, 1], 4), seeded(dtype, shape, 5));
            let (means, rstds) = (f(&mean), f(&rstd));
            let (mut dx, mut dw, mut db) = (vec![], vec![0.0; n], vec![0.0; n]);
            for (r, (x, dy)) in rows(&x, n).iter().zip(rows(&dy, n)).enumerate().take(count) {
                let y: Vec<f64> = x.iter().map(|x| (x - means[r]) * rstds[r]).collect();
                let d: Vec<f64> = dy.iter().zip(&wv).map(|(d, w)| d * w).collect();
                let a = d.iter().sum::<f64>() / n as f64;
                let b = d.iter().zip(&y).map(|(d, y)| d * y).sum::<f64>() / n as f64;
                dx.extend(d.iter().zip(&y).map(|(d, y)| rstds[r] * (d - a - y * b)));
                for i in 0..n {
                    dw[i] += dy[i] * y[i];
                    db[i] += dy[i];
                }
            }
            let mut got = [out(dtype, shape), out(dtype, &[n]), out(dtype, &[n])];
            super::run(&Row::NormalizeGrad { centre: true }, &[&x, &w, &mean, &rstd, &dy], &mut got).unwrap();
            near(&got[0], &dx, "dx");
            near(&got[1], &dw, "dweight");
            near(&got[2], &db, "dbias");
        }
    }
}

#[test]
fn equals_share_the_gradient_of_an_extreme() {
    crate::register();
    for dtype in FLOATS {
        for n in SIZES {
            let values: Vec<f64> = (0..3 * n).map(|i| (i * 7 % 5) as f64).collect();
            let x = from_f64(dtype, &values, &[3, n]);
            let (y, dy) = (from_f64(dtype, &[4.0, 0.0, 9.0], &[3, 1]), from_f64(dtype, &[2.0, -3.0, 0.5], &[3, 1]));
            let mut want = Vec::new();
            for (row, (y, dy)) in rows(&x, n).iter().zip([(4.0, 2.0), (0.0, -3.0), (9.0, 0.5)]) {
                let count = row.iter().filter(|&&v| v == y).count() as f64;
                want.extend(row.iter().map(|&v| if v == y { dy / count } else { 0.0 * dy / count }));
            }
            let got = run(&Row::ExtremeGrad, &[&x, &y, &dy], &[&[3, n]])[0].to_f64_vec().unwrap();
            for (a, b) in got.iter().zip(&want) {
                assert!((a - b).abs() <= 1e-2 * b.abs() || (a.is_nan() && b.is_nan()), "{dtype} {n}: {a} {b}");
            }
        }
    }
}

#[test]
fn cross_entropy_and_gradient() {
    crate::register();
    for dtype in FLOATS {
        for n in SIZES {
            let x = signal(dtype, &[4, n]);
            let classes = [0, -100, n as i64 - 1, n as i64 / 2];
            let target = Array::from_slice(&classes, Shape::from([4])).unwrap();
            let got = run(&Row::CrossEntropy { ignore: -100 }, &[&x, &target], &[&[4], &[4]]);
            let dloss = seeded(dtype, &[4], 3);
            let (mut loss, mut lses, mut grads) = (Vec::new(), Vec::new(), Vec::new());
            for ((r, c), d) in rows(&x, n).iter().zip(classes).zip(dloss.to_f64_vec().unwrap()) {
                let lse = r.iter().map(|v| v.exp()).sum::<f64>().ln();
                lses.push(lse);
                loss.push(if c < 0 { 0.0 } else { lse - r[c as usize] });
                let hot = |i: usize| f64::from(i as i64 == c);
                grads.extend(softmax(r).iter().enumerate().map(|(i, p)| if c < 0 { 0.0 } else { d * (p - hot(i)) }));
            }
            near(&got[0], &loss, "loss");
            near(&got[1], &lses, "lse");
            let dx = run(&Row::CrossEntropyGrad { ignore: -100 }, &[&x, &target, &got[1], &dloss], &[&[4, n]]);
            near(&dx[0], &grads, "cross_entropy_grad");
        }
    }
    let x = signal(DType::F32, &[2, 3]);
    let target = Array::from_slice(&[0i64, 3], Shape::from([2])).unwrap();
    let mut outputs = [out(DType::F32, &[2]), out(DType::F32, &[2])];
    let error = super::run(&Row::CrossEntropy { ignore: -100 }, &[&x, &target], &mut outputs).unwrap_err();
    assert_eq!(error.to_string(), "the target of row 1 is 3, but there are 3 classes");
}

#[test]
fn bits_are_the_same_everywhere() {
    crate::register();
    for dtype in [DType::F32, DType::F64] {
        let (x, dy) = (signal(dtype, &[37, 5000]), seeded(dtype, &[37, 5000], 5));
        let shape: &[usize] = &[37, 5000];
        same_bits(|| {
            let mut all = run(&Row::Softmax, &[&x], &[shape]);
            all.extend(run(&Row::LogSoftmax, &[&x], &[shape]));
            all.extend(run(&Row::SoftmaxGrad, &[&x, &dy], &[shape]));
            all.extend(run(&Row::LogSoftmaxGrad, &[&x, &dy], &[shape]));
            let top = seeded(dtype, &[37, 1], 2);
            all.extend(run(&Row::ExtremeGrad, &[&x, &top, &top], &[shape]));
            let (w, stat) = (seeded(dtype, &[5000], 6), seeded(dtype, &[37, 1], 7));
            let eps = F64Bits::new(1e-5);
            all.extend(run(&Row::Normalize { centre: true, eps }, &[&x, &w, &w], &[shape, &[37, 1], &[37, 1]]));
            let mut grads = [out(dtype, shape), out(dtype, &[5000]), out(dtype, &[5000])];
            super::run(&Row::NormalizeGrad { centre: true }, &[&x, &w, &stat, &stat, &dy], &mut grads).unwrap();
            all.extend(grads);
            all
        });
    }
}
