//! Activations.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Forward, Module, Scope};

macro_rules! activations {
    ($($(#[$doc:meta])* $Name:ident $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone, Copy, Default)]
        pub struct $Name;

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Scope::of(self).gives(x.$method())
            }
        }
    )*};
}

activations! {
    /// `max(x, 0)`.
    ReLU relu;
    /// `x * Phi(x)`, the exact form.
    GELU gelu;
    /// Hyperbolic tangent.
    Tanh tanh;
    /// `1 / (1 + e^-x)`.
    Sigmoid sigmoid;
    /// `x * sigmoid(x)`.
    SiLU silu;
}

/// `exp(x) / sum(exp(x))` along a dimension.
#[derive(Module, Debug, Clone, Copy)]
pub struct Softmax(pub i64);

impl Softmax {
    /// Along `dim`, which may count from the end.
    pub fn new(dim: i64) -> Self {
        Self(dim)
    }
}

impl Forward for Softmax {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(x.softmax(self.0))
    }
}
