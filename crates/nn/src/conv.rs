//! Convolution and pooling in two dimensions, `[n, c, h, w]`.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_ops::kernel;
use esker_tensor::{Error, Result};

use crate::{Module, Visitor, init};

/// Two-dimensional convolution with bias, set up by chained calls:
/// `Conv2d::new(3, 16, 3)?.padding(1).stride(2)`.
pub struct Conv2d {
    /// `[out, in / groups, kernel, kernel]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    geometry: kernel::Conv2d,
}

impl Conv2d {
    /// A square window, stride 1, no padding; initialised as PyTorch's.
    ///
    /// # Errors
    /// `Shape` for a size that does not fit.
    pub fn new(inputs: usize, outputs: usize, window: usize) -> Result<Self> {
        Self::grouped(inputs, outputs, window, 1)
    }

    /// As [`Conv2d::new`] in groups: each output channel sees `inputs / groups` channels.
    ///
    /// # Errors
    /// `Shape` when the channels do not split into the groups.
    pub fn grouped(inputs: usize, outputs: usize, window: usize, groups: usize) -> Result<Self> {
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(Error::shape(format!("{inputs} and {outputs} channels do not split into {groups} groups")));
        }
        let shape = [outputs, inputs / groups, window, window];
        Ok(Self {
            weight: init::kaiming_uniform(&shape, 5f64.sqrt())?,
            bias: Some(init::bias(outputs, &shape)?),
            geometry: kernel::Conv2d { groups, ..kernel::Conv2d::default() },
        })
    }

    /// Zeros on each side.
    pub fn padding(mut self, padding: usize) -> Self {
        self.geometry.padding = [padding; 2];
        self
    }

    /// Step of the window.
    pub fn stride(mut self, stride: usize) -> Self {
        self.geometry.stride = [stride; 2];
        self
    }

    /// Distance between the window's taps.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.geometry.dilation = [dilation; 2];
        self
    }

    /// Without bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.conv2d(&self.weight.tensor(), self.geometry)?;
        match &self.bias {
            Some(bias) => y.add(&bias.tensor().reshape([1, -1, 1, 1])?),
            None => Ok(y),
        }
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("weight", &self.weight);
        if let Some(bias) = &self.bias {
            v.param("bias", bias);
        }
    }
}

/// The largest of each window.
pub struct MaxPool2d {
    geometry: kernel::Pool2d,
}

impl MaxPool2d {
    /// A square window that steps by its own size.
    pub fn new(window: usize) -> Self {
        Self { geometry: kernel::Pool2d::square(window) }
    }

    /// Step of the window.
    pub fn stride(mut self, stride: usize) -> Self {
        self.geometry.stride = [stride; 2];
        self
    }

    /// Padding on each side, which never wins.
    pub fn padding(mut self, padding: usize) -> Self {
        self.geometry.padding = [padding; 2];
        self
    }
}

impl Module for MaxPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.max_pool2d(self.geometry)?.0)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}
