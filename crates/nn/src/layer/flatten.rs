//! Flattening.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Forward, Module, Scope};

/// Dimensions `start..=end` merged into one.
#[derive(Module, Debug, Clone, Copy)]
pub struct Flatten {
    /// The first dimension merged; negative ones count from the end.
    pub start: i64,
    /// The last dimension merged.
    pub end: i64,
}

impl Flatten {
    /// All but the batch: dimensions 1 to the last.
    pub fn new() -> Self {
        Self { start: 1, end: -1 }
    }
}

impl Default for Flatten {
    fn default() -> Self {
        Self::new()
    }
}

impl Forward for Flatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(x.flatten(self.start, self.end))
    }
}
