//! The search along rows of floats: the extreme of a span by lanes, then its first place there.

use std::ops::Range;

use crate::lanes::{LANES, Lanes, Num, Task};
use crate::operand::Shared;

/// Elements searched before their extreme is compared with the best so far; they stay in the nearest cache.
const SPAN: usize = 4096;

/// Rows `items` of `size` elements, one place each.
pub(super) struct Search<T> {
    pub(super) x: Shared<T>,
    pub(super) value: Option<Shared<T>>,
    pub(super) index: Shared<i64>,
    pub(super) items: Range<usize>,
    pub(super) size: usize,
    pub(super) largest: bool,
}

impl<T: Num> Task<T> for Search<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        // SAFETY: passed on.
        unsafe { if self.largest { self.search::<V, true>() } else { self.search::<V, false>() } }
    }
}

impl<T: Num> Search<T> {
    #[inline(always)]
    unsafe fn search<V: Lanes<E = T>, const LARGEST: bool>(self) {
        for o in self.items {
            // SAFETY: the caller vouches that row `o` lies within x and element `o` within the outputs.
            unsafe {
                let row = self.x.at(o * self.size).cast_const();
                let at = place::<V, LARGEST>(row, self.size);
                *self.index.at(o) = at as i64;
                if let Some(value) = self.value {
                    *value.at(o) = *row.add(at);
                }
            }
        }
    }
}

/// The first NaN of a row, or the first place of its extreme.
///
/// # Safety
/// As [`Lanes`]; `row` is valid for `n` elements.
#[inline(always)]
unsafe fn place<V: Lanes, const LARGEST: bool>(row: *const V::E, n: usize) -> usize {
    let mut best = None;
    for start in (0..n).step_by(SPAN) {
        let span = SPAN.min(n - start);
        // SAFETY: the caller vouches for the row.
        unsafe {
            let Some(top) = extreme::<V, LARGEST>(row.add(start), span) else {
                return start + first::<V>(row.add(start), span, |v| v.unordered(v), |v| v.is_nan());
            };
            if best.is_none_or(|(best, _)| if LARGEST { top > best } else { top < best }) {
                best = Some((top, start));
            }
        }
    }
    let Some((top, start)) = best else { return 0 };
    // SAFETY: as above.
    unsafe {
        let all = V::splat(top);
        start + first::<V>(row.add(start), SPAN.min(n - start), |v| v.equal(all), |v| v == top)
    }
}

/// The extreme of `n` elements; none when one is NaN.
///
/// # Safety
/// As [`place`].
#[inline(always)]
unsafe fn extreme<V: Lanes, const LARGEST: bool>(p: *const V::E, n: usize) -> Option<V::E> {
    let worst = if LARGEST { V::E::LOWEST } else { V::E::HIGHEST };
    let better = |a: V, b: V| {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { if LARGEST { a.above(b) } else { a.below(b) } }
    };
    let mut lanes = [worst; LANES];
    // SAFETY: the caller vouches for the elements and the instruction set.
    unsafe {
        let (mut top, mut nan) = ([V::splat(worst); 4], 0);
        let mut i = 0;
        while i + 4 * LANES <= n {
            let v = [0, 1, 2, 3].map(|j| V::load(p.add(i + j * LANES)));
            top = [0, 1, 2, 3].map(|j| better(top[j], v[j]));
            nan |= v[0].unordered(v[1]) | v[2].unordered(v[3]);
            i += 4 * LANES;
        }
        while i < n {
            let m = LANES.min(n - i);
            let v = if m == LANES { V::load(p.add(i)) } else { V::load_n(p.add(i), m, worst) };
            top[0] = better(top[0], v);
            nan |= v.unordered(v);
            i += m;
        }
        if nan != 0 {
            return None;
        }
        better(better(top[0], top[1]), better(top[2], top[3])).store(lanes.as_mut_ptr());
    }
    let two = |a: V::E, b: V::E| if (b > a) == LARGEST { b } else { a };
    Some(lanes.into_iter().fold(worst, two))
}

/// The first place of `n` where a test holds, lane by lane (a bit each) or for one; the last when it holds nowhere.
///
/// # Safety
/// As [`place`].
#[inline(always)]
unsafe fn first<V: Lanes>(p: *const V::E, n: usize, lanes: impl Fn(V) -> u16, one: impl Fn(V::E) -> bool) -> usize {
    let mut i = 0;
    // SAFETY: the caller vouches for the elements and the instruction set.
    unsafe {
        while i + 4 * LANES <= n {
            let hits = [0, 1, 2, 3].map(|j| u64::from(lanes(V::load(p.add(i + j * LANES)))) << (j * LANES));
            let hits = hits[0] | hits[1] | hits[2] | hits[3];
            if hits != 0 {
                return i + hits.trailing_zeros() as usize;
            }
            i += 4 * LANES;
        }
        while i + 1 < n && !one(*p.add(i)) {
            i += 1;
        }
    }
    i
}
