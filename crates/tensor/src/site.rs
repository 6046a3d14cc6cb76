//! The line of the user's program that is at work, and which lines made the memory that is alive.

use std::cell::Cell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

thread_local! {
    static SITE: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Marks a line as at work on this thread until dropped; within it, further marks do not count, so that what a
/// composition calls is put down to who called the composition.
#[must_use = "the site ends when the guard is dropped"]
pub struct Site {
    location: &'static Location<'static>,
    outermost: bool,
    thread: PhantomData<*const ()>,
}

impl Site {
    /// Enters `caller` unless a site is at work already.
    #[inline]
    pub fn enter(caller: &'static Location<'static>) -> Self {
        let before = SITE.get();
        if before.is_none() {
            SITE.set(Some(caller));
        }
        Self { location: before.unwrap_or(caller), outermost: before.is_none(), thread: PhantomData }
    }

    /// The line at work.
    #[inline]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl Drop for Site {
    #[inline]
    fn drop(&mut self) {
        if self.outermost {
            SITE.set(None);
        }
    }
}

/// Memory that one line made and that is still alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveMemory {
    /// The line; `None` for memory made outside of any op.
    pub location: Option<&'static Location<'static>>,
    /// The number of blocks.
    pub count: usize,
    /// Their bytes.
    pub bytes: usize,
}

static TRACKING: AtomicBool = AtomicBool::new(false);

struct Block {
    location: Option<&'static Location<'static>>,
    bytes: usize,
}

fn blocks() -> MutexGuard<'static, HashMap<usize, Block>> {
    static BLOCKS: LazyLock<Mutex<HashMap<usize, Block>>> = LazyLock::new(Mutex::default);
    BLOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts or stops to note which line makes which memory, in the whole process. Stopping forgets what was noted.
pub fn track_memory(on: bool) {
    TRACKING.store(on, Ordering::Release);
    if !on {
        blocks().clear();
    }
}

/// The memory made since [`track_memory`] was switched on and alive now, a line each, most bytes first.
pub fn live_memory() -> Vec<LiveMemory> {
    let mut lines: HashMap<Option<&'static Location<'static>>, LiveMemory> = HashMap::new();
    for Block { location, bytes } in blocks().values() {
        let line = lines.entry(*location).or_insert(LiveMemory { location: *location, count: 0, bytes: 0 });
        line.count += 1;
        line.bytes += bytes;
    }
    let mut lines: Vec<LiveMemory> = lines.into_values().collect();
    lines.sort_by_key(|line| (std::cmp::Reverse(line.bytes), line.location.map(|l| (l.file(), l.line(), l.column()))));
    lines
}

#[inline]
pub(crate) fn made(id: usize, bytes: usize) {
    if TRACKING.load(Ordering::Relaxed) {
        blocks().insert(id, Block { location: SITE.get(), bytes });
    }
}

#[inline]
pub(crate) fn freed(id: usize) {
    if TRACKING.load(Ordering::Relaxed) {
        blocks().remove(&id);
    }
}
