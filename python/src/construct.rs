//! Tensors from Python's data: numbers, nested lists, arrays.

use std::sync::atomic::{AtomicU8, Ordering};

use esker::{DType, Tensor};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::args::{Number, number};
use crate::dtype::{PyDType, dtype_object, to_device, to_dtype};
use crate::error::{Raise, type_error, type_name, value_error};
use crate::tensor::{PyTensor, Slot, cast, tensor_of};

static DEFAULT: AtomicU8 = AtomicU8::new(DType::F32 as u8);

/// The dtype of floats that name none.
pub(crate) fn default_dtype() -> DType {
    let number = usize::from(DEFAULT.load(Ordering::Relaxed));
    DType::ALL.get(number).copied().unwrap_or(DType::F32)
}

/// Sets the dtype of floats that name none.
#[pyfunction]
#[pyo3(signature = (d, /))]
pub(crate) fn set_default_dtype(d: &Bound<'_, PyAny>) -> PyResult<()> {
    let dtype = to_dtype(d)?;
    if !dtype.is_float() {
        return Err(type_error(format!("the default dtype must be a floating-point type, got {dtype}")));
    }
    DEFAULT.store(dtype as u8, Ordering::Relaxed);
    Ok(())
}

/// The dtype of floats that name none.
#[pyfunction]
pub(crate) fn get_default_dtype(py: Python<'_>) -> PyResult<Py<PyDType>> {
    dtype_object(py, default_dtype())
}

/// A tensor with a copy of `data`: a number, nested lists of numbers, a NumPy array, or a tensor.
#[pyfunction]
#[pyo3(signature = (data, *, dtype=None, device=None, requires_grad=false))]
pub(crate) fn tensor(
    data: &Bound<'_, PyAny>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let made = from_data(data, dtype.map(to_dtype).transpose()?)?;
    finish(made, device, requires_grad)
}

/// A new tensor on a device, perhaps as a leaf.
pub(crate) fn finish(t: Tensor, device: Option<&Bound<'_, PyAny>>, requires_grad: bool) -> PyResult<PyTensor> {
    let t = match device.filter(|d| !d.is_none()) {
        Some(device) => t.to_device(to_device(device)?).py()?,
        None => t,
    };
    if !requires_grad {
        return Ok(t.into());
    }
    Ok(Slot::Param(esker::Param::new(&t).py()?).into())
}

/// A tensor with a copy of the data and no history.
pub(crate) fn from_data(data: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Tensor> {
    let copy = if let Some(t) = tensor_of(data) {
        t.detach()
    } else if let Some(x) = number(data)? {
        x.tensor(dtype.unwrap_or(x.dtype()), esker::Device::Cpu)?
    } else if let Ok(array) = crate::buffer::copy(data) {
        array
    } else {
        nested(data)?
    };
    cast(&copy, dtype.unwrap_or(copy.dtype())).py()
}

/// The numbers of nested lists in the highest of their kinds.
enum Numbers {
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl Numbers {
    fn push(&mut self, x: Number) {
        match (&mut *self, x) {
            (Numbers::Bools(all), Number::Bool(b)) => all.push(b),
            (Numbers::Ints(all), Number::Int(i)) => all.push(i),
            (Numbers::Floats(all), Number::Float(x)) => all.push(x),
            (Numbers::Ints(all), Number::Bool(b)) => all.push(i64::from(b)),
            (Numbers::Floats(all), Number::Int(i)) => all.push(i as f64),
            (Numbers::Floats(all), Number::Bool(b)) => all.push(f64::from(u8::from(b))),
            (Numbers::Bools(all), Number::Int(_)) => {
                *self = Numbers::Ints(all.iter().map(|&b| i64::from(b)).collect());
                self.push(x);
            }
            (Numbers::Bools(all), Number::Float(_)) => {
                *self = Numbers::Floats(all.iter().map(|&b| f64::from(u8::from(b))).collect());
                self.push(x);
            }
            (Numbers::Ints(all), Number::Float(_)) => {
                *self = Numbers::Floats(all.iter().map(|&i| i as f64).collect());
                self.push(x);
            }
        }
    }
}

fn nested(data: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let mut shape = Vec::new();
    let mut numbers = Numbers::Bools(Vec::new());
    let mut path = Vec::new();
    collect(data, 0, &mut shape, &mut path, &mut numbers)?;
    let shape: Vec<i64> = shape.into_iter().map(|n| n as i64).collect();
    match numbers {
        Numbers::Bools(all) if all.is_empty() => {
            Tensor::from_slice::<f32>(&[], &shape[..]).and_then(|t| cast(&t, default_dtype()))
        }
        Numbers::Bools(all) => Tensor::from_slice(&all, &shape[..]),
        Numbers::Ints(all) => Tensor::from_slice(&all, &shape[..]),
        Numbers::Floats(all) => match default_dtype() {
            DType::F32 => {
                let all: Vec<f32> = all.into_iter().map(|x| x as f32).collect();
                Tensor::from_slice(&all, &shape[..])
            }
            dtype => Tensor::from_slice(&all, &shape[..]).and_then(|t| cast(&t, dtype)),
        },
    }
    .py()
}

/// Walks a level of lists; the first item at each depth says how long the others must be.
fn collect(
    data: &Bound<'_, PyAny>,
    depth: usize,
    shape: &mut Vec<usize>,
    path: &mut Vec<usize>,
    out: &mut Numbers,
) -> PyResult<()> {
    let at = |path: &[usize]| path.iter().map(|i| format!("[{i}]")).collect::<String>();
    if let Some(x) = number(data)? {
        if depth < shape.len() {
            return Err(value_error(format!(
                "tensor: the lists are ragged: a list of {} was needed at data{}, got a number",
                shape[depth],
                at(path)
            )));
        }
        out.push(x);
        return Ok(());
    }
    let items: Vec<Bound<'_, PyAny>> = if let Ok(list) = data.cast::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = data.cast::<PyTuple>() {
        tuple.iter().collect()
    } else if let Ok(list) = data.call_method0("tolist") {
        return collect(&list, depth, shape, path, out);
    } else {
        return Err(type_error(format!(
            "tensor: numbers, or nested lists of numbers, were needed, got {} at data{}",
            type_name(data),
            at(path)
        )));
    };
    let settled = !matches!(out, Numbers::Bools(all) if all.is_empty()) || shape.len() > depth;
    if depth == shape.len() {
        if settled && !path.iter().all(|&i| i == 0) {
            return Err(value_error(format!(
                "tensor: the lists are ragged: a number was needed at data{}, got a list of {}",
                at(path),
                items.len()
            )));
        }
        shape.push(items.len());
    } else if shape[depth] != items.len() {
        return Err(value_error(format!(
            "tensor: the lists are ragged: {} items were needed at data{}, got {}",
            shape[depth],
            at(path),
            items.len()
        )));
    }
    for (i, item) in items.iter().enumerate() {
        path.push(i);
        collect(item, depth + 1, shape, path, out)?;
        path.pop();
    }
    Ok(())
}
