//! Two-dimensional convolution. It is bilinear, and its two gradients are ops of the same kind, so that the three
//! differentiate into one another to any order.

use esker_tensor::{Error, Result, Shape};
use smallvec::smallvec;

use super::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, inputs, need_float, need_rank, no_compose, no_sizes};
use crate::kernel::Conv2d as Geometry;
use crate::{
    ConvPass, Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops,
    Promote, Sizes, Value, Vjp,
};

impl Default for Geometry {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

impl Geometry {
    /// Number of output positions along an axis (0 height, 1 width) for `size` inputs and a window of `kernel` taps.
    ///
    /// # Errors
    /// `Shape` when the window is larger than the padded input.
    pub fn output_size(&self, axis: usize, size: usize, kernel: usize) -> Result<usize> {
        let (stride, padding, dilation) = (self.stride[axis], self.padding[axis], self.dilation[axis]);
        if stride == 0 || dilation == 0 || kernel == 0 {
            return Err(Error::shape(format!(
                "stride {stride}, dilation {dilation} and kernel size {kernel} must be positive"
            )));
        }
        let padded = size + 2 * padding;
        let span = dilation * (kernel - 1) + 1;
        if span > padded {
            return Err(Error::shape(format!(
                "the window spans {span} but the padded input has only {padded} ({size} + 2 x {padding})"
            )));
        }
        Ok((padded - span) / stride + 1)
    }

    fn output(&self, x: &Shape, w: &Shape) -> Result<Shape> {
        let groups = self.groups;
        if groups == 0 || x[1] != w[1] * groups || !w[0].is_multiple_of(groups) {
            return Err(Error::shape(format!(
                "{groups} groups need an input of {} channels and output channels divisible by {groups}; \
                 got input {x:?} and weight {w:?}",
                w[1] * groups.max(1)
            )));
        }
        let out = Shape::from([x[0], w[0], self.output_size(0, x[2], w[2])?, self.output_size(1, x[3], w[3])?]);
        out.checked_numel()?;
        Ok(out)
    }

    fn onnx(&self, op_type: &'static str) -> OnnxNode {
        let pair = |p: [usize; 2]| OnnxAttr::Ints(p.map(|n| n as i64).to_vec());
        let [h, w] = self.padding.map(|n| n as i64);
        OnnxNode::new(op_type, vec![OnnxRef::In(0), OnnxRef::In(1)])
            .attr("strides", pair(self.stride))
            .attr("pads", OnnxAttr::Ints(vec![h, w, h, w]))
            .attr("dilations", pair(self.dilation))
            .attr("group", OnnxAttr::Int(self.groups as i64))
    }
}

/// A pair of sizes attribute as `[height, width]`.
fn pair(sizes: &Sizes) -> Result<[usize; 2]> {
    let shape = sizes.shape()?;
    shape[..].try_into().map_err(|_| Error::shape(format!("{sizes:?} must be a height and a width")))
}

impl OpRule for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, w] = inputs(x)?;
        need_float("the input", x.dtype)?;
        need_rank("the input", &x, 4)?;
        need_rank("the weight", &w, 4)?;
        Ok(smallvec![Meta::new(x.dtype, self.conv.output(&x.shape, &w.shape)?, x.device.meet(w.device)?)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Conv(ConvPass::Forward, self.conv))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b11)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (dy, xs, ws) = (cx.dy()?, cx.x_metas[0].shape, cx.x_metas[1].shape);
        cx.each(|i| match i {
            0 => dy.conv2d_input_grad(cx.x(1)?, self.conv, [xs[2], xs[3]]),
            _ => cx.x(0)?.conv2d_weight_grad(dy, self.conv, [ws[2], ws[3]]),
        })
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        self.conv.onnx("Conv").into()
    }

    no_sizes!();
}

impl OpRule for Conv2dInputGrad {
    fn name(&self) -> &'static str {
        "conv2d_input_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [dy, w] = inputs(x)?;
        need_float("the gradient", dy.dtype)?;
        need_rank("the gradient", &dy, 4)?;
        need_rank("the weight", &w, 4)?;
        let [h, width] = pair(&self.size)?;
        let dx = Shape::from([dy.shape[0], w.shape[1] * self.conv.groups, h, width]);
        let expected = self.conv.output(&dx, &w.shape)?;
        if expected != dy.shape {
            return Err(Error::shape(format!(
                "an input of {dx:?} gives an output of {expected:?}, but its gradient is {:?}",
                dy.shape
            )));
        }
        Ok(smallvec![Meta::new(dy.dtype, dx, dy.device.meet(w.device)?)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Conv(ConvPass::Input, self.conv))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b11)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (ddx, ws) = (cx.dy()?, cx.x_metas[1].shape);
        cx.each(|i| match i {
            0 => ddx.conv2d(cx.x(1)?, self.conv),
            _ => ddx.conv2d_weight_grad(cx.x(0)?, self.conv, [ws[2], ws[3]]),
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        // ConvTranspose is exactly this; what the strided windows did not reach is output padding.
        let Ok(size) = pair(&self.size) else { return Onnx::None("its size is not a pair") };
        let extra = [0, 1].map(|a| {
            let (s, p, d) = (self.conv.stride[a], self.conv.padding[a], self.conv.dilation[a]);
            let reached = (cx.x[0].shape[2 + a] - 1) * s + d * (cx.x[1].shape[2 + a] - 1) + 1;
            (size[a] + 2 * p - reached.min(size[a] + 2 * p)) as i64
        });
        self.conv.onnx("ConvTranspose").attr("output_padding", OnnxAttr::Ints(extra.to_vec())).into()
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        self.size.visit(f);
    }
}

impl OpRule for Conv2dWeightGrad {
    fn name(&self) -> &'static str {
        "conv2d_weight_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, dy] = inputs(x)?;
        need_float("the input", x.dtype)?;
        need_rank("the input", &x, 4)?;
        need_rank("the gradient", &dy, 4)?;
        let [r, s] = pair(&self.kernel)?;
        if self.conv.groups == 0 || x.shape[1] % self.conv.groups != 0 {
            return Err(Error::shape(format!("{:?} does not split into {} groups", x.shape, self.conv.groups)));
        }
        let w = Shape::from([dy.shape[1], x.shape[1] / self.conv.groups, r, s]);
        let expected = self.conv.output(&x.shape, &w)?;
        if expected != dy.shape {
            return Err(Error::shape(format!(
                "an input of {:?} with a weight of {w:?} gives {expected:?}, but its gradient is {:?}",
                x.shape, dy.shape
            )));
        }
        Ok(smallvec![Meta::new(x.dtype, w, x.device.meet(dy.device)?)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Conv(ConvPass::Weight, self.conv))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b11)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (ddw, xs) = (cx.dy()?, cx.x_metas[0].shape);
        cx.each(|i| match i {
            0 => cx.x(1)?.conv2d_input_grad(ddw, self.conv, [xs[2], xs[3]]),
            _ => cx.x(0)?.conv2d(ddw, self.conv),
        })
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::None("ONNX has no gradient of a convolution by its weight; it belongs to training")
    }

    no_sizes!();
}
