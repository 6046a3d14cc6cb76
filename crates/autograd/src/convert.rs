//! Tensors from plain Rust values.

use esker_tensor::{Element, Result};

use crate::Tensor;

impl Tensor {
    /// A one-dimensional tensor.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn from_vec<T: Element>(data: impl AsRef<[T]>) -> Result<Self> {
        let data = data.as_ref();
        Self::from_slice(data, [data.len()])
    }

    /// A scalar.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn from_scalar<T: Element>(value: T) -> Result<Self> {
        Self::from_slice(&[value], ())
    }
}
