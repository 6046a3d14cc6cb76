//! Convolution, pooling, resizing.

use esker_graph::Sym;
use esker_ops::{Ops, Opt, Padding};
use esker_tensor::{DType, Device, Error, Result};

use super::MAX_SIZE;
use super::call::{Call, Handler, Item, one};

pub(crate) const HANDLERS: &[(&str, Handler)] = &[
    ("Conv", conv),
    ("ConvTranspose", conv_transpose),
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("Resize", resize),
    ("DepthToSpace", depth_to_space),
    ("GlobalAveragePool", |c| {
        let (x, n) = spatial(c)?;
        one(x.mean(&(2..2 + n as i64).collect::<Vec<_>>()[..], true)?)
    }),
    ("GlobalMaxPool", |c| {
        let (x, n) = spatial(c)?;
        one(x.amax(&(2..2 + n as i64).collect::<Vec<_>>()[..], true)?)
    }),
];

/// Larger strides and windows than this are taken for a broken file.
const MAX_WINDOW: i64 = 1 << 20;

/// The input and the number of its spatial dimensions.
fn spatial(call: &Call<'_>) -> Result<(Sym, usize)> {
    let x = call.tensor(0)?;
    let shape = *x.array().shape();
    match shape.len() {
        rank @ 3..=5 => Ok((x, rank - 2)),
        _ => Err(Error::format(format!("it is read for one to three spatial dimensions, got {shape:?}"))),
    }
}

/// A small number for each of `n` dimensions.
fn each(call: &Call<'_>, name: &str, n: usize, default: i64, least: i64) -> Result<Vec<i64>> {
    let given = match call.attr(name).map(|a| &a.ints[..]) {
        None | Some([]) => vec![default; n],
        Some(list) if list.len() == n => list.to_vec(),
        Some(other) => return Err(Error::format(format!("{name} = {other:?} are not {n} numbers"))),
    };
    match given.iter().find(|n| !(least..=MAX_WINDOW).contains(*n)) {
        Some(n) => Err(Error::format(format!("{name} holds {n}"))),
        None => Ok(given),
    }
}

/// Padding in front of and behind each dimension.
fn pads(call: &Call<'_>, n: usize) -> Result<(Vec<i64>, Vec<i64>)> {
    match call.text("auto_pad").as_deref() {
        None | Some("NOTSET") => {}
        Some("VALID") => return Ok((vec![0; n], vec![0; n])),
        Some(other) => return Err(Error::format(format!("auto_pad = {other} is not read; state the pads"))),
    }
    let mut front = each(call, "pads", 2 * n, 0, 0)?;
    let behind = front.split_off(n);
    Ok((front, behind))
}

/// Padding that is the same on both sides.
fn even_pads(call: &Call<'_>, n: usize) -> Result<Vec<i64>> {
    let (front, behind) = pads(call, n)?;
    if front != behind {
        return Err(Error::format(format!("pads = {front:?} and {behind:?}: both sides must be padded alike")));
    }
    Ok(front)
}

fn group(call: &Call<'_>) -> Result<i64> {
    match call.int("group", 1) {
        group if (1..=MAX_WINDOW).contains(&group) => Ok(group),
        group => Err(Error::format(format!("group = {group}"))),
    }
}

/// The weight, whose window must be what the node says.
fn weight(call: &Call<'_>, n: usize) -> Result<Sym> {
    let w = call.tensor(1)?;
    let shape = *w.array().shape();
    let window: Vec<i64> = shape.iter().skip(2).map(|&s| s as i64).collect();
    if shape.len() != n + 2 {
        return Err(Error::format(format!("its weight must have rank {}, got {shape:?}", n + 2)));
    }
    let stated = call.attr("kernel_shape").map(|a| &a.ints[..]).filter(|list| !list.is_empty());
    if window.contains(&0) || stated.is_some_and(|list| list != window) {
        return Err(Error::format(format!("its weight {shape:?} does not have the window that kernel_shape states")));
    }
    Ok(w)
}

fn conv(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (mut x, n) = spatial(call)?;
    let (w, bias, groups) = (weight(call, n)?, call.maybe(2)?, group(call)?);
    let (stride, dilation) = (each(call, "strides", n, 1, 1)?, each(call, "dilations", n, 1, 1)?);
    let (mut front, behind) = pads(call, n)?;
    if front != behind {
        for (d, (f, b)) in front.iter_mut().zip(behind).enumerate().filter(|(_, (f, b))| **f + *b > 0) {
            let size = x.array().shape().get(2 + d).map_or(0, |&n| n as i64).saturating_add(*f).saturating_add(b);
            x = x.slice_grad(2 + d as i64, std::mem::take(f), 1, size)?;
        }
    }
    let padding = Padding::from(&front[..]);
    one(match n {
        1 => x.conv1d(&w, bias.as_ref(), stride, padding, dilation, groups)?,
        2 => x.conv2d(&w, bias.as_ref(), stride, padding, dilation, groups)?,
        _ => x.conv3d(&w, bias.as_ref(), stride, padding, dilation, groups)?,
    })
}

fn conv_transpose(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, n) = spatial(call)?;
    let (w, bias, groups, padding) = (weight(call, n)?, call.maybe(2)?, group(call)?, even_pads(call, n)?);
    let (stride, dilation) = (each(call, "strides", n, 1, 1)?, each(call, "dilations", n, 1, 1)?);
    if call.attr("output_shape").is_some() {
        return Err(Error::format("output_shape is not read; state pads and output_padding"));
    }
    let extra = each(call, "output_padding", n, 0, 0)?;
    if x.array().shape().iter().chain(w.array().shape().iter()).any(|&n| n > 1 << 30) {
        return Err(Error::format("its sizes are too large"));
    }
    one(match n {
        1 => x.conv_transpose1d(&w, bias.as_ref(), stride, padding, extra, groups, dilation)?,
        2 => x.conv_transpose2d(&w, bias.as_ref(), stride, padding, extra, groups, dilation)?,
        _ => return Err(Error::format("it is read for one or two spatial dimensions")),
    })
}

/// Window, stride and padding of a pooling.
fn pooling(call: &Call<'_>, n: usize) -> Result<(Vec<i64>, Opt<esker_ops::Ints>, Vec<i64>)> {
    if n > 2 {
        return Err(Error::format("it is read for one or two spatial dimensions"));
    }
    let stride = each(call, "strides", n, 1, 1)?;
    Ok((each(call, "kernel_shape", n, 0, 1)?, Some(esker_ops::Ints::from(stride)).into(), even_pads(call, n)?))
}

fn max_pool(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("storage_order", 0)?;
    let (x, n) = spatial(call)?;
    let (kernel, stride, padding) = pooling(call, n)?;
    let (dilation, ceil) = (each(call, "dilations", n, 1, 1)?, call.int("ceil_mode", 0) != 0);
    let (y, index) = match (n, call.wants(1)) {
        (1, false) => return one(x.max_pool1d(kernel, stride, padding, dilation, ceil)?),
        (_, false) => return one(x.max_pool2d(kernel, stride, padding, dilation, ceil)?),
        (1, true) => x.max_pool1d_with_indices(kernel, stride, padding, dilation, ceil)?,
        (_, true) => x.max_pool2d_with_indices(kernel, stride, padding, dilation, ceil)?,
    };
    // ONNX counts over the whole tensor, Esker within a plane.
    let shape = *x.array().shape();
    let (planes, plane) = shape.split_at_checked(2).ok_or_else(|| Error::format("its input has no plane"))?;
    let plane: usize = plane.iter().product();
    if plane as i64 > MAX_SIZE {
        return Err(Error::format("its sizes are too large"));
    }
    let starts = Sym::iota(0.0, plane as f64, planes.iter().product::<usize>() as i64, DType::I64, Device::Meta)?;
    let sizes: Vec<usize> = planes.iter().copied().chain(std::iter::repeat_n(1, n)).collect();
    Ok(vec![y.into(), index.add(&starts.reshape(&sizes[..])?)?.into()])
}

fn average_pool(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("ceil_mode", 0)?;
    let (x, n) = spatial(call)?;
    let (kernel, stride, padding) = pooling(call, n)?;
    if each(call, "dilations", n, 1, 1)?.iter().any(|&d| d != 1) {
        return Err(Error::format("dilations other than 1 are not read"));
    }
    let include = call.int("count_include_pad", 0) != 0;
    one(match n {
        1 => x.avg_pool1d(kernel, stride, padding, false, include)?,
        _ => x.avg_pool2d(kernel, stride, padding, false, include, ())?,
    })
}

/// Where new elements lie, in the words of both.
fn resize(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, n) = spatial(call)?;
    let text = |name: &str, default: &str| call.text(name).unwrap_or_else(|| default.to_string());
    let (mode, places) = (text("mode", "nearest"), text("coordinate_transformation_mode", "half_pixel"));
    if call.attr("axes").is_some()
        || call.int("antialias", 0) != 0
        || text("keep_aspect_ratio_policy", "stretch") != "stretch"
    {
        return Err(Error::format("axes, antialias and keep_aspect_ratio_policy are not read"));
    }
    let (mode, ends) = match (mode.as_str(), places.as_str(), n) {
        ("nearest", "asymmetric", _) if text("nearest_mode", "round_prefer_floor") == "floor" => ("nearest", None),
        ("linear", "half_pixel" | "align_corners", _) => {
            let mode = ["linear", "bilinear", "trilinear"].get(n - 1).copied().unwrap_or("linear");
            (mode, Some(places == "align_corners"))
        }
        _ => return Err(Error::format(format!("mode {mode} with {places} places is not read"))),
    };
    let shape: Vec<i64> = x.array().shape().iter().map(|&n| n as i64).collect();
    let sizes = match (call.item(3).is_some(), call.item(2)) {
        (true, _) => call.sizes(3)?,
        (false, Some(Item::Tensor { known: Some(scales), .. })) => {
            let scales = scales.to_f64_vec()?;
            let sizes = shape.iter().zip(&scales).map(|(&n, s)| (n as f64 * s).floor() as i64);
            if scales.len() != shape.len() {
                return Err(Error::format(format!("{} scales for rank {}", scales.len(), shape.len())));
            }
            sizes.collect()
        }
        _ => return Err(Error::format("it needs sizes, or scales that the file states")),
    };
    let (lead, to) = sizes.split_at_checked(2).ok_or_else(|| Error::format("its sizes are too few"))?;
    if shape.get(..2) != Some(lead) || to.len() != n || to.iter().any(|s| !(1..=MAX_SIZE).contains(s)) {
        return Err(Error::format(format!("sizes {sizes:?} for an input of {shape:?} are not read")));
    }
    let size = Some(esker_ops::Ints::from(to));
    one(x.interpolate(size, (), mode.to_string(), ends, (), false)?)
}

fn depth_to_space(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let mode = call.text("mode").unwrap_or_else(|| "DCR".to_string());
    if mode != "CRD" {
        return Err(Error::format(format!("mode {mode} is not read, only CRD")));
    }
    one(call.tensor(0)?.pixel_shuffle(call.int("blocksize", 0))?)
}
