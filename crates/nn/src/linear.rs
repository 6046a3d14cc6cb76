//! Affine layers.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Module, Visitor, init};

/// `y = x W^T + b`: `[.., in]` to `[.., out]`.
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
}

impl Linear {
    /// A layer with bias, initialised as PyTorch's.
    ///
    /// # Errors
    /// `Shape` for a size that does not fit.
    pub fn new(inputs: usize, outputs: usize) -> Result<Self> {
        let bias = init::bias(outputs, &[outputs, inputs]);
        Ok(Self { bias: Some(bias?), ..Self::without_bias(inputs, outputs)? })
    }

    /// A layer without bias.
    ///
    /// # Errors
    /// `Shape` for a size that does not fit.
    pub fn without_bias(inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self { weight: init::kaiming_uniform(&[outputs, inputs], 5f64.sqrt())?, bias: None })
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.tensor().t()?)?;
        match &self.bias {
            Some(bias) => y.add(&bias.tensor()),
            None => Ok(y),
        }
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("weight", &self.weight);
        if let Some(bias) = &self.bias {
            v.param("bias", bias);
        }
    }
}
