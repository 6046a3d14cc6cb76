//! Convolutions and transposed convolutions over one to three dimensions, in terms of the convolution of planes.

use esker_tensor::{DType, Error, Result};

use super::{function, need_rank};
use crate::kernel::Conv2d as Geometry;
use crate::{Ints, Meta, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, Ops, Padding, Value};

/// The input with a batch in front of its channels and `spatial` dimensions, and whether it had one.
pub(crate) fn batched<V: Value>(x: &V, spatial: usize) -> Result<(V, bool)> {
    let shape = x.meta().shape;
    match shape.len() {
        rank if rank == spatial + 2 => Ok((x.clone(), true)),
        rank if rank == spatial + 1 => Ok((x.reshape(&[&[1], &shape[..]].concat()[..])?, false)),
        _ => Err(Error::shape(format!(
            "the input must have rank {} (a batch, channels, {spatial} spatial) or {} without a batch, got {shape:?}",
            spatial + 2,
            spatial + 1
        ))),
    }
}

/// A result without the batch that its input did not have.
pub(crate) fn unbatched<V: Value>(y: V, had_batch: bool) -> Result<V> {
    if had_batch { Ok(y) } else { y.reshape(&y.meta().shape[1..]) }
}

/// How a window moves over `N` dimensions.
struct Steps<const N: usize> {
    stride: [usize; N],
    /// Zeros in front.
    padding: [usize; N],
    /// How many more zeros come behind.
    rest: [usize; N],
    dilation: [usize; N],
    groups: usize,
}

/// The number of groups, which must be positive.
fn groups(groups: i64) -> Result<usize> {
    usize::try_from(groups)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| Error::shape(format!("groups must be positive, got {groups}")))
}

impl<const N: usize> Steps<N> {
    /// Of a convolution with a weight of shape `w`.
    fn of(w: &Meta, stride: &Ints, padding: &Padding, dilation: &Ints, n: i64) -> Result<Self> {
        need_rank("the weight", w, N + 2)?;
        let (stride, dilation) = (stride.each::<N>("stride", 1)?, dilation.each::<N>("dilation", 1)?);
        let (padding, rest) = match padding {
            Padding::Sizes(sizes) => (sizes.each("padding", 0)?, [0; N]),
            Padding::Valid => ([0; N], [0; N]),
            Padding::Same if stride != [1; N] => {
                return Err(Error::shape(format!("padding \"same\" needs a stride of 1, got {stride:?}")));
            }
            Padding::Same => {
                let total = |d: usize| dilation[d].saturating_mul(w.shape[2 + d].saturating_sub(1));
                (std::array::from_fn(|d| total(d) / 2), std::array::from_fn(|d| total(d) % 2))
            }
        };
        Ok(Self { stride, padding, rest, dilation, groups: groups(n)? })
    }

    /// The last two dimensions; a single one is the width.
    fn plane(&self) -> Geometry {
        let last = |v: &[usize; N], one: usize| [if N < 2 { one } else { v[N - 2] }, v[N - 1]];
        Geometry {
            stride: last(&self.stride, 1),
            padding: last(&self.padding, 0),
            dilation: last(&self.dilation, 1),
            groups: self.groups,
        }
    }

    fn node(&self, op_type: &'static str, cx: &OnnxCx<'_>) -> OnnxNode {
        let ints = |v: &[usize]| OnnxAttr::Ints(v.iter().map(|&n| n as i64).collect());
        let behind: Vec<usize> = (0..N).map(|d| self.padding[d] + self.rest[d]).collect();
        OnnxNode::new(op_type, (0..cx.x.len()).map(OnnxRef::In).collect())
            .attr("strides", ints(&self.stride))
            .attr("pads", ints(&[&self.padding[..], &behind].concat()))
            .attr("dilations", ints(&self.dilation))
            .attr("group", OnnxAttr::Int(self.groups as i64))
    }
}

/// Lines `[n, c, l]` as planes of height 1.
fn as_planes<V: Value>(x: &V) -> Result<V> {
    let [n, c, l] = x.meta().shape[..] else { return Ok(x.clone()) };
    x.reshape([n, c, 1, l])
}

/// A result of planes of height 1 as lines.
fn as_lines<V: Value>(y: &V) -> Result<V> {
    let [n, c, _, l] = y.meta().shape[..] else { return Ok(y.clone()) };
    y.reshape([n, c, l])
}

/// `y` with one number added to each channel, over `spatial` dimensions behind.
fn with_bias<V: Value>(y: V, bias: Option<&V>, spatial: usize) -> Result<V> {
    let Some(bias) = bias else { return Ok(y) };
    let channels = y.meta().shape[1];
    if bias.meta().shape[..] != [channels] {
        return Err(Error::shape(format!("the bias must be [{channels}], got {:?}", bias.meta().shape)));
    }
    let mut sizes = vec![1; spatial + 1];
    sizes[0] = channels;
    y.add(&bias.reshape(&sizes[..])?)
}

/// Frames `[n, c, d, h, w]` and a weight `[k, c / groups, r, ..]` as planes whose channels are those of `r` frames each.
fn gather_frames<V: Value>(x: &V, w: &V, steps: &Steps<3>) -> Result<(V, V, usize)> {
    let padding = steps.padding[0];
    let x = match padding {
        0 => x.clone(),
        _ => x.slice_grad(2, padding as i64, 1, x.meta().shape[2].saturating_add(2 * padding) as i64)?,
    };
    let ([n, c, depth, h, width], [k, cg, r, s, t]) = (five(&x)?, five(w)?);
    let along = Geometry { stride: [steps.stride[0], 1], dilation: [steps.dilation[0], 1], ..Geometry::default() };
    let out = along.output_size(0, depth, r)?;
    let device = x.meta().device;
    let starts = V::iota(0.0, steps.stride[0] as f64, out as i64, DType::I64, device)?.reshape([-1, 1])?;
    let taps = V::iota(0.0, steps.dilation[0] as f64, r as i64, DType::I64, device)?;
    let frames = x.index_select(&starts.add(&taps)?.reshape([out * r])?, 2)?.reshape([n, c, out, r, h, width])?;
    let planes = frames.permute([0, 2, 1, 3, 4, 5])?.reshape([n * out, c * r, h, width])?;
    Ok((planes, w.reshape([k, cg * r, s, t])?, out))
}

fn five<V: Value>(x: &V) -> Result<[usize; 5]> {
    x.meta().shape[..].try_into().map_err(|_| Error::shape(format!("{:?} must have rank 5", x.meta().shape)))
}

fn convolve<V: Value, const N: usize>(x: &V, w: &V, bias: Option<&V>, steps: &Steps<N>) -> Result<V> {
    let (mut x, had_batch) = batched(x, N)?;
    for d in (0..N).filter(|d| steps.rest[*d] > 0) {
        let size = x.meta().shape[2 + d].saturating_add(steps.rest[d]);
        x = x.slice_grad(2 + d as i64, 0, 1, size as i64)?;
    }
    let y = match N {
        1 => as_lines(&as_planes(&x)?.convolution(&as_planes(w)?, steps.plane())?)?,
        2 => x.convolution(w, steps.plane())?,
        _ => {
            let first = |v: &[usize; N]| [v[0], v[N - 2], v[N - 1]];
            let steps = Steps::<3> {
                stride: first(&steps.stride),
                padding: first(&steps.padding),
                rest: [0; 3],
                dilation: first(&steps.dilation),
                groups: steps.groups,
            };
            let n = x.meta().shape[0];
            let (planes, weight, out) = gather_frames(&x, w, &steps)?;
            let y = planes.convolution(&weight, steps.plane())?;
            let [_, k, h, width] = y.meta().shape[..] else { return Ok(y) };
            y.reshape([n, out, k, h, width])?.permute([0, 2, 1, 3, 4])?
        }
    };
    unbatched(with_bias(y, bias, N)?, had_batch)
}

/// Whether a node may have the inputs as they are: a batch in front and one floating-point dtype.
fn fits_node(cx: &OnnxCx<'_>, spatial: usize) -> bool {
    cx.x[0].shape.len() == spatial + 2 && cx.x[0].dtype.is_float() && cx.x.iter().all(|x| x.dtype == cx.x[0].dtype)
}

macro_rules! convolutions {
    ($($Name:ident $n:literal;)*) => {$(
        function! { $Name |op, x, weight; bias| {
            let steps = Steps::<$n>::of(&weight.meta(), &op.stride, &op.padding, &op.dilation, op.groups)?;
            convolve(x, weight, bias, &steps)?
        }, onnx |op, cx| {
            let steps = Steps::<$n>::of(&cx.x[1], &op.stride, &op.padding, &op.dilation, op.groups).ok()?;
            fits_node(cx, $n).then(|| steps.node("Conv", cx).into())
        } }
    )*};
}

convolutions! { Conv1d 1; Conv2d 2; Conv3d 3; }

/// A transposed convolution: the gradient of a convolution by its input, which is as large as it can be without
/// `extra` more at the end.
fn transposed<V: Value, const N: usize>(
    x: &V,
    w: &V,
    bias: Option<&V>,
    steps: &Steps<N>,
    extra: [usize; N],
) -> Result<V> {
    let (mut x, had_batch) = batched(x, N)?;
    let shape = x.meta().shape;
    if w.meta().shape[0] != shape[1] || !shape[1].is_multiple_of(steps.groups) {
        return Err(Error::shape(format!(
            "the weight must be [{}, out / groups, ..] for an input of {shape:?} in {} groups, got {:?}",
            shape[1],
            steps.groups,
            w.meta().shape
        )));
    }
    let mut sizes = [1, 1];
    for d in 0..N {
        let (stride, dilation) = (steps.stride[d], steps.dilation[d]);
        let size = transposed_size(shape[2 + d], w.meta().shape[2 + d], steps, d, extra[d])?;
        // A convolution of that size may have more outputs than there are inputs here: those are 0.
        if let Some(more) = extra[d].checked_sub(stride).map(|rest| rest / stride + 1) {
            if extra[d] >= stride.max(dilation) {
                return Err(Error::shape(format!(
                    "output_padding {} must be below the stride {stride} or the dilation {dilation}",
                    extra[d]
                )));
            }
            x = x.slice_grad(2 + d as i64, 0, 1, (shape[2 + d] + more) as i64)?;
        }
        sizes[2 - N + d] = size;
    }
    let y = match N {
        1 => as_lines(&as_planes(&x)?.convolution_input_grad(&as_planes(w)?, steps.plane(), sizes)?)?,
        _ => x.convolution_input_grad(w, steps.plane(), sizes)?,
    };
    unbatched(with_bias(y, bias, N)?, had_batch)
}

/// The size of dimension `d` of a transposed convolution.
fn transposed_size<const N: usize>(n: usize, taps: usize, steps: &Steps<N>, d: usize, extra: usize) -> Result<usize> {
    let (stride, padding, dilation) = (steps.stride[d], steps.padding[d], steps.dilation[d]);
    let too_large = || Error::shape("the result is larger than any address");
    let reach = n.saturating_sub(1).checked_mul(stride).and_then(|r| r.checked_add(extra)).ok_or_else(too_large)?;
    let span = taps.saturating_sub(1).checked_mul(dilation).and_then(|s| s.checked_add(1)).ok_or_else(too_large)?;
    let full = reach.checked_add(span).ok_or_else(too_large)?;
    match full.checked_sub(padding.saturating_mul(2)) {
        Some(size) if size > 0 && n > 0 && taps > 0 => Ok(size),
        _ => Err(Error::shape(format!(
            "{n} inputs with a window of {taps} reach {full}, of which padding {padding} on both sides leaves nothing"
        ))),
    }
}

macro_rules! transposed_convolutions {
    ($($Name:ident $n:literal;)*) => {$(
        function! { $Name |op, x, weight; bias| {
            let padding = Padding::Sizes(op.padding.clone());
            let steps = Steps::<$n>::of(&weight.meta(), &op.stride, &padding, &op.dilation, op.groups)?;
            transposed(x, weight, bias, &steps, op.output_padding.each("output_padding", 0)?)?
        }, onnx |op, cx| {
            let padding = Padding::Sizes(op.padding.clone());
            let steps = Steps::<$n>::of(&cx.x[1], &op.stride, &padding, &op.dilation, op.groups).ok()?;
            let extra = op.output_padding.each::<$n>("output_padding", 0).ok()?;
            // ONNX leaves open what lies beyond a whole step.
            let fits = fits_node(cx, $n) && (0..$n).all(|d| extra[d] < steps.stride[d]);
            let extra = OnnxAttr::Ints(extra.iter().map(|&n| n as i64).collect());
            fits.then(|| Onnx::from(steps.node("ConvTranspose", cx).attr("output_padding", extra)))
        } }
    )*};
}

transposed_convolutions! { ConvTranspose1d 1; ConvTranspose2d 2; }

#[cfg(feature = "spec")]
mod spec;
