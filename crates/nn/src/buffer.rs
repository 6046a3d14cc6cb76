//! Buffers: tensors of a module that are saved with it and not trained.

use std::sync::{Arc, Mutex, PoisonError};

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::{DType, Device, Error, Result};

/// A tensor that belongs to a module's state but gets no gradient, such as a running mean. Clones are the same buffer.
#[derive(Clone)]
pub struct Buffer(Arc<Mutex<Tensor>>);

impl Buffer {
    /// A buffer that starts at the tensor's values.
    pub fn new(value: &Tensor) -> Self {
        Self(Arc::new(Mutex::new(value.detach())))
    }

    /// The present value, without history.
    pub fn tensor(&self) -> Tensor {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// `Shape` or `DType` when the new value differs in them.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        let mut old = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if value.shape() != old.shape() {
            return Err(Error::shape(format!("the new value is {:?}, the buffer {:?}", value.shape(), old.shape())));
        }
        if value.dtype() != old.dtype() {
            return Err(Error::dtype(format!("the new value is {}, the buffer {}", value.dtype(), old.dtype())));
        }
        *old = value.detach();
        Ok(())
    }

    /// Changes the element type of a floating-point buffer; others (counters) stay as they are.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn to_dtype(&self, dtype: DType) -> Result<()> {
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if value.dtype().is_float() {
            *value = value.cast(dtype)?;
        }
        Ok(())
    }

    /// Moves the buffer to a device.
    ///
    /// # Errors
    /// `Unavailable` for a device that was not opened; `OutOfMemory`.
    pub fn to_device(&self, device: Device) -> Result<()> {
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *value = value.to_device(device)?;
        Ok(())
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tensor = self.tensor();
        write!(f, "Buffer({:?}, {})", tensor.shape(), tensor.dtype())
    }
}
