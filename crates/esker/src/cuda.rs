//! Opening GPUs.

use esker_tensor::{Device, Result};

/// Opens the GPU with this index, so that tensors can live there; a second time is free.
///
/// ```no_run
/// use esker::prelude::*;
///
/// # fn main() -> Result<()> {
/// let gpu = esker::cuda(0)?;
/// let x = Tensor::randn([3, 4])?.to_device(gpu)?;
/// println!("{}", x.matmul(&x.t()?)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Unavailable`, with the reason: no driver, one that is too old, no such GPU, no run-time compiler, or a build without
/// the feature `cuda`.
pub fn cuda(index: u32) -> Result<Device> {
    #[cfg(feature = "cuda")]
    return esker_cuda::open(index);
    #[cfg(not(feature = "cuda"))]
    Err(esker_tensor::Error::unavailable(format!(
        "cuda:{index} cannot be opened: Esker was built without its feature `cuda`"
    )))
}
