//! Esker: a deep-learning framework that trains and ships.
//!
//! Everything is reachable from here; `use esker::prelude::*` brings what programs usually need. The README's quickstart:
#![doc = include_str!("../../../README.md")]

pub use esker_autograd as autograd;
pub use esker_cpu as cpu;
pub use esker_data as data;
pub use esker_graph as graph;
pub use esker_nn as nn;
pub use esker_onnx as onnx;
pub use esker_ops as ops;
pub use esker_tensor as tensor;

pub use esker_autograd::{GradMode, GradOptions, Param, Tensor, grad, grad_with, gradcheck, no_grad};
pub use esker_nn::optim;
pub use esker_tensor::philox::manual_seed;
pub use esker_tensor::{DType, Device, Error, ErrorKind, Result};

/// What programs usually need.
pub mod prelude {
    pub use esker_autograd::{Param, Tensor, no_grad};
    pub use esker_nn::{Module, ModuleExt};
    pub use esker_ops::{Ops, Value};
    pub use esker_tensor::{DType, Device, Error, Result};
}

/// Opens the GPU with this index.
///
/// # Errors
/// `Unavailable`, always so far: this version has no CUDA backend; the sentence also says whether a driver is there.
pub fn cuda(index: u32) -> Result<Device> {
    let driver = ["libcuda.so.1", "libcuda.so"]
        .iter()
        .flat_map(|name| ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(|dir| format!("{dir}/{name}")))
        .any(|path| std::path::Path::new(&path).exists());
    let driver = if driver { "an NVIDIA driver was found" } else { "no NVIDIA driver (libcuda.so.1) was found" };
    Err(Error::unavailable(format!("cuda:{index}: this version of Esker has no CUDA backend; {driver}")))
}
