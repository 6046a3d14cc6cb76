//! Losses.

use esker_autograd::Tensor;
use esker_ops::{Ops, Value};
use esker_tensor::{DType, Error, Result};

/// How the losses of the samples become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reduction {
    /// Their mean (over the samples that count).
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Each on its own.
    None,
}

/// Settings of [`cross_entropy_with`]; the defaults are PyTorch's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CrossEntropyOptions {
    /// How the samples' losses become one.
    pub reduction: Reduction,
    /// A target that does not count, neither in the loss nor in the mean.
    pub ignore_index: i64,
    /// How much of the target is spread over all classes alike, 0 to 1.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        Self { reduction: Reduction::Mean, ignore_index: -100, label_smoothing: 0.0 }
    }
}

/// Mean cross-entropy, in nats, of `logits [n, classes]` or `[n, classes, d..]` with the classes `target` (i64 `[n]` or
/// `[n, d..]`).
///
/// # Errors
/// `Shape` or `DType` when they do not fit; `Kernel` for a target that is no class.
#[track_caller]
pub fn cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    cross_entropy_with(logits, target, CrossEntropyOptions::default())
}

/// As [`cross_entropy`], with settings. The mean is NaN when no target counts, as in PyTorch.
///
/// # Errors
/// As [`cross_entropy`]; `Kernel` for a smoothing outside of 0 to 1.
#[track_caller]
pub fn cross_entropy_with(logits: &Tensor, target: &Tensor, options: CrossEntropyOptions) -> Result<Tensor> {
    let smoothing = options.label_smoothing;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::kernel(format!("cross_entropy: label_smoothing is {smoothing}, needed is 0 to 1")));
    }
    let (rows, flat) = rows(logits, target)?;
    let (mut loss, lse) = rows.cross_entropy_rows(&flat, options.ignore_index)?;
    let scalar = |value: f64, dtype: DType| Tensor::scalar(value, dtype, rows.device());
    let counts = || flat.ne(&scalar(options.ignore_index as f64, DType::I64)?);
    if smoothing > 0.0 {
        // The mean over classes of -log softmax is logsumexp - mean.
        let spread = lse.sub(&rows.mean(-1, false)?)?;
        let spread = counts()?.where_cond(&spread, &scalar(0.0, rows.dtype())?)?;
        loss =
            loss.mul(&scalar(1.0 - smoothing, rows.dtype())?)?.add(&spread.mul(&scalar(smoothing, rows.dtype())?)?)?;
    }
    match options.reduction {
        Reduction::None => loss.reshape(target.shape()),
        Reduction::Sum => loss.sum((), false),
        Reduction::Mean => loss.sum((), false)?.div(&counts()?.cast(rows.dtype())?.sum((), false)?),
    }
}

/// `[n, c, d..]` and `[n, d..]` as `[rows, c]` and `[rows]`.
fn rows(logits: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
    let rank = logits.rank();
    if rank <= 2 {
        return Ok((logits.clone(), target.clone()));
    }
    let expected: Vec<usize> =
        logits.shape().iter().enumerate().filter(|&(d, _)| d != 1).map(|(_, &size)| size).collect();
    if target.shape()[..] != expected[..] {
        return Err(Error::shape(format!(
            "cross_entropy: the target must be {expected:?} for logits {:?}, got {:?}",
            logits.shape(),
            target.shape()
        )));
    }
    let order: Vec<i64> = [0].into_iter().chain(2..rank as i64).chain([1]).collect();
    let classes = logits.size(1)?;
    let rows: usize = expected.iter().product();
    Ok((logits.permute(&order[..])?.reshape([rows, classes])?, target.reshape([rows])?))
}

/// Mean of squared differences, with the tensors' broadcast shape.
///
/// # Errors
/// `Shape` when they do not broadcast; `DType` for integers.
#[track_caller]
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    mse_loss_with(input, target, Reduction::Mean)
}

/// As [`mse_loss`], reduced as `reduction` says.
///
/// # Errors
/// As [`mse_loss`].
#[track_caller]
pub fn mse_loss_with(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let squares = input.sub(target)?.square()?;
    match reduction {
        Reduction::Mean => squares.mean((), false),
        Reduction::Sum => squares.sum((), false),
        Reduction::None => Ok(squares),
    }
}
