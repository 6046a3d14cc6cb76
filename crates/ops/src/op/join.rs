//! Tensors put together and taken apart along a dimension.

use esker_tensor::{Error, Result};

use super::function;
use crate::{Ops, Value};

/// Dimension `dim` of the `rank + 1` that a result has.
fn new_dim(rank: usize, dim: i64) -> Result<usize> {
    let n = rank as i64 + 1;
    let place = if dim < 0 { dim + n } else { dim };
    if (0..n).contains(&place) {
        return Ok(place as usize);
    }
    Err(Error::dim(format!("dimension {dim} is out of range; the result has {n}")))
}

/// `x` with a new dimension of size 1.
fn with_dim<V: Value>(x: &V, dim: usize) -> Result<V> {
    let mut sizes: Vec<usize> = x.meta().shape.to_vec();
    sizes.insert(dim, 1);
    x.reshape(&sizes[..])
}

function! { Stack |op, [xs]| {
    let first = xs.first().ok_or_else(|| Error::shape("needs at least one tensor"))?.meta().shape;
    if let Some(odd) = xs.iter().map(|x| x.meta().shape).find(|s| *s != first) {
        return Err(Error::shape(format!("tensors must have one shape, got {first:?} and {odd:?}")));
    }
    let dim = new_dim(first.len(), op.dim)?;
    let xs: Vec<V> = xs.iter().map(|x| with_dim(*x, dim)).collect::<Result<_>>()?;
    V::cat(&xs.iter().collect::<Vec<_>>(), dim as i64)?
}}

function! { Unbind |op, x| {
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim)?;
    if shape.is_empty() {
        return Err(Error::dim("a scalar has no dimension to take apart"));
    }
    let kept: Vec<usize> = (0..shape.len()).filter(|d| *d != dim).map(|d| shape[d]).collect();
    (0..shape[dim] as i64)
        .map(|i| x.slice(dim as i64, i, i + 1, 1)?.reshape(&kept[..]))
        .collect::<Result<Vec<V>>>()?
}}

#[cfg(feature = "spec")]
mod spec {
    use crate::op::{Stack, Unbind};
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, real};

    impl OpSpec for Stack {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dim = crate::spec::axis(self.dim, x[0].shape.len() + 1);
            let mut shape = x[0].shape.clone();
            shape.insert(dim, x.len());
            vec![RefArray::from_fn(&shape, |at| {
                let mut inner = at.to_vec();
                let which = inner.remove(dim);
                x[which].at(&inner)
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |dim| Stack { dim };
            let pair = || [real(&[2, 3]), real(&[2, 3])];
            let mut out: Vec<Sample> = (-3..3).map(|dim| Sample::new(op(dim), pair()).on(Dtypes::Numbers)).collect();
            out.push(Sample::new(op(0), [real(&[]), real(&[]), real(&[])]));
            out.push(Sample::new(op(3), pair()).fails("Dim", "out of range"));
            out.push(Sample::new(op(0), [real(&[2]), real(&[3])]).fails("Shape", "two shapes"));
            out.push(Sample::new(op(0), []).fails("Shape", "nothing to stack"));
            out
        }
    }

    impl OpSpec for Unbind {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dim = crate::spec::axis(self.dim, x[0].shape.len());
            let mut kept = x[0].shape.clone();
            let count = kept.remove(dim);
            let slice = |i: usize| {
                RefArray::from_fn(&kept, |at| {
                    let mut full = at.to_vec();
                    full.insert(dim, i);
                    x[0].at(&full)
                })
            };
            (0..count).map(slice).collect()
        }
        fn samples() -> Vec<Sample> {
            let op = |dim| Unbind { dim };
            let mut out: Vec<Sample> = (-2..2).map(|dim| Sample::new(op(dim), [real(&[2, 3])])).collect();
            out.push(Sample::new(op(0), [real(&[2])]).on(Dtypes::All));
            out.push(Sample::new(op(2), [real(&[2, 3])]).fails("Dim", "out of range"));
            out.push(Sample::new(op(0), [real(&[])]).fails("Dim", "a scalar"));
            out
        }
    }
}
