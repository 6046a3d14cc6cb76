//! Gradient clipping.

use esker_autograd::{Param, Tensor};
use esker_ops::{Array, Ops};
use esker_tensor::Result;

use super::update::number;

/// Scales gradients so that their joint Euclidean norm is at most `max_norm`; returns the norm before. The formula, with
/// its 1e-6 in the divisor, is that of `torch.nn.utils.clip_grad_norm_`.
///
/// # Errors
/// `OutOfMemory`.
pub fn clip_grad_norm(params: &[Param], max_norm: f64) -> Result<f64> {
    let grads: Vec<(&Param, Tensor)> = params.iter().filter_map(|p| Some((p, p.grad()?))).collect();
    let square = |g: &Array| g.square()?.sum((), false)?.to_f64_vec();
    let mut total = 0.0;
    for (_, g) in &grads {
        total += square(g.array())?.iter().sum::<f64>();
    }
    let norm = total.sqrt();
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        for (p, g) in grads {
            p.set_grad(Tensor::from_array(g.array().mul(&number(factor, g.array())?)?))?;
        }
    }
    Ok(norm)
}
