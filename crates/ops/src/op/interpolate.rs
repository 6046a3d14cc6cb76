//! Images at another size.

use esker_tensor::{DType, Error, Result};

use super::{Interpolate, function, need_float};
use crate::{Meta, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, Ops, Value};

/// One spatial dimension: its size, the new one, and how far apart new elements lie in the old ones.
#[derive(Clone, Copy)]
struct Axis {
    dim: usize,
    from: usize,
    to: usize,
    step: f64,
}

/// What `size` or `scale_factor` asks for.
fn axes(op: &Interpolate, x: &Meta) -> Result<Vec<Axis>> {
    let n = match x.shape.len() {
        rank @ 3..=5 => rank - 2,
        _ => return Err(Error::shape(format!("the input must be [n, c, ..] of rank 3 to 5, got {:?}", x.shape))),
    };
    let misfit = |what: &str, count: usize| Error::shape(format!("{what} takes one number or {n}, got {count}"));
    let from = |d: usize| x.shape[2 + d];
    if (0..n).any(|d| from(d) == 0) {
        return Err(Error::shape(format!("{:?} has no elements to resize in a dimension", x.shape)));
    }
    let recompute = op.recompute_scale_factor.get().unwrap_or(false);
    let axis = |d: usize, to: f64, step: Option<f64>| {
        // Beyond 2^53 no address reaches.
        if !(to >= 1.0 && to < 2f64.powi(53)) {
            return Err(Error::shape(format!("a size of {to} is not possible")));
        }
        Ok(Axis { dim: 2 + d, from: from(d), to: to as usize, step: step.unwrap_or(from(d) as f64 / to) })
    };
    match (op.size.as_ref(), op.scale_factor.as_ref()) {
        (Some(_), None) if recompute => Err(Error::kernel("recompute_scale_factor needs a scale_factor, not a size")),
        (Some(size), None) => {
            let size = size.get();
            let at = |d: usize| if size.len() == 1 { size.first() } else { size.get(d) };
            if size.len() != 1 && size.len() != n {
                return Err(misfit("size", size.len()));
            }
            (0..n).map(|d| axis(d, at(d).map_or(0.0, |s| *s as f64), None)).collect()
        }
        (None, Some(scales)) => {
            let scales = scales.get();
            let at = |d: usize| if scales.len() == 1 { scales[0] } else { scales[d] };
            if scales.len() != 1 && scales.len() != n {
                return Err(misfit("scale_factor", scales.len()));
            }
            (0..n).map(|d| axis(d, (from(d) as f64 * at(d)).floor(), (!recompute).then(|| 1.0 / at(d)))).collect()
        }
        _ => Err(Error::kernel("needs either a size or a scale_factor")),
    }
}

/// The elements nearest to new places, of which the first lies `offset` behind an old one.
fn nearest<V: Value>(x: &V, axis: Axis, offset: f64) -> Result<V> {
    let meta = x.meta();
    if axis.from == axis.to && axis.step == 1.0 {
        return Ok(x.clone());
    }
    // Places are computed in the dtype that PyTorch computes them in, as a floor shows the last bit.
    let dtype = if meta.dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let scalar = |v: f64| V::scalar(v, dtype, meta.device);
    let mut at = V::iota(0.0, 1.0, axis.to as i64, dtype, meta.device)?;
    if offset != 0.0 {
        at = at.add(&scalar(offset)?)?;
    }
    let at = at.mul(&scalar(axis.step)?)?.cast(DType::F32)?.floor()?.cast(DType::I64)?;
    let last = V::scalar((axis.from - 1) as f64, DType::I64, meta.device)?;
    x.index_select(&at.minimum(&last)?, axis.dim as i64)
}

/// Means of the two elements around each new place, weighted by nearness.
fn linear<V: Value>(x: &V, axis: Axis, align_corners: bool) -> Result<V> {
    let meta = x.meta();
    let (dtype, dim) = (meta.dtype, axis.dim as i64);
    if axis.from == axis.to && (align_corners || axis.step == 1.0) {
        return Ok(x.clone());
    }
    let scalar = |v: f64| V::scalar(v, dtype, meta.device);
    let place = V::iota(0.0, 1.0, axis.to as i64, dtype, meta.device)?;
    let at = if align_corners {
        let step = if axis.to > 1 { (axis.from - 1) as f64 / (axis.to - 1) as f64 } else { 0.0 };
        place.mul(&scalar(step)?)?
    } else {
        place.add(&scalar(0.5)?)?.mul(&scalar(axis.step)?)?.sub(&scalar(0.5)?)?.relu()?
    };
    let whole = |v: f64| V::scalar(v, DType::I64, meta.device);
    let last = whole((axis.from - 1) as f64)?;
    let low = at.floor()?.cast(DType::I64)?.minimum(&last)?;
    let high = low.add(&whole(1.0)?)?.minimum(&last)?;
    let mut sizes = vec![1; meta.shape.len() - axis.dim];
    sizes[0] = axis.to;
    let weight = at.sub(&low.cast(dtype)?)?.clamp(0.0, 1.0)?.reshape(&sizes[..])?;
    let rest = scalar(1.0)?.sub(&weight)?;
    x.index_select(&low, dim)?.mul(&rest)?.add(&x.index_select(&high, dim)?.mul(&weight)?)
}

function! { Interpolate |op, x| {
    let meta = x.meta();
    let axes = axes(op, &meta)?;
    let ends = op.align_corners.get();
    if op.antialias {
        return Err(Error::unavailable("antialias is not implemented; blur the input first"));
    }
    match (op.mode.as_str(), axes.len()) {
        ("nearest" | "nearest-exact" | "area", _) if ends.is_some() => {
            return Err(Error::kernel(format!("align_corners has no meaning for mode {:?}", op.mode)));
        }
        ("nearest", _) => axes.iter().try_fold(x.clone(), |y, axis| nearest(&y, *axis, 0.0))?,
        ("nearest-exact", _) => axes.iter().try_fold(x.clone(), |y, axis| nearest(&y, *axis, 0.5))?,
        ("linear", 1) | ("bilinear", 2) | ("trilinear", 3) => {
            need_float("the input", meta.dtype)?;
            let wide = if meta.dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let x = if meta.dtype == wide { x.clone() } else { x.cast(wide)? };
            let y = axes.iter().rev().try_fold(x, |y, axis| linear(&y, *axis, ends.unwrap_or(false)))?;
            if meta.dtype == wide { y } else { y.cast(meta.dtype)? }
        }
        ("area", 1) => x.adaptive_avg_pool1d(axes[0].to as i64)?,
        ("area", 2) => x.adaptive_avg_pool2d([axes[0].to as i64, axes[1].to as i64])?,
        (mode, n) => {
            return Err(Error::kernel(format!(
                "mode {mode:?} is not for {n} spatial dimensions; there are \"nearest\", \"nearest-exact\", \"linear\" (1), \
                 \"bilinear\" (2), \"trilinear\" (3) and \"area\" (1 and 2)"
            )));
        }
    }
}, onnx |op, cx| resize(op, cx) }

/// A `Resize` node, where all programs must find the same places.
fn resize(op: &Interpolate, cx: &OnnxCx<'_>) -> Option<Onnx> {
    let axes = axes(op, &cx.x[0]).ok()?;
    let ratio = |a: &Axis| a.step == a.from as f64 / a.to as f64;
    let (mode, places) = match op.mode.as_str() {
        // A place is a quotient there: rounding could take it below a whole number unless that is a multiple.
        "nearest" if axes.iter().all(|a| ratio(a) && a.to.is_multiple_of(a.from)) => ("nearest", "asymmetric"),
        "linear" | "bilinear" | "trilinear" => match op.align_corners.get() {
            Some(true) => ("linear", "align_corners"),
            _ if axes.iter().all(ratio) => ("linear", "half_pixel"),
            _ => return None,
        },
        _ => return None,
    };
    let inputs = vec![OnnxRef::In(0), OnnxRef::Absent, OnnxRef::Absent, OnnxRef::ShapeOf(0)];
    let node = OnnxNode::new("Resize", inputs)
        .attr("mode", OnnxAttr::Str(mode))
        .attr("coordinate_transformation_mode", OnnxAttr::Str(places))
        .attr("nearest_mode", OnnxAttr::Str("floor"));
    cx.x[0].dtype.is_float().then(|| node.into())
}

#[cfg(feature = "spec")]
mod spec;
