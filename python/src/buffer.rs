//! Memory shared with other libraries through Python's buffer protocol: NumPy arrays in and out without a copy.

use std::ffi::{CStr, c_int, c_void};

use esker::ops::Array;
use esker::ops::tensor::{Layout, Shape, Storage, Strides};
use esker::{DType, Device, Tensor};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::{Raise, type_error, type_name};
use crate::tensor::PyTensor;

/// The letter of a dtype in the buffer protocol; bfloat16 has none.
fn letter(dtype: DType) -> Option<&'static CStr> {
    Some(match dtype {
        DType::Bool => c"?",
        DType::U8 => c"B",
        DType::I8 => c"b",
        DType::I16 => c"h",
        DType::I32 => c"i",
        DType::I64 => c"q",
        DType::F16 => c"e",
        DType::F32 => c"f",
        DType::F64 => c"d",
        DType::BF16 => return None,
    })
}

/// The dtype of a letter and a size.
fn dtype_of(format: &CStr, size: usize) -> Option<DType> {
    let text = format.to_str().ok()?;
    let text = text.strip_prefix(['@', '=', '<']).unwrap_or(text);
    Some(match (text, size) {
        ("?", 1) => DType::Bool,
        ("B", 1) => DType::U8,
        ("b", 1) => DType::I8,
        ("h", 2) => DType::I16,
        ("i" | "l", 4) => DType::I32,
        ("l" | "q", 8) => DType::I64,
        ("e", 2) => DType::F16,
        ("f", 4) => DType::F32,
        ("d", 8) => DType::F64,
        _ => return None,
    })
}

/// Memory that another object lends; given back when dropped.
struct Lent(Box<ffi::Py_buffer>);

// SAFETY: the view is only read, and given back with the GIL held, whichever thread does so.
unsafe impl Send for Lent {}
// SAFETY: as above; a shared `Lent` offers nothing but plain numbers and an address.
unsafe impl Sync for Lent {}

impl Drop for Lent {
    fn drop(&mut self) {
        // Without an interpreter, at exit, the memory is left as it is.
        let _ = Python::try_attach(|_| {
            // SAFETY: the view was filled by PyObject_GetBuffer and is released once; the GIL is held.
            unsafe { ffi::PyBuffer_Release(&mut *self.0) }
        });
    }
}

impl Lent {
    fn of(obj: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: the object is alive, the view is writable and boxed, so that it does not move while it is filled.
        let code = unsafe { ffi::PyObject_GetBuffer(obj.as_ptr(), &mut *view, ffi::PyBUF_RECORDS_RO) };
        if code != 0 {
            return Err(PyErr::fetch(obj.py()));
        }
        Ok(Self(view))
    }

    fn numbers(&self, from: *mut ffi::Py_ssize_t) -> &[isize] {
        if from.is_null() || self.0.ndim <= 0 {
            return &[];
        }
        // SAFETY: the exporter gives `ndim` numbers that live as long as the view.
        unsafe { std::slice::from_raw_parts(from, self.0.ndim as usize) }
    }

    fn dtype(&self) -> PyResult<DType> {
        let format = if self.0.format.is_null() {
            c"B"
        } else {
            // SAFETY: a format is a text that ends in zero and lives as long as the view.
            unsafe { CStr::from_ptr(self.0.format) }
        };
        dtype_of(format, self.0.itemsize.max(0) as usize).ok_or_else(|| {
            type_error(format!(
                "an array of element format {:?} has no dtype here; numbers and bools have (convert it with .astype)",
                format.to_string_lossy()
            ))
        })
    }

    /// The dtype, sizes and strides in elements; `None` for strides that are no multiple of an element.
    fn layout(&self) -> PyResult<(DType, Shape, Option<Strides>)> {
        let dtype = self.dtype()?;
        let sizes: Vec<usize> = self.numbers(self.0.shape).iter().map(|&n| n.max(0) as usize).collect();
        let shape = Shape::new(&sizes).py()?;
        let steps = self.numbers(self.0.strides);
        let size = dtype.size() as isize;
        let strides: Option<Vec<isize>> = steps.iter().map(|&s| (s % size == 0).then_some(s / size)).collect();
        let strides = match strides {
            Some(s) if s.len() == sizes.len() => Some(Strides::new(&s).py()?),
            Some(_) => Some(shape.contiguous_strides()),
            None => None,
        };
        Ok((dtype, shape, strides))
    }
}

/// A tensor with a copy of what the object lends.
pub(crate) fn copy(obj: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let lent = Lent::of(obj)?;
    let (dtype, shape, strides) = lent.layout()?;
    let mut storage = Storage::alloc(shape.checked_numel().py()? * dtype.size()).py()?;
    let Some(to) = storage.get_mut() else { return Err(type_error("the memory is not writable")) };
    let size = dtype.size();
    let aligned = (lent.0.buf as usize).is_multiple_of(size);
    match strides {
        Some(strides) if aligned => {
            let layout = Layout::new(shape, strides, 0);
            let contiguous = layout.is_contiguous();
            if contiguous {
                // SAFETY: a contiguous view has `len` readable bytes at `buf`; the target has as many and is our own.
                unsafe { std::ptr::copy_nonoverlapping(lent.0.buf.cast::<u8>(), to.as_mut_ptr(), to.len()) };
            } else {
                gather(&lent, &shape, strides.iter().map(|s| s * size as isize).collect(), size, to);
            }
        }
        _ => gather(&lent, &shape, lent.numbers(lent.0.strides).to_vec(), size, to),
    }
    if dtype == DType::Bool {
        to.iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    Array::new(dtype, Device::Cpu, Layout::contiguous(shape), storage).map(Tensor::from_array).py()
}

/// Copies strided elements in row-major order.
fn gather(lent: &Lent, shape: &Shape, strides: Vec<isize>, size: usize, to: &mut [u8]) {
    for (flat, element) in to.chunks_exact_mut(size).enumerate() {
        let (mut rest, mut at) = (flat, 0isize);
        for (d, &n) in shape.iter().enumerate().rev() {
            at += (rest % n) as isize * strides[d];
            rest /= n;
        }
        // SAFETY: the exporter promises `size` readable bytes at every index within its shape.
        unsafe { std::ptr::copy_nonoverlapping(lent.0.buf.cast::<u8>().offset(at), element.as_mut_ptr(), size) };
    }
}

/// A tensor over an array's memory, without a copy where the memory allows it. Writing to the array shows in the tensor;
/// the tensor never writes to the array, so that read-only arrays are shared too. Arrays whose elements do not lie on
/// multiples of their size, and bools (whose bytes may be other than 0 and 1), are copied.
#[pyfunction]
#[pyo3(signature = (ndarray, /))]
pub(crate) fn from_numpy(ndarray: &Bound<'_, PyAny>) -> PyResult<PyTensor> {
    if !ndarray.hasattr("__array_interface__")? {
        return Err(type_error(format!("from_numpy: a NumPy array was needed, got {}", type_name(ndarray))));
    }
    share(ndarray)
}

/// As [`from_numpy`], for anything with a buffer.
pub(crate) fn share(obj: &Bound<'_, PyAny>) -> PyResult<PyTensor> {
    let lent = Lent::of(obj)?;
    let (dtype, shape, strides) = lent.layout()?;
    let Some(strides) = strides else { return copy(obj).map(Into::into) };
    let start = lent.0.buf.cast::<u8>().cast_const();
    // SAFETY: the exporter keeps the bytes of every index in place until the view is released, which is when `lent` is
    // dropped. Python code may write to them while the tensor lives: that is what sharing means, it is said in the
    // documentation, and kernels read plain numbers of which every bit pattern is valid.
    unsafe { over(start, dtype, shape, strides, Box::new(lent)) }.map(Into::into)
}

/// A tensor over memory that `owner` keeps in place. Elements that do not lie on multiples of their size, and bools, which
/// may be other than 0 and 1, are copied.
///
/// # Safety
/// Until `owner` is dropped, the elements at the first element `start` and `strides` from it must be readable; see
/// [`Storage::foreign`].
pub(crate) unsafe fn over(
    start: *const u8,
    dtype: DType,
    shape: Shape,
    strides: Strides,
    owner: Box<dyn std::any::Any + Send + Sync>,
) -> PyResult<Tensor> {
    let size = dtype.size();
    shape.checked_numel().py()?;
    // Negative strides reach below the first element.
    let reach = |n: usize, s: isize| if s < 0 { (n.max(1) - 1) * s.unsigned_abs() } else { 0 };
    let below: usize =
        if shape.contains(&0) { 0 } else { shape.iter().zip(strides.iter()).map(|(&n, &s)| reach(n, s)).sum() };
    let layout = Layout::new(shape, strides, below);
    let bytes = layout.extent().end * size;
    let low = start.wrapping_sub(below * size);
    if !(start as usize).is_multiple_of(size) || dtype == DType::Bool {
        let mut storage = Storage::alloc(shape.numel() * size).py()?;
        let to = storage.get_mut().unwrap_or_default();
        for (element, at) in to.chunks_exact_mut(size).zip(layout.indices()) {
            // SAFETY: the caller promises an element at every index of the layout.
            unsafe { std::ptr::copy_nonoverlapping(low.add(at * size), element.as_mut_ptr(), size) };
        }
        if dtype == DType::Bool {
            to.iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        return Array::new(dtype, Device::Cpu, Layout::contiguous(shape), storage).map(Tensor::from_array).py();
    }
    // SAFETY: the caller's promise covers all elements from `low` on, and nothing between them is read.
    let storage = unsafe { Storage::foreign(low, bytes, owner) };
    Array::new(dtype, Device::Cpu, layout, storage).map(Tensor::from_array).py()
}

/// What a lent view of a tensor needs: the tensor, so that its memory stays, and its sizes.
struct Loan {
    _tensor: Tensor,
    shape: Vec<ffi::Py_ssize_t>,
    strides: Vec<ffi::Py_ssize_t>,
}

#[pymethods]
impl PyTensor {
    /// Lends the memory for reading: NumPy and others see it without a copy, and cannot write to it.
    ///
    /// # Safety
    /// `view` is null or points to a view to fill, as CPython promises.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        let fill = || {
            if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
                return Err(PyBufferError::new_err("a tensor's memory is lent for reading only; copy it to write"));
            }
            let tensor = slf.get().get().detach();
            let format = letter(tensor.dtype()).ok_or_else(|| {
                PyBufferError::new_err(format!(
                    "{} has no form in other libraries; convert it with .float()",
                    tensor.dtype()
                ))
            })?;
            let tensor = Tensor::from_array(tensor.array().to_cpu().py()?);
            let layout = *tensor.array().layout();
            let strided = flags & ffi::PyBUF_STRIDES == ffi::PyBUF_STRIDES;
            let needs_rows = flags & ffi::PyBUF_C_CONTIGUOUS == ffi::PyBUF_C_CONTIGUOUS || !strided;
            if needs_rows && !layout.is_contiguous() {
                return Err(PyBufferError::new_err("the tensor is not contiguous; call .contiguous() first"));
            }
            Ok((tensor, format, layout))
        };
        let (tensor, format, layout) = match fill() {
            Ok(filled) => filled,
            Err(error) => {
                // SAFETY: the view is not null; the protocol wants its object cleared on failure.
                unsafe { (*view).obj = std::ptr::null_mut() };
                return Err(error);
            }
        };
        let size = tensor.dtype().size() as isize;
        let start = tensor.array().as_ptr().cast_mut().cast::<c_void>();
        let loan = Box::into_raw(Box::new(Loan {
            _tensor: tensor,
            shape: layout.shape().iter().map(|&n| n as isize).collect(),
            strides: layout.strides().iter().map(|&s| s * size).collect(),
        }));
        let wants = |flag: c_int| flags & flag == flag;
        // SAFETY: the view is not null and ours to fill; the loan was just made, lives until `__releasebuffer__`, and its
        // vectors do not move.
        unsafe {
            let v = &mut *view;
            v.buf = start;
            v.len = layout.shape().numel() as isize * size;
            v.readonly = 1;
            v.itemsize = size;
            v.format = if wants(ffi::PyBUF_FORMAT) { format.as_ptr().cast_mut() } else { std::ptr::null_mut() };
            v.ndim = layout.shape().len() as c_int;
            v.shape = if wants(ffi::PyBUF_ND) { (*loan).shape.as_mut_ptr() } else { std::ptr::null_mut() };
            v.strides = if wants(ffi::PyBUF_STRIDES) { (*loan).strides.as_mut_ptr() } else { std::ptr::null_mut() };
            v.suboffsets = std::ptr::null_mut();
            v.internal = loan.cast();
            v.obj = slf.into_ptr();
        }
        Ok(())
    }

    /// Takes a lent view back.
    ///
    /// # Safety
    /// `view` is one that `__getbuffer__` filled, as CPython promises.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: `internal` holds what `__getbuffer__` made, and a view is released once.
        unsafe { drop(Box::from_raw((*view).internal.cast::<Loan>())) }
    }

    /// The elements as nested lists of Python's numbers.
    fn tolist(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let t = slf.get().get();
        let flat = numbers(slf.py(), &t)?;
        nest(slf.py(), t.shape(), &mut flat.into_iter())
    }

    /// The only element as a number of Python's.
    pub(crate) fn item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.get();
        if t.numel() != 1 {
            return Err(esker::Error::shape(format!(
                "item needs exactly one element, got a tensor of {:?}",
                t.shape()
            )))
            .py();
        }
        let one = numbers(py, &t)?.pop();
        one.ok_or_else(|| type_error("item: the tensor is empty"))
    }
}

/// The elements, row-major, as Python's numbers.
fn numbers<'py>(py: Python<'py>, t: &Tensor) -> PyResult<Vec<Bound<'py, PyAny>>> {
    match t.dtype() {
        DType::Bool => {
            let all = t.to_vec::<bool>().py()?;
            all.into_iter().map(|b| Ok(pyo3::types::PyBool::new(py, b).to_owned().into_any())).collect()
        }
        DType::I64 => t.to_vec::<i64>().py()?.into_iter().map(|i| Ok(i.into_pyobject(py)?.into_any())).collect(),
        d if d.is_int() => {
            t.to_f64_vec().py()?.into_iter().map(|i| Ok((i as i64).into_pyobject(py)?.into_any())).collect()
        }
        _ => t.to_f64_vec().py()?.into_iter().map(|x| Ok(x.into_pyobject(py)?.into_any())).collect(),
    }
}

fn nest<'py>(
    py: Python<'py>,
    shape: &[usize],
    items: &mut impl Iterator<Item = Bound<'py, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let Some((&n, inner)) = shape.split_first() else {
        return items.next().map(Bound::unbind).ok_or_else(|| type_error("tolist: an element is missing"));
    };
    let list = (0..n).map(|_| nest(py, inner, items)).collect::<PyResult<Vec<_>>>()?;
    Ok(pyo3::types::PyList::new(py, list)?.into_any().unbind())
}
