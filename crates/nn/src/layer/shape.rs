//! Modules that only change shapes.

use esker_autograd::Tensor;
use esker_ops::{Ops, Sizes};
use esker_tensor::Result;

use crate::{Forward, Module, Scope};

/// The input as it is.
#[derive(Module, Debug, Clone, Copy, Default)]
pub struct Identity;

impl Forward for Identity {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(Ok(x.clone()))
    }
}

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

/// One dimension taken apart into several.
#[derive(Module, Debug, Clone, Copy)]
pub struct Unflatten {
    dim: i64,
    #[module(skip)]
    sizes: Sizes,
}

impl Unflatten {
    /// Dimension `dim` becomes these sizes, of which one may be -1.
    pub fn new(dim: i64, sizes: impl Into<Sizes>) -> Self {
        Self { dim, sizes: sizes.into() }
    }
}

impl Forward for Unflatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(x.unflatten(self.dim, self.sizes))
    }
}
