use super::*;
use crate::isa::{self, Isa};
use crate::threads::{num_threads, set_num_threads};

type Size = (usize, usize, usize);

/// Floats from -0.5 to 0.5.
trait Number: Element + Into<f64> {
    const EPSILON: f64;
    fn from_f32(x: f32) -> Self;
}

impl Number for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    fn from_f32(x: f32) -> Self {
        x
    }
}

impl Number for f64 {
    const EPSILON: f64 = f64::EPSILON;
    fn from_f32(x: f32) -> Self {
        // Not a float of 32 bits.
        f64::from(x) / 3.0
    }
}

fn numbers<T: Number>(n: usize, seed: u64) -> Vec<T> {
    let key = esker_tensor::philox::Key(seed);
    let number = |i| esker_tensor::philox::uniform_f32(esker_tensor::philox::block(key, i as u64)[0]) - 0.5;
    (0..n).map(|i| T::from_f32(number(i))).collect()
}

/// Dense, or stored transposed: the distances between lines and between steps.
fn strides(lines: usize, steps: usize, transposed: bool) -> (isize, isize) {
    if transposed { (1, lines as isize) } else { (steps as isize, 1) }
}

/// `1 + A B` or `A B`, with A `[m, k]` or `[k, m]`, B `[k, n]` or `[n, k]`.
fn product<T: Number>((m, n, k): Size, a: &[T], ta: bool, b: &[T], tb: bool, accumulate: bool) -> Vec<T> {
    let mut c = vec![T::from_f32(1.0); m * n];
    let ((a_line, a_step), (b_line, b_step)) = (strides(m, k, ta), strides(n, k, !tb));
    let a = Strided { p: a.as_ptr(), line: a_line, step: a_step };
    let b = Strided { p: b.as_ptr(), line: b_line, step: b_step };
    let out = Output { c: c.as_mut_ptr(), rs: n as isize, cs: 1, accumulate, bias: None };
    // SAFETY: all matrices are as large as the sizes say.
    unsafe { gemm((m, n, k), &a, &b, out).unwrap() };
    c
}

/// The product in f64 and the sum of the magnitudes of its terms.
fn reference<T: Number>((m, n, k): Size, a: &[T], ta: bool, b: &[T], tb: bool) -> Vec<(f64, f64)> {
    let at = |i: usize, p: usize| -> f64 { a[if ta { p * m + i } else { i * k + p }].into() };
    let bt = |p: usize, j: usize| -> f64 { b[if tb { j * k + p } else { p * n + j }].into() };
    let terms = |x: usize| (0..k).map(move |p| at(x / n, p) * bt(p, x % n));
    (0..m * n).map(|x| (terms(x).sum(), terms(x).map(f64::abs).sum())).collect()
}

fn check<T: Number>(size: Size, ta: bool, tb: bool, accumulate: bool) {
    let (m, n, k) = size;
    let (a, b) = (numbers::<T>(m * k, 1), numbers::<T>(k * n, 2));
    let start: f64 = if accumulate { T::from_f32(1.0).into() } else { 0.0 };
    let got = product(size, &a, ta, &b, tb, accumulate);
    for (i, (x, (want, scale))) in got.into_iter().zip(reference(size, &a, ta, &b, tb)).enumerate() {
        let (x, want): (f64, f64) = (x.into(), want + start);
        let bound = T::EPSILON * ((k as f64).sqrt() + 2.0) * (scale + start);
        assert!((x - want).abs() <= bound, "{size:?} {ta} {tb} element {i}: {x}, not {want}");
    }
}

/// Sizes around the edges of tiles, blocks of k, few rows and many.
const SIZES: [Size; 14] = [
    (1, 1, 1),
    (1, 70, 33),
    (70, 1, 300),
    (14, 32, 256),
    (15, 33, 257),
    (29, 100, 64),
    (70, 3, 600),
    (3, 5, 0),
    (168, 140, 12),
    (169, 129, 9),
    (200, 150, 520),
    (340, 31, 77),
    (2, 4100, 5),
    (180, 4100, 2),
];

#[test]
fn products_agree_with_f64_in_every_orientation() {
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        for size in SIZES {
            check::<f32>(size, ta, tb, false);
            check::<f32>(size, ta, tb, true);
            check::<f64>(size, ta, tb, true);
        }
        for i in 0..70 {
            // Sizes from 1 to 70, each of them once for m, n and k.
            check::<f32>((i + 1, i * 29 % 70 + 1, i * 43 % 70 + 1), ta, tb, i % 2 == 0);
            check::<f64>((i * 43 % 70 + 1, i + 1, i * 29 % 70 + 1), ta, tb, i % 2 == 1);
        }
    }
}

#[test]
fn more_of_a_than_is_packed_at_a_time() {
    check::<f32>((100, 40, 3000), false, false, true);
    check::<f32>((168, 5, 1700), true, true, false);
}

/// Runs `f` under every instruction set that there is and with 1, 2 and 3 threads.
fn everywhere(f: impl Fn(&str)) {
    let _settings = crate::test_settings();
    let before = num_threads();
    for threads in [1, 2, 3] {
        set_num_threads(threads);
        for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
            if isa::force(Some(isa)).is_ok() {
                f(&format!("{isa}, {threads} threads"));
            }
        }
    }
    isa::force(None).unwrap();
    set_num_threads(before);
}

/// The chain of fused steps of the block of k from `k0` on, for element `x` of C.
fn block(x: usize, (_, n, k): Size, k0: usize, a: &[f32], b: &[f32]) -> f32 {
    (k0..(k0 + KC).min(k)).fold(0.0f32, |s, p| a[x / n * k + p].mul_add(b[p * n + x % n], s))
}

/// One chain of fused steps for each block of k, the blocks added in order: what the module promises.
fn promised(size: Size, a: &[f32], b: &[f32]) -> Vec<f32> {
    let (m, n, k) = size;
    let blocks = |x| (0..k).step_by(KC).map(move |k0| block(x, size, k0, a, b));
    (0..m * n).map(|x| blocks(x).reduce(|s, c| s + c).unwrap()).collect()
}

#[test]
fn bits_are_the_promised_ones_everywhere() {
    let sizes = [(1, 90, 700), (120, 90, 700), (200, 70, 300), (90, 1, 515), (300, 5, 40)];
    let cases = sizes.map(|(m, n, k)| ((m, n, k), numbers::<f32>(m * k, 3), numbers::<f32>(k * n, 4)));
    let wanted = cases.each_ref().map(|(size, a, b)| promised(*size, a, b));
    let doubles = (numbers::<f64>(60 * 300, 5), numbers::<f64>(300 * 40, 6));
    let double = || product((60, 40, 300), &doubles.0, false, &doubles.1, true, false);
    let want = double();
    everywhere(|name| {
        for ((size, a, b), want) in cases.iter().zip(&wanted) {
            assert!(product(*size, a, false, b, false, false) == *want, "{size:?}: {name}");
        }
        assert!(double() == want, "f64: {name}");
    });
}

/// The transpose of a `[rows, columns]` matrix.
fn turned(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
}

#[test]
fn bits_of_a_single_row_column_or_step_are_the_promised_ones_in_every_orientation() {
    // Blocks of k one, two and four at a time; columns that fill no register, no eight, no task.
    let sizes =
        [(1, 1, 3), (1, 7, 1290), (1, 70, 1030), (1, 530, 300), (1, 33, 2600), (9, 1, 700), (37, 21, 1), (300, 129, 1)];
    for (m, n, k) in sizes {
        let (a, b) = (numbers::<f32>(m * k, 16), numbers::<f32>(k * n, 17));
        let (at, bt) = (turned(&a, m, k), turned(&b, k, n));
        let want = promised((m, n, k), &a, &b);
        let more: Vec<f32> =
            (0..m * n).map(|x| (0..k).step_by(KC).fold(1.0, |s, k0| s + block(x, (m, n, k), k0, &a, &b))).collect();
        everywhere(|name| {
            for (a, ta) in [(&a, false), (&at, true)] {
                for (b, tb) in [(&b, false), (&bt, true)] {
                    assert!(product((m, n, k), a, ta, b, tb, false) == want, "{m} {n} {k} {ta} {tb}: {name}");
                    assert!(product((m, n, k), a, ta, b, tb, true) == more, "{m} {n} {k} {ta} {tb}, added: {name}");
                }
            }
        });
    }
}

#[test]
fn bits_of_a_row_do_not_depend_on_the_others() {
    let (n, k) = (100, 600);
    let (a, b) = (numbers::<f32>(500 * k, 7), numbers::<f32>(k * n, 8));
    for tb in [false, true] {
        let all = product((500, n, k), &a, false, &b, tb, false);
        for m in [1, 2, 7, 13, 14, 15, 168, 169, 200] {
            assert!(product((m, n, k), &a[..m * k], false, &b, tb, false) == all[..m * n], "{m} rows");
        }
        let last = product((1, n, k), &a[499 * k..], false, &b, tb, false);
        assert!(last == all[499 * n..], "the last row alone");
    }
}

#[test]
fn strides_of_any_kind_and_nothing_else_touched() {
    for (m, n, k) in [(20, 37, 41), (3, 2, 300), (200, 9, 20)] {
        let (a, b) = (numbers::<f32>(m * k, 9), numbers::<f32>(k * n, 10));
        let want = product((m, n, k), &a, false, &b, false, false);
        let mut wide_a = vec![f32::NAN; 2 * m * k * 3];
        let mut wide_b = vec![f32::NAN; 2 * k * n * 3];
        (0..m * k).for_each(|x| wide_a[x / k * 6 * k + x % k * 3] = a[x]);
        (0..k * n).for_each(|x| wide_b[x % n * 6 * k + x / n * 3] = b[x]);
        let line = 6 * k as isize;
        let a = Strided { p: wide_a.as_ptr(), line, step: 3 };
        let b = Strided { p: wide_b.as_ptr(), line, step: 3 };
        for (rs, cs) in [(n, 1), (n + 3, 1), (1, m), (1, m + 2), (2 * n, 2), (3, 3 * m)] {
            let mut c = vec![7.0f32; rs * m + cs * n];
            let out = Output { c: c.as_mut_ptr(), rs: rs as isize, cs: cs as isize, accumulate: false, bias: None };
            // SAFETY: the matrices lie within their vectors.
            unsafe { gemm((m, n, k), &a, &b, out).unwrap() };
            for (x, want) in want.iter().enumerate() {
                let at = x / n * rs + x % n * cs;
                assert_eq!(std::mem::replace(&mut c[at], 7.0).to_bits(), want.to_bits(), "{rs} {cs}");
            }
            assert!(c.iter().all(|&x| x == 7.0), "{rs} {cs}: elements outside of C");
        }
    }
}

#[test]
fn batches_repeat_a_matrix_whose_step_is_zero() {
    for (m, n, k) in [(5, 9, 20), (70, 65, 130)] {
        let count = 7;
        let (a, b) = (numbers::<f32>(count * m * k, 11), numbers::<f32>(k * n, 12));
        let mut c = vec![0.0; count * m * n];
        let offsets = (0..count as isize).map(|i| [i * (m * k) as isize, 0, i * (m * n) as isize]).collect();
        let batch = Batch {
            count,
            a: Strided { p: a.as_ptr(), line: k as isize, step: 1 },
            b: Strided { p: b.as_ptr(), line: 1, step: n as isize },
            out: Output { c: c.as_mut_ptr(), rs: n as isize, cs: 1, accumulate: false, bias: None },
            offsets,
        };
        // SAFETY: all matrices are as large as the sizes say.
        unsafe { gemm_batch((m, n, k), &batch).unwrap() };
        assert!(c == product((count * m, n, k), &a, false, &b, false, false));
    }
}

/// A source that makes its elements while it packs.
struct Made<'a>(&'a [f32], usize);

impl Source<f32> for Made<'_> {
    fn pack(&self, lines: Range<usize>, ks: Range<usize>, width: usize, dst: &mut [f32]) {
        for (panel, dst) in dst.chunks_exact_mut(width * ks.len()).enumerate() {
            let first = lines.start + panel * width;
            let segments: Vec<*const f32> =
                (first..lines.end.min(first + width)).map(|i| &raw const self.0[i * self.1 + ks.start]).collect();
            // SAFETY: each line has `ks.len()` elements from `ks.start` on.
            unsafe { f32::weave(&segments, ks.len(), width, dst) };
        }
    }
}

#[test]
fn sources_that_pack_themselves_give_the_same() {
    for size in SIZES {
        let (m, n, k) = size;
        if k == 0 {
            continue;
        }
        let (a, b) = (numbers::<f32>(m * k, 13), numbers::<f32>(k * n, 14));
        let mut c = vec![0.0; m * n];
        let out = Output { c: c.as_mut_ptr(), rs: n as isize, cs: 1, accumulate: false, bias: None };
        // SAFETY: c is as large as the sizes say.
        unsafe { gemm(size, &Made(&a, k), &Made(&b, k), out).unwrap() };
        assert!(c == product(size, &a, false, &b, true, false), "{size:?}");
    }
}

#[test]
fn weaving_writes_every_line_and_zeros() {
    let x = numbers::<f32>(32 * 300, 15);
    everywhere(|name| {
        for width in [4, 6, 8, 14, 16, 32] {
            for run in [1, 3, 4, 7, 8, 13, 64, 255, 256, 300] {
                for count in [1, width / 2 + 1, width] {
                    let lines: Vec<_> = (0..count).map(|i| x[i * 300..].as_ptr()).collect();
                    let mut dst = vec![9.0; run * width + 5];
                    // SAFETY: each line has 300 elements.
                    unsafe { f32::weave(&lines, run, width, &mut dst) };
                    for (at, y) in dst[..run * width].iter().enumerate() {
                        let (s, i) = (at / width, at % width);
                        let want = if i < count { x[i * 300 + s] } else { 0.0 };
                        assert_eq!(*y, want, "{name}: step {s} of line {i}, width {width}, {run} steps, {count} lines");
                    }
                    assert!(dst[run * width..].iter().all(|&y| y == 9.0), "{name}: beyond the panel");
                }
            }
        }
    });
}
