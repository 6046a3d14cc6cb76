//! Channels that lie innermost: a register holds one element of sixteen channels.

use std::ops::Range;

use super::Call;
use crate::lanes::{LANES, Num, Real, RealLanes, RealTask};
use crate::moments::Moments;
use crate::row::sweep::{get, put, sweep};
use crate::stream;

/// Channels that are summed side by side, at most.
pub(super) const WIDTH: usize = 128;

/// Rows of one lane that are added at a time, and the rows among which they are found.
const SIDE: usize = 4;
const TILE: usize = SIDE * LANES;

/// The sums of some units for a block of channels: `(part * units + unit) * blocks + block`.
pub(super) struct Sums<'a, T, const BACK: bool> {
    pub(super) call: &'a Call<T>,
    pub(super) items: Range<usize>,
}

/// The sixteen lanes of as many channels.
type Sixteen<T> = [[T; WIDTH]; LANES];

impl<T: Real, const BACK: bool> RealTask<T> for Sums<'_, T, BACK> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (call, g) = (self.call, self.call.geometry);
        let blocks = g.channels().div_ceil(WIDTH);
        let (mut a, mut b, mut centre) = ([[T::ZERO; WIDTH]; LANES], [[T::ZERO; WIDTH]; LANES], [T::ZERO; WIDTH]);
        for item in self.items {
            let (part, unit, first) =
                (item / blocks / g.units.count, item / blocks % g.units.count, item % blocks * WIDTH);
            let (rows, width) = (g.units.get(unit), WIDTH.min(g.channels() - first));
            let at = (part * g.rows() + rows.start) * g.channels() + first;
            let channel = part * g.channels() + first;
            // SAFETY: the caller vouches for the units; a block has `width` channels, at most as many as the buffers.
            unsafe {
                let (x, dy) = (call.x.at(at), call.dy.at(at));
                if BACK {
                    for (c, centre) in centre[..width].iter_mut().enumerate() {
                        *centre = *call.mean.at((channel + c) / g.each);
                    }
                } else {
                    head::<V>(x, g.channels(), rows.len(), width, &mut a, &mut centre);
                }
                for lane in a.iter_mut().chain(&mut b) {
                    lane[..width].fill(T::ZERO);
                }
                let block = Block { call, x, dy, centre: centre.as_ptr(), width };
                let tiled = rows.len() / TILE * TILE;
                for row in (0..tiled).step_by(TILE) {
                    for l in 0..LANES {
                        block.add::<V, SIDE, BACK>(row + l, a[l].as_mut_ptr(), b[l].as_mut_ptr());
                    }
                }
                for row in tiled..rows.len() {
                    block.add::<V, 1, BACK>(row, a[row % LANES].as_mut_ptr(), b[row % LANES].as_mut_ptr());
                }
                fold::<V>(&mut a, width);
                fold::<V>(&mut b, width);
                for c in 0..width {
                    let both = [a[0][c].to_f64(), b[0][c].to_f64()];
                    *call.sums.at((channel + c) * g.units.count + unit) = match BACK {
                        true => both,
                        false => {
                            let unit = Moments::new(centre[c], both, rows.len());
                            [unit.mean, unit.squares]
                        }
                    };
                }
            }
        }
    }
}

/// A block of channels of a unit.
struct Block<'a, T> {
    call: &'a Call<T>,
    x: *const T,
    dy: *const T,
    centre: *const T,
    width: usize,
}

impl<T: Real> Block<'_, T> {
    /// Adds row `first` and those a multiple of sixteen behind it, `R` in all, to their lane.
    ///
    /// # Safety
    /// As [`crate::lanes::Lanes`]; the rows are the unit's, and the lanes have `width` elements.
    #[inline(always)]
    unsafe fn add<V: RealLanes<E = T>, const R: usize, const BACK: bool>(&self, first: usize, a: *mut T, b: *mut T) {
        let stride = self.call.geometry.channels();
        // SAFETY: the caller vouches for the rows and the lanes.
        unsafe {
            let (x, dy) = (self.x.add(first * stride), self.dy.add(first * stride));
            sweep!(self.width, |at, m, _j| {
                let centre = get::<V>(self.centre.add(at), m, T::ZERO);
                let (a, b) = (a.add(at), b.add(at));
                let (mut plain, mut along) = (get::<V>(a, m, T::ZERO), get::<V>(b, m, T::ZERO));
                for r in 0..R {
                    let at = at + r * LANES * stride;
                    let d = get::<V>(x.add(at), m, T::ZERO).sub(centre);
                    let u = if BACK { get::<V>(dy.add(at), m, T::ZERO) } else { d };
                    (plain, along) = (plain.add(u), u.mul_add(d, along));
                }
                put(plain, a, m);
                put(along, b, m);
            });
        }
    }
}

/// Folds sixteen lanes by halving into the first.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; `width` is at most [`WIDTH`].
#[inline(always)]
unsafe fn fold<V: RealLanes<E: Real>>(lanes: &mut Sixteen<V::E>, width: usize) {
    for half in [8, 4, 2, 1] {
        let (to, from) = lanes.split_at_mut(half);
        for (to, from) in to.iter_mut().zip(from) {
            let (to, from) = (to.as_mut_ptr(), from.as_ptr());
            // SAFETY: the caller vouches for the width.
            unsafe {
                sweep!(width, |at, m, _j| {
                    let sum = get::<V>(to.add(at), m, V::E::ZERO).add(get(from.add(at), m, V::E::ZERO));
                    put(sum, to.add(at), m);
                });
            }
        }
    }
}

/// The means of the first rows of a unit, rounded, with `lanes` as scratch.
///
/// # Safety
/// As [`fold`]; `x` has `n` rows, `stride` apart.
#[inline(always)]
unsafe fn head<V: RealLanes<E: Real>>(
    x: *const V::E,
    stride: usize,
    n: usize,
    width: usize,
    lanes: &mut Sixteen<V::E>,
    centre: &mut [V::E; WIDTH],
) {
    let m = n.min(LANES);
    // SAFETY: the caller vouches for the rows.
    unsafe {
        for (row, lane) in lanes.iter_mut().enumerate() {
            match row < m {
                true => std::ptr::copy_nonoverlapping(x.add(row * stride), lane.as_mut_ptr(), width),
                false => lane[..width].fill(V::E::ZERO),
            }
        }
        fold::<V>(lanes, width);
    }
    for (centre, sum) in centre[..width].iter_mut().zip(&lanes[0]) {
        *centre = V::E::from_f64(sum.to_f64() / m as f64);
    }
}

/// The result of some rows, counted through all parts.
pub(super) struct Write<'a, T, const BACK: bool> {
    pub(super) call: &'a Call<T>,
    pub(super) rows: Range<usize>,
}

impl<T: Real, const BACK: bool> RealTask<T> for Write<'_, T, BACK> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (call, g) = (self.call, self.call.geometry);
        let mut end = self.rows.end;
        while end > self.rows.start {
            // Some rows of one part.
            let part = (end - 1) / g.rows();
            let rows = self.rows.start.max(part * g.rows()).max(end.saturating_sub(LANES))..end;
            end = rows.start;
            let mut c = 0;
            // SAFETY: the caller vouches for the rows.
            unsafe {
                while c + 4 * LANES <= g.channels() {
                    tile::<V, 4, BACK>(call, &rows, part, c, LANES);
                    c += 4 * LANES;
                }
                while c < g.channels() {
                    let m = LANES.min(g.channels() - c);
                    tile::<V, 1, BACK>(call, &rows, part, c, m);
                    c += m;
                }
            }
        }
        if call.stream {
            stream::fence();
        }
    }
}

/// The result of some rows of a part for `K` vectors of channels from `first` on, of `m` lanes each; from the end, which the
/// sums have left in the cache.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; the rows and channels are the call's.
#[inline(always)]
unsafe fn tile<V: RealLanes<E: Real>, const K: usize, const BACK: bool>(
    call: &Call<V::E>,
    rows: &Range<usize>,
    part: usize,
    first: usize,
    m: usize,
) {
    let (channels, zero) = (call.geometry.channels(), V::E::ZERO);
    // SAFETY: the caller vouches for the rows and channels.
    unsafe {
        let mut coefs = [[V::splat(zero); K]; 4];
        for (which, coefs) in coefs.iter_mut().enumerate().take(if BACK { 4 } else { 3 }) {
            for (j, coef) in coefs.iter_mut().enumerate() {
                *coef = get::<V>(call.coef(which, part * channels + first + j * LANES), m, zero);
            }
        }
        let [centre, a, b, k] = coefs;
        for row in rows.clone().rev() {
            for j in 0..K {
                let at = row * channels + first + j * LANES;
                let d = get::<V>(call.x.at(at), m, zero).sub(centre[j]);
                let y = if BACK {
                    get::<V>(call.dy.at(at), m, zero).mul_add(a[j], d.mul_add(k[j], b[j]))
                } else {
                    d.mul_add(a[j], b[j])
                };
                // Rows are whole lines where results go past the caches.
                if call.stream { y.stream(call.y.at(at)) } else { put(y, call.y.at(at), m) }
            }
        }
    }
}
