//! Bytes with a dtype, a shape, strides and a home: the storage layer of Esker.
//!
//! Nothing here computes. [`DType`], [`Shape`], [`Layout`] and [`Device`] describe a tensor, [`Storage`] owns its bytes
//! (from a caching pool, see [`pool`]), [`Error`] is the error of the whole framework and [`philox`] its random numbers.

mod device;
mod dtype;
mod error;
mod file;
mod layout;
mod shape;
mod storage;

pub mod philox;
pub mod pool;
pub mod site;

pub use device::Device;
pub use dtype::{DType, Element};
pub use error::{Error, ErrorKind, Result};
pub use file::write_atomic;
pub use layout::Layout;
pub use shape::{Dims, MAX_RANK, PerDim, Shape, Strides};
pub use storage::Storage;
