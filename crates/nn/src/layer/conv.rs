//! Convolution.

use esker_autograd::{Param, Tensor};
use esker_ops::{Ops, kernel};
use esker_tensor::{Error, Result};

use crate::{Forward, Module, Scope, init};

/// (height, width); one number stands for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(n: usize) -> Self {
        Self([n, n])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Self(pair)
    }
}

impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Self {
        Self([height, width])
    }
}

/// Two-dimensional convolution (cross-correlation, as in PyTorch): `[n, in, h, w]` to `[n, out, h', w']`.
///
/// ```
/// use esker_nn::Conv2d;
///
/// # fn main() -> esker_tensor::Result<()> {
/// let conv = Conv2d::new(3, 16, 3)?.padding(1).stride(2).without_bias();
/// assert_eq!(conv.weight.shape()[..], [16, 3, 3, 3]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug, Clone)]
pub struct Conv2d {
    /// `[out, in / groups, height, width]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    #[module(skip)]
    geometry: kernel::Conv2d,
}

impl Conv2d {
    /// A layer with bias, stride 1 and no padding; weight and bias start uniform within `1 / sqrt(fan_in)`.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for sizes that do not fit.
    pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Pair>) -> Result<Self> {
        Self::grouped(inputs, outputs, kernel, 1)
    }

    /// As [`Conv2d::new`], in groups of channels that do not see each other.
    ///
    /// # Errors
    /// As [`Conv2d::new`]; `Shape` when the groups do not divide the channels.
    pub fn grouped(inputs: usize, outputs: usize, kernel: impl Into<Pair>, groups: usize) -> Result<Self> {
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(Error::shape(format!(
                "Conv2d: {groups} groups do not divide {inputs} input and {outputs} output channels"
            )));
        }
        let [height, width] = kernel.into().0;
        let shape = [outputs, inputs / groups, height, width];
        let weight = Param::new(&init::weight(shape)?)?;
        let bias = Param::new(&init::bias(outputs, init::fans(shape)?.0)?)?;
        let geometry = kernel::Conv2d { groups, ..kernel::Conv2d::default() };
        Ok(Self { weight, bias: Some(bias), geometry })
    }

    /// The step of the window, in pixels.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.geometry.stride = stride.into().0;
        self
    }

    /// Zeros added on both sides, in pixels.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.geometry.padding = padding.into().0;
        self
    }

    /// The distance between taps, in pixels.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.geometry.dilation = dilation.into().0;
        self
    }

    /// Without a bias.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }
}

impl Forward for Conv2d {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(self.convolved(x))
    }
}

impl Conv2d {
    #[track_caller]
    fn convolved(&self, x: &Tensor) -> Result<Tensor> {
        let (g, bias) = (self.geometry, self.bias.as_ref().map(Param::tensor));
        let pair = |p: [usize; 2]| p.map(|n| n as i64);
        let (stride, padding, dilation) = (pair(g.stride), pair(g.padding), pair(g.dilation));
        x.conv2d(&self.weight.tensor(), bias.as_ref(), stride, padding, dilation, g.groups as i64)
    }
}
