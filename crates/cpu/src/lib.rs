//! Esker's kernel families on the CPU: SIMD by instruction set and the compute pool.
#![allow(unsafe_code)]

mod gemm;
mod isa;
pub mod threads;

pub use isa::{Isa, force as force_isa, isa};

/// Threads and the instruction set are settings of the process; tests that change them take turns.
#[cfg(test)]
pub(crate) fn test_settings() -> std::sync::MutexGuard<'static, ()> {
    static SETTINGS: std::sync::Mutex<()> = std::sync::Mutex::new(());
    SETTINGS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
