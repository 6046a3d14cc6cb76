//! `esker.dtype` and `esker.device`.

use esker::{DType, Device};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyType};

use crate::error::{type_error, type_name, value_error};

/// The type of a tensor's elements.
#[pyclass(frozen, eq, hash, name = "dtype", module = "esker")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyDType(pub(crate) DType);

#[pymethods]
impl PyDType {
    /// Whether it is one of the floating-point types.
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_float()
    }

    /// Whether it is a complex type; none is.
    #[getter]
    fn is_complex(&self) -> bool {
        false
    }

    /// Whether it has negative numbers.
    #[getter]
    fn is_signed(&self) -> bool {
        !matches!(self.0, DType::Bool | DType::U8)
    }

    /// Bytes an element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }

    fn __repr__(&self) -> String {
        format!("esker.{}", self.0)
    }

    fn __reduce__(&self) -> &'static str {
        self.0.name()
    }
}

/// The one object of a dtype.
pub(crate) fn dtype_object(py: Python<'_>, dtype: DType) -> PyResult<Py<PyDType>> {
    static ALL: PyOnceLock<Vec<Py<PyDType>>> = PyOnceLock::new();
    let all =
        ALL.get_or_try_init(py, || DType::ALL.iter().map(|d| Py::new(py, PyDType(*d))).collect::<PyResult<_>>())?;
    Ok(all[dtype as usize].clone_ref(py))
}

/// A dtype, or one of Python's types `bool`, `int` and `float`.
pub(crate) fn to_dtype(obj: &Bound<'_, PyAny>) -> PyResult<DType> {
    if let Ok(dtype) = obj.cast::<PyDType>() {
        return Ok(dtype.get().0);
    }
    if let Ok(class) = obj.cast::<PyType>() {
        let py = obj.py();
        if class.is(py.get_type::<PyBool>()) {
            return Ok(DType::Bool);
        }
        if class.is(py.get_type::<PyInt>()) {
            return Ok(DType::I64);
        }
        if class.is(py.get_type::<PyFloat>()) {
            return Ok(DType::F64);
        }
    }
    Err(type_error(format!("a dtype such as esker.float32 was needed, got {}", type_name(obj))))
}

/// Where a tensor lives: `device("cpu")`, `device("cuda", 0)`.
#[pyclass(frozen, eq, hash, name = "device", module = "esker")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyDevice(pub(crate) Device);

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (device, index=None))]
    fn new(device: &Bound<'_, PyAny>, index: Option<u32>) -> PyResult<Self> {
        let device = to_device(device)?;
        match (device, index) {
            (Device::Cuda(_), Some(i)) => Ok(Self(Device::Cuda(i))),
            (_, Some(i)) if i > 0 => Err(value_error(format!("{device} has no index {i}"))),
            _ => Ok(Self(device)),
        }
    }

    /// `cpu`, `cuda` or `meta`.
    #[getter]
    fn r#type(&self) -> &'static str {
        match self.0 {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Meta => "meta",
        }
    }

    /// The number of the GPU.
    #[getter]
    fn index(&self) -> Option<u32> {
        match self.0 {
            Device::Cuda(i) => Some(i),
            _ => None,
        }
    }

    fn __repr__(&self) -> String {
        match self.0 {
            Device::Cuda(i) => format!("device(type='cuda', index={i})"),
            d => format!("device(type='{d}')"),
        }
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, (String,))> {
        Ok((slf.get_type().into_any().unbind(), (slf.get().0.to_string(),)))
    }
}

/// A device, or its name.
pub(crate) fn to_device(obj: &Bound<'_, PyAny>) -> PyResult<Device> {
    if let Ok(device) = obj.cast::<PyDevice>() {
        return Ok(device.get().0);
    }
    let Ok(name) = obj.cast::<PyString>() else {
        return Err(type_error(format!("a device such as \"cpu\" was needed, got {}", type_name(obj))));
    };
    let name = name.to_cow()?;
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "meta" => Ok(Device::Meta),
        None if name == "cuda" => Ok(Device::Cuda(0)),
        Some(("cpu", "0")) => Ok(Device::Cpu),
        Some(("cuda", i)) if i.parse::<u32>().is_ok() => Ok(Device::Cuda(i.parse().unwrap_or(0))),
        _ => Err(value_error(format!("{name:?} is no device; there are cpu, cuda, cuda:1 and so on, and meta"))),
    }
}
