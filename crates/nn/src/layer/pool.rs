//! Pooling.

use esker_autograd::Tensor;
use esker_ops::{Ops, kernel};
use esker_tensor::Result;

use crate::{Forward, Module, Pair, Scope, Visitor};

/// The largest in each window: `[n, c, h, w]` to `[n, c, h', w']`.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool2d(pub kernel::Pool2d);

impl MaxPool2d {
    /// Windows that lie side by side (stride as large as the window).
    pub fn new(kernel: impl Into<Pair>) -> Self {
        let kernel = kernel.into().0;
        Self(kernel::Pool2d { kernel, stride: kernel, padding: [0, 0], dilation: [1, 1], ceil: false })
    }

    /// The step of the window, in pixels.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.0.stride = stride.into().0;
        self
    }

    /// Padding on both sides (of minus infinity), in pixels; at most half the window.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.0.padding = padding.into().0;
        self
    }

    /// The distance between the elements of a window, in pixels.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.0.dilation = dilation.into().0;
        self
    }
}

impl Module for MaxPool2d {
    fn visit(&self, _: &mut Visitor<'_>) {}
}

impl Forward for MaxPool2d {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (pool, pair) = (self.0, |p: [usize; 2]| p.map(|n| n as i64));
        let (kernel, stride, padding) = (pair(pool.kernel), pair(pool.stride), pair(pool.padding));
        Scope::of(self).gives(x.max_pool2d(kernel, stride, padding, pair(pool.dilation), pool.ceil))
    }
}
