//! Dropout. Each call draws a key from the thread's default generator; the mask follows from the key.

use esker_autograd::Tensor;
use esker_ops::{Ops, Value};
use esker_tensor::philox::next_key;
use esker_tensor::{Error, Result};

use crate::{Forward, Mode, Module, Scope};

macro_rules! dropouts {
    ($($(#[$doc:meta])* $Name:ident $rule:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone)]
        pub struct $Name {
            p: f64,
            mode: Mode,
        }

        impl $Name {
            /// With probability `p`, 0 to 1; the forward pass reports another.
            pub fn new(p: f64) -> Self {
                Self { p, mode: Mode::new() }
            }

            /// Whether it trains.
            pub fn mode(&self) -> &Mode {
                &self.mode
            }
        }

        /// PyTorch's probability, 0.5.
        impl Default for $Name {
            fn default() -> Self {
                Self::new(0.5)
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let scope = Scope::of(self);
                scope.gives(if self.mode.is_training() { $rule(x, self.p) } else { Ok(x.clone()) })
            }
        }
    )*};
}

dropouts! {
    /// In training, zeroes elements with a probability and scales the rest by `1 / (1 - p)`; in evaluation, passes.
    Dropout elements;
    /// As [`Dropout`], for whole channels of `[n, c, l]` (or `[c, l]`).
    Dropout1d channels1;
    /// As [`Dropout`], for whole channels of `[n, c, h, w]` (or `[c, h, w]`).
    Dropout2d channels2;
    /// As [`Dropout`], for whole channels of `[n, c, d, h, w]` (or `[c, d, h, w]`).
    Dropout3d channels3;
    /// In training, moves elements to the lower end of [`SELU`](crate::SELU) with a probability, then scales and shifts so
    /// that mean and variance stay; in evaluation, passes.
    AlphaDropout alpha;
}

#[track_caller]
fn elements(x: &Tensor, p: f64) -> Result<Tensor> {
    x.dropout(p, true, next_key())
}

#[track_caller]
fn channels1(x: &Tensor, p: f64) -> Result<Tensor> {
    channels(x, p, 1)
}

#[track_caller]
fn channels2(x: &Tensor, p: f64) -> Result<Tensor> {
    channels(x, p, 2)
}

#[track_caller]
fn channels3(x: &Tensor, p: f64) -> Result<Tensor> {
    channels(x, p, 3)
}

#[track_caller]
fn channels(x: &Tensor, p: f64, places: usize) -> Result<Tensor> {
    let rank = x.rank();
    if rank != places + 1 && rank != places + 2 {
        return Err(Error::shape(format!(
            "dropout of channels needs {} or {} dimensions, got {:?}",
            places + 1,
            places + 2,
            x.shape()
        )));
    }
    let sizes: Vec<usize> = x.shape().iter().enumerate().map(|(d, &n)| if d + places < rank { n } else { 1 }).collect();
    x.mul(&Tensor::full(1.0, &sizes[..], x.dtype(), x.device())?.dropout(p, true, next_key())?)
}

#[track_caller]
fn alpha(x: &Tensor, p: f64) -> Result<Tensor> {
    // The lower end of SELU: -scale * alpha.
    const LOW: f64 = -1.7580993408473766;
    if !(0.0..1.0).contains(&p) {
        return if p == 1.0 {
            x.zeros_like(())
        } else {
            Err(Error::kernel(format!("alpha dropout: the probability must lie in 0..=1, got {p}")))
        };
    }
    let number = |value: f64| <Tensor as Value>::scalar(value, x.dtype(), x.device());
    // 1 where kept, else 0.
    let kept = x.ones_like(())?.dropout(p, true, next_key())?.mul(&number(1.0 - p)?)?;
    let scale = 1.0 / ((1.0 - p) * (1.0 + p * LOW * LOW)).sqrt();
    let moved = x.mul(&kept)?.add(&number(1.0)?.sub(&kept)?.mul(&number(LOW)?)?)?;
    moved.mul(&number(scale)?)?.add(&number(-scale * LOW * p)?)
}
