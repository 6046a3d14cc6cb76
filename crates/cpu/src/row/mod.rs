//! Kernels over rows (the last dimension), parallel over the rows.
//!
//! A row's additions have one order: element `i` goes to accumulator `i / 16 % 4` of lane `i % 16`, accumulators fold as
//! `(0 1)(2 3)` and lanes by halving; in long rows the sums of blocks of 4096 add up in f64.

mod cross_entropy;
mod extreme;
mod norm;
mod norm_grad;
mod softmax;
pub(crate) mod sweep;

use std::ops::Range;

use esker_ops::{Array, Row};
use esker_tensor::{DType, Error, Layout, Result};

use crate::lanes::{self, Real, RealTask};
use crate::operand::{self, copy, is_half, parallel, source, target, uninit};

/// Runs a row kernel.
///
/// # Errors
/// `Kernel` for a target that is no class; `Unavailable` for a dtype that is no float; those of copies.
pub(crate) fn run(row: &Row, inputs: &[&Array], outputs: &mut [Array]) -> Result<()> {
    match inputs.first().map(|x| x.dtype()) {
        Some(dtype) if is_half(dtype) => operand::through_f32(inputs, outputs, |x, y| run(row, x, y)),
        Some(DType::F32) => run_dense::<f32>(row, inputs, outputs),
        Some(DType::F64) => run_dense::<f64>(row, inputs, outputs),
        dtype => Err(Error::unavailable(format!("row kernels compute floats, not {dtype:?}; cast first"))),
    }
}

/// Makes every operand row-major.
fn run_dense<T: Real>(row: &Row, inputs: &[&Array], outputs: &mut [Array]) -> Result<()> {
    let inputs: Vec<Array> = inputs.iter().map(|x| x.contiguous()).collect::<Result<_>>()?;
    if outputs.iter().all(|y| y.layout().is_contiguous()) {
        return run_as::<T>(row, &inputs, outputs);
    }
    let dense = |y: &Array| uninit(y.dtype(), Layout::contiguous(*y.shape()));
    let mut temporary: Vec<Array> = outputs.iter().map(dense).collect::<Result<_>>()?;
    run_as::<T>(row, &inputs, &mut temporary)?;
    outputs.iter_mut().zip(&temporary).try_for_each(|(y, t)| copy(t, y))
}

fn run_as<T: Real>(row: &Row, x: &[Array], y: &mut [Array]) -> Result<()> {
    let n = x.first().and_then(|x| x.shape().last().copied()).unwrap_or(1);
    let rows = x.first().map_or(0, |x| x.shape().numel().checked_div(n).unwrap_or_else(|| lead(x)));
    match (row, x, y) {
        (Row::Softmax, [x], [y]) => {
            let (x, y) = (source(x), target(y)?);
            over_rows(rows, 8 * n, &|rows| softmax::Forward::<T> { x, y, rows, n, log: false });
        }
        (Row::LogSoftmax, [x], [y]) => {
            let (x, y) = (source(x), target(y)?);
            over_rows(rows, 8 * n, &|rows| softmax::Forward::<T> { x, y, rows, n, log: true });
        }
        (Row::SoftmaxGrad | Row::LogSoftmaxGrad, [y, dy], [dx]) => {
            let log = *row == Row::LogSoftmaxGrad;
            let (y, dy, dx) = (source(y), source(dy), target(dx)?);
            over_rows(rows, 4 * n, &|rows| softmax::Backward::<T> { y, dy, dx, rows, n, log });
        }
        (Row::Normalize { centre, eps }, [x, weight, bias], [y, mean, rstd]) => {
            let (x, y, mean, rstd) = (source(x), target(y)?, target(mean)?, target(rstd)?);
            let (weight, bias, centre, eps) = (source(weight), source(bias), *centre, eps.get());
            over_rows(rows, 4 * n, &|rows| norm::Forward::<T> { x, weight, bias, y, mean, rstd, rows, n, centre, eps });
        }
        (Row::NormalizeGrad { centre }, [x, weight, mean, rstd, dy], [dx, dweight, dbias]) => {
            let (x, weight, dy, dx) = (source(x), source(weight), source(dy), target(dx)?);
            let statistics = (source(mean), source(rstd));
            norm_grad::run::<T>(
                norm_grad::Grad { x, weight, statistics, dy, dx, rows, n, centre: *centre },
                target(dweight)?,
                target(dbias)?,
            );
        }
        (Row::ExtremeGrad, [x, y, dy], [dx]) => {
            let (x, y, dy, dx) = (source(x), source(y), source(dy), target(dx)?);
            over_rows(rows, 2 * n, &|rows| extreme::Backward::<T> { x, y, dy, dx, rows, n });
        }
        (Row::CrossEntropy { ignore }, [x, classes], [loss, lse]) => {
            cross_entropy::check(classes, n, *ignore)?;
            let (x, classes, loss, lse) = (source(x), source(classes), target(loss)?, target(lse)?);
            let ignore = *ignore;
            over_rows(rows, 8 * n, &|rows| cross_entropy::Forward::<T> { x, classes, loss, lse, rows, n, ignore });
        }
        (Row::CrossEntropyGrad { ignore }, [x, classes, lse, dloss], [dx]) => {
            cross_entropy::check(classes, n, *ignore)?;
            let (x, classes, lse, dloss) = (source(x), source(classes), source(lse), source(dloss));
            let (dx, ignore) = (target(dx)?, *ignore);
            over_rows(rows, 8 * n, &|rows| cross_entropy::Backward::<T> {
                x,
                classes,
                lse,
                dloss,
                dx,
                rows,
                n,
                ignore,
            });
        }
        _ => return Err(Error::kernel(format!("{row:?} got the wrong number of operands"))),
    }
    Ok(())
}

/// The number of rows of an array whose rows are empty.
fn lead(x: &Array) -> usize {
    x.shape().iter().rev().skip(1).product()
}

/// Runs a task on each range of rows.
fn over_rows<T: Real, K: RealTask<T, Out = ()>>(rows: usize, cost: usize, task: &(dyn Fn(Range<usize>) -> K + Sync)) {
    parallel(rows, cost, &|rows| {
        // SAFETY: the tasks read and write rows `rows` of dense operands, whose shapes the op inferred.
        unsafe { lanes::run_real(task(rows)) }
    });
}

#[cfg(test)]
mod tests;
