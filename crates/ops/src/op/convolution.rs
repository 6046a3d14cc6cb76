//! The convolution of planes that the public ones are made of. It is bilinear, and its two gradients are ops of the same kind, so that the three
//! differentiate into one another to any order.

use esker_tensor::{Error, Result, Shape};
use smallvec::smallvec;

use super::{
    Convolution, ConvolutionInputGrad, ConvolutionWeightGrad, inputs, need_float, need_rank, no_compose, no_sizes,
};
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
        let padded = size.saturating_add(padding.saturating_mul(2));
        let span = dilation.saturating_mul(kernel - 1).saturating_add(1);
        if padded == usize::MAX || span > padded {
            return Err(Error::shape(format!(
                "the window spans {span} but the padded input has only {padded} ({size} + 2 x {padding})"
            )));
        }
        Ok((padded - span) / stride + 1)
    }

    fn output(&self, x: &Shape, w: &Shape) -> Result<Shape> {
        let groups = self.groups;
        if groups == 0 || w[1].checked_mul(groups) != Some(x[1]) || !w[0].is_multiple_of(groups) {
            return Err(Error::shape(format!(
                "{groups} groups need an input of {} channels and output channels divisible by {groups}; \
                 got input {x:?} and weight {w:?}",
                w[1].saturating_mul(groups.max(1))
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

impl OpRule for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
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
            0 => dy.convolution_input_grad(cx.x(1)?, self.conv, [xs[2], xs[3]]),
            _ => cx.x(0)?.convolution_weight_grad(dy, self.conv, [ws[2], ws[3]]),
        })
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        self.conv.onnx("Conv").into()
    }

    no_sizes!();
}

impl OpRule for ConvolutionInputGrad {
    fn name(&self) -> &'static str {
        "convolution_input_grad"
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
        let dx = Shape::from([dy.shape[0], w.shape[1].saturating_mul(self.conv.groups), h, width]);
        dx.checked_numel()?;
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
            0 => ddx.convolution(cx.x(1)?, self.conv),
            _ => ddx.convolution_weight_grad(cx.x(0)?, self.conv, [ws[2], ws[3]]),
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

impl OpRule for ConvolutionWeightGrad {
    fn name(&self) -> &'static str {
        "convolution_weight_grad"
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
            0 => cx.x(1)?.convolution_input_grad(ddw, self.conv, [xs[2], xs[3]]),
            _ => cx.x(0)?.convolution(ddw, self.conv),
        })
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::None("ONNX has no gradient of a convolution by its weight; it belongs to training")
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real};

    /// The size of an axis of the output.
    fn out_size(g: &Geometry, axis: usize, size: usize, kernel: usize) -> usize {
        // Count the places where the window still ends within the padded input.
        let span = g.dilation[axis] * (kernel - 1) + 1;
        (0..).step_by(g.stride[axis]).take_while(|at| at + span <= size + 2 * g.padding[axis]).count()
    }

    fn out_shape(g: &Geometry, x: &[usize], w: &[usize]) -> [usize; 4] {
        [x[0], w[0], out_size(g, 0, x[2], w[2]), out_size(g, 1, x[3], w[3])]
    }

    /// Every product of a convolution: calls `f` with the places in x, w and y.
    fn each_product(g: &Geometry, x: &[usize], w: &[usize], mut f: impl FnMut([usize; 4], [usize; 4], [usize; 4])) {
        let per_group = w[0] / g.groups;
        crate::spec::each_index(&out_shape(g, x, w), |y| {
            crate::spec::each_index(&w[1..], |tap| {
                let at = |axis: usize| {
                    (y[2 + axis] * g.stride[axis] + tap[1 + axis] * g.dilation[axis]).checked_sub(g.padding[axis])
                };
                let (Some(row), Some(column)) = (at(0), at(1)) else { return };
                if row < x[2] && column < x[3] {
                    let channel = y[1] / per_group * w[1] + tap[0];
                    f([y[0], channel, row, column], [y[1], tap[0], tap[1], tap[2]], [y[0], y[1], y[2], y[3]]);
                }
            });
        });
    }

    /// Shapes of x and w and a geometry that fit one another.
    fn cases() -> Vec<([usize; 4], [usize; 4], Geometry)> {
        let plain = Geometry::default();
        vec![
            ([1, 1, 4, 4], [1, 1, 3, 3], plain),
            ([2, 3, 5, 4], [4, 3, 3, 2], plain),
            ([1, 2, 5, 5], [3, 2, 3, 3], Geometry { padding: [1, 1], ..plain }),
            ([1, 2, 6, 5], [3, 2, 3, 3], Geometry { stride: [2, 1], padding: [1, 0], ..plain }),
            ([1, 2, 7, 6], [2, 2, 3, 2], Geometry { dilation: [2, 3], ..plain }),
            ([2, 2, 6, 7], [2, 2, 3, 3], Geometry { stride: [2, 3], padding: [2, 1], dilation: [2, 1], ..plain }),
            ([1, 4, 4, 4], [6, 2, 3, 3], Geometry { groups: 2, padding: [1, 1], ..plain }),
            ([2, 3, 4, 5], [3, 1, 3, 3], Geometry { groups: 3, padding: [1, 1], ..plain }),
            ([1, 2, 5, 5], [4, 1, 2, 2], Geometry { groups: 2, stride: [2, 2], ..plain }),
            ([2, 5, 3, 3], [4, 5, 1, 1], plain),
            ([1, 2, 3, 3], [2, 2, 1, 1], Geometry { stride: [2, 2], ..plain }),
            ([1, 3, 1, 9], [2, 3, 1, 5], Geometry { padding: [0, 2], ..plain }),
            ([1, 1, 2, 2], [1, 1, 5, 5], Geometry { padding: [2, 2], ..plain }),
            ([1, 17, 2, 3], [9, 17, 1, 1], plain),
            ([0, 2, 4, 4], [3, 2, 3, 3], plain),
            ([1, 0, 4, 4], [3, 0, 3, 3], plain),
            ([1, 2, 4, 4], [0, 2, 3, 3], plain),
        ]
    }

    impl OpSpec for Convolution {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, w] = x else { return vec![] };
            let mut y = RefArray::zeros(&out_shape(&self.conv, &x.shape, &w.shape));
            each_product(&self.conv, &x.shape, &w.shape, |xi, wi, yi| *y.at_mut(&yi) += x.at(&xi) * w.at(&wi));
            vec![y]
        }

        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], w: &[usize], conv| Sample::new(Convolution { conv }, [real(x), real(w)]);
            let mut out: Vec<Sample> = cases().iter().map(|(x, w, conv)| new(x, w, *conv)).collect();
            let plain = Geometry::default();
            let mixed = [ints(&[1, 1, 3, 3], -3, 3).of(esker_tensor::DType::I32), real(&[1, 1, 2, 2])];
            out.push(Sample::new(Convolution { conv: plain }, mixed).note("an integer meets a float"));
            let fails = |x: &[usize], w: &[usize], conv, note| new(x, w, conv).fails("Shape", note);
            out.push(fails(&[1, 1, 2, 2], &[1, 1, 3, 3], plain, "the window is larger than the input"));
            let padded = Geometry { padding: [1, 1], dilation: [3, 1], ..plain };
            out.push(fails(&[1, 1, 4, 4], &[1, 1, 3, 3], padded, "the window is larger than the padded input"));
            out.push(fails(&[1, 2, 4, 4], &[1, 3, 3, 3], plain, "channels differ"));
            out.push(fails(&[1, 4, 4, 4], &[3, 2, 3, 3], Geometry { groups: 2, ..plain }, "3 outputs in 2 groups"));
            out.push(fails(&[1, 1, 4, 4], &[1, 1, 3, 3], Geometry { groups: 0, ..plain }, "no groups"));
            out.push(fails(&[1, 1, 4, 4], &[1, 1, 3, 3], Geometry { stride: [0, 1], ..plain }, "stride 0"));
            out.push(fails(&[1, 1, 4, 4], &[1, 1, 3, 3], Geometry { dilation: [1, 0], ..plain }, "dilation 0"));
            out.push(fails(&[1, 1, 4, 4], &[1, 1, 0, 3], plain, "an empty window"));
            let huge = Geometry { padding: [usize::MAX / 2, 0], ..plain };
            out.push(fails(&[1, 1, 4, 4], &[1, 1, 3, 3], huge, "padding beyond all addresses"));
            let huge = Geometry { dilation: [usize::MAX, 1], ..plain };
            out.push(fails(&[1, 1, 4, 4], &[1, 1, 3, 3], huge, "dilation beyond all addresses"));
            let huge = Geometry { groups: usize::MAX, ..plain };
            out.push(fails(&[1, 1, 4, 4], &[1, 2, 3, 3], huge, "groups beyond all addresses"));
            out.push(fails(&[1, 4, 4], &[1, 1, 3, 3], plain, "rank 3"));
            out.push(fails(&[1, 1, 4, 4], &[1, 3, 3], plain, "rank 3"));
            let whole = [ints(&[1, 1, 3, 3], 0, 3), ints(&[1, 1, 2, 2], 0, 3)];
            out.push(Sample::new(Convolution { conv: plain }, whole).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }

    impl OpSpec for ConvolutionInputGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [dy, w] = x else { return vec![] };
            let size = self.size.get().unwrap_or(&[]);
            let shape = [dy.shape[0], w.shape[1] * self.conv.groups, size[0] as usize, size[1] as usize];
            let mut dx = RefArray::zeros(&shape);
            each_product(&self.conv, &shape, &w.shape, |xi, wi, yi| *dx.at_mut(&xi) += dy.at(&yi) * w.at(&wi));
            vec![dx]
        }

        fn samples() -> Vec<Sample> {
            let new = |dy: &[usize], w: &[usize], conv, size| {
                Sample::new(ConvolutionInputGrad { conv, size }, [real(dy), real(w)])
            };
            let case = |&(x, w, conv): &([usize; 4], [usize; 4], Geometry)| {
                new(&out_shape(&conv, &x, &w), &w, conv, [x[2], x[3]].into())
            };
            let mut out: Vec<Sample> = cases().iter().map(case).collect();
            let plain = Geometry::default();
            let (dy, w): (&[usize], &[usize]) = (&[1, 1, 2, 2], &[1, 1, 3, 3]);
            out.push(new(dy, w, plain, [5, 4].into()).fails("Shape", "that input gives another output"));
            out.push(new(dy, w, plain, [4].into()).fails("Shape", "one size"));
            out.push(new(dy, w, plain, [4, -4].into()).fails("Shape", "a negative size"));
            out.push(new(dy, w, plain, Sizes::new(&[1; 9])).fails("Dim", "nine sizes"));
            out.push(
                new(dy, w, Geometry { groups: usize::MAX, ..plain }, [4, 4].into()).fails("Shape", "too many groups"),
            );
            out.push(new(&[1, 2, 2], w, plain, [4, 4].into()).fails("Shape", "rank 3"));
            let whole = [ints(dy, 0, 3), ints(w, 0, 3)];
            let op = ConvolutionInputGrad { conv: plain, size: [4, 4].into() };
            out.push(Sample::new(op, whole).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }

    impl OpSpec for ConvolutionWeightGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, dy] = x else { return vec![] };
            let kernel = self.kernel.get().unwrap_or(&[]);
            let shape = [dy.shape[1], x.shape[1] / self.conv.groups, kernel[0] as usize, kernel[1] as usize];
            let mut dw = RefArray::zeros(&shape);
            each_product(&self.conv, &x.shape, &shape, |xi, wi, yi| *dw.at_mut(&wi) += x.at(&xi) * dy.at(&yi));
            vec![dw]
        }

        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], dy: &[usize], conv, kernel| {
                Sample::new(ConvolutionWeightGrad { conv, kernel }, [real(x), real(dy)])
            };
            let case = |&(x, w, conv): &([usize; 4], [usize; 4], Geometry)| {
                new(&x, &out_shape(&conv, &x, &w), conv, [w[2], w[3]].into())
            };
            let mut out: Vec<Sample> = cases().iter().map(case).collect();
            let plain = Geometry::default();
            let (x, dy): (&[usize], &[usize]) = (&[1, 2, 4, 4], &[1, 1, 2, 2]);
            out.push(new(x, dy, plain, [2, 3].into()).fails("Shape", "that weight gives another output"));
            out.push(new(x, dy, plain, [3, 3, 3].into()).fails("Shape", "three sizes"));
            out.push(
                new(x, dy, Geometry { groups: 3, ..plain }, [3, 3].into()).fails("Shape", "2 channels in 3 groups"),
            );
            out.push(new(x, dy, Geometry { groups: 0, ..plain }, [3, 3].into()).fails("Shape", "no groups"));
            out.push(new(x, &[1, 2, 2], plain, [3, 3].into()).fails("Shape", "rank 3"));
            let whole = [ints(x, 0, 3), ints(dy, 0, 3)];
            let op = ConvolutionWeightGrad { conv: plain, kernel: [3, 3].into() };
            out.push(Sample::new(op, whole).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }
}
