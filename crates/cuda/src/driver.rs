//! What the backend asks of a GPU, apart from what it asks for: so that its logic runs where there is none.

mod blas;
pub(crate) mod compile;
#[cfg(feature = "emulate")]
pub(crate) mod emulated;
mod nvidia;
#[cfg(test)]
pub(crate) mod recorded;
mod search;

use esker_tensor::Result;

use crate::products::Product;

pub(crate) use nvidia::Nvidia;

/// A compiled kernel, as its driver knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Function(pub(crate) usize);

/// How many threads run a kernel: blocks in three dimensions, threads of a block in one, bytes of dynamic shared memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grid {
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: u32,
    pub(crate) shared: u32,
}

impl Grid {
    /// So many blocks of so many threads.
    pub(crate) fn new(blocks: usize, threads: u32) -> Self {
        Self { blocks: [u32::try_from(blocks).unwrap_or(u32::MAX), 1, 1], threads, shared: 0 }
    }
}

/// The text of a module and the kernel that is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// For messages.
    pub(crate) name: String,
    /// All of it.
    pub(crate) source: String,
    /// The `extern "C"` kernel.
    pub(crate) entry: &'static str,
    /// Whether products and sums may be fused; elementwise kernels round each, as on the CPU.
    pub(crate) fuse: bool,
}

/// A GPU: memory, kernels, one stream on which all of it happens in order. Launches and copies to the device return at
/// once.
pub(crate) trait Driver: Send + Sync {
    /// Device memory, aligned to 512 bytes.
    fn alloc(&self, bytes: usize) -> Result<usize>;

    /// Whether it notices when a kernel leaves the memory that it was given: then each array should have memory of its own,
    /// of just its size, rather than a part of what the pool holds. Such memory is aligned to 16 bytes.
    fn guards(&self) -> bool {
        false
    }

    /// Gives device memory back.
    fn free(&self, address: usize);

    /// Compiles (or finds compiled) and loads a kernel.
    fn build(&self, text: &Text) -> Result<Function>;

    /// Queues a kernel; `args` are the bytes of its parameters.
    fn launch(&self, function: Function, grid: Grid, args: &[&[u8]]) -> Result<()>;

    /// Queues a matrix product of the vendor's library; says whether it could.
    fn product(&self, product: &Product, operands: &crate::products::Operands) -> Result<bool>;

    /// Queues a copy to the device; `from` may be changed when this returns.
    fn upload(&self, from: &[u8], to: usize) -> Result<()>;

    /// Copies from the device, after all that is queued.
    fn download(&self, from: usize, to: &mut [u8]) -> Result<()>;

    /// Queues a fill with one byte.
    fn fill(&self, address: usize, byte: u8, bytes: usize) -> Result<()>;

    /// Waits for all that is queued.
    fn synchronize(&self) -> Result<()>;

    /// The number of multiprocessors, by which grids are sized.
    fn multiprocessors(&self) -> usize;

    /// What it is, for people: name, memory, versions.
    fn describe(&self) -> String;
}
