//! Fully connected layers.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_tensor::{Error, Result};

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
        Ok(Self { weight: Param::new(&init::weight([outputs, inputs])?)?, bias: None })
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

/// `y_k = a W_k b^T + bias_k` of two inputs `[.., in1]` and `[.., in2]`, to `[.., out]`.
#[derive(Module, Debug, Clone)]
pub struct Bilinear {
    /// `[out, in1, in2]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
}

impl Bilinear {
    /// A layer with bias; weight and bias start uniform within `1 / sqrt(in1)`.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for sizes that do not fit.
    pub fn new(in1: usize, in2: usize, outputs: usize) -> Result<Self> {
        let weight = Param::new(&init::within([outputs, in1, in2], in1)?)?;
        Ok(Self { weight, bias: Some(Param::new(&init::bias(outputs, in1)?)?) })
    }

    /// Without a bias.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// The result for two inputs, which are of one shape but for the last dimension.
    ///
    /// # Errors
    /// `Shape` when they do not fit each other or the weight.
    #[track_caller]
    pub fn forward(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(self.products(a, b))
    }

    #[track_caller]
    fn products(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let w = self.weight.tensor();
        let misfit = || {
            let (a, b, w) = (a.shape(), b.shape(), w.shape());
            Error::shape(format!("bilinear: {a:?} and {b:?} do not fit a weight [out, in1, in2] of {w:?}"))
        };
        let (Some((&in1, lead)), Some((&in2, other))) = (a.shape().split_last(), b.shape().split_last()) else {
            return Err(misfit());
        };
        let &[outputs, w1, w2] = &w.shape()[..] else { return Err(misfit()) };
        if lead != other || in1 != w1 || in2 != w2 {
            return Err(misfit());
        }
        let rows: usize = lead.iter().product();
        // Every row of `a` through every W_k: [rows, in1] x [in1, out * in2], then times `b` for each k.
        let through = a.reshape([rows, in1])?.matmul(&w.permute([1, 0, 2])?.reshape([in1, outputs * in2])?)?;
        let y = through.reshape([rows, outputs, in2])?.matmul(&b.reshape([rows, in2, 1])?)?;
        let sizes: Vec<usize> = lead.iter().copied().chain([outputs]).collect();
        let y = y.reshape(&sizes[..])?;
        match &self.bias {
            Some(bias) => y.add(&bias.tensor()),
            None => Ok(y),
        }
    }
}
