//! Weight files: safetensors, which hold numbers and names and nothing that could run.

use esker::nn::{StateDict, load_state, parse_state, save_state, state_bytes};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{Raise, type_error, type_name};
use crate::tensor::{tensor_of, wrap};

fn state_of(dict: &Bound<'_, PyDict>) -> PyResult<StateDict> {
    dict.iter()
        .map(|(name, value)| {
            let name: String = name.extract()?;
            let tensor = tensor_of(&value)
                .ok_or_else(|| type_error(format!("a state holds tensors by name; {name} is {}", type_name(&value))))?;
            Ok((name, tensor.detach()))
        })
        .collect()
}

fn dict_of(py: Python<'_>, state: StateDict) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, tensor) in state {
        dict.set_item(name, wrap(py, tensor)?)?;
    }
    Ok(dict)
}

/// Writes tensors by name to a safetensors file; the file is whole or what it was before.
#[pyfunction]
pub(crate) fn _save_state(py: Python<'_>, state: &Bound<'_, PyDict>, path: std::path::PathBuf) -> PyResult<()> {
    let state = state_of(state)?;
    py.detach(|| save_state(&state, path)).py()
}

/// Reads tensors by name from a safetensors file.
#[pyfunction]
pub(crate) fn _load_state(py: Python<'_>, path: std::path::PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let state = py.detach(|| load_state(path)).py()?;
    dict_of(py, state)
}

/// Tensors by name as the bytes of a safetensors file.
#[pyfunction]
pub(crate) fn _state_bytes<'py>(py: Python<'py>, state: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &state_bytes(&state_of(state)?).py()?))
}

/// Tensors by name from the bytes of a safetensors file.
#[pyfunction]
pub(crate) fn _parse_state<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    dict_of(py, parse_state(bytes).py()?)
}
