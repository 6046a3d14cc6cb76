//! Losses as most programs call them. All losses, with every option, are methods of tensors: [`Ops::cross_entropy`],
//! [`Ops::mse_loss`] and others.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

/// Mean cross-entropy, in nats, of `logits [n, classes]` or `[n, classes, d..]` with the classes `target` (i64 `[n]` or
/// `[n, d..]`; -100 does not count) or with probabilities of classes in the shape of the logits.
///
/// # Errors
/// `Shape` or `DType` when they do not fit; `Kernel` for a target that is no class.
#[track_caller]
pub fn cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    logits.cross_entropy(target, None, -100, "mean", 0.0)
}

/// Mean of squared differences, of tensors that broadcast.
///
/// # Errors
/// `Shape` when they do not broadcast; `DType` for integers.
#[track_caller]
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    input.mse_loss(target, "mean")
}
