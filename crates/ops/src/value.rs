//! What a gradient rule and a composition are written against: anything that has a [`Meta`] and can apply an [`Op`].

use esker_tensor::{DType, Device, Result, Shape};
use smallvec::SmallVec;

use crate::Op;

/// The results of an op; inline for the usual single output.
pub type Outs<T> = SmallVec<[T; 1]>;
/// The metas of an op's outputs.
pub type Metas = Outs<Meta>;

/// What is known of a tensor without its data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Meta {
    /// Element type.
    pub dtype: DType,
    /// Sizes.
    pub shape: Shape,
    /// Home.
    pub device: Device,
}

impl Meta {
    /// A meta from its parts.
    pub fn new(dtype: DType, shape: Shape, device: Device) -> Self {
        Self { dtype, shape, device }
    }

    /// The same dtype and device with another shape.
    pub fn with_shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// The same shape and device with another dtype.
    pub fn with_dtype(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }
}

/// A value that ops can be applied to: a tensor on the tape, a plain array, a node of a graph under construction.
///
/// Gradient rules and compositions are written once against this trait and serve all of them.
pub trait Value: Clone {
    /// Dtype, shape and device.
    fn meta(&self) -> Meta;

    /// Applies `op`: promotes dtypes, infers, then does whatever this kind of value does.
    ///
    /// # Errors
    /// Those of the op's rules and of its kernel, with the op's name in front.
    #[track_caller]
    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>>;

    /// A scalar constant of the given dtype and device.
    ///
    /// # Errors
    /// `OutOfMemory`.
    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self>;
}
