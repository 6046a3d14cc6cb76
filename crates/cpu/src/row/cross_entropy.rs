//! Cross-entropy of rows of logits against classes, and its gradient.

use std::ops::Range;

use esker_ops::Array;
use esker_tensor::{Error, Result};

use super::softmax::log_sum;
use super::sweep::{get, put, sweep};
use crate::lanes::{LANES, Real, RealLanes, RealTask, exp, exps};
use crate::operand::{self, Shared};

/// Checks that every target is a class or ignored.
///
/// # Errors
/// `Kernel` naming the row.
pub(super) fn check(classes: &Array, n: usize, ignore: i64) -> Result<()> {
    let wrong = |&c: &i64| c != ignore && (c < 0 || c as usize >= n);
    match operand::slice::<i64>(classes).iter().enumerate().find(|(_, c)| wrong(c)) {
        None => Ok(()),
        Some((row, c)) => Err(Error::kernel(format!("the target of row {row} is {c}, but there are {n} classes"))),
    }
}

/// Losses and logarithms of the summed exponentials.
pub(super) struct Forward<T> {
    pub(super) x: Shared<T>,
    pub(super) classes: Shared<i64>,
    pub(super) loss: Shared<T>,
    pub(super) lse: Shared<T>,
    pub(super) rows: Range<usize>,
    pub(super) n: usize,
    pub(super) ignore: i64,
}

impl<T: Real> RealTask<T> for Forward<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        for row in self.rows.clone() {
            let x = self.x.at(row * self.n);
            // SAFETY: the caller vouches that the row lies within x and its number within the others; `check` has found
            // every class below n or ignored.
            unsafe {
                let (top, log) = log_sum::<V>(x, self.n);
                let class = *self.classes.at(row);
                let loss = match class == self.ignore {
                    true => 0.0,
                    false => log - ((*x.add(class as usize)).to_f64() - top.to_f64()),
                };
                *self.loss.at(row) = T::from_f64(loss);
                *self.lse.at(row) = T::from_f64(top.to_f64() + log);
            }
        }
    }
}

/// Gradients by the logits.
pub(super) struct Backward<T> {
    pub(super) x: Shared<T>,
    pub(super) classes: Shared<i64>,
    pub(super) lse: Shared<T>,
    pub(super) dloss: Shared<T>,
    pub(super) dx: Shared<T>,
    pub(super) rows: Range<usize>,
    pub(super) n: usize,
    pub(super) ignore: i64,
}

impl<T: Real> RealTask<T> for Backward<T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: RealLanes<E = T>>(self) {
        let n = self.n;
        for row in self.rows.clone() {
            let (x, dx) = (self.x.at(row * n), self.dx.at(row * n));
            // SAFETY: as in the forward task.
            unsafe {
                let class = *self.classes.at(row);
                if class == self.ignore {
                    std::slice::from_raw_parts_mut(dx, n).fill(T::ZERO);
                    continue;
                }
                let (lse, scale) = (V::splat(*self.lse.at(row)), V::splat(*self.dloss.at(row)));
                let whole = n / (4 * LANES) * (4 * LANES);
                for at in (0..whole).step_by(4 * LANES) {
                    let (x, dx) = (x.add(at), dx.add(at));
                    let mut e =
                        [V::load(x), V::load(x.add(LANES)), V::load(x.add(2 * LANES)), V::load(x.add(3 * LANES))];
                    for e in &mut e {
                        *e = e.sub(lse);
                    }
                    for (k, e) in exps(e).into_iter().enumerate() {
                        e.mul(scale).store(dx.add(k * LANES));
                    }
                }
                sweep!(n - whole, |at, m, _j| {
                    let at = whole + at;
                    put(exp(get::<V>(x.add(at), m, T::ZERO).sub(lse)).mul(scale), dx.add(at), m);
                });
                // The class again, with its one taken off before scaling, as the formula says.
                let one = exp(V::splat((*x.add(class as usize)).minus(*self.lse.at(row)))).sub(V::splat(T::ONE));
                put(one.mul(scale), dx.add(class as usize), 1);
            }
        }
    }
}
