//! Normalisations, in terms of the kernels that centre and scale rows or channels, and of reductions.

mod channels;

use esker_tensor::{DType, Error, Result, Shape};

use super::function;
use crate::{Meta, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, Ops, Share, Sizes, Value};

/// The dtype in which statistics are computed.
fn wide(dtype: DType) -> DType {
    if dtype.size() == 2 && dtype.is_float() { DType::F32 } else { dtype }
}

fn to<V: Value>(x: &V, dtype: DType) -> Result<V> {
    if x.meta().dtype == dtype { Ok(x.clone()) } else { x.cast(dtype) }
}

fn need_channels(x: &Meta, least: usize) -> Result<usize> {
    super::need_float("the input", x.dtype)?;
    if x.shape.len() < least {
        return Err(Error::shape(format!("the input must have rank {least} or more, [n, c, ..], got {:?}", x.shape)));
    }
    Ok(x.shape[1])
}

/// Fails unless a parameter has a number for each channel.
fn need_per_channel<V: Value>(v: &V, name: &str, channels: usize) -> Result<()> {
    match v.meta().shape {
        shape if shape[..] == [channels] => Ok(()),
        shape => Err(Error::shape(format!("{name} must be [{channels}], a number for each channel, got {shape:?}"))),
    }
}

/// One number for each channel (dimension 1), to meet a value of so many dimensions.
fn per_channel<V: Value>(v: &V, name: &str, channels: usize, rank: usize, dtype: DType) -> Result<V> {
    need_per_channel(v, name, channels)?;
    let mut sizes = vec![1; rank - 1];
    sizes[0] = channels;
    to(v, dtype)?.reshape(&sizes[..])
}

/// The input, and a weight and a bias of `n` numbers, in one dtype; a weight that is not there is 1, a bias 0.
fn alike<V: Value>(x: &V, weight: Option<&V>, bias: Option<&V>, n: usize) -> Result<[V; 3]> {
    let meta = x.meta();
    let mixed = [weight, bias].into_iter().flatten().any(|p| p.meta().dtype != meta.dtype);
    let dtype = if mixed { wide(meta.dtype) } else { meta.dtype };
    let param = |given: Option<&V>, otherwise: f64| match given {
        Some(p) if p.meta().shape[..] == [n] => to(p, dtype),
        Some(p) => to(p, dtype)?.reshape([n]),
        None => V::scalar(otherwise, dtype, meta.device)?.expand([n]),
    };
    Ok([to(x, dtype)?, param(weight, 1.0)?, param(bias, 0.0)?])
}

/// Channels that share statistics normalised, times `weight` plus `bias` where they are there, with mean and variance.
fn channels<V: Value>(
    x: &V,
    weight: Option<&V>,
    bias: Option<&V>,
    share: Share,
    eps: crate::F64Bits,
) -> Result<(V, V, V)> {
    let meta = x.meta();
    for (param, name) in [(weight, "the weight"), (bias, "the bias")] {
        param.map_or(Ok(()), |param| need_per_channel(param, name, meta.shape[1]))?;
    }
    let [x, weight, bias] = alike(x, weight, bias, meta.shape[1])?;
    let (y, mean, variance) = x.standardize_channels(&weight, &bias, share, eps)?;
    Ok((to(&y, meta.dtype)?, mean, variance))
}

function! { BatchNormTrain |op, x; weight, bias| {
    let meta = x.meta();
    need_channels(&meta, 2)?;
    let values = meta.shape[0] * meta.shape[2..].iter().product::<usize>();
    if values == 1 {
        return Err(Error::shape(format!("one value for each channel has no variance; got an input of {:?}", meta.shape)));
    }
    let (y, mean, variance) = channels(x, weight, bias, Share::Batch, op.eps)?;
    [y, mean, variance]
} }

function! { BatchNorm |op, x; running_mean, running_var, weight, bias| {
    let meta = x.meta();
    let channels = need_channels(&meta, 2)?;
    let (rank, dtype) = (meta.shape.len(), wide(meta.dtype));
    match (op.training, running_mean, running_var) {
        (true, ..) => x.batch_norm_train(weight, bias, op.eps)?.0,
        (false, Some(mean), Some(variance)) => {
            let mean = per_channel(mean, "running_mean", channels, rank, dtype)?;
            let variance = per_channel(variance, "running_var", channels, rank, dtype)?;
            let mut scale = variance.add(&V::scalar(op.eps.get(), dtype, meta.device)?)?.rsqrt()?;
            if let Some(weight) = weight {
                scale = scale.mul(&per_channel(weight, "the weight", channels, rank, dtype)?)?;
            }
            let mut shift = mean.mul(&scale)?.neg()?;
            if let Some(bias) = bias {
                shift = shift.add(&per_channel(bias, "the bias", channels, rank, dtype)?)?;
            }
            to(&to(x, dtype)?.mul(&scale)?.add(&shift)?, meta.dtype)?
        }
        _ => return Err(Error::shape("needs running_mean and running_var unless it is training")),
    }
}, onnx |op, cx| {
    let (mean, variance) = (cx.given(1)?, cx.given(2)?);
    let c = *cx.x[0].shape.get(1)?;
    (!op.training && one_dtype(cx)).then(|| {
        Nodes::new("BatchNormalization").param(cx.given(3), 1.0, &[c], cx).param(cx.given(4), 0.0, &[c], cx)
            .input(mean).input(variance).eps(op.eps.get())
    })
} }

function! { InstanceNorm |op, x; running_mean, running_var, weight, bias| {
    let meta = x.meta();
    let channels = need_channels(&meta, 3)?;
    if !op.use_input_stats {
        return Ok(smallvec::smallvec![x.batch_norm(running_mean, running_var, weight, bias, false, op.momentum, op.eps)?]);
    }
    let values: usize = meta.shape[2..].iter().product();
    if values == 1 {
        return Err(Error::shape(format!("one value for each channel has no variance; got an input of {:?}", meta.shape)));
    }
    self::channels(x, weight, bias, Share::Groups(channels), op.eps)?.0
}, onnx |op, cx| {
    let c = *cx.x[0].shape.get(1)?;
    (op.use_input_stats && one_dtype(cx) && cx.given(1).is_none() && cx.given(2).is_none()).then(|| {
        Nodes::new("InstanceNormalization").param(cx.given(3), 1.0, &[c], cx).param(cx.given(4), 0.0, &[c], cx)
            .eps(op.eps.get())
    })
} }

function! { GroupNorm |op, x; weight, bias| {
    let meta = x.meta();
    let channels = need_channels(&meta, 2)?;
    let groups = usize::try_from(op.num_groups).ok().filter(|g| *g > 0 && channels.is_multiple_of(*g));
    let groups = groups.ok_or_else(|| {
        Error::shape(format!("{} groups do not divide the {channels} channels of {:?}", op.num_groups, meta.shape))
    })?;
    let values = channels / groups * meta.shape[2..].iter().product::<usize>();
    if values * meta.shape[0] == 1 {
        return Err(Error::shape(format!("one value for each group has no variance; got an input of {:?}", meta.shape)));
    }
    self::channels(x, weight, bias, Share::Groups(groups), op.eps)?.0
}, onnx |op, cx| {
    let c = *cx.x[0].shape.get(1)?;
    (cx.opset >= 21 && one_dtype(cx) && cx.x[0].shape.len() > 2).then(|| {
        Nodes::new("GroupNormalization").param(cx.given(1), 1.0, &[c], cx).param(cx.given(2), 0.0, &[c], cx)
            .attr("num_groups", OnnxAttr::Int(op.num_groups)).eps(op.eps.get())
    })
} }

/// How many leading dimensions remain when the last ones have these sizes.
fn lead(x: &Meta, sizes: &Sizes) -> Result<(usize, Shape)> {
    super::need_float("the input", x.dtype)?;
    let sizes = sizes.shape()?;
    if sizes.is_empty() || !x.shape.ends_with(&sizes) {
        return Err(Error::shape(format!("the input {:?} must end in normalized_shape {sizes:?}", x.shape)));
    }
    Ok((x.shape.len() - sizes.len(), sizes))
}

/// Fails unless a parameter has the normalised shape.
fn need_shape<V: Value>(v: Option<&V>, name: &str, sizes: &Shape) -> Result<()> {
    match v.map(|v| v.meta().shape) {
        Some(shape) if shape != *sizes => {
            Err(Error::shape(format!("{name} must be {sizes:?} as normalized_shape, got {shape:?}")))
        }
        _ => Ok(()),
    }
}

/// What lies behind the first `front` dimensions normalised, times `weight` plus `bias` where they are there.
fn rows<V: Value>(x: &V, weight: Option<&V>, bias: Option<&V>, front: usize, centre: bool, eps: f64) -> Result<V> {
    let meta = x.meta();
    let n = meta.shape[front..].iter().product();
    let [x, weight, bias] = alike(x, weight, bias, n)?;
    let y = if front + 1 == meta.shape.len() {
        x.standardize(&weight, &bias, centre, eps)?.0
    } else {
        let rows: Vec<usize> = meta.shape[..front].iter().copied().chain([n]).collect();
        x.reshape(&rows[..])?.standardize(&weight, &bias, centre, eps)?.0.reshape(meta.shape)?
    };
    to(&y, meta.dtype)
}

function! { LayerNorm |op, x; weight, bias| {
    let meta = x.meta();
    let (front, sizes) = lead(&meta, &op.normalized_shape)?;
    need_shape(weight, "the weight", &sizes)?;
    need_shape(bias, "the bias", &sizes)?;
    rows(x, weight, bias, front, true, op.eps.get())?
}, onnx |op, cx| {
    let (front, sizes) = lead(&cx.x[0], &op.normalized_shape).ok()?;
    (cx.opset >= 17 && one_dtype(cx)).then(|| {
        let mut nodes = Nodes::new("LayerNormalization").param(cx.given(1), 1.0, &sizes, cx);
        if let Some(bias) = cx.given(2) {
            nodes = nodes.input(bias);
        }
        nodes.attr("axis", OnnxAttr::Int(front as i64 - cx.x[0].shape.len() as i64)).eps(op.eps.get())
    })
} }

function! { RmsNorm |op, x; weight| {
    let meta = x.meta();
    let (front, sizes) = lead(&meta, &op.normalized_shape)?;
    need_shape(weight, "the weight", &sizes)?;
    let epsilon = match meta.dtype {
        DType::F16 => f64::from(half::f16::EPSILON),
        DType::BF16 => f64::from(half::bf16::EPSILON),
        DType::F32 => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    };
    rows(x, weight, None, front, false, op.eps.get().map_or(epsilon, |e| e.get()))?
} }

function! { LocalResponseNorm |op, x| {
    let meta = x.meta();
    let channels = need_channels(&meta, 3)?;
    let size = usize::try_from(op.size).ok().filter(|n| (1..=1 << 16).contains(n));
    let size = size.ok_or_else(|| Error::shape(format!("size must be from 1 to 65536 channels, got {}", op.size)))?;
    // Channels from size / 2 in front to (size - 1) / 2 behind.
    let padded = x.square()?.slice_grad(1, (size / 2) as i64, 1, (channels + size - 1) as i64)?;
    let mut sum = padded.slice(1, 0, channels as i64, 1)?;
    for first in 1..size {
        sum = sum.add(&padded.slice(1, first as i64, (first + channels) as i64, 1)?)?;
    }
    let scalar = |v: f64| V::scalar(v, meta.dtype, meta.device);
    let base = sum.mul(&scalar(op.alpha.get() / size as f64)?)?.add(&scalar(op.k.get())?)?;
    x.div(&base.float_power(&scalar(op.beta.get())?)?)?
}, onnx |op, cx| {
    // Where ONNX's window of an even size lies is another place.
    let fits = op.size % 2 == 1 && cx.x[0].shape.len() == 4;
    fits.then(|| {
        let node = OnnxNode::new("LRN", vec![OnnxRef::In(0)]).attr("size", OnnxAttr::Int(op.size));
        node.attr("alpha", OnnxAttr::Float(op.alpha.get() as f32))
            .attr("beta", OnnxAttr::Float(op.beta.get() as f32))
            .attr("bias", OnnxAttr::Float(op.k.get() as f32))
            .into()
    })
} }

/// Whether all inputs have one floating-point dtype, as a node needs it.
fn one_dtype(cx: &OnnxCx<'_>) -> bool {
    cx.x[0].dtype.is_float() && cx.x.iter().all(|x| x.dtype == cx.x[0].dtype)
}

/// A normalising node of the input and parameters, which ONNX requires where they are optional here.
struct Nodes {
    before: Vec<OnnxNode>,
    node: OnnxNode,
}

impl Nodes {
    fn new(op_type: &'static str) -> Self {
        Self { before: Vec::new(), node: OnnxNode::new(op_type, vec![OnnxRef::In(0)]) }
    }

    fn input(mut self, input: OnnxRef) -> Self {
        self.node.inputs.push(input);
        self
    }

    /// A parameter, or so many of `value`.
    fn param(mut self, given: Option<OnnxRef>, value: f64, sizes: &[usize], cx: &OnnxCx<'_>) -> Self {
        let input = given.unwrap_or_else(|| {
            let sizes = sizes.iter().map(|&n| n as i64).collect();
            let value = OnnxRef::Scalar(value, cx.x[0].dtype);
            self.before.push(OnnxNode::new("Expand", vec![value, OnnxRef::Ints(sizes)]));
            OnnxRef::Node(self.before.len() - 1, 0)
        });
        self.input(input)
    }

    fn attr(mut self, name: &'static str, value: OnnxAttr) -> Self {
        self.node = self.node.attr(name, value);
        self
    }

    fn eps(self, eps: f64) -> Onnx {
        let Self { mut before, node } = self.attr("epsilon", OnnxAttr::Float(eps as f32));
        before.push(node);
        Onnx::Nodes(before)
    }
}

#[cfg(feature = "spec")]
mod spec;
