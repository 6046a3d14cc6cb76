//! Elements picked and put one by one along a dimension. A scalar counts as a vector of one element.

use esker_tensor::{DType, Error, Result, Shape};
use smallvec::smallvec;

use super::{Gather, ScatterElements, inputs, need_i64, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Put, Value, Vjp,
};

/// The shape, of rank 1 at least.
fn ranked(shape: &Shape) -> Shape {
    if shape.is_empty() { Shape::from([1]) } else { *shape }
}

/// The dimension that an index of `x` speaks of.
fn check(x: &Meta, index: &Meta, dim: i64) -> Result<usize> {
    need_i64("the index", index.dtype)?;
    let (of, by) = (ranked(&x.shape), ranked(&index.shape));
    let d = of.dim(dim)?;
    if of.len() != by.len() || (0..of.len()).any(|i| i != d && by[i] > of[i]) {
        return Err(Error::shape(format!(
            "an index of {:?} does not fit {:?}: outside of dimension {d} it must not be larger",
            index.shape, x.shape
        )));
    }
    Ok(d)
}

fn dim_of(x: &[Meta], dim: i64) -> usize {
    x.first().and_then(|m| ranked(&m.shape).dim(dim).ok()).unwrap_or(0)
}

pub(crate) fn any_scalar(x: &[Meta]) -> bool {
    x.iter().any(|m| m.shape.is_empty())
}

/// The value, of rank 1 at least.
pub(crate) fn vector<V: Value>(x: &V) -> Result<V> {
    if x.meta().shape.is_empty() { x.reshape([1]) } else { Ok(x.clone()) }
}

impl OpRule for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, index] = inputs(x)?;
        check(&x, &index, self.dim)?;
        Ok(smallvec![Meta::new(x.dtype, index.shape, x.device.meet(index.device)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        if any_scalar(x) {
            return Lowering::Compose;
        }
        Lowering::Kernel(Kernel::GatherElements { dim: dim_of(x, self.dim) })
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, index] = *x else { return None };
        if !any_scalar(&[x.meta(), index.meta()]) {
            return None;
        }
        let picked = || vector(x)?.gather(&vector(index)?, self.dim)?.reshape(index.meta().shape);
        Some(picked().map(|y| smallvec![y]))
    }

    fn grad(&self) -> Grad {
        Grad::inputs(0b10)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let x = &cx.x_metas[0];
        cx.only(0, || {
            V::full(0.0, x.shape, x.dtype, x.device)?.scatter_elements(cx.x(1)?, cx.dy()?, self.dim, Put::Sum)
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if any_scalar(cx.x) {
            return Onnx::Compose;
        }
        let dim = OnnxAttr::Int(dim_of(cx.x, self.dim) as i64);
        OnnxNode::new("GatherElements", vec![OnnxRef::In(0), OnnxRef::In(1)]).attr("axis", dim).into()
    }

    no_sizes!();
}

impl OpRule for ScatterElements {
    fn name(&self) -> &'static str {
        "scatter_elements"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, index, src] = inputs(x)?;
        check(&x, &index, self.dim)?;
        if src.dtype != x.dtype {
            return Err(Error::dtype(format!("the source must be {} like the input, got {}", x.dtype, src.dtype)));
        }
        if x.dtype == DType::Bool && matches!(self.put, Put::Sum | Put::Prod) {
            return Err(Error::dtype("takes numbers, got bool; cast first"));
        }
        if src.shape != index.shape {
            return Err(Error::shape(format!(
                "a source of {:?} does not have the shape of the index, {:?}",
                src.shape, index.shape
            )));
        }
        Ok(smallvec![Meta { device: x.device.meet(index.device)?.meet(src.device)?, ..x }])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        if any_scalar(x) {
            return Lowering::Compose;
        }
        Lowering::Kernel(Kernel::ScatterElements { dim: dim_of(x, self.dim), put: self.put })
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, index, src] = *x else { return None };
        if !any_scalar(&[x.meta(), index.meta()]) {
            return None;
        }
        let put =
            || vector(x)?.scatter_elements(&vector(index)?, &vector(src)?, self.dim, self.put)?.reshape(x.meta().shape);
        Some(put().map(|y| smallvec![y]))
    }

    fn grad(&self) -> Grad {
        match self.put {
            Put::Replace | Put::Sum => Grad::inputs(0b010),
            Put::Prod => Grad::inputs(0b111),
            Put::Max | Put::Min => Grad::Saves { inputs: 0b111, outputs: 1 },
        }
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (index, dy) = (cx.x(1)?, cx.dy()?);
        match self.put {
            Put::Sum => gradients(cx, || Ok(dy.clone()), || dy.gather(index, self.dim)),
            Put::Replace => gradients(cx, || self.untouched(cx, dy), || self.last(cx, dy)),
            Put::Max | Put::Min => self.extreme_vjp(cx),
            Put::Prod => {
                let [by_x, by_src] = self.others(cx.x(0)?, index, cx.x(2)?)?;
                gradients(cx, || dy.mul(&by_x), || dy.gather(index, self.dim)?.mul(&by_src))
            }
        }
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if any_scalar(cx.x) {
            return Onnx::Compose;
        }
        let (reduction, since) = match self.put {
            Put::Replace => (None, 13),
            Put::Sum => (Some("add"), 16),
            Put::Prod => (Some("mul"), 16),
            Put::Max => (Some("max"), 18),
            Put::Min => (Some("min"), 18),
        };
        if cx.opset < since {
            return Onnx::None(match self.put {
                Put::Sum | Put::Prod => "ScatterElements adds and multiplies only from opset 16 on",
                _ => "ScatterElements has extremes only from opset 18 on",
            });
        }
        let node = OnnxNode::new("ScatterElements", (0..3).map(OnnxRef::In).collect())
            .attr("axis", OnnxAttr::Int(dim_of(cx.x, self.dim) as i64));
        match reduction {
            Some(reduction) => node.attr("reduction", OnnxAttr::Str(reduction)).into(),
            None => node.into(),
        }
    }

    no_sizes!();
}

/// Those of the input and of the source.
pub(crate) fn gradients<V: Value>(
    cx: &Vjp<'_, V>,
    x: impl FnOnce() -> Result<V>,
    src: impl FnOnce() -> Result<V>,
) -> Result<Grads<V>> {
    let x = if cx.needs(0) { Some(x()?) } else { None };
    let src = if cx.needs(2) { Some(src()?) } else { None };
    Ok(smallvec![x, None, src])
}

/// Elements moved `by` places towards the end of a vector (the start, when negative), `fill` in the gap.
fn shifted<V: Value>(x: &V, by: i64, fill: f64) -> Result<V> {
    let meta = x.meta();
    let n = meta.shape.numel() as i64;
    let gap = V::full(fill, [by.abs()], meta.dtype, meta.device)?;
    if by > 0 { V::cat(&[&gap, &x.slice(0, 0, n - by, 1)?], 0) } else { V::cat(&[&x.slice(0, -by, n, 1)?, &gap], 0) }
}

impl ScatterElements {
    /// `dy` but 0 where an element was put.
    fn untouched<V: Value>(&self, cx: &Vjp<'_, V>, dy: &V) -> Result<V> {
        let (meta, index) = (dy.meta(), cx.x(1)?);
        let zeros = V::full(0.0, index.meta().shape, meta.dtype, meta.device)?;
        dy.scatter_elements(index, &zeros, self.dim, Put::Replace)
    }

    /// `dy` at the places of the source's elements, but 0 for those that another one replaced.
    fn last<V: Value>(&self, cx: &Vjp<'_, V>, dy: &V) -> Result<V> {
        let (meta, index) = (dy.meta(), cx.x(1)?);
        let shape = index.meta().shape;
        let places = V::iota(0.0, 1.0, shape.numel() as i64, DType::I64, meta.device)?.reshape(shape)?;
        let none = V::full(0.0, cx.x_metas[0].shape, DType::I64, meta.device)?;
        let winners = none.scatter_elements(index, &places, self.dim, Put::Replace)?.gather(index, self.dim)?;
        winners.eq(&places)?.where_cond(&dy.gather(index, self.dim)?, &V::scalar(0.0, meta.dtype, meta.device)?)
    }

    /// Those that equal the extreme share the gradient equally, as in PyTorch.
    fn extreme_vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (x, index, src, y, dy) = (cx.x(0)?, cx.x(1)?, cx.x(2)?, cx.y(0)?, cx.dy()?);
        let dtype = x.meta().dtype;
        let own = x.eq(y)?.cast(dtype)?;
        let put = src.eq(&y.gather(index, self.dim)?)?.cast(dtype)?;
        let share = dy.div(&own.scatter_elements(index, &put, self.dim, Put::Sum)?)?;
        gradients(cx, || share.mul(&own), || share.gather(index, self.dim)?.mul(&put))
    }

    /// For each element of the input and of the source, the product of the others that meet in its place: without a
    /// division, so that zeros do no harm. Elements are sorted by place; products run towards each from both sides.
    fn others<V: Value>(&self, x: &V, index: &V, src: &V) -> Result<[V; 2]> {
        let (shape, device) = (x.meta().shape, x.meta().device);
        let (n, more) = (shape.numel() as i64, index.meta().shape.numel() as i64);
        let places = V::iota(0.0, 1.0, n, DType::I64, device)?.reshape(shape)?;
        let own = places.gather(index, self.dim)?.reshape([-1])?;
        let (place, order) = V::cat(&[&places.reshape([n])?, &own], 0)?.sort(0, false, true)?;
        let all = V::cat(&[&x.reshape([n])?, &src.reshape([more])?], 0)?.index_select(&order, 0)?;
        let one = V::scalar(1.0, x.meta().dtype, device)?;
        let mut product: Option<V> = None;
        for side in [1, -1] {
            let meets = |by: i64| shifted(&place, side * by, -1.0)?.eq(&place);
            let mut run = all.clone();
            let mut by = 1;
            while by < n + more {
                run = run.mul(&meets(by)?.where_cond(&shifted(&run, side * by, 1.0)?, &one)?)?;
                by *= 2;
            }
            let before = meets(1)?.where_cond(&shifted(&run, side, 1.0)?, &one)?;
            product = Some(match product {
                Some(other) => other.mul(&before)?,
                None => before,
            });
        }
        let back = order.sort(0, false, true)?.1;
        let product = product.unwrap_or(all).index_select(&back, 0)?;
        Ok([product.slice(0, 0, n, 1)?.reshape(shape)?, product.slice(0, n, n + more, 1)?.reshape(index.meta().shape)?])
    }
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, Fill, Input, OpSpec, RefArray, Sample, axis, distinct, each_index, ints, real, values};

    /// An index of a shape.
    pub(super) fn places(shape: &[usize], places: &[i64]) -> Input {
        values(shape, &places.iter().map(|&p| p as f64).collect::<Vec<_>>()).of(DType::I64)
    }

    fn at(i: &[usize], index: &RefArray, d: usize) -> Vec<usize> {
        let mut to = i.to_vec();
        if let Some(t) = to.get_mut(d) {
            *t = index.at(i) as usize;
        }
        to
    }

    impl OpSpec for Gather {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let d = axis(self.dim, x[0].shape.len());
            vec![RefArray::from_fn(&x[1].shape, |i| x[0].at(&at(i, &x[1], d)))]
        }

        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], shape: &[usize], index: &[i64], dim| {
                Sample::new(Gather { dim }, [real(x), places(shape, index)])
            };
            vec![
                new(&[5, 3], &[2, 3], &[4, 0, 2, 1, 1, 1], 0).on(Dtypes::All),
                new(&[5, 3], &[3, 2], &[2, 2, 0, 1, 1, 0], 1),
                new(&[2, 4, 3], &[1, 6, 2], &[0, 3, 1, 2, 3, 3, 0, 0, 2, 2, 1, 1], -2).on(Dtypes::Numbers),
                new(&[3], &[5], &[2, 0, 0, 1, 2], 0),
                new(&[], &[], &[0], -1),
                new(&[4], &[0], &[], 0).rough(),
                new(&[2, 3], &[2, 0], &[], 1).rough(),
                Sample::new(
                    Gather { dim: 1 },
                    [values(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), places(&[2, 2], &[0, 0, 1, 0])],
                )
                .known(&[&[1.0, 1.0, 4.0, 3.0]], "the example of PyTorch's documentation"),
                new(&[5, 3], &[1, 1], &[5], 0).fails("Kernel", "beyond the end"),
                new(&[5, 3], &[1, 1], &[-1], 0).fails("Kernel", "before the start"),
                new(&[5, 3], &[1, 4], &[0; 4], 0).fails("Shape", "wider than the input"),
                new(&[5, 3], &[2], &[0; 2], 0).fails("Shape", "another rank"),
                new(&[5, 3], &[1, 1], &[0], 2).fails("Dim", "out of range"),
                Sample::new(Gather { dim: 0 }, [real(&[2]), places(&[1], &[0]).of(DType::I32)]).fails("DType", "int32"),
            ]
        }
    }

    impl OpSpec for ScatterElements {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let d = axis(self.dim, x[0].shape.len());
            let mut y = x[0].clone();
            each_index(&x[1].shape, |i| {
                let to = y.at_mut(&at(i, &x[1], d));
                let v = x[2].at(i);
                *to = match self.put {
                    Put::Replace => v,
                    Put::Sum => *to + v,
                    Put::Prod => *to * v,
                    Put::Max => to.max(v),
                    Put::Min => to.min(v),
                };
            });
            vec![y]
        }

        fn samples() -> Vec<Sample> {
            let new = |put, x: Input, shape: &[usize], index: &[i64], dim, src: Input| {
                Sample::new(ScatterElements { dim, put }, [x, places(shape, index), src])
            };
            let twice = [4, 0, 2, 4, 1, 2]; // Places that are named more than once.
            // Other values than those of `distinct`, so that there are no ties.
            let other = |shape: &[usize]| Input { fill: Fill::Distinct(-2.6, 3.4), ..distinct(shape) };
            let mut out = Vec::new();
            for put in [Put::Replace, Put::Sum, Put::Prod, Put::Max, Put::Min] {
                let any = if matches!(put, Put::Sum | Put::Prod) { Dtypes::Numbers } else { Dtypes::All };
                out.push(new(put, distinct(&[5, 3]), &[2, 3], &twice, 0, other(&[2, 3])));
                out.push(new(put, ints(&[5, 3], -2, 2), &[2, 3], &twice, 0, ints(&[2, 3], -2, 2)).on(any).rough());
                out.push(new(put, distinct(&[3, 4]), &[2, 3], &[3, 3, 3, 0, 1, 0], -1, other(&[2, 3])));
                out.push(new(put, distinct(&[2]), &[2], &[1, 1], 0, other(&[2])));
                out.push(new(put, distinct(&[]), &[], &[0], 0, other(&[])));
                out.push(new(put, real(&[2, 3]), &[2, 0], &[], 1, real(&[2, 0])));
            }
            let (zeros, index) = (values(&[3], &[0.0, 0.0, 2.0]), [0, 1, 1, 2]);
            let prod = |src: &[f64]| new(Put::Prod, zeros.clone(), &[4], &index, 0, values(&[4], src));
            out.push(prod(&[3.0, 0.0, 5.0, 0.0]).note("one, two and more zeros"));
            let four = values(&[4], &[1.0, 2.0, 3.0, 4.0]);
            let known = new(Put::Replace, zeros.clone(), &[4], &index, 0, four);
            out.push(known.known(&[&[1.0, 3.0, 4.0]], "by hand: the last one stays"));
            let set = |x: Input, shape: &[usize], index: &[i64], dim, src| new(Put::Replace, x, shape, index, dim, src);
            out.push(set(real(&[3]), &[1], &[3], 0, real(&[1])).fails("Kernel", "beyond the end"));
            out.push(set(real(&[3]), &[1], &[0], 1, real(&[1])).fails("Dim", "out of range"));
            out.push(set(real(&[3]), &[1], &[0], 0, real(&[2])).fails("Shape", "a source of another shape"));
            out.push(set(real(&[3]), &[1], &[0], 0, ints(&[1], 0, 1).of(DType::I8)).fails("DType", "another dtype"));
            let bools = new(Put::Sum, ints(&[2], 0, 1), &[1], &[0], 0, ints(&[1], 0, 1));
            out.push(bools.on(Dtypes::Only(&[DType::Bool])).fails("DType", "bool"));
            out
        }
    }
}
