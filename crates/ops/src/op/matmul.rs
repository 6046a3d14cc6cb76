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

/// The rows of a stack of matrices under one another; `stack` has as many.
pub(super) fn rows<V: Value>(v: &V, stack: &Shape, width: usize) -> Result<V> {
    match width {
        // -1 says nothing where there are no columns.
        0 => v.reshape([stack[..stack.len() - 1].iter().product(), 0usize]),
        width => v.reshape([-1, width as i64]),
    }
}

/// The last two dimensions exchanged.
pub(super) fn transposed<V: Value>(v: &V) -> Result<V> {
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
                let rows = rows(x, &s.x, *k)?;
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
                    let x = rows(&x.expand(s.x)?, &s.x, k)?;
                    (&cx.x_metas[1].shape, transposed(&x)?.matmul(&rows(&dy, &s.x, n)?)?)
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
        Onnx::node("MatMul", cx)
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real, values};

    impl OpSpec for Matmul {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, y] = x else { return vec![] };
            let (xr, yr) = (x.shape.len(), y.shape.len());
            let k = x.shape[xr - 1];
            let (x_lead, y_lead) = (&x.shape[..xr.max(2) - 2], &y.shape[..yr.max(2) - 2]);
            let lead = crate::spec::broadcast(&[x_lead, y_lead]);
            let mut shape = lead.clone();
            shape.extend((xr > 1).then(|| x.shape[xr - 2]));
            shape.extend((yr > 1).then(|| y.shape[yr - 1]));
            // The last places of an index that leads into an input of leading dimensions `own`.
            let within = |at: &[usize], own: &[usize]| -> Vec<usize> {
                let at = &at[lead.len() - own.len()..lead.len()];
                at.iter().zip(own).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect()
            };
            vec![RefArray::from_fn(&shape, |at| {
                (0..k)
                    .map(|i| {
                        let (mut a, mut b) = (within(at, x_lead), within(at, y_lead));
                        a.extend((xr > 1).then(|| at[lead.len()]));
                        a.push(i);
                        b.push(i);
                        b.extend((yr > 1).then(|| at[at.len() - 1]));
                        x.at(&a) * y.at(&b)
                    })
                    .sum()
            })]
        }

        fn samples() -> Vec<Sample> {
            let cases: [(&[usize], &[usize]); 24] = [
                (&[2, 3], &[3, 4]),
                (&[3], &[3]),
                (&[3], &[3, 2]),
                (&[2, 3], &[3]),
                (&[1, 1], &[1, 1]),
                (&[2, 2, 3], &[2, 3, 2]),
                (&[2, 1, 2, 3], &[3, 3, 2]),
                (&[2, 3, 2], &[2, 4]),
                (&[3, 2], &[2, 2, 4]),
                (&[3], &[2, 3, 2]),
                (&[2, 2, 3], &[3]),
                (&[2, 0], &[0, 3]),
                (&[2, 3, 0], &[0, 4]),
                (&[2, 3, 0], &[2, 0, 2]),
                (&[0, 3], &[3, 2]),
                (&[2, 3], &[3, 0]),
                (&[2, 2, 3], &[3, 0]),
                (&[0, 2, 3], &[3, 2]),
                (&[0], &[0]),
                (&[9, 17], &[17, 11]),
                (&[1, 35], &[35, 5]),
                (&[33, 2], &[2, 1]),
                (&[1, 2, 1, 2, 3], &[2, 1, 3, 3, 2]),
                (&[1, 2, 1, 1, 1, 2, 2, 3], &[2, 1, 2, 1, 1, 1, 3, 2]),
            ];
            let mut out: Vec<Sample> = cases.iter().map(|&(a, b)| Sample::new(Matmul {}, [real(a), real(b)])).collect();
            for &(a, b) in cases.iter().take(15) {
                out.push(Sample::new(Matmul {}, [ints(a, -3, 3), ints(b, -3, 3)]).on(Dtypes::Ints));
            }
            let note = "by hand: integers wrap";
            let wrap = Sample::new(Matmul {}, [values(&[1], &[100.0]), values(&[1], &[2.0])]);
            out.push(wrap.on(Dtypes::Only(&[DType::I8])).known(&[&[-56.0]], note));
            let mixed = [ints(&[2, 3], -3, 3).of(DType::I32), real(&[3, 2])];
            out.push(Sample::new(Matmul {}, mixed).note("an integer meets a float"));
            let nan = [values(&[1, 2], &[0.0, 1.0]), values(&[2, 1], &[f64::INFINITY, 1.0])];
            out.push(Sample::new(Matmul {}, nan).known(&[&[f64::NAN]], "IEEE 754: 0 * inf"));
            let fails =
                |a: &[usize], b: &[usize], note| Sample::new(Matmul {}, [real(a), real(b)]).fails("Shape", note);
            out.push(fails(&[2, 3], &[4, 5], "inner sizes"));
            out.push(fails(&[3], &[4], "inner sizes"));
            out.push(fails(&[], &[3], "a scalar"));
            out.push(fails(&[3, 3], &[], "a scalar"));
            out.push(fails(&[2, 2, 3], &[3, 3, 2], "leading dimensions"));
            let bools = [ints(&[2, 2], 0, 1), ints(&[2, 2], 0, 1)];
            out.push(Sample::new(Matmul {}, bools).on(Dtypes::Only(&[DType::Bool])).fails("DType", "bool"));
            out.push(Sample::new(Matmul {}, [real(&[2, 2])]).fails("Shape", "one input"));
            out
        }
    }
}
