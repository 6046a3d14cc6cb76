//! Distances of vectors, and their rotation by position.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Module, Scope};

/// The cosine of the angle between vectors along a dimension.
#[derive(Module, Debug, Clone, Copy)]
pub struct CosineSimilarity {
    /// The dimension.
    pub dim: i64,
    /// The least product of lengths.
    pub eps: f64,
}

impl Default for CosineSimilarity {
    fn default() -> Self {
        Self { dim: 1, eps: 1e-8 }
    }
}

impl CosineSimilarity {
    /// The result for two tensors that broadcast.
    ///
    /// # Errors
    /// `Shape` when they do not.
    #[track_caller]
    pub fn forward(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(a.cosine_similarity(b, self.dim, self.eps))
    }
}

/// The length of `a - b + eps` over the last dimension.
#[derive(Module, Debug, Clone, Copy)]
pub struct PairwiseDistance {
    /// The norm.
    pub p: f64,
    /// Added to the difference.
    pub eps: f64,
    /// Whether the dimension stays, with size 1.
    pub keepdim: bool,
}

impl Default for PairwiseDistance {
    fn default() -> Self {
        Self { p: 2.0, eps: 1e-6, keepdim: false }
    }
}

impl PairwiseDistance {
    /// The result for two tensors that broadcast.
    ///
    /// # Errors
    /// `Shape` when they do not.
    #[track_caller]
    pub fn forward(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(a.pairwise_distance(b, self.p, self.eps, self.keepdim))
    }
}

/// Rotary position embedding (Su and others, "RoFormer", 2021) of queries and keys `[.., steps, d]`.
#[derive(Module, Debug, Clone, Copy)]
pub struct RotaryEmbedding {
    /// The base of the frequencies.
    pub base: f64,
    /// Whether pairs are `(2i, 2i + 1)` and not `(i, i + d/2)`.
    pub interleaved: bool,
}

impl Default for RotaryEmbedding {
    fn default() -> Self {
        Self { base: 10_000.0, interleaved: false }
    }
}

impl RotaryEmbedding {
    /// The result for steps of which `offset` came before.
    ///
    /// # Errors
    /// `Shape` when `d` is odd.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, offset: usize) -> Result<Tensor> {
        Scope::of(self).gives(x.rope(None, self.base, offset as i64, self.interleaved))
    }
}
