//! Indexing: integers, slices, new axes, an ellipsis, tensors of places and masks, as in PyTorch.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo};

use esker_tensor::{DType, Error, Result, Shape};

use crate::op::{from_start, indices_of};
use crate::{Ops, Put, Value};

/// One item of an index. `i![..]` makes a list of them from integers, ranges, `None` for a new axis and `&tensor`.
#[derive(Clone, Debug)]
pub enum Index<V> {
    /// One place of a dimension, which goes; negative ones count from the end.
    At(i64),
    /// Every `step`-th place of a dimension, by Python's rules.
    Slice {
        /// The first place; one end of the dimension when left out.
        start: Option<i64>,
        /// The place before which it stops; the other end when left out.
        stop: Option<i64>,
        /// The distance, which may be negative.
        step: i64,
    },
    /// A new dimension of size 1.
    NewAxis,
    /// As many whole dimensions as the other items leave.
    Ellipsis,
    /// Places of a dimension (int64), or a mask (bool) over as many dimensions as it has.
    Tensor(V),
}

impl<V> Index<V> {
    /// Every `step`-th place of a range: `Index::by(.., -1)` turns a dimension round.
    pub fn by(range: impl Into<Index<V>>, step: i64) -> Self {
        match range.into() {
            Index::Slice { start, stop, .. } => Index::Slice { start, stop, step },
            other => other,
        }
    }
}

impl<V: Value> From<&V> for Index<V> {
    fn from(places: &V) -> Self {
        Index::Tensor(places.clone())
    }
}

impl<V> From<Option<()>> for Index<V> {
    fn from(_: Option<()>) -> Self {
        Index::NewAxis
    }
}

impl<V> From<RangeFull> for Index<V> {
    fn from(_: RangeFull) -> Self {
        Index::Slice { start: None, stop: None, step: 1 }
    }
}

macro_rules! numbers {
    ($($t:ty)*) => {$(
        impl<V> From<$t> for Index<V> {
            fn from(at: $t) -> Self {
                Index::At(at.into())
            }
        }
        impl<V> From<Range<$t>> for Index<V> {
            fn from(r: Range<$t>) -> Self {
                Index::Slice { start: Some(r.start.into()), stop: Some(r.end.into()), step: 1 }
            }
        }
        impl<V> From<RangeInclusive<$t>> for Index<V> {
            fn from(r: RangeInclusive<$t>) -> Self {
                // Behind the last place there is nothing to stop before.
                let stop = Some(i64::from(*r.end())).filter(|&end| end != -1).map(|end| end + 1);
                Index::Slice { start: Some((*r.start()).into()), stop, step: 1 }
            }
        }
        impl<V> From<RangeFrom<$t>> for Index<V> {
            fn from(r: RangeFrom<$t>) -> Self {
                Index::Slice { start: Some(r.start.into()), stop: None, step: 1 }
            }
        }
        impl<V> From<RangeTo<$t>> for Index<V> {
            fn from(r: RangeTo<$t>) -> Self {
                Index::Slice { start: None, stop: Some(r.end.into()), step: 1 }
            }
        }
    )*};
}

numbers! { i32 i64 }

/// A list of [`Index`] items: `i![0, 1..3, .., None, &places]`.
#[macro_export]
macro_rules! i {
    ($($item:expr),* $(,)?) => { [$($crate::Index::from($item)),*] };
}

/// Reading and writing by index, on everything that ops apply to.
pub trait Indexing: Value {
    /// The elements that the index names. Integers, slices and new axes give a view; tensors of places broadcast together
    /// and their dimensions stand where they are, or in front when other dimensions lie between them.
    ///
    /// # Errors
    /// `Dim` for places out of range and too many items; `Shape` for masks and places that do not fit; `DType` for
    /// tensors of other types; `Capture` for masks while values are not known.
    #[track_caller]
    fn index(&self, index: &[Index<Self>]) -> Result<Self> {
        let (view, picks) = view(self, index)?;
        pick(&view, &picks)
    }

    /// This value with `value`, which broadcasts, in place of the elements that the index names, or added to them when
    /// `accumulate`. Of several for one place the last stays.
    ///
    /// # Errors
    /// As [`Indexing::index`]; `Shape` when the value does not broadcast.
    #[track_caller]
    fn index_set(&self, index: &[Index<Self>], value: &Self, accumulate: bool) -> Result<Self> {
        let meta = self.meta();
        let (numel, value) = (meta.shape.numel(), value.cast(meta.dtype)?);
        if let ([Index::Tensor(mask)], 1, false) = (index, value.meta().shape.numel(), accumulate)
            && mask.meta().dtype == DType::Bool
        {
            let mask = over(mask, &meta.shape)?; // One value needs no places, so that this can be captured.
            return mask.where_cond(&value.reshape(())?, self);
        }
        let places = Self::iota(0.0, 1.0, numel as i64, DType::I64, meta.device)?.reshape(meta.shape)?.index(index)?;
        let shape = places.meta().shape;
        let (count, value) = (shape.numel(), broadcast(&value, &shape)?);
        let (places, value, flat) = (places.reshape([count])?, value.reshape([count])?, self.reshape([numel])?);
        let y = if accumulate {
            flat.add_slices(&places, &value, 0)?
        } else {
            flat.scatter_elements(&places, &value, 0, Put::Replace)?
        };
        y.reshape(meta.shape)
    }
}

impl<V: Value> Indexing for V {}

/// A mask over the first dimensions, with dimensions of size 1 for the others.
fn over<V: Value>(mask: &V, shape: &Shape) -> Result<V> {
    let of = mask.meta().shape;
    if shape.get(..of.len()) != Some(&of[..]) {
        return Err(misfit(&of, 0, shape));
    }
    let mut sizes = of.to_vec();
    sizes.resize(shape.len(), 1);
    mask.reshape(&sizes[..])
}

fn misfit(mask: &Shape, dim: usize, shape: &Shape) -> Error {
    Error::shape(format!("a mask of {mask:?} does not fit {shape:?} from dimension {dim} on"))
}

/// `value` in a shape; leading dimensions of size 1 may be too many.
fn broadcast<V: Value>(value: &V, shape: &Shape) -> Result<V> {
    let of = value.meta().shape;
    let extra = of.len().saturating_sub(shape.len());
    let trimmed = if of.iter().take(extra).all(|&n| n == 1) { &of[extra..] } else { &of[..] };
    let value = if extra > 0 { value.reshape(trimmed)? } else { value.clone() };
    value.expand(shape).map_err(|_| Error::shape(format!("a value of {of:?} does not broadcast to {shape:?}")))
}

/// What integers, slices and new axes leave: a view, and the places that are to be picked in its dimensions.
fn view<V: Value>(x: &V, index: &[Index<V>]) -> Result<(V, Vec<Option<V>>)> {
    let shape = x.meta().shape;
    let is_mask = |t: &V| t.meta().dtype == DType::Bool;
    let takes = |item: &Index<V>| match item {
        Index::NewAxis | Index::Ellipsis => 0,
        Index::Tensor(t) if is_mask(t) => t.meta().shape.len(),
        _ => 1,
    };
    let taken: usize = index.iter().map(takes).sum();
    let rest = shape.len().checked_sub(taken);
    let rest = rest.ok_or_else(|| Error::dim(format!("too many indices: {taken} for a tensor of {shape:?}")))?;
    if index.iter().filter(|i| matches!(i, Index::Ellipsis)).count() > 1 {
        return Err(Error::dim("an index has more than one ellipsis"));
    }
    let (mut y, mut picks) = (x.clone(), Vec::new());
    for item in index {
        let dim = picks.len();
        match item {
            Index::At(at) => y = y.select(dim as i64, *at)?,
            Index::Slice { start, stop, step } => {
                let (first, end) = if *step < 0 { (-1, i64::MIN) } else { (0, i64::MAX) };
                y = y.slice(dim as i64, start.unwrap_or(first), stop.unwrap_or(end), *step)?;
                picks.push(None);
            }
            Index::NewAxis => {
                y = y.unsqueeze(dim as i64)?;
                picks.push(None);
            }
            Index::Ellipsis => picks.extend(std::iter::repeat_n(None, rest)),
            Index::Tensor(mask) if is_mask(mask) => {
                let of = mask.meta().shape;
                if of.is_empty() {
                    y = y.unsqueeze(dim as i64)?; // It picks the only place of a new dimension, or none.
                } else if y.meta().shape.get(dim..dim + of.len()) != Some(&of[..]) {
                    return Err(misfit(&of, dim, &y.meta().shape));
                }
                picks.extend(indices_of(mask)?.into_iter().map(Some));
            }
            Index::Tensor(places) => {
                let dtype = places.meta().dtype;
                if !dtype.is_int() || dtype == DType::U8 {
                    return Err(Error::dtype(format!("an index must be int64 or bool, got {dtype}")));
                }
                picks.push(Some(places.cast(DType::I64)?));
            }
        }
    }
    picks.resize(y.meta().shape.len(), None);
    Ok((y, picks))
}

/// Refuses places out of range, where values are known; where not, the kernel will.
fn check<V: Value>(places: &V, dim: usize, size: usize) -> Result<()> {
    let Ok(values) = places.values() else { return Ok(()) };
    let n = size as i64;
    match values.to_vec::<i64>()?.into_iter().find(|i| !(-n..n).contains(i)) {
        Some(i) => Err(Error::dim(format!("index {i} is out of range for dimension {dim} of size {size}"))),
        None => Ok(()),
    }
}

/// The elements at places in some of the dimensions.
fn pick<V: Value>(x: &V, picks: &[Option<V>]) -> Result<V> {
    let (shape, device) = (x.meta().shape, x.meta().device);
    let chosen: Vec<(usize, &V)> = picks.iter().enumerate().filter_map(|(d, p)| Some((d, p.as_ref()?))).collect();
    let [(first, _), ..] = chosen[..] else { return Ok(x.clone()) };
    let mut by = Shape::empty();
    for (d, places) in &chosen {
        let of = places.meta().shape;
        by = by.broadcast(&of).map_err(|_| Error::shape(format!("index shapes {by:?} and {of:?} do not broadcast")))?;
        check(*places, *d, shape[*d])?;
    }
    // One place in the chosen dimensions taken together, of which each refuses what is out of its range.
    let (mut block, mut place) = (1, None);
    for (d, places) in chosen.iter().rev() {
        let size = shape[*d];
        let own = from_start(*places, size)?.expand(by)?.reshape([by.numel()])?;
        place = Some(match place {
            None if chosen.len() == 1 => own,
            place => {
                let far = V::iota(0.0, block as f64, size as i64, DType::I64, device)?.index_select(&own, 0)?;
                place.map_or(Ok(far.clone()), |near: V| near.add(&far))?
            }
        });
        block *= size;
    }
    let Some(place) = place else { return Ok(x.clone()) };
    let is_chosen = |d: &usize| chosen.iter().any(|(c, _)| c == d);
    let last = chosen.last().map_or(first, |(d, _)| *d);
    let start = if last - first + 1 == chosen.len() { first } else { 0 };
    let others: Vec<usize> = (0..shape.len()).filter(|d| !is_chosen(d)).collect();
    let (before, after) = others.split_at(start);
    let middle = chosen.iter().map(|(d, _)| *d);
    let order: Vec<i64> = before.iter().copied().chain(middle).chain(after.iter().copied()).map(|d| d as i64).collect();
    let sizes = |middle: &[usize]| -> Vec<usize> {
        let of = |dims: &[usize]| dims.iter().map(|&d| shape[d]).collect::<Vec<_>>();
        [&of(before)[..], middle, &of(after)[..]].concat()
    };
    let merged = x.permute(&order[..])?.reshape(&sizes(&[block])[..])?;
    merged.index_select(&place, start as i64)?.reshape(&sizes(&by)[..])
}
