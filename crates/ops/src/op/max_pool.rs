//! The max pooling of planes that the public ones are made of.

use std::cmp::Ordering;

use esker_tensor::{DType, Error, Result, Shape};
use smallvec::smallvec;

use super::{MaxPool, MaxPoolGather, MaxUnpool2d, inputs, need_float, need_i64, need_rank, no_compose, no_sizes};
use crate::kernel::{Conv2d, Pool2d as Window};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, PoolPass,
    Promote, Value, Vjp,
};

impl Window {
    /// A square window that steps by its own size.
    pub fn square(kernel: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [kernel; 2], padding: [0, 0], dilation: [1, 1], ceil: false }
    }

    /// The shape of the windows over `[n, c, h, w]`.
    pub(super) fn output(&self, x: &Shape) -> Result<Shape> {
        if (0..2).any(|a| self.padding[a] > self.kernel[a] / 2) {
            return Err(Error::shape(format!(
                "padding {:?} is more than half of the window {:?}",
                self.padding, self.kernel
            )));
        }
        Ok(Shape::from([x[0], x[1], self.count(0, x[2])?, self.count(1, x[3])?]))
    }

    /// The number of windows along an axis of `size`.
    fn count(&self, axis: usize, size: usize) -> Result<usize> {
        let geometry = Conv2d { stride: self.stride, padding: self.padding, dilation: self.dilation, groups: 1 };
        let rest = self.stride[axis].saturating_sub(1);
        if !self.ceil || size == 0 {
            return geometry.output_size(axis, size, self.kernel[axis]);
        }
        // As many more places as let one window more begin, unless it would begin in the padding behind.
        let count = geometry.output_size(axis, size.saturating_add(rest), self.kernel[axis])?;
        let last = (count - 1).saturating_mul(self.stride[axis]);
        Ok(if last >= size + self.padding[axis] { count - 1 } else { count })
    }

    /// How far the last window reaches beyond the padding along an axis of `size`.
    pub(super) fn overhang(&self, axis: usize, size: usize, windows: usize) -> usize {
        let end = windows.saturating_sub(1) * self.stride[axis] + self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        end.saturating_sub(size + 2 * self.padding[axis])
    }

    /// Whether windows reach beyond the padding: what ONNX's ceil_mode says of all axes at once. It counts windows that
    /// begin in the padding behind, which are left out here; `None` where it cannot say what happens.
    fn beyond(&self, spatial: usize, x: &Shape, y: &Shape) -> Option<bool> {
        let ends = (0..spatial).map(|d| {
            let a = 2 - spatial + d;
            let end = y[2 + d].saturating_sub(1) * self.stride[a] + self.dilation[a] * (self.kernel[a] - 1) + 1;
            end.cmp(&(x[2 + d] + 2 * self.padding[a]))
        });
        let ends: Vec<Ordering> = ends.collect();
        match (ends.contains(&Ordering::Greater), ends.contains(&Ordering::Less)) {
            (true, true) => None,
            (beyond, _) => Some(beyond),
        }
    }

    /// A node that pools the last `spatial` dimensions.
    pub(super) fn node(&self, op_type: &'static str, spatial: usize) -> OnnxNode {
        let last = |p: [usize; 2]| p[2 - spatial..].iter().map(|&n| n as i64).collect::<Vec<_>>();
        let node = OnnxNode::new(op_type, vec![OnnxRef::In(0)])
            .attr("kernel_shape", OnnxAttr::Ints(last(self.kernel)))
            .attr("strides", OnnxAttr::Ints(last(self.stride)))
            .attr("pads", OnnxAttr::Ints([last(self.padding), last(self.padding)].concat()))
            .attr("ceil_mode", OnnxAttr::Int(i64::from(self.ceil)));
        if self.dilation == [1, 1] { node } else { node.attr("dilations", OnnxAttr::Ints(last(self.dilation))) }
    }

    /// The largest over the last `spatial` dimensions, in a dtype that the node has; the index, where asked for, counts
    /// within a plane of so many elements.
    pub(super) fn max_nodes(&self, spatial: usize, cx: &OnnxCx<'_>, plane: Option<usize>) -> Onnx {
        let dtype = cx.x[0].dtype;
        let Some(ceil) = self.beyond(spatial, &cx.x[0].shape, &cx.y[0].shape) else {
            return Onnx::None("MaxPool's ceil_mode counts windows that begin in the padding");
        };
        if dtype == DType::I64 {
            return Onnx::None("MaxPool takes no int64, nor another type that holds all of it");
        }
        let wide = matches!(dtype, DType::I16 | DType::I32);
        let cast = |from: OnnxRef, to: DType| OnnxNode::new("Cast", vec![from]).attr("to", OnnxAttr::DType(to));
        let mut nodes = if wide { vec![cast(OnnxRef::In(0), DType::F64)] } else { Vec::new() };
        let mut pool = Window { ceil, ..*self }.node("MaxPool", spatial).outputs(1 + usize::from(plane.is_some()));
        if wide {
            pool.inputs = vec![OnnxRef::Node(0, 0)];
        }
        nodes.push(pool);
        let at = nodes.len() - 1;
        match (wide, plane) {
            (true, _) => nodes.push(cast(OnnxRef::Node(at, 0), dtype)),
            (false, Some(_)) => nodes.push(OnnxNode::new("Identity", vec![OnnxRef::Node(at, 0)])),
            (false, None) => {}
        }
        // ONNX counts indices over the whole tensor, Esker within a plane.
        nodes.extend(
            plane.map(|plane| {
                OnnxNode::new("Mod", vec![OnnxRef::Node(at, 1), OnnxRef::Scalar(plane as f64, DType::I64)])
            }),
        );
        Onnx::Nodes(nodes)
    }
}

impl OpRule for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        if x.dtype == DType::Bool {
            return Err(Error::dtype("the input must hold numbers, got bool; cast it first"));
        }
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
        self.pool.max_nodes(2, cx, Some(cx.x[0].shape[2] * cx.x[0].shape[3]))
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
        let shape = Shape::from([dy.shape[0], dy.shape[1], h, w]);
        shape.checked_numel()?;
        Ok(smallvec![Meta::new(dy.dtype, shape, dy.device.meet(index.device)?)])
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
        if x.shape[..2] != index.shape[..2] {
            return Err(Error::shape(format!(
                "the index {:?} is for other planes than {:?} has",
                index.shape, x.shape
            )));
        }
        Ok(smallvec![Meta::new(x.dtype, index.shape, x.device.meet(index.device)?)])
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

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, Fill, Input, OpSpec, RefArray, Sample, bools, distinct, ints, real, values};

    /// Shapes and windows that fit.
    fn cases() -> Vec<([usize; 4], Window)> {
        let two = Window::square(2);
        vec![
            ([1, 1, 4, 4], two),
            ([2, 3, 5, 6], two),
            ([1, 2, 5, 5], Window { kernel: [3, 2], stride: [1, 1], ..two }),
            ([1, 2, 5, 5], Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ..two }),
            ([2, 1, 7, 6], Window { stride: [1, 2], dilation: [3, 2], ..two }),
            ([1, 1, 3, 4], Window { kernel: [2, 3], stride: [3, 1], padding: [1, 1], ..two }),
            ([1, 2, 3, 3], Window::square(1)),
            ([1, 35, 2, 2], two),
            ([0, 2, 4, 4], two),
            ([2, 0, 4, 4], two),
        ]
    }

    /// The places of `x`'s plane that a window at output `(oy, ox)` sees, row-major.
    fn window(p: &Window, plane: [usize; 2], at: [usize; 2]) -> Vec<usize> {
        let mut seen = Vec::new();
        for r in 0..p.kernel[0] {
            for s in 0..p.kernel[1] {
                let row = (at[0] * p.stride[0] + r * p.dilation[0]).checked_sub(p.padding[0]);
                let column = (at[1] * p.stride[1] + s * p.dilation[1]).checked_sub(p.padding[1]);
                if let (Some(row), Some(column)) = (row, column)
                    && row < plane[0]
                    && column < plane[1]
                {
                    seen.push(row * plane[1] + column);
                }
            }
        }
        seen
    }

    fn out_shape(p: &Window, x: &[usize]) -> [usize; 4] {
        let size = |a: usize| {
            let span = p.dilation[a] * (p.kernel[a] - 1) + 1;
            let end = x[2 + a] + 2 * p.padding[a];
            // Rounded up, a window may end beyond, but what it begins before is no longer padding.
            let fits = |at: &usize| match p.ceil {
                true => at + span < end + p.stride[a] && *at < x[2 + a] + p.padding[a],
                false => at + span <= end,
            };
            (0..).step_by(p.stride[a]).take_while(fits).count()
        };
        [x[0], x[1], size(0), size(1)]
    }

    /// An index input that points into a plane, with repeats.
    fn places(shape: &[usize], plane: usize) -> Input {
        Input { shape: shape.to_vec(), fill: Fill::Ints(0, plane as i64 - 1), dtype: Some(DType::I64) }
    }

    impl OpSpec for MaxPool {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let x = &x[0];
            let plane = [x.shape[2], x.shape[3]];
            let index = RefArray::from_fn(&out_shape(&self.pool, &x.shape), |y| {
                let value = |i: usize| x.at(&[y[0], y[1], i / plane[1], i % plane[1]]);
                let seen = window(&self.pool, plane, [y[2], y[3]]);
                let best =
                    seen.into_iter().reduce(|a, b| if value(a).is_nan() || (value(a) >= value(b)) { a } else { b });
                best.map_or(f64::NAN, |i| i as f64)
            });
            let value = RefArray::from_fn(&index.shape, |y| {
                let i = index.at(y) as usize;
                x.at(&[y[0], y[1], i / plane[1], i % plane[1]])
            });
            vec![value, index]
        }

        fn samples() -> Vec<Sample> {
            let new = |pool, x: Input| Sample::new(MaxPool { pool }, [x]);
            let mut out: Vec<Sample> = cases().iter().map(|(x, pool)| new(*pool, distinct(x))).collect();
            let two = Window::square(2);
            out.push(new(two, ints(&[1, 2, 4, 4], 0, 1)).rough().note("ties"));
            let low = values(&[1, 1, 2, 2], &[f64::NEG_INFINITY; 4]);
            let padded = Window { padding: [1, 1], ..two };
            let note = "by definition: padding is never chosen";
            out.push(new(padded, low).known(&[&[f64::NEG_INFINITY; 4], &[0.0, 1.0, 2.0, 3.0]], note));
            let nan = values(&[1, 1, 2, 3], &[1.0, f64::NAN, 5.0, 2.0, f64::NAN, 3.0]);
            let known: &[&[f64]] = &[&[f64::NAN, f64::NAN], &[1.0, 1.0]];
            let slide = Window { stride: [1, 1], ..two };
            out.push(new(slide, nan).known(known, "PyTorch's rule: the first NaN wins"));
            let fails = |x: &[usize], pool, note| new(pool, real(x)).fails("Shape", note);
            out.push(fails(&[1, 1, 1, 4], two, "the window is larger than the input"));
            out.push(fails(&[1, 1, 4, 4], Window { padding: [2, 0], ..two }, "padding of more than half the window"));
            out.push(fails(&[1, 1, 4, 4], Window { stride: [0, 1], ..two }, "stride 0"));
            out.push(fails(&[1, 1, 4, 4], Window { kernel: [0, 1], ..two }, "an empty window"));
            let huge = Window { padding: [usize::MAX, 0], ..two };
            out.push(fails(&[1, 1, 4, 4], huge, "padding beyond all addresses"));
            out.push(fails(
                &[1, 1, 4, 4],
                Window { dilation: [usize::MAX, 1], kernel: [3, 1], ..two },
                "dilation beyond",
            ));
            out.push(fails(&[1, 4, 4], two, "rank 3"));
            out.push(
                new(two, ints(&[1, 3, 4, 4], -20, 20)).on(Dtypes::Only(&[DType::I8, DType::I64])).note("integers"),
            );
            out.push(new(Window { ceil: true, ..two }, distinct(&[1, 2, 5, 3])).note("a window beyond the end"));
            let wide = Window { ceil: true, stride: [3, 3], padding: [1, 1], ..two };
            out.push(new(wide, distinct(&[1, 1, 3, 5])).note("a window that would begin in the padding"));
            let op = MaxPool { pool: two };
            out.push(Sample::new(op, [bools(&[1, 1, 4, 4])]).on(Dtypes::Only(&[DType::F32])).fails("DType", "bools"));
            out
        }
    }

    impl OpSpec for MaxUnpool2d {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [dy, index] = x else { return vec![] };
            let size = self.size.get().unwrap_or(&[]);
            let [h, w] = [size[0] as usize, size[1] as usize];
            let mut dx = RefArray::zeros(&[dy.shape[0], dy.shape[1], h, w]);
            crate::spec::each_index(&dy.shape, |y| {
                let i = index.at(y) as usize;
                *dx.at_mut(&[y[0], y[1], i / w, i % w]) += dy.at(y);
            });
            vec![dx]
        }

        fn samples() -> Vec<Sample> {
            let new = |pool, size: [usize; 2], dy: Input, index: Input| {
                Sample::new(MaxUnpool2d { pool, size: size.into() }, [dy, index])
            };
            let case = |(x, pool): &([usize; 4], Window)| {
                let y = out_shape(pool, x);
                new(*pool, [x[2], x[3]], real(&y), places(&y, x[2] * x[3]))
            };
            let mut out: Vec<Sample> = cases().iter().map(case).collect();
            let two = Window::square(2);
            let y: &[usize] = &[1, 1, 2, 2];
            let at = |v: &[f64]| values(y, v).of(DType::I64);
            let repeats = new(two, [4, 4], values(y, &[1.0, 2.0, 3.0, 4.0]), at(&[5.0, 5.0, 15.0, 5.0]));
            let mut known = [0.0; 16];
            (known[5], known[15]) = (7.0, 3.0);
            out.push(repeats.known(&[&known], "by hand: windows that chose one element add up there"));
            out.push(new(two, [4, 4], real(y), at(&[0.0, 1.0, 2.0, 16.0])).fails("Kernel", "beyond the plane"));
            out.push(new(two, [4, 4], real(y), at(&[0.0, -1.0, 2.0, 3.0])).fails("Kernel", "before the plane"));
            out.push(new(two, [4, 4], real(y), places(&[1, 1, 2, 1], 16)).fails("Shape", "sizes differ"));
            out.push(new(two, [4, 4], real(&[2, 2]), places(&[2, 2], 16)).fails("Shape", "rank 2"));
            out.push(new(two, [4, 4], real(y), real(y)).fails("DType", "a float index"));
            let op = MaxUnpool2d { pool: two, size: [4].into() };
            out.push(Sample::new(op, [real(y), places(y, 16)]).fails("Shape", "one size"));
            out
        }
    }

    impl OpSpec for MaxPoolGather {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, index] = x else { return vec![] };
            let w = x.shape[3];
            vec![RefArray::from_fn(&index.shape, |y| {
                let i = index.at(y) as usize;
                x.at(&[y[0], y[1], i / w, i % w])
            })]
        }

        fn samples() -> Vec<Sample> {
            let new = |pool, x: Input, index: Input| Sample::new(MaxPoolGather { pool }, [x, index]);
            let case = |(x, pool): &([usize; 4], Window)| new(*pool, real(x), places(&out_shape(pool, x), x[2] * x[3]));
            let mut out: Vec<Sample> = cases().iter().map(case).collect();
            let two = Window::square(2);
            let (x, y): (&[usize], &[usize]) = (&[1, 1, 4, 4], &[1, 1, 2, 2]);
            let at = |v: &[f64]| values(y, v).of(DType::I64);
            out.push(new(two, real(x), at(&[0.0, 1.0, 2.0, 16.0])).fails("Kernel", "beyond the plane"));
            out.push(new(two, real(x), at(&[0.0, -1.0, 2.0, 3.0])).fails("Kernel", "before the plane"));
            out.push(new(two, real(x), places(&[2, 1, 2, 2], 16)).fails("Shape", "other images"));
            out.push(new(two, real(x), places(&[1, 2, 2, 2], 16)).fails("Shape", "other channels"));
            out.push(new(two, real(&[4, 4]), places(y, 16)).fails("Shape", "rank 2"));
            out.push(new(two, real(x), real(y)).fails("DType", "a float index"));
            out
        }
    }
}
