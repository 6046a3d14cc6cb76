//! The gradient of a convolution by its weight.

use esker_ops::Array;
use esker_tensor::{Element, Layout, Result, Shape};

use super::columns::{Columns, Tap};
use super::product::{self, Product};
use super::{Geometry, depthwise};
use crate::lanes::Num;
use crate::operand::{Shared, parallel, source, target, uninit};

/// Pixels of a slice of the sum.
const SLICE: usize = 8192;
/// Pixels of a slice of a depthwise sum.
const ROWS: usize = 1024;

/// `dw [k, cg, r, s]` from channels-last `x` and `dy`.
pub(super) fn run<T: Product>(g: &Geometry, x: &Array, dy: &Array, dw: &mut Array) -> Result<()> {
    let taps: Vec<Tap> = g.taps().into_iter().map(|(_, tap)| tap).collect();
    let (x, dy, dw) = (source::<T>(x), source::<T>(dy), target::<T>(dw)?);
    let (size, out, step) = (g.size, g.out, g.conv.stride);
    let columns = Columns { x, size, channels: g.c, first: 0, width: g.cg(), taps: &taps, out, step };
    if g.is_depthwise() { by_channel(g, columns, dy, dw) } else { by_product(g, columns, dy, dw) }
}

/// Slices of the sum, each `[group][kg][tap][cg]`, added up in order.
fn by_product<T: Product>(g: &Geometry, columns: Columns<'_, T>, dy: Shared<T>, dw: Shared<T>) -> Result<()> {
    let (cg, kg, taps) = (g.cg(), g.kg(), columns.taps.len());
    let pixels = g.images * g.out[0] * g.out[1];
    let slices = pixels.div_ceil(SLICE).max(1);
    let (block, total) = (taps * cg * kg, g.conv.groups * taps * cg * kg);
    let mut partial = uninit(<T as Element>::DTYPE, Layout::contiguous(Shape::from([slices, total])))?;
    let to = target::<T>(&mut partial)?;
    for slice in 0..slices {
        let range = slice * SLICE..pixels.min((slice + 1) * SLICE);
        for group in 0..g.conv.groups {
            let columns = Columns { first: group * cg, ..columns };
            let part = to.at(slice * total + group * block);
            // SAFETY: the geometry is that of the arrays; each slice and group has a block of its own.
            unsafe { product::weights(&columns, range.clone(), kg, dy.at(group * kg), g.k, part)? }
        }
    }
    parallel(g.k * cg, 4 * taps * slices, &|filters| {
        for filter in filters {
            let (k, c) = (filter / cg, filter % cg);
            for t in 0..taps {
                let from = (k * taps + t) * cg + c;
                // SAFETY: the indices are within the sizes; each filter has elements of its own.
                unsafe { *dw.at(filter * taps + t) = tree(to.at(from), total, slices) }
            }
        }
    });
    Ok(())
}

fn by_channel<T: Product>(g: &Geometry, columns: Columns<'_, T>, dy: Shared<T>, dw: Shared<T>) -> Result<()> {
    let (rows, taps) = (g.images * g.out[0], columns.taps.len());
    let slice = (ROWS / g.out[1].max(1)).max(1);
    let (slices, total) = (rows.div_ceil(slice), taps * g.c);
    let mut partial = uninit(<T as Element>::DTYPE, Layout::contiguous(Shape::from([slices, total])))?;
    let to = target::<T>(&mut partial)?;
    depthwise::weight(columns, dy, to, rows, slice);
    parallel(g.c, 4 * taps * slices, &|channels| {
        for c in channels {
            for t in 0..taps {
                // SAFETY: the indices are within the sizes; each channel has elements of its own.
                unsafe { *dw.at(c * taps + t) = tree(to.at(t * g.c + c), total, slices) }
            }
        }
    });
    Ok(())
}

/// The sum of `n` elements `step` apart, by pairs.
///
/// # Safety
/// They are valid for reads.
unsafe fn tree<T: Product>(p: *const T, step: usize, n: usize) -> T {
    // SAFETY: the caller vouches for the elements.
    unsafe {
        match n {
            0 => T::ZERO,
            1 => *p,
            _ => {
                let half = n.next_power_of_two() / 2;
                Num::plus(tree(p, step, half), tree(p.add(half * step), step, n - half))
            }
        }
    }
}
