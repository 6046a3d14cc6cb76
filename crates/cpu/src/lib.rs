//! Esker's kernel families on the CPU: SIMD by instruction set and the compute pool.
#![allow(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod affine;
mod arg_reduce;
mod backend;
mod concat;
mod conv;
mod copy;
mod elements;
mod gather;
mod gemm;
mod isa;
mod key;
mod lanes;
#[doc(hidden)]
pub mod limit;
mod map;
mod matmul;
mod moments;
mod norm;
mod operand;
mod pool;
mod random;
mod reduce;
mod row;
mod scan;
mod sort;
mod stream;
mod strided;
#[cfg(test)]
mod test;
pub mod threads;
mod transpose;
mod update;
mod vector;

#[doc(hidden)]
pub use gemm::bench_gemm_f32;
pub use isa::{Isa, force as force_isa, isa};
pub use threads::{num_threads, set_num_threads};
pub use vector::F32_BOUNDS;

/// Registers the CPU as the backend of `Device::Cpu`; calls after the first do nothing.
pub fn register() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| esker_ops::register(esker_tensor::Device::Cpu, std::sync::Arc::new(backend::CpuBackend)));
}

/// Threads and the instruction set are settings of the process; tests that change them take turns.
#[cfg(test)]
pub(crate) fn test_settings() -> std::sync::MutexGuard<'static, ()> {
    static SETTINGS: std::sync::Mutex<()> = std::sync::Mutex::new(());
    SETTINGS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
