//! The compute pool: fork-join over a fixed number of tasks.
//!
//! Workers spin for some microseconds after a region and then sleep, so that regions in a row cost well below a
//! microsecond to start and an idle process costs nothing. How work is cut into tasks never depends on the number of
//! threads; which thread runs a task may vary, and cannot be seen in the results.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Rounds of waiting before a worker sleeps: some 20 microseconds.
const SPINS: u32 = 4_000;

/// One parallel region, on the stack of the thread that called it.
struct Region<'a> {
    f: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Region<'_> {
    /// Takes tasks until none is left. A panic is kept for the caller; the other tasks go on.
    fn work(&self) {
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= self.tasks {
                return;
            }
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.f)(task))) {
                lock(&self.panic).get_or_insert(payload);
            }
        }
    }
}

/// A region as the workers see it. The address stays valid while `active` counts a worker in it.
#[derive(Clone, Copy)]
struct Job {
    region: *const Region<'static>,
    workers: usize,
}

// SAFETY: a Region holds only Sync parts, and `parallel` does not return before every worker has left it.
unsafe impl Send for Job {}

struct Pool {
    process: u32,
    /// Held by the thread whose region is running; others run their regions alone meanwhile.
    busy: Mutex<()>,
    job: Mutex<Option<Job>>,
    wake: Condvar,
    epoch: AtomicUsize,
    sleepers: AtomicUsize,
    active: AtomicUsize,
    spawned: AtomicUsize,
}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());
/// 0 until asked for or set.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that a region uses at most, the caller included.
pub fn num_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => default_threads(),
        n => n,
    }
}

/// Sets the number of threads from now on (at least 1); more than there are cores is allowed.
pub fn set_num_threads(n: usize) {
    THREADS.store(n.max(1), Ordering::Relaxed);
}

/// `ESKER_NUM_THREADS`, else what the process may use (its CPU set and cgroup quota).
fn default_threads() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    *DEFAULT.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match std::env::var("ESKER_NUM_THREADS") {
            Ok(text) => match text.parse() {
                Ok(n) if n > 0 => n,
                _ => {
                    eprintln!("esker: ESKER_NUM_THREADS={text} is no positive number; using {cores}");
                    cores
                }
            },
            Err(_) => cores,
        }
    })
}

/// The pool of this process; a child after `fork` builds its own, since threads are not inherited.
fn pool() -> &'static Pool {
    let process = std::process::id();
    let present = POOL.load(Ordering::Acquire);
    // SAFETY: pools are leaked, so that a pointer once stored stays valid.
    if let Some(pool) = unsafe { present.as_ref() }.filter(|p| p.process == process) {
        return pool;
    }
    let fresh = Box::leak(Box::new(Pool {
        process,
        busy: Mutex::new(()),
        job: Mutex::new(None),
        wake: Condvar::new(),
        epoch: AtomicUsize::new(0),
        sleepers: AtomicUsize::new(0),
        active: AtomicUsize::new(0),
        spawned: AtomicUsize::new(0),
    }));
    match POOL.compare_exchange(present, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => fresh,
        // SAFETY: as above; another thread was faster.
        Err(other) => unsafe { &*other },
    }
}

impl Pool {
    /// Makes sure that `n` workers exist; called with `busy` held. Fewer is no error: the caller works too.
    fn spawn(&'static self, n: usize) {
        for id in self.spawned.load(Ordering::Relaxed)..n {
            let worker = std::thread::Builder::new().name(format!("esker-{id}")).spawn(move || self.serve(id));
            if worker.is_err() {
                return;
            }
            self.spawned.store(id + 1, Ordering::Relaxed);
        }
    }

    fn serve(&self, id: usize) {
        INSIDE.set(true);
        let mut seen = 0;
        loop {
            self.wait(&mut seen);
            let job = {
                // Taken and counted under one lock, so that `retire` either takes the job back first or waits.
                let slot = lock(&self.job);
                let job = slot.filter(|j| id < j.workers);
                if job.is_some() {
                    self.active.fetch_add(1, Ordering::AcqRel);
                }
                job
            };
            if let Some(job) = job {
                // SAFETY: the job was still posted when `active` was raised, so its caller waits for this worker.
                unsafe { (*job.region).work() };
                self.active.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Returns when the epoch is no longer `seen`.
    fn wait(&self, seen: &mut usize) {
        for _ in 0..SPINS {
            let now = self.epoch.load(Ordering::Acquire);
            if now != *seen {
                *seen = now;
                return;
            }
            std::hint::spin_loop();
        }
        let mut job = lock(&self.job);
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        while self.epoch.load(Ordering::Acquire) == *seen {
            job = self.wake.wait(job).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        *seen = self.epoch.load(Ordering::Acquire);
    }

    fn post(&self, job: Job) {
        let mut slot = lock(&self.job);
        *slot = Some(job);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.wake.notify_all();
        }
    }

    /// Takes the job back and waits until every worker that took it has left.
    fn retire(&self) {
        *lock(&self.job) = None;
        let mut spins = 0u32;
        while self.active.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// Runs `f(0)` to `f(tasks - 1)`, each once, on the pool and the calling thread; returns when all are done.
///
/// Inside a task, and while another thread's region holds the pool, the tasks run on the calling thread alone.
///
/// # Panics
/// With the payload of a task that panicked, after all other tasks are done.
pub fn parallel(tasks: usize, f: &(dyn Fn(usize) + Sync)) {
    let threads = num_threads().min(tasks);
    if threads <= 1 || INSIDE.get() {
        (0..tasks).for_each(f);
        return;
    }
    let pool = pool();
    let Ok(_busy) = pool.busy.try_lock() else {
        (0..tasks).for_each(f);
        return;
    };
    pool.spawn(threads - 1);
    let region = Region { f, tasks, next: AtomicUsize::new(0), panic: Mutex::new(None) };
    // The lifetime is cut off here and kept by `retire`, which waits for the workers.
    pool.post(Job { region: (&raw const region).cast(), workers: threads - 1 });
    INSIDE.set(true);
    region.work();
    INSIDE.set(false);
    pool.retire();
    let panic = lock(&region.panic).take();
    drop(_busy);
    if let Some(payload) = panic {
        resume_unwind(payload);
    }
}

/// Runs `f` over `0..n` in chunks of `grain` (the last may be shorter). The chunks depend on `n` and `grain` alone.
///
/// # Panics
/// As [`parallel`].
pub fn parallel_for(n: usize, grain: usize, f: &(dyn Fn(Range<usize>) + Sync)) {
    let grain = grain.max(1);
    parallel(n.div_ceil(grain), &|task| {
        let start = task * grain;
        f(start..(start + grain).min(n));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn sum(n: usize) -> u64 {
        let total = AtomicU64::new(0);
        parallel(n, &|i| {
            total.fetch_add(i as u64 + 1, Ordering::Relaxed);
        });
        total.into_inner()
    }

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        for threads in [1, 2, 3, 5] {
            set_num_threads(threads);
            for n in [0, 1, 2, 7, 1000] {
                assert_eq!(sum(n), (n * (n + 1) / 2) as u64);
            }
        }
    }

    #[test]
    fn regions_nest_and_callers_share() {
        set_num_threads(3);
        let total = AtomicU64::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..200 {
                        parallel(4, &|_| {
                            total.fetch_add(sum(10), Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 200 * 4 * 55);
    }

    #[test]
    fn a_panic_reaches_the_caller_after_the_others_are_done() {
        set_num_threads(2);
        let done = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            parallel(16, &|i| {
                assert!(i != 3, "task 3");
                done.fetch_add(1, Ordering::Relaxed);
            });
        }));
        assert!(result.is_err());
        assert_eq!(done.into_inner(), 15);
        assert_eq!(sum(10), 55, "the pool goes on");
    }

    #[test]
    fn chunks_depend_on_size_and_grain_alone() {
        let chunks = |threads| {
            set_num_threads(threads);
            let seen = Mutex::new(Vec::new());
            parallel_for(1000, 64, &|r| lock(&seen).push((r.start, r.end)));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            seen
        };
        assert_eq!(chunks(1), chunks(3));
    }
}
