//! Elementwise kernels: functions and their gradients, comparisons, selection.

mod choose;
mod kernels;
mod tile;

use std::ops::Range;

use esker_ops::{Array, Map, MapOp};
use esker_tensor::{DType, Error, Layout, Result};

use crate::isa::{Isa, isa};
use crate::operand::{Shared, source, target};
use crate::strided::{GRAIN, Plan, Run};
use crate::threads;
use kernels::{Kernels, Loop, Operands};
use tile::{Compute, TILE, Tile};

/// The most inputs that an elementwise kernel has: three and the incoming gradient.
const INPUTS: usize = 4;

/// Runs an elementwise kernel.
///
/// # Errors
/// `Kernel` for a zero among integer divisors; `Unavailable` for a function without integers.
pub(crate) fn run(map: Map, inputs: &[&Array], y: &mut Array) -> Result<()> {
    match map {
        Map::Compare(cmp) => choose::compare(cmp, inputs, y),
        Map::Bits(bits) => choose::bits(bits, inputs, y),
        Map::Select => choose::select(inputs, y),
        Map::Value(op) => {
            refuse_zero(op, inputs)?;
            let compute = Compute::of(y.dtype());
            arithmetic(find(op, None, compute)?, compute, inputs, y)
        }
        Map::Grad { op, wrt } => {
            let compute = Compute::of(y.dtype());
            arithmetic(find(op, Some(usize::from(wrt)), compute)?, compute, inputs, y)
        }
    }
}

/// Runs an elementwise function whose first input is its output.
///
/// # Errors
/// As [`run`]; `Shape` when the other inputs do not broadcast to the target.
pub(crate) fn run_in_place(map: Map, y: &mut Array, others: &[&Array]) -> Result<()> {
    let Map::Value(op) = map else {
        return Err(Error::unavailable(format!("{map:?} does not run in place")));
    };
    if others.len() + 1 != op.info().arity {
        return Err(Error::shape(format!(
            "{} takes {} inputs, got {}",
            op.info().name,
            op.info().arity,
            others.len() + 1
        )));
    }
    if let Some(x) = others.iter().find(|x| x.dtype() != y.dtype()) {
        return Err(Error::dtype(format!("{} in place: {} meets {}", op.info().name, y.dtype(), x.dtype())));
    }
    refuse_zero(op, others)?;
    let function = find(op, None, Compute::of(y.dtype()))?;
    let (layout, dtype) = (*y.layout(), y.dtype());
    let to = target::<u8>(y)?;
    let mut sources = vec![(Shared::read(to.get().cast_const()), layout, dtype)];
    for x in others {
        sources.push((source::<u8>(x), x.layout().expand(layout.shape())?, x.dtype()));
    }
    walk(function, &sources, (to, layout, dtype));
    Ok(())
}

fn refuse_zero(op: MapOp, inputs: &[&Array]) -> Result<()> {
    let Some(divisor) = inputs.last().filter(|x| op.info().check_zero && x.dtype().is_int()) else { return Ok(()) };
    match divisor.to_f64_vec()?.iter().position(|&v| v == 0.0) {
        Some(at) => Err(Error::kernel(format!("division by zero: element {at} of the divisor is 0"))),
        None => Ok(()),
    }
}

/// The loop of an op (or of its gradient) for a compute type and the instruction set in use.
fn find(op: MapOp, wrt: Option<usize>, compute: Compute) -> Result<Loop> {
    let kernels: &Kernels = kernels::of(op);
    let by_type = match wrt {
        None => kernels.value,
        Some(i) => kernels.grads.get(i).copied().unwrap_or([None; 4]),
    };
    let by_isa = by_type[compute as usize]
        .ok_or_else(|| Error::unavailable(format!("{} has no kernel for integers", op.info().name)))?;
    Ok(by_isa[match isa() {
        Isa::Avx512 => 0,
        Isa::Avx2 => 1,
        Isa::Portable => 2,
    }])
}

fn arithmetic(function: Loop, compute: Compute, inputs: &[&Array], y: &mut Array) -> Result<()> {
    if flat(function, compute, inputs, y)? {
        return Ok(());
    }
    let (layout, dtype) = (*y.layout(), y.dtype());
    let sources = inputs
        .iter()
        .map(|x| Ok((source::<u8>(x), x.layout().expand(layout.shape())?, x.dtype())))
        .collect::<Result<Vec<_>>>()?;
    let to = target::<u8>(y)?;
    walk(function, &sources, (to, layout, dtype));
    Ok(())
}

/// Runs the loop where no plan is needed, and says whether it could: all operands of the compute type, each contiguous and
/// of the output's shape, or one element that repeats.
fn flat(function: Loop, compute: Compute, inputs: &[&Array], y: &mut Array) -> Result<bool> {
    let single = |x: &Array| x.layout().is_one_element();
    let fits =
        |x: &Array| compute.is(x.dtype()) && (single(x) || (x.shape() == y.shape() && x.layout().is_contiguous()));
    if !compute.is(y.dtype()) || !y.layout().is_contiguous() || !inputs.iter().all(|x| fits(x)) {
        return Ok(false);
    }
    let (n, size) = (y.shape().numel(), y.dtype().size());
    let repeat = |k: usize| inputs.get(k).is_some_and(|x| n != 1 && single(x));
    let to = target::<u8>(y)?;
    // Places beyond the inputs repeat the first (or the output, for functions of nothing).
    let used = |k: usize| if k < inputs.len() { k } else { 0 };
    let x: [Shared<u8>; INPUTS] =
        std::array::from_fn(|k| inputs.get(used(k)).map_or(Shared::read(to.get().cast_const()), |x| source(x)));
    let repeat: [bool; INPUTS] = std::array::from_fn(|k| repeat(used(k)));
    let part = |range: Range<usize>| {
        let call = Operands {
            x: std::array::from_fn(|k| x[k].at(if repeat[k] { 0 } else { range.start * size }).cast_const()),
            repeat,
            y: to.at(range.start * size),
            n: range.len(),
        };
        // SAFETY: the loop matches the instruction set in use; the operands have `n` elements (or one that is repeated)
        // one after the other, and parts write different ones.
        unsafe { function(&call) }
    };
    match n {
        0 => {}
        1..=GRAIN => part(0..n),
        _ => threads::parallel(n.div_ceil(GRAIN), &|task| part(task * GRAIN..((task + 1) * GRAIN).min(n))),
    }
    Ok(true)
}

type Operand = (Shared<u8>, Layout, DType);

/// Walks all operands together; each run goes to the loop directly, or through tiles where an operand is strided or not
/// of the compute type.
fn walk(function: Loop, sources: &[Operand], to: Operand) {
    // Places beyond the inputs repeat the first (or the output, for functions of nothing).
    let place = |k: usize| sources.get(k).copied().unwrap_or_else(|| sources.first().copied().unwrap_or(to));
    let operands: [Operand; INPUTS] = std::array::from_fn(place);
    let n = sources.len();
    let plan = Plan::new([&to.1, &operands[0].1, &operands[1].1, &operands[2].1, &operands[3].1]);
    let compute = Compute::of(to.2);
    plan.each(&|run| {
        let direct = compute.is(to.2)
            && run.strides[0] == 1
            && (0..n).all(|k| compute.is(operands[k].2) && matches!(run.strides[k + 1], 0 | 1));
        // SAFETY: the plan stays within the operands' layouts; runs of different tasks write different elements.
        unsafe {
            if direct {
                straight(function, &operands, n, &to, &run)
            } else {
                tiled(function, compute, &operands, n, &to, &run)
            }
        }
    });
}

unsafe fn straight(function: Loop, operands: &[Operand; INPUTS], n: usize, to: &Operand, run: &Run<5>) {
    let at = |o: &Operand, offset: isize| o.0.get().wrapping_offset(offset * o.2.size() as isize);
    let used = |k: usize| if k < n { k } else { 0 };
    let call = Operands {
        x: std::array::from_fn(|k| at(&operands[used(k)], run.offsets[used(k) + 1]).cast_const()),
        repeat: std::array::from_fn(|k| run.strides[used(k) + 1] == 0),
        y: at(to, run.offsets[0]),
        n: run.len,
    };
    // SAFETY: the loop matches the instruction set in use; pointers are valid for the run, as the caller vouches.
    unsafe { function(&call) }
}

unsafe fn tiled(function: Loop, compute: Compute, operands: &[Operand; INPUTS], n: usize, to: &Operand, run: &Run<5>) {
    let mut tiles = [const { Tile::new() }; INPUTS];
    let mut out = Tile::new();
    for start in (0..run.len).step_by(TILE) {
        let len = TILE.min(run.len - start);
        // SAFETY: the elements from `start` on belong to the run.
        unsafe {
            for k in 0..n {
                let at = run.offsets[k + 1] + start as isize * run.strides[k + 1];
                tiles[k].load(compute, operands[k].2, operands[k].0.get(), at, run.strides[k + 1], len);
            }
            let used = |k: usize| if k < n { k } else { 0 };
            let call = Operands {
                x: std::array::from_fn(|k| tiles[used(k)].as_ptr()),
                repeat: [false; INPUTS],
                y: out.as_mut_ptr(),
                n: len,
            };
            function(&call);
            out.store(compute, to.2, to.0.get(), run.offsets[0] + start as isize * run.strides[0], run.strides[0], len);
        }
    }
}

#[cfg(test)]
mod accuracy;
#[cfg(test)]
mod tests;
