//! `x w^T + bias`, the product of a fully connected layer.

use esker_ops::Array;
use esker_tensor::{DType, Dims, Error, Result, Shape};

use crate::gemm::{self, Bias, Output, Strided};
use crate::operand::{in_order, is_half, source, target, through_f32};

/// `(x [.., k], w [n, k]) -> y [.., n]`, with `bias [n]` added to every row.
///
/// # Errors
/// `Unavailable` for what is no float; those of copies.
pub(crate) fn run(x: &Array, w: &Array, bias: Option<&Array>, y: &mut Array) -> Result<()> {
    let dtype = x.dtype();
    if is_half(dtype) {
        let operands: Vec<&Array> = [x, w].into_iter().chain(bias).collect();
        let y = std::slice::from_mut(y);
        return through_f32(&operands, y, |x, y| run(x[0], x[1], x.get(2).copied(), &mut y[0]));
    }
    match dtype {
        DType::F32 => floats::<f32>(x, w, bias, y),
        DType::F64 => floats::<f64>(x, w, bias, y),
        _ => Err(Error::unavailable(format!("affine maps are of floats, not {dtype}"))),
    }
}

/// A weight with the numbers for one input side by side, as products read them without turning.
///
/// # Errors
/// Those of the copy.
pub(crate) fn arrange(w: &Array) -> Result<Option<Array>> {
    let order = Dims::from([1, 0]);
    if !matches!(w.dtype(), DType::F32 | DType::F64) || w.shape().len() != 2 {
        return Ok(None);
    }
    in_order(w, &order).map(Some)
}

/// The array as one matrix: its rows under one another.
fn matrix(x: &Array, [rows, columns]: [usize; 2]) -> Result<(Array, [isize; 2])> {
    let shape = Shape::from([rows, columns]);
    let (x, layout) = match x.layout().reshape(&shape) {
        Some(layout) => (x.clone(), layout),
        None => {
            let x = x.contiguous()?;
            let layout = x.layout().reshape(&shape);
            let layout = layout.ok_or_else(|| Error::shape(format!("{:?} is not {shape:?}", x.shape())))?;
            (x, layout)
        }
    };
    let strides = [layout.strides()[0], layout.strides()[1]];
    Ok((x, strides))
}

fn floats<T: gemm::Element>(x: &Array, w: &Array, bias: Option<&Array>, y: &mut Array) -> Result<()> {
    let [n, k] = w.shape()[..] else { return Err(Error::shape(format!("{:?} is no matrix", w.shape()))) };
    let m: usize = x.shape()[..x.shape().len() - 1].iter().product();
    let (x, [line, step]) = matrix(x, [m, k])?;
    let strides = w.layout().strides();
    let b = Strided { p: source::<T>(w).get().cast_const(), line: strides[0], step: strides[1] };
    let a = Strided { p: source::<T>(&x).get().cast_const(), line, step };
    let bias =
        bias.map(|bias| Bias { p: source::<T>(bias).get().cast_const(), row: 0, column: bias.layout().strides()[0] });
    let out = Output { c: target::<T>(y)?.get(), rs: n as isize, cs: 1, accumulate: false, bias };
    // SAFETY: sizes and strides are those of the arrays, whose shapes the op inferred; y is contiguous.
    unsafe { gemm::gemm((m, n, k), &a, &b, out) }
}

#[cfg(test)]
mod tests {
    use esker_ops::{Array, Ops};
    use esker_tensor::{DType, Shape};

    use crate::test::{out, same_bits, signal};

    /// Sizes for every way through the product: a row, a column, one step, few and many rows, several blocks of steps.
    const SIZES: [(usize, usize, usize); 8] =
        [(1, 40, 300), (1, 3, 20), (5, 1, 300), (6, 7, 1), (9, 33, 600), (200, 3, 70), (200, 40, 260), (4, 3, 0)];

    #[test]
    fn the_bias_is_added_to_the_product() {
        crate::register();
        for dtype in [DType::F32, DType::F64] {
            for (m, n, k) in SIZES {
                let (x, w, bias) = (signal(dtype, &[m, k]), signal(dtype, &[n, k]), signal(dtype, &[n]));
                same_bits(|| {
                    let run = |bias: Option<&Array>| {
                        let mut y = out(dtype, &[m, n]);
                        super::run(&x, &w, bias, &mut y).unwrap();
                        y
                    };
                    let (with, without) = (run(Some(&bias)), run(None));
                    assert_eq!(bits(&with), bits(&without.add(&bias).unwrap()), "{dtype} {m} x {n} x {k}");
                    vec![with]
                });
            }
        }
    }

    #[test]
    fn rows_may_lie_anywhere() {
        crate::register();
        let (x, w) = (signal(DType::F32, &[4, 3, 5]), signal(DType::F32, &[2, 5]));
        let want = |x: &Array| {
            let mut y = out(DType::F32, &[3, 4, 2]);
            super::run(x, &w, None, &mut y).unwrap();
            bits(&y)
        };
        let turned = x.permute([1, 0, 2]).unwrap();
        assert_eq!(turned.shape(), &Shape::from([3, 4, 5]));
        assert_eq!(want(&turned), want(&turned.contiguous().unwrap()));
    }

    fn bits(x: &Array) -> Vec<u8> {
        x.contiguous().unwrap().storage().bytes().to_vec()
    }
}
