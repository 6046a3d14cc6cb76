//! Matrix products in GFLOP/s beside the `gemm` crate, run in turn: `cargo run --release --example gemm_bench`.
#![allow(unsafe_code)]

use std::time::Instant;

use esker_cpu::{bench_gemm_f32, set_num_threads};

/// Rows, columns, steps, and whether B is stored as `[n, k]`.
const CASES: [(usize, usize, usize, bool); 11] = [
    (16, 16, 16, false),
    (64, 64, 64, false),
    (256, 256, 256, false),
    (512, 512, 512, false),
    (1024, 1024, 1024, false),
    (1024, 1024, 1024, true),
    (1, 3072, 768, true),
    (1, 3072, 768, false),
    (8, 3072, 768, true),
    (32, 3072, 768, true),
    (128, 3072, 768, true),
];

/// Seconds that each of two functions takes, as medians of runs in turn, some milliseconds each.
fn medians(mut f: impl FnMut(), mut g: impl FnMut(), flops: f64) -> [f64; 2] {
    let inner = (1e8 / flops).ceil() as usize;
    let timed = |h: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..inner).for_each(|_| h());
        start.elapsed().as_secs_f64() / inner as f64
    };
    let (mut x, mut y): (Vec<f64>, Vec<f64>) = (0..25).map(|_| (timed(&mut f), timed(&mut g))).skip(3).unzip();
    x.sort_by(f64::total_cmp);
    y.sort_by(f64::total_cmp);
    [x[x.len() / 2], y[y.len() / 2]]
}

/// `c = a b` by the `gemm` crate.
fn peer((m, n, k): (usize, usize, usize), a: &[f32], b: &[f32], tb: bool, c: &mut [f32], threads: usize) {
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
    let (b_row, b_col) = if tb { (1, k as isize) } else { (n as isize, 1) };
    let (a_row, c_row) = (k as isize, n as isize);
    let parallelism = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    // SAFETY: the slices are as large as the sizes say.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            c_row,
            false,
            a,
            1,
            a_row,
            b,
            b_col,
            b_row,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn main() -> esker_tensor::Result<()> {
    println!("{:>26} {:>8} {:>8} {:>8} {:>6}", "m x n x k", "threads", "esker", "gemm", "ratio");
    for (m, n, k, tb) in CASES {
        let a: Vec<f32> = (0..m * k).map(|i| (i * 7 % 13) as f32 - 6.0).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i * 5 % 11) as f32 - 5.0).collect();
        let (mut c, mut d) = (vec![0.0f32; m * n], vec![0.0f32; m * n]);
        let flops = 2.0 * (m * n * k) as f64;
        for threads in [1, 2] {
            set_num_threads(threads);
            bench_gemm_f32((m, n, k), &a, false, &b, tb, &mut c)?;
            peer((m, n, k), &a, &b, tb, &mut d, threads);
            assert!(c == d, "whole numbers are multiplied without rounding");
            let [x, y] = medians(
                || drop(bench_gemm_f32((m, n, k), &a, false, &b, tb, &mut c)),
                || peer((m, n, k), &a, &b, tb, &mut d, threads),
                flops,
            );
            let size = format!("{m} x {n} x {k} {}", if tb { "NT" } else { "NN" });
            let (x, y) = (flops / x / 1e9, flops / y / 1e9);
            println!("{size:>26} {threads:>8} {x:>8.1} {y:>8.1} {:>6.2}", x / y);
        }
    }
    Ok(())
}
