//! Timing, by the rules that all peers follow, and the lines that are printed.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use esker::GradOptions;
use esker::autograd::grad_from;
use esker::prelude::*;
use regex::Regex;
use serde_json::{Map, Value as Json, json};

use crate::process;

/// Samples of calls shorter than this are taken in groups that last about as long.
const SHORTEST: f64 = 1e-4;
/// The same on a GPU, whose calls return before their work is done: so that waiting for it once does not count.
const SHORTEST_ON_GPU: f64 = 1e-2;

/// The arithmetic and the bytes of a workload that no program can do without: inputs read once, outputs written once.
#[derive(Clone, Copy, Default)]
pub(crate) struct Work {
    flops: f64,
    bytes: f64,
    update: f64,
    times: f64,
}

impl Work {
    /// Floating-point operations, and bytes that can move meanwhile.
    pub(crate) fn new(flops: impl Into<f64>, bytes: impl Into<f64>) -> Self {
        Self { flops: flops.into(), bytes: bytes.into(), update: 0.0, times: 1.0 }
    }

    /// With bytes that move when the rest is done: what an optimiser reads and writes.
    pub(crate) fn update(self, update: f64) -> Self {
        Self { update, ..self }
    }

    /// So many times over, each waiting for the one before.
    pub(crate) fn times(self, times: f64) -> Self {
        Self { times, ..self }
    }

    fn fields(self, seconds: f64, extra: &mut Map<String, Json>) {
        let mut set = |name: &str, value: f64| extra.insert(name.to_string(), json!(value));
        if self.flops > 0.0 {
            set("flops", self.flops);
            set("gflops", rounded(self.flops * self.times / seconds / 1e9, 1));
        }
        if self.bytes > 0.0 {
            set("bytes", self.bytes);
            set("gbs", rounded(self.bytes * self.times / seconds / 1e9, 2));
        }
        if self.update > 0.0 {
            set("update_bytes", self.update);
        }
        if self.times > 1.0 {
            set("times", self.times);
        }
    }
}

fn rounded(x: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (x * unit).round() / unit
}

/// The middle of sorted samples, between the two middle ones when their number is even.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// A function that is timed forward, as `<name>_fwd`, and forward and backward, as `<name>_fwdbwd`.
pub(crate) struct Pair<'a> {
    /// Without the endings.
    pub(crate) name: &'a str,
    /// The places of the inputs that gradients are asked for.
    pub(crate) grads: &'a [usize],
    /// Of the forward pass.
    pub(crate) forward: Work,
    /// Of both.
    pub(crate) both: Work,
    /// Its share of time, in budgets.
    pub(crate) budgets: f64,
}

impl<'a> Pair<'a> {
    /// With gradients of all inputs in `grads`, one budget, and nothing known of the work in both passes.
    pub(crate) fn new(name: &'a str, grads: &'a [usize], forward: Work) -> Self {
        Self { name, grads, forward, both: Work::default(), budgets: 1.0 }
    }

    /// With the work of both passes.
    pub(crate) fn both(self, both: Work) -> Self {
        Self { both, ..self }
    }

    /// With another share of time.
    pub(crate) fn budgets(self, budgets: f64) -> Self {
        Self { budgets, ..self }
    }
}

/// What to run, and how long.
pub(crate) struct Bench {
    threads: usize,
    budget: f64,
    only: Regex,
    skip: Regex,
    failures: Cell<usize>,
    device: Device,
}

impl Bench {
    pub(crate) fn new(threads: usize, budget: f64, only: Regex, skip: Regex, device: Device) -> Self {
        Self { threads, budget, only, skip, failures: Cell::new(0), device }
    }

    /// Where inputs lie.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Whether a workload was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_match(name) && !self.skip.is_match(name)
    }

    /// Whether one of the two of a pair was asked for.
    pub(crate) fn wants_pair(&self, name: &str) -> bool {
        ["fwd", "fwdbwd"].iter().any(|end| self.wants(&format!("{name}_{end}")))
    }

    /// Says that something went wrong; the rest goes on.
    pub(crate) fn failed(&self, name: &str, error: &Error) {
        eprintln!("{name}: {error}");
        self.failures.set(self.failures.get() + 1);
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.failures.get() > 0
    }

    /// Prints a line.
    pub(crate) fn emit(&self, name: &str, peer: &str, [median, least]: [f64; 2], extra: Map<String, Json>) {
        let line = json!({
            "workload": name, "peer": peer, "threads": self.threads, "median_s": median, "min_s": least, "extra": extra,
        });
        println!("{line}");
    }

    /// Prints the most memory that this process has had so far; `start` is what it had before the workload.
    pub(crate) fn emit_memory(&self, name: &str, start: f64) {
        let extra = json!({"peak_mb": process::memory_mb("VmHWM"), "import_mb": start});
        self.emit(&format!("rss_{name}"), "esker", [0.0; 2], extra.as_object().cloned().unwrap_or_default());
    }

    /// Times a workload that was asked for.
    pub(crate) fn run<T>(&self, name: &str, work: Work, f: impl FnMut() -> Result<T>) {
        self.run_for(name, work, 1.0, f);
    }

    /// As [`Bench::run`], for a number of budgets.
    pub(crate) fn run_for<T>(&self, name: &str, work: Work, budgets: f64, f: impl FnMut() -> Result<T>) {
        if !self.wants(name) {
            return;
        }
        match samples(self.budget * budgets, self.device, f) {
            Ok((times, other)) => {
                let mut extra = Map::new();
                extra.insert("other".to_string(), json!(rounded(other, 2)));
                extra.insert("n".to_string(), json!(times.len()));
                work.fields(median(&times), &mut extra);
                self.emit(name, "esker", [median(&times), times[0]], extra);
            }
            Err(error) => self.failed(name, &error),
        }
    }

    /// Times a function without a tape, then with gradients of the sum of its output, by the rules of the peers: inputs and
    /// the gradient of the output are there before.
    ///
    /// # Errors
    /// Those of making the inputs.
    pub(crate) fn pair(
        &self,
        pair: Pair<'_>,
        inputs: impl FnOnce() -> Result<Vec<Tensor>>,
        f: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        if !self.wants_pair(pair.name) {
            return Ok(());
        }
        let mut x = inputs()?;
        self.run_for(&format!("{}_fwd", pair.name), pair.forward, pair.budgets, || no_grad(|| f(&x)));
        let name = format!("{}_fwdbwd", pair.name);
        if pair.grads.is_empty() || !self.wants(&name) {
            return Ok(());
        }
        for &i in pair.grads {
            x[i] = x[i].tracked()?;
        }
        let leaves: Vec<&Tensor> = pair.grads.iter().map(|&i| &x[i]).collect();
        self.backward(&name, pair.both, pair.budgets, &leaves, || f(&x));
        Ok(())
    }

    /// Times a function forward and backward, with gradients of `leaves`.
    pub(crate) fn backward(
        &self,
        name: &str,
        work: Work,
        budgets: f64,
        leaves: &[&Tensor],
        f: impl Fn() -> Result<Tensor>,
    ) {
        let mut seed: Option<Tensor> = None;
        self.run_for(name, work, budgets, || {
            let y = f()?;
            let dy = match &seed {
                Some(dy) => dy.clone(),
                None => seed.insert(Tensor::full(1.0, y.shape(), y.dtype(), y.device())?).clone(),
            };
            grad_from(&[(&y, dy)], leaves, GradOptions::default())
        });
    }
}

/// Sorted seconds per call, as many samples as fit the budget (5 to 2000), and how many cores others kept busy meanwhile.
fn samples<T>(budget: f64, device: Device, mut f: impl FnMut() -> Result<T>) -> Result<(Vec<f64>, f64)> {
    let backend = esker::ops::backend(device)?;
    let shortest = if device == Device::Cpu { SHORTEST } else { SHORTEST_ON_GPU };
    let mut timed = |calls: usize| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(f()?);
        }
        backend.synchronize()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let (start, mut warm) = (Instant::now(), 0);
    while warm < 3 || (start.elapsed().as_secs_f64() < 0.1 && warm < 1000) {
        timed(1)?;
        warm += 1;
    }
    let group = ((shortest / timed(1)?.max(1e-9)) as usize).max(1);
    let (busy, start, mut times) = (process::others_busy(), Instant::now(), Vec::new());
    while times.len() < 5 || (start.elapsed().as_secs_f64() < budget && times.len() < 2000) {
        times.push(timed(group)? / group as f64);
    }
    let other = (process::others_busy() - busy) / start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Ok((times, other.max(0.0)))
}
