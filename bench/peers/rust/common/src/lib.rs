//! What the Rust peers share: sizes, timing, and the JSON line that every program of the suite prints (see `common.py`).
//! Every program takes `--threads N`, `--only REGEX`, `--skip REGEX`, `--budget SECONDS`.

use std::cell::Cell;
use std::fmt::Display;
use std::hint::black_box;
use std::time::Instant;

use regex::Regex;

/// Rows, inner size, columns of the matrix products.
pub const GEMMS: [(usize, usize, usize); 7] = [
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (1, 1024, 1024),
    (32, 768, 3072),
    (128, 784, 512),
];
/// Elements, and how a workload's name says so.
pub const SIZES: [(usize, &str); 4] = [(1, "1"), (1000, "1e3"), (100_000, "1e5"), (10_000_000, "1e7")];
/// Letters of the models of text.
pub const LETTERS: usize = 65;
/// Letters decoded, and those before them.
pub const DECODED: usize = 64;
pub const BEFORE: usize = 128;

/// A convolution of a batch of 32.
pub struct Conv {
    pub name: &'static str,
    pub inputs: usize,
    pub side: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

const fn conv(name: &'static str, [inputs, side, outputs]: [usize; 3], window: [usize; 3], groups: usize) -> Conv {
    let [kernel, stride, padding] = window;
    Conv { name, inputs, side, outputs, kernel, stride, padding, groups }
}

pub const CONVS: [Conv; 5] = [
    conv("conv_stem7x7", [3, 224, 64], [7, 2, 3], 1),
    conv("conv3x3_c64_56", [64, 56, 64], [3, 1, 1], 1),
    conv("conv3x3_c256_14", [256, 14, 256], [3, 1, 1], 1),
    conv("conv_dw3x3_c144_56", [144, 56, 144], [3, 1, 1], 144),
    conv("conv1x1_c64_c256_56", [64, 56, 256], [1, 1, 0], 1),
];

/// A field of this process's status in MB, such as VmRSS or VmHWM.
pub fn memory_mb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kb.map_or(0.0, |kb| (kb / 102.4).round() / 10.0)
}

/// Seconds of processor time that other processes have used, in ticks of 10 ms.
fn others_busy() -> f64 {
    let numbers = |text: &str, skip: usize, take: usize| -> Vec<f64> {
        text.split_whitespace().skip(skip).take(take).filter_map(|x| x.parse().ok()).collect()
    };
    let machine = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let machine = numbers(machine.lines().next().unwrap_or_default(), 1, 8);
    let own = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let own = numbers(own.rsplit(')').next().unwrap_or_default(), 11, 2);
    let idle: f64 = machine.iter().skip(3).take(2).sum();
    (machine.iter().sum::<f64>() - idle - own.iter().sum::<f64>()) / 100.0
}

/// What to run, and how long.
pub struct Bench {
    peer: String,
    pub threads: usize,
    only: Regex,
    skip: Regex,
    budget: f64,
    failures: Cell<usize>,
}

impl Bench {
    /// Reads the command line, and sets the number of threads of libraries on rayon or OpenMP; to be called first.
    pub fn new(peer: &str) -> Bench {
        let args: Vec<String> = std::env::args().collect();
        let given = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
        let regex = |name: &str, usual: &str| {
            Regex::new(&given(name).unwrap_or(usual.to_string())).expect("a regular expression")
        };
        let threads = given("--threads").map_or(1, |n| n.parse().expect("a number of threads"));
        for name in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            // SAFETY: nothing else runs yet.
            unsafe { std::env::set_var(name, threads.to_string()) };
        }
        let budget = given("--budget").map_or(1.0, |s| s.parse().expect("seconds"));
        let (only, skip) = (regex("--only", ""), regex("--skip", "^$"));
        Bench { peer: peer.to_string(), threads, only, skip, budget, failures: Cell::new(0) }
    }

    /// Whether a workload was asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_match(name) && !self.skip.is_match(name)
    }

    /// Whether one of `<name>_fwd` and `<name>_fwdbwd` was asked for.
    pub fn wants_pair(&self, name: &str) -> bool {
        self.wants(&format!("{name}_fwd")) || self.wants(&format!("{name}_fwdbwd"))
    }

    fn emit(&self, name: &str, [median, least]: [f64; 2], extra: &str) {
        let (peer, threads) = (&self.peer, self.threads);
        println!(
            r#"{{"workload": "{name}", "peer": "{peer}", "threads": {threads}, "median_s": {median:e}, "min_s": {least:e}, "extra": {{{extra}}}}}"#
        );
    }

    /// The most memory that this process has had; `start` is what it had before the workload.
    pub fn emit_memory(&self, name: &str, start: f64) {
        let peak = memory_mb("VmHWM");
        self.emit(&format!("rss_{name}"), [0.0; 2], &format!(r#""peak_mb": {peak}, "import_mb": {start}"#));
    }

    /// Times a workload that was asked for. One that fails says so and does not stop the rest.
    pub fn run<T, E: Display>(&self, name: &str, f: impl FnMut() -> Result<T, E>) {
        self.run_for(name, 1.0, f);
    }

    /// As `run`, for a number of budgets.
    pub fn run_for<T, E: Display>(&self, name: &str, budgets: f64, f: impl FnMut() -> Result<T, E>) {
        if !self.wants(name) {
            return;
        }
        match samples(budgets * self.budget, f) {
            Ok((times, other)) => {
                let (low, high) = (times[(times.len() - 1) / 2], times[times.len() / 2]);
                let extra = format!(r#""other": {other:.2}, "n": {}"#, times.len());
                self.emit(name, [(low + high) / 2.0, times[0]], &extra);
            }
            Err(error) => {
                self.failures.set(self.failures.get() + 1);
                eprintln!("{name}: {error}");
            }
        }
    }

    /// Ends the program; badly, when a workload failed.
    pub fn finish(self) -> ! {
        std::process::exit(i32::from(self.failures.get() > 0))
    }
}

/// Sorted seconds per call, as many as fit the budget (5 to 2000), calls under 100 us in groups; and the cores that others kept
/// busy meanwhile.
fn samples<T, E>(budget: f64, mut f: impl FnMut() -> Result<T, E>) -> Result<(Vec<f64>, f64), E> {
    let mut timed = |calls: usize| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(f()?);
        }
        Ok(start.elapsed().as_secs_f64())
    };
    let (start, mut warm) = (Instant::now(), 0);
    while warm < 3 || (start.elapsed().as_secs_f64() < 0.1 && warm < 1000) {
        timed(1)?;
        warm += 1;
    }
    let group = ((1e-4 / timed(1)?.max(1e-9)) as usize).max(1);
    let (busy, start, mut times) = (others_busy(), Instant::now(), vec![]);
    while times.len() < 5 || (start.elapsed().as_secs_f64() < budget && times.len() < 2000) {
        times.push(timed(group)? / group as f64);
    }
    let other = ((others_busy() - busy) / start.elapsed().as_secs_f64()).max(0.0);
    times.sort_by(f64::total_cmp);
    Ok((times, other))
}
