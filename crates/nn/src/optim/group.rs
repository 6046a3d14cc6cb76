//! Groups of parameters with settings of their own.

use std::collections::HashSet;

use esker_autograd::Param;
use esker_tensor::{Error, Result};

/// Parameters that share a learning rate, a weight decay and a momentum.
#[derive(Clone, Debug)]
pub struct ParamGroup {
    /// The parameters.
    pub params: Vec<Param>,
    /// The learning rate, 0 or more.
    pub lr: f64,
    /// The weight decay, 0 or more.
    pub weight_decay: f64,
    /// The momentum (for Adam and its kin, the first beta), where it is not the optimiser's.
    pub momentum: Option<f64>,
}

impl ParamGroup {
    /// Parameters with a learning rate, no weight decay and the optimiser's momentum.
    pub fn new(params: Vec<Param>, lr: f64) -> Self {
        Self { params, lr, weight_decay: 0.0, momentum: None }
    }

    /// The same group with a weight decay.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// The same group with a momentum of its own.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = Some(momentum);
        self
    }

    pub(super) fn check(&self, optimizer: &str) -> Result<()> {
        at_least_zero(optimizer, "learning rate", self.lr)?;
        at_least_zero(optimizer, "weight decay", self.weight_decay)
    }
}

/// The groups with every parameter in the first place where it was given only.
pub(super) fn once(mut groups: Vec<ParamGroup>) -> Vec<ParamGroup> {
    let mut seen = HashSet::new();
    groups.iter_mut().for_each(|g| g.params.retain(|p| seen.insert(p.id())));
    groups
}

pub(super) fn at_least_zero(optimizer: &str, name: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::kernel(format!("{optimizer}: the {name} is {value}, needed is a number from 0 on")))
}

pub(super) fn below_one(optimizer: &str, name: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::kernel(format!("{optimizer}: {name} is {value}, needed is 0 to below 1")))
}
