//! Views and joins: the same elements under another shape.

use esker_tensor::{DType, Error, Result, Shape};
use smallvec::smallvec;

use super::{Cat, Expand, Permute, Reshape, Slice, SliceGrad, inputs, no_compose, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Value, View, Vjp, sum_to,
};

impl OpRule for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        Ok(smallvec![x.with_shape(self.sizes.reshape(&x.shape)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let shape = x.first().and_then(|m| self.sizes.reshape(&m.shape).ok()).unwrap_or_default();
        Lowering::View(View::Reshape(shape))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || cx.dy()?.reshape(cx.x_metas[0].shape))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        OnnxNode::new("Reshape", vec![OnnxRef::In(0), OnnxRef::ShapeOf(0)]).into()
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        self.sizes.visit(f);
    }
}

impl Permute {
    fn order(&self, shape: &Shape) -> Result<esker_tensor::Dims> {
        let order = self.dims.in_order(shape)?;
        if order.len() != shape.len() {
            return Err(Error::dim(format!("{:?} does not name every dimension of {shape:?} once", self.dims)));
        }
        Ok(order)
    }
}

impl OpRule for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        let order = self.order(&x.shape)?;
        Ok(smallvec![x.with_shape(order.iter().map(|&d| x.shape[d as usize]).collect())])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let order = x.first().and_then(|m| self.order(&m.shape).ok()).unwrap_or_default();
        Lowering::View(View::Permute(order))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let order = self.order(&cx.x_metas[0].shape)?;
        let mut inverse = vec![0i64; order.len()];
        for (to, &from) in order.iter().enumerate() {
            inverse[from as usize] = to as i64;
        }
        cx.only(0, || cx.dy()?.permute(&inverse[..]))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let order = self.order(&cx.x[0].shape).unwrap_or_default();
        OnnxNode::new("Transpose", vec![OnnxRef::In(0)])
            .attr("perm", OnnxAttr::Ints(order.iter().map(|&d| i64::from(d)).collect()))
            .into()
    }

    no_sizes!();
}

impl OpRule for Expand {
    fn name(&self) -> &'static str {
        "expand"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        Ok(smallvec![x.with_shape(self.sizes.expand(&x.shape)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let shape = x.first().and_then(|m| self.sizes.expand(&m.shape).ok()).unwrap_or_default();
        Lowering::View(View::Expand(shape))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || sum_to(cx.dy()?, &cx.x_metas[0].shape))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        OnnxNode::new("Expand", vec![OnnxRef::In(0), OnnxRef::ShapeOf(0)]).into()
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        self.sizes.visit(f);
    }
}

/// A slice by Python's rules: negative ends count from the back, ends beyond the size are cut.
struct Span {
    dim: usize,
    start: usize,
    step: isize,
    len: usize,
}

impl Slice {
    fn span(&self, shape: &Shape) -> Result<Span> {
        if shape.is_empty() {
            return Err(Error::dim("a scalar has no dimension to slice"));
        }
        let dim = shape.dim(self.dim)?;
        let size = shape[dim] as i64;
        if self.step == 0 {
            return Err(Error::dim("the step of a slice must not be 0"));
        }
        let place = |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(low, high);
        let (start, len) = if self.step > 0 {
            let (start, end) = (place(self.start, 0, size), place(self.end, 0, size));
            (start, div_ceil((end - start).max(0), self.step))
        } else {
            // Downwards `i64::MIN` stands for "through the first element".
            let start = place(self.start, -1, size - 1);
            let end = if self.end == i64::MIN { -1 } else { place(self.end, -1, size - 1) };
            (start, div_ceil((start - end).max(0), self.step.saturating_neg()))
        };
        // The step to nowhere does not count, however long it is.
        let step = if len < 2 { self.step.signum() } else { self.step };
        Ok(Span { dim, start: start.max(0) as usize, step: step as isize, len: len as usize })
    }
}

/// `n / by` rounded up, for `n >= 0` and `by > 0`.
fn div_ceil(n: i64, by: i64) -> i64 {
    n / by + i64::from(n % by != 0)
}

impl OpRule for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        let span = self.span(&x.shape)?;
        let mut shape = x.shape;
        shape[span.dim] = span.len;
        Ok(smallvec![x.with_shape(shape)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        match x.first().map(|m| self.span(&m.shape)) {
            Some(Ok(s)) => Lowering::View(View::Slice { dim: s.dim, start: s.start, step: s.step, len: s.len }),
            _ => Lowering::Compose,
        }
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let shape = &cx.x_metas[0].shape;
        let span = self.span(shape)?;
        cx.only(0, || cx.dy()?.slice_grad(span.dim as i64, span.start as i64, span.step as i64, shape[span.dim] as i64))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let dim = cx.x[0].shape.dim(self.dim).unwrap_or(0) as i64;
        let ints = |n: i64| OnnxRef::Ints(vec![n]);
        OnnxNode::new("Slice", vec![OnnxRef::In(0), ints(self.start), ints(self.end), ints(dim), ints(self.step)])
            .into()
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        f(&mut self.start);
        f(&mut self.end);
    }
}

impl OpRule for SliceGrad {
    fn name(&self) -> &'static str {
        "slice_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [dy] = inputs(x)?;
        if dy.dtype == DType::Bool {
            return Err(Error::dtype("takes numbers, got bool; cast first"));
        }
        if dy.shape.is_empty() {
            return Err(Error::dim("a scalar is no slice of a dimension"));
        }
        if self.step == 0 {
            return Err(Error::dim("the step of a slice must not be 0"));
        }
        let dim = dy.shape.dim(self.dim)?;
        let (mut shape, len) = (dy.shape, dy.shape[dim] as i64);
        let last = (len - 1).max(0).checked_mul(self.step).and_then(|reach| reach.checked_add(self.start));
        // Nothing may start at the end, something not.
        let within = |at: i64| (0..self.size.saturating_add(i64::from(len == 0))).contains(&at);
        if self.size < 0 || !within(self.start) || !last.is_some_and(within) {
            return Err(Error::shape(format!(
                "{len} elements from {} by {} do not lie within {}",
                self.start, self.step, self.size
            )));
        }
        shape[dim] = self.size as usize;
        shape.checked_numel()?;
        Ok(smallvec![dy.with_shape(shape)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Compose
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let dy = *x.first()?;
        Some((|| {
            let meta = dy.meta();
            let dim = meta.shape.dim(self.dim)?;
            let zeros = |n: i64| {
                let mut shape = meta.shape;
                shape[dim] = n as usize;
                V::full(0.0, shape, meta.dtype, meta.device)
            };
            if self.step == 1 {
                // Zeros, dy, zeros: the common case needs no index.
                let after = self.size - self.start - meta.shape[dim] as i64;
                let parts = [zeros(self.start)?, dy.clone(), zeros(after)?];
                return Ok(smallvec![V::cat(&parts.each_ref(), dim as i64)?]);
            }
            let index = V::iota(self.start as f64, self.step as f64, meta.shape[dim] as i64, DType::I64, meta.device)?;
            Ok(smallvec![index.index_select_grad(dy, dim as i64, self.size)?])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let len = cx.x_metas[0].shape[cx.x_metas[0].shape.dim(self.dim)?] as i64;
        let end = self.start + len * self.step;
        let end = if end < 0 { i64::MIN } else { end };
        cx.only(0, || cx.dy()?.slice(self.dim, self.start, end, self.step))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        f(&mut self.start);
        f(&mut self.size);
    }
}

impl OpRule for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [first, rest @ ..] = x else { return Err(Error::shape("needs at least one input")) };
        if first.shape.is_empty() {
            return Err(Error::dim("scalars have no dimension to join along; reshape them to [1]"));
        }
        let dim = first.shape.dim(self.dim)?;
        let mut out = *first;
        for (i, m) in rest.iter().enumerate() {
            let fits = m.shape.len() == out.shape.len()
                && (0..out.shape.len()).all(|d| d == dim || m.shape[d] == out.shape[d]);
            if !fits {
                return Err(Error::shape(format!(
                    "input {} is {:?}, which differs from {:?} in more than dimension {dim}",
                    i + 1,
                    m.shape,
                    first.shape
                )));
            }
            out.shape[dim] = out.shape[dim].saturating_add(m.shape[dim]);
            out.device = out.device.meet(m.device)?;
        }
        out.shape.checked_numel()?;
        Ok(smallvec![out])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let dim = x.first().and_then(|m| m.shape.dim(self.dim).ok()).unwrap_or(0);
        Lowering::Kernel(Kernel::Concat { dim })
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let dim = cx.x_metas[0].shape.dim(self.dim)?;
        let mut start = 0i64;
        let starts: Vec<(i64, i64)> = cx
            .x_metas
            .iter()
            .map(|m| {
                let span = (start, start + m.shape[dim] as i64);
                start = span.1;
                span
            })
            .collect();
        cx.each(|i| cx.dy()?.slice(dim as i64, starts[i].0, starts[i].1, 1))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let dim = cx.x[0].shape.dim(self.dim).unwrap_or(0) as i64;
        OnnxNode::new("Concat", (0..cx.x.len()).map(OnnxRef::In).collect()).attr("axis", OnnxAttr::Int(dim)).into()
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, axes, axis, bools, ints, real};

    impl OpSpec for Reshape {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let sizes = self.sizes.get().unwrap_or(&[]);
            let known: i64 = sizes.iter().filter(|&&n| n >= 0).product();
            let size = |n: i64| if n < 0 { x[0].data.len() / known as usize } else { n as usize };
            let shape: Vec<usize> = sizes.iter().map(|&n| size(n)).collect();
            vec![RefArray::new(&shape, x[0].data.clone())]
        }

        fn samples() -> Vec<Sample> {
            let new = |from: &[usize], to: &[i64]| Sample::new(Reshape { sizes: to.into() }, [real(from)]);
            let good: [(&[usize], &[i64]); 14] = [
                (&[2, 6], &[3, 4]),
                (&[2, 6], &[12]),
                (&[2, 3, 4], &[6, 4]),
                (&[2, 3, 4], &[2, -1]),
                (&[2, 3, 4], &[-1]),
                (&[4, 3], &[2, 2, 1, 3]),
                (&[1], &[]),
                (&[], &[1, 1]),
                (&[], &[-1]),
                (&[0, 3], &[3, 0]),
                (&[0, 3], &[-1, 3]),
                (&[0], &[2, 0, 2]),
                (&[2, 2, 2, 2, 2, 2, 2, 2], &[4, 4, 4, 4]),
                (&[16], &[2, 1, 2, 1, 2, 1, 2, 1]),
            ];
            let mut out: Vec<Sample> = good.iter().map(|(from, to)| new(from, to).on(Dtypes::All)).collect();
            out.push(new(&[2, 3], &[4, 2]).fails("Shape", "6 elements are not 8"));
            out.push(new(&[2, 3], &[-1, 4]).fails("Shape", "4 does not divide 6"));
            out.push(new(&[2, 3], &[-1, -1]).fails("Shape", "two unknown sizes"));
            out.push(new(&[2, 3], &[-2, 3]).fails("Shape", "a negative size"));
            out.push(new(&[0, 3], &[-1, 0]).fails("Shape", "any size would fit"));
            out.push(new(&[2, 3], &[i64::MAX, i64::MAX, 4]).fails("Shape", "more elements than addresses"));
            out.push(new(&[1], &[1; 9]).fails("Dim", "rank 9"));
            out.push(Sample::new(Reshape { sizes: [1].into() }, [real(&[1]), real(&[1])]).fails("Shape", "two inputs"));
            out
        }
    }

    impl OpSpec for Permute {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let x = &x[0];
            let order = axes(&self.dims, x.shape.len());
            let shape: Vec<usize> = order.iter().map(|&d| x.shape[d]).collect();
            vec![RefArray::from_fn(&shape, |y| {
                let mut at = vec![0; y.len()];
                y.iter().zip(&order).for_each(|(&i, &d)| at[d] = i);
                x.at(&at)
            })]
        }

        fn samples() -> Vec<Sample> {
            let new = |from: &[usize], dims: &[i64]| Sample::new(Permute { dims: dims.into() }, [real(from)]);
            let good: [(&[usize], &[i64]); 9] = [
                (&[2, 3], &[1, 0]),
                (&[2, 3], &[0, 1]),
                (&[2, 3, 4], &[2, 0, 1]),
                (&[2, 3, 4], &[-1, 0, -2]),
                (&[2, 1, 3, 2], &[0, 2, 3, 1]),
                (&[5], &[0]),
                (&[], &[]),
                (&[2, 0, 3], &[2, 1, 0]),
                (&[1, 2, 1, 3, 2, 1, 2, 2], &[7, 6, 5, 4, 3, 2, 1, 0]),
            ];
            let mut out: Vec<Sample> = good.iter().map(|(from, dims)| new(from, dims).on(Dtypes::All)).collect();
            out.push(new(&[2, 3], &[0]).fails("Dim", "a dimension is missing"));
            out.push(new(&[2, 3], &[]).fails("Dim", "all dimensions are missing"));
            out.push(new(&[2, 3], &[0, 0]).fails("Dim", "named twice"));
            out.push(new(&[2, 3], &[0, 2]).fails("Dim", "out of range"));
            out.push(new(&[], &[0]).fails("Dim", "a scalar has no dimension"));
            out.push(new(&[2, 3], &[0; 9]).fails("Dim", "nine dimensions"));
            out
        }
    }

    impl OpSpec for Expand {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let sizes = self.sizes.get().unwrap_or(&[]);
            let lead = sizes.len() - x[0].shape.len();
            let size = |(d, &n): (usize, &i64)| if n < 0 { x[0].shape[d - lead] } else { n as usize };
            let shape: Vec<usize> = sizes.iter().enumerate().map(size).collect();
            vec![x[0].broadcast_to(&shape)]
        }

        fn samples() -> Vec<Sample> {
            let new = |from: &[usize], to: &[i64]| Sample::new(Expand { sizes: to.into() }, [real(from)]);
            let good: [(&[usize], &[i64]); 10] = [
                (&[3, 1], &[3, 4]),
                (&[3], &[2, 3]),
                (&[1, 3, 1], &[2, 4, -1, 5]),
                (&[], &[]),
                (&[], &[2, 3]),
                (&[2, 3], &[-1, -1]),
                (&[1, 3], &[0, 3]),
                (&[0, 1], &[0, 4]),
                (&[1], &[1]),
                (&[2, 1], &[1, 2, 1, 2, 1, 2, 2, 3]),
            ];
            let mut out: Vec<Sample> = good.iter().map(|(from, to)| new(from, to).on(Dtypes::All)).collect();
            out.push(new(&[3], &[4]).fails("Shape", "3 is neither 1 nor 4"));
            out.push(new(&[2, 3], &[3]).fails("Shape", "fewer dimensions"));
            out.push(new(&[3], &[-1, 3]).fails("Shape", "-1 for a new dimension"));
            out.push(new(&[1], &[-2]).fails("Shape", "a negative size"));
            out.push(new(&[1, 1], &[i64::MAX, i64::MAX]).fails("Shape", "more elements than addresses"));
            out.push(new(&[1], &[1; 9]).fails("Dim", "rank 9"));
            out
        }
    }

    /// Places along a dimension of `size` that a slice shows, counted as Python does, one by one.
    fn places(op: &Slice, size: usize) -> Vec<usize> {
        let size = size as i128;
        let absolute = |at: i64| if at < 0 { i128::from(at) + size } else { i128::from(at) };
        let (mut at, step) = (absolute(op.start), i128::from(op.step));
        let mut out = vec![];
        if step > 0 {
            let end = absolute(op.end).min(size);
            at = at.max(0);
            while at < end {
                out.push(at as usize);
                at += step;
            }
        } else {
            let end = if op.end == i64::MIN { -1 } else { absolute(op.end).max(-1) };
            at = at.min(size - 1);
            while at > end {
                out.push(at as usize);
                at += step;
            }
        }
        out
    }

    impl OpSpec for Slice {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let x = &x[0];
            let d = axis(self.dim, x.shape.len());
            let places = places(self, x.shape[d]);
            let mut shape = x.shape.clone();
            shape[d] = places.len();
            vec![RefArray::from_fn(&shape, |y| {
                let mut at = y.to_vec();
                at[d] = places[y[d]];
                x.at(&at)
            })]
        }

        fn samples() -> Vec<Sample> {
            const ALL: i64 = i64::MAX;
            let new = |from: &[usize], [dim, start, end, step]: [i64; 4]| {
                Sample::new(Slice { dim, start, end, step }, [real(from)])
            };
            let good: [(&[usize], [i64; 4]); 24] = [
                (&[7], [0, 2, 5, 1]),
                (&[7], [0, 0, ALL, 1]),
                (&[7], [0, 1, ALL, 2]),
                (&[7], [0, 0, 7, 3]),
                (&[7], [0, -3, ALL, 1]),
                (&[7], [0, 0, -2, 1]),
                (&[7], [0, -100, 100, 1]),
                (&[7], [0, 5, 2, 1]),
                (&[7], [0, 7, ALL, 1]),
                (&[7], [0, -1, i64::MIN, -1]),
                (&[7], [0, ALL, i64::MIN, -2]),
                (&[7], [0, 5, 1, -2]),
                (&[7], [0, -2, -5, -1]),
                (&[7], [0, 1, 5, -1]),
                (&[7], [0, 6, -100, -3]),
                (&[7], [0, 3, ALL, ALL]),
                (&[2, 3], [0, 0, ALL, ALL]),
                (&[2, 3], [0, 1, i64::MIN, i64::MIN]),
                (&[3, 4, 2], [1, 1, 3, 1]),
                (&[3, 4, 2], [-2, -1, i64::MIN, -1]),
                (&[3, 4, 2], [-1, 1, 2, 1]),
                (&[0], [0, 0, ALL, 1]),
                (&[0, 3], [0, -1, i64::MIN, -1]),
                (&[1, 2, 1, 3, 2, 1, 2, 2], [3, 0, ALL, 2]),
            ];
            let mut out: Vec<Sample> = good.iter().map(|(from, s)| new(from, *s).on(Dtypes::All)).collect();
            out.push(new(&[7], [0, 0, 7, 0]).fails("Dim", "step 0"));
            out.push(new(&[7], [1, 0, 7, 1]).fails("Dim", "out of range"));
            out.push(new(&[], [0, 0, 1, 1]).fails("Dim", "a scalar has no dimension"));
            out
        }
    }

    impl OpSpec for SliceGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dy = &x[0];
            let d = axis(self.dim, dy.shape.len());
            let mut shape = dy.shape.clone();
            shape[d] = self.size as usize;
            let mut dx = RefArray::zeros(&shape);
            crate::spec::each_index(&dy.shape, |i| {
                let mut at = i.to_vec();
                at[d] = (self.start + i[d] as i64 * self.step) as usize;
                *dx.at_mut(&at) += dy.at(i);
            });
            vec![dx]
        }

        fn samples() -> Vec<Sample> {
            let new = |from: &[usize], [dim, start, step, size]: [i64; 4]| {
                Sample::new(SliceGrad { dim, start, step, size }, [real(from)])
            };
            let good: [(&[usize], [i64; 4]); 15] = [
                (&[3], [0, 2, 1, 7]),
                (&[7], [0, 0, 1, 7]),
                (&[3], [0, 1, 2, 7]),
                (&[3], [0, 6, -3, 7]),
                (&[7], [0, 6, -1, 7]),
                (&[1], [0, 3, 100, 4]),
                (&[0], [0, 0, 1, 3]),
                (&[0], [0, 3, 1, 3]),
                (&[0], [0, 0, -2, 3]),
                (&[0], [0, 0, 1, 0]),
                (&[3, 2, 2], [1, 1, 1, 4]),
                (&[3, 2, 2], [-2, 3, -2, 4]),
                (&[3, 4, 1], [-1, 1, 1, 2]),
                (&[0, 2], [1, 0, 2, 3]),
                (&[1, 2, 1, 2, 2, 1, 2, 2], [3, 0, 2, 3]),
            ];
            let mut out: Vec<Sample> = good.iter().map(|(from, s)| new(from, *s)).collect();
            for &(from, s) in good.iter().take(5) {
                let op = SliceGrad { dim: s[0], start: s[1], step: s[2], size: s[3] };
                out.push(Sample::new(op, [ints(from, -9, 9)]).on(Dtypes::Ints));
            }
            out.push(new(&[3], [0, 5, 1, 7]).fails("Shape", "past the end"));
            out.push(new(&[3], [0, -1, 1, 7]).fails("Shape", "before the start"));
            out.push(new(&[3], [0, 1, -1, 7]).fails("Shape", "before the start"));
            out.push(new(&[3], [0, 1, i64::MAX, 7]).fails("Shape", "past all addresses"));
            out.push(new(&[0], [0, 4, 1, 3]).fails("Shape", "starts past the end"));
            out.push(new(&[3], [0, 0, 1, -7]).fails("Shape", "a negative size"));
            out.push(new(&[3], [0, 1, 0, 7]).fails("Dim", "step 0"));
            out.push(new(&[3], [1, 0, 1, 7]).fails("Dim", "out of range"));
            out.push(new(&[], [0, 0, 1, 7]).fails("Dim", "a scalar has no dimension"));
            out.push(
                Sample::new(SliceGrad { dim: 0, start: 0, step: 1, size: 3 }, [bools(&[3])]).fails("DType", "bool"),
            );
            out
        }
    }

    impl OpSpec for Cat {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let d = axis(self.dim, x[0].shape.len());
            let mut shape = x[0].shape.clone();
            shape[d] = x.iter().map(|x| x.shape[d]).sum();
            vec![RefArray::from_fn(&shape, |y| {
                let mut at = y.to_vec();
                for x in x {
                    if at[d] < x.shape[d] {
                        return x.at(&at);
                    }
                    at[d] -= x.shape[d];
                }
                f64::NAN // Not reached: the sizes add up.
            })]
        }

        fn samples() -> Vec<Sample> {
            let new = |dim, shapes: &[&[usize]]| {
                Sample::new(Cat { dim }, shapes.iter().map(|s| real(s)).collect::<Vec<Input>>())
            };
            let good: [(i64, &[&[usize]]); 12] = [
                (0, &[&[2, 3], &[1, 3]]),
                (1, &[&[2, 3], &[2, 1], &[2, 4]]),
                (-1, &[&[2, 3], &[2, 2]]),
                (-2, &[&[2, 3], &[2, 3]]),
                (1, &[&[2, 1, 3], &[2, 2, 3], &[2, 1, 3]]),
                (0, &[&[5]]),
                (0, &[&[2], &[0], &[3]]),
                (0, &[&[0], &[0]]),
                (1, &[&[2, 0], &[2, 3]]),
                (0, &[&[1, 0], &[2, 0]]),
                (0, &[&[1]; 12].map(|s: &[usize; 1]| &s[..])),
                (4, &[&[1, 2, 1, 2, 1, 2, 1, 2], &[1, 2, 1, 2, 3, 2, 1, 2]]),
            ];
            let mut out: Vec<Sample> = good.iter().map(|(dim, shapes)| new(*dim, shapes).on(Dtypes::All)).collect();
            let mixed = [ints(&[2], -3, 3).of(DType::I32), real(&[3]), bools(&[2])];
            out.push(Sample::new(Cat { dim: 0 }, mixed).note("dtypes meet"));
            out.push(new(0, &[]).fails("Shape", "nothing to join"));
            out.push(new(0, &[&[2, 3], &[2, 4]]).fails("Shape", "another dimension differs"));
            out.push(new(0, &[&[2, 3], &[3]]).fails("Shape", "ranks differ"));
            out.push(new(2, &[&[2, 3], &[2, 3]]).fails("Dim", "out of range"));
            out.push(new(0, &[&[], &[]]).fails("Dim", "scalars have no dimension"));
            out
        }
    }
}
