//! Matrix products.

use esker_tensor::{DType, Error, Result, Shape};
use smallvec::smallvec;

use super::{Matmul, inputs, no_sizes};
use crate::{Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxCx, OpRule, Ops, Outs, Promote, Value, Vjp, sum_to};

/// The two shapes as stacks of matrices with equal leading dimensions, and the shape of the product.
struct Stacks {
    x: Shape,
    y: Shape,
    out: Shape,
}

fn stacks(x: &Shape, y: &Shape) -> Result<Stacks> {
    let scalar = |s: &Shape| Error::shape(format!("{s:?} is a scalar; use mul"));
    let (x_rows, x_inner) = match x[..] {
        [] => return Err(scalar(x)),
        [k] => (None, k),
        [.., m, k] => (Some(m), k),
    };
    let (y_inner, y_cols) = match y[..] {
        [] => return Err(scalar(y)),
        [k] => (k, None),
        [.., k, n] => (k, Some(n)),
    };
    if x_inner != y_inner {
        return Err(Error::shape(format!("inner sizes differ: {x:?} x {y:?} ({x_inner} != {y_inner})")));
    }
    let lead = |s: &Shape| -> Shape { s[..s.len().saturating_sub(2)].iter().copied().collect() };
    let batch = lead(x).broadcast(&lead(y)).map_err(|_| {
        Error::shape(format!("leading dimensions do not broadcast: {:?} x {:?} (of {x:?} x {y:?})", lead(x), lead(y)))
    })?;
    let stack = |m, n| batch.with(m)?.with(n);
    let out: Shape = batch.iter().copied().chain(x_rows).chain(y_cols).collect();
    out.checked_numel()?;
    Ok(Stacks { x: stack(x_rows.unwrap_or(1), x_inner)?, y: stack(x_inner, y_cols.unwrap_or(1))?, out })
}

/// A vector as a matrix: a row on the left, a column on the right.
fn as_matrix<V: Value>(v: &V, column: bool) -> Result<V> {
    match v.meta().shape[..] {
        [k] if column => v.reshape([k, 1]),
        [k] => v.reshape([1, k]),
        _ => Ok(v.clone()),
    }
}

fn transposed<V: Value>(v: &V) -> Result<V> {
    let rank = v.meta().shape.len() as i64;
    let mut order: Vec<i64> = (0..rank).collect();
    order.swap(rank as usize - 1, rank as usize - 2);
    v.permute(&order[..])
}

impl OpRule for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, y] = inputs(x)?;
        if x.dtype == DType::Bool {
            return Err(Error::dtype("takes numbers, got bool; cast first"));
        }
        Ok(smallvec![Meta::new(x.dtype, stacks(&x.shape, &y.shape)?.out, x.device.meet(y.device)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        match x {
            [x, y] => match stacks(&x.shape, &y.shape) {
                Ok(s) if s.x == x.shape && s.y == y.shape => Lowering::Kernel(Kernel::MatMul),
                _ => Lowering::Compose,
            },
            _ => Lowering::Compose,
        }
    }

    /// One matrix on the right serves all rows of the left at once; otherwise vectors become matrices and leading
    /// dimensions are expanded (without a copy).
    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, y] = *x else { return None };
        let s = match stacks(&x.meta().shape, &y.meta().shape) {
            Ok(s) if s.x == x.meta().shape && s.y == y.meta().shape => return None,
            Ok(s) => s,
            Err(e) => return Some(Err(e)),
        };
        Some((|| {
            if let ([.., k], [_, _]) = (&x.meta().shape[..], &y.meta().shape[..])
                && x.meta().shape.len() > 2
            {
                let rows = x.reshape([-1, *k as i64])?;
                return Ok(smallvec![rows.matmul(y)?.reshape(s.out)?]);
            }
            let x = as_matrix(x, false)?.expand(s.x)?;
            let y = as_matrix(y, true)?.expand(s.y)?;
            Ok(smallvec![x.matmul(&y)?.reshape(s.out)?])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::inputs(0b11)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let s = stacks(&cx.x_metas[0].shape, &cx.x_metas[1].shape)?;
        let mut out: Shape = s.x;
        let last = out.len() - 1;
        out[last] = s.y[last];
        let dy = cx.dy()?.reshape(out)?;
        cx.each(|i| {
            let (shape, part) = if i == 0 {
                (&cx.x_metas[0].shape, dy.matmul(&transposed(&as_matrix(cx.x(1)?, true)?)?)?)
            } else {
                let x = as_matrix(cx.x(0)?, false)?;
                if cx.x_metas[1].shape.len() <= 2 && s.x.len() > 2 {
                    // One weight for a whole batch: a single product over all rows.
                    let k = s.x[last];
                    let n = s.y[last];
                    let rows = x.expand(s.x)?.reshape([-1, k as i64])?;
                    (&cx.x_metas[1].shape, transposed(&rows)?.matmul(&dy.reshape([-1, n as i64])?)?)
                } else {
                    (&cx.x_metas[1].shape, transposed(&x)?.matmul(&dy)?)
                }
            };
            // Broadcast dimensions are summed; then a vector is a vector again.
            let rank = part.meta().shape.len();
            let matrix: Shape = match shape.len() {
                1 => part.meta().shape[rank - 2..].iter().copied().collect(),
                _ => *shape,
            };
            let part = sum_to(&part, &matrix)?;
            if matrix == *shape { Ok(part) } else { part.reshape(shape) }
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if matches!(cx.x[0].dtype, DType::I8 | DType::I16 | DType::U8) {
            return Onnx::None("MatMul takes no 8- and 16-bit integers");
        }
        Onnx::node("MatMul", cx)
    }

    no_sizes!();
}
