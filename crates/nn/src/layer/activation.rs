//! Activations, with the names and defaults of `torch.nn`.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Forward, Module, Scope, init};

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
    /// `min(max(x, 0), 6)`.
    ReLU6 relu6;
    /// `x * Phi(x)`, the exact form.
    GELU gelu;
    /// The approximation of [`GELU`] by a hyperbolic tangent: PyTorch's `GELU(approximate="tanh")`.
    GELUTanh gelu_tanh;
    /// The self-normalising unit.
    SELU selu;
    /// `x * sigmoid(x)`.
    SiLU silu;
    /// `x * tanh(softplus(x))`.
    Mish mish;
    /// Hyperbolic tangent.
    Tanh tanh;
    /// `x - tanh(x)`.
    Tanhshrink tanhshrink;
    /// `1 / (1 + e^-x)`.
    Sigmoid sigmoid;
    /// `log(sigmoid(x))`.
    LogSigmoid logsigmoid;
    /// `x / (1 + |x|)`.
    Softsign softsign;
    /// `relu6(x + 3) / 6`.
    Hardsigmoid hardsigmoid;
    /// `x * relu6(x + 3) / 6`.
    Hardswish hardswish;
}

macro_rules! activations_with {
    ($($(#[$doc:meta])* $Name:ident $method:ident ($($field:ident : $T:ty = $default:expr, $what:literal);+);)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone, Copy)]
        pub struct $Name {
            $(#[doc = $what] pub $field: $T,)+
        }

        impl $Name {
            /// With these settings; `default()` has PyTorch's.
            pub fn new($($field: $T),+) -> Self {
                Self { $($field),+ }
            }
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Scope::of(self).gives(x.$method($(self.$field),+))
            }
        }
    )*};
}

activations_with! {
    /// `x` where positive, else `negative_slope * x`.
    LeakyReLU leaky_relu (negative_slope: f64 = 0.01, "The slope below 0.");
    /// `x` where positive, else `alpha * (e^x - 1)`.
    ELU elu (alpha: f64 = 1.0, "How far below 0 it goes.");
    /// `max(x, 0) + min(0, alpha * (e^(x / alpha) - 1))`.
    CELU celu (alpha: f64 = 1.0, "How far below 0 it goes.");
    /// `log(1 + e^(beta x)) / beta`, and `x` itself above `threshold / beta`.
    Softplus softplus (beta: f64 = 1.0, "How sharp the bend is."; threshold: f64 = 20.0, "Where it becomes a line.");
    /// `x` where further from 0 than `lambd`, else 0.
    Hardshrink hardshrink (lambd: f64 = 0.5, "The distance from 0.");
    /// `x` moved towards 0 by `lambd`, 0 where nearer.
    Softshrink softshrink (lambd: f64 = 0.5, "The distance from 0.");
    /// `x` between two ends.
    Hardtanh hardtanh (min_val: f64 = -1.0, "The lower end."; max_val: f64 = 1.0, "The upper end.");
    /// `x` where above `threshold`, else `value`.
    Threshold threshold (threshold: f64 = 0.0, "The largest input replaced."; value: f64 = 0.0, "What replaces it.");
    /// The first half along a dimension times the sigmoid of the second.
    GLU glu (dim: i64 = -1, "The dimension halved.");
    /// `exp(x) / sum(exp(x))` along a dimension.
    Softmax softmax (dim: i64 = -1, "The dimension.");
    /// `log(softmax(x))` along a dimension.
    LogSoftmax log_softmax (dim: i64 = -1, "The dimension.");
}

/// `softmax(-x)` along a dimension.
#[derive(Module, Debug, Clone, Copy)]
pub struct Softmin {
    /// The dimension.
    pub dim: i64,
}

impl Softmin {
    /// Along this dimension.
    pub fn new(dim: i64) -> Self {
        Self { dim }
    }
}

impl Forward for Softmin {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(x.neg().and_then(|x| x.softmax(self.dim)))
    }
}

/// `x` where positive, else a learnt `weight * x`: one weight, or one for each channel (dimension 1).
#[derive(Module, Debug, Clone)]
pub struct PReLU {
    /// `[1]` or `[channels]`; starts at 0.25.
    pub weight: Param,
}

impl PReLU {
    /// With so many weights: 1, or one for each channel.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn new(num_parameters: usize) -> Result<Self> {
        Ok(Self { weight: Param::new(&init::constant([num_parameters], 0.25)?)? })
    }
}

impl Forward for PReLU {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(x.prelu(&self.weight.tensor()))
    }
}
