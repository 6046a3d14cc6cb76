//! The schedules, with the names and formulas of `torch.optim.lr_scheduler`.

use std::f64::consts::PI;

use super::{At, Schedule};

/// The rate times a function of the step, at each step from the first on.
pub struct MultiplicativeLR<F>(pub F);

impl<F: Fn(u64) -> f64> Schedule for MultiplicativeLR<F> {
    fn lr(&self, at: At) -> f64 {
        if at.step == 0 { at.lr } else { at.lr * (self.0)(at.step) }
    }
}

/// The rate times `gamma` every `step_size` steps.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StepLR {
    step_size: u64,
    gamma: f64,
}

impl StepLR {
    /// Every `step_size` steps (0 stands for 1).
    pub fn new(step_size: u64, gamma: f64) -> Self {
        Self { step_size: step_size.max(1), gamma }
    }
}

impl Schedule for StepLR {
    fn lr(&self, at: At) -> f64 {
        if at.step > 0 && at.step.is_multiple_of(self.step_size) { at.lr * self.gamma } else { at.lr }
    }
}

/// The rate times `gamma` at each milestone.
#[derive(Clone, PartialEq, Debug)]
pub struct MultiStepLR {
    milestones: Vec<u64>,
    gamma: f64,
}

impl MultiStepLR {
    /// At these steps; one that is named twice counts twice.
    pub fn new(milestones: impl Into<Vec<u64>>, gamma: f64) -> Self {
        Self { milestones: milestones.into(), gamma }
    }
}

impl Schedule for MultiStepLR {
    fn lr(&self, at: At) -> f64 {
        let times = self.milestones.iter().filter(|&&m| m == at.step).count();
        if at.step == 0 { at.lr } else { at.lr * self.gamma.powi(times as i32) }
    }
}

/// The rate times `factor` for the first `total` steps, then as it was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ConstantLR {
    factor: f64,
    total: u64,
}

impl ConstantLR {
    /// PyTorch's defaults are 1/3 and 5 steps.
    pub fn new(factor: f64, total: u64) -> Self {
        Self { factor, total }
    }
}

impl Schedule for ConstantLR {
    fn lr(&self, at: At) -> f64 {
        match at.step {
            0 => at.lr * self.factor,
            step if step == self.total => at.lr / self.factor,
            _ => at.lr,
        }
    }
}

/// The rate times a factor that goes from `start` to `end` in a line over `total` steps: warm-up.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinearLR {
    start: f64,
    end: f64,
    total: u64,
}

impl LinearLR {
    /// PyTorch's defaults are 1/3, 1 and 5 steps.
    pub fn new(start: f64, end: f64, total: u64) -> Self {
        Self { start, end, total }
    }
}

impl Schedule for LinearLR {
    fn lr(&self, at: At) -> f64 {
        if at.step == 0 {
            return at.lr * self.start;
        }
        if at.step > self.total {
            return at.lr;
        }
        let slope = self.end - self.start;
        at.lr * (1.0 + slope / (self.total as f64 * self.start + (at.step - 1) as f64 * slope))
    }
}

/// The rate times `gamma` at each step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ExponentialLR {
    gamma: f64,
}

impl ExponentialLR {
    /// With this factor.
    pub fn new(gamma: f64) -> Self {
        Self { gamma }
    }
}

impl Schedule for ExponentialLR {
    fn lr(&self, at: At) -> f64 {
        if at.step == 0 { at.lr } else { at.lr * self.gamma }
    }
}

/// The base rate times `(1 - step / total)^power`, 0 from `total` steps on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PolynomialLR {
    total: u64,
    power: f64,
}

impl PolynomialLR {
    /// PyTorch's defaults are 5 steps and power 1.
    pub fn new(total: u64, power: f64) -> Self {
        Self { total, power }
    }
}

impl Schedule for PolynomialLR {
    fn lr(&self, at: At) -> f64 {
        if at.step == 0 || at.step > self.total {
            return at.lr;
        }
        let left = |step: u64| 1.0 - step as f64 / self.total as f64;
        at.lr * (left(at.step) / left(at.step - 1)).powf(self.power)
    }
}

/// Half a cosine from the base rate to `eta_min` over `t_max` steps, and back in the next (Loshchilov and Hutter, "SGDR",
/// 2017).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CosineAnnealingLR {
    t_max: u64,
    eta_min: f64,
}

impl CosineAnnealingLR {
    /// PyTorch's default for `eta_min` is 0.
    pub fn new(t_max: u64, eta_min: f64) -> Self {
        Self { t_max: t_max.max(1), eta_min }
    }
}

impl Schedule for CosineAnnealingLR {
    fn lr(&self, at: At) -> f64 {
        let (t, t_max) = (at.step as f64, self.t_max as f64);
        if at.step == 0 {
            return at.lr;
        }
        // At the lowest point the ratio below would divide by 0.
        if (at.step - 1) % (2 * self.t_max) == self.t_max {
            return at.lr + (at.base - self.eta_min) * (1.0 - (PI / t_max).cos()) / 2.0;
        }
        let ratio = (1.0 + (PI * t / t_max).cos()) / (1.0 + (PI * (t - 1.0) / t_max).cos());
        ratio * (at.lr - self.eta_min) + self.eta_min
    }
}

/// Half cosines from the base rate to `eta_min`, the first over `t_0` steps, each next one `t_mult` times as long
/// (Loshchilov and Hutter, "SGDR", 2017).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CosineAnnealingWarmRestarts {
    t_0: u64,
    t_mult: u64,
    eta_min: f64,
}

impl CosineAnnealingWarmRestarts {
    /// PyTorch's defaults for `t_mult` and `eta_min` are 1 and 0.
    pub fn new(t_0: u64, t_mult: u64, eta_min: f64) -> Self {
        Self { t_0: t_0.max(1), t_mult: t_mult.max(1), eta_min }
    }
}

impl Schedule for CosineAnnealingWarmRestarts {
    fn lr(&self, at: At) -> f64 {
        let (mut t, mut length) = (at.step, self.t_0);
        if self.t_mult == 1 {
            t %= length;
        }
        while t >= length {
            t -= length;
            length *= self.t_mult;
        }
        self.eta_min + (at.base - self.eta_min) * (1.0 + (PI * t as f64 / length as f64).cos()) / 2.0
    }
}

/// The curve between two rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A line.
    Linear,
}

impl Anneal {
    fn between(self, from: f64, to: f64, share: f64) -> f64 {
        match self {
            Anneal::Cos => to + (from - to) / 2.0 * ((PI * share).cos() + 1.0),
            Anneal::Linear => from + (to - from) * share,
        }
    }
}

/// From `max_lr / 25` up to `max_lr` over the first 30 % of the steps, then down to `1e-4` of where it began, while the
/// momentum goes from 0.95 to 0.85 and back (Smith and Topin, "Super-convergence", 2018). The base rate does not count.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OneCycleLR {
    max_lr: f64,
    total: u64,
    pct_start: f64,
    anneal: Anneal,
    momentum: Option<(f64, f64)>,
    div_factor: f64,
    final_div_factor: f64,
    three_phase: bool,
}

impl OneCycleLR {
    /// Over `total` steps; PyTorch's defaults for the rest.
    pub fn new(max_lr: f64, total: u64) -> Self {
        Self {
            max_lr,
            total,
            pct_start: 0.3,
            anneal: Anneal::Cos,
            momentum: Some((0.85, 0.95)),
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

    /// With another share of the steps going up, 0 to 1.
    #[must_use]
    pub fn pct_start(mut self, pct_start: f64) -> Self {
        self.pct_start = pct_start;
        self
    }

    /// With another curve.
    #[must_use]
    pub fn anneal(mut self, anneal: Anneal) -> Self {
        self.anneal = anneal;
        self
    }

    /// With other limits of the momentum.
    #[must_use]
    pub fn momentum(mut self, base: f64, max: f64) -> Self {
        self.momentum = Some((base, max));
        self
    }

    /// With the momentum left alone (for optimisers that have none).
    #[must_use]
    pub fn without_momentum(mut self) -> Self {
        self.momentum = None;
        self
    }

    /// With other ratios of the highest rate to the first, and of the first to the last.
    #[must_use]
    pub fn div_factors(mut self, first: f64, last: f64) -> Self {
        (self.div_factor, self.final_div_factor) = (first, last);
        self
    }

    /// Down as fast as up, and then to the last rate.
    #[must_use]
    pub fn three_phase(mut self) -> Self {
        self.three_phase = true;
        self
    }

    /// What goes from `rest` over `peak` and `rest` to `end`.
    fn along(&self, step: u64, rest: f64, peak: f64, end: f64) -> f64 {
        let (step, total) = (step as f64, self.total as f64);
        let top = self.pct_start * total - 1.0;
        let legs = if self.three_phase {
            vec![(top, rest, peak), (2.0 * self.pct_start * total - 2.0, peak, rest), (total - 1.0, rest, end)]
        } else {
            vec![(top, rest, peak), (total - 1.0, peak, end)]
        };
        let mut start = 0.0;
        for &(stop, from, to) in &legs {
            if step <= stop && stop > start {
                return self.anneal.between(from, to, (step - start) / (stop - start));
            }
            start = stop;
        }
        end
    }
}

impl Schedule for OneCycleLR {
    fn lr(&self, at: At) -> f64 {
        let first = self.max_lr / self.div_factor;
        self.along(at.step, first, self.max_lr, first / self.final_div_factor)
    }

    fn momentum(&self, at: At) -> Option<f64> {
        let (base, max) = self.momentum?;
        Some(self.along(at.step, max, base, max))
    }
}

/// How a cycle's height changes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum CyclicMode {
    /// It stays.
    #[default]
    Triangular,
    /// It halves with each cycle.
    Triangular2,
    /// It is multiplied by this factor at each step.
    ExpRange(f64),
}

/// Up from `base_lr` to `max_lr` in a line and down again, over and over (Smith, "Cyclical learning rates", 2017), while the
/// momentum goes from 0.9 to 0.8 and back. The optimiser's own rate does not count.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CyclicLR {
    base_lr: f64,
    max_lr: f64,
    up: f64,
    down: f64,
    mode: CyclicMode,
    momentum: Option<(f64, f64)>,
}

impl CyclicLR {
    /// `step_size` steps up and as many down.
    pub fn new(base_lr: f64, max_lr: f64, step_size: u64) -> Self {
        let half = step_size.max(1) as f64;
        Self { base_lr, max_lr, up: half, down: half, mode: CyclicMode::Triangular, momentum: Some((0.8, 0.9)) }
    }

    /// With another number of steps down.
    #[must_use]
    pub fn down(mut self, step_size: u64) -> Self {
        self.down = step_size.max(1) as f64;
        self
    }

    /// With a height that changes.
    #[must_use]
    pub fn mode(mut self, mode: CyclicMode) -> Self {
        self.mode = mode;
        self
    }

    /// With other limits of the momentum.
    #[must_use]
    pub fn momentum(mut self, base: f64, max: f64) -> Self {
        self.momentum = Some((base, max));
        self
    }

    /// With the momentum left alone.
    #[must_use]
    pub fn without_momentum(mut self) -> Self {
        self.momentum = None;
        self
    }

    /// How high the cycle stands, 0 to 1.
    fn height(&self, step: u64) -> f64 {
        let length = self.up + self.down;
        let cycle = (1.0 + step as f64 / length).floor();
        let x = 1.0 + step as f64 / length - cycle;
        let ratio = self.up / length;
        let height = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
        match self.mode {
            CyclicMode::Triangular => height,
            CyclicMode::Triangular2 => height / 2f64.powf(cycle - 1.0),
            CyclicMode::ExpRange(gamma) => height * gamma.powf(step as f64),
        }
    }
}

impl Schedule for CyclicLR {
    fn lr(&self, at: At) -> f64 {
        self.base_lr + (self.max_lr - self.base_lr) * self.height(at.step)
    }

    fn momentum(&self, at: At) -> Option<f64> {
        let (base, max) = self.momentum?;
        Some(max - (max - base) * self.height(at.step))
    }
}
