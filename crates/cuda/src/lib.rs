//! Esker's kernel families on NVIDIA GPUs.
//!
//! [`open`] finds the driver, makes the GPU known as `Device::Cuda(index)` and says why where it cannot. Kernels are text
//! (`esker-kernels`), compiled for the GPU at first use and kept on disk; elementwise kernels are written from the ops' own
//! expressions. Everything runs on one stream, in the order of the calls, and calls do not wait: values are waited for when
//! they are read, and what a kernel found wrong (an index out of range) is an error of that read.

#![allow(unsafe_code)]

mod arg_reduce;
mod backend;
mod buckets;
mod concat;
mod conv;
mod copy;
mod dense;
mod driver;
mod elements;
mod fault;
mod gather;
mod gpu;
mod map;
mod matmul;
mod memory;
mod norm;
mod pool;
mod products;
mod radix;
mod random;
mod reduce;
mod row;
mod scan;
mod sort;
#[cfg(test)]
mod tests;
mod update;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use esker_tensor::{Device, Error, Result};

use crate::backend::Cuda;
use crate::driver::Driver;
use crate::gpu::Gpu;

pub use memory::MemoryStats;

static OPENED: Mutex<Vec<(u32, Arc<Gpu>)>> = Mutex::new(Vec::new());

/// Opens the GPU with this index; a second time is free.
///
/// # Errors
/// `Unavailable`, with the reason: no driver, one that is too old, no such GPU, no run-time compiler.
pub fn open(index: u32) -> Result<Device> {
    open_with(index, || Ok(Arc::new(driver::Nvidia::open(index)?)))
}

/// Opens a GPU that is this machine's CPU: the same kernels, compiled by the system's C++ compiler, thread by thread. For
/// tests.
///
/// # Errors
/// `Unavailable` when there is no C++ compiler.
#[cfg(feature = "emulate")]
pub fn open_emulated(index: u32) -> Result<Device> {
    open_with(index, || Ok(Arc::new(driver::emulated::Emulated::open()?)))
}

/// The GPU for tests: a real one, or an emulated one; none, and a line that says why, where there is neither.
/// `ESKER_CUDA=emulated` leaves real ones alone, `ESKER_CUDA=none` both.
///
/// # Errors
/// `Unavailable` when `ESKER_REQUIRE` lists `cuda` and there is none.
#[cfg(feature = "emulate")]
pub fn open_for_tests(index: u32) -> Result<Option<Device>> {
    let wanted = std::env::var("ESKER_CUDA").unwrap_or_default();
    if wanted == "none" {
        println!("not run: ESKER_CUDA=none");
        return Ok(None);
    }
    let real = if wanted == "emulated" { Err(Error::unavailable("as asked")) } else { open(index) };
    let opened = real.or_else(|e| {
        println!("emulating: {e}");
        open_emulated(index)
    });
    let required = std::env::var("ESKER_REQUIRE").is_ok_and(|list| list.split(',').any(|r| r == "cuda"));
    match opened {
        Ok(device) => {
            println!("{}", describe(index)?);
            Ok(Some(device))
        }
        Err(e) if required => Err(e),
        Err(e) => {
            println!("not run: {e}");
            Ok(None)
        }
    }
}

fn open_with(index: u32, driver: impl FnOnce() -> Result<Arc<dyn Driver>>) -> Result<Device> {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::Cuda(index);
    if opened.iter().all(|(i, _)| *i != index) {
        let gpu = Arc::new(Gpu::new(driver()?)?);
        esker_ops::register(device, Arc::new(Cuda { gpu: Arc::clone(&gpu) }));
        opened.push((index, gpu));
    }
    Ok(device)
}

fn opened(index: u32) -> Result<Arc<Gpu>> {
    let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let found = opened.iter().find(|(i, _)| *i == index).map(|(_, gpu)| Arc::clone(gpu));
    found.ok_or_else(|| Error::unavailable(format!("cuda:{index} was not opened; call esker::cuda({index}) first")))
}

/// The GPU's name, its memory, and the versions of what runs it.
///
/// # Errors
/// `Unavailable` when the GPU was not opened.
pub fn describe(index: u32) -> Result<String> {
    Ok(opened(index)?.driver.describe())
}

/// What a GPU's memory pool holds.
///
/// # Errors
/// `Unavailable` when the GPU was not opened.
pub fn memory_stats(index: u32) -> Result<MemoryStats> {
    Ok(opened(index)?.memory.stats())
}

/// Gives memory that nobody uses back to the driver.
///
/// # Errors
/// `Unavailable` when the GPU was not opened.
pub fn trim(index: u32) -> Result<()> {
    opened(index)?.memory.trim();
    Ok(())
}

/// How many kernels were queued, and how often the host waited for the GPU.
///
/// # Errors
/// `Unavailable` when the GPU was not opened.
pub fn counts(index: u32) -> Result<(u64, u64)> {
    Ok(opened(index)?.counts())
}
