//! Normalisations, in terms of the row kernel that centres and scales, and of reductions.

use esker_tensor::{DType, Error, Result, Shape};

use super::function;
use crate::{Meta, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, Ops, Sizes, Value};

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

/// One number for each channel (dimension 1), to meet a value of so many dimensions.
fn per_channel<V: Value>(v: &V, name: &str, channels: usize, rank: usize, dtype: DType) -> Result<V> {
    if v.meta().shape[..] != [channels] {
        return Err(Error::shape(format!(
            "{name} must be [{channels}], a number for each channel, got {:?}",
            v.meta().shape
        )));
    }
    let mut sizes = vec![1; rank - 1];
    sizes[0] = channels;
    to(v, dtype)?.reshape(&sizes[..])
}

/// `y * weight + bias`, where they are there, a number for each channel.
fn affine<V: Value>(y: V, weight: Option<&V>, bias: Option<&V>) -> Result<V> {
    let (meta, mut y) = (y.meta(), y);
    let (channels, rank) = (meta.shape[1], meta.shape.len());
    if let Some(weight) = weight {
        y = y.mul(&per_channel(weight, "the weight", channels, rank, meta.dtype)?)?;
    }
    if let Some(bias) = bias {
        y = y.add(&per_channel(bias, "the bias", channels, rank, meta.dtype)?)?;
    }
    Ok(y)
}

/// Each channel to mean 0 and variance 1, with its mean and variance.
fn by_channel<V: Value>(x: &V, eps: f64) -> Result<(V, V, V)> {
    let meta = x.meta();
    let dims: Vec<i64> = (0..meta.shape.len() as i64).filter(|d| *d != 1).collect();
    let mean = x.mean(&dims[..], true)?;
    let centred = x.sub(&mean)?;
    let variance = centred.square()?.mean(&dims[..], true)?;
    let rstd = variance.add(&V::scalar(eps, meta.dtype, meta.device)?)?.rsqrt()?;
    Ok((centred.mul(&rstd)?, mean, variance))
}

function! { BatchNormTrain |op, x; weight, bias| {
    let meta = x.meta();
    let channels = need_channels(&meta, 2)?;
    let values = meta.shape[0] * meta.shape[2..].iter().product::<usize>();
    if values == 1 {
        return Err(Error::shape(format!("one value for each channel has no variance; got an input of {:?}", meta.shape)));
    }
    let (y, mean, variance) = by_channel(&to(x, wide(meta.dtype))?, op.eps.get())?;
    [to(&affine(y, weight, bias)?, meta.dtype)?, mean.reshape([channels])?, variance.reshape([channels])?]
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
    let y = x.reshape([meta.shape[0] * channels, values])?.standardize(op.eps)?.0.reshape(meta.shape)?;
    to(&affine(to(&y, wide(meta.dtype))?, weight, bias)?, meta.dtype)?
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
    let y = x.reshape([meta.shape[0], groups, values])?.standardize(op.eps)?.0.reshape(meta.shape)?;
    to(&affine(to(&y, wide(meta.dtype))?, weight, bias)?, meta.dtype)?
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

function! { LayerNorm |op, x; weight, bias| {
    let meta = x.meta();
    let (front, sizes) = lead(&meta, &op.normalized_shape)?;
    need_shape(weight, "the weight", &sizes)?;
    need_shape(bias, "the bias", &sizes)?;
    let flat: Vec<usize> = meta.shape[..front].iter().copied().chain([sizes.numel()]).collect();
    let one_dtype = [weight, bias].iter().all(|p| p.is_none_or(|p| p.meta().dtype == meta.dtype));
    if let (Some(weight), Some(bias), true) = (weight, bias, one_dtype) {
        let n = [sizes.numel()];
        let y = match sizes.len() {
            1 => x.standardize_affine(weight, bias, op.eps)?.0,
            _ => x.reshape(&flat[..])?.standardize_affine(&weight.reshape(n)?, &bias.reshape(n)?, op.eps)?.0,
        };
        return Ok(smallvec::smallvec![if sizes.len() == 1 { y } else { y.reshape(meta.shape)? }]);
    }
    let mut y = match sizes.len() {
        1 => x.standardize(op.eps)?.0,
        _ => x.reshape(&flat[..])?.standardize(op.eps)?.0.reshape(meta.shape)?,
    };
    if let Some(weight) = weight {
        y = y.mul(weight)?;
    }
    if let Some(bias) = bias {
        y = y.add(bias)?;
    }
    to(&y, meta.dtype)?
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
    let dtype = wide(meta.dtype);
    let eps = V::scalar(op.eps.get().map_or(epsilon, |e| e.get()), dtype, meta.device)?;
    let dims: Vec<i64> = (front as i64..meta.shape.len() as i64).collect();
    let x = to(x, dtype)?;
    let mut y = x.mul(&x.square()?.mean(&dims[..], true)?.add(&eps)?.rsqrt()?)?;
    if let Some(weight) = weight {
        y = y.mul(&to(weight, dtype)?)?;
    }
    to(&y, meta.dtype)?
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
