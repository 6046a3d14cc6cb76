//! The mean pooling of planes that the public ones are made of. It is linear, and it and its gradient differentiate into
//! one another. Both are also convolutions with ones.

use esker_tensor::{Error, Result, Shape};
use smallvec::smallvec;

use super::{MeanPool, MeanPoolGrad, inputs, need_float, need_rank, no_sizes};
use crate::kernel::{Conv2d, Pool2d as Window};
use crate::{
    Divisor, Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs,
    PoolPass, Promote, Value, Vjp,
};

/// The shape of the windows over `x`.
fn windows(pool: &Window, divisor: Divisor, x: &Shape) -> Result<Shape> {
    if divisor == Divisor::Fixed(0) {
        return Err(Error::shape("the divisor must not be 0"));
    }
    pool.output(x)
}

fn geometry(pool: &Window) -> Conv2d {
    Conv2d { stride: pool.stride, padding: pool.padding, dilation: [1, 1], groups: 1 }
}

/// How far the windows `y` reach beyond the padding of `x`.
fn overhang(pool: &Window, x: &Shape, y: &Shape) -> [usize; 2] {
    [0, 1].map(|a| pool.overhang(a, x[2 + a], y[2 + a]))
}

/// Planes with so many zeros behind each axis.
fn extended<V: Value>(x: &V, rest: [usize; 2]) -> Result<V> {
    let shape = x.meta().shape;
    let mut x = x.clone();
    for d in (0..2).filter(|d| rest[*d] > 0) {
        x = x.slice_grad(2 + d as i64, 0, 1, (shape[2 + d] + rest[d]) as i64)?;
    }
    Ok(x)
}

/// What the sums of the windows over planes of `x` are divided by, for all planes alike.
fn counts<V: Value>(pool: &Window, divisor: Divisor, x: &Meta, y: &Shape) -> Result<V> {
    let rest = overhang(pool, &x.shape, y);
    let ones = |sizes: [usize; 4]| V::full(1.0, sizes, x.dtype, x.device);
    let window = ones([1, 1, pool.kernel[0], pool.kernel[1]])?;
    let (h, w, [ph, pw]) = (x.shape[2], x.shape[3], pool.padding);
    match divisor {
        Divisor::Fixed(n) => V::scalar(n as f64, x.dtype, x.device),
        Divisor::Inside => extended(&ones([1, 1, h, w])?, rest)?.convolution(&window, geometry(pool)),
        Divisor::Padded => extended(&ones([1, 1, h + 2 * ph, w + 2 * pw])?, rest)?
            .convolution(&window, Conv2d { padding: [0, 0], ..geometry(pool) }),
    }
}

impl OpRule for MeanPool {
    fn name(&self) -> &'static str {
        "mean_pool"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        need_float("the input", x.dtype)?;
        need_rank("the input", &x, 4)?;
        Ok(smallvec![x.with_shape(windows(&self.pool, self.divisor, &x.shape)?)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Pool(PoolPass::Mean(self.divisor), self.pool))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let x = *x.first()?;
        Some((|| {
            let meta = x.meta();
            let [n, c, h, w] = meta.shape[..] else { return Err(Error::shape("the input must have rank 4")) };
            let y = windows(&self.pool, self.divisor, &meta.shape)?;
            let planes = extended(&x.reshape([n * c, 1, h, w])?, overhang(&self.pool, &meta.shape, &y))?;
            let ones = V::full(1.0, [1, 1, self.pool.kernel[0], self.pool.kernel[1]], meta.dtype, meta.device)?;
            let sums = planes.convolution(&ones, geometry(&self.pool))?;
            Ok(smallvec![sums.div(&counts::<V>(&self.pool, self.divisor, &meta, &y)?)?.reshape(y)?])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let x = &cx.x_metas[0].shape;
        cx.only(0, || cx.dy()?.mean_pool_grad(self.pool, self.divisor, [x[2], x[3]]))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        nodes(&self.pool, self.divisor, 2, cx)
    }

    no_sizes!();
}

/// The means over the last `spatial` dimensions. What windows beyond the padding count differs between versions and
/// programs, so that they are composed.
pub(super) fn nodes(pool: &Window, divisor: Divisor, spatial: usize, cx: &OnnxCx<'_>) -> Onnx {
    let (x, y) = (&cx.x[0].shape, &cx.y[0].shape);
    let beyond = (0..spatial).any(|d| pool.overhang(2 - spatial + d, x[2 + d], y[2 + d]) > 0);
    if beyond {
        return Onnx::Compose;
    }
    let whole = Window { ceil: false, ..*pool };
    let include = OnnxAttr::Int(i64::from(divisor != Divisor::Inside));
    let mut nodes = vec![whole.node("AveragePool", spatial).attr("count_include_pad", include)];
    if let Divisor::Fixed(n) = divisor {
        let scale = (pool.kernel[0] * pool.kernel[1]) as f64 / n as f64;
        nodes.push(OnnxNode::new("Mul", vec![OnnxRef::Node(0, 0), OnnxRef::Scalar(scale, cx.x[0].dtype)]));
    }
    Onnx::Nodes(nodes)
}

impl OpRule for MeanPoolGrad {
    fn name(&self) -> &'static str {
        "mean_pool_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [dy] = inputs(x)?;
        need_float("the gradient", dy.dtype)?;
        need_rank("the gradient", &dy, 4)?;
        let size = self.size.shape()?;
        let [h, w] = size[..] else {
            return Err(Error::shape(format!("{:?} must be a height and a width", self.size)));
        };
        let dx = Shape::from([dy.shape[0], dy.shape[1], h, w]);
        dx.checked_numel()?;
        let y = windows(&self.pool, self.divisor, &dx)?;
        if y != dy.shape {
            return Err(Error::shape(format!(
                "an input of {dx:?} has windows {y:?}, but the gradient is {:?}",
                dy.shape
            )));
        }
        Ok(smallvec![dy.with_shape(dx)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Pool(PoolPass::MeanInput(self.divisor), self.pool))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let dy = *x.first()?;
        Some((|| {
            let dx = self.infer(&[dy.meta()])?[0];
            let (y, rest) = (dy.meta().shape, overhang(&self.pool, &dx.shape, &dy.meta().shape));
            let share = dy.div(&counts::<V>(&self.pool, self.divisor, &dx, &y)?)?;
            let ones = V::full(1.0, [1, 1, self.pool.kernel[0], self.pool.kernel[1]], dx.dtype, dx.device)?;
            let sizes = [dx.shape[2] + rest[0], dx.shape[3] + rest[1]];
            let planes = share.reshape([y[0] * y[1], 1, y[2], y[3]])?;
            let spread = planes.convolution_input_grad(&ones, geometry(&self.pool), sizes)?;
            let cut = spread.slice(2, 0, dx.shape[2] as i64, 1)?.slice(3, 0, dx.shape[3] as i64, 1)?;
            Ok(smallvec![cut.reshape(dx.shape)?])
        })())
    }

    fn grad(&self) -> Grad {
        Grad::SHAPES
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(0, || cx.dy()?.mean_pool(self.pool, self.divisor))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        self.size.visit(f);
    }
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, each_index, ints, real, values};

    /// Calls `f` with a place of the input, one of the output whose window holds it, and the window's divisor.
    fn each_pair(p: &Window, d: Divisor, x: &[usize], y: &[usize], mut f: impl FnMut(&[usize], &[usize], f64)) {
        each_index(y, |to| {
            let (mut inside, mut padded) = (Vec::new(), 0);
            each_index(&p.kernel, |tap| {
                let at = [0, 1].map(|a| to[2 + a] * p.stride[a] + tap[a]);
                padded += usize::from((0..2).all(|a| at[a] < x[2 + a] + 2 * p.padding[a]));
                if (0..2).all(|a| (p.padding[a]..p.padding[a] + x[2 + a]).contains(&at[a])) {
                    inside.push([to[0], to[1], at[0] - p.padding[0], at[1] - p.padding[1]]);
                }
            });
            let count = match d {
                Divisor::Padded => padded,
                Divisor::Inside => inside.len(),
                Divisor::Fixed(n) => n,
            };
            inside.iter().for_each(|from| f(from, to, count as f64));
        });
    }

    /// Shapes of x and y, windows and divisors that fit.
    fn cases() -> Vec<([usize; 4], [usize; 4], Window, Divisor)> {
        let (two, three) = (Window::square(2), Window::square(3));
        let padded = Window { padding: [1, 1], stride: [2, 2], ..three };
        vec![
            ([2, 3, 4, 5], [2, 3, 2, 2], two, Divisor::Padded),
            ([1, 2, 5, 6], [1, 2, 3, 3], padded, Divisor::Padded),
            ([1, 2, 5, 6], [1, 2, 3, 3], padded, Divisor::Inside),
            ([1, 1, 5, 5], [1, 1, 3, 3], padded, Divisor::Fixed(4)),
            ([1, 2, 6, 4], [1, 2, 4, 3], Window { ceil: true, ..padded }, Divisor::Padded),
            ([1, 2, 6, 4], [1, 2, 4, 3], Window { ceil: true, ..padded }, Divisor::Inside),
            ([1, 1, 5, 3], [1, 1, 3, 2], Window { ceil: true, ..two }, Divisor::Fixed(3)),
            ([1, 1, 5, 3], [1, 1, 2, 2], Window { kernel: [3, 2], stride: [2, 1], ..two }, Divisor::Padded),
            ([1, 1, 5, 7], [1, 1, 2, 2], Window { stride: [3, 4], ..two }, Divisor::Inside),
            ([0, 2, 4, 4], [0, 2, 2, 2], two, Divisor::Padded),
        ]
    }

    impl OpSpec for MeanPool {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let shape = crate::spec::shape_of(&x[0].shape);
            let mut y = RefArray::zeros(&self.pool.output(&shape).unwrap_or(shape));
            let sizes = y.shape.clone();
            each_pair(&self.pool, self.divisor, &x[0].shape, &sizes, |from, to, count| {
                *y.at_mut(to) += x[0].at(from) / count;
            });
            vec![y]
        }

        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], pool, divisor| Sample::new(MeanPool { pool, divisor }, [real(x)]);
            let mut out: Vec<Sample> = cases().iter().map(|(x, _, p, d)| new(x, *p, *d)).collect();
            let two = Window::square(2);
            let op = MeanPool { pool: Window { padding: [1, 1], ..two }, divisor: Divisor::Padded };
            let x = values(&[1, 1, 2, 2], &[4.0, 8.0, 12.0, 16.0]);
            out.push(Sample::new(op, [x]).known(&[&[1.0, 2.0, 3.0, 4.0]], "by hand: one element in each window"));
            out.push(new(&[1, 1, 1, 4], two, Divisor::Padded).fails("Shape", "the window is larger than the input"));
            out.push(new(&[1, 1, 4, 4], two, Divisor::Fixed(0)).fails("Shape", "divided by 0"));
            out.push(new(&[1, 4, 4], two, Divisor::Padded).fails("Shape", "rank 3"));
            let op = MeanPool { pool: two, divisor: Divisor::Padded };
            out.push(Sample::new(op, [ints(&[1, 1, 4, 4], 0, 3)]).on(Dtypes::Ints).fails("DType", "integers"));
            out
        }
    }

    impl OpSpec for MeanPoolGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let size = self.size.get().unwrap_or(&[]);
            let mut dx = RefArray::zeros(&[x[0].shape[0], x[0].shape[1], size[0] as usize, size[1] as usize]);
            let sizes = dx.shape.clone();
            each_pair(&self.pool, self.divisor, &sizes, &x[0].shape, |from, to, count| {
                *dx.at_mut(from) += x[0].at(to) / count;
            });
            vec![dx]
        }

        fn samples() -> Vec<Sample> {
            let new = |dy: &[usize], pool, divisor, size: &[usize]| {
                Sample::new(MeanPoolGrad { pool, divisor, size: size.into() }, [real(dy)])
            };
            let mut out: Vec<Sample> = cases().iter().map(|(x, y, p, d)| new(y, *p, *d, &x[2..])).collect();
            let two = Window::square(2);
            out.push(new(&[1, 1, 3, 3], two, Divisor::Padded, &[4, 4]).fails("Shape", "other windows"));
            out.push(new(&[1, 1, 2, 2], two, Divisor::Padded, &[4]).fails("Shape", "one size"));
            out.push(new(&[2, 2], two, Divisor::Padded, &[4, 4]).fails("Shape", "rank 2"));
            out
        }
    }
}
