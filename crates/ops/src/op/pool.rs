//! Max pooling in two dimensions.

use esker_tensor::{DType, Error, Result, Shape};
use smallvec::smallvec;

use super::{MaxPool2d, MaxPoolGather, MaxUnpool2d, inputs, need_float, need_i64, need_rank, no_compose, no_sizes};
use crate::kernel::{Conv2d, Pool2d as Window};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, PoolPass,
    Promote, Value, Vjp,
};

impl Window {
    /// A square window that steps by its own size.
    pub fn square(kernel: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [kernel; 2], padding: [0, 0], dilation: [1, 1] }
    }

    fn output(&self, x: &Shape) -> Result<Shape> {
        if (0..2).any(|a| self.padding[a] * 2 > self.kernel[a]) {
            return Err(Error::shape(format!(
                "padding {:?} is more than half of the window {:?}",
                self.padding, self.kernel
            )));
        }
        let geometry =
            Conv2d { stride: self.stride, padding: self.padding, dilation: self.dilation, groups: 1 };
        let size = |a: usize| geometry.output_size(a, x[2 + a], self.kernel[a]);
        Ok(Shape::from([x[0], x[1], size(0)?, size(1)?]))
    }
}

impl OpRule for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        need_float("the input", x.dtype)?;
        need_rank("the input", &x, 4)?;
        let y = x.with_shape(self.pool.output(&x.shape)?);
        Ok(smallvec![y, y.with_dtype(DType::I64)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Pool(PoolPass::Max, self.pool))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::outputs(0b10)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let x = &cx.x_metas[0].shape;
        cx.only(0, || cx.dy()?.max_unpool2d(cx.y(1)?, self.pool, [x[2], x[3]]))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let pair = |p: [usize; 2]| OnnxAttr::Ints(p.map(|n| n as i64).to_vec());
        let [ph, pw] = self.pool.padding.map(|n| n as i64);
        let pool = OnnxNode::new("MaxPool", vec![OnnxRef::In(0)])
            .attr("kernel_shape", pair(self.pool.kernel))
            .attr("strides", pair(self.pool.stride))
            .attr("pads", OnnxAttr::Ints(vec![ph, pw, ph, pw]))
            .attr("dilations", pair(self.pool.dilation))
            .outputs(2);
        // ONNX counts indices over the whole tensor, Esker within a plane.
        let plane = (cx.x[0].shape[2] * cx.x[0].shape[3]) as f64;
        Onnx::Nodes(vec![
            pool,
            OnnxNode::new("Identity", vec![OnnxRef::Node(0, 0)]),
            OnnxNode::new("Mod", vec![OnnxRef::Node(0, 1), OnnxRef::Scalar(plane, DType::I64)]),
        ])
    }

    no_sizes!();
}

impl OpRule for MaxUnpool2d {
    fn name(&self) -> &'static str {
        "max_unpool2d"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [dy, index] = inputs(x)?;
        need_float("the gradient", dy.dtype)?;
        need_i64("the index", index.dtype)?;
        need_rank("the gradient", &dy, 4)?;
        if dy.shape != index.shape {
            return Err(Error::shape(format!("the gradient is {:?} but the index {:?}", dy.shape, index.shape)));
        }
        let size = self.size.shape()?;
        let [h, w] = size[..] else {
            return Err(Error::shape(format!("{:?} must be a height and a width", self.size)));
        };
        Ok(smallvec![dy.with_shape(Shape::from([dy.shape[0], dy.shape[1], h, w]))])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Pool(PoolPass::MaxInput, self.pool))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b10)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || cx.dy()?.max_pool_gather(cx.x(1)?, self.pool))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::None("it adds where windows overlap, which MaxUnpool does not; it belongs to training")
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        self.size.visit(f);
    }
}

impl OpRule for MaxPoolGather {
    fn name(&self) -> &'static str {
        "max_pool_gather"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, index] = inputs(x)?;
        need_float("the input", x.dtype)?;
        need_i64("the index", index.dtype)?;
        need_rank("the input", &x, 4)?;
        need_rank("the index", &index, 4)?;
        Ok(smallvec![x.with_shape(index.shape)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Pool(PoolPass::MaxGather, self.pool))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b10)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let x = &cx.x_metas[0].shape;
        cx.only(0, || cx.dy()?.max_unpool2d(cx.x(1)?, self.pool, [x[2], x[3]]))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::None("it only occurs in second derivatives of max pooling")
    }

    no_sizes!();
}
