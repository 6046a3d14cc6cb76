//! Losses.

use esker_autograd::Tensor;
use esker_ops::{Ops, Value};
use esker_tensor::{DType, Result};

/// How the losses of the elements become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean (for cross-entropy: over those that count).
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// As they are.
    None,
}

/// Settings of [`cross_entropy_with`].
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyOptions {
    /// How rows become one number.
    pub reduction: Reduction,
    /// Targets of this value do not count.
    pub ignore_index: i64,
}

impl Default for CrossEntropyOptions {
    /// Mean; -100 is ignored, as in PyTorch.
    fn default() -> Self {
        Self { reduction: Reduction::Mean, ignore_index: -100 }
    }
}

/// Mean cross-entropy of logits `[n, c]` or `[n, c, d..]` with classes `[n]` or `[n, d..]`, i64.
///
/// # Errors
/// `Shape` and `DType` when they do not fit; `Kernel` for a class out of range.
pub fn cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    cross_entropy_with(logits, target, CrossEntropyOptions::default())
}

/// As [`cross_entropy`], with settings.
///
/// # Errors
/// As [`cross_entropy`].
pub fn cross_entropy_with(logits: &Tensor, target: &Tensor, options: CrossEntropyOptions) -> Result<Tensor> {
    let rank = logits.rank() as i64;
    let rows = if rank > 2 {
        // Classes last, one row a place.
        let order: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
        logits.permute(&order[..])?.reshape([-1, logits.shape()[1] as i64])?
    } else {
        logits.clone()
    };
    let flat = if target.rank() > 1 { target.reshape([-1])? } else { target.clone() };
    let loss = rows.cross_entropy_rows(&flat, options.ignore_index)?.0;
    match options.reduction {
        Reduction::None => loss.reshape(target.shape()),
        Reduction::Sum => loss.sum((), false),
        Reduction::Mean => {
            let ignored = Tensor::scalar(options.ignore_index as f64, DType::I64, flat.device())?;
            let count = flat.ne(&ignored)?.cast(loss.dtype())?.sum((), false)?;
            loss.sum((), false)?.div(&count)
        }
    }
}

/// Mean of the squared differences.
///
/// # Errors
/// `Shape` when the shapes do not broadcast.
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    input.sub(target)?.square()?.mean((), false)
}

/// Share of rows of `logits [n, c]` whose largest entry is at `target [n]`.
///
/// # Errors
/// `Shape` when they do not fit.
pub fn accuracy(logits: &Tensor, target: &Tensor) -> Result<f64> {
    logits.detach().argmax(-1, false)?.eq(target)?.cast(DType::F64)?.mean((), false)?.item()
}
