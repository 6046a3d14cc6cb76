//! The caching pool behind every CPU [`Storage`](crate::Storage).
//!
//! First-touch page faults cost more than the arithmetic on the bytes, so memory once taken from the operating system
//! is kept and reused:
//!
//! - **Small blocks** (up to 1 MiB) come in size classes, powers of two with four steps, carved from 2 MiB slabs that
//!   ask for huge pages. Each thread keeps a short list of free slots for each class up to 64 KiB, so that a hot loop
//!   takes no lock; what overflows, and what a thread leaves at its end, goes to lists shared under one lock.
//!   Slabs are never given back.
//! - **Large blocks** have a mapping of their own, in multiples of 2 MiB. A freed one is kept, and serves the next request
//!   that it fits best; [`trim`] gives the kept ones back.
//!
//! This module keeps the books and never touches the memory itself; `storage` does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapMut, MmapRaw};

use crate::storage::{Heap, Slot};
use crate::{Error, Result};

/// Every block begins at a multiple of this: a cache line, and the widest vector register.
pub const ALIGN: usize = 64;
/// The size of a slab and the grain of large blocks: one huge page.
const HUGE: usize = 2 << 20;
/// The largest block carved from a slab.
pub(crate) const SMALL_MAX: usize = 1 << 20;
/// Up to this size a slot carries its header in front of the bytes; above, the header lives apart, so that powers of
/// two fill a slab without a remainder.
pub(crate) const INLINE_MAX: usize = 32 << 10;
/// What a header takes in front of the bytes; keeps the bytes aligned.
pub(crate) const HEADER_BYTES: usize = ALIGN;

/// Classes 0 to 8 are multiples of 64 bytes, from there on four steps to each power of two.
const CLASSES: usize = class_of(SMALL_MAX) + 1;
/// Classes that threads keep lists of their own for.
const LOCAL_CLASSES: usize = class_of(64 << 10) + 1;
/// About as many free bytes of one class as a thread keeps to itself.
const LOCAL_BYTES: usize = 128 << 10;
/// How far a thread's live bytes move before the peak sees them from other threads.
const FLUSH: isize = 32 << 10;

/// The size class whose blocks hold `bytes`, at most [`SMALL_MAX`].
#[inline]
pub(crate) const fn class_of(bytes: usize) -> usize {
    let units = bytes.div_ceil(ALIGN);
    if units <= 8 {
        return units;
    }
    let last = units - 1;
    let power = last.ilog2() as usize;
    9 + (power - 3) * 4 + ((last >> (power - 2)) & 3)
}

/// How many bytes a block of `class` holds.
const fn class_bytes(class: usize) -> usize {
    if class <= 8 {
        return class * ALIGN;
    }
    let (power, step) = ((class - 9) / 4 + 3, (class - 9) % 4);
    ((5 + step) << (power - 2)) * ALIGN
}

/// How many bytes of a slab a block of `class` takes.
const fn slot_bytes(class: usize) -> usize {
    let bytes = class_bytes(class);
    if bytes <= INLINE_MAX { HEADER_BYTES + bytes } else { bytes }
}

/// How many free slots of each class a thread keeps to itself.
const LOCAL_LIMIT: [usize; LOCAL_CLASSES] = {
    let mut limits = [0; LOCAL_CLASSES];
    let mut class = 0;
    while class < LOCAL_CLASSES {
        let n = LOCAL_BYTES / slot_bytes(class);
        limits[class] = if n < 2 {
            2
        } else if n > 64 {
            64
        } else {
            n
        };
        class += 1;
    }
    limits
};

// ---- memory from the operating system

/// Where regions come from: mappings, or the global allocator on targets without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Mapping,
    Heap,
}

const SOURCE: Source = if cfg!(all(unix, not(miri))) { Source::Mapping } else { Source::Heap };

enum Memory {
    Mapping(MmapRaw),
    Heap(Heap),
}

/// Zeroed memory from the operating system, given back when dropped.
pub(crate) struct Region {
    memory: Memory,
    bytes: usize,
}

static RESERVED: AtomicUsize = AtomicUsize::new(0);
static FROM_OS: AtomicU64 = AtomicU64::new(0);

impl Region {
    fn new(bytes: usize, source: Source) -> Option<Self> {
        let memory = match source {
            Source::Mapping => Memory::Mapping(map(bytes)?),
            Source::Heap => Memory::Heap(Heap::zeroed(bytes)?),
        };
        RESERVED.fetch_add(bytes, Relaxed);
        FROM_OS.fetch_add(1, Relaxed);
        Some(Self { memory, bytes })
    }

    /// The first of the region's bytes; its provenance covers them all.
    pub(crate) fn start(&self) -> NonNull<u8> {
        match &self.memory {
            Memory::Mapping(mapping) => huge_start(mapping),
            Memory::Heap(heap) => heap.start(),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        RESERVED.fetch_sub(self.bytes, Relaxed);
    }
}

/// An anonymous mapping with `bytes` bytes from its first 2 MiB boundary on.
fn map(bytes: usize) -> Option<MmapRaw> {
    let anonymous = |bytes| MmapMut::map_anon(bytes).ok().map(MmapRaw::from);
    // Kernels tend to place a mapping right below the last one, so that the exact size is mostly aligned already.
    let exact = anonymous(bytes)?;
    let mapping = if exact.as_ptr().addr().is_multiple_of(HUGE) {
        exact
    } else {
        drop(exact);
        anonymous(bytes.checked_add(HUGE)?)?
    };
    #[cfg(target_os = "linux")]
    {
        let skipped = huge_start(&mapping).addr().get() - mapping.as_ptr().addr();
        // Only a hint: without huge pages the memory is slower to touch, and that is all.
        let _ = mapping.advise_range(memmap2::Advice::HugePage, skipped, bytes);
    }
    Some(mapping)
}

fn huge_start(mapping: &MmapRaw) -> NonNull<u8> {
    let base = mapping.as_mut_ptr();
    let skip = base.addr().next_multiple_of(HUGE) - base.addr();
    NonNull::new(base.wrapping_add(skip)).unwrap_or(NonNull::dangling())
}

// ---- what all threads share

struct Shared {
    source: Source,
    free: [Vec<Slot>; CLASSES],
    slabs: Vec<Region>,
    /// The end of the newest slab, not carved yet.
    rest: Option<Slot>,
    rest_bytes: usize,
    /// Kept large regions by size.
    large: BTreeMap<usize, Vec<Region>>,
    threads: Vec<Arc<Tally>>,
}

static SHARED: Mutex<Shared> = Mutex::new(Shared::new(SOURCE));

fn shared() -> MutexGuard<'static, Shared> {
    // Nothing under the lock runs foreign code, so that a poisoned state is still a whole one.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    const fn new(source: Source) -> Self {
        Self {
            source,
            free: [const { Vec::new() }; CLASSES],
            slabs: Vec::new(),
            rest: None,
            rest_bytes: 0,
            large: BTreeMap::new(),
            threads: Vec::new(),
        }
    }

    /// A slot of `class`: a freed one, else a new one, from a new slab if need be.
    fn take(&mut self, class: usize) -> Option<Slot> {
        if let Some(slot) = self.take_ready(class) {
            return Some(slot);
        }
        self.grow()?;
        self.carve(class)
    }

    /// A slot of `class` if that needs no new slab.
    fn take_ready(&mut self, class: usize) -> Option<Slot> {
        self.free[class].pop().or_else(|| self.carve(class))
    }

    /// Cuts a slot of `class` from the newest slab.
    fn carve(&mut self, class: usize) -> Option<Slot> {
        let bytes = slot_bytes(class);
        if self.rest_bytes < bytes {
            return None;
        }
        let slot = self.rest.take()?;
        self.rest_bytes -= bytes;
        self.rest = Some(slot.offset(bytes));
        Some(slot)
    }

    /// Starts a new slab; what is left of the last one is cut into the largest slots that fit.
    fn grow(&mut self) -> Option<()> {
        let slab = Region::new(HUGE, self.source)?;
        while let Some(class) = (0..CLASSES).rev().find(|&c| slot_bytes(c) <= self.rest_bytes) {
            let Some(slot) = self.carve(class) else { break };
            self.free[class].push(slot);
        }
        self.rest = Some(Slot::new(slab.start()));
        self.rest_bytes = HUGE;
        self.slabs.push(slab);
        Some(())
    }

    /// Fills a thread's list for a while to come; one slot at least, unless memory has run out.
    fn refill(&mut self, class: usize, list: &mut Vec<Slot>) {
        list.extend(self.take(class));
        for _ in 1..LOCAL_LIMIT[class] / 2 {
            let Some(slot) = self.take_ready(class) else { break };
            list.push(slot);
        }
    }

    /// The kept region that fits best; more than twice the need does not fit, so that small requests leave the large
    /// regions alone.
    fn best_fit(&mut self, need: usize) -> Option<Region> {
        let (&bytes, regions) = self.large.range_mut(need..=need.saturating_mul(2)).next()?;
        let region = regions.pop();
        if regions.is_empty() {
            self.large.remove(&bytes);
        }
        region
    }
}

// ---- what each thread has

/// A thread's share of the live blocks, written by that thread alone. Blocks freed elsewhere than they were taken make
/// single shares wrap around zero; the sum is exact.
#[derive(Default)]
#[repr(align(128))]
struct Tally {
    bytes: AtomicUsize,
    blocks: AtomicUsize,
}

impl Tally {
    const fn zero() -> Self {
        Self { bytes: AtomicUsize::new(0), blocks: AtomicUsize::new(0) }
    }

    /// Adds, with no other writer: plain loads and stores, several times cheaper than locked additions.
    #[inline(always)]
    fn add_alone(&self, bytes: usize, blocks: usize) {
        self.bytes.store(self.bytes.load(Relaxed).wrapping_add(bytes), Relaxed);
        self.blocks.store(self.blocks.load(Relaxed).wrapping_add(blocks), Relaxed);
    }

    fn add(&self, bytes: usize, blocks: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.blocks.fetch_add(blocks, Relaxed);
    }
}

/// The share of threads that have ended, and of destructors that run while a thread ends.
static ENDED: Tally = Tally::zero();
/// Live bytes without what the threads have not flushed: what the peak is watched with.
static FLUSHED: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);
static COPIES_ON_WRITE: AtomicU64 = AtomicU64::new(0);

struct Local {
    lists: [Vec<Slot>; LOCAL_CLASSES],
    tally: Arc<Tally>,
    unflushed: isize,
}

thread_local! {
    static LOCAL: RefCell<Local> = RefCell::new(Local::register());
}

/// Runs `f` on the calling thread's part; `None` while the thread is ending.
#[inline(always)]
fn with_local<R>(f: impl FnOnce(&mut Local) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.try_borrow_mut().ok().map(|mut local| f(&mut local))).ok().flatten()
}

impl Local {
    fn register() -> Self {
        let tally = Arc::new(Tally::default());
        shared().threads.push(Arc::clone(&tally));
        Self { lists: [const { Vec::new() }; LOCAL_CLASSES], tally, unflushed: 0 }
    }

    #[inline(always)]
    fn grew(&mut self, bytes: usize) {
        self.tally.add_alone(bytes, 1);
        self.unflushed += bytes as isize;
        let now = FLUSHED.load(Relaxed).wrapping_add(self.unflushed);
        if now > PEAK.load(Relaxed) {
            PEAK.fetch_max(now, Relaxed);
        }
        if self.unflushed > FLUSH {
            self.flush();
        }
    }

    #[inline(always)]
    fn shrank(&mut self, bytes: usize) {
        self.tally.add_alone(bytes.wrapping_neg(), usize::MAX);
        self.unflushed -= bytes as isize;
        if self.unflushed < -FLUSH {
            self.flush();
        }
    }

    #[cold]
    fn flush(&mut self) {
        FLUSHED.fetch_add(self.unflushed, Relaxed);
        self.unflushed = 0;
    }

    /// Takes `slot` back, or returns it if this thread keeps no lists for its class.
    #[inline(always)]
    fn keep(&mut self, slot: Slot, class: usize) -> Option<Slot> {
        let Some(list) = self.lists.get_mut(class) else { return Some(slot) };
        if list.len() >= LOCAL_LIMIT[class] {
            spill(list, class);
        }
        list.push(slot);
        None
    }
}

/// Moves half of a full list to the shared one, for threads that only take.
#[cold]
fn spill(list: &mut Vec<Slot>, class: usize) {
    shared().free[class].extend(list.drain(LOCAL_LIMIT[class] / 2..));
}

impl Drop for Local {
    fn drop(&mut self) {
        self.flush();
        let mut shared = shared();
        for (free, list) in shared.free.iter_mut().zip(&mut self.lists) {
            free.append(list);
        }
        shared.threads.retain(|tally| !Arc::ptr_eq(tally, &self.tally));
        ENDED.add(self.tally.bytes.load(Relaxed), self.tally.blocks.load(Relaxed));
    }
}

fn note_grown(bytes: usize) {
    if with_local(|local| local.grew(bytes)).is_none() {
        ENDED.add(bytes, 1);
        let now = FLUSHED.fetch_add(bytes as isize, Relaxed).wrapping_add(bytes as isize);
        PEAK.fetch_max(now, Relaxed);
    }
}

fn note_shrunk(bytes: usize) {
    if with_local(|local| local.shrank(bytes)).is_none() {
        ENDED.add(bytes.wrapping_neg(), usize::MAX);
        FLUSHED.fetch_sub(bytes as isize, Relaxed);
    }
}

// ---- taking and giving

/// A slot of `class`, in which `bytes` become live.
#[inline]
pub(crate) fn take(class: usize, bytes: usize) -> Result<Slot> {
    let ready = with_local(|local| {
        let slot = local.lists.get_mut(class)?.pop()?;
        local.grew(bytes);
        Some(slot)
    });
    match ready.flatten() {
        Some(slot) => Ok(slot),
        None => take_shared(class, bytes),
    }
}

#[cold]
fn take_shared(class: usize, bytes: usize) -> Result<Slot> {
    let from_shared = || {
        let listed = with_local(|local| {
            let list = local.lists.get_mut(class)?;
            shared().refill(class, list);
            list.pop()
        });
        listed.flatten().or_else(|| shared().take(class))
    };
    let slot = or_after_trim(from_shared).ok_or_else(|| out_of_memory(bytes))?;
    note_grown(bytes);
    Ok(slot)
}

/// Takes back a slot of `class` in which `bytes` were live.
#[inline]
pub(crate) fn give(slot: Slot, class: usize, bytes: usize) {
    let mut slot = Some(slot);
    with_local(|local| {
        local.shrank(bytes);
        slot = slot.take().and_then(|slot| local.keep(slot, class));
    })
    .unwrap_or_else(|| note_shrunk(bytes));
    if let Some(slot) = slot {
        shared().free[class].push(slot);
    }
}

/// A region for `bytes`, and whether it is new and thus all zeros.
pub(crate) fn take_large(bytes: usize) -> Result<(Region, bool)> {
    let need = match bytes.checked_next_multiple_of(HUGE) {
        // The margin leaves room for the alignment of the mapping.
        Some(need) if need < isize::MAX as usize - 2 * HUGE => need,
        _ => return Err(out_of_memory(bytes)),
    };
    let kept = shared().best_fit(need);
    let (region, new) = match kept {
        Some(region) => (region, false),
        None => (or_after_trim(|| Region::new(need, SOURCE)).ok_or_else(|| out_of_memory(bytes))?, true),
    };
    note_grown(bytes);
    Ok((region, new))
}

/// Takes back a region in which `bytes` were live, and keeps it.
pub(crate) fn give_large(region: Region, bytes: usize) {
    note_shrunk(bytes);
    shared().large.entry(region.bytes).or_default().push(region);
}

/// Tries once more with the kept regions given back.
fn or_after_trim<T>(attempt: impl Fn() -> Option<T>) -> Option<T> {
    attempt().or_else(|| {
        trim();
        attempt()
    })
}

#[cold]
fn out_of_memory(asked: usize) -> Error {
    let PoolStats { live_bytes, cached_bytes, .. } = stats();
    Error::out_of_memory(format!(
        "cpu: asked for {asked} bytes, which the system does not have ({live_bytes} bytes live, {cached_bytes} cached)"
    ))
}

/// Notes that bytes were copied because their storage was shared when it was to be written.
pub fn note_copy_on_write() {
    COPIES_ON_WRITE.fetch_add(1, Relaxed);
}

// ---- for the user

/// What the CPU pool holds; see [`stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStats {
    /// Bytes in live storages, as asked for.
    pub live_bytes: usize,
    /// Live storages that own pool memory.
    pub live_blocks: usize,
    /// Bytes taken from the operating system that hold no live bytes: free blocks, and what rounding up costs.
    pub cached_bytes: usize,
    /// The most bytes that were live at once since the last [`reset_peak`]. Exact while one thread allocates; each
    /// further thread adds an error of up to 32 KiB.
    pub peak_live_bytes: usize,
    /// How often memory was taken from the operating system.
    pub allocations_from_os: u64,
    /// How often a shared or foreign storage was copied in order to be written.
    pub copies_on_write: u64,
}

/// What the CPU pool holds at the moment, summed over all threads.
pub fn stats() -> PoolStats {
    let (live_bytes, live_blocks) = live();
    PoolStats {
        live_bytes,
        live_blocks,
        cached_bytes: RESERVED.load(Relaxed).saturating_sub(live_bytes),
        peak_live_bytes: (PEAK.load(Relaxed).max(0) as usize).max(live_bytes),
        allocations_from_os: FROM_OS.load(Relaxed),
        copies_on_write: COPIES_ON_WRITE.load(Relaxed),
    }
}

fn live() -> (usize, usize) {
    let shared = shared();
    let sum = |part: fn(&Tally) -> usize| {
        let sum = shared.threads.iter().fold(part(&ENDED), |sum, tally| sum.wrapping_add(part(tally)));
        // Read while a block is on its way between threads, the sum can miss its beginning and see its end.
        if sum as isize >= 0 { sum } else { 0 }
    };
    (sum(|tally| tally.bytes.load(Relaxed)), sum(|tally| tally.blocks.load(Relaxed)))
}

/// Gives the kept large blocks back to the operating system; returns how many bytes that were.
pub fn trim() -> usize {
    // Unmapping takes its time, so it happens outside the lock.
    let kept = std::mem::take(&mut shared().large);
    kept.values().flatten().map(|region| region.bytes).sum()
}

/// Lets [`PoolStats::peak_live_bytes`] start again from what is live now.
pub fn reset_peak() {
    PEAK.store(live().0 as isize, Relaxed);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_to_and_waste_a_quarter_at_most() {
        for bytes in (0..=SMALL_MAX).step_by(37).chain([SMALL_MAX]) {
            let class = class_of(bytes);
            assert!(class < CLASSES);
            assert!(class_bytes(class) >= bytes);
            assert!(class == 0 || class_bytes(class - 1) < bytes, "{bytes} fits the class below");
            assert!(class_bytes(class) < bytes + bytes / 4 + ALIGN);
            assert!(slot_bytes(class).is_multiple_of(ALIGN));
        }
        assert_eq!(class_bytes(class_of(1024)), 1024);
        assert_eq!(class_bytes(CLASSES - 1), SMALL_MAX);
    }

    #[test]
    fn regions_are_aligned_and_counted_from_both_sources() {
        for (source, align) in [(SOURCE, ALIGN), (Source::Heap, ALIGN), (Source::Mapping, HUGE)] {
            if source == Source::Mapping && SOURCE == Source::Heap {
                continue;
            }
            let regions: Vec<_> = (1..4).map(|n| Region::new(n * HUGE, source).unwrap()).collect();
            assert!(regions.iter().all(|r| r.start().addr().get().is_multiple_of(align)), "{source:?}");
        }
        assert!(Region::new(isize::MAX as usize - HUGE + 1, SOURCE).is_none());
        assert!(Region::new(isize::MAX as usize - HUGE + 1, Source::Heap).is_none());
    }

    #[test]
    fn slots_are_disjoint_from_both_sources() {
        for source in [SOURCE, Source::Heap] {
            let mut shared = Shared::new(source);
            let mut spans = Vec::new();
            for i in 0..2000 {
                let class = i * 7 % CLASSES;
                let start = shared.take(class).unwrap().address();
                spans.push((start, start + slot_bytes(class)));
            }
            // The ends of slabs, cut into slots when the next slab began, count too.
            for (class, list) in shared.free.iter().enumerate() {
                spans.extend(list.iter().map(|slot| (slot.address(), slot.address() + slot_bytes(class))));
            }
            spans.sort_unstable();
            assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            assert!(spans.iter().all(|span| span.0.is_multiple_of(ALIGN)));
            let total = |spans: &[(usize, usize)]| spans.iter().map(|s| s.1 - s.0).sum::<usize>();
            assert_eq!(total(&spans) + shared.rest_bytes, shared.slabs.len() * HUGE, "no byte of a slab is lost");
        }
    }

    #[test]
    fn best_fit_takes_the_smallest_that_fits_and_leaves_the_huge_ones() {
        let mut shared = Shared::new(SOURCE);
        for n in [8, 3, 4] {
            let region = Region::new(n * HUGE, SOURCE).unwrap();
            shared.large.entry(region.bytes).or_default().push(region);
        }
        assert!(shared.best_fit(HUGE).is_none());
        assert_eq!(shared.best_fit(2 * HUGE).unwrap().bytes, 3 * HUGE);
        assert_eq!(shared.best_fit(2 * HUGE).unwrap().bytes, 4 * HUGE);
        assert!(shared.best_fit(9 * HUGE).is_none());
        assert_eq!(shared.best_fit(8 * HUGE).unwrap().bytes, 8 * HUGE);
        assert!(shared.large.is_empty());
    }
}
