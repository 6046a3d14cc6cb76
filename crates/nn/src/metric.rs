//! Figures of merit.

use esker_autograd::{Tensor, no_grad};
use esker_ops::Ops;
use esker_tensor::{DType, Result};

/// The share of rows of `logits [n, classes]` whose largest entry is at `target` (i64 `[n]`), 0 to 1; NaN for no rows.
///
/// # Errors
/// `Shape` or `DType` when they do not fit.
pub fn accuracy(logits: &Tensor, target: &Tensor) -> Result<f64> {
    no_grad(|| logits.argmax(-1, false)?.eq(target)?.cast(DType::F64)?.mean((), false)?.item())
}
