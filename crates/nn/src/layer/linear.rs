//! Fully connected layers.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Forward, Module, Scope, init};

/// `y = x W^T + b` over the last dimension: `[.., in]` to `[.., out]`.
#[derive(Module, Debug, Clone)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
}

impl Linear {
    /// A layer with bias; weight and bias start uniform within `1 / sqrt(inputs)`.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for sizes that do not fit.
    pub fn new(inputs: usize, outputs: usize) -> Result<Self> {
        let mut layer = Self::without_bias(inputs, outputs)?;
        layer.bias = Some(Param::new(&init::bias(outputs, inputs)?)?);
        Ok(layer)
    }

    /// A layer without bias.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for sizes that do not fit.
    pub fn without_bias(inputs: usize, outputs: usize) -> Result<Self> {
        let weight = Param::new(&init::kaiming_uniform([outputs, inputs], 5f64.sqrt())?)?;
        Ok(Self { weight, bias: None })
    }

    /// A layer of given parameters, which it may share with others.
    pub fn of(weight: Param, bias: Option<Param>) -> Self {
        Self { weight, bias }
    }
}

impl Forward for Linear {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        Scope::of(self).gives(x.linear(&self.weight.tensor(), bias.as_ref()))
    }
}
