//! The same values lying in memory in other ways.

use esker_tensor::{DType, Dims, Layout, Result, Storage, Strides};

use crate::Array;

/// The array's values under other layouts, each with a name; the shape and the values stay. Memory that the layout
/// does not show is filled with what would be noticed (NaN, -1).
///
/// # Errors
/// `OutOfMemory`.
pub fn variants(x: &Array) -> Result<Vec<(&'static str, Array)>> {
    let shape = *x.shape();
    let rank = shape.len();
    let dense = Layout::contiguous(shape);
    let n = shape.numel();
    let mut out = Vec::new();
    let mut push = |name, layout: Layout, len: usize| -> Result<()> {
        out.push((name, relaid(x, layout, len)?));
        Ok(())
    };
    let scaled = |by: isize| -> Strides { dense.strides().iter().map(|&s| s * by).collect() };
    push("offset", Layout::new(shape, *dense.strides(), 5), n + 9)?;
    push("step 2", Layout::new(shape, scaled(2), 3), 2 * n + 3)?;
    if rank > 0 {
        push("reversed", Layout::new(shape, scaled(-1), n.max(1) - 1), n)?;
        push("reversed by 2", Layout::new(shape, scaled(-2), 2 * n + 1), 2 * n + 2)?;
    }
    if rank > 1 {
        let order: Dims = (0..rank as u8).rev().collect();
        push("transposed", Layout::dense(shape, &order), n)?;
        let order: Dims = (1..rank as u8).chain([0]).collect();
        push("first dimension innermost", Layout::dense(shape, &order), n)?;
        // A block out of a wider one: rows with a gap between them.
        let mut strides = Strides::filled(1, rank);
        for d in (0..rank - 1).rev() {
            strides[d] = strides[d + 1] * (shape[d + 1].max(1) as isize + 1);
        }
        let last = shape.iter().zip(strides.iter()).map(|(&n, &s)| (n.max(1) - 1) * s as usize).sum::<usize>();
        push("block of a wider array", Layout::new(shape, strides, 1), last + 3)?;
    }
    // Stride 0 wherever the values do not change along a dimension (sizes of 1 always).
    let constant: Vec<bool> = (0..rank).map(|d| n > 0 && is_constant(x, d)).collect::<Vec<_>>();
    if constant.contains(&true) {
        let mut strides = Strides::filled(0, rank);
        let mut step = 1;
        for d in (0..rank).rev().filter(|&d| !constant[d]) {
            strides[d] = step;
            step *= shape[d] as isize;
        }
        push("broadcast", Layout::new(shape, strides, 0), step as usize)?;
    }
    Ok(out)
}

/// The first slice along the first dimension of more than one element, repeated there with stride 0: other values, so
/// expectations must be computed anew. `None` when there is no such dimension.
pub fn spread(x: &Array) -> Option<Array> {
    let layout = x.layout();
    let d = layout.shape().iter().position(|&n| n > 1)?;
    let mut strides = *layout.strides();
    strides[d] = 0;
    Array::new(x.dtype(), x.device(), Layout::new(*layout.shape(), strides, layout.offset()), x.storage().clone()).ok()
}

fn is_constant(x: &Array, d: usize) -> bool {
    let (layout, size) = (x.layout(), x.dtype().size());
    let bytes = x.storage().bytes();
    let back = layout.strides()[d];
    let mut index = vec![0; layout.rank()];
    let mut same = true;
    super::reference::each_index(layout.shape(), |i| {
        index.copy_from_slice(i);
        if i[d] > 0 {
            let at = i
                .iter()
                .zip(layout.strides().iter())
                .fold(layout.offset() as isize, |at, (&i, &s)| at + i as isize * s);
            let (here, before) = (at as usize * size, (at - back) as usize * size);
            same &= bytes[here..here + size] == bytes[before..before + size];
        }
    });
    same
}

/// The values of `x` at the places of `layout` in a storage of `len` elements.
fn relaid(x: &Array, layout: Layout, len: usize) -> Result<Array> {
    let size = x.dtype().size();
    let unseen = if x.dtype() == DType::Bool { 1u8 } else { 0xFF };
    let mut bytes = vec![unseen; len * size];
    let from = x.storage().bytes();
    for (a, b) in x.layout().indices().zip(layout.indices()) {
        bytes[b * size..][..size].copy_from_slice(&from[a * size..][..size]);
    }
    Array::new(x.dtype(), x.device(), layout, Storage::from_bytes(&bytes)?)
}
