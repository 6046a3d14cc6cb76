//! Reference-counted bytes: the only module of this crate with `unsafe` code.
//!
//! A [`Storage`] is one pointer to a [`Header`]. Small blocks carry the header in the same pool slot, 64 bytes in front
//! of the data, so that a small tensor costs one trip to the pool; larger ones have it apart.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pool::{self, ALIGN, HEADER_BYTES, INLINE_MAX, Region, SMALL_MAX};
use crate::{Error, Result, site};

// ---- raw blocks, for the pool

/// The beginning of a piece of pool memory, with provenance over its slab. Whoever holds it owns the piece.
pub(crate) struct Slot(NonNull<u8>);

// SAFETY: a slot is an address whose holder owns the memory behind it; nothing about it belongs to a thread.
unsafe impl Send for Slot {}

impl Slot {
    pub(crate) fn new(start: NonNull<u8>) -> Self {
        Self(start)
    }

    /// The slot that begins `bytes` further on, in the same slab.
    pub(crate) fn offset(&self, bytes: usize) -> Self {
        Self(self.0.map_addr(|address| address.saturating_add(bytes)))
    }

    #[cfg(test)]
    pub(crate) fn address(&self) -> usize {
        self.0.addr().get()
    }
}

/// Zeroed memory from the global allocator, where there are no mappings.
pub(crate) struct Heap {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the heap memory is owned through `start` alone, and the global allocator takes it back on any thread.
unsafe impl Send for Heap {}
// SAFETY: a shared `Heap` gives out nothing but its address.
unsafe impl Sync for Heap {}

impl Heap {
    /// `bytes` zero bytes, or `None` when there are not as many or none are asked for.
    pub(crate) fn zeroed(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes, ALIGN).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, bytes })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        if let Ok(layout) = Layout::from_size_align(self.bytes, ALIGN) {
            // SAFETY: `zeroed` got `start` for this very layout, and it is given back once, here.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

// ---- storage

/// Where a block's memory goes when its last owner is gone.
enum Home {
    /// A pool slot that begins with this header.
    Inline { class: usize },
    /// A pool slot that holds the data alone.
    Apart { class: usize },
    /// A region of its own.
    Large(Region),
    /// Memory that somebody else owns, kept alive by holding their handle.
    Foreign { _owner: Box<dyn Any + Send + Sync> },
    /// Memory of another device, which this process cannot read; dropping the owner gives it back.
    Device { _owner: Box<dyn Any + Send + Sync> },
    /// No memory.
    Meta,
}

/// What the owners of a block share.
struct Header {
    owners: AtomicUsize,
    data: NonNull<u8>,
    len: usize,
    home: Home,
}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES && align_of::<Header>() <= ALIGN);

/// Bytes with any number of owners: cloning shares them, and only a sole owner can write.
///
/// The bytes are aligned to 64 and come from the caching [`pool`], or belong to somebody else
/// ([`Storage::foreign`]).
pub struct Storage(NonNull<Header>);

// SAFETY: the count is atomic, the bytes are written through a sole owner alone, and a foreign owner is Send.
unsafe impl Send for Storage {}
// SAFETY: a shared `Storage` gives out shared bytes and clones only, and a foreign owner is Sync.
unsafe impl Sync for Storage {}

impl Storage {
    /// `bytes` bytes with whatever they held before.
    pub fn alloc(bytes: usize) -> Result<Self> {
        Ok(Self::alloc_noting_zeros(bytes)?.0)
    }

    /// `bytes` bytes of zero.
    pub fn zeroed(bytes: usize) -> Result<Self> {
        let (mut storage, zeros) = Self::alloc_noting_zeros(bytes)?;
        if !zeros && let Some(data) = storage.get_mut() {
            data.fill(0);
        }
        Ok(storage)
    }

    /// A copy of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut storage = Self::alloc(bytes.len())?;
        if let Some(data) = storage.get_mut() {
            data.copy_from_slice(bytes);
        }
        Ok(storage)
    }

    /// No bytes, but an identity of its own, for tensors that have a shape and no data.
    pub fn meta() -> Self {
        Self::with_boxed_header(aligned_dangling(), 0, Home::Meta)
    }

    /// `bytes` bytes at `ptr`, which Esker does not own and never writes; `owner` is dropped with the last clone.
    ///
    /// # Safety
    /// Until `owner` is dropped, the `bytes` bytes at `ptr` must be initialised, readable from any thread and not
    /// written by anyone. `ptr` may be null if `bytes` is 0.
    pub unsafe fn foreign(ptr: *const u8, bytes: usize, owner: Box<dyn Any + Send + Sync>) -> Self {
        let data = NonNull::new(ptr.cast_mut()).unwrap_or(aligned_dangling());
        Self::with_boxed_header(data, bytes, Home::Foreign { _owner: owner })
    }

    /// `bytes` bytes at `address` in the memory of another device, which only that device's backend reads and writes;
    /// `owner` is dropped with the last clone.
    pub fn on_device(address: usize, bytes: usize, owner: Box<dyn Any + Send + Sync>) -> Self {
        let data = NonNull::new(std::ptr::without_provenance_mut(address)).unwrap_or(aligned_dangling());
        let storage = Self::with_boxed_header(data, bytes, Home::Device { _owner: owner });
        site::made(storage.id(), bytes);
        storage
    }

    /// A block, and whether its bytes are known to be zero.
    #[inline]
    fn alloc_noting_zeros(bytes: usize) -> Result<(Self, bool)> {
        let (storage, zeros) = Self::take(bytes)?;
        site::made(storage.id(), bytes);
        Ok((storage, zeros))
    }

    #[inline]
    fn take(bytes: usize) -> Result<(Self, bool)> {
        if bytes <= INLINE_MAX {
            return Ok((Self::alloc_inline(bytes)?, false));
        }
        if bytes <= SMALL_MAX {
            let class = pool::class_of(bytes);
            let slot = pool::take(class, bytes)?;
            return Ok((Self::with_boxed_header(slot.0, bytes, Home::Apart { class }), false));
        }
        let (region, zeros) = pool::take_large(bytes)?;
        Ok((Self::with_boxed_header(region.start(), bytes, Home::Large(region)), zeros))
    }

    #[inline]
    fn alloc_inline(bytes: usize) -> Result<Self> {
        let class = pool::class_of(bytes);
        let slot = pool::take(class, bytes)?;
        let header = slot.0.cast::<Header>();
        // SAFETY: a slot of an inline class has HEADER_BYTES in front of its class's bytes, aligned to ALIGN, which is
        // enough for a header; the slot is ours alone.
        unsafe {
            let data = slot.0.add(HEADER_BYTES);
            header.write(Header { owners: AtomicUsize::new(1), data, len: bytes, home: Home::Inline { class } });
        }
        Ok(Self(header))
    }

    fn with_boxed_header(data: NonNull<u8>, len: usize, home: Home) -> Self {
        let header = Box::new(Header { owners: AtomicUsize::new(1), data, len, home });
        Self(NonNull::from(Box::leak(header)))
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: the header lives until the last owner is gone, and `self` is an owner. Apart from the atomic count it
        // is never written while it lives.
        unsafe { self.0.as_ref() }
    }

    /// The number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.header().len
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the bytes belong to somebody else.
    #[inline]
    pub fn is_foreign(&self) -> bool {
        matches!(self.header().home, Home::Foreign { .. })
    }

    /// Whether this is a storage without data, from [`Storage::meta`].
    #[inline]
    pub fn is_meta(&self) -> bool {
        matches!(self.header().home, Home::Meta)
    }

    /// Whether the bytes are in the memory of another device.
    #[inline]
    pub fn is_on_device(&self) -> bool {
        matches!(self.header().home, Home::Device { .. })
    }

    /// How many bytes this process can read.
    #[inline]
    fn readable(&self) -> usize {
        if self.is_on_device() { 0 } else { self.len() }
    }

    /// The address of the first byte.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.header().data.as_ptr()
    }

    /// The bytes; none of a storage on another device.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `data` holds `readable` initialised bytes (mapped as zeros, or foreign and promised), which live as long
        // as an owner does; nobody writes them while `self` is borrowed, since writing takes a sole owner borrowed mutably.
        unsafe { std::slice::from_raw_parts(self.header().data.as_ptr(), self.readable()) }
    }

    /// The identity: equal for clones, different for any two storages that live at the same time.
    #[inline]
    pub fn id(&self) -> usize {
        self.0.addr().get()
    }

    /// Whether this is the only owner, of bytes that are Esker's.
    #[inline]
    pub fn is_unique(&self) -> bool {
        // Acquire: what the owners that are gone have read was read before what the sole owner will write.
        !self.is_foreign() && self.header().owners.load(Ordering::Acquire) == 1
    }

    /// The bytes to write, if this is their only owner.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        if !self.is_unique() {
            return None;
        }
        // SAFETY: as in `bytes`; and `self` is the only owner and borrowed mutably, so that no other reference to the
        // bytes exists or can be made. They are Esker's, hence writable.
        Some(unsafe { std::slice::from_raw_parts_mut(self.header().data.as_ptr(), self.readable()) })
    }

    /// The bytes to write; shared or foreign ones are copied first, which
    /// [`PoolStats::copies_on_write`](pool::PoolStats::copies_on_write) counts.
    ///
    /// # Errors
    /// `OutOfMemory`; `Device` when the bytes are another device's.
    pub fn make_mut(&mut self) -> Result<&mut [u8]> {
        if self.is_on_device() {
            return Err(Error::device(
                "the memory of another device is written by its own kernels; move the tensor first",
            ));
        }
        if !self.is_unique() && !self.is_meta() {
            *self = Self::from_bytes(self.bytes())?;
            pool::note_copy_on_write();
        }
        // None is left for a shared meta storage, which has no bytes.
        Ok(self.get_mut().unwrap_or_default())
    }
}

/// An aligned address for no bytes.
fn aligned_dangling() -> NonNull<u8> {
    /// Lends its alignment.
    #[repr(align(64))]
    struct Line;
    NonNull::<Line>::dangling().cast()
}

impl Clone for Storage {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed: a new owner can only come from an existing one, as in `Arc`.
        if self.header().owners.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
            // So many clones can only have been forgotten; a wrapped count would free memory in use.
            std::process::abort();
        }
        Self(self.0)
    }
}

impl Drop for Storage {
    #[inline]
    fn drop(&mut self) {
        let owners = &self.header().owners;
        // A sole owner stays one, so that the common case needs no locked subtraction.
        if owners.load(Ordering::Acquire) != 1 {
            if owners.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // A load in place of a fence, as race detectors do not know fences.
            owners.load(Ordering::Acquire);
        }
        site::freed(self.id());
        // SAFETY: this was the last owner, and the Acquire above orders all that others did before what follows.
        unsafe { release(self.0) }
    }
}

/// Gives a block's memory home.
///
/// # Safety
/// No owner of `header` is left, and this is called once.
#[inline]
unsafe fn release(header: NonNull<Header>) {
    // SAFETY: the header is valid until the end of this function.
    let (home, len) = unsafe { (&header.as_ref().home, header.as_ref().len) };
    if let Home::Inline { class } = *home {
        // The header has no destructor to run: its count, address and home are plain data.
        return pool::give(Slot(header.cast()), class, len);
    }
    // SAFETY: all headers but the inline ones come from `Box::leak` in `with_boxed_header`.
    let header = unsafe { Box::from_raw(header.as_ptr()) };
    match header.home {
        Home::Apart { class } => pool::give(Slot(header.data), class, len),
        Home::Large(region) => pool::give_large(region, len),
        Home::Inline { .. } | Home::Foreign { .. } | Home::Device { .. } | Home::Meta => {}
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_meta() {
            "meta"
        } else if self.is_on_device() {
            "device"
        } else if self.is_foreign() {
            "foreign"
        } else {
            "cpu"
        };
        write!(f, "Storage({kind}, {} bytes, id {:#x})", self.len(), self.id())
    }
}
