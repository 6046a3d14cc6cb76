//! The native half of the Python package `esker`: tensors, the op table as builtins, the tape, optimisers, files.
//!
//! What a row of the table is called, which arguments it takes and what they default to is read from the table when the
//! module is imported ([`bind`]); nothing here repeats it.
#![allow(unsafe_code)] // CPython's interface; each block says why it holds.

mod args;
mod bind;
mod buffer;
mod construct;
mod create;
mod cuda;
mod data;
mod dlpack;
mod dtype;
mod error;
mod function;
mod grad;
mod graph;
mod index;
mod numbers;
mod optim;
mod rows;
mod show;
mod state;
mod tensor;

use esker::{DType, ops};
use pyo3::prelude::*;

/// Esker's native half.
#[pymodule(gil_used = true)]
fn _esker(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    error::add(m)?;
    m.add_class::<tensor::PyTensor>()?;
    m.add_class::<dtype::PyDType>()?;
    m.add_class::<dtype::PyDevice>()?;
    m.add_class::<grad::Handle>()?;
    m.add_class::<optim::Native>()?;
    m.add_class::<graph::PyGraph>()?;
    for dtype in DType::ALL {
        m.add(dtype.name(), dtype::dtype_object(py, dtype)?)?;
    }
    bind::add(m)?;
    macro_rules! functions {
        ($($path:path),* $(,)?) => { $(m.add_function(wrap_pyfunction!($path, m)?)?;)* };
    }
    functions![
        construct::tensor,
        construct::set_default_dtype,
        construct::get_default_dtype,
        create::full,
        create::arange,
        create::randint,
        create::randperm,
        create::manual_seed,
        create::_rng_state,
        create::_set_rng_state,
        data::_digits,
        data::_read_idx,
        data::_find_data,
        data::_random_affine,
        buffer::from_numpy,
        dlpack::from_dlpack,
        show::_set_print_options,
        state::_save_state,
        state::_load_state,
        state::_state_bytes,
        state::_parse_state,
        optim::_clip_grad_norm,
        optim::_clip_grad_value,
        function::_apply_function,
        function::_batch_norm_train,
        function::_checkpoint,
        graph::_capture,
        graph::_load_onnx,
        cuda::_cuda_describe,
        cuda::_cuda_synchronize,
        cuda::_cuda_memory,
        cuda::_cuda_trim,
        grad::grad,
        grad::grad_enabled,
        grad::_set_grad_enabled,
        grad::_set_detect_anomaly,
        grad::_unreached,
        set_num_threads,
        get_num_threads,
    ];
    Ok(())
}

/// Sets the number of threads of the compute pool.
#[pyfunction]
fn set_num_threads(n: usize) {
    esker::set_num_threads(n);
}

/// The number of threads of the compute pool.
#[pyfunction]
fn get_num_threads() -> usize {
    esker::num_threads()
}
