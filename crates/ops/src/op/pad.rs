//! Padding: constants beside the input, or the input's own elements.

use esker_tensor::{DType, Error, Result};

use super::function;
use crate::{Ops, Value};

/// What is put on both sides of a dimension; negative amounts cut.
struct Side {
    dim: usize,
    front: i64,
    behind: i64,
}

/// The amounts by dimension; the list begins with the last dimension.
fn sides(pad: &[i64], rank: usize) -> Result<Vec<Side>> {
    if !pad.len().is_multiple_of(2) || pad.len() / 2 > rank {
        return Err(Error::shape(format!(
            "pad takes two numbers for each padded dimension, of which there are {rank}, got {pad:?}"
        )));
    }
    let pairs = pad.chunks_exact(2).enumerate();
    Ok(pairs.map(|(i, p)| Side { dim: rank - 1 - i, front: p[0], behind: p[1] }).collect())
}

/// The elements of `x` with a constant on both sides of a dimension.
fn constant<V: Value>(x: &V, side: &Side, value: f64) -> Result<V> {
    let (meta, dim) = (x.meta(), side.dim as i64);
    let size = meta.shape[side.dim] as i64;
    let (front, behind) = (side.front.max(0), side.behind.max(0));
    let (cut_front, cut_behind) = (side.front.min(0).saturating_neg(), side.behind.min(0).saturating_neg());
    let kept = size.saturating_sub(cut_front).saturating_sub(cut_behind);
    let whole = kept.checked_add(front).and_then(|n| n.checked_add(behind));
    let whole = whole.ok_or_else(|| Error::shape(format!("padding {front} and {behind} is beyond any address")))?;
    if whole < 0 || kept < 0 {
        return Err(Error::shape(format!(
            "padding {} and {} leaves nothing of dimension {dim}, which has {size}",
            side.front, side.behind
        )));
    }
    let x = if kept == size { x.clone() } else { x.slice(dim, cut_front, size - cut_behind, 1)? };
    let filled = |n: i64| {
        let mut shape = meta.shape;
        shape[side.dim] = n as usize;
        shape.checked_numel()?;
        V::full(value, shape, meta.dtype, meta.device)
    };
    match (front, behind) {
        (0, 0) => Ok(x),
        (f, 0) => V::cat(&[&filled(f)?, &x], dim),
        (0, b) => V::cat(&[&x, &filled(b)?], dim),
        (f, b) => V::cat(&[&filled(f)?, &x, &filled(b)?], dim),
    }
}

/// How elements beyond the ends are found within.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Reflect,
    Replicate,
    Circular,
}

/// The elements of `x` with others of them on both sides of a dimension.
fn mirrored<V: Value>(x: &V, side: &Side, how: Beyond) -> Result<V> {
    let (meta, dim, front, behind) = (x.meta(), side.dim as i64, side.front, side.behind);
    let n = meta.shape[side.dim] as i64;
    let most = match how {
        Beyond::Reflect => n - 1,
        Beyond::Replicate if n > 0 => i64::from(u32::MAX),
        _ => n,
    };
    if front.min(behind) < 0 || front.max(behind) > most {
        return Err(Error::shape(format!(
            "padding {front} and {behind} of dimension {dim}, which has {n}, must be from 0 to {most} in this mode"
        )));
    }
    let part = |start: i64, end: i64, step: i64| x.slice(dim, start, end, step);
    let repeated = |at: i64, times: i64| {
        let mut shape = meta.shape;
        shape[side.dim] = times as usize;
        shape.checked_numel()?;
        part(at, at + 1, 1)?.expand(shape)
    };
    // Slices run backwards to before the first element when their end is the lowest number.
    let end = |at: i64| if at < 0 { i64::MIN } else { at };
    let mut parts = Vec::new();
    if front > 0 {
        parts.push(match how {
            Beyond::Reflect => part(front, end(0), -1)?,
            Beyond::Replicate => repeated(0, front)?,
            Beyond::Circular => part(n - front, n, 1)?,
        });
    }
    parts.push(x.clone());
    if behind > 0 {
        parts.push(match how {
            Beyond::Reflect => part(n - 2, end(n - 2 - behind), -1)?,
            Beyond::Replicate => repeated(n - 1, behind)?,
            Beyond::Circular => part(0, behind, 1)?,
        });
    }
    if parts.len() == 1 { Ok(x.clone()) } else { V::cat(&parts.iter().collect::<Vec<_>>(), dim) }
}

function! { Pad |op, x| {
    let meta = x.meta();
    let sides = sides(op.pad.get(), meta.shape.len())?;
    let how = match (op.mode.as_str(), op.value.get()) {
        ("constant", _) => None,
        (mode, Some(value)) if value.get() != 0.0 => {
            return Err(Error::kernel(format!("mode {mode:?} takes no value, got {value:?}")));
        }
        ("reflect", _) => Some(Beyond::Reflect),
        ("replicate", _) => Some(Beyond::Replicate),
        ("circular", _) => Some(Beyond::Circular),
        (mode, _) => {
            return Err(Error::kernel(format!(
                "mode is \"constant\", \"reflect\", \"replicate\" or \"circular\", got {mode:?}"
            )));
        }
    };
    let value = op.value.get().map_or(0.0, |v| v.get());
    if how.is_none() && meta.dtype != DType::Bool && !meta.dtype.is_float() && value.fract() != 0.0 {
        return Err(Error::dtype(format!("{} holds no {value}; cast the input first", meta.dtype)));
    }
    if how.is_some() && (meta.shape.len() < sides.len() + 1 || sides.len() > 3) {
        return Err(Error::shape(format!(
            "this mode pads at most the last 3 dimensions, with at least one in front, got {:?} of {:?}",
            op.pad.get(), meta.shape
        )));
    }
    let mut y = x.clone();
    for side in sides.iter().filter(|s| (s.front, s.behind) != (0, 0)) {
        y = match how {
            None => constant(&y, side, value)?,
            Some(how) => mirrored(&y, side, how)?,
        };
    }
    y
} }

#[cfg(feature = "spec")]
mod spec {
    use crate::op::Pad;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, distinct, ints, real, values};
    use esker_tensor::DType;

    impl OpSpec for Pad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (x, rank) = (&x[0], x[0].shape.len());
            let pad = |d: usize, behind: usize| self.pad.get().get(2 * (rank - 1 - d) + behind).copied().unwrap_or(0);
            let shape: Vec<usize> = (0..rank).map(|d| (x.shape[d] as i64 + pad(d, 0) + pad(d, 1)) as usize).collect();
            vec![RefArray::from_fn(&shape, |i| {
                let mut from = Vec::new();
                for (d, &at) in i.iter().enumerate() {
                    let (n, at) = (x.shape[d] as i64, at as i64 - pad(d, 0));
                    let place = match self.mode.as_str() {
                        "reflect" if at < 0 => -at,
                        "reflect" if at >= n => 2 * (n - 1) - at,
                        "replicate" => at.clamp(0, n - 1),
                        "circular" => at.rem_euclid(n),
                        _ => at,
                    };
                    if place < 0 || place >= n {
                        return self.value.get().map_or(0.0, |v| v.get());
                    }
                    from.push(place as usize);
                }
                x.at(&from)
            })]
        }

        fn samples() -> Vec<Sample> {
            let op = |mode: &str, pad: &[i64]| Pad { pad: pad.into(), mode: mode.to_owned(), value: ().into() };
            let with = |value: f64, pad: &[i64]| Pad { value: value.into(), ..op("constant", pad) };
            let known = |mode: &str, y: [f64; 6]| {
                Sample::new(op(mode, &[2, 1]), [values(&[1, 1, 3], &[1.0, 2.0, 3.0])]).known(&[&y], "by hand")
            };
            let fails = |op: Pad, shape: &[usize], note| Sample::new(op, [distinct(shape)]).fails("Shape", note);
            let mut out = vec![
                Sample::new(op("constant", &[1, 2, 0, 1]), [real(&[2, 3, 2])]),
                Sample::new(with(1.5, &[1, -1]), [real(&[2, 3])]),
                Sample::new(with(2.0, &[0, 1, -1, 2]), [ints(&[2, 3], 0, 9)]).on(Dtypes::All),
                Sample::new(op("constant", &[-1, -1]), [real(&[2, 4])]),
                Sample::new(op("constant", &[]), [real(&[2])]),
                Sample::new(op("constant", &[1, 1]), [real(&[2, 0])]).rough(),
                Sample::new(op("reflect", &[2, 1, 1, 0]), [distinct(&[2, 3, 4])]),
                Sample::new(op("replicate", &[3, 1, 0, 2]), [distinct(&[1, 2, 3, 2])]),
                Sample::new(op("circular", &[1, 3, 2, 0]), [distinct(&[2, 2, 3])]),
                Sample::new(op("replicate", &[1, 0, 0, 1, 1, 1]), [ints(&[1, 2, 2, 2], 0, 9)])
                    .on(Dtypes::Only(&[DType::I32])),
                known("constant", [0.0, 0.0, 1.0, 2.0, 3.0, 0.0]),
                known("reflect", [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
                known("replicate", [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
                known("circular", [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]),
            ];
            out.extend([
                fails(op("constant", &[1]), &[3], "one side"),
                fails(op("constant", &[1, 1, 1, 1]), &[3], "more dimensions than there are"),
                fails(op("constant", &[-2, -2]), &[3], "less than nothing"),
                fails(op("constant", &[i64::MAX, i64::MAX]), &[3], "beyond all addresses"),
                fails(op("reflect", &[3, 0]), &[2, 3], "reflected beyond the other end"),
                fails(op("circular", &[4, 0]), &[2, 3], "more than once around"),
                fails(op("replicate", &[-1, 0]), &[2, 3], "a cut"),
                fails(op("reflect", &[1, 1]), &[3], "no dimension in front"),
                Sample::new(op("mirror", &[1, 1]), [real(&[3])]).fails("Kernel", "no such mode"),
                Sample::new(Pad { mode: "reflect".to_owned(), ..with(1.0, &[1, 1]) }, [real(&[2, 3])])
                    .fails("Kernel", "a value without use"),
                Sample::new(with(0.5, &[1, 1]), [ints(&[3], 0, 9)]).on(Dtypes::Ints).fails("DType", "half an integer"),
            ]);
            out
        }
    }
}
