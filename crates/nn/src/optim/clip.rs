//! Gradient clipping.

use esker_autograd::{Param, Tensor};
use esker_ops::{Array, Ops};
use esker_tensor::{Error, Result};

use super::update::number;

/// Scales gradients so that their joint Euclidean norm is at most `max_norm`; returns the norm before. The formula, with
/// its 1e-6 in the divisor, is that of `torch.nn.utils.clip_grad_norm_`.
///
/// # Errors
/// `OutOfMemory`.
pub fn clip_grad_norm(params: &[Param], max_norm: f64) -> Result<f64> {
    clip_grad_norm_of(params, max_norm, 2.0)
}

/// As [`clip_grad_norm`], for the norm `sum(|g|^p)^(1/p)`, the largest for an infinite `p`.
///
/// # Errors
/// `OutOfMemory`; `Kernel` when `p` is not above 0.
pub fn clip_grad_norm_of(params: &[Param], max_norm: f64, p: f64) -> Result<f64> {
    let norm = grad_norm(params, p)?;
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        change(params, |g| g.mul(&number(factor, g)?))?;
    }
    Ok(norm)
}

/// The joint norm of the gradients that are there, `sum(|g|^p)^(1/p)`, the largest for an infinite `p`.
///
/// # Errors
/// `OutOfMemory`; `Kernel` when `p` is not above 0.
pub fn grad_norm(params: &[Param], p: f64) -> Result<f64> {
    if p.is_nan() || p <= 0.0 {
        return Err(Error::kernel(format!("the norm of gradients needs an order above 0, got {p}")));
    }
    let mut total = 0f64;
    for g in params.iter().filter_map(Param::grad) {
        let g = g.array();
        if p.is_infinite() {
            total = g.abs()?.to_f64_vec()?.into_iter().fold(total, |a, b| if a.is_nan() || a > b { a } else { b });
        } else {
            let powers = if p == 2.0 { g.square()? } else { g.abs()?.float_power(&number(p, g)?)? };
            total += powers.sum((), false)?.to_f64_vec()?.iter().sum::<f64>();
        }
    }
    Ok(if p.is_infinite() { total } else { total.powf(1.0 / p) })
}

/// Moves every element of the gradients into `-clip_value..=clip_value`, as `torch.nn.utils.clip_grad_value_`.
///
/// # Errors
/// `OutOfMemory`.
pub fn clip_grad_value(params: &[Param], clip_value: f64) -> Result<()> {
    change(params, |g| g.minimum(&number(clip_value, g)?)?.maximum(&number(-clip_value, g)?))
}

fn change(params: &[Param], f: impl Fn(&Array) -> Result<Array>) -> Result<()> {
    params
        .iter()
        .filter_map(|p| Some((p, p.grad()?)))
        .try_for_each(|(p, g)| p.set_grad(Tensor::from_array(f(g.array())?)))
}
