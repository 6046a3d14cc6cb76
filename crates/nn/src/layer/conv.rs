//! Convolutions.

use esker_autograd::{Param, Tensor};
use esker_ops::{Ops, Padding};
use esker_tensor::{Error, Result};

use super::size::Size;
use crate::{Forward, Module, Scope, init};

/// Fails unless the groups divide both numbers of channels.
fn check_groups(layer: &str, inputs: usize, outputs: usize, groups: usize) -> Result<()> {
    if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        return Err(Error::shape(format!(
            "{layer}: {groups} groups do not divide {inputs} input and {outputs} output channels"
        )));
    }
    Ok(())
}

/// Weight of `[a, b, window..]` and bias of `outputs`, uniform within `1 / sqrt(b * window)`.
fn start<const N: usize>(a: usize, b: usize, kernel: Size<N>, outputs: usize) -> Result<(Param, Option<Param>)> {
    let shape: Vec<usize> = [a, b].into_iter().chain(kernel.0).collect();
    let bias = init::bias(outputs, init::fans(&shape[..])?.0)?;
    Ok((Param::new(&init::weight(&shape[..])?)?, Some(Param::new(&bias)?)))
}

macro_rules! convolutions {
    ($($(#[$doc:meta])* $Name:ident $method:ident $n:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone)]
        pub struct $Name {
            /// `[out, in / groups, window..]`.
            pub weight: Param,
            /// `[out]`.
            pub bias: Option<Param>,
            #[module(skip)]
            stride: Size<$n>,
            #[module(skip)]
            padding: Padding,
            #[module(skip)]
            dilation: Size<$n>,
            groups: i64,
        }

        impl $Name {
            /// A layer with bias, stride 1 and no padding; weight and bias start uniform within `1 / sqrt(fan_in)`.
            ///
            /// # Errors
            /// `OutOfMemory`, or `Shape` for sizes that do not fit.
            pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Size<$n>>) -> Result<Self> {
                Self::grouped(inputs, outputs, kernel, 1)
            }

            /// As `new`, in groups of channels that do not see each other.
            ///
            /// # Errors
            /// As `new`; `Shape` when the groups do not divide the channels.
            pub fn grouped(
                inputs: usize,
                outputs: usize,
                kernel: impl Into<Size<$n>>,
                groups: usize,
            ) -> Result<Self> {
                check_groups(stringify!($Name), inputs, outputs, groups)?;
                let (weight, bias) = start(outputs, inputs / groups, kernel.into(), outputs)?;
                let (stride, dilation) = (Size([1; $n]), Size([1; $n]));
                Ok(Self { weight, bias, stride, padding: Padding::Valid, dilation, groups: groups as i64 })
            }

            /// The step of the window.
            #[must_use]
            pub fn stride(mut self, stride: impl Into<Size<$n>>) -> Self {
                self.stride = stride.into();
                self
            }

            /// Zeros added on both sides.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<Size<$n>>) -> Self {
                self.padding = Padding::Sizes(padding.into().ints());
                self
            }

            /// So many zeros added that, with a stride of 1, the result is as large as the input.
            #[must_use]
            pub fn padding_same(mut self) -> Self {
                self.padding = Padding::Same;
                self
            }

            /// The distance between taps.
            #[must_use]
            pub fn dilation(mut self, dilation: impl Into<Size<$n>>) -> Self {
                self.dilation = dilation.into();
                self
            }

            /// Without a bias.
            #[must_use]
            pub fn without_bias(mut self) -> Self {
                self.bias = None;
                self
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let (weight, bias) = (self.weight.tensor(), self.bias.as_ref().map(Param::tensor));
                let (stride, dilation) = (self.stride.ints(), self.dilation.ints());
                let padding = self.padding.clone();
                let scope = Scope::of(self);
                scope.gives(x.$method(&weight, bias.as_ref(), stride, padding, dilation, self.groups))
            }
        }
    )*};
}

convolutions! {
    /// Convolution (cross-correlation, as in PyTorch) of `[n, in, l]` to `[n, out, l']`.
    Conv1d conv1d 1;
    /// Convolution (cross-correlation, as in PyTorch) of `[n, in, h, w]` to `[n, out, h', w']`.
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
    Conv2d conv2d 2;
    /// Convolution (cross-correlation, as in PyTorch) of `[n, in, d, h, w]` to `[n, out, d', h', w']`.
    Conv3d conv3d 3;
}

macro_rules! transposed {
    ($($(#[$doc:meta])* $Name:ident $method:ident $n:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone)]
        pub struct $Name {
            /// `[in, out / groups, window..]`.
            pub weight: Param,
            /// `[out]`.
            pub bias: Option<Param>,
            #[module(skip)]
            stride: Size<$n>,
            #[module(skip)]
            padding: Size<$n>,
            #[module(skip)]
            output_padding: Size<$n>,
            #[module(skip)]
            dilation: Size<$n>,
            groups: i64,
        }

        impl $Name {
            /// A layer with bias, stride 1 and no padding; starts as in PyTorch.
            ///
            /// # Errors
            /// `OutOfMemory`, or `Shape` for sizes that do not fit.
            pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Size<$n>>) -> Result<Self> {
                Self::grouped(inputs, outputs, kernel, 1)
            }

            /// As `new`, in groups of channels that do not see each other.
            ///
            /// # Errors
            /// As `new`; `Shape` when the groups do not divide the channels.
            pub fn grouped(
                inputs: usize,
                outputs: usize,
                kernel: impl Into<Size<$n>>,
                groups: usize,
            ) -> Result<Self> {
                check_groups(stringify!($Name), inputs, outputs, groups)?;
                let (weight, bias) = start(inputs, outputs / groups, kernel.into(), outputs)?;
                let (one, zero) = (Size([1; $n]), Size([0; $n]));
                let groups = groups as i64;
                Ok(Self { weight, bias, stride: one, padding: zero, output_padding: zero, dilation: one, groups })
            }

            /// The step of the window in the result.
            #[must_use]
            pub fn stride(mut self, stride: impl Into<Size<$n>>) -> Self {
                self.stride = stride.into();
                self
            }

            /// How much is cut off the result on both sides.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<Size<$n>>) -> Self {
                self.padding = padding.into();
                self
            }

            /// How much is added to the end of the result.
            #[must_use]
            pub fn output_padding(mut self, output_padding: impl Into<Size<$n>>) -> Self {
                self.output_padding = output_padding.into();
                self
            }

            /// The distance between taps.
            #[must_use]
            pub fn dilation(mut self, dilation: impl Into<Size<$n>>) -> Self {
                self.dilation = dilation.into();
                self
            }

            /// Without a bias.
            #[must_use]
            pub fn without_bias(mut self) -> Self {
                self.bias = None;
                self
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let (weight, bias) = (self.weight.tensor(), self.bias.as_ref().map(Param::tensor));
                let [stride, padding, output_padding, dilation] =
                    [self.stride, self.padding, self.output_padding, self.dilation].map(Size::ints);
                let scope = Scope::of(self);
                scope.gives(x.$method(&weight, bias.as_ref(), stride, padding, output_padding, self.groups, dilation))
            }
        }
    )*};
}

transposed! {
    /// Transposed convolution of `[n, in, l]` to `[n, out, l']`.
    ConvTranspose1d conv_transpose1d 1;
    /// Transposed convolution of `[n, in, h, w]` to `[n, out, h', w']`.
    ConvTranspose2d conv_transpose2d 2;
}
