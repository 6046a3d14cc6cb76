//! Matrix products of stacks: floats by the blocked product, halves in f32, integers by a plain wrapping loop.

use esker_ops::Array;
use esker_tensor::{DType, Error, Layout, Result, Shape};

use crate::gemm::{self, Batch, Output, Strided};
use crate::lanes::Num;
use crate::operand::{self, is_half, parallel, source, target, with_order};

/// `[.., m, k] x [.., k, n] -> [.., m, n]`, leading dimensions equal.
///
/// # Errors
/// `Unavailable` for booleans; those of copies.
pub(crate) fn run(a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    if is_half(a.dtype()) {
        let outputs = std::slice::from_mut(y);
        return operand::through_f32(&[a, b], outputs, |x, y| run(x[0], x[1], &mut y[0]));
    }
    match a.dtype() {
        DType::F32 => floats::<f32>(a, b, y),
        DType::F64 => floats::<f64>(a, b, y),
        DType::U8 => integers::<u8>(a, b, y),
        DType::I8 => integers::<i8>(a, b, y),
        DType::I16 => integers::<i16>(a, b, y),
        DType::I32 => integers::<i32>(a, b, y),
        DType::I64 => integers::<i64>(a, b, y),
        dtype => Err(Error::unavailable(format!("matmul multiplies numbers, not {dtype}; cast first"))),
    }
}

/// The leading sizes and the two matrix sizes.
fn split(shape: &Shape) -> Result<(Shape, [usize; 2])> {
    match &shape[..] {
        [lead @ .., rows, cols] => Ok((Shape::new(lead)?, [*rows, *cols])),
        _ => Err(Error::shape(format!("matmul needs matrices, not {shape:?}"))),
    }
}

/// The strides of the two matrix dimensions.
fn steps(layout: &Layout) -> [isize; 2] {
    let s = layout.strides();
    [s[s.len() - 2], s[s.len() - 1]]
}

/// The offset of matrix `i` of a stack.
fn offset(layout: &Layout, lead: &Shape, mut i: usize) -> isize {
    let mut at = 0;
    for (d, &size) in lead.iter().enumerate().rev() {
        at += (i % size) as isize * layout.strides()[d];
        i /= size;
    }
    at
}

fn floats<T: gemm::Element>(a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    let ((lead, [m, k]), (_, [_, n])) = (split(a.shape())?, split(b.shape())?);
    let count = lead.numel();
    if count * m * n == 0 {
        return Ok(());
    }
    let (la, lb, ly) = (*a.layout(), *b.layout(), *y.layout());
    // One product where the stack is only more rows.
    let (ra, ry) = (rows_only(&la, &lead, m), rows_only(&ly, &lead, m));
    let shared = lead.iter().zip(lb.strides().iter()).all(|(&size, &s)| size == 1 || s == 0);
    let flat = shared && ra && ry && count > 1;
    let (m, count) = if flat { (m * count, 1) } else { (m, count) };
    let ([a_row, a_col], [b_row, b_col], [y_row, y_col]) = (steps(&la), steps(&lb), steps(&ly));
    let batch = Batch {
        count,
        a: Strided { p: source::<T>(a).get().cast_const(), line: a_row, step: a_col },
        b: Strided { p: source::<T>(b).get().cast_const(), line: b_col, step: b_row },
        out: Output { c: target::<T>(y)?.get(), rs: y_row, cs: y_col, accumulate: false, bias: None },
        offsets: (0..count).map(|i| [offset(&la, &lead, i), offset(&lb, &lead, i), offset(&ly, &lead, i)]).collect(),
    };
    // SAFETY: sizes and strides are those of the arrays, whose shapes the op inferred; y is dense, so that its
    // matrices do not overlap.
    unsafe { gemm::gemm_batch((m, n, k), &batch) }
}

/// Whether the matrices of a stack follow one another at the step of their rows.
fn rows_only(layout: &Layout, lead: &Shape, m: usize) -> bool {
    let mut expected = steps(layout)[0] * m as isize;
    for (d, &size) in lead.iter().enumerate().rev() {
        if size != 1 && layout.strides()[d] != expected {
            return false;
        }
        expected *= size as isize;
    }
    true
}

fn integers<T: Num>(a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let ((lead, [m, k]), (_, [_, n])) = (split(a.shape())?, split(b.shape())?);
    let order = (0..y.shape().len() as u8).collect();
    with_order(y, &order, |y| {
        let (a, b, y) = (source::<T>(&a), source::<T>(&b), target::<T>(y)?);
        parallel(lead.numel() * m, k * n, &|rows| {
            for row in rows {
                // SAFETY: row `row` of a and y, and matrix `row / m` of b, lie within the arrays; rows are disjoint.
                unsafe {
                    let y = std::slice::from_raw_parts_mut(y.at(row * n), n);
                    y.fill(T::ZERO);
                    for i in 0..k {
                        let (x, b) = (*a.at(row * k + i), std::slice::from_raw_parts(b.at((row / m * k + i) * n), n));
                        y.iter_mut().zip(b).for_each(|(y, &b)| *y = y.plus(x.times(b)));
                    }
                }
            }
        });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use esker_ops::Array;
    use esker_tensor::{DType, Shape};

    use crate::test::{layouts, out, same_bits, seeded, signal};

    fn check(dtype: DType, lead: &[usize], [m, k, n]: [usize; 3]) {
        let shape = |a, b| [lead, &[a, b]].concat();
        let (a, b) = (signal(dtype, &shape(m, k)), seeded(dtype, &shape(k, n), 5));
        let (av, bv) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
        let mut want = vec![0.0; lead.iter().product::<usize>() * m * n];
        for (flat, w) in want.iter_mut().enumerate() {
            let (row, j) = (flat / n, flat % n);
            *w = (0..k).map(|i| av[row * k + i] * bv[(row / m * k + i) * n + j]).sum();
        }
        let tolerance = if crate::operand::is_half(dtype) { 2e-2 } else { 1e-5 };
        for a in layouts(&a) {
            for b in layouts(&b) {
                let mut y = out(dtype, &shape(m, n));
                super::run(&a, &b, &mut y).unwrap();
                for (x, w) in y.to_f64_vec().unwrap().iter().zip(&want) {
                    assert!((x - w).abs() <= tolerance * (k as f64 + w.abs()), "{dtype} {lead:?} {m} {k} {n}: {x} {w}");
                }
            }
        }
    }

    #[test]
    fn agrees_with_a_plain_loop() {
        crate::register();
        for lead in [&[][..], &[3], &[2, 3], &[0]] {
            for size in [[1, 1, 1], [3, 5, 7], [17, 40, 33], [4, 0, 3]] {
                for dtype in [DType::F32, DType::F64, DType::BF16, DType::I64, DType::I32, DType::I16] {
                    check(dtype, lead, size);
                }
            }
        }
    }

    #[test]
    fn a_repeated_matrix_is_not_copied() {
        crate::register();
        let (a, b) = (signal(DType::F32, &[4, 5, 6]), signal(DType::F32, &[6, 7]));
        let wide = b.layout().expand(&Shape::from([4, 6, 7])).unwrap();
        let wide = Array::new(DType::F32, b.device(), wide, b.storage().clone()).unwrap();
        let mut y = out(DType::F32, &[4, 5, 7]);
        super::run(&a, &wide, &mut y).unwrap();
        let mut z = out(DType::F32, &[4, 5, 7]);
        super::run(&a, &wide.contiguous().unwrap(), &mut z).unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), z.to_f64_vec().unwrap());
    }

    #[test]
    fn bits_are_the_same_everywhere() {
        crate::register();
        let (a, b) = (signal(DType::F32, &[3, 70, 300]), signal(DType::F32, &[3, 300, 90]));
        same_bits(|| {
            let mut y = out(DType::F32, &[3, 70, 90]);
            super::run(&a, &b, &mut y).unwrap();
            vec![y]
        });
    }
}
