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
            let (top, nan) = extreme::<V, LARGEST>(row.add(start), span);
            if nan {
                return start + first::<V, true>(row.add(start), span, top);
            }
            let better = match best {
                None => true,
                Some((best, _)) => (LARGEST && top > best) || (!LARGEST && top < best),
            };
            if better {
                best = Some((top, start));
            }
        }
    }
    let Some((top, start)) = best else { return 0 };
    // SAFETY: as above.
    unsafe { start + first::<V, false>(row.add(start), SPAN.min(n - start), top) }
}

/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn better<V: Lanes, const LARGEST: bool>(a: V, b: V) -> V {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { if LARGEST { a.above(b) } else { a.below(b) } }
}

/// The extreme of `n` elements but for NaN, and whether there is one.
///
/// # Safety
/// As [`place`].
#[inline(always)]
unsafe fn extreme<V: Lanes, const LARGEST: bool>(p: *const V::E, n: usize) -> (V::E, bool) {
    let worst = if LARGEST { V::E::LOWEST } else { V::E::HIGHEST };
    let mut lanes = [worst; LANES];
    let mut nan = 0;
    // SAFETY: the caller vouches for the elements and the instruction set.
    unsafe {
        let mut top = [V::splat(worst); 4];
        let mut i = 0;
        while i + 4 * LANES <= n {
            let (a, b) = (V::load(p.add(i)), V::load(p.add(i + LANES)));
            let (c, d) = (V::load(p.add(i + 2 * LANES)), V::load(p.add(i + 3 * LANES)));
            top[0] = better::<V, LARGEST>(top[0], a);
            top[1] = better::<V, LARGEST>(top[1], b);
            top[2] = better::<V, LARGEST>(top[2], c);
            top[3] = better::<V, LARGEST>(top[3], d);
            nan |= a.unordered(b) | c.unordered(d);
            i += 4 * LANES;
        }
        while i < n {
            let m = LANES.min(n - i);
            let v = if m == LANES { V::load(p.add(i)) } else { V::load_n(p.add(i), m, worst) };
            top[0] = better::<V, LARGEST>(top[0], v);
            nan |= v.unordered(v);
            i += m;
        }
        let (low, high) = (better::<V, LARGEST>(top[0], top[1]), better::<V, LARGEST>(top[2], top[3]));
        better::<V, LARGEST>(low, high).store(lanes.as_mut_ptr());
    }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            let (a, b) = (lanes[l % LANES], lanes[(l + half) % LANES]);
            lanes[l % LANES] = if (LARGEST && b > a) || (!LARGEST && b < a) { b } else { a };
        }
    }
    (lanes[0], nan != 0)
}

/// The first place of `n` with `value`, or with NaN; the last when there is none.
///
/// # Safety
/// As [`place`].
#[inline(always)]
unsafe fn first<V: Lanes, const NAN: bool>(p: *const V::E, n: usize, value: V::E) -> usize {
    let mut i = 0;
    // SAFETY: the caller vouches for the elements and the instruction set.
    unsafe {
        let all = V::splat(value);
        while i + 4 * LANES <= n {
            let mut hits = 0u64;
            for j in 0..4 {
                let v = V::load(p.add(i + j * LANES));
                let of = if NAN { v.unordered(v) } else { v.equal(all) };
                hits |= u64::from(of) << (j * LANES);
            }
            if hits != 0 {
                return i + hits.trailing_zeros() as usize;
            }
            i += 4 * LANES;
        }
        while i + 1 < n {
            let v = *p.add(i);
            if (NAN && v.is_nan()) || (!NAN && v == value) {
                break;
            }
            i += 1;
        }
    }
    i
}
