//! Planes that lie in one piece each: a register holds sixteen elements of a channel.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::Call;
use crate::lanes::{Real, RealLanes, RealTask};
use crate::moments::{self, UNIT};
use crate::operand::Shared;
use crate::row::sweep::{get, put, sweep};
use crate::stream;

/// Units that are summed side by side.
const SIDE: usize = 4;

/// The sums of some units: `channel * units + unit`.
pub(super) struct Sums<'a, T, const BACK: bool> {
    pub(super) call: &'a Call<T>,
    pub(super) items: Range<usize>,
}

impl<T: Real, const BACK: bool> RealTask<T> for Sums<'_, T, BACK> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (call, units) = (self.call, self.call.geometry.units);
        let mut buffer = [const { MaybeUninit::<[T; UNIT]>::uninit() }; 2];
        let mut item = self.items.start;
        while item < self.items.end {
            let (channel, unit) = (item / units.count, item % units.count);
            let rows = units.get(unit);
            let n = rows.len();
            // SAFETY: the caller vouches for the units; a buffer holds one that is made of several planes.
            unsafe {
                if !in_one_piece(call, &rows) {
                    let [x, dy] = &mut buffer;
                    let at = [call.x.get(), call.dy.get()];
                    let x = gathered(call, at[0], channel, &rows, x.as_mut_ptr().cast());
                    let dy = if BACK { gathered(call, at[1], channel, &rows, dy.as_mut_ptr().cast()) } else { x };
                    sums::<V, 1, BACK>(call, item, channel, [x], [dy], n);
                    item += 1;
                    continue;
                }
                let place = |unit: usize| place(call, channel, units.get(unit).start);
                let alike = |k: usize| units.get(unit + k).len() == n;
                let room = unit + SIDE <= units.count && item + SIDE <= self.items.end;
                if room && alike(1) && alike(2) && alike(3) {
                    let at = [place(unit), place(unit + 1), place(unit + 2), place(unit + 3)];
                    sums::<V, SIDE, BACK>(call, item, channel, each(call.x, at), each(call.dy, at), n);
                    item += SIDE;
                } else {
                    let at = [place(unit)];
                    sums::<V, 1, BACK>(call, item, channel, each(call.x, at), each(call.dy, at), n);
                    item += 1;
                }
            }
        }
    }
}

/// The addresses of elements.
#[inline(always)]
fn each<T, const K: usize>(from: Shared<T>, at: [usize; K]) -> [*const T; K] {
    let mut to = [from.get().cast_const(); K];
    for (to, at) in to.iter_mut().zip(at) {
        *to = to.wrapping_add(at);
    }
    to
}

/// Whether rows lie in one plane.
#[inline(always)]
fn in_one_piece<T>(call: &Call<T>, rows: &Range<usize>) -> bool {
    let size = call.geometry.size;
    rows.start % size + rows.len() <= size
}

/// Where a row of a channel lies.
#[inline(always)]
fn place<T>(call: &Call<T>, channel: usize, row: usize) -> usize {
    let g = &call.geometry;
    let (part, channel) = (channel / g.channels(), channel % g.channels());
    ((part * g.images + row / g.size) * g.channels() + channel) * g.size + row % g.size
}

/// Copies rows that begin with a plane, one plane after the other.
///
/// # Safety
/// `from` is an operand of the call, the rows are of the channel, and `to` has room for them.
unsafe fn gathered<T: Copy>(
    call: &Call<T>,
    from: *const T,
    channel: usize,
    rows: &Range<usize>,
    to: *mut T,
) -> *const T {
    let size = call.geometry.size;
    for done in (0..rows.len()).step_by(size) {
        let n = size.min(rows.len() - done);
        // SAFETY: the caller vouches for both.
        unsafe {
            std::ptr::copy_nonoverlapping(from.add(place(call, channel, rows.start + done)), to.add(done), n);
        }
    }
    to
}

/// The sums of `K` units of `n` elements each, written from `item` on.
///
/// # Safety
/// As [`crate::lanes::Lanes`]; the units have their elements, and the items are the caller's.
#[inline(always)]
unsafe fn sums<V: RealLanes<E: Real>, const K: usize, const BACK: bool>(
    call: &Call<V::E>,
    item: usize,
    channel: usize,
    x: [*const V::E; K],
    dy: [*const V::E; K],
    n: usize,
) {
    // SAFETY: the caller vouches for the units.
    unsafe {
        if BACK {
            let mean = *call.mean.at(channel / call.geometry.each);
            for (k, sums) in moments::sums::<V, K, true>(x, dy, [mean; K], n).into_iter().enumerate() {
                *call.sums.at(item + k) = sums;
            }
        } else {
            for (k, unit) in moments::unit::<V, K>(x, n).into_iter().enumerate() {
                *call.sums.at(item + k) = [unit.mean, unit.squares];
            }
        }
    }
}

/// The result of some planes: `channel * images + image`.
pub(super) struct Write<'a, T, const BACK: bool> {
    pub(super) call: &'a Call<T>,
    pub(super) items: Range<usize>,
}

impl<T: Real, const BACK: bool> RealTask<T> for Write<'_, T, BACK> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (call, g) = (self.call, self.call.geometry);
        // From the end, which the sums have left in the cache.
        for item in self.items.rev() {
            let (channel, image) = (item / g.images, item % g.images);
            let at = place(call, channel, image * g.size);
            let (x, dy, y) = (call.x.at(at), call.dy.at(at), call.y.at(at));
            // SAFETY: the caller vouches for the planes.
            unsafe {
                let (centre, a) = (V::splat(*call.coef(0, channel)), V::splat(*call.coef(1, channel)));
                let (b, k) = (V::splat(*call.coef(2, channel)), V::splat(*call.coef(3, channel)));
                macro_rules! value {
                    ($at:ident, $m:ident) => {{
                        let d = get::<V>(x.add($at), $m, T::ZERO).sub(centre);
                        if BACK {
                            get::<V>(dy.add($at), $m, T::ZERO).mul_add(a, d.mul_add(k, b))
                        } else {
                            d.mul_add(a, b)
                        }
                    }};
                }
                if call.stream {
                    // Planes are whole lines, so that nothing is left over.
                    sweep!(g.size, |at, m, _j| value!(at, m).stream(y.add(at)));
                } else {
                    sweep!(g.size, |at, m, _j| put(value!(at, m), y.add(at), m));
                }
            }
        }
        if call.stream {
            stream::fence();
        }
    }
}
