//! Channels that lie innermost: a register holds one element of sixteen channels.

use std::ops::Range;

use super::Call;
use crate::lanes::{LANES, Num, Real, RealLanes, RealTask};
use crate::moments::Moments;
use crate::row::sweep::{get, put, sweep};
use crate::stream;

/// Channels that are summed side by side, at most.
pub(super) const WIDTH: usize = 128;

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
                for row in 0..rows.len() {
                    let (x, dy) = (x.add(row * g.channels()), dy.add(row * g.channels()));
                    let (a, b) = (a[row % LANES].as_mut_ptr(), b[row % LANES].as_mut_ptr());
                    sweep!(width, |at, m, _j| {
                        let d = get::<V>(x.add(at), m, T::ZERO).sub(get::<V>(centre.as_ptr().add(at), m, T::ZERO));
                        let u = if BACK { get::<V>(dy.add(at), m, T::ZERO) } else { d };
                        let (a, b) = (a.add(at), b.add(at));
                        put(get::<V>(a, m, T::ZERO).add(u), a, m);
                        put(u.mul_add(d, get::<V>(b, m, T::ZERO)), b, m);
                    });
                }
                fold::<V>(&mut a, width);
                fold::<V>(&mut b, width);
                for c in 0..width {
                    let both = [a[0][c], b[0][c]];
                    *call.sums.at((channel + c) * g.units.count + unit) = match BACK {
                        true => [both[0].to_f64(), both[1].to_f64()],
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

/// The result of some rows, through all parts.
pub(super) struct Write<'a, T, const BACK: bool> {
    pub(super) call: &'a Call<T>,
    pub(super) rows: Range<usize>,
}

impl<T: Real, const BACK: bool> RealTask<T> for Write<'_, T, BACK> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let (call, g) = (self.call, self.call.geometry);
        for row in self.rows.rev() {
            let (at, channel) = (row * g.channels(), row / g.rows() * g.channels());
            let (x, dy, y) = (call.x.at(at), call.dy.at(at), call.y.at(at));
            let (centre, a) = (call.coef(0, channel), call.coef(1, channel));
            let (b, k) = (call.coef(2, channel), call.coef(3, channel));
            // SAFETY: the caller vouches for the rows.
            unsafe {
                macro_rules! value {
                    ($at:ident, $m:ident) => {{
                        macro_rules! of {
                            ($p:expr) => {
                                get::<V>($p.add($at), $m, T::ZERO)
                            };
                        }
                        let d = of!(x).sub(of!(centre));
                        if BACK {
                            of!(dy).mul_add(of!(a), d.mul_add(of!(k), of!(b)))
                        } else {
                            d.mul_add(of!(a), of!(b))
                        }
                    }};
                }
                if call.stream {
                    // Rows are whole lines, so that nothing is left over.
                    sweep!(g.channels(), |at, m, _j| value!(at, m).stream(y.add(at)));
                } else {
                    sweep!(g.channels(), |at, m, _j| put(value!(at, m), y.add(at), m));
                }
            }
        }
        if call.stream {
            stream::fence();
        }
    }
}
