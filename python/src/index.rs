//! Indexing: `x[1:, None, ..., mask]`, and writing by it, which rebinds.

use esker::Tensor;
use esker::ops::{Index, Indexing, Ops};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyList, PySlice, PyTuple};

use crate::args::{integer, number};
use crate::construct::from_data;
use crate::error::{Raise, type_error, type_name};
use crate::tensor::{PyTensor, cast, tensor_of, wrap};

type Items = Vec<Index<Tensor>>;

fn items(key: &Bound<'_, PyAny>) -> PyResult<Items> {
    match key.cast::<PyTuple>() {
        Ok(tuple) => tuple.iter().map(|o| item(&o)).collect(),
        Err(_) => Ok(vec![item(key)?]),
    }
}

fn item(obj: &Bound<'_, PyAny>) -> PyResult<Index<Tensor>> {
    if let Some(t) = tensor_of(obj) {
        return Ok(Index::Tensor(places(t)?));
    }
    if let Some(i) = integer(obj)? {
        return Ok(Index::At(i));
    }
    if let Ok(slice) = obj.cast::<PySlice>() {
        return part(slice);
    }
    if obj.is_none() {
        return Ok(Index::NewAxis);
    }
    if obj.is_instance_of::<PyEllipsis>() {
        return Ok(Index::Ellipsis);
    }
    let array = obj.hasattr("__array_interface__")?;
    if array || obj.is_instance_of::<PyBool>() || obj.is_instance_of::<PyList>() || obj.is_instance_of::<PyTuple>() {
        let t = from_data(obj, None)?;
        // An empty list names no place.
        return Ok(Index::Tensor(if t.numel() == 0 && t.dtype().is_float() {
            cast(&t, esker::DType::I64).py()?
        } else {
            places(t)?
        }));
    }
    Err(type_error(format!("an index is made of integers, slices, None, ... and tensors, got {}", type_name(obj))))
}

/// A tensor of places: PyTorch reads uint8 as a mask.
fn places(t: Tensor) -> PyResult<Tensor> {
    if t.dtype() == esker::DType::U8 { cast(&t, esker::DType::Bool).py() } else { Ok(t) }
}

fn part(slice: &Bound<'_, PySlice>) -> PyResult<Index<Tensor>> {
    let end = |name: &str| {
        let o = slice.getattr(name)?;
        if o.is_none() {
            return Ok(None);
        }
        let i = integer(&o)?;
        i.map(Some)
            .ok_or_else(|| type_error(format!("the ends of a slice are integers or None, got {}", type_name(&o))))
    };
    let step = end("step")?.unwrap_or(1);
    if step == 0 {
        return Err(crate::error::value_error("the step of a slice must not be 0"));
    }
    Ok(Index::Slice { start: end("start")?, stop: end("stop")?, step })
}

#[pymethods]
impl PyTensor {
    fn __getitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyTensor>> {
        let (py, x) = (slf.py(), slf.get().get());
        // The usual case needs no list.
        if let Some(i) = integer(key)?
            && !key.is_instance_of::<PyTensor>()
            && x.rank() > 0
        {
            return wrap(py, x.select(0, i).py()?);
        }
        let items = items(key)?;
        wrap(py, x.index(&items).py()?)
    }

    fn __setitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let x = slf.get().get();
        let value = match (tensor_of(value), number(value)?) {
            (Some(t), _) => t,
            (None, Some(n)) => {
                n.tensor(if n.dtype().is_float() && !x.dtype().is_float() { n.dtype() } else { x.dtype() }, x.device())?
            }
            (None, None) => from_data(value, None)?,
        };
        let items = items(key)?;
        let new = x.index_set(&items, &value, false).py()?;
        drop(x);
        slf.get().assign("[]=", new)
    }
}
