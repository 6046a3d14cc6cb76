//! Views and joins: the same elements under another shape.

use esker_tensor::{DType, Error, Result, Shape};
use smallvec::smallvec;

use super::{Cat, Expand, Permute, Reshape, Slice, SliceGrad, inputs, no_compose, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs,
    Promote, Value, View, Vjp, sum_to,
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
        Ok(Span { dim, start: start.max(0) as usize, step: self.step as isize, len: len as usize })
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
        cx.only(0, || {
            cx.dy()?.slice_grad(span.dim as i64, span.start as i64, span.step as i64, shape[span.dim] as i64)
        })
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
        let dim = dy.shape.dim(self.dim)?;
        let mut shape = dy.shape;
        let last = self.start + (shape.get(dim).copied().unwrap_or(0) as i64 - 1) * self.step;
        if self.size < 0 || (shape.get(dim) != Some(&0) && !(0..self.size).contains(&last.max(self.start))) {
            return Err(Error::shape(format!(
                "{:?} elements from {} by {} do not lie within {}",
                shape.get(dim),
                self.start,
                self.step,
                self.size
            )));
        }
        shape[dim] = self.size as usize;
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
            let index = V::arange(self.start as f64, self.step as f64, meta.shape[dim] as i64, DType::I64, meta.device)?;
            Ok(smallvec![index.index_add(dy, dim as i64, self.size)?])
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
            out.shape[dim] += m.shape[dim];
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

