//! Modules without parameters.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;
use esker_tensor::philox::next_key;

use crate::{Mode, Module, Visitor};

macro_rules! activations {
    ($($(#[$doc:meta])* $Name:ident $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $Name;

        impl Module for $Name {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                x.$method()
            }
            fn visit(&self, _: &mut Visitor<'_>) {}
        }
    )*};
}

activations! {
    /// `max(x, 0)`.
    ReLU relu;
    /// `x * Phi(x)`.
    Gelu gelu;
    /// `x * sigmoid(x)`.
    Silu silu;
    /// Hyperbolic tangent.
    Tanh tanh;
    /// `1 / (1 + e^-x)`.
    Sigmoid sigmoid;
}

/// `exp(x) / sum(exp(x))` along a dimension.
#[derive(Clone, Copy, Debug)]
pub struct Softmax(pub i64);

impl Module for Softmax {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.softmax(self.0)
    }
    fn visit(&self, _: &mut Visitor<'_>) {}
}

/// Dimensions from `start` on merged into one; the default keeps the batch.
#[derive(Clone, Copy, Debug)]
pub struct Flatten {
    /// The first dimension merged.
    pub start: i64,
}

impl Default for Flatten {
    fn default() -> Self {
        Self { start: 1 }
    }
}

impl Module for Flatten {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.flatten(self.start, -1)
    }
    fn visit(&self, _: &mut Visitor<'_>) {}
}

/// Zeroes elements with probability `p` in training and scales the rest; passes its input on in evaluation.
#[derive(Debug)]
pub struct Dropout {
    p: f64,
    mode: Mode,
}

impl Dropout {
    /// With this probability of zero.
    pub fn new(p: f64) -> Self {
        Self { p, mode: Mode::default() }
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.mode.is_training() { x.dropout(self.p, next_key()) } else { Ok(x.clone()) }
    }
    fn visit(&self, v: &mut Visitor<'_>) {
        v.mode(&self.mode);
    }
}
