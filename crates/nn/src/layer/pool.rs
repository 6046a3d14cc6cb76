//! Pooling.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use super::size::Size;
use crate::{Forward, Module, Scope};

macro_rules! max_pools {
    ($($(#[$doc:meta])* $Name:ident $method:ident $n:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone, Copy)]
        pub struct $Name {
            #[module(skip)]
            kernel: Size<$n>,
            #[module(skip)]
            stride: Size<$n>,
            #[module(skip)]
            padding: Size<$n>,
            #[module(skip)]
            dilation: Size<$n>,
            ceil_mode: bool,
        }

        impl $Name {
            /// Windows that lie side by side (stride as large as the window).
            pub fn new(kernel: impl Into<Size<$n>>) -> Self {
                let kernel = kernel.into();
                Self { kernel, stride: kernel, padding: Size([0; $n]), dilation: Size([1; $n]), ceil_mode: false }
            }

            /// The step of the window.
            #[must_use]
            pub fn stride(mut self, stride: impl Into<Size<$n>>) -> Self {
                self.stride = stride.into();
                self
            }

            /// Padding on both sides (of minus infinity); at most half the window.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<Size<$n>>) -> Self {
                self.padding = padding.into();
                self
            }

            /// The distance between the elements of a window.
            #[must_use]
            pub fn dilation(mut self, dilation: impl Into<Size<$n>>) -> Self {
                self.dilation = dilation.into();
                self
            }

            /// With a last window that may reach beyond the end.
            #[must_use]
            pub fn ceil_mode(mut self) -> Self {
                self.ceil_mode = true;
                self
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let [kernel, stride, padding, dilation] =
                    [self.kernel, self.stride, self.padding, self.dilation].map(Size::ints);
                Scope::of(self).gives(x.$method(kernel, Some(stride), padding, dilation, self.ceil_mode))
            }
        }
    )*};
}

max_pools! {
    /// The largest in each window: `[n, c, l]` to `[n, c, l']`.
    MaxPool1d max_pool1d 1;
    /// The largest in each window: `[n, c, h, w]` to `[n, c, h', w']`.
    MaxPool2d max_pool2d 2;
}

macro_rules! avg_pools {
    ($($(#[$doc:meta])* $Name:ident $method:ident $n:literal ($($extra:ident),*);)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone, Copy)]
        pub struct $Name {
            #[module(skip)]
            kernel: Size<$n>,
            #[module(skip)]
            stride: Size<$n>,
            #[module(skip)]
            padding: Size<$n>,
            ceil_mode: bool,
            count_include_pad: bool,
            $($extra: Option<i64>,)*
        }

        impl $Name {
            /// Windows that lie side by side (stride as large as the window).
            pub fn new(kernel: impl Into<Size<$n>>) -> Self {
                let (kernel, padding) = (kernel.into(), Size([0; $n]));
                Self { kernel, stride: kernel, padding, ceil_mode: false, count_include_pad: true, $($extra: None)* }
            }

            /// The step of the window.
            #[must_use]
            pub fn stride(mut self, stride: impl Into<Size<$n>>) -> Self {
                self.stride = stride.into();
                self
            }

            /// Zeros on both sides; at most half the window.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<Size<$n>>) -> Self {
                self.padding = padding.into();
                self
            }

            /// With a last window that may reach beyond the end.
            #[must_use]
            pub fn ceil_mode(mut self) -> Self {
                self.ceil_mode = true;
                self
            }

            /// With padding left out of the mean.
            #[must_use]
            pub fn without_padding_in_the_mean(mut self) -> Self {
                self.count_include_pad = false;
                self
            }

            $(
                /// With this divisor in place of the window's size.
                #[must_use]
                pub fn $extra(mut self, divisor: i64) -> Self {
                    self.$extra = Some(divisor);
                    self
                }
            )*
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let [kernel, stride, padding] = [self.kernel, self.stride, self.padding].map(Size::ints);
                let (ceil, count) = (self.ceil_mode, self.count_include_pad);
                Scope::of(self).gives(x.$method(kernel, Some(stride), padding, ceil, count $(, self.$extra)*))
            }
        }
    )*};
}

avg_pools! {
    /// The mean of each window: `[n, c, l]` to `[n, c, l']`.
    AvgPool1d avg_pool1d 1 ();
    /// The mean of each window: `[n, c, h, w]` to `[n, c, h', w']`.
    AvgPool2d avg_pool2d 2 (divisor_override);
}
