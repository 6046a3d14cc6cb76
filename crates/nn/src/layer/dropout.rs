//! Dropout.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;
use esker_tensor::philox::next_key;

use crate::{Forward, Mode, Module, Scope};

/// In training, zeroes elements with a probability and scales the rest by `1 / (1 - p)`; in evaluation, passes.
/// Each call draws a key from the thread's default generator; the mask follows from the key.
#[derive(Module, Debug, Clone)]
pub struct Dropout {
    /// The probability of zero.
    p: f64,
    mode: Mode,
}

impl Dropout {
    /// Zero with probability `p`, 0 to 1; the forward pass reports another.
    pub fn new(p: f64) -> Self {
        Self { p, mode: Mode::new() }
    }

    /// Whether it trains.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }
}

impl Forward for Dropout {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let scope = Scope::of(self);
        scope.gives(if self.mode.is_training() { x.dropout(self.p, true, next_key()) } else { Ok(x.clone()) })
    }
}
