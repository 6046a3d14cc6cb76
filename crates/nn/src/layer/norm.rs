//! Normalisation within each sample.

use esker_autograd::{Param, Tensor};
use esker_ops::{Ops, Sizes};
use esker_tensor::{Error, Result, Shape};

use crate::{Forward, Module, Scope, init};

/// A shape of at least one dimension.
fn normalised_shape(layer: &str, shape: Sizes) -> Result<Shape> {
    let shape = shape.shape()?;
    if shape.is_empty() {
        return Err(Error::shape(format!("{layer}: at least one size must be given")));
    }
    Ok(shape)
}

/// The last dimensions to mean 0 and variance 1, then scaled and shifted elementwise.
#[derive(Module, Debug, Clone)]
pub struct LayerNorm {
    /// Of the normalised shape; starts at 1.
    pub weight: Option<Param>,
    /// Of the normalised shape; starts at 0.
    pub bias: Option<Param>,
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
        let shape = normalised_shape("LayerNorm", shape.into())?;
        let weight = Some(Param::new(&init::ones(shape)?)?);
        Ok(Self { weight, bias: Some(Param::new(&init::zeros(shape)?)?), eps: 1e-5, shape })
    }

    /// The same layer with another eps.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Without a bias.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// Without weight and bias.
    #[must_use]
    pub fn without_affine(mut self) -> Self {
        (self.weight, self.bias) = (None, None);
        self
    }
}

impl Forward for LayerNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [weight, bias] = [&self.weight, &self.bias].map(|p| p.as_ref().map(Param::tensor));
        Scope::of(self).gives(x.layer_norm(weight.as_ref(), bias.as_ref(), self.shape, self.eps))
    }
}

/// The last dimensions divided by the root of their mean square, then scaled elementwise.
#[derive(Module, Debug, Clone)]
pub struct RMSNorm {
    /// Of the normalised shape; starts at 1.
    pub weight: Option<Param>,
    /// Added to the mean square; that of the input's dtype where absent.
    pub eps: Option<f64>,
    shape: Shape,
}

impl RMSNorm {
    /// Over the last dimensions, which must have the given sizes.
    ///
    /// # Errors
    /// `Shape` when no sizes are given.
    pub fn new(shape: impl Into<Sizes>) -> Result<Self> {
        let shape = normalised_shape("RMSNorm", shape.into())?;
        Ok(Self { weight: Some(Param::new(&init::ones(shape)?)?), eps: None, shape })
    }

    /// The same layer with an eps.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = Some(eps);
        self
    }

    /// Without a weight.
    #[must_use]
    pub fn without_affine(mut self) -> Self {
        self.weight = None;
        self
    }
}

impl Forward for RMSNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.as_ref().map(Param::tensor);
        Scope::of(self).gives(x.rms_norm(weight.as_ref(), self.shape, self.eps))
    }
}

/// Each group of channels of `[n, c, ..]` to mean 0 and variance 1, then scaled and shifted by channel.
#[derive(Module, Debug, Clone)]
pub struct GroupNorm {
    /// `[channels]`; starts at 1.
    pub weight: Option<Param>,
    /// `[channels]`; starts at 0.
    pub bias: Option<Param>,
    /// Added to the variance.
    pub eps: f64,
    groups: i64,
}

impl GroupNorm {
    /// `channels` in so many groups; eps is 1e-5.
    ///
    /// # Errors
    /// `Shape` when the groups do not divide the channels.
    pub fn new(groups: usize, channels: usize) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::shape(format!("GroupNorm: {groups} groups do not divide {channels} channels")));
        }
        Ok(Self {
            weight: Some(Param::new(&init::ones([channels])?)?),
            bias: Some(Param::new(&init::zeros([channels])?)?),
            eps: 1e-5,
            groups: groups as i64,
        })
    }

    /// The same layer with another eps.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Without weight and bias.
    #[must_use]
    pub fn without_affine(mut self) -> Self {
        (self.weight, self.bias) = (None, None);
        self
    }
}

impl Forward for GroupNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [weight, bias] = [&self.weight, &self.bias].map(|p| p.as_ref().map(Param::tensor));
        Scope::of(self).gives(x.group_norm(weight.as_ref(), bias.as_ref(), self.groups, self.eps))
    }
}

macro_rules! instance_norms {
    ($($(#[$doc:meta])* $Name:ident $places:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone)]
        pub struct $Name {
            /// `[channels]`, starts at 1; absent unless asked for.
            pub weight: Option<Param>,
            /// `[channels]`, starts at 0; absent unless asked for.
            pub bias: Option<Param>,
            /// Added to the variance.
            pub eps: f64,
            channels: usize,
        }

        impl $Name {
            /// Without weight and bias; eps is 1e-5.
            pub fn new(channels: usize) -> Self {
                Self { weight: None, bias: None, eps: 1e-5, channels }
            }

            /// With weight and bias.
            ///
            /// # Errors
            /// `OutOfMemory`.
            pub fn affine(mut self) -> Result<Self> {
                self.weight = Some(Param::new(&init::ones([self.channels])?)?);
                self.bias = Some(Param::new(&init::zeros([self.channels])?)?);
                Ok(self)
            }

            /// The same layer with another eps.
            #[must_use]
            pub fn eps(mut self, eps: f64) -> Self {
                self.eps = eps;
                self
            }

            #[track_caller]
            fn normalised(&self, x: &Tensor) -> Result<Tensor> {
                if x.rank() == $places + 1 {
                    return self.normalised(&x.unsqueeze(0)?)?.squeeze(0);
                }
                if x.rank() != $places + 2 || x.size(1)? != self.channels {
                    return Err(Error::shape(format!(
                        concat!(stringify!($Name), ": the input must have {} or {} dimensions and {} channels, got {:?}"),
                        $places + 1, $places + 2, self.channels, x.shape()
                    )));
                }
                let [weight, bias] = [&self.weight, &self.bias].map(|p| p.as_ref().map(Param::tensor));
                x.instance_norm(None, None, weight.as_ref(), bias.as_ref(), true, 0.1, self.eps)
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Scope::of(self).gives(self.normalised(x))
            }
        }
    )*};
}

instance_norms! {
    /// Each channel of each sample of `[n, c, l]` to mean 0 and variance 1.
    InstanceNorm1d 1;
    /// Each channel of each sample of `[n, c, h, w]` to mean 0 and variance 1.
    InstanceNorm2d 2;
    /// Each channel of each sample of `[n, c, d, h, w]` to mean 0 and variance 1.
    InstanceNorm3d 3;
}

/// `x / (k + alpha * mean(x^2))^beta`, the mean being over `size` channels around each.
#[derive(Module, Debug, Clone, Copy)]
pub struct LocalResponseNorm {
    /// The number of channels.
    pub size: i64,
    /// The factor of the mean square.
    pub alpha: f64,
    /// The power.
    pub beta: f64,
    /// What is added to it.
    pub k: f64,
}

impl LocalResponseNorm {
    /// With PyTorch's alpha 1e-4, beta 0.75 and k 1.
    pub fn new(size: i64) -> Self {
        Self { size, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

impl Forward for LocalResponseNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(x.local_response_norm(self.size, self.alpha, self.beta, self.k))
    }
}
