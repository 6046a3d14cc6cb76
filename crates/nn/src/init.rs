//! Initial values of parameters, drawn from the thread's default generator.

use esker_autograd::{Param, Tensor};
use esker_ops::{Ops, Sizes};
use esker_tensor::philox::next_key;
use esker_tensor::{DType, Device, Result};

/// Uniform in `[low, high)`, f32.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn uniform(shape: impl Into<Sizes>, low: f64, high: f64) -> Result<Param> {
    Param::new(&Tensor::uniform(low, high, next_key(), shape, DType::F32, Device::Cpu)?)
}

/// Normal, f32.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn normal(shape: impl Into<Sizes>, mean: f64, std: f64) -> Result<Param> {
    Param::new(&Tensor::normal(mean, std, next_key(), shape, DType::F32, Device::Cpu)?)
}

/// One value, f32.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn constant(shape: impl Into<Sizes>, value: f64) -> Result<Param> {
    Param::new(&Tensor::full(value, shape, DType::F32, Device::Cpu)?)
}

/// Inputs and outputs of one unit: `weight` is `[out, in, window..]`.
fn fans(shape: &[usize]) -> (usize, usize) {
    let window: usize = shape.iter().skip(2).product();
    let at = |i: usize| shape.get(i).copied().unwrap_or(1);
    (at(1) * window, at(0) * window)
}

/// He's uniform initialisation for a leaky slope `a` (He et al., arXiv 1502.01852): bound
/// `sqrt(6 / ((1 + a^2) fan_in))`.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn kaiming_uniform(shape: &[usize], a: f64) -> Result<Param> {
    let bound = (6.0 / ((1.0 + a * a) * fans(shape).0.max(1) as f64)).sqrt();
    uniform(shape, -bound, bound)
}

/// He's normal initialisation for a leaky slope `a`: deviation `sqrt(2 / ((1 + a^2) fan_in))`.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn kaiming_normal(shape: &[usize], a: f64) -> Result<Param> {
    normal(shape, 0.0, (2.0 / ((1.0 + a * a) * fans(shape).0.max(1) as f64)).sqrt())
}

/// Glorot's uniform initialisation (Glorot and Bengio, AISTATS 2010): bound `sqrt(6 / (fan_in + fan_out))`.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn xavier_uniform(shape: &[usize]) -> Result<Param> {
    let (fan_in, fan_out) = fans(shape);
    let bound = (6.0 / (fan_in + fan_out).max(1) as f64).sqrt();
    uniform(shape, -bound, bound)
}

/// Glorot's normal initialisation: deviation `sqrt(2 / (fan_in + fan_out))`.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn xavier_normal(shape: &[usize]) -> Result<Param> {
    let (fan_in, fan_out) = fans(shape);
    normal(shape, 0.0, (2.0 / (fan_in + fan_out).max(1) as f64).sqrt())
}

/// PyTorch's default bias: uniform within `1 / sqrt(fan_in)` of the weight.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub(crate) fn bias(size: usize, weight: &[usize]) -> Result<Param> {
    let bound = 1.0 / (fans(weight).0.max(1) as f64).sqrt();
    uniform([size], -bound, bound)
}
