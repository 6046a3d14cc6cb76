//! Flattening.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Module, Visitor};

/// Dimensions `start..=end` merged into one.
#[derive(Debug, Clone, Copy)]
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

impl Module for Flatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.flatten(self.start, self.end)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}
