//! Esker: a deep-learning framework that trains and ships.
//!
//! Everything is reachable from here; `use esker::prelude::*` brings what programs usually need. From the README:
#![doc = include_str!("../../../README.md")]

mod capture;
mod cuda;

pub use esker_autograd as autograd;
pub use esker_cpu as cpu;
#[cfg(feature = "cuda")]
pub use esker_cuda as gpu;
pub use esker_data as data;
pub use esker_graph as graph;
pub use esker_nn as nn;
pub use esker_onnx as onnx;
pub use esker_ops as ops;
pub use esker_tensor as tensor;

pub use capture::{capture, capture_of};
pub use cuda::cuda;
pub use esker_autograd::{
    GradMode, GradOptions, Param, Tensor, checkpoint, detect_anomaly, grad, grad_with, gradcheck, no_grad,
};
pub use esker_cpu::{num_threads, set_num_threads};
pub use esker_graph::InputSpec;
pub use esker_nn::{optim, sequential};
pub use esker_tensor::philox::manual_seed;
pub use esker_tensor::{DType, Device, Error, ErrorKind, Result};

/// What programs usually need.
///
/// Indexing reads with `index` and gives a changed value with `index_set`:
/// ```
/// use esker::prelude::*;
/// # fn main() -> Result<()> {
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
/// let columns = Tensor::from_slice(&[2i64, 0], [2])?;
/// assert_eq!(x.index(&i![0, 1..])?.to_vec::<f32>()?, [2.0, 3.0]);
/// assert_eq!(x.index(&i![.., &columns])?.to_vec::<f32>()?, [3.0, 1.0, 6.0, 4.0]);
/// assert_eq!(x.index(&i![.., None, Index::by(.., -1)])?.shape()[..], [2, 1, 3]);
/// let large = x.gt(&Tensor::from_slice(&[3.5f32], [1])?)?;
/// let cut = x.index_set(&i![&large], &Tensor::zeros([1])?, false)?;
/// assert_eq!(cut.to_vec::<f32>()?, [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
/// # Ok(())
/// # }
/// ```
pub mod prelude {
    pub use esker_autograd::{Param, Tensor, grad, no_grad};
    pub use esker_nn::optim::Optimizer;
    pub use esker_nn::{Forward, Module, ModuleExt, Visitor, Within, accuracy, cross_entropy, mse_loss, sequential};
    pub use esker_ops::{Index, Indexing, Ops, Value, i};
    pub use esker_tensor::{DType, Device, Error, Result};
}
