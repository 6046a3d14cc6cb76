//! Gradients checked against central differences, in f64, along random directions.

use esker_ops::{Ops, Value};
use esker_tensor::philox::Key;
use esker_tensor::{DType, Device, Error, Result};

use crate::{GradOptions, Tensor, grad_with, no_grad};

/// How [`gradcheck`] compares.
#[derive(Clone, Copy, Debug)]
pub struct GradCheck {
    /// Half the distance of the two points of a difference.
    pub step: f64,
    /// Allowed difference, relative to the larger of the two values and 1.
    pub tolerance: f64,
    /// Number of random directions.
    pub directions: usize,
    /// Also check the gradient's own gradient.
    pub second_order: bool,
    /// Seed of the directions.
    pub seed: u64,
}

impl Default for GradCheck {
    fn default() -> Self {
        // A central difference errs by step^2 / 6 times the third derivative and eps / step: both near 1e-10 at 1e-5.
        Self { step: 1e-5, tolerance: 1e-6, directions: 2, second_order: true, seed: 0 }
    }
}

/// Checks the gradients of `f` at `inputs` (f64) by comparing, along random directions `u`, the directional derivative
/// from the tape with `(f(x + h u) - f(x - h u)) / 2h`. Outputs are weighted with random numbers. With
/// [`GradCheck::second_order`] the same is done for the gradients themselves.
///
/// # Errors
/// `Autograd` naming the order, the direction and both values when they differ; `DType` for inputs that are not f64.
pub fn gradcheck(f: &dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>, inputs: &[Tensor], check: GradCheck) -> Result<()> {
    if let Some(x) = inputs.iter().find(|x| x.dtype() != DType::F64 && x.dtype().is_float()) {
        return Err(Error::dtype(format!("gradcheck needs float64 inputs, got {}", x.dtype())));
    }
    let weighted = |x: &[Tensor]| -> Result<Option<Tensor>> { weighted_sum(&f(x)?, check.seed) };
    compare(&weighted, inputs, check).map_err(|e| e.prefix("first order"))?;
    if !check.second_order {
        return Ok(());
    }
    let slope = |x: &[Tensor]| -> Result<Option<Tensor>> {
        let Some(y) = weighted(x)?.filter(Tensor::requires_grad) else { return Ok(None) };
        weighted_sum(&gradients(&y, x, true)?, check.seed ^ 0x5eed)
    };
    compare(&slope, inputs, check).map_err(|e| e.prefix("second order"))
}

fn track(x: &Tensor) -> Result<Tensor> {
    if x.dtype().is_float() { x.tracked() } else { Ok(x.clone()) }
}

/// Gradients of `y` by the inputs that take part in it; zeros elsewhere, nothing for integer inputs.
fn gradients(y: &Tensor, x: &[Tensor], create_graph: bool) -> Result<Vec<Tensor>> {
    let options = GradOptions { retain_graph: true, create_graph };
    let one = |x: &Tensor| match grad_with(&[y], &[x], options) {
        Ok(mut g) => Ok(g.swap_remove(0)),
        Err(e) if e.to_string().contains("does not take part") => Tensor::full(0.0, x.shape(), x.dtype(), x.device()),
        Err(e) => Err(e),
    };
    x.iter().filter(|x| x.requires_grad()).map(one).collect()
}

fn random(like: &Tensor, seed: u64) -> Result<Tensor> {
    Tensor::normal(0.0, 1.0, Key(seed), like.shape(), DType::F64, Device::Cpu)
}

/// The floating-point outputs weighted with fixed random numbers, as one scalar.
fn weighted_sum(outputs: &[Tensor], seed: u64) -> Result<Option<Tensor>> {
    let mut total: Option<Tensor> = None;
    for (i, y) in outputs.iter().enumerate().filter(|(_, y)| y.dtype().is_float()) {
        let part = y.mul(&random(y, seed.wrapping_add(1000 + i as u64))?)?.sum((), false)?;
        total = Some(match total {
            Some(t) => t.add(&part)?,
            None => part,
        });
    }
    Ok(total)
}

fn compare(f: &dyn Fn(&[Tensor]) -> Result<Option<Tensor>>, inputs: &[Tensor], check: GradCheck) -> Result<()> {
    let tracked: Vec<Tensor> = inputs.iter().map(track).collect::<Result<_>>()?;
    // Without a history the tape says that the gradient is zero, and the differences must say so too.
    let grads = match f(&tracked)?.filter(Tensor::requires_grad) {
        Some(y) => gradients(&y, &tracked, false)?,
        None => Vec::new(),
    };
    for direction in 0..check.directions as u64 {
        let u: Vec<Option<Tensor>> = inputs
            .iter()
            .enumerate()
            .map(|(i, x)| {
                let seed = check.seed.wrapping_add(direction * 97 + i as u64);
                x.dtype().is_float().then(|| random(x, seed)).transpose()
            })
            .collect::<Result<_>>()?;
        let mut taped = 0.0;
        for (g, u) in grads.iter().zip(u.iter().flatten()) {
            taped += g.detach().mul(u)?.sum((), false)?.item()?;
        }
        let at = |h: f64| -> Result<f64> {
            let moved: Vec<Tensor> = inputs
                .iter()
                .zip(&u)
                .map(|(x, u)| match u {
                    Some(u) => no_grad(|| x.add(&u.mul(&Tensor::scalar(h, DType::F64, Device::Cpu)?)?)),
                    None => Ok(x.clone()),
                })
                .map(|x| x.and_then(|x| track(&x)))
                .collect::<Result<_>>()?;
            f(&moved)?.map_or(Ok(0.0), |y| y.item())
        };
        let numeric = (at(check.step)? - at(-check.step)?) / (2.0 * check.step);
        let scale = 1f64.max(taped.abs()).max(numeric.abs());
        let agree = (taped - numeric).abs() <= check.tolerance * scale; // False with NaN.
        if !agree {
            return Err(Error::autograd(format!(
                "along direction {direction} the tape gives {taped:e}, central differences {numeric:e}"
            )));
        }
    }
    Ok(())
}
