//! Learning rates over time: what drives a schedule, and schedules made of others.

use esker_autograd::Tensor;
use esker_tensor::{Error, Result};

use super::Optimizer;
use crate::StateDict;

/// Where a schedule stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct At {
    /// The number of steps of the schedule so far, 0 before the first.
    pub step: u64,
    /// The number of the parameter group.
    pub group: usize,
    /// The group's learning rate when the schedule began.
    pub base: f64,
    /// The group's learning rate now.
    pub lr: f64,
}

/// A learning rate over time. Where PyTorch's formula goes from the present rate to the next, so does this, so that
/// schedules can be chained.
pub trait Schedule {
    /// The learning rate to go on with.
    fn lr(&self, at: At) -> f64;

    /// The momentum (for Adam and its kin, the first beta) to go on with, for schedules that change it.
    fn momentum(&self, _: At) -> Option<f64> {
        None
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn lr(&self, at: At) -> f64 {
        (**self).lr(at)
    }

    fn momentum(&self, at: At) -> Option<f64> {
        (**self).momentum(at)
    }
}

impl<S: Schedule + ?Sized> Schedule for &S {
    fn lr(&self, at: At) -> f64 {
        (**self).lr(at)
    }

    fn momentum(&self, at: At) -> Option<f64> {
        (**self).momentum(at)
    }
}

/// Moves the learning rates of an optimiser along a schedule. PyTorch's schedulers are this one with a [`Schedule`] of their
/// name.
///
/// ```
/// use esker_autograd::{Param, Tensor};
/// use esker_nn::optim::{AdamW, Optimizer, Scheduler, StepLR};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let mut optimizer = AdamW::new(vec![Param::new(&Tensor::ones([2])?)?], 0.1);
/// let mut scheduler = Scheduler::new(&mut optimizer, StepLR::new(2, 0.5));
/// let mut rates = vec![];
/// for _ in 0..5 {
///     rates.push(optimizer.lr());
///     optimizer.step()?;
///     scheduler.step(&mut optimizer);
/// }
/// assert_eq!(rates, [0.1, 0.1, 0.05, 0.05, 0.025]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Scheduler<S> {
    schedule: S,
    step: u64,
    base: Vec<f64>,
    last: Vec<f64>,
}

impl<S: Schedule> Scheduler<S> {
    /// Begins the schedule: the optimiser's learning rates are set to those of step 0.
    pub fn new(optimizer: &mut dyn Optimizer, schedule: S) -> Self {
        let base: Vec<f64> = optimizer.groups().iter().map(|g| g.lr).collect();
        let mut scheduler = Self { schedule, step: 0, last: base.clone(), base };
        scheduler.apply(optimizer);
        scheduler
    }

    /// Goes on by one step: after each of the optimiser's, or after each epoch.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer) {
        self.step += 1;
        self.apply(optimizer);
    }

    fn apply(&mut self, optimizer: &mut dyn Optimizer) {
        for (group, settings) in optimizer.groups_mut().iter_mut().enumerate() {
            let base = self.base.get(group).copied().unwrap_or(settings.lr);
            let at = At { step: self.step, group, base, lr: settings.lr };
            settings.lr = self.schedule.lr(at);
            if let Some(momentum) = self.schedule.momentum(at) {
                settings.momentum = Some(momentum);
            }
        }
        self.last = optimizer.groups().iter().map(|g| g.lr).collect();
    }

    /// The learning rates of the groups, as this schedule set them last.
    pub fn last_lr(&self) -> &[f64] {
        &self.last
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Where the schedule stands; its settings are not part of it.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn state_dict(&self) -> Result<StateDict> {
        let state = [
            ("step", Tensor::from_scalar(self.step as f64)?),
            ("base_lrs", Tensor::from_slice(&self.base, [self.base.len()])?),
            ("last_lr", Tensor::from_slice(&self.last, [self.last.len()])?),
        ];
        Ok(state.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// Goes on where another schedule of the same settings stood, and sets the optimiser's learning rates to those it had
    /// set.
    ///
    /// # Errors
    /// `Format` for an entry that is missing, or for another number of groups; nothing is changed then.
    pub fn load_state_dict(&mut self, state: &StateDict, optimizer: &mut dyn Optimizer) -> Result<()> {
        let values = |name: &str, count: usize| {
            let found = state.get(name).ok_or_else(|| Error::format(format!("the schedule's state lacks {name}")))?;
            let values = found.to_f64_vec()?;
            if values.len() != count {
                return Err(Error::format(format!("{name} has {} values, needed are {count}", values.len())));
            }
            Ok(values)
        };
        let (groups, step) = (optimizer.groups().len(), values("step", 1)?);
        let (base, last) = (values("base_lrs", groups)?, values("last_lr", groups)?);
        self.step = step.first().map_or(0, |&s| s as u64);
        (self.base, self.last) = (base, last);
        optimizer.groups_mut().iter_mut().zip(&self.last).for_each(|(g, &lr)| g.lr = lr);
        Ok(())
    }
}

/// The base rate times a function of the step.
pub struct LambdaLR<F>(pub F);

impl<F: Fn(u64) -> f64> Schedule for LambdaLR<F> {
    fn lr(&self, at: At) -> f64 {
        at.base * (self.0)(at.step)
    }
}

/// One schedule after the other, each starting afresh from the base rate at its milestone.
///
/// ```
/// use esker_nn::optim::{CosineAnnealingLR, LinearLR, SequentialLR};
///
/// let warm_up_and_cosine = SequentialLR::new(LinearLR::new(0.1, 1.0, 10)).then(10, CosineAnnealingLR::new(90, 0.0));
/// ```
pub struct SequentialLR {
    parts: Vec<(u64, Box<dyn Schedule>)>,
}

impl SequentialLR {
    /// Begins with a schedule.
    pub fn new(first: impl Schedule + 'static) -> Self {
        Self { parts: vec![(0, Box::new(first))] }
    }

    /// From step `milestone` on, which is later than those before, follows another schedule.
    #[must_use]
    pub fn then(mut self, milestone: u64, next: impl Schedule + 'static) -> Self {
        self.parts.push((milestone, Box::new(next)));
        self
    }

    fn part(&self, at: At) -> Option<(&dyn Schedule, At)> {
        let (start, schedule) = self.parts.iter().rev().find(|(start, _)| *start <= at.step)?;
        let lr = if at.step == *start { at.base } else { at.lr };
        Some((&**schedule, At { step: at.step - start, lr, ..at }))
    }
}

impl Schedule for SequentialLR {
    fn lr(&self, at: At) -> f64 {
        self.part(at).map_or(at.lr, |(schedule, at)| schedule.lr(at))
    }

    fn momentum(&self, at: At) -> Option<f64> {
        self.part(at).and_then(|(schedule, at)| schedule.momentum(at))
    }
}

/// Several schedules at once, each changing the rate that the one before left.
#[derive(Default)]
pub struct ChainedScheduler {
    parts: Vec<Box<dyn Schedule>>,
}

impl ChainedScheduler {
    /// Of no schedules: the rate stays.
    pub fn new() -> Self {
        Self::default()
    }

    /// With another schedule behind the others.
    #[must_use]
    pub fn with(mut self, next: impl Schedule + 'static) -> Self {
        self.parts.push(Box::new(next));
        self
    }
}

impl Schedule for ChainedScheduler {
    fn lr(&self, at: At) -> f64 {
        self.parts.iter().fold(at.lr, |lr, schedule| schedule.lr(At { lr, ..at }))
    }

    fn momentum(&self, at: At) -> Option<f64> {
        self.parts.iter().rev().find_map(|schedule| schedule.momentum(at))
    }
}
