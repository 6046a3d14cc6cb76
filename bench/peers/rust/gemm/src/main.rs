//! The gemm crate by itself, with its AVX-512 kernels: what a matrix product in Rust reaches.
use std::convert::Infallible;

use bench_common::{Bench, GEMMS};
use gemm::{Parallelism, gemm};

fn main() {
    let b = Bench::new("gemm");
    let parallelism = if b.threads > 1 { Parallelism::Rayon(b.threads) } else { Parallelism::None };
    for (m, k, n) in GEMMS {
        let (x, y, mut z) = (vec![0.5f32; m * k], vec![0.25f32; k * n], vec![0f32; m * n]);
        let (x_row, y_row, z_row) = (k as isize, n as isize, n as isize);
        b.run(&format!("gemm_{m}x{k}x{n}_fwd"), || {
            let (z, x, y) = (z.as_mut_ptr(), x.as_ptr(), y.as_ptr());
            // SAFETY: the vectors are as large as the sizes say; they are row-major, so that the column stride is 1.
            unsafe {
                gemm(
                    m,
                    n,
                    k,
                    z,
                    1,
                    z_row,
                    false,
                    x,
                    1,
                    x_row,
                    y,
                    1,
                    y_row,
                    0f32,
                    1f32,
                    false,
                    false,
                    false,
                    parallelism,
                );
            }
            Ok::<_, Infallible>(())
        });
    }
    b.finish()
}
