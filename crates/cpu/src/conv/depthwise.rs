//! Convolutions in which every channel has a filter of its own: loops along the channels.

use std::ops::Range;

use super::Target;
use super::columns::Columns;
use crate::lanes::{LANES, Real, RealLanes, RealTask, run_real};
use crate::operand::{Shared, parallel};

/// Each pixel of `to` is the sum over the taps of window pixel times weight, with weights `[tap][channel]`; `rows` is
/// the number of pixel rows over all images.
pub(super) fn forward<T: Real>(columns: Columns<'_, T>, w: Shared<T>, to: Target<T>, rows: usize) {
    let cost = columns.out[1] * columns.channels * (1 + columns.taps.len());
    parallel(rows, cost, &|rows| {
        // SAFETY: the geometry is that of the arrays; rows of pixels are disjoint.
        unsafe { run_real(Forward { columns, w, to, rows }) }
    });
}

struct Forward<'a, T> {
    columns: Columns<'a, T>,
    w: Shared<T>,
    to: Target<T>,
    rows: Range<usize>,
}

impl<T: Real> RealTask<T> for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (columns, channels) = (self.columns, self.columns.channels);
        let mut seen: Vec<(*const T, *const T)> = Vec::with_capacity(columns.taps.len());
        for row in self.rows {
            for j in 0..columns.out[1] {
                let place = (row / columns.out[0], row % columns.out[0], j);
                let taps = 0..columns.taps.len();
                seen.clear();
                seen.extend(
                    taps.filter_map(|t| Some((columns.pixel(place, t)?, self.w.at(t * channels).cast_const()))),
                );
                // SAFETY: the caller vouches for the geometry.
                unsafe { pixel::<V>(&seen, self.to.pixel(place), channels) }
            }
        }
    }
}

/// One output pixel: the sum over the taps, in their order, of pixel times weight.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; all pointers are valid for `channels` elements.
#[inline(always)]
unsafe fn pixel<V: RealLanes<E: Real>>(seen: &[(*const V::E, *const V::E)], y: *mut V::E, channels: usize) {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        let zero = V::splat(V::E::from_f64(0.0));
        let mut c = 0;
        while c + 2 * LANES <= channels {
            let (mut a, mut b) = (zero, zero);
            for &(x, w) in seen {
                a = V::load(x.add(c)).mul_add(V::load(w.add(c)), a);
                b = V::load(x.add(c + LANES)).mul_add(V::load(w.add(c + LANES)), b);
            }
            a.store(y.add(c));
            b.store(y.add(c + LANES));
            c += 2 * LANES;
        }
        while c < channels {
            let n = LANES.min(channels - c);
            let mut a = zero;
            for &(x, w) in seen {
                a = some::<V>(x.add(c), n).mul_add(some::<V>(w.add(c), n), a);
            }
            if n == LANES {
                a.store(y.add(c))
            } else {
                a.store_n(y.add(c), n)
            }
            c += n;
        }
    }
}

/// `n` elements, zeros beyond.
///
/// # Safety
/// As [`crate::lanes::Lanes`].
#[inline(always)]
unsafe fn some<V: RealLanes<E: Real>>(p: *const V::E, n: usize) -> V {
    // SAFETY: the caller vouches for n elements.
    unsafe { if n == LANES { V::load(p) } else { V::load_n(p, n, V::E::from_f64(0.0)) } }
}

/// Sums window pixel times `dy` over slices of pixel rows: `to[slice][tap][channel]`.
pub(super) fn weight<T: Real>(columns: Columns<'_, T>, dy: Shared<T>, to: Shared<T>, rows: usize, slice: usize) {
    let cost = slice * columns.out[1] * columns.channels * columns.taps.len();
    parallel(rows.div_ceil(slice), cost, &|slices| {
        // SAFETY: the geometry is that of the arrays; slices have parts of `to` of their own.
        unsafe { run_real(Weight { columns, dy, to, rows, slice, slices }) }
    });
}

struct Weight<'a, T> {
    columns: Columns<'a, T>,
    dy: Shared<T>,
    to: Shared<T>,
    rows: usize,
    slice: usize,
    slices: Range<usize>,
}

impl<T: Real> RealTask<T> for Weight<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (columns, channels, taps) = (self.columns, self.columns.channels, self.columns.taps.len());
        for s in self.slices {
            let to = self.to.at(s * taps * channels);
            // SAFETY: the slice has `taps * channels` elements of its own.
            unsafe { std::slice::from_raw_parts_mut(to, taps * channels).fill(T::ZERO) }
            for row in s * self.slice..self.rows.min((s + 1) * self.slice) {
                let (n, i) = (row / columns.out[0], row % columns.out[0]);
                for t in 0..taps {
                    let dy = self.dy.at(row * columns.out[1] * channels);
                    // SAFETY: the caller vouches for the geometry.
                    unsafe { tap_row::<V>(&columns, (n, i, t), dy, to.add(t * channels)) }
                }
            }
        }
    }
}

/// Adds the products of one row of pixels, seen by one tap, to `sum`.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; image, row and tap lie within the columns, `dy` holds a row of pixels.
#[inline(always)]
unsafe fn tap_row<V: RealLanes<E: Real>>(
    columns: &Columns<'_, V::E>,
    (n, i, t): (usize, usize, usize),
    dy: *const V::E,
    sum: *mut V::E,
) {
    let channels = columns.channels;
    let mut c = 0;
    while c < channels {
        let width = LANES.min(channels - c);
        // SAFETY: the caller vouches for the geometry, and `pixel` gives pixels inside the image alone.
        unsafe {
            let mut a = some::<V>(sum.add(c), width);
            for j in 0..columns.out[1] {
                if let Some(x) = columns.pixel((n, i, j), t) {
                    a = some::<V>(x.add(c), width).mul_add(some::<V>(dy.add(j * channels + c), width), a);
                }
            }
            if width == LANES { a.store(sum.add(c)) } else { a.store_n(sum.add(c), width) }
        }
        c += width;
    }
}
