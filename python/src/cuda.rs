//! What `esker.cuda` asks of GPUs.

use pyo3::prelude::*;

use crate::error::Raise;

/// The GPU's name, memory and versions.
#[pyfunction]
pub(crate) fn _cuda_describe(index: u32) -> PyResult<String> {
    esker::cuda(index).py()?;
    esker::gpu::describe(index).py()
}

/// Waits for all that is queued on a GPU; what its kernels found wrong is raised.
#[pyfunction]
pub(crate) fn _cuda_synchronize(py: Python<'_>, index: u32) -> PyResult<()> {
    let device = esker::cuda(index).py()?;
    py.detach(|| esker::ops::backend(device)?.synchronize()).py()
}

/// Bytes of a GPU's memory: in use, the most that ever were, waiting for reuse.
#[pyfunction]
pub(crate) fn _cuda_memory(index: u32) -> PyResult<(usize, usize, usize)> {
    esker::cuda(index).py()?;
    let stats = esker::gpu::memory_stats(index).py()?;
    Ok((stats.live, stats.peak, stats.cached))
}

/// Gives memory that nobody uses back to the driver.
#[pyfunction]
pub(crate) fn _cuda_trim(index: u32) -> PyResult<()> {
    esker::cuda(index).py()?;
    esker::gpu::trim(index).py()
}
