//! Checks of the folds.

use esker_ops::{Array, Fold};
use esker_tensor::{DType, Dims};

use crate::test::{bits, from_f64, layouts, out, same_bits, signal};

fn kept(shape: &[usize], dims: &[u8]) -> Vec<usize> {
    shape.iter().enumerate().filter(|(d, _)| !dims.contains(&(*d as u8))).map(|(_, &n)| n).collect()
}

fn run(op: Fold, x: &Array, dims: &[u8]) -> Array {
    let mut y = out(x.dtype(), &kept(x.shape(), dims));
    super::run(op, &Dims::new(dims).unwrap(), x, &mut y).unwrap();
    y
}

fn reference(op: Fold, x: &Array, dims: &[u8]) -> Vec<f64> {
    let (shape, values) = (*x.shape(), x.to_f64_vec().unwrap());
    let first = match op {
        Fold::Sum | Fold::Mean => 0.0,
        Fold::Prod => 1.0,
        Fold::Max => f64::NEG_INFINITY,
        Fold::Min => f64::INFINITY,
    };
    let mut want = vec![first; kept(&shape, dims).iter().product()];
    for (flat, &v) in values.iter().enumerate() {
        let (mut rest, mut at, mut step) = (flat, 0, 1);
        for d in (0..shape.len()).rev() {
            if !dims.contains(&(d as u8)) {
                at += rest % shape[d] * step;
                step *= shape[d];
            }
            rest /= shape[d];
        }
        want[at] = match op {
            Fold::Sum | Fold::Mean => want[at] + v,
            Fold::Prod => want[at] * v,
            Fold::Max => want[at].max(v),
            Fold::Min => want[at].min(v),
        };
    }
    if op == Fold::Mean {
        let n = values.len() as f64 / want.len() as f64;
        want.iter_mut().for_each(|w| *w /= n);
    }
    want
}

fn check(op: Fold, dtype: DType, shape: &[usize], dims: &[u8]) {
    let x = signal(dtype, shape);
    let want = reference(op, &x, dims);
    let first = bits(&run(op, &x, dims));
    let eps = if crate::operand::is_half(dtype) { 1e-2 } else { 2e-6 };
    for x in layouts(&x) {
        let y = run(op, &x, dims);
        assert!(bits(&y) == first, "{op:?} {dtype} {shape:?} {dims:?}: the layout changes the bits");
        for (a, b) in y.to_f64_vec().unwrap().iter().zip(&want) {
            assert!((a - b).abs() <= eps * (10.0 + b.abs()), "{op:?} {dtype} {shape:?} {dims:?}: {a} {b}");
        }
    }
}

#[test]
fn agrees_with_a_plain_loop_in_every_layout() {
    crate::register();
    let cases: [(&[usize], &[u8]); 12] = [
        (&[], &[]),
        (&[7], &[0]),
        (&[5, 33], &[1]),
        (&[33, 5], &[0]),
        (&[2, 3, 4, 5], &[0, 2, 3]),
        (&[2, 3, 4, 5], &[1, 3]),
        (&[2, 130, 3], &[1]),
        (&[1100, 200], &[0]),
        (&[3, 2500], &[1]),
        (&[3, 17, 40], &[0, 1]),
        (&[3, 4], &[]),
        (&[9001, 3], &[0, 1]),
    ];
    for (shape, dims) in cases {
        for op in [Fold::Sum, Fold::Mean, Fold::Max, Fold::Min] {
            for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
                check(op, dtype, shape, dims);
            }
        }
        for dtype in [DType::U8, DType::I8, DType::I16, DType::I32, DType::I64] {
            check(Fold::Max, dtype, shape, dims);
            check(Fold::Min, dtype, shape, dims);
        }
        check(Fold::Sum, DType::I64, shape, dims);
    }
    check(Fold::Prod, DType::F64, &[3, 50], &[1]);
    check(Fold::Prod, DType::F32, &[3, 9, 4], &[0, 1]);
}

#[test]
fn nothing_and_nan() {
    crate::register();
    let none = signal(DType::F32, &[2, 0]);
    assert_eq!(run(Fold::Sum, &none, &[1]).to_f64_vec().unwrap(), [0.0; 2]);
    assert_eq!(run(Fold::Prod, &none, &[1]).to_f64_vec().unwrap(), [1.0; 2]);
    assert!(run(Fold::Mean, &none, &[1]).to_f64_vec().unwrap().iter().all(|v| v.is_nan()));
    assert!(run(Fold::Max, &none, &[0]).to_f64_vec().unwrap().is_empty());
    assert!(super::run(Fold::Max, &Dims::from([1]), &none, &mut out(DType::F32, &[2])).is_err());
    for at in 0..40 {
        let mut values = vec![1.0; 40];
        values[at] = f64::NAN;
        for op in [Fold::Max, Fold::Min] {
            let x = from_f64(DType::F32, &values, &[40]);
            assert!(run(op, &x, &[0]).to_f64_vec().unwrap()[0].is_nan());
        }
    }
}

#[test]
fn a_long_sum_keeps_its_digits() {
    crate::register();
    let n = 1 << 20;
    let x = from_f64(DType::F32, &vec![0.1; n], &[n]);
    let sum = run(Fold::Sum, &x, &[0]).to_f64_vec().unwrap()[0];
    let exact = n as f64 * f64::from(0.1f32);
    assert!((sum / exact - 1.0).abs() < 1e-6, "{sum} {exact}");
}

#[test]
fn same_bits_everywhere() {
    crate::register();
    let x = signal(DType::F32, &[70, 90, 50]);
    let d = signal(DType::F64, &[40, 9000]);
    same_bits(|| {
        let mut all = vec![run(Fold::Sum, &d, &[0]), run(Fold::Sum, &d, &[1]), run(Fold::Max, &d, &[0, 1])];
        for dims in [&[0u8][..], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]] {
            all.push(run(Fold::Sum, &x, dims));
            all.push(run(Fold::Max, &x, dims));
        }
        all
    });
}
