//! What the machine can do at most: arithmetic without memory, and memory without arithmetic. Peer `limit`; `rate` is in
//! GFLOP/s or GB/s, `holds` how many bytes the level of memory has.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use esker::cpu::limit::{Line, Traffic, multiply_adds, traffic};
use serde_json::json;

use crate::bench::{Bench, median};
use crate::process::cache_bytes;

/// Samples of each figure.
const SAMPLES: usize = 15;
/// Bytes that one sample moves at least, per thread and array.
const MOVED: usize = 64 << 20;

/// Lines between arrays. Stores hold up loads from addresses that are equal in their last 12 bits.
const APART: usize = 21;

/// A level of memory: its name, the bytes that the workload's threads find there, and those of one array of a thread.
struct Level {
    name: &'static str,
    holds: Option<usize>,
    array: usize,
}

pub(crate) fn run(bench: &Bench) {
    arithmetic(bench);
    levels(bench.threads()).iter().for_each(|level| memory(bench, level));
}

/// The three arrays of a triad fit well within a level, and not in the one before.
fn levels(threads: usize) -> [Level; 4] {
    let [l1, l2, l3] = [(1, 32 << 10), (2, 1 << 20), (3, 32 << 20)].map(|(n, usual)| cache_bytes(n).unwrap_or(usual));
    [
        Level { name: "L1", holds: Some(l1 * threads), array: l1 / 4 },
        Level { name: "L2", holds: Some(l2 * threads), array: l2 / 5 },
        Level { name: "L3", holds: Some(l3), array: l3 / 8 / threads.max(1) },
        Level { name: "DRAM", holds: None, array: (4 * l3).clamp(256 << 20, 1 << 30) },
    ]
}

fn arithmetic(bench: &Bench) {
    let steps = 200_000;
    let times = together(
        bench.threads(),
        |_| 0,
        |_| {
            black_box(multiply_adds(black_box(steps)));
        },
    );
    let flops = multiply_adds(1) * steps as f64 * bench.threads() as f64;
    emit(bench, "peak_fp32", &times, flops, "GFLOP/s", None);
}

fn memory(bench: &Bench, level: &Level) {
    let lines = (level.array / size_of::<Line>() / 4).max(1) * 4;
    let bytes = lines * size_of::<Line>();
    let calls = (MOVED / bytes).max(1);
    let mut kinds = vec![("read", Traffic::Read), ("copy", Traffic::Copy), ("triad", Traffic::Triad)];
    if level.holds.is_none() {
        kinds.push(("copy_nt", Traffic::StreamedCopy));
    }
    for (name, kind) in kinds {
        let times = together(
            bench.threads(),
            |_| vec![Line([1.0; 16]); 3 * (lines + APART)],
            |all| {
                let (x, rest) = all.split_at_mut(lines + APART);
                let (y, z) = rest.split_at_mut(lines + APART);
                for _ in 0..calls {
                    traffic(kind, black_box(&x[..lines]), black_box(y), black_box(z));
                }
            },
        );
        let moved = (bytes * calls * bench.threads() * kind.arrays()) as f64;
        emit(bench, &format!("bw_{name}_{}", level.name), &times, moved, "GB/s", level.holds);
    }
}

/// Sorted seconds from the first thread's start to the last one's end, when all do the same at once, each with its own data.
fn together<T>(threads: usize, data: impl Fn(usize) -> T + Sync, f: impl Fn(&mut T) + Sync) -> Vec<f64> {
    let barrier = Barrier::new(threads);
    let spans = |thread| {
        let mut data = data(thread);
        f(&mut data); // Brings the data near.
        let mut spans = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            barrier.wait();
            let start = Instant::now();
            f(&mut data);
            spans.push((start, Instant::now()));
        }
        spans
    };
    let all: Vec<Vec<(Instant, Instant)>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || spans(thread))).collect();
        handles.into_iter().filter_map(|h| h.join().ok()).collect()
    });
    let mut times: Vec<f64> = (0..SAMPLES)
        .filter_map(|i| {
            let start = all.iter().map(|spans| spans[i].0).min()?;
            let end = all.iter().map(|spans| spans[i].1).max()?;
            Some((end - start).as_secs_f64())
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn emit(bench: &Bench, name: &str, times: &[f64], done: f64, unit: &str, holds: Option<usize>) {
    if !bench.wants(name) {
        return;
    }
    let mut extra = json!({"rate": (done / median(times) / 1e8).round() / 10.0, "unit": unit});
    if let Some(holds) = holds {
        extra["holds"] = json!(holds);
    }
    bench.emit(name, "limit", [median(times), times[0]], extra.as_object().cloned().unwrap_or_default());
}
