//! Relatives of Adam.

use std::borrow::Cow;

use esker_ops::{Array, MapOp, Ops};
use esker_tensor::Result;

use super::adam::check_betas;
use super::update::{add_number, add_scaled, average, correction, decayed, in_place, scale};
use super::{Descent, Memory, ParamGroup, Rule};

/// The settings that Adam's relatives share.
macro_rules! settings {
    ($Rule:ident) => {
        impl Descent<$Rule> {
            /// With other decay rates of the two means, 0 to below 1.
            #[must_use]
            pub fn betas(mut self, first: f64, second: f64) -> Self {
                self.rule.betas = (first, second);
                self
            }

            /// With another number added where PyTorch adds it.
            #[must_use]
            pub fn eps(mut self, eps: f64) -> Self {
                self.rule.eps = eps;
                self
            }
        }
    };
    ($Rule:ident decoupled) => {
        settings! { $Rule }

        impl Descent<$Rule> {
            /// With weight decay applied to the parameter, not to the gradient.
            #[must_use]
            pub fn decoupled_weight_decay(mut self) -> Self {
                self.rule.decoupled = true;
                self
            }
        }
    };
}

/// Decays the parameter at once, or gives the gradient that does it.
fn decay<'g>(decoupled: bool, group: &ParamGroup, p: &mut Array, grad: &'g Array) -> Result<Cow<'g, Array>> {
    if decoupled && group.weight_decay != 0.0 {
        scale(p, 1.0 - group.lr * group.weight_decay)?;
        return Ok(Cow::Borrowed(grad));
    }
    decayed(grad, p, group.weight_decay)
}

/// `torch.optim.NAdam` (Dozat, "Incorporating Nesterov momentum into Adam", 2016): Adam whose step looks ahead, with a
/// momentum that rises towards the first beta. Betas 0.9 and 0.999, eps 1e-8, momentum decay 0.004.
pub type NAdam = Descent<NAdamRule>;

/// Settings of [`NAdam`].
#[derive(Clone, Copy, Debug)]
pub struct NAdamRule {
    betas: (f64, f64),
    eps: f64,
    momentum_decay: f64,
    decoupled: bool,
}

impl Default for NAdamRule {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, momentum_decay: 4e-3, decoupled: false }
    }
}

settings! { NAdamRule decoupled }

impl Descent<NAdamRule> {
    /// With another speed at which the momentum rises.
    #[must_use]
    pub fn momentum_decay(mut self, momentum_decay: f64) -> Self {
        self.rule.momentum_decay = momentum_decay;
        self
    }
}

impl Rule for NAdamRule {
    const NAME: &'static str = "NAdam";
    const ARRAYS: &'static [&'static str] = &["exp_avg", "exp_avg_sq"];
    const NUMBERS: &'static [&'static str] = &["step", "mu_product"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        check_betas(Self::NAME, group, self.betas, self.eps)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        let (b1, b2) = (group.momentum.unwrap_or(self.betas.0), self.betas.1);
        let g = decay(self.decoupled, group, p, grad)?;
        let step = memory.next_step()?;
        let momentum = |step: f64| b1 * (1.0 - 0.5 * 0.96f64.powf(step * self.momentum_decay));
        let (now, next) = (momentum(step), momentum(step + 1.0));
        let product = memory.number(1, 1.0)?;
        *product *= now;
        let product = *product;
        let [m, v] = memory.pair(0, 1, p)?;
        average(m, &g, b1)?;
        average(v, &g.square()?, b2)?;
        let mut denominator = v.sqrt()?;
        scale(&mut denominator, 1.0 / correction(b2, step).sqrt())?;
        add_number(&mut denominator, self.eps)?;
        add_scaled(p, &g.div(&denominator)?, -group.lr * (1.0 - now) / (1.0 - product))?;
        add_scaled(p, &m.div(&denominator)?, -group.lr * next / (1.0 - product * next))
    }
}

/// `torch.optim.RAdam` (Liu and others, "On the variance of the adaptive learning rate and beyond", 2020): Adam that
/// starts as momentum and adapts once the mean square is known well enough. Betas 0.9 and 0.999, eps 1e-8.
pub type RAdam = Descent<RAdamRule>;

/// Settings of [`RAdam`].
#[derive(Clone, Copy, Debug)]
pub struct RAdamRule {
    betas: (f64, f64),
    eps: f64,
    decoupled: bool,
}

impl Default for RAdamRule {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, decoupled: false }
    }
}

settings! { RAdamRule decoupled }

impl Rule for RAdamRule {
    const NAME: &'static str = "RAdam";
    const ARRAYS: &'static [&'static str] = &["exp_avg", "exp_avg_sq"];
    const NUMBERS: &'static [&'static str] = &["step"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        check_betas(Self::NAME, group, self.betas, self.eps)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        let (b1, b2) = (group.momentum.unwrap_or(self.betas.0), self.betas.1);
        let g = decay(self.decoupled, group, p, grad)?;
        let step = memory.next_step()?;
        let [m, v] = memory.pair(0, 1, p)?;
        average(m, &g, b1)?;
        average(v, &g.square()?, b2)?;
        let (c1, c2) = (correction(b1, step), correction(b2, step));
        // The length of the simple moving average that the exponential one amounts to, at last and now.
        let most = 2.0 / (1.0 - b2) - 1.0;
        let length = most - 2.0 * step * b2.powf(step) / c2;
        if length <= 5.0 {
            return add_scaled(p, m, -group.lr / c1);
        }
        let rectified = (length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length);
        let mut denominator = v.sqrt()?;
        add_number(&mut denominator, self.eps)?;
        add_scaled(p, &m.div(&denominator)?, -group.lr / c1 * c2.sqrt() * rectified.sqrt())
    }
}

/// `torch.optim.Adamax` (Kingma and Ba, 2015): Adam by the largest gradient so far, `u = max(b2 u, |g| + eps)`, in place
/// of the root of the mean square. Betas 0.9 and 0.999, eps 1e-8.
pub type Adamax = Descent<AdamaxRule>;

/// Settings of [`Adamax`].
#[derive(Clone, Copy, Debug)]
pub struct AdamaxRule {
    betas: (f64, f64),
    eps: f64,
}

impl Default for AdamaxRule {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8 }
    }
}

settings! { AdamaxRule }

impl Rule for AdamaxRule {
    const NAME: &'static str = "Adamax";
    const ARRAYS: &'static [&'static str] = &["exp_avg", "exp_inf"];
    const NUMBERS: &'static [&'static str] = &["step"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        check_betas(Self::NAME, group, self.betas, self.eps)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        let (b1, b2) = (group.momentum.unwrap_or(self.betas.0), self.betas.1);
        let g = decayed(grad, p, group.weight_decay)?;
        let step = memory.next_step()?;
        let [m, largest] = memory.pair(0, 1, p)?;
        average(m, &g, b1)?;
        scale(largest, b2)?;
        let mut size = g.abs()?;
        add_number(&mut size, self.eps)?;
        in_place(MapOp::Maximum, largest, &size)?;
        add_scaled(p, &m.div(largest)?, -group.lr / correction(b1, step))
    }
}

/// Lion (Chen and others, "Symbolic discovery of optimization algorithms", 2023): the parameter is scaled by
/// `1 - lr weight_decay` and moves by `-lr sign(b1 m + (1 - b1) g)`; then `m = b2 m + (1 - b2) g`. Betas 0.9 and 0.99.
pub type Lion = Descent<LionRule>;

/// Settings of [`Lion`].
#[derive(Clone, Copy, Debug)]
pub struct LionRule {
    betas: (f64, f64),
}

impl Default for LionRule {
    fn default() -> Self {
        Self { betas: (0.9, 0.99) }
    }
}

impl Descent<LionRule> {
    /// With other shares of the past in the step and in the memory, 0 to below 1.
    #[must_use]
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.rule.betas = (first, second);
        self
    }
}

impl Rule for LionRule {
    const NAME: &'static str = "Lion";
    const ARRAYS: &'static [&'static str] = &["exp_avg"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        check_betas(Self::NAME, group, self.betas, 0.0)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        let (b1, b2) = (group.momentum.unwrap_or(self.betas.0), self.betas.1);
        if group.weight_decay != 0.0 {
            scale(p, 1.0 - group.lr * group.weight_decay)?;
        }
        let m = memory.array(0, p)?;
        let mut blend = m.mul(&super::update::number(b1, m)?)?;
        add_scaled(&mut blend, grad, 1.0 - b1)?;
        add_scaled(p, &blend.sign()?, -group.lr)?;
        average(m, grad, b2)
    }
}
