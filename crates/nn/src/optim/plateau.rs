//! The learning rate lowered when nothing gets better.

use esker_autograd::Tensor;
use esker_tensor::{Error, Result};

use super::Optimizer;
use crate::StateDict;

/// What better means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PlateauMode {
    /// Less.
    #[default]
    Min,
    /// More.
    Max,
}

/// By how much a value must be better to count.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ThresholdMode {
    /// By this share of the best value.
    Rel(f64),
    /// By this much.
    Abs(f64),
}

/// `torch.optim.lr_scheduler.ReduceLROnPlateau`: multiplies the learning rates by `factor` when a measure has not become
/// better for more than `patience` steps.
///
/// ```
/// use esker_autograd::{Param, Tensor};
/// use esker_nn::optim::{Optimizer, ReduceLROnPlateau, SGD};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let mut optimizer = SGD::new(vec![Param::new(&Tensor::ones([2])?)?], 0.1);
/// let mut plateau = ReduceLROnPlateau::new(0.5, 1);
/// for loss in [1.0, 0.9, 0.95, 0.91] {
///     plateau.step(loss, &mut optimizer);
/// }
/// assert_eq!(optimizer.lr(), 0.05);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct ReduceLROnPlateau {
    factor: f64,
    patience: u64,
    mode: PlateauMode,
    threshold: ThresholdMode,
    cooldown: u64,
    min_lr: f64,
    eps: f64,
    best: f64,
    bad: u64,
    cooling: u64,
}

impl ReduceLROnPlateau {
    /// For a measure that is to fall. PyTorch's defaults are 0.1 and 10 steps; better is by a relative 1e-4.
    pub fn new(factor: f64, patience: u64) -> Self {
        Self {
            factor,
            patience,
            mode: PlateauMode::Min,
            threshold: ThresholdMode::Rel(1e-4),
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
            best: f64::INFINITY,
            bad: 0,
            cooling: 0,
        }
    }

    /// For a measure that is to rise, or fall.
    #[must_use]
    pub fn mode(mut self, mode: PlateauMode) -> Self {
        self.mode = mode;
        self.best = match mode {
            PlateauMode::Min => f64::INFINITY,
            PlateauMode::Max => f64::NEG_INFINITY,
        };
        self
    }

    /// With another step that counts as better.
    #[must_use]
    pub fn threshold(mut self, threshold: ThresholdMode) -> Self {
        self.threshold = threshold;
        self
    }

    /// With so many steps after a reduction in which nothing counts as bad.
    #[must_use]
    pub fn cooldown(mut self, cooldown: u64) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// With a least learning rate.
    #[must_use]
    pub fn min_lr(mut self, min_lr: f64) -> Self {
        self.min_lr = min_lr;
        self
    }

    /// Takes the measure of this step and lowers the rates if it is time.
    pub fn step(&mut self, measure: f64, optimizer: &mut dyn Optimizer) {
        if self.is_better(measure) {
            self.best = measure;
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad > self.patience {
            for group in optimizer.groups_mut() {
                let lr = (group.lr * self.factor).max(self.min_lr);
                if group.lr - lr > self.eps {
                    group.lr = lr;
                }
            }
            self.cooling = self.cooldown;
            self.bad = 0;
        }
    }

    fn is_better(&self, measure: f64) -> bool {
        match (self.mode, self.threshold) {
            (PlateauMode::Min, ThresholdMode::Rel(t)) => measure < self.best * (1.0 - t),
            (PlateauMode::Min, ThresholdMode::Abs(t)) => measure < self.best - t,
            (PlateauMode::Max, ThresholdMode::Rel(t)) => measure > self.best * (1.0 + t),
            (PlateauMode::Max, ThresholdMode::Abs(t)) => measure > self.best + t,
        }
    }

    /// What it remembers; its settings are not part of it.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn state_dict(&self) -> Result<StateDict> {
        let state =
            [("best", self.best), ("num_bad_epochs", self.bad as f64), ("cooldown_counter", self.cooling as f64)];
        state.into_iter().map(|(name, value)| Ok((name.to_string(), Tensor::from_scalar(value)?))).collect()
    }

    /// Goes on where another one stood.
    ///
    /// # Errors
    /// `Format` for an entry that is missing; nothing is changed then.
    pub fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let value = |name: &str| match state.get(name) {
            Some(value) => value.item(),
            None => Err(Error::format(format!("the schedule's state lacks {name}"))),
        };
        let (best, bad, cooling) = (value("best")?, value("num_bad_epochs")?, value("cooldown_counter")?);
        (self.best, self.bad, self.cooling) = (best, bad as u64, cooling as u64);
        Ok(())
    }
}
