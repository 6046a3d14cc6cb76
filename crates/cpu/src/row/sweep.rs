//! Loops over a row, sixteen lanes at a time.

use crate::lanes::{LANES, Lanes, Num, Real, RealLanes};

/// Elements of a long row that are summed before f64 takes over.
pub(crate) const BLOCK: usize = 4096;

/// Runs the body over `n` elements: `$at` is the position, `$m` how many lanes are there (a constant but at the end)
/// and `$j` the number of the accumulator, a constant.
macro_rules! sweep {
    ($n:expr, |$at:ident, $m:ident, $j:ident| $body:expr) => {{
        const L: usize = $crate::lanes::LANES;
        let n: usize = $n;
        let mut base = 0usize;
        macro_rules! step {
            ($k:literal) => {{
                let ($at, $m, $j) = (base + $k * L, L, $k as usize);
                $body;
            }};
        }
        while base + 4 * L <= n {
            step!(0);
            step!(1);
            step!(2);
            step!(3);
            base += 4 * L;
        }
        let full = (n - base) / L;
        if full > 0 {
            step!(0);
        }
        if full > 1 {
            step!(1);
        }
        if full > 2 {
            step!(2);
        }
        base += full * L;
        if base < n {
            let ($at, $m, $j) = (base, n - base, 3usize);
            $body;
        }
    }};
}
pub(crate) use sweep;

/// `m` elements, and `fill` in the lanes beyond.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn get<V: Lanes>(p: *const V::E, m: usize, fill: V::E) -> V {
    // SAFETY: the caller vouches for `m` elements.
    unsafe { if m == LANES { V::load(p) } else { V::load_n(p, m, fill) } }
}

/// `m` lanes to memory.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn put<V: Lanes>(v: V, p: *mut V::E, m: usize) {
    // SAFETY: the caller vouches for `m` elements.
    unsafe { if m == LANES { v.store(p) } else { v.store_n(p, m) } }
}

/// Four accumulators of `x`.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn four<V: Lanes>(x: V::E) -> [V; 4] {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { [V::splat(x); 4] }
}

/// The sum of four accumulators' lanes.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn total<V: RealLanes>(a: [V; 4]) -> f64
where
    V::E: Real,
{
    // SAFETY: the caller vouches for the instruction set.
    unsafe { halved(a[0].add(a[1]).add(a[2].add(a[3]))).to_f64() }
}

/// The sum of the lanes, by halving.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn halved<V: Lanes>(a: V) -> V::E {
    let mut lanes = [V::E::ZERO; LANES];
    // SAFETY: the caller vouches for the instruction set; the array has sixteen elements.
    unsafe { a.store(lanes.as_mut_ptr()) }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            // The mask changes nothing; it spares a check of bounds.
            lanes[l % LANES] = lanes[l % LANES].plus(lanes[(l + half) % LANES]);
        }
    }
    lanes[0]
}

/// The largest element of a row, but for NaN.
///
/// # Safety
/// As [`Lanes`]; `x` is valid for `n` elements.
#[inline(always)]
pub(crate) unsafe fn largest<V: Lanes>(x: *const V::E, n: usize) -> V::E {
    let mut lanes = [V::E::LOWEST; LANES];
    // SAFETY: the caller vouches for the row and the instruction set.
    unsafe {
        let mut acc = four::<V>(V::E::LOWEST);
        sweep!(n, |at, m, j| acc[j] = acc[j].above(get(x.add(at), m, V::E::LOWEST)));
        acc[0].above(acc[1]).above(acc[2].above(acc[3])).store(lanes.as_mut_ptr());
    }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            let (a, b) = (lanes[l % LANES], lanes[(l + half) % LANES]);
            lanes[l % LANES] = if b > a { b } else { a };
        }
    }
    lanes[0]
}
