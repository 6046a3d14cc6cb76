//! Convolution and pooling.

use esker_graph::Sym;
use esker_ops::Ops;
use esker_ops::kernel::{Conv2d, Pool2d};
use esker_tensor::{DType, Device, Error, Result};

use super::MAX_SIZE;
use super::call::{Call, Handler, Item, one};

pub(crate) const HANDLERS: &[(&str, Handler)] = &[
    ("Conv", conv),
    ("ConvTranspose", conv_transpose),
    ("MaxPool", max_pool),
    ("GlobalAveragePool", |c| {
        let x = planes(c)?;
        one(x.mean([2, 3], true)?)
    }),
    ("GlobalMaxPool", |c| {
        let x = planes(c)?;
        one(x.amax([2, 3], true)?)
    }),
];

/// The input, which must be `[n, c, h, w]`.
fn planes(call: &Call<'_>) -> Result<Sym> {
    let x = call.tensor(0)?;
    match x.array().shape().len() {
        4 => Ok(x),
        _ => Err(Error::format(format!("it is read for two spatial dimensions, got {:?}", x.array().shape()))),
    }
}

/// A pair of small numbers.
fn pair(call: &Call<'_>, name: &str, default: i64, least: i64) -> Result<[usize; 2]> {
    let given = match call.attr(name).map(|a| &a.ints[..]) {
        None | Some([]) => [default; 2],
        Some([h, w]) => [*h, *w],
        Some(other) => return Err(Error::format(format!("{name} = {other:?} is not a pair"))),
    };
    match given.iter().find(|n| !(least..=1 << 20).contains(*n)) {
        Some(n) => Err(Error::format(format!("{name} holds {n}"))),
        None => Ok(given.map(|n| n as usize)),
    }
}

/// Padding, which must be the same on both sides.
fn padding(call: &Call<'_>) -> Result<[usize; 2]> {
    match call.text("auto_pad").as_deref() {
        None | Some("NOTSET") => {}
        Some("VALID") => return Ok([0, 0]),
        Some(other) => return Err(Error::format(format!("auto_pad = {other} is not read; state the pads"))),
    }
    match call.attr("pads").map(|a| &a.ints[..]) {
        None | Some([]) => Ok([0, 0]),
        Some([top, left, bottom, right]) if top == bottom && left == right => {
            match [*top, *left].map(usize::try_from) {
                [Ok(h), Ok(w)] if h.max(w) <= 1 << 20 => Ok([h, w]),
                _ => Err(Error::format(format!("pads are {top} and {left}"))),
            }
        }
        Some(other) => Err(Error::format(format!("pads = {other:?}: both sides must be padded alike"))),
    }
}

fn geometry(call: &Call<'_>) -> Result<Conv2d> {
    let groups = call.int("group", 1);
    if !(1..=1 << 20).contains(&groups) {
        return Err(Error::format(format!("group = {groups}")));
    }
    Ok(Conv2d {
        stride: pair(call, "strides", 1, 1)?,
        padding: padding(call)?,
        dilation: pair(call, "dilations", 1, 1)?,
        groups: groups as usize,
    })
}

/// The weight, whose window must be what the node says.
fn weight(call: &Call<'_>) -> Result<Sym> {
    let w = call.tensor(1)?;
    let shape = *w.array().shape();
    let [_, _, r, s] = shape[..] else {
        return Err(Error::format(format!("its weight must have rank 4, got {shape:?}")));
    };
    if r == 0 || s == 0 || pair(call, "kernel_shape", 0, 0)? != [0, 0] && pair(call, "kernel_shape", 0, 0)? != [r, s] {
        return Err(Error::format(format!("its weight {shape:?} does not have the window that kernel_shape states")));
    }
    Ok(w)
}

fn with_bias(call: &Call<'_>, y: Sym) -> Result<Vec<Item>> {
    match call.maybe(2)? {
        Some(bias) => one(y.add(&bias.reshape([-1, 1, 1])?)?),
        None => one(y),
    }
}

fn conv(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, w) = (planes(call)?, weight(call)?);
    with_bias(call, x.conv2d(&w, geometry(call)?)?)
}

/// The gradient of a convolution by its input.
fn conv_transpose(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, w, conv) = (planes(call)?, weight(call)?, geometry(call)?);
    if call.attr("output_shape").is_some() {
        return Err(Error::format("output_shape is not read; state pads and output_padding"));
    }
    let extra = pair(call, "output_padding", 0, 0)?;
    let size = |a: usize| -> Result<i64> {
        let at = |list: &[usize]| list.get(a).map_or(0, |&n| n as i64);
        let input = x.array().shape().get(2 + a).map_or(0, |&n| n as i64);
        let window = w.array().shape().get(2 + a).map_or(0, |&n| n as i64);
        let size =
            (input - 1) * at(&conv.stride) - 2 * at(&conv.padding) + at(&conv.dilation) * (window - 1) + 1 + at(&extra);
        if !(0..=MAX_SIZE).contains(&size) || input == 0 {
            return Err(Error::format(format!("its result would have a size of {size}")));
        }
        Ok(size)
    };
    if x.array().shape().iter().chain(w.array().shape().iter()).any(|&n| n > 1 << 30) {
        return Err(Error::format("its sizes are too large"));
    }
    with_bias(call, x.conv2d_input_grad(&w, conv, [size(0)?, size(1)?])?)
}

fn max_pool(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("ceil_mode", 0)?;
    call.only("storage_order", 0)?;
    let x = planes(call)?;
    let pool = Pool2d {
        kernel: pair(call, "kernel_shape", 0, 1)?,
        stride: pair(call, "strides", 1, 1)?,
        padding: padding(call)?,
        dilation: pair(call, "dilations", 1, 1)?,
    };
    let (y, index) = x.max_pool2d(pool)?;
    if !call.wants(1) {
        return one(y);
    }
    // ONNX counts over the whole tensor, Esker within a plane.
    let shape = *x.array().shape();
    let [n, c, h, w] = shape[..] else { return Err(Error::format("its input must have rank 4")) };
    let starts = Sym::iota(0.0, (h * w) as f64, (n * c) as i64, DType::I64, Device::Meta)?.reshape([n, c, 1, 1])?;
    Ok(vec![y.into(), index.add(&starts)?.into()])
}
