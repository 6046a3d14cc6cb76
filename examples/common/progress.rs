//! How training goes: a bar on a terminal, plain lines elsewhere.

use esker::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};

/// The share of a smoothed loss that is made anew at each step.
const NEWS: f64 = 0.02;
/// How many plain lines a training prints.
const LINES: u64 = 10;

pub(crate) struct Progress {
    bar: ProgressBar,
    loss: f64,
}

impl Progress {
    pub(crate) fn new(steps: u64) -> Result<Self> {
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {eta} left, loss {msg}");
        bar.set_style(style.map_err(|e| Error::format(e.to_string()))?);
        Ok(Self { bar, loss: f64::NAN })
    }

    /// Counts a step and shows the losses' moving mean.
    pub(crate) fn step(&mut self, loss: f64) {
        let share = f64::max(NEWS, 1.0 / (self.bar.position() + 1) as f64); // The first steps are a plain mean.
        self.loss = if self.loss.is_nan() { loss } else { self.loss + share * (loss - self.loss) };
        self.bar.set_message(format!("{:.4}", self.loss));
        self.bar.inc(1);
        let (done, steps) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if self.bar.is_hidden() && done * LINES / steps.max(1) > (done - 1) * LINES / steps.max(1) {
            println!("step {done} of {steps}: loss {:.4}", self.loss);
        }
    }

    /// Prints a line without spoiling the bar.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
