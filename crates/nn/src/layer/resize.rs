//! Other sizes of the same picture.

use esker_autograd::Tensor;
use esker_ops::{Floats, Ints, Ops};
use esker_tensor::Result;

use super::size::Size;
use crate::{Forward, Module, Scope};

/// `[n, c, ..]` at another size: of `nearest` elements unless another mode is asked for.
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{Forward, Upsample};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let twice = Upsample::by(2.0).mode("bilinear");
/// assert_eq!(twice.forward(&Tensor::randn([1, 3, 4, 5])?)?.shape()[..], [1, 3, 8, 10]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug, Clone)]
pub struct Upsample {
    #[module(skip)]
    size: Option<Ints>,
    #[module(skip)]
    factor: Option<Floats>,
    mode: String,
    align_corners: Option<bool>,
}

impl Upsample {
    /// By a factor, or one for each dimension.
    pub fn by(factor: impl Into<Floats>) -> Self {
        Self { size: None, factor: Some(factor.into()), mode: "nearest".into(), align_corners: None }
    }

    /// To a size, or one for each dimension.
    pub fn to(size: impl Into<Ints>) -> Self {
        Self { size: Some(size.into()), factor: None, mode: "nearest".into(), align_corners: None }
    }

    /// With another mode: `nearest-exact`, `linear`, `bilinear`, `trilinear` or `area`.
    #[must_use]
    pub fn mode(mut self, mode: impl Into<String>) -> Self {
        self.mode = mode.into();
        self
    }

    /// With the corners of input and result in the same place.
    #[must_use]
    pub fn align_corners(mut self) -> Self {
        self.align_corners = Some(true);
        self
    }
}

impl Forward for Upsample {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (size, factor) = (self.size.clone(), self.factor.clone());
        let scope = Scope::of(self);
        scope.gives(x.interpolate(size, factor, self.mode.as_str(), self.align_corners, (), false))
    }
}

macro_rules! shuffles {
    ($($(#[$doc:meta])* $Name:ident $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone, Copy)]
        pub struct $Name {
            factor: i64,
        }

        impl $Name {
            /// By this factor.
            pub fn new(factor: i64) -> Self {
                Self { factor }
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Scope::of(self).gives(x.$method(self.factor))
            }
        }
    )*};
}

shuffles! {
    /// `[.., c r^2, h, w]` as `[.., c, h r, w r]`.
    PixelShuffle pixel_shuffle;
    /// `[.., c, h r, w r]` as `[.., c r^2, h, w]`.
    PixelUnshuffle pixel_unshuffle;
}

macro_rules! adaptive_pools {
    ($($(#[$doc:meta])* $Name:ident $method:ident $n:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone, Copy)]
        pub struct $Name {
            #[module(skip)]
            size: Size<$n>,
        }

        impl $Name {
            /// To this size.
            pub fn new(size: impl Into<Size<$n>>) -> Self {
                Self { size: size.into() }
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Scope::of(self).gives(x.$method(self.size.ints()))
            }
        }
    )*};
}

adaptive_pools! {
    /// Means of as many windows of `[n, c, l]` as asked for.
    AdaptiveAvgPool1d adaptive_avg_pool1d 1;
    /// Means of as many windows of `[n, c, h, w]` as asked for.
    AdaptiveAvgPool2d adaptive_avg_pool2d 2;
    /// The largest of as many windows of `[n, c, l]` as asked for.
    AdaptiveMaxPool1d adaptive_max_pool1d 1;
    /// The largest of as many windows of `[n, c, h, w]` as asked for.
    AdaptiveMaxPool2d adaptive_max_pool2d 2;
}
