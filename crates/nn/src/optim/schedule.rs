//! Learning rates over time, as plain functions of the progress.

use std::f64::consts::PI;

/// A learning rate as a function of the progress, 0 at the first step to 1 at the last.
pub trait Schedule {
    /// The learning rate.
    fn lr(&self, progress: f64) -> f64;
}

impl<F: Fn(f64) -> f64> Schedule for F {
    fn lr(&self, progress: f64) -> f64 {
        self(progress)
    }
}

/// Half a cosine from `high` down to `low` (Loshchilov and Hutter, "SGDR", 2017).
pub fn cosine(progress: f64, high: f64, low: f64) -> f64 {
    let progress = progress.clamp(0.0, 1.0);
    low + (high - low) * 0.5 * (1.0 + (PI * progress).cos())
}

/// A cosine from `high / 25` up to `high` over the first `warmup` of the way (0 to 1), then one down to `high / 10^4`
/// (Smith and Topin, "Super-convergence", 2018; the numbers are those of `torch.optim.lr_scheduler.OneCycleLR`).
pub fn one_cycle(progress: f64, high: f64, warmup: f64) -> f64 {
    let progress = progress.clamp(0.0, 1.0);
    if progress < warmup {
        return cosine(1.0 - progress / warmup, high, high / 25.0);
    }
    let rest = (1.0 - warmup).max(f64::MIN_POSITIVE);
    cosine((progress - warmup) / rest, high, high / 25.0 / 1e4)
}
