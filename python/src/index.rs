//! Indexing: `x[1:, None, ..., mask]`.

use esker::Tensor;
use esker::ops::Ops;
use pyo3::prelude::*;
use pyo3::types::{PyEllipsis, PySlice, PyTuple};

use crate::args::integer;
use crate::error::{Raise, type_error, type_name};
use crate::tensor::{PyTensor, wrap};

/// One item of an index.
enum Item<'py> {
    Int(i64),
    Slice(Bound<'py, PySlice>),
    NewAxis,
    Rest,
    Tensor(Tensor),
}

fn items<'py>(key: &Bound<'py, PyAny>) -> PyResult<Vec<Item<'py>>> {
    match key.cast::<PyTuple>() {
        Ok(tuple) => tuple.iter().map(|o| item(&o)).collect(),
        Err(_) => Ok(vec![item(key)?]),
    }
}

fn item<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Item<'py>> {
    if let Ok(t) = obj.cast::<PyTensor>() {
        return Ok(Item::Tensor(t.get().get()));
    }
    if let Some(i) = integer(obj)? {
        return Ok(Item::Int(i));
    }
    if let Ok(slice) = obj.cast::<PySlice>() {
        return Ok(Item::Slice(slice.clone()));
    }
    if obj.is_none() {
        return Ok(Item::NewAxis);
    }
    if obj.is_instance_of::<PyEllipsis>() {
        return Ok(Item::Rest);
    }
    Err(type_error(format!("an index is made of integers, slices, None, ... and tensors, got {}", type_name(obj))))
}

#[pymethods]
impl PyTensor {
    fn __getitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyTensor>> {
        wrap(slf.py(), get(&slf.get().get(), &items(key)?)?)
    }
}

fn get(x: &Tensor, items: &[Item<'_>]) -> PyResult<Tensor> {
    let taken = items.iter().filter(|i| !matches!(i, Item::NewAxis | Item::Rest)).count();
    let rest = x.rank().checked_sub(taken).ok_or_else(|| {
        crate::error::raise(esker::Error::dim(format!("{taken} indices for a tensor of {:?}", x.shape())))
    })?;
    let (mut y, mut dim) = (x.clone(), 0i64);
    for item in items {
        match item {
            Item::Int(i) => y = y.select(dim, *i).py()?,
            Item::Slice(s) => {
                let size = y.size(dim).py()?;
                let s = s.indices(size as isize)?;
                y = y.slice(dim, s.start as i64, s.stop as i64, s.step as i64).py()?;
                dim += 1;
            }
            Item::NewAxis => {
                y = y.unsqueeze(dim).py()?;
                dim += 1;
            }
            Item::Rest => dim += rest as i64,
            Item::Tensor(t) => {
                y = y.index_select(t, dim).py()?;
                dim += 1;
            }
        }
    }
    Ok(y)
}
