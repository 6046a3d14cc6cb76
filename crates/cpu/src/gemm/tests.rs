use super::*;
use crate::isa::{self, Isa};
use crate::threads::set_num_threads;

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let key = esker_tensor::philox::Key(seed);
    (0..n).map(|i| esker_tensor::philox::uniform_f32(esker_tensor::philox::block(key, i as u64)[0]) - 0.5).collect()
}

/// A[m, k] with rows `ra`, columns `ca` apart, and so on.
fn product(size: (usize, usize, usize), a: &[f32], ta: bool, b: &[f32], tb: bool, accumulate: bool) -> Vec<f32> {
    let (m, n, k) = size;
    let mut c = vec![1.0f32; m * n];
    let a = Strided { p: a.as_ptr(), line: if ta { 1 } else { k as isize }, step: if ta { m as isize } else { 1 } };
    let b = Strided { p: b.as_ptr(), line: if tb { k as isize } else { 1 }, step: if tb { 1 } else { n as isize } };
    let out = Output { c: c.as_mut_ptr(), rs: n as isize, cs: 1, accumulate };
    // SAFETY: all matrices are as large as the sizes say.
    unsafe { gemm(size, &a, &b, out).unwrap() };
    c
}

fn reference((m, n, k): (usize, usize, usize), a: &[f32], ta: bool, b: &[f32], tb: bool) -> Vec<f64> {
    let at = |i: usize, p: usize| f64::from(if ta { a[p * m + i] } else { a[i * k + p] });
    let bt = |p: usize, j: usize| f64::from(if tb { b[j * k + p] } else { b[p * n + j] });
    (0..m * n).map(|x| (0..k).map(|p| at(x / n, p) * bt(p, x % n)).sum()).collect()
}

#[test]
fn products_agree_with_f64_in_every_orientation_and_on_every_instruction_set() {
    let sizes =
        [(1, 1, 1), (1, 70, 33), (14, 32, 300), (15, 33, 257), (29, 100, 64), (70, 3, 600), (200, 150, 520), (3, 5, 0)];
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        for size in sizes {
            let (m, n, k) = size;
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let expected = reference(size, &a, ta, &b, tb);
            let first = product(size, &a, ta, &b, tb, false);
            for (x, y) in first.iter().zip(&expected) {
                assert!((f64::from(*x) - y).abs() <= 1e-6 * (k as f64).sqrt().max(1.0), "{size:?}: {x} {y}");
            }
            let added = product(size, &a, ta, &b, tb, true);
            for (x, y) in added.iter().zip(&expected) {
                assert!((f64::from(*x) - y - 1.0).abs() <= 1e-6 * (k as f64).sqrt().max(1.0), "{size:?}: {x} {y}");
            }
        }
    }
}

#[test]
fn bits_depend_on_nothing_but_the_operands() {
    let _settings = crate::test_settings();
    let size = (120, 90, 700);
    let (a, b) = (numbers(120 * 700, 3), numbers(700 * 90, 4));
    let expected = product(size, &a, false, &b, false, false);
    for threads in [1, 2, 3] {
        set_num_threads(threads);
        for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
            if isa::force(Some(isa)).is_ok() {
                assert_eq!(product(size, &a, false, &b, false, false), expected, "{isa} {threads}");
                assert_eq!(product((1, 90, 700), &a[..700], false, &b, false, false)[..], expected[..90], "one row");
            }
        }
    }
    isa::force(None).unwrap();
}
