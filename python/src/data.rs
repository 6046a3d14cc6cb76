//! Data sets, readers and changes to images.

use std::path::PathBuf;

use esker::data::RandomAffine;
use esker::tensor::philox::next_key;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Raise;
use crate::tensor::{PyTensor, wrap, wrap_all};

/// The handwritten digits that travel with Esker: images and labels.
#[pyfunction]
pub(crate) fn _digits(py: Python<'_>) -> PyResult<Py<PyTuple>> {
    let (images, labels) = esker::data::digits().py()?;
    wrap_all(py, vec![images, labels])
}

/// Reads an IDX file, compressed with gzip or not.
#[pyfunction]
pub(crate) fn _read_idx(py: Python<'_>, path: PathBuf) -> PyResult<Py<PyTensor>> {
    let array = py.detach(|| esker::data::read_idx(path)).py()?;
    wrap(py, array)
}

/// The path of one file of a data set.
#[pyfunction]
pub(crate) fn _find_data(name: &str, file: &str) -> PyResult<PathBuf> {
    let [path] = esker::data::find_data(name, [file]).py()?;
    Ok(path)
}

/// Images turned, shifted, scaled and slanted at random.
#[pyfunction]
pub(crate) fn _random_affine(
    py: Python<'_>,
    images: &Bound<'_, PyTensor>,
    degrees: f32,
    shift: f32,
    scale: f32,
    shear: f32,
) -> PyResult<Py<PyTensor>> {
    let (images, key) = (images.get().get().clone(), next_key());
    let changed = py.detach(|| RandomAffine { degrees, shift, scale, shear }.apply(&images, key)).py()?;
    wrap(py, changed)
}
