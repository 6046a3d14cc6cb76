//! What a gradient rule and a composition are written against: anything that has a [`Meta`] and can apply an [`Op`].

use esker_tensor::{DType, Device, Error, Result, Shape};
use smallvec::SmallVec;

use crate::{Array, Op, prepare};

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

    /// The values, for the few functions whose result's shape depends on them.
    ///
    /// # Errors
    /// `Capture` where no values are known: on `Meta`, and while a composition is written down.
    fn values(&self) -> Result<&Array> {
        Err(no_values())
    }

    /// A constant from values on the CPU, for the same functions.
    ///
    /// # Errors
    /// `Capture` where [`Value::values`] fails; `OutOfMemory`.
    fn of_values(_values: Array, _device: Device) -> Result<Self> {
        Err(no_values())
    }

    /// A scalar constant of the given dtype and device.
    ///
    /// # Errors
    /// `OutOfMemory`.
    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self>;
}

/// Why a value cannot be read.
pub(crate) fn no_values() -> Error {
    Error::capture("the shape of the result depends on values, which are not known here")
}

/// A value of which only the meta exists: what an op or a composition would give.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Described(pub Meta);

impl Value for Described {
    fn meta(&self) -> Meta {
        self.0
    }

    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>> {
        if let Op::Call(call) = &op {
            return call.run(inputs);
        }
        Ok(prepare(&op, inputs)?.2.into_iter().map(Described).collect())
    }

    fn scalar(_: f64, dtype: DType, device: Device) -> Result<Self> {
        Ok(Described(Meta::new(dtype, Shape::empty(), device)))
    }
}
