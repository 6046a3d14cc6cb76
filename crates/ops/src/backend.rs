//! What a device must be able to do, and the register of devices that can.

use std::sync::{Arc, OnceLock, RwLock};

use esker_tensor::{Device, Error, Result, Storage};

use crate::{Array, Kernel, Map, Update};

/// A device's memory and its kernel families.
pub trait Backend: Send + Sync {
    /// Memory for `bytes` bytes with arbitrary contents.
    ///
    /// # Errors
    /// `OutOfMemory`.
    fn alloc(&self, bytes: usize) -> Result<Storage>;

    /// Runs a kernel. Outputs are dense, freshly allocated and of the metas that the op inferred.
    ///
    /// # Errors
    /// `Kernel` when input values are not allowed; `Unavailable` for a combination this backend lacks.
    fn run(&self, kernel: &Kernel, inputs: &[&Array], outputs: &mut [Array]) -> Result<()>;

    /// Runs an elementwise kernel whose first input and output are both `target`; the other inputs broadcast to it.
    /// The caller has made sure that `target` is the only owner of its storage.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn run_in_place(&self, map: Map, target: &mut Array, others: &[&Array]) -> Result<()>;

    /// Runs an optimiser's step in one pass over its operands, and says whether it did: a backend may have no such kernel,
    /// or not for operands like these, and then leaves them as they are.
    ///
    /// # Errors
    /// `Kernel` when a target shares its memory.
    fn update(&self, _: &Update, _p: &mut Array, _grad: &Array, _states: &mut [&mut Array]) -> Result<bool> {
        Ok(false)
    }

    /// The values of input number `input` of a kernel, in the memory order that the kernel reads fastest: for constants,
    /// which are read often. `None` where they lie well.
    ///
    /// # Errors
    /// Those of the copy.
    fn arrange(&self, _: &Kernel, _input: usize, _x: &Array) -> Result<Option<Array>> {
        Ok(None)
    }

    /// Copies a whole storage to host memory of the same length.
    ///
    /// # Errors
    /// `Device` when the device failed.
    fn read(&self, from: &Storage, to: &mut [u8]) -> Result<()>;

    /// Copies host memory to a whole storage of the same length.
    ///
    /// # Errors
    /// `Device` when the device failed.
    fn write(&self, from: &[u8], to: &mut Storage) -> Result<()>;

    /// Waits until everything submitted is done.
    ///
    /// # Errors
    /// `Device` when something submitted failed.
    fn synchronize(&self) -> Result<()>;
}

static CPU: OnceLock<Arc<dyn Backend>> = OnceLock::new();
static OTHERS: RwLock<Vec<(Device, &'static Arc<dyn Backend>)>> = RwLock::new(Vec::new());

/// Registers the backend of a device for the life of the process; the first registration of a device stays.
pub fn register(device: Device, backend: Arc<dyn Backend>) {
    if device == Device::Cpu {
        let _ = CPU.set(backend); // A second registration is the same backend again.
        return;
    }
    let mut others = OTHERS.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    if others.iter().all(|(d, _)| *d != device) {
        others.push((device, Box::leak(Box::new(backend))));
    }
}

/// The backend of a device.
///
/// # Errors
/// `Unavailable` when nobody registered it.
pub fn backend(device: Device) -> Result<&'static dyn Backend> {
    let found = match device {
        Device::Cpu => CPU.get().map(|b| &**b),
        _ => {
            let others = OTHERS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            others.iter().find(|(d, _)| *d == device).map(|(_, b)| &***b)
        }
    };
    found.ok_or_else(|| match device {
        Device::Cpu => Error::unavailable("no CPU backend is registered; call esker_cpu::register() first"),
        Device::Meta => Error::capture("meta tensors have no data and run no kernels"),
        device => Error::unavailable(format!("{device} was not opened; call esker::cuda(index) first")),
    })
}
