//! The CPU pool and the storages on it, seen from outside: what is live, what is reused, what is copied.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use esker_tensor::{ErrorKind, Storage, pool};

const MIB: usize = 1 << 20;

/// The statistics are the process's, so the tests of this file take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn live() -> (usize, usize) {
    let stats = pool::stats();
    (stats.live_bytes, stats.live_blocks)
}

/// One size of each kind: empty, in line with the header, apart from it, in a mapping, and the borders between.
const SIZES: [usize; 14] =
    [0, 1, 63, 64, 65, 1000, 32 << 10, (32 << 10) + 1, 100_000, MIB, MIB + 1, 2 * MIB, 2 * MIB + 1, 9 * MIB];

#[test]
fn blocks_are_aligned_writable_and_apart() {
    let _turn = turn();
    let mut blocks: Vec<Storage> = SIZES.iter().flat_map(|&n| [n, n, n]).map(|n| Storage::alloc(n).unwrap()).collect();
    for (i, block) in blocks.iter_mut().enumerate() {
        assert!(block.as_ptr().addr().is_multiple_of(pool::ALIGN));
        block.get_mut().unwrap().fill(i as u8);
    }
    for (i, block) in blocks.iter().enumerate() {
        assert_eq!(block.len(), SIZES[i / 3]);
        assert_eq!(block.is_empty(), i < 3);
        assert!(block.bytes().iter().all(|&b| b == i as u8));
    }
    let mut ids: Vec<usize> = blocks.iter().map(Storage::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), blocks.len());
}

#[test]
fn live_returns_to_where_it_was_and_the_peak_stays() {
    let _turn = turn();
    let before = live();
    pool::reset_peak();
    for n in SIZES {
        let a = Storage::alloc(n).unwrap();
        let b = a.clone();
        assert_eq!(live(), (before.0 + n, before.1 + 1));
        drop(a);
        assert_eq!(live(), (before.0 + n, before.1 + 1));
        drop(b);
        assert_eq!(live(), before);
    }
    let peak = pool::stats().peak_live_bytes;
    assert!(peak.abs_diff(before.0 + 9 * MIB) <= 64 << 10, "{peak}");
    pool::reset_peak();
    assert_eq!(pool::stats().peak_live_bytes, before.0);
}

#[test]
fn freed_memory_is_reused() {
    let _turn = turn();
    for n in SIZES {
        let first = Storage::alloc(n).unwrap().as_ptr();
        let from_os = pool::stats().allocations_from_os;
        for _ in 0..10 {
            assert_eq!(Storage::alloc(n).unwrap().as_ptr(), first, "{n} bytes");
        }
        assert_eq!(pool::stats().allocations_from_os, from_os);
    }
}

#[test]
fn trim_gives_back_the_kept_large_blocks() {
    let _turn = turn();
    drop(Storage::alloc(5 * MIB).unwrap());
    let before = pool::stats();
    let trimmed = pool::trim();
    assert!(trimmed >= 6 * MIB, "5 MiB take three huge pages, and {trimmed} bytes came back");
    assert_eq!(pool::stats().cached_bytes, before.cached_bytes - trimmed);
    assert_eq!(pool::trim(), 0);
    assert_eq!(Storage::zeroed(5 * MIB).unwrap().len(), 5 * MIB);
}

#[test]
fn zeroed_is_zero_when_memory_is_reused() {
    let _turn = turn();
    for n in SIZES {
        Storage::alloc(n).unwrap().get_mut().unwrap().fill(0xff);
        assert!(Storage::zeroed(n).unwrap().bytes().iter().all(|&b| b == 0), "{n} bytes");
    }
    pool::trim();
    assert!(Storage::zeroed(3 * MIB).unwrap().bytes().iter().all(|&b| b == 0));
}

#[test]
fn threads_free_each_others_blocks() {
    let _turn = turn();
    let before = live();
    thread::scope(|s| {
        for _ in 0..2 {
            let (send, receive) = mpsc::sync_channel::<(u8, Storage)>(100);
            s.spawn(move || {
                for i in 0..20_000usize {
                    let mut block = Storage::alloc(SIZES[i % 9] + i % 50).unwrap();
                    block.get_mut().unwrap().fill(i as u8);
                    let _kept_until_here = block.clone();
                    send.send((i as u8, block)).unwrap();
                }
            });
            s.spawn(move || {
                for (i, block) in receive {
                    assert!(block.bytes().iter().all(|&b| b == i));
                }
            });
        }
    });
    assert_eq!(live(), before);
    let from_os = pool::stats().allocations_from_os;
    // What the threads left behind is there for everyone.
    let blocks: Vec<Storage> = (0..500).map(|_| Storage::alloc(1000).unwrap()).collect();
    assert!(pool::stats().allocations_from_os <= from_os + 1);
    drop(blocks);
    assert_eq!(live(), before);
}

#[test]
fn a_thread_leaves_nothing_behind() {
    let _turn = turn();
    thread_local! {
        static LATE: std::cell::RefCell<Vec<Storage>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let before = live();
    let round = |late_first: bool| {
        thread::spawn(move || {
            // Destructors run by order of first use: blocks die before the thread's lists in one case, after in the other.
            if late_first {
                LATE.with(|late| late.borrow_mut().clear());
            }
            let blocks: Vec<Storage> = (0..200).map(|_| Storage::alloc(500).unwrap()).collect();
            LATE.with(|late| late.borrow_mut().extend(blocks));
        })
        .join()
        .unwrap();
    };
    round(true);
    let from_os = pool::stats().allocations_from_os;
    for i in 0..100 {
        round(i % 2 == 0);
    }
    assert_eq!(live(), before);
    assert!(pool::stats().allocations_from_os <= from_os + 1, "slots of ended threads were lost");
}

#[test]
fn impossible_sizes_are_errors_that_name_the_numbers() {
    let _turn = turn();
    let before = live();
    let sizes = [usize::MAX, usize::MAX - 63, isize::MAX as usize, isize::MAX as usize + 1, isize::MAX as usize - 4096];
    for n in sizes.into_iter().chain([1 << 56]) {
        for result in [Storage::alloc(n), Storage::zeroed(n)] {
            let error = result.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::OutOfMemory(_)), "{error:?}");
            assert!(error.to_string().contains(&n.to_string()), "{error}");
        }
    }
    assert_eq!(live(), before);
}

#[test]
fn writing_copies_once_when_shared_and_never_when_alone() {
    let _turn = turn();
    let copies = || pool::stats().copies_on_write;
    let start = copies();
    let mut a = Storage::from_bytes(b"esker").unwrap();
    assert!(a.is_unique());
    a.make_mut().unwrap()[0] = b'E';
    assert_eq!((a.bytes(), copies()), (&b"Esker"[..], start));

    let mut b = a.clone();
    assert_eq!((a.id(), a.is_unique()), (b.id(), false));
    assert!(b.get_mut().is_none());
    b.make_mut().unwrap()[0] = b'3';
    assert_eq!((a.bytes(), b.bytes(), copies()), (&b"Esker"[..], &b"3sker"[..], start + 1));
    assert_ne!(a.id(), b.id());
    assert!(a.is_unique() && b.is_unique());
    a.make_mut().unwrap();
    b.make_mut().unwrap();
    assert_eq!(copies(), start + 1);
}

#[test]
fn foreign_bytes_are_read_in_place_and_copied_to_be_written() {
    struct Owner(#[allow(dead_code)] Box<[u8]>, Arc<AtomicUsize>);
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let _turn = turn();
    let before = live();
    let drops = Arc::new(AtomicUsize::new(0));
    let bytes: Box<[u8]> = b"numpy".as_slice().into();
    let (ptr, len) = (bytes.as_ptr(), bytes.len());
    // SAFETY: the owner holds the bytes, and nobody writes them.
    let mut foreign = unsafe { Storage::foreign(ptr, len, Box::new(Owner(bytes, Arc::clone(&drops)))) };
    assert!(foreign.is_foreign() && !foreign.is_unique() && foreign.get_mut().is_none());
    assert_eq!((foreign.as_ptr(), foreign.bytes()), (ptr, &b"numpy"[..]));
    assert_eq!(live(), before);

    let shared = foreign.clone();
    let copies = pool::stats().copies_on_write;
    foreign.make_mut().unwrap()[0] = b'N';
    assert_eq!(pool::stats().copies_on_write, copies + 1);
    assert!(!foreign.is_foreign() && foreign.is_unique());
    assert_eq!((shared.bytes(), foreign.bytes()), (&b"numpy"[..], &b"Numpy"[..]));
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    drop(shared);
    assert_eq!(drops.load(Ordering::Relaxed), 1);

    // SAFETY: no bytes are promised.
    let none = unsafe { Storage::foreign(std::ptr::null(), 0, Box::new(())) };
    assert!(none.bytes().is_empty() && none.is_foreign());
}

#[test]
fn meta_has_an_identity_and_no_bytes() {
    let _turn = turn();
    let before = pool::stats();
    let (mut a, b) = (Storage::meta(), Storage::meta());
    assert!(a.is_meta() && a.is_empty() && !a.is_foreign() && a.bytes().is_empty());
    assert_ne!(a.id(), b.id());
    let c = a.clone();
    assert!(a.make_mut().unwrap().is_empty() && a.is_meta());
    assert_eq!(a.id(), c.id());
    assert_eq!(pool::stats(), before);
    assert_eq!(format!("{a:?}"), format!("Storage(meta, 0 bytes, id {:#x})", a.id()));
}

#[test]
fn a_storage_is_one_word_and_crosses_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Storage>();
    assert_eq!(size_of::<Option<Storage>>(), size_of::<usize>());
}

/// `cargo test --release -p esker-tensor --test pool -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_a_block() {
    let _turn = turn();
    for bytes in [64, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 4 << 20] {
        let rounds = 2_000_000;
        let best = (0..5)
            .map(|_| {
                let start = std::time::Instant::now();
                for _ in 0..rounds {
                    drop(std::hint::black_box(Storage::alloc(std::hint::black_box(bytes)).unwrap()));
                }
                start.elapsed().as_nanos() as f64 / f64::from(rounds)
            })
            .fold(f64::INFINITY, f64::min);
        println!("{bytes:>8} bytes: {best:.1} ns for alloc and free");
    }
}
