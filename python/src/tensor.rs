//! `esker.Tensor`: a Python object that holds a tensor and can be rebound to another.

use std::sync::{Mutex, MutexGuard, PoisonError};

use esker::ops::{Ops, Value};
use esker::{DType, Param, Tensor};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::dtype::{PyDType, PyDevice, dtype_object};
use crate::error::Raise;

/// What a Python tensor is at the moment.
#[derive(Clone)]
pub(crate) enum Slot {
    /// A value, perhaps with history.
    Value(Tensor),
    /// A leaf that gathers a gradient, or a parameter that is frozen.
    Param(Param),
    /// The gradient of a parameter: writing to it writes the parameter's as long as that is still this one.
    Grad(Tensor, Param),
    /// The values of a parameter without its history: writing to it writes the parameter's.
    Data(Param),
}

impl Slot {
    /// The tensor in it.
    pub(crate) fn tensor(&self) -> Tensor {
        match self {
            Slot::Value(t) | Slot::Grad(t, _) => t.clone(),
            Slot::Param(p) => p.tensor(),
            Slot::Data(p) => p.tensor().detach(),
        }
    }
}

/// An n-dimensional array that remembers how it was computed when a gradient will be asked for.
///
/// Tensors are values: writing to a view does not change its base; `x[i] = v`, `x += y` and methods that end in an
/// underscore rebind `x`.
#[pyclass(subclass, frozen, weakref, name = "Tensor", module = "esker")]
pub(crate) struct PyTensor {
    slot: Mutex<Slot>,
}

impl From<Slot> for PyTensor {
    fn from(slot: Slot) -> Self {
        Self { slot: Mutex::new(slot) }
    }
}

impl From<Tensor> for PyTensor {
    fn from(tensor: Tensor) -> Self {
        Slot::Value(tensor).into()
    }
}

impl PyTensor {
    /// What it is now.
    #[inline]
    pub(crate) fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tensor that it holds now.
    #[inline]
    pub(crate) fn get(&self) -> Tensor {
        self.slot().tensor()
    }

    /// Rebinds it to `new`, brought to its dtype: what an in-place operation does.
    pub(crate) fn assign(&self, name: &str, new: Tensor) -> PyResult<()> {
        let old = self.get();
        if new.shape() != old.shape() {
            return Err(esker::Error::shape(format!(
                "{name}: the result is {:?}, which does not fit in place of {:?}",
                new.shape(),
                old.shape()
            )))
            .py();
        }
        let rank = |d: DType| u8::from(d != DType::Bool) + u8::from(d.is_float());
        if rank(new.dtype()) > rank(old.dtype()) {
            return Err(esker::Error::dtype(format!(
                "{name}: the result is {}, which does not fit in place of {}",
                new.dtype(),
                old.dtype()
            )))
            .py();
        }
        let new = if new.dtype() == old.dtype() { new } else { cast(&new, old.dtype()).py()? };
        self.rebind(name, new)
    }

    /// Rebinds it to `new`, whose shape and dtype are those that it has.
    fn rebind(&self, name: &str, new: Tensor) -> PyResult<()> {
        let mut slot = self.slot();
        match &mut *slot {
            Slot::Param(p) if p.is_trainable() && esker::autograd::is_grad_enabled() => {
                Err(esker::Error::autograd(format!(
                    "{name}: a leaf that requires grad is changed in place; do so under no_grad(), or detach it first"
                )))
                .py()
            }
            Slot::Param(p) if p.is_trainable() || !new.requires_grad() => p.set(&new.detach()).py(),
            Slot::Data(p) => p.set(&new.detach()).py(),
            Slot::Grad(old, param) => {
                let id = |t: &Tensor| t.array().storage().id();
                if param.grad().is_some_and(|g| id(&g) == id(old)) {
                    param.set_grad(new.detach()).py()?;
                    let kept = param.grad().unwrap_or(new);
                    *old = kept;
                } else {
                    *slot = Slot::Value(new);
                }
                Ok(())
            }
            slot => {
                *slot = Slot::Value(new);
                Ok(())
            }
        }
    }
}

/// A tensor in another dtype.
pub(crate) fn cast(x: &Tensor, dtype: DType) -> esker::Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    x.cast(dtype)
}

/// A new Python tensor.
#[inline]
pub(crate) fn wrap(py: Python<'_>, tensor: Tensor) -> PyResult<Py<PyTensor>> {
    Py::new(py, PyTensor::from(tensor))
}

/// A tuple of new Python tensors.
pub(crate) fn wrap_all(py: Python<'_>, tensors: impl IntoIterator<Item = Tensor>) -> PyResult<Py<PyTuple>> {
    let items = tensors.into_iter().map(|t| wrap(py, t)).collect::<PyResult<Vec<_>>>()?;
    Ok(PyTuple::new(py, items)?.unbind())
}

/// A Python tensor's tensor.
pub(crate) fn tensor_of(obj: &Bound<'_, PyAny>) -> Option<Tensor> {
    obj.cast::<PyTensor>().ok().map(|t| t.get().get())
}

#[pymethods]
impl PyTensor {
    #[new]
    #[pyo3(signature = (data))]
    fn new(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(match tensor_of(data) {
            Some(t) => t.detach().into(),
            None => crate::construct::from_data(data, None)?.into(),
        })
    }

    /// Makes this object a parameter over its present value.
    fn _become_param(&self, requires_grad: bool) -> PyResult<()> {
        let value = self.get().detach();
        if !requires_grad && !value.dtype().is_float() {
            return Ok(());
        }
        let param = Param::new(&value).py()?;
        param.set_trainable(requires_grad);
        *self.slot() = Slot::Param(param);
        Ok(())
    }

    /// The sizes, as a tuple.
    #[getter]
    fn _sizes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let t = self.get();
        PyTuple::new(py, t.shape().iter())
    }

    /// The distance between neighbours along each dimension, in elements.
    #[pyo3(signature = (dim=None))]
    fn stride<'py>(&self, py: Python<'py>, dim: Option<i64>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.get();
        let strides = t.array().layout().strides();
        match dim {
            None => Ok(PyTuple::new(py, strides.iter())?.into_any()),
            Some(dim) => {
                let d = t.shape().dim(dim).py()?;
                Ok(strides.get(d).copied().unwrap_or(1).into_pyobject(py)?.into_any())
            }
        }
    }

    /// The index of the first element in its storage.
    fn storage_offset(&self) -> usize {
        self.get().array().layout().offset()
    }

    /// The address of the first element.
    fn data_ptr(&self) -> usize {
        self.get().array().as_ptr() as usize
    }

    /// The type of the elements.
    #[getter]
    fn dtype(&self, py: Python<'_>) -> PyResult<Py<PyDType>> {
        dtype_object(py, self.get().dtype())
    }

    /// Where it lives.
    #[getter]
    fn device(&self) -> PyDevice {
        PyDevice(self.get().device())
    }

    /// The number of dimensions.
    fn dim(&self) -> usize {
        self.get().rank()
    }

    /// The number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        self.get().rank()
    }

    /// The number of elements.
    fn numel(&self) -> usize {
        self.get().numel()
    }

    /// Bytes an element.
    fn element_size(&self) -> usize {
        self.get().dtype().size()
    }

    /// Whether the dtype is one of the floating-point types.
    fn is_floating_point(&self) -> bool {
        self.get().dtype().is_float()
    }

    /// Whether the elements lie one after the other in row-major order.
    fn is_contiguous(&self) -> bool {
        self.get().array().layout().is_contiguous()
    }

    /// The same elements in row-major memory.
    fn contiguous(slf: &Bound<'_, Self>) -> PyResult<Py<PyTensor>> {
        let t = slf.get().get();
        if t.array().layout().is_contiguous() {
            return Ok(slf.clone().unbind());
        }
        wrap(slf.py(), t.contiguous().py()?)
    }

    fn __len__(&self) -> PyResult<usize> {
        match self.get().shape().first() {
            Some(&n) => Ok(n),
            None => Err(crate::error::type_error("len() of a 0-d tensor")),
        }
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        (slf.as_ptr() as isize) >> 4
    }

    fn _repr(&self) -> String {
        crate::show::text(&self.get())
    }

    /// Elements in another dtype and a device, taped.
    #[pyo3(signature = (dtype=None, device=None))]
    fn _to(
        slf: &Bound<'_, Self>,
        dtype: Option<&Bound<'_, PyAny>>,
        device: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyTensor>> {
        let t = slf.get().get();
        let to = dtype.map(crate::dtype::to_dtype).transpose()?.unwrap_or(t.dtype());
        let home = device.map(crate::dtype::to_device).transpose()?.unwrap_or(t.device());
        if to == t.dtype() && home == t.device() {
            return Ok(slf.clone().unbind());
        }
        if let esker::Device::Cuda(i) = home {
            esker::cuda(i).py()?;
        }
        let moved = t.to_device(home).py()?;
        wrap(slf.py(), cast(&moved, to).py()?)
    }

    /// The same values in storage of their own, taped.
    fn clone(&self, py: Python<'_>) -> PyResult<Py<PyTensor>> {
        // A value that shares its storage until someone writes is a copy in every way that can be seen; memory that is
        // not Esker's can change and is copied.
        let t = self.get();
        match (t.array().storage().is_foreign(), t.requires_grad()) {
            (false, _) => wrap(py, t),
            (true, false) => wrap(py, crate::dlpack::own_copy(&t).py()?),
            (true, true) => wrap(py, t.mul(&Tensor::scalar(1.0, t.dtype(), t.device()).py()?).py()?),
        }
    }

    /// Rebinds it to another tensor's values, brought to its shape and dtype.
    fn _set(&self, name: &str, new: &Bound<'_, PyTensor>) -> PyResult<()> {
        self.assign(name, new.get().get())
    }

    /// What `.data` is: the values without history. A parameter is written through it; a tensor without history is its
    /// own data; of one that was computed it is a copy.
    fn _data(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let slot = match &*slf.get().slot() {
            Slot::Param(p) => Slot::Data(p.clone()),
            Slot::Value(t) if t.requires_grad() => Slot::Value(t.detach()),
            _ => return Ok(slf.clone()),
        };
        Bound::new(slf.py(), PyTensor::from(slot))
    }

    /// Gives it another value altogether: what assigning to `.data` does.
    fn _set_data(&self, new: &Bound<'_, PyTensor>) -> PyResult<()> {
        let new = new.get().get().detach();
        let mut slot = self.slot();
        let next = match &*slot {
            Slot::Param(p) | Slot::Data(p) if p.shape() == *new.shape() && p.dtype() == new.dtype() => {
                return p.set(&new).py();
            }
            Slot::Param(p) if new.dtype().is_float() => {
                let fresh = Param::new(&new).py()?;
                fresh.set_trainable(p.is_trainable());
                Slot::Param(fresh)
            }
            _ => Slot::Value(new),
        };
        *slot = next;
        Ok(())
    }

    /// Whether both hold the same memory.
    fn _shares_storage(&self, other: &Bound<'_, PyTensor>) -> bool {
        let id = |t: &Tensor| t.array().storage().id();
        id(&self.get()) == id(&other.get().get())
    }
}
