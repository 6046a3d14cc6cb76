//! Device memory, cached: freed blocks wait for the next request of their size. All work is on one stream, so a block that
//! is freed while kernels still use it can be given out again at once: what is queued later runs later.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, PoisonError};

use esker_tensor::{Error, ErrorKind, Result};

use crate::driver::Driver;
use crate::gpu::Words;

/// Sizes are multiples of this.
const UNIT: usize = 512;
/// Blocks up to this size are cut from slabs.
const SMALL: usize = 1 << 20;
/// The size of a slab.
const SLAB: usize = 32 << 20;

/// What the pool holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct MemoryStats {
    /// Bytes in blocks that are in use.
    pub live: usize,
    /// The most that were ever in use.
    pub peak: usize,
    /// Bytes in blocks that wait for the next request.
    pub cached: usize,
    /// Requests to the driver.
    pub requests: u64,
}

#[derive(Default)]
struct State {
    free: HashMap<usize, Vec<usize>, BuildHasherDefault<Words>>,
    slab: Option<(usize, usize)>,
    stats: MemoryStats,
}

/// The pool.
pub(crate) struct Memory {
    driver: Arc<dyn Driver>,
    /// As the driver's `guards`.
    guards: bool,
    state: Mutex<State>,
}

/// A block of device memory, which goes back to the pool when dropped.
pub(crate) struct Block {
    memory: Arc<Memory>,
    pub(crate) address: usize,
    size: usize,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.memory.give(self.address, self.size);
    }
}

/// The size of the block that serves a request: multiples of 512 bytes, then at most an eighth more than asked.
fn class_of(bytes: usize) -> Option<usize> {
    let bytes = bytes.max(1);
    let step = if bytes <= SMALL { bytes.next_power_of_two() / 8 } else { (bytes / 8).next_power_of_two() / 2 };
    bytes.checked_next_multiple_of(step.max(UNIT))
}

impl Memory {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Self {
        let guards = driver.guards();
        Self { driver, guards, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of at least `bytes` bytes.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Block> {
        let size = if self.guards { Some(bytes.max(1)) } else { class_of(bytes) };
        let size = size.ok_or_else(|| Error::shape(format!("{bytes} bytes do not fit an address space")))?;
        let mut state = self.state();
        let address = match state.free.get_mut(&size).and_then(Vec::pop) {
            Some(address) => {
                state.stats.cached -= size;
                address
            }
            None if size <= SMALL && !self.guards => self.cut(&mut state, size)?,
            None => self.request(&mut state, size)?,
        };
        state.stats.live += size;
        state.stats.peak = state.stats.peak.max(state.stats.live);
        Ok(Block { memory: Arc::clone(self), address, size })
    }

    /// A small block from the slab, or from a new one.
    fn cut(&self, state: &mut State, size: usize) -> Result<usize> {
        if state.slab.is_none_or(|(start, end)| start + size > end) {
            let start = self.request(state, SLAB)?;
            state.slab = Some((start, start + SLAB));
        }
        let Some((start, end)) = state.slab else { return Err(Error::kernel("a pool without a slab")) };
        state.slab = Some((start + size, end));
        Ok(start)
    }

    /// Memory from the driver; when there is none, what is cached goes back first.
    fn request(&self, state: &mut State, size: usize) -> Result<usize> {
        state.stats.requests += 1;
        let failure = match self.driver.alloc(size) {
            Err(failure) if matches!(failure.kind(), ErrorKind::OutOfMemory(_)) => failure,
            other => return other,
        };
        let cached = state.stats.cached;
        self.release(state);
        self.driver.alloc(size).map_err(|_| {
            Error::out_of_memory(format!(
                "{size} bytes were asked of the GPU while {} were in use and {cached} cached ({failure})",
                state.stats.live
            ))
        })
    }

    /// Gives the large blocks that nobody uses back to the driver.
    fn release(&self, state: &mut State) {
        for (&size, blocks) in state.free.iter_mut().filter(|(size, _)| **size > SMALL) {
            state.stats.cached -= size * blocks.len();
            blocks.drain(..).for_each(|address| self.driver.free(address));
        }
    }

    /// As [`Memory::release`].
    pub(crate) fn trim(&self) {
        self.release(&mut self.state());
    }

    fn give(&self, address: usize, size: usize) {
        let mut state = self.state();
        state.stats.live -= size;
        if self.guards {
            return self.driver.free(address);
        }
        state.stats.cached += size;
        state.free.entry(size).or_default().push(address);
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        self.state().stats
    }
}
