//! Initialisers: new tensors in f32 on the CPU, drawn from the thread's default generator. Formulas and defaults are those
//! of `torch.nn.init`.

use esker_autograd::Tensor;
use esker_ops::{Ops, Sizes};
use esker_tensor::philox::next_key;
use esker_tensor::{DType, Device, Error, Result};

/// All elements equal to `value`.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn constant(shape: impl Into<Sizes>, value: f64) -> Result<Tensor> {
    Tensor::full(value, shape, DType::F32, Device::Cpu)
}

/// Uniform in `[low, high)`.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn uniform(shape: impl Into<Sizes>, low: f64, high: f64) -> Result<Tensor> {
    Tensor::uniform(low, high, next_key(), shape, DType::F32, Device::Cpu)
}

/// Normal.
///
/// # Errors
/// `Shape` for a size that does not fit.
pub fn normal(shape: impl Into<Sizes>, mean: f64, std: f64) -> Result<Tensor> {
    Tensor::normal(mean, std, next_key(), shape, DType::F32, Device::Cpu)
}

/// How many inputs and outputs an element of a weight `[out, in, window..]` connects: `(fan_in, fan_out)`.
///
/// # Errors
/// `Shape` when there are fewer than two dimensions.
pub fn fans(shape: impl Into<Sizes>) -> Result<(usize, usize)> {
    let shape = shape.into().shape()?;
    match shape[..] {
        [out, inputs, ref window @ ..] => {
            let taps: usize = window.iter().product();
            Ok((inputs * taps, out * taps))
        }
        _ => Err(Error::shape(format!("fan-in and fan-out need a weight of two dimensions or more, got {shape:?}"))),
    }
}

/// He's initialiser for leaky ReLU with slope `a` (0 for ReLU), by fan-in: uniform within
/// `sqrt(6 / ((1 + a^2) fan_in))`.
///
/// # Errors
/// As [`fans`].
pub fn kaiming_uniform(shape: impl Into<Sizes>, a: f64) -> Result<Tensor> {
    let shape = shape.into();
    let bound = 3f64.sqrt() * kaiming_std(shape, a)?;
    uniform(shape, -bound, bound)
}

/// He's initialiser for leaky ReLU with slope `a` (0 for ReLU), by fan-in: normal with standard deviation
/// `sqrt(2 / ((1 + a^2) fan_in))`.
///
/// # Errors
/// As [`fans`].
pub fn kaiming_normal(shape: impl Into<Sizes>, a: f64) -> Result<Tensor> {
    let shape = shape.into();
    normal(shape, 0.0, kaiming_std(shape, a)?)
}

/// Glorot's initialiser: uniform within `gain * sqrt(6 / (fan_in + fan_out))`.
///
/// # Errors
/// As [`fans`].
pub fn xavier_uniform(shape: impl Into<Sizes>, gain: f64) -> Result<Tensor> {
    let shape = shape.into();
    let bound = 3f64.sqrt() * xavier_std(shape, gain)?;
    uniform(shape, -bound, bound)
}

/// Glorot's initialiser: normal with standard deviation `gain * sqrt(2 / (fan_in + fan_out))`.
///
/// # Errors
/// As [`fans`].
pub fn xavier_normal(shape: impl Into<Sizes>, gain: f64) -> Result<Tensor> {
    let shape = shape.into();
    normal(shape, 0.0, xavier_std(shape, gain)?)
}

/// A bias of `size` elements of a layer with this fan-in: uniform within `1 / sqrt(fan_in)` (0 for no inputs).
pub(crate) fn bias(size: usize, fan_in: usize) -> Result<Tensor> {
    let bound = if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() };
    uniform([size], -bound, bound)
}

fn kaiming_std(shape: Sizes, a: f64) -> Result<f64> {
    let (fan_in, _) = fans(shape)?;
    Ok((2.0 / ((1.0 + a * a) * fan_in.max(1) as f64)).sqrt())
}

fn xavier_std(shape: Sizes, gain: f64) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    Ok(gain * (2.0 / (fan_in + fan_out).max(1) as f64).sqrt())
}
