//! Layer normalisation.

use esker_autograd::{Param, Tensor};
use esker_ops::{Ops, Sizes};
use esker_tensor::{Error, Result, Shape};

use crate::{Forward, Module, Scope, init};

/// The last dimensions to mean 0 and variance 1, then scaled and shifted elementwise.
#[derive(Module, Debug, Clone)]
pub struct LayerNorm {
    /// Of the normalised shape; starts at 1.
    pub weight: Param,
    /// Of the normalised shape; starts at 0.
    pub bias: Param,
    /// Added to the variance.
    pub eps: f64,
    shape: Shape,
}

impl LayerNorm {
    /// Over the last dimensions, which must have the given sizes; eps is 1e-5.
    ///
    /// # Errors
    /// `Shape` when no sizes are given.
    pub fn new(shape: impl Into<Sizes>) -> Result<Self> {
        let shape = shape.into().shape()?;
        if shape.is_empty() {
            return Err(Error::shape("LayerNorm: at least one size must be given"));
        }
        let weight = Param::new(&init::constant(shape, 1.0)?)?;
        let bias = Param::new(&init::constant(shape, 0.0)?)?;
        Ok(Self { weight, bias, eps: 1e-5, shape })
    }

    /// The same layer with another eps.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl Forward for LayerNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        Scope::of(self).gives(x.layer_norm(Some(&weight), Some(&bias), self.shape, self.eps))
    }
}
