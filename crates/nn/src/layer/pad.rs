//! Padding.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{Forward, Module, Scope};

/// Amounts on both sides of the last `N` dimensions: one number for all, or two for each dimension, from the last on
/// (left, right, top, bottom, front, back), as in PyTorch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides(Vec<i64>);

impl From<i64> for Sides {
    fn from(all: i64) -> Self {
        Self(vec![all])
    }
}

impl<const N: usize> From<[i64; N]> for Sides {
    fn from(sides: [i64; N]) -> Self {
        Self(sides.to_vec())
    }
}

impl Sides {
    /// Two amounts for each of so many dimensions.
    fn each(self, places: usize) -> Vec<i64> {
        match self.0[..] {
            [all] => vec![all; 2 * places],
            _ => self.0,
        }
    }
}

macro_rules! pads {
    ($($(#[$doc:meta])* $Name:ident $places:literal $mode:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone)]
        pub struct $Name {
            #[module(skip)]
            sides: Vec<i64>,
        }

        impl $Name {
            /// With these amounts; negative ones cut off.
            pub fn new(sides: impl Into<Sides>) -> Self {
                Self { sides: sides.into().each($places) }
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Scope::of(self).gives(x.pad(&self.sides[..], $mode, ()))
            }
        }
    )*};
}

pads! {
    /// Zeros around the last dimension.
    ZeroPad1d 1 "constant";
    /// Zeros around the last two dimensions.
    ZeroPad2d 2 "constant";
    /// Zeros around the last three dimensions.
    ZeroPad3d 3 "constant";
    /// The last dimension mirrored at its ends, which are not repeated.
    ReflectionPad1d 1 "reflect";
    /// The last two dimensions mirrored at their ends, which are not repeated.
    ReflectionPad2d 2 "reflect";
    /// The last three dimensions mirrored at their ends, which are not repeated.
    ReflectionPad3d 3 "reflect";
    /// The ends of the last dimension repeated.
    ReplicationPad1d 1 "replicate";
    /// The ends of the last two dimensions repeated.
    ReplicationPad2d 2 "replicate";
    /// The ends of the last three dimensions repeated.
    ReplicationPad3d 3 "replicate";
    /// The last dimension repeated from its other end.
    CircularPad1d 1 "circular";
    /// The last two dimensions repeated from their other ends.
    CircularPad2d 2 "circular";
    /// The last three dimensions repeated from their other ends.
    CircularPad3d 3 "circular";
}

macro_rules! constants {
    ($($(#[$doc:meta])* $Name:ident $places:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug, Clone)]
        pub struct $Name {
            #[module(skip)]
            sides: Vec<i64>,
            value: f64,
        }

        impl $Name {
            /// With these amounts of this value; negative amounts cut off.
            pub fn new(sides: impl Into<Sides>, value: f64) -> Self {
                Self { sides: sides.into().each($places), value }
            }
        }

        impl Forward for $Name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Scope::of(self).gives(x.pad(&self.sides[..], "constant", self.value))
            }
        }
    )*};
}

constants! {
    /// One value around the last dimension.
    ConstantPad1d 1;
    /// One value around the last two dimensions.
    ConstantPad2d 2;
    /// One value around the last three dimensions.
    ConstantPad3d 3;
}
