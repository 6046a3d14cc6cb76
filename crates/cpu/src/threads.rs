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
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a worker waits awake for the next region, and a caller for its workers before it yields.
const AWAKE: Duration = Duration::from_micros(30);

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

/// Waits awake until `ready` or for [`AWAKE`]; whether it became ready. The clock, not a count, since a pause takes from
/// 5 to 140 cycles.
fn spin(ready: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..32 {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > AWAKE {
            return false;
        }
    }
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

/// What the process may use (its CPU set and cgroup quota), or fewer when `ESKER_NUM_THREADS` says so.
fn default_threads() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    *DEFAULT.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match std::env::var("ESKER_NUM_THREADS") {
            Ok(text) => match text.parse() {
                Ok(n) if n > 0 => cores.min(n),
                _ => {
                    eprintln!("esker: ESKER_NUM_THREADS={text} is no positive number; using {cores}");
                    cores
                }
            },
            Err(_) => cores,
        }
    })
}

/// Lets a child after `fork` build a pool of its own, since threads are not inherited.
fn forget_when_forked() {
    #[cfg(unix)]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        extern "C" fn forget() {
            POOL.store(std::ptr::null_mut(), Ordering::Release);
        }
        // SAFETY: the handler only stores to an atomic. Should there be no memory for it, a child's regions find no workers
        // and run on their callers alone.
        ONCE.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(forget));
        });
    }
}

/// The pool of this process.
fn pool() -> &'static Pool {
    let present = POOL.load(Ordering::Acquire);
    // SAFETY: pools are leaked, so that a pointer once stored stays valid.
    if let Some(pool) = unsafe { present.as_ref() } {
        return pool;
    }
    forget_when_forked();
    let fresh = Box::leak(Box::new(Pool {
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
        if spin(|| self.epoch.load(Ordering::Acquire) != *seen) {
            *seen = self.epoch.load(Ordering::Acquire);
            return;
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
        let left = || self.active.load(Ordering::Acquire) == 0;
        if !spin(left) {
            while !left() {
                std::thread::yield_now();
            }
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
    let region = Region { f, tasks, next: AtomicUsize::new(0), panic: Mutex::new(None) };
    if threads <= 1 || INSIDE.get() || !shared(&region, threads - 1) {
        region.work();
    }
    if let Some(payload) = region.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
}

/// Runs a region on the calling thread and `workers` others, unless the pool is busy.
fn shared(region: &Region<'_>, workers: usize) -> bool {
    let pool = pool();
    let _busy = match pool.busy.try_lock() {
        Ok(busy) => busy,
        Err(TryLockError::Poisoned(busy)) => busy.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    pool.spawn(workers);
    // The lifetime is cut off here and kept by `retire`, which waits for the workers.
    pool.post(Job { region: (&raw const *region).cast(), workers });
    INSIDE.set(true);
    region.work();
    INSIDE.set(false);
    pool.retire();
    true
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

    /// Holds the settings, and puts the number of threads back.
    struct Threads(usize, #[allow(dead_code)] MutexGuard<'static, ()>);

    impl Threads {
        fn take() -> Self {
            let guard = crate::test_settings();
            Self(num_threads(), guard)
        }
    }

    impl Drop for Threads {
        fn drop(&mut self) {
            set_num_threads(self.0);
        }
    }

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        let _threads = Threads::take();
        for threads in [1, 2, 3, 5, 1, 3] {
            set_num_threads(threads);
            assert_eq!(num_threads(), threads);
            for n in [0, 1, 2, 7, 1000] {
                let runs: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                parallel(n, &|i| {
                    runs[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1), "{threads} threads, {n} tasks");
            }
        }
        set_num_threads(0);
        assert_eq!(num_threads(), 1, "at least one");
    }

    #[test]
    fn two_threads_work_at_the_same_time() {
        let _threads = Threads::take();
        set_num_threads(2);
        let inside = AtomicUsize::new(0);
        // Another test's region may hold the pool, which makes this one run alone.
        let met = (0..1000).any(|_| {
            let met = AtomicUsize::new(0);
            inside.store(0, Ordering::Relaxed);
            parallel(2, &|_| {
                inside.fetch_add(1, Ordering::AcqRel);
                let start = Instant::now();
                while inside.load(Ordering::Acquire) < 2 && start.elapsed() < Duration::from_millis(20) {
                    std::thread::yield_now();
                }
                let late = start.elapsed() >= Duration::from_millis(20);
                met.fetch_add(usize::from(!late && inside.load(Ordering::Acquire) == 2), Ordering::Relaxed);
            });
            met.into_inner() == 2
        });
        assert!(met, "a task waits for the other, so that both run at once");
    }

    #[test]
    fn regions_nest_and_callers_share() {
        let _threads = Threads::take();
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
    fn sleeping_workers_wake() {
        let _threads = Threads::take();
        set_num_threads(3);
        for _ in 0..20 {
            std::thread::sleep(2 * AWAKE);
            assert_eq!(sum(50), 1275);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_after_the_others_are_done() {
        let _threads = Threads::take();
        for threads in [1, 2, 3] {
            set_num_threads(threads);
            let done = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                parallel(16, &|i| {
                    if i == 3 {
                        resume_unwind(Box::new("task 3"));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }));
            assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "task 3");
            assert_eq!(done.into_inner(), 15, "{threads} threads");
            assert_eq!(sum(10), 55, "the pool goes on");
        }
    }

    #[test]
    fn chunks_depend_on_size_and_grain_alone() {
        let _threads = Threads::take();
        let chunks = |threads, n, grain| {
            set_num_threads(threads);
            let seen = Mutex::new(Vec::new());
            parallel_for(n, grain, &|r| lock(&seen).push((r.start, r.end)));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            seen
        };
        for threads in [1, 2, 3] {
            assert_eq!(chunks(threads, 150, 64), [(0, 64), (64, 128), (128, 150)]);
            assert_eq!(chunks(threads, 3, 0), [(0, 1), (1, 2), (2, 3)]);
            assert_eq!(chunks(threads, 0, 8), []);
        }
    }
}
