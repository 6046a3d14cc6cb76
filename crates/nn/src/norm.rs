//! Normalisation.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_tensor::{Error, Result};

use crate::{Module, Visitor, init};

/// Layer normalisation over the last dimensions, with weight and bias (Ba et al., arXiv 1607.06450).
pub struct LayerNorm {
    /// Sizes of the normalised dimensions.
    pub weight: Param,
    /// Sizes of the normalised dimensions.
    pub bias: Param,
    eps: f64,
}

impl LayerNorm {
    /// Over the last dimensions, which must have these sizes; epsilon 1e-5.
    ///
    /// # Errors
    /// `Shape` for a size that does not fit.
    pub fn new(shape: &[usize]) -> Result<Self> {
        Ok(Self { weight: init::constant(shape, 1.0)?, bias: init::constant(shape, 0.0)?, eps: 1e-5 })
    }

    /// Added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normalised = self.weight.shape();
        let lead = x.rank().checked_sub(normalised.len());
        let Some(lead) = lead.filter(|&l| x.shape()[l..] == normalised[..]) else {
            return Err(Error::shape(format!(
                "layer_norm: the last dimensions of {:?} must be {normalised:?}",
                x.shape()
            )));
        };
        let (w, b) = (self.weight.tensor(), self.bias.tensor());
        if normalised.len() == 1 {
            return x.layer_norm(&w, &b, self.eps);
        }
        let rows = x.flatten(lead as i64, -1)?;
        rows.layer_norm(&w.reshape([-1])?, &b.reshape([-1])?, self.eps)?.reshape(x.shape())
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("weight", &self.weight);
        v.param("bias", &self.bias);
    }
}
