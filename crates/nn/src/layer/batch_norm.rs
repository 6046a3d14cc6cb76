//! Normalisation of channels over the batch, with running statistics for evaluation.

use esker_autograd::{Param, Tensor};
use esker_ops::{Ops, Value};
use esker_tensor::{Device, Error, Result};

use crate::{Buffer, Forward, Mode, Module, Scope, init};

/// What the three layers share.
#[derive(Debug, Clone)]
struct Settings {
    eps: f64,
    momentum: Option<f64>,
}

/// The running statistics.
#[derive(Debug, Clone)]
struct Running {
    mean: Buffer,
    var: Buffer,
    batches: Buffer,
}

impl Running {
    fn new(channels: usize) -> Result<Self> {
        Ok(Self {
            mean: Buffer::new(&init::zeros([channels])?),
            var: Buffer::new(&init::ones([channels])?),
            batches: Buffer::new(&Tensor::from_scalar(0i64)?),
        })
    }

    /// Moves towards a batch's mean and variance, by `momentum` of the way, or to the mean of all batches.
    fn follow(&self, mean: &Tensor, var: &Tensor, values: usize, momentum: Option<f64>) -> Result<()> {
        let batches = self.batches.tensor().item()? + 1.0;
        self.batches.set(&Tensor::from_scalar(batches as i64)?)?;
        let share = momentum.unwrap_or(1.0 / batches);
        let blend = |buffer: &Buffer, new: &Tensor, factor: f64| {
            let old = buffer.tensor();
            let number = |value: f64| <Tensor as Value>::scalar(value, old.dtype(), old.device());
            let new = new.detach().cast(old.dtype())?.mul(&number(share * factor)?)?;
            buffer.set(&old.mul(&number(1.0 - share)?)?.add(&new)?)
        };
        blend(&self.mean, mean, 1.0)?;
        blend(&self.var, var, values as f64 / (values as f64 - 1.0))
    }
}

macro_rules! batch_norms {
    ($($(#[$doc:meta])* $Name:ident $ranks:pat, $needed:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $Name {
            /// `[channels]`; starts at 1.
            pub weight: Option<Param>,
            /// `[channels]`; starts at 0.
            pub bias: Option<Param>,
            running: Option<Running>,
            settings: Settings,
            mode: Mode,
        }

        impl $Name {
            /// Eps 1e-5, momentum 0.1, weight and bias, running statistics.
            ///
            /// # Errors
            /// `OutOfMemory`.
            pub fn new(channels: usize) -> Result<Self> {
                Ok(Self {
                    weight: Some(Param::new(&init::ones([channels])?)?),
                    bias: Some(Param::new(&init::zeros([channels])?)?),
                    running: Some(Running::new(channels)?),
                    settings: Settings { eps: 1e-5, momentum: Some(0.1) },
                    mode: Mode::new(),
                })
            }

            /// With another number added to the variance.
            #[must_use]
            pub fn eps(mut self, eps: f64) -> Self {
                self.settings.eps = eps;
                self
            }

            /// With another share of each batch in the running statistics; `None` makes them the mean of all batches.
            #[must_use]
            pub fn momentum(mut self, momentum: Option<f64>) -> Self {
                self.settings.momentum = momentum;
                self
            }

            /// Without weight and bias.
            #[must_use]
            pub fn without_affine(mut self) -> Self {
                (self.weight, self.bias) = (None, None);
                self
            }

            /// Without running statistics: evaluation takes the batch's own, too.
            #[must_use]
            pub fn without_running_stats(mut self) -> Self {
                self.running = None;
                self
            }

            /// The running mean and variance.
            pub fn running_stats(&self) -> Option<(Tensor, Tensor)> {
                self.running.as_ref().map(|r| (r.mean.tensor(), r.var.tensor()))
            }

            #[track_caller]
            fn normalised(&self, x: &Tensor) -> Result<Tensor> {
                if !matches!(x.rank(), $ranks) {
                    return Err(Error::shape(format!(
                        concat!(stringify!($Name), ": the input must be ", $needed, ", got {:?}"),
                        x.shape()
                    )));
                }
                let [weight, bias] = [&self.weight, &self.bias].map(|p| p.as_ref().map(Param::tensor));
                let eps = self.settings.eps;
                match &self.running {
                    Some(running) if self.mode.is_training() => {
                        let (y, mean, var) = x.batch_norm_train(weight.as_ref(), bias.as_ref(), eps)?;
                        if x.device() != Device::Meta {
                            let values = x.numel() / x.size(1)?.max(1);
                            running.follow(&mean, &var, values, self.settings.momentum)?;
                        }
                        Ok(y)
                    }
                    Some(r) => {
                        let (mean, var) = (r.mean.tensor(), r.var.tensor());
                        x.batch_norm(Some(&mean), Some(&var), weight.as_ref(), bias.as_ref(), false, 0.0, eps)
                    }
                    None => x.batch_norm(None, None, weight.as_ref(), bias.as_ref(), true, 0.0, eps),
                }
            }
        }

        impl Module for $Name {
            fn visit(&self, v: &mut crate::Visitor<'_>) {
                self.weight.iter().for_each(|p| v.param("weight", p));
                self.bias.iter().for_each(|p| v.param("bias", p));
                if let Some(running) = &self.running {
                    v.buffer("running_mean", &running.mean);
                    v.buffer("running_var", &running.var);
                    v.buffer("num_batches_tracked", &running.batches);
                }
                v.mode(&self.mode);
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

batch_norms! {
    /// Each channel of `[n, c]` or `[n, c, l]` to mean 0 and variance 1 over the batch, then scaled and shifted. Evaluation takes
    /// the running statistics.
    BatchNorm1d 2 | 3, "[n, c] or [n, c, l]";
    /// As [`BatchNorm1d`], for `[n, c, h, w]`.
    ///
    /// ```
    /// use esker_autograd::Tensor;
    /// use esker_nn::{BatchNorm2d, Forward, ModuleExt};
    ///
    /// # fn main() -> esker_tensor::Result<()> {
    /// let norm = BatchNorm2d::new(3)?;
    /// norm.forward(&Tensor::randn([4, 3, 2, 2])?)?; // Moves the running statistics.
    /// norm.eval();
    /// let names: Vec<String> = norm.state_dict().into_keys().collect();
    /// assert_eq!(names, ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"]);
    /// # Ok(())
    /// # }
    /// ```
    BatchNorm2d 4, "[n, c, h, w]";
    /// As [`BatchNorm1d`], for `[n, c, d, h, w]`.
    BatchNorm3d 5, "[n, c, d, h, w]";
}
