//! Buffers for packed operands, kept by each thread between calls.

use std::cell::RefCell;
use std::thread::LocalKey;

use esker_tensor::{Result, Storage};

use super::Element;

/// A thread's buffer.
pub(super) type Scratch = LocalKey<RefCell<Option<Storage>>>;

thread_local! {
    /// For rows of A.
    pub(super) static A: RefCell<Option<Storage>> = const { RefCell::new(None) };
    /// For columns of B.
    pub(super) static B: RefCell<Option<Storage>> = const { RefCell::new(None) };
}

/// The least size of a buffer, so that small products of several sizes share one.
const LEAST: usize = 256 << 10;

/// Calls `f` with `len` arbitrary elements. A call within `f` gets a buffer of its own.
pub(super) fn with<T: Element, R>(
    scratch: &'static Scratch,
    len: usize,
    f: impl FnOnce(&mut [T]) -> Result<R>,
) -> Result<R> {
    let bytes = len * size_of::<T>();
    let mut block = match scratch.take().filter(|s| s.len() >= bytes) {
        Some(block) => block,
        None => Storage::alloc(bytes.max(LEAST).next_multiple_of(64))?,
    };
    let done = f(bytemuck::cast_slice_mut(&mut block.make_mut()?[..bytes]));
    scratch.set(Some(block));
    done
}
