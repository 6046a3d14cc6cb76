//! Folding dimensions away, in one fixed order of additions whatever the layout, the threads or the registers.
//!
//! The folded elements of an output, numbered row-major over the folded dimensions, go in chunks of 4096. A chunk has
//! four quarters of 1024, a quarter sixteen lanes: lane `l` folds the elements `l, l + 16, ..` of its quarter one after
//! the other. Quarters fold as `(0 1)(2 3)`, lanes by halving (`l` with `l + 8`, then 4, 2, 1), chunks by pairs. A sum's
//! error grows with `64 + log2(n)` roundings at worst.
//!
//! Two loops follow that order. *Rows*: the folded elements lie one after the other (or are gathered into a buffer), and
//! a register holds the sixteen lanes. *Columns*: a kept dimension lies innermost, and a register holds one lane of
//! sixteen neighbouring outputs.

use std::ops::Range;

use esker_ops::{Array, Fold};
use esker_tensor::{DType, Dims, Error, Result};
use smallvec::SmallVec;

use crate::lanes::{self, LANES, Lanes, Num, Task, larger, smaller};
use crate::operand::{self, Shared, is_half, source, target, with_order};

/// Elements of a chunk.
const CHUNK: usize = 4096;
/// Elements of a quarter.
const QUARTER: usize = 1024;
/// Outputs that the column loop holds side by side, at most.
const WIDTH: usize = 512;
/// Rows that the column loop adds to a lane at a time.
const AT_ONCE: usize = 8;

/// Folds the dimensions `dims` of `x`.
///
/// # Errors
/// `Kernel` for an extreme of nothing; `Unavailable` for a mean of integers.
pub(crate) fn run(op: Fold, dims: &Dims, x: &Array, y: &mut Array) -> Result<()> {
    if is_half(x.dtype()) {
        let outputs = std::slice::from_mut(y);
        return operand::through_f32(&[x], outputs, |x, y| run(op, dims, x[0], &mut y[0]));
    }
    let plan = Plan::new(dims, x);
    if matches!(op, Fold::Max | Fold::Min) && plan.count == 0 && plan.outputs > 0 {
        let what = if op == Fold::Max { "largest" } else { "smallest" };
        return Err(Error::kernel(format!(
            "dimensions {dims:?} of {:?} hold nothing, so no {what} element",
            x.shape()
        )));
    }
    if op == Fold::Mean && !x.dtype().is_float() {
        return Err(Error::unavailable(format!("a mean of {} has no kernel; cast it to a float first", x.dtype())));
    }
    let fold = |y: &mut Array| match x.dtype() {
        DType::Bool | DType::U8 => plan.fold::<u8>(op, x, y),
        DType::I8 => plan.fold::<i8>(op, x, y),
        DType::I16 => plan.fold::<i16>(op, x, y),
        DType::I32 => plan.fold::<i32>(op, x, y),
        DType::I64 => plan.fold::<i64>(op, x, y),
        DType::F64 => plan.fold::<f64>(op, x, y),
        _ => plan.fold::<f32>(op, x, y),
    };
    if y.layout().is_contiguous() {
        return fold(y);
    }
    let order = (0..y.shape().len() as u8).collect();
    with_order(y, &order, fold)
}

// ---- geometry

/// Sizes and strides of some dimensions, outermost first, neighbours merged where they lie in one another's step.
#[derive(Clone, Default, Debug)]
struct Space(SmallVec<[(usize, isize); 4]>);

impl Space {
    fn push(&mut self, size: usize, stride: isize) {
        match self.0.last_mut() {
            _ if size == 1 => {}
            Some(last) if last.1 == stride * size as isize => *last = (last.0 * size, stride),
            _ => self.0.push((size, stride)),
        }
    }

    fn count(&self) -> usize {
        self.0.iter().map(|d| d.0).product()
    }

    /// The offset of a row-major position.
    #[inline(always)]
    fn offset(&self, mut flat: usize) -> isize {
        let mut at = 0;
        for &(size, stride) in self.0.iter().rev() {
            at += (flat % size) as isize * stride;
            flat /= size;
        }
        at
    }

    /// The step, when all positions lie the same step apart.
    fn step(&self) -> Option<isize> {
        match self.0[..] {
            [] => Some(1),
            [(_, stride)] => Some(stride),
            _ => None,
        }
    }
}

/// What lies where: the folded space of one output, and the outputs.
struct Plan {
    folded: Space,
    kept: Space,
    /// Elements per output.
    count: usize,
    outputs: usize,
    /// A kept dimension that lies innermost in x: its index in `kept`.
    inner: Option<usize>,
}

impl Plan {
    fn new(dims: &Dims, x: &Array) -> Self {
        let (mut folded, mut kept) = (Space::default(), Space::default());
        for (d, (&size, &stride)) in x.shape().iter().zip(x.layout().strides().iter()).enumerate() {
            if dims.contains(&(d as u8)) { folded.push(size, stride) } else { kept.push(size, stride) }
        }
        let (count, outputs) = (folded.count(), kept.count());
        let rows = folded.0.last().is_none_or(|d| d.1 == 1);
        let inner = if rows { None } else { kept.0.iter().position(|d| d.1 == 1) };
        Self { folded, kept, count, outputs, inner }
    }

    fn chunks(&self) -> usize {
        self.count.div_ceil(CHUNK).max(1)
    }

    fn fold<T: Num>(&self, op: Fold, x: &Array, y: &mut Array) -> Result<()> {
        if self.outputs == 0 {
            return Ok(());
        }
        let (x, y) = (source::<T>(x), target::<T>(y)?);
        match op {
            Fold::Sum => self.fold_by::<T, Sum>(x, y),
            Fold::Mean => {
                self.fold_by::<T, Sum>(x, y);
                for i in 0..self.outputs {
                    // SAFETY: y holds one element per output, and the fold has written it.
                    unsafe { *y.at(i) = (*y.at(i)).over(self.count) }
                }
            }
            Fold::Prod => self.fold_by::<T, Prod>(x, y),
            Fold::Max => self.fold_by::<T, Max>(x, y),
            Fold::Min => self.fold_by::<T, Min>(x, y),
        }
        Ok(())
    }

    /// Folds chunk by chunk, into y directly where there is one chunk per output.
    fn fold_by<T: Num, F: Folding>(&self, x: Shared<T>, y: Shared<T>) {
        let chunks = self.chunks();
        if chunks == 1 {
            return self.fold_chunks::<T, F>(x, y);
        }
        let mut partials = vec![T::ZERO; chunks * self.outputs];
        self.fold_chunks::<T, F>(x, Shared::new(partials.as_mut_ptr()));
        operand::parallel(self.outputs, chunks, &|outputs| {
            for i in outputs {
                // SAFETY: y holds one element per output, and each is written here alone.
                unsafe { *y.at(i) = pairs::<T, F>(&partials[i * chunks..(i + 1) * chunks]) }
            }
        });
    }

    /// Writes the fold of chunk `c` of output `i` to `to[i * chunks + c]`.
    fn fold_chunks<T: Num, F: Folding>(&self, x: Shared<T>, to: Shared<T>) {
        let chunks = self.chunks();
        let cost = self.count.min(CHUNK);
        match self.inner {
            None => operand::parallel(self.outputs * chunks, cost, &|items| {
                // SAFETY: the plan's spaces stay within x; items are disjoint elements of `to`.
                unsafe { lanes::run(Rows::<T, F> { plan: self, x, to, items, by: F::default() }) }
            }),
            Some(inner) => {
                let strips = self.kept.0[inner].0.div_ceil(WIDTH);
                let others = self.outputs / self.kept.0[inner].0;
                let width = WIDTH.min(self.kept.0[inner].0);
                operand::parallel(others * strips * chunks, cost * width, &|items| {
                    // SAFETY: as above; items are disjoint strips of outputs or other chunks of them.
                    unsafe { lanes::run(Columns::<T, F> { plan: self, inner, x, to, items, by: F::default() }) }
                });
            }
        }
    }
}

// ---- what folding means

/// A way of folding two elements, and sixteen pairs.
trait Folding: Copy + Default + Send + Sync {
    fn identity<T: Num>() -> T;
    fn two<T: Num>(a: T, b: T) -> T;
    /// # Safety
    /// As [`Lanes`].
    unsafe fn lanes<V: Lanes>(a: V, b: V) -> V;
    /// As `lanes` where neither is NaN.
    ///
    /// # Safety
    /// As [`Lanes`].
    unsafe fn plain<V: Lanes>(a: V, b: V) -> V;
    /// Whether `plain` is the cheaper one, and wrong for NaN.
    const MINDS_NAN: bool;
}

macro_rules! foldings {
    ($($Name:ident $identity:ident $method:ident $plain:ident $nan:literal |$a:ident, $b:ident| $two:expr;)*) => {$(
        #[derive(Clone, Copy, Default)]
        struct $Name;
        impl Folding for $Name {
            #[inline(always)]
            fn identity<T: Num>() -> T { T::$identity }
            #[inline(always)]
            fn two<T: Num>($a: T, $b: T) -> T { $two }
            #[inline(always)]
            unsafe fn lanes<V: Lanes>(a: V, b: V) -> V {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { a.$method(b) }
            }
            #[inline(always)]
            unsafe fn plain<V: Lanes>(a: V, b: V) -> V {
                // SAFETY: as above.
                unsafe { a.$plain(b) }
            }
            const MINDS_NAN: bool = $nan;
        }
    )*};
}
foldings! {
    Sum ZERO add add false |a, b| a.plus(b);
    Prod ONE mul mul false |a, b| a.times(b);
    Max LOWEST max above true |a, b| larger(a, b);
    Min HIGHEST min below true |a, b| smaller(a, b);
}

/// Folds parts by pairs: the first half of a power of two with the rest.
fn pairs<T: Num, F: Folding>(parts: &[T]) -> T {
    match parts {
        [] => F::identity(),
        [one] => *one,
        _ => {
            let half = parts.len().next_power_of_two() / 2;
            F::two(pairs::<T, F>(&parts[..half]), pairs::<T, F>(&parts[half..]))
        }
    }
}

/// Folds sixteen lanes by halving.
#[inline(always)]
fn halve<T: Num, F: Folding>(mut lanes: [T; LANES]) -> T {
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            // The mask changes nothing; it spares a check of bounds.
            lanes[l % LANES] = F::two(lanes[l % LANES], lanes[(l + half) % LANES]);
        }
    }
    lanes[0]
}

// ---- rows

/// Output by output; the folded elements are consecutive, or become so in a buffer.
struct Rows<'a, T, F> {
    plan: &'a Plan,
    x: Shared<T>,
    to: Shared<T>,
    items: Range<usize>,
    by: F,
}

impl<T: Num, F: Folding> Task<T> for Rows<'_, T, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        let _ = self.by;
        let (plan, chunks) = (self.plan, self.plan.chunks());
        let consecutive = plan.folded.step() == Some(1);
        let mut buffer = if consecutive { Vec::new() } else { vec![T::ZERO; CHUNK.min(plan.count)] };
        for item in self.items {
            let (i, start) = (item / chunks, item % chunks * CHUNK);
            let n = CHUNK.min(plan.count - start);
            let x = self.x.get().wrapping_offset(plan.kept.offset(i));
            // SAFETY: the caller vouches that the plan's spaces stay within x.
            unsafe {
                let p = if consecutive {
                    x.wrapping_add(start).cast_const()
                } else {
                    collect(&plan.folded, x, start, &mut buffer[..n]);
                    buffer.as_ptr()
                };
                *self.to.at(item) = chunk::<V, F>(p, n);
            }
        }
    }
}

/// Copies the elements at positions `start..` of a space to a buffer, run by run of its innermost dimension.
///
/// # Safety
/// The positions lie within the space, and the space within the memory at `x`.
unsafe fn collect<T: Num>(space: &Space, x: *const T, start: usize, buffer: &mut [T]) {
    let (run, step) = space.0.last().copied().unwrap_or((1, 1));
    let mut done = 0;
    while done < buffer.len() {
        let flat = start + done;
        let n = (run - flat % run).min(buffer.len() - done);
        let from = x.wrapping_offset(space.offset(flat));
        for (i, to) in buffer[done..done + n].iter_mut().enumerate() {
            // SAFETY: the caller vouches for the positions.
            *to = unsafe { *from.wrapping_offset(i as isize * step) };
        }
        done += n;
    }
}

/// The fold of `n` consecutive elements, at most a chunk.
///
/// # Safety
/// As [`Lanes`]; `p` is valid for `n` elements.
#[inline(always)]
unsafe fn chunk<V: Lanes, F: Folding>(p: *const V::E, n: usize) -> V::E {
    let mut lanes = [F::identity(); LANES];
    // SAFETY: the caller vouches for the instruction set and the elements.
    unsafe {
        let (mut all, nan) = quarters::<V, F, true>(p, n);
        if nan {
            (all, _) = quarters::<V, F, false>(p, n);
        }
        all.store(lanes.as_mut_ptr());
    }
    halve::<V::E, F>(lanes)
}

/// The lanes of a chunk, and whether it holds a NaN that they do not show: `PLAIN` folds as if there were none.
///
/// # Safety
/// As [`chunk`].
#[inline(always)]
unsafe fn quarters<V: Lanes, F: Folding, const PLAIN: bool>(p: *const V::E, n: usize) -> (V, bool) {
    // SAFETY: the caller vouches for the instruction set and the elements.
    unsafe {
        let mut q = [V::splat(F::identity()); 4];
        let mut nan = 0;
        if n == CHUNK {
            for i in (0..QUARTER).step_by(LANES) {
                let mut v = q;
                for j in 0..4 {
                    v[j] = V::load(p.add(j * QUARTER + i));
                    q[j] = step::<V, F, PLAIN>(q[j], v[j]);
                }
                nan |= watch::<V, F, PLAIN>(v[0], v[1]) | watch::<V, F, PLAIN>(v[2], v[3]);
            }
        } else {
            for (j, q) in q.iter_mut().enumerate().take(n.div_ceil(QUARTER)) {
                *q = quarter::<V, F, PLAIN>(p.add(j * QUARTER), (n - j * QUARTER).min(QUARTER), &mut nan);
            }
        }
        let all = match n.div_ceil(QUARTER) {
            0 | 1 => q[0],
            2 => F::lanes(q[0], q[1]),
            3 => F::lanes(F::lanes(q[0], q[1]), q[2]),
            _ => F::lanes(F::lanes(q[0], q[1]), F::lanes(q[2], q[3])),
        };
        (all, nan != 0)
    }
}

/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn step<V: Lanes, F: Folding, const PLAIN: bool>(acc: V, v: V) -> V {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { if PLAIN { F::plain(acc, v) } else { F::lanes(acc, v) } }
}

/// The lanes where either is NaN, where that matters.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn watch<V: Lanes, F: Folding, const PLAIN: bool>(a: V, b: V) -> u16 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { if F::MINDS_NAN && PLAIN { a.unordered(b) } else { 0 } }
}

/// The lanes of `n` consecutive elements, at most a quarter; sets bits of `nan` where `PLAIN` meets one.
///
/// # Safety
/// As [`chunk`].
#[inline(always)]
unsafe fn quarter<V: Lanes, F: Folding, const PLAIN: bool>(p: *const V::E, n: usize, nan: &mut u16) -> V {
    // SAFETY: the caller vouches for the instruction set and the elements.
    unsafe {
        let mut acc = V::splat(F::identity());
        let mut i = 0;
        while i + 2 * LANES <= n {
            let (a, b) = (V::load(p.add(i)), V::load(p.add(i + LANES)));
            acc = step::<V, F, PLAIN>(step::<V, F, PLAIN>(acc, a), b);
            *nan |= watch::<V, F, PLAIN>(a, b);
            i += 2 * LANES;
        }
        if i + LANES <= n {
            let v = V::load(p.add(i));
            acc = step::<V, F, PLAIN>(acc, v);
            *nan |= watch::<V, F, PLAIN>(v, v);
            i += LANES;
        }
        if i < n {
            let v = V::load_n(p.add(i), n - i, F::identity());
            acc = step::<V, F, PLAIN>(acc, v);
            *nan |= watch::<V, F, PLAIN>(v, v);
        }
        acc
    }
}

// ---- columns

/// Strip by strip of neighbouring outputs.
struct Columns<'a, T, F> {
    plan: &'a Plan,
    inner: usize,
    x: Shared<T>,
    to: Shared<T>,
    items: Range<usize>,
    by: F,
}

impl<T: Num, F: Folding> Task<T> for Columns<'_, T, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Lanes<E = T>>(self) {
        let _ = self.by;
        let (plan, chunks) = (self.plan, self.plan.chunks());
        let size = plan.kept.0[self.inner].0;
        // How far apart the outputs of a strip are, in outputs.
        let apart: usize = plan.kept.0[self.inner + 1..].iter().map(|d| d.0).product();
        let strips = size.div_ceil(WIDTH);
        // Accumulators of a strip: sixteen lanes of its outputs, for up to three quarters.
        let block = LANES * WIDTH.min(size).next_multiple_of(LANES);
        let mut blocks = vec![F::identity::<T>(); plan.count.div_ceil(QUARTER).clamp(1, 3) * block];
        let mut offsets = Vec::with_capacity(QUARTER.min(plan.count));
        for item in self.items {
            let (c, rest) = (item % chunks, item / chunks);
            let (column, other) = (rest % strips * WIDTH, rest / strips);
            let first = other / apart * size * apart + column * apart + other % apart;
            let width = WIDTH.min(size - column);
            let x = self.x.get().wrapping_offset(plan.kept.offset(first));
            let rows = c * CHUNK..plan.count.min((c + 1) * CHUNK);
            // SAFETY: the caller vouches that the plan's spaces stay within x, and a strip within its dimension.
            unsafe {
                columns::<V, F>(&plan.folded, x, rows, width, &mut blocks, block, &mut offsets);
                for (k, &v) in blocks[..width].iter().enumerate() {
                    *self.to.at((first + k * apart) * chunks + c) = v;
                }
            }
        }
    }
}

/// Folds a chunk of rows of `width` neighbouring elements; the results come first in `blocks`, which are of `block`
/// elements.
///
/// # Safety
/// As [`Lanes`]; the rows lie within the memory at `x`.
#[inline(always)]
unsafe fn columns<V: Lanes, F: Folding>(
    space: &Space,
    x: *const V::E,
    rows: Range<usize>,
    width: usize,
    blocks: &mut [V::E],
    block: usize,
    offsets: &mut Vec<isize>,
) {
    let quarters = rows.len().div_ceil(QUARTER).max(1);
    for q in 0..quarters {
        offsets.clear();
        let start = rows.start + q * QUARTER;
        let quarter = start..rows.end.min(start + QUARTER);
        match space.step() {
            Some(step) => offsets.extend(quarter.map(|r| r as isize * step)),
            None => offsets.extend(quarter.map(|r| space.offset(r))),
        }
        // Quarters 0, 1 and 2 have their blocks; 1 and 3 then fold into the block before, which 1 leaves to 3.
        let slot = [0, 1, 1, 2][q];
        // SAFETY: the caller vouches for the rows.
        unsafe { column_quarter::<V, F>(x, offsets, width, &mut blocks[slot * block..][..block]) }
        if q == 1 || q == 3 {
            fold_block::<V::E, F>(blocks, block, slot - 1, slot);
        }
    }
    if quarters > 2 {
        fold_block::<V::E, F>(blocks, block, 0, 1);
    }
    for half in [8, 4, 2, 1] {
        let (low, high) = blocks.split_at_mut(half * (block / LANES));
        for (a, &b) in low.iter_mut().zip(&high[..half * (block / LANES)]) {
            *a = F::two(*a, b);
        }
    }
}

/// Folds block `from` into block `into`.
#[inline(always)]
fn fold_block<T: Num, F: Folding>(blocks: &mut [T], block: usize, into: usize, from: usize) {
    let (low, high) = blocks.split_at_mut(from * block);
    for (a, &b) in low[into * block..][..block].iter_mut().zip(&high[..block]) {
        *a = F::two(*a, b);
    }
}

/// Folds rows into the block, row `r` into lane `r % 16`.
///
/// # Safety
/// As [`columns`].
#[inline(always)]
unsafe fn column_quarter<V: Lanes, F: Folding>(x: *const V::E, offsets: &[isize], width: usize, block: &mut [V::E]) {
    block.fill(F::identity());
    let apart = block.len() / LANES;
    let groups = offsets.chunks_exact(AT_ONCE * LANES);
    let rest = groups.remainder();
    for group in groups {
        for (l, acc) in block.chunks_exact_mut(apart).enumerate() {
            let rows: [_; AT_ONCE] = std::array::from_fn(|k| x.wrapping_offset(group[l + k * LANES]));
            // SAFETY: the caller vouches for `width` elements at the rows; the lane has as many and more.
            unsafe { add_rows::<V, F, AT_ONCE>(acc, rows, width) }
        }
    }
    for (r, &offset) in rest.iter().enumerate() {
        let acc = &mut block[r % LANES * apart..][..apart];
        // SAFETY: as above.
        unsafe { add_rows::<V, F, 1>(acc, [x.wrapping_offset(offset)], width) }
    }
}

/// Folds `width` elements of rows into those of a lane, one row after the other.
///
/// # Safety
/// As [`columns`].
#[inline(always)]
unsafe fn add_rows<V: Lanes, F: Folding, const R: usize>(acc: &mut [V::E], rows: [*const V::E; R], width: usize) {
    let acc = acc.as_mut_ptr();
    let full = width / LANES * LANES;
    // SAFETY: the caller vouches for the rows and the lane.
    unsafe {
        for k in (0..full).step_by(LANES) {
            let mut a = V::load(acc.add(k));
            for row in rows {
                a = F::lanes(a, V::load(row.add(k)));
            }
            a.store(acc.add(k));
        }
        if full < width {
            let mut a = V::load(acc.add(full));
            for row in rows {
                a = F::lanes(a, V::load_n(row.add(full), width - full, F::identity()));
            }
            a.store(acc.add(full));
        }
    }
}

#[cfg(test)]
mod tests;
