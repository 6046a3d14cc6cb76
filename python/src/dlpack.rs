//! Exchange of memory with other array libraries by DLPack, both ways and without a copy where that is safe.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use esker::ops::tensor::{Layout, Shape, Strides};
use esker::{DType, Device, Tensor};
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::buffer::over;
use crate::error::{Raise, type_error, type_name};
use crate::tensor::PyTensor;

const CPU: i32 = 1;
const READ_ONLY: u64 = 1;
const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

#[repr(C)]
#[derive(Clone, Copy)]
struct Element {
    code: u8,
    bits: u8,
    lanes: u16,
}

/// `DLTensor`: memory with a shape.
#[repr(C)]
struct View {
    data: *mut c_void,
    device: [i32; 2],
    ndim: i32,
    element: Element,
    shape: *mut i64,
    strides: *mut i64,
    offset: u64,
}

/// `DLManagedTensor`.
#[repr(C)]
struct Plain {
    view: View,
    owner: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Plain)>,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct Versioned {
    version: [u32; 2],
    owner: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    view: View,
}

fn element(dtype: DType) -> Element {
    let code = match dtype {
        DType::Bool => 6,
        DType::U8 => 1,
        DType::BF16 => 4,
        d if d.is_float() => 2,
        _ => 0,
    };
    Element { code, bits: 8 * dtype.size() as u8, lanes: 1 }
}

/// What an exported view needs as long as it lives.
struct Loan {
    _tensor: Tensor,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

fn lend(tensor: Tensor) -> (View, *mut Loan) {
    let layout = *tensor.array().layout();
    let (data, dtype) = (tensor.array().as_ptr().cast_mut().cast(), tensor.dtype());
    let shape = layout.shape().iter().map(|&n| n as i64).collect();
    let strides = layout.strides().iter().map(|&s| s as i64).collect();
    let mut loan = Box::new(Loan { _tensor: tensor, shape, strides });
    let view = View {
        data,
        device: [CPU, 0],
        ndim: layout.shape().len() as i32,
        element: element(dtype),
        shape: loan.shape.as_mut_ptr(),
        strides: loan.strides.as_mut_ptr(),
        offset: 0,
    };
    (view, Box::into_raw(loan))
}

unsafe extern "C" fn delete_plain(tensor: *mut Plain) {
    // SAFETY: the consumer calls this once with what `export` made of two boxes.
    unsafe {
        let tensor = Box::from_raw(tensor);
        drop(Box::from_raw(tensor.owner.cast::<Loan>()));
    }
}

unsafe extern "C" fn delete_versioned(tensor: *mut Versioned) {
    // SAFETY: as in `delete_plain`.
    unsafe {
        let tensor = Box::from_raw(tensor);
        drop(Box::from_raw(tensor.owner.cast::<Loan>()));
    }
}

/// Deletes what no consumer has taken.
unsafe extern "C" fn forget(capsule: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls this with a capsule of ours; a consumer that took the tensor has renamed it.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, PLAIN.as_ptr()) == 1 {
            delete_plain(ffi::PyCapsule_GetPointer(capsule, PLAIN.as_ptr()).cast());
        } else if ffi::PyCapsule_IsValid(capsule, VERSIONED.as_ptr()) == 1 {
            delete_versioned(ffi::PyCapsule_GetPointer(capsule, VERSIONED.as_ptr()).cast());
        }
    }
}

fn capsule<'py>(py: Python<'py>, pointer: *mut c_void, name: &'static CStr) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the pointer is not null, the name lives forever, and the destructor fits both names.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCapsule_New(pointer, name.as_ptr(), Some(forget))) }
}

#[pymethods]
impl PyTensor {
    /// A DLPack capsule over the same memory, marked as read-only. A consumer that does not know the mark gets a copy.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        slf: &Bound<'py, Self>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = stream; // There is none on the CPU.
        let py = slf.py();
        if slf.get().get().requires_grad() {
            return Err(PyBufferError::new_err("a tensor that requires grad cannot be exported; call .detach() first"));
        }
        if dl_device.is_some_and(|(kind, _)| kind != CPU) {
            return Err(PyBufferError::new_err("the tensor can be exported in main memory only"));
        }
        let tensor = Tensor::from_array(slf.get().get().array().to_cpu().py()?);
        let versioned = max_version.is_some_and(|(major, _)| major >= 1);
        let copies = copy == Some(true) || !versioned;
        if copies && copy == Some(false) {
            return Err(PyBufferError::new_err(
                "the memory can be shared for reading only, which needs a consumer of DLPack 1.0 (max_version)",
            ));
        }
        let tensor = if copies { own_copy(&tensor).py()? } else { tensor };
        let (view, loan) = lend(tensor);
        if versioned {
            let flags = if copies { 2 } else { READ_ONLY };
            let owner = loan.cast();
            let made = Versioned { version: [1, 0], owner, deleter: Some(delete_versioned), flags, view };
            return capsule(py, Box::into_raw(Box::new(made)).cast(), VERSIONED);
        }
        let made = Plain { view, owner: loan.cast(), deleter: Some(delete_plain) };
        capsule(py, Box::into_raw(Box::new(made)).cast(), PLAIN)
    }

    /// DLPack's number of the kind of device, and of the device.
    fn __dlpack_device__(&self) -> PyResult<(i32, i32)> {
        match self.get().device() {
            Device::Cpu => Ok((CPU, 0)),
            Device::Cuda(i) => Ok((2, i as i32)),
            Device::Meta => Err(PyBufferError::new_err("a meta tensor has no memory")),
        }
    }
}

/// The tensor in memory of its own.
pub(crate) fn own_copy(t: &Tensor) -> esker::Result<Tensor> {
    let mut storage = esker::ops::tensor::Storage::alloc(t.numel() * t.dtype().size())?;
    let dense = t.array().contiguous()?;
    let start = dense.layout().offset() * t.dtype().size();
    if let Some(to) = storage.get_mut() {
        let end = start + to.len();
        to.copy_from_slice(dense.storage().bytes().get(start..end).unwrap_or_default());
    }
    let array = esker::ops::Array::new(t.dtype(), Device::Cpu, Layout::contiguous(*t.shape()), storage)?;
    Ok(Tensor::from_array(array))
}

/// A tensor that another library made; its deleter runs when the last view of it is gone.
enum Taken {
    Plain(NonNull<Plain>),
    Versioned(NonNull<Versioned>),
}

// SAFETY: the memory is read only, and the deleter is called with the GIL held, whichever thread does so.
unsafe impl Send for Taken {}
// SAFETY: as above; a shared `Taken` gives out nothing but plain numbers and an address.
unsafe impl Sync for Taken {}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut delete = || match self {
            // SAFETY: the tensor was taken from its capsule, and its deleter is called once, here.
            Taken::Plain(t) => unsafe {
                if let Some(deleter) = t.as_ref().deleter {
                    deleter(t.as_ptr());
                }
            },
            // SAFETY: as above.
            Taken::Versioned(t) => unsafe {
                if let Some(deleter) = t.as_ref().deleter {
                    deleter(t.as_ptr());
                }
            },
        };
        let _ = Python::try_attach(|_| delete());
    }
}

impl Taken {
    /// Takes the tensor out of a capsule, which must not have been used.
    fn from(capsule: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = capsule.py();
        let take = |name: &'static CStr, used: &'static CStr| {
            // SAFETY: the object is alive; a capsule of this name holds such a pointer by the protocol, which wants it
            // renamed when it is taken.
            unsafe {
                if ffi::PyCapsule_IsValid(capsule.as_ptr(), name.as_ptr()) != 1 {
                    return Ok(None);
                }
                let pointer = ffi::PyCapsule_GetPointer(capsule.as_ptr(), name.as_ptr());
                if ffi::PyCapsule_SetName(capsule.as_ptr(), used.as_ptr()) != 0 {
                    return Err(PyErr::fetch(py));
                }
                Ok(NonNull::new(pointer))
            }
        };
        if let Some(t) = take(VERSIONED, c"used_dltensor_versioned")? {
            return Ok(Self::Versioned(t.cast()));
        }
        match take(PLAIN, c"used_dltensor")? {
            Some(t) => Ok(Self::Plain(t.cast())),
            None => Err(type_error("from_dlpack: the capsule holds no tensor, or it was used before")),
        }
    }

    fn view(&self) -> &View {
        match self {
            // SAFETY: the tensor lives until its deleter is called, which `Drop` does.
            Taken::Plain(t) => unsafe { &t.as_ref().view },
            // SAFETY: as above.
            Taken::Versioned(t) => unsafe { &t.as_ref().view },
        }
    }
}

impl View {
    fn dtype(&self) -> PyResult<DType> {
        let Element { code, bits, lanes } = self.element;
        let found = DType::ALL.into_iter().find(|&d| {
            let e = element(d);
            (e.code, e.bits, 1) == (code, bits, lanes)
        });
        found.ok_or_else(|| {
            type_error(format!("from_dlpack: elements of kind {code} with {bits} bits have no dtype here"))
        })
    }

    fn numbers(&self, from: *const i64) -> &[i64] {
        if from.is_null() || self.ndim <= 0 {
            return &[];
        }
        // SAFETY: by the protocol there are `ndim` numbers, which live as long as the tensor.
        unsafe { std::slice::from_raw_parts(from, self.ndim as usize) }
    }
}

/// A tensor over another library's memory (an array or a capsule), without a copy where the memory allows it.
#[pyfunction]
#[pyo3(signature = (ext_tensor, /, *, device=None, copy=None))]
pub(crate) fn from_dlpack(
    ext_tensor: &Bound<'_, PyAny>,
    device: Option<&Bound<'_, PyAny>>,
    copy: Option<bool>,
) -> PyResult<PyTensor> {
    let taken = Taken::from(&exported(ext_tensor)?)?;
    let view = taken.view();
    if view.device[0] != CPU {
        return Err(esker::Error::unavailable("from_dlpack: the tensor is not in main memory")).py();
    }
    let dtype = view.dtype()?;
    let shape = Shape::new(&view.numbers(view.shape).iter().map(|&n| n.max(0) as usize).collect::<Vec<_>>()).py()?;
    let strides = match view.numbers(view.strides) {
        [] => shape.contiguous_strides(),
        list => Strides::new(&list.iter().map(|&s| s as isize).collect::<Vec<_>>()).py()?,
    };
    let start = view.data.cast::<u8>().wrapping_add(view.offset as usize).cast_const();
    // SAFETY: the exporter keeps the bytes of every index in place until its deleter runs, when `taken` is dropped. It may
    // write to them meanwhile: that is what sharing means, and kernels read plain numbers, of which every pattern is valid.
    let shared = unsafe { over(start, dtype, shape, strides, Box::new(taken)) }?;
    let t = if copy == Some(true) { own_copy(&shared).py()? } else { shared };
    crate::construct::finish(t, device, false)
}

/// The capsule that an object exports.
fn exported<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = obj.py();
    if !obj.hasattr("__dlpack__")? {
        // SAFETY: the object is alive.
        if unsafe { ffi::PyCapsule_CheckExact(obj.as_ptr()) } == 1 {
            return Ok(obj.clone());
        }
        return Err(type_error(format!("from_dlpack: an array with __dlpack__ was needed, got {}", type_name(obj))));
    }
    let options = PyDict::new(py);
    options.set_item("max_version", PyTuple::new(py, [1, 0])?)?;
    match obj.call_method("__dlpack__", (), Some(&options)) {
        // An exporter from before DLPack 1.0.
        Err(e) if e.is_instance_of::<PyTypeError>(py) => obj.call_method0("__dlpack__"),
        result => result,
    }
}
