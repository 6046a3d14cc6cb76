//! Activations.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Module, Visitor};

macro_rules! activations {
    ($($(#[$doc:meta])* $Name:ident $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $Name;

        impl Module for $Name {
            #[track_caller]
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
    /// `x * Phi(x)`, the exact form.
    Gelu gelu;
    /// Hyperbolic tangent.
    Tanh tanh;
    /// `1 / (1 + e^-x)`.
    Sigmoid sigmoid;
    /// `x * sigmoid(x)`.
    Silu silu;
}

/// `exp(x) / sum(exp(x))` along a dimension.
#[derive(Debug, Clone, Copy)]
pub struct Softmax(pub i64);

impl Softmax {
    /// Along `dim`, which may count from the end.
    pub fn new(dim: i64) -> Self {
        Self(dim)
    }
}

impl Module for Softmax {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.softmax(self.0)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}
