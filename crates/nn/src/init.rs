//! Initialisers: new tensors in f32 on the CPU, drawn from the thread's default generator. Formulas and defaults are those
//! of `torch.nn.init`.
//!
//! ```
//! use esker_nn::init::{self, Fan, Nonlinearity};
//! use esker_nn::Linear;
//!
//! # fn main() -> esker_tensor::Result<()> {
//! let layer = Linear::new(20, 10)?;
//! layer.weight.set(&init::kaiming_normal([10, 20], Fan::Out, Nonlinearity::ReLU)?)?;
//! # Ok(())
//! # }
//! ```

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

/// Ones.
///
/// # Errors
/// As [`constant`].
pub fn ones(shape: impl Into<Sizes>) -> Result<Tensor> {
    constant(shape, 1.0)
}

/// Zeros.
///
/// # Errors
/// As [`constant`].
pub fn zeros(shape: impl Into<Sizes>) -> Result<Tensor> {
    constant(shape, 0.0)
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

/// Normal, as far as it lies within `low..=high`.
///
/// # Errors
/// `Shape` for a size that does not fit; `Kernel` when nothing lies within.
pub fn trunc_normal(shape: impl Into<Sizes>, mean: f64, std: f64, low: f64, high: f64) -> Result<Tensor> {
    let shape = shape.into().shape()?;
    let below = |x: f64| libm::erf((x - mean) / std / std::f64::consts::SQRT_2);
    let (from, to) = (below(low), below(high));
    if from.is_nan() || to.is_nan() || from >= to {
        return Err(Error::kernel(format!(
            "trunc_normal: no normal of mean {mean} and deviation {std} lies within {low} to {high}"
        )));
    }
    let shares = Tensor::uniform(0.0, 1.0, next_key(), shape, DType::F64, Device::Cpu)?.to_vec::<f64>()?;
    let values = shares.into_iter().map(|share| {
        let x = mean + std * std::f64::consts::SQRT_2 * erfinv(from + (to - from) * share);
        x.clamp(low, high) as f32
    });
    Tensor::from_slice(&values.collect::<Vec<f32>>(), shape)
}

/// The `x` whose error function is `y`: the polynomials of Giles ("Approximating the erfinv function", 2010) and two steps
/// of Newton's method.
fn erfinv(y: f64) -> f64 {
    const NEAR: [f64; 9] = [
        2.81022636e-8,
        3.43273939e-7,
        -3.5233877e-6,
        -4.39150654e-6,
        2.1858087e-4,
        -1.25372503e-3,
        -4.17768164e-3,
        0.246640727,
        1.50140941,
    ];
    const FAR: [f64; 9] = [
        -2.00214257e-4,
        1.00950558e-4,
        1.34934322e-3,
        -3.67342844e-3,
        5.73950773e-3,
        -7.6224613e-3,
        9.43887047e-3,
        1.00167406,
        2.83297682,
    ];
    if y.abs() >= 1.0 {
        return y * f64::INFINITY;
    }
    let w = -((1.0 - y) * (1.0 + y)).ln();
    let (w, coefficients) = if w < 5.0 { (w - 2.5, NEAR) } else { (w.sqrt() - 3.0, FAR) };
    let mut x = coefficients.iter().fold(0.0, |p, c| p * w + c) * y;
    for _ in 0..2 {
        x -= (libm::erf(x) - y) / (std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp());
    }
    x
}

/// Ones on the diagonal.
///
/// # Errors
/// `Shape` unless there are two dimensions.
pub fn eye(shape: impl Into<Sizes>) -> Result<Tensor> {
    let shape = shape.into().shape()?;
    let [rows, columns] = shape[..] else {
        return Err(Error::shape(format!("eye: two dimensions are needed, got {shape:?}")));
    };
    placed(&[rows, columns], (0..rows.min(columns)).map(|i| i * columns + i))
}

/// Ones where the weight `[out, in, window..]` of a convolution passes channel `i` on as channel `i`, in each of `groups`.
///
/// # Errors
/// `Shape` unless there are three to five dimensions and the groups divide the outputs.
pub fn dirac(shape: impl Into<Sizes>, groups: usize) -> Result<Tensor> {
    let shape = shape.into().shape()?;
    let (3..=5, [outputs, inputs, window @ ..]) = (shape.len(), &shape[..]) else {
        return Err(Error::shape(format!("dirac: three to five dimensions are needed, got {shape:?}")));
    };
    if groups == 0 || !outputs.is_multiple_of(groups) {
        return Err(Error::shape(format!("dirac: {groups} groups do not divide {outputs} outputs")));
    }
    let taps: usize = window.iter().product();
    let middle = window.iter().fold(0, |at, size| at * size + size / 2);
    let each = outputs / groups;
    let channels = (0..groups).flat_map(|g| (0..each.min(*inputs)).map(move |d| (g * each + d, d)));
    placed(&shape, channels.map(|(to, from)| (to * inputs + from) * taps + middle))
}

/// Zeros with ones at these places of the row-major elements.
fn placed(shape: &[usize], places: impl Iterator<Item = usize>) -> Result<Tensor> {
    let mut values = vec![0f32; shape.iter().product()];
    places.filter_map(|at| values.get_mut(at).map(|v| *v = 1.0)).count();
    Tensor::from_slice(&values, shape)
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

/// The side on which the size of values is to stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fan {
    /// That of the outputs, forward.
    #[default]
    In,
    /// That of the gradients, backward.
    Out,
}

/// What follows a layer.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Nonlinearity {
    Linear,
    Sigmoid,
    Tanh,
    ReLU,
    /// With its slope for negative inputs.
    LeakyReLU(f64),
    SELU,
}

impl Nonlinearity {
    /// The factor that makes up for how it shrinks values.
    pub fn gain(self) -> f64 {
        match self {
            Self::Linear | Self::Sigmoid => 1.0,
            Self::Tanh => 5.0 / 3.0,
            Self::ReLU => 2f64.sqrt(),
            Self::LeakyReLU(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
            Self::SELU => 0.75,
        }
    }
}

/// He's initialiser: uniform within `gain * sqrt(3 / fan)`.
///
/// # Errors
/// As [`fans`].
pub fn kaiming_uniform(shape: impl Into<Sizes>, fan: Fan, nonlinearity: Nonlinearity) -> Result<Tensor> {
    let shape = shape.into();
    let bound = 3f64.sqrt() * kaiming_std(shape, fan, nonlinearity)?;
    uniform(shape, -bound, bound)
}

/// He's initialiser: normal with standard deviation `gain / sqrt(fan)`.
///
/// # Errors
/// As [`fans`].
pub fn kaiming_normal(shape: impl Into<Sizes>, fan: Fan, nonlinearity: Nonlinearity) -> Result<Tensor> {
    let shape = shape.into();
    normal(shape, 0.0, kaiming_std(shape, fan, nonlinearity)?)
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

/// Rows (or columns, when there are fewer) that stand at right angles and have length `gain` (Saxe and others, 2014);
/// dimensions behind the first count as one.
///
/// # Errors
/// `Shape` when there are fewer than two dimensions.
pub fn orthogonal(shape: impl Into<Sizes>, gain: f64) -> Result<Tensor> {
    let shape = shape.into().shape()?;
    let (&[rows, _, ..], numel) = (&shape[..], shape.numel()) else {
        return Err(Error::shape(format!("orthogonal: two dimensions or more are needed, got {shape:?}")));
    };
    let columns = numel.checked_div(rows).unwrap_or(0);
    let (count, length) = (rows.min(columns), rows.max(columns));
    let drawn = Tensor::normal(0.0, 1.0, next_key(), [count, length], DType::F64, Device::Cpu)?.to_vec::<f64>()?;
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    for start in drawn.chunks_exact(length.max(1)) {
        let mut vector = start.to_vec();
        // The second pass takes away what rounding left of the first.
        for _ in 0..2 {
            for other in &basis {
                let share: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= share * b);
            }
        }
        let norm = vector.iter().map(|a| a * a).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|a| *a /= norm);
        basis.push(vector);
    }
    let at = |row: usize, column: usize| {
        let (vector, place) = if rows <= columns { (row, column) } else { (column, row) };
        basis.get(vector).and_then(|v| v.get(place)).map_or(0.0, |v| (gain * v) as f32)
    };
    let values: Vec<f32> = (0..numel).map(|i| at(i / columns, i % columns)).collect();
    Tensor::from_slice(&values, shape)
}

/// Normal with deviation `std`, but a share `sparsity` of each column is 0 (Martens, "Deep learning via Hessian-free
/// optimization", 2010).
///
/// # Errors
/// `Shape` unless there are two dimensions; `Kernel` unless the share is 0 to 1.
pub fn sparse(shape: impl Into<Sizes>, sparsity: f64, std: f64) -> Result<Tensor> {
    let shape = shape.into().shape()?;
    let [rows, columns] = shape[..] else {
        return Err(Error::shape(format!("sparse: two dimensions are needed, got {shape:?}")));
    };
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(Error::kernel(format!("sparse: the share of zeros is {sparsity}, needed is 0 to 1")));
    }
    let zeros = (sparsity * rows as f64).ceil() as usize;
    let mut values = normal(shape, 0.0, std)?.to_vec::<f32>()?;
    let ranks = uniform([columns, rows], 0.0, 1.0)?.to_vec::<f32>()?;
    for (column, ranks) in ranks.chunks_exact(rows.max(1)).enumerate() {
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&a, &b| ranks[a].total_cmp(&ranks[b]));
        order.iter().take(zeros).for_each(|row| values[row * columns + column] = 0.0);
    }
    Tensor::from_slice(&values, shape)
}

/// What PyTorch's layers start their weights with: uniform within `1 / sqrt(fan_in)`.
pub(crate) fn weight(shape: impl Into<Sizes>) -> Result<Tensor> {
    kaiming_uniform(shape, Fan::In, Nonlinearity::LeakyReLU(5f64.sqrt()))
}

/// A bias of `size` elements of a layer with this fan-in: uniform within `1 / sqrt(fan_in)` (0 for no inputs).
pub(crate) fn bias(size: usize, fan_in: usize) -> Result<Tensor> {
    within([size], fan_in)
}

/// Uniform within `1 / sqrt(size)` (0 for a size of 0).
pub(crate) fn within(shape: impl Into<Sizes>, size: usize) -> Result<Tensor> {
    let bound = if size == 0 { 0.0 } else { 1.0 / (size as f64).sqrt() };
    uniform(shape, -bound, bound)
}

fn kaiming_std(shape: Sizes, fan: Fan, nonlinearity: Nonlinearity) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    let fan = if fan == Fan::In { fan_in } else { fan_out };
    Ok(nonlinearity.gain() / (fan.max(1) as f64).sqrt())
}

fn xavier_std(shape: Sizes, gain: f64) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    Ok(gain * (2.0 / (fan_in + fan_out).max(1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    #[test]
    fn erfinv_turns_erf_round() {
        for i in -999..=999 {
            let y = f64::from(i) / 1000.0;
            assert!((libm::erf(super::erfinv(y)) - y).abs() < 1e-14, "{y}");
        }
        assert_eq!(super::erfinv(1.0), f64::INFINITY);
    }
}
