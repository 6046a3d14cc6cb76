//! Stochastic gradient descent.

use esker_ops::{Array, MomentumUpdate, Update};
use esker_tensor::{Error, Result};

use super::group::at_least_zero;
use super::update::{add_scaled, copy_like, decayed, in_one_pass, scale};
use super::{Descent, Memory, ParamGroup, Rule};

/// `torch.optim.SGD`: with `g` the gradient plus `weight_decay` times the parameter,
/// `v = momentum v + (1 - dampening) g` (the first `v` is `g`), and the parameter moves by `-lr v`
/// (`-lr (g + momentum v)` with Nesterov, `-lr g` without momentum).
pub type SGD = Descent<SgdRule>;

/// Settings of [`SGD`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SgdRule {
    momentum: f64,
    dampening: f64,
    nesterov: bool,
}

impl Descent<SgdRule> {
    /// With momentum, from 0 on.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }

    /// With the gradient damped as it enters the velocity, from 0 on.
    #[must_use]
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.rule.dampening = dampening;
        self
    }

    /// With Nesterov's look-ahead; needs momentum and no dampening.
    #[must_use]
    pub fn nesterov(mut self) -> Self {
        self.rule.nesterov = true;
        self
    }
}

impl Rule for SgdRule {
    const NAME: &'static str = "SGD";
    const ARRAYS: &'static [&'static str] = &["momentum_buffer"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        let momentum = group.momentum.unwrap_or(self.momentum);
        at_least_zero(Self::NAME, "momentum", momentum)?;
        at_least_zero(Self::NAME, "dampening", self.dampening)?;
        if self.nesterov && (momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::kernel(format!(
                "SGD: Nesterov needs momentum and no dampening, given are {momentum} and {}",
                self.dampening
            )));
        }
        Ok(())
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        let momentum = group.momentum.unwrap_or(self.momentum);
        let update = MomentumUpdate {
            pull: group.weight_decay,
            momentum,
            fresh: 1.0 - self.dampening,
            nesterov: self.nesterov,
            rate: group.lr,
        };
        if momentum != 0.0
            && let Some(v) = memory.get(0)
            && in_one_pass(Update::Momentum(update), p, grad, &mut [v])?
        {
            return Ok(());
        }
        let g = decayed(grad, p, group.weight_decay)?;
        if momentum == 0.0 {
            return add_scaled(p, &g, -group.lr);
        }
        let v = match memory.get(0) {
            Some(v) => {
                scale(v, momentum)?;
                add_scaled(v, &g, 1.0 - self.dampening)?;
                v
            }
            None => memory.set(0, copy_like(&g, p)?)?,
        };
        if self.nesterov {
            add_scaled(p, &g, -group.lr)?;
            return add_scaled(p, v, -group.lr * momentum);
        }
        add_scaled(p, v, -group.lr)
    }
}
