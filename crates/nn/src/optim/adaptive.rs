//! Steps scaled by what the squares of the gradients were: RMSprop, Adagrad, Adadelta, and Rprop by their signs.

use esker_ops::{Array, MapOp, Ops};
use esker_tensor::{Error, Result};

use super::group::{at_least_zero, below_one};
use super::update::{add_number, add_scaled, average, copy_like, decayed, filled, in_place, number, scale};
use super::{Descent, Memory, ParamGroup, Rule};

/// `torch.optim.RMSprop`: `v = alpha v + (1 - alpha) g^2`, and the parameter moves by `-lr g / (sqrt(v) + eps)`, less the
/// mean gradient's square under the root when centred, and through a velocity with momentum. Alpha 0.99, eps 1e-8.
pub type RMSprop = Descent<RMSpropRule>;

/// Settings of [`RMSprop`].
#[derive(Clone, Copy, Debug)]
pub struct RMSpropRule {
    alpha: f64,
    eps: f64,
    momentum: f64,
    centered: bool,
}

impl Default for RMSpropRule {
    fn default() -> Self {
        Self { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false }
    }
}

impl Descent<RMSpropRule> {
    /// With another decay rate of the mean square, 0 to below 1.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.rule.alpha = alpha;
        self
    }

    /// With another number added to the denominator.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }

    /// With momentum, from 0 on.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }

    /// With the variance in place of the mean square.
    #[must_use]
    pub fn centered(mut self) -> Self {
        self.rule.centered = true;
        self
    }
}

impl Rule for RMSpropRule {
    const NAME: &'static str = "RMSprop";
    const ARRAYS: &'static [&'static str] = &["square_avg", "grad_avg", "momentum_buffer"];
    const NUMBERS: &'static [&'static str] = &["step"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        at_least_zero(Self::NAME, "momentum", group.momentum.unwrap_or(self.momentum))?;
        below_one(Self::NAME, "alpha", self.alpha)?;
        at_least_zero(Self::NAME, "eps", self.eps)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        memory.next_step()?;
        let momentum = group.momentum.unwrap_or(self.momentum);
        let g = decayed(grad, p, group.weight_decay)?;
        average(memory.array(0, p)?, &g.square()?, self.alpha)?;
        let mut denominator = if self.centered {
            let [square, mean] = memory.pair(0, 1, p)?;
            average(mean, &g, self.alpha)?;
            square.sub(&mean.square()?)?.sqrt()?
        } else {
            memory.array(0, p)?.sqrt()?
        };
        add_number(&mut denominator, self.eps)?;
        let step = g.div(&denominator)?;
        if momentum == 0.0 {
            return add_scaled(p, &step, -group.lr);
        }
        let velocity = memory.array(2, p)?;
        scale(velocity, momentum)?;
        in_place(MapOp::Add, velocity, &step)?;
        add_scaled(p, velocity, -group.lr)
    }
}

/// `torch.optim.Adagrad` (Duchi, Hazan and Singer, 2011): `s = s + g^2`, and the parameter moves by
/// `-lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps)`. Eps 1e-10.
pub type Adagrad = Descent<AdagradRule>;

/// Settings of [`Adagrad`].
#[derive(Clone, Copy, Debug)]
pub struct AdagradRule {
    lr_decay: f64,
    initial: f64,
    eps: f64,
}

impl Default for AdagradRule {
    fn default() -> Self {
        Self { lr_decay: 0.0, initial: 0.0, eps: 1e-10 }
    }
}

impl Descent<AdagradRule> {
    /// With a learning rate that falls, from 0 on.
    #[must_use]
    pub fn lr_decay(mut self, lr_decay: f64) -> Self {
        self.rule.lr_decay = lr_decay;
        self
    }

    /// With another sum of squares to start from, 0 or more.
    #[must_use]
    pub fn initial_accumulator_value(mut self, initial: f64) -> Self {
        self.rule.initial = initial;
        self
    }

    /// With another number added to the denominator.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }
}

impl Rule for AdagradRule {
    const NAME: &'static str = "Adagrad";
    const ARRAYS: &'static [&'static str] = &["sum"];
    const NUMBERS: &'static [&'static str] = &["step"];

    fn check(&self, _: &ParamGroup) -> Result<()> {
        at_least_zero(Self::NAME, "decay of the learning rate", self.lr_decay)?;
        at_least_zero(Self::NAME, "initial accumulator value", self.initial)?;
        at_least_zero(Self::NAME, "eps", self.eps)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        let g = decayed(grad, p, group.weight_decay)?;
        let step = memory.next_step()?;
        if memory.get(0).is_none() {
            memory.set(0, filled(p, self.initial)?)?;
        }
        let sum = memory.array(0, p)?;
        in_place(MapOp::Add, sum, &g.square()?)?;
        let mut denominator = sum.sqrt()?;
        add_number(&mut denominator, self.eps)?;
        add_scaled(p, &g.div(&denominator)?, -group.lr / (1.0 + (step - 1.0) * self.lr_decay))
    }
}

/// `torch.optim.Adadelta` (Zeiler, 2012): the step is `g` times the ratio of two running roots, that of the steps and that of
/// the gradients; the learning rate is usually 1. Rho 0.9, eps 1e-6.
pub type Adadelta = Descent<AdadeltaRule>;

/// Settings of [`Adadelta`].
#[derive(Clone, Copy, Debug)]
pub struct AdadeltaRule {
    rho: f64,
    eps: f64,
}

impl Default for AdadeltaRule {
    fn default() -> Self {
        Self { rho: 0.9, eps: 1e-6 }
    }
}

impl Descent<AdadeltaRule> {
    /// With another decay rate of both means, 0 to below 1.
    #[must_use]
    pub fn rho(mut self, rho: f64) -> Self {
        self.rule.rho = rho;
        self
    }

    /// With another number added under the roots.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }
}

impl Rule for AdadeltaRule {
    const NAME: &'static str = "Adadelta";
    const ARRAYS: &'static [&'static str] = &["square_avg", "acc_delta"];
    const NUMBERS: &'static [&'static str] = &["step"];

    fn check(&self, _: &ParamGroup) -> Result<()> {
        below_one(Self::NAME, "rho", self.rho)?;
        at_least_zero(Self::NAME, "eps", self.eps)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        memory.next_step()?;
        let g = decayed(grad, p, group.weight_decay)?;
        let [squares, steps] = memory.pair(0, 1, p)?;
        average(squares, &g.square()?, self.rho)?;
        let eps = number(self.eps, p)?;
        let step = steps.add(&eps)?.sqrt()?.div(&squares.add(&eps)?.sqrt()?)?.mul(&g)?;
        average(steps, &step.square()?, self.rho)?;
        add_scaled(p, &step, -group.lr)
    }
}

/// `torch.optim.Rprop` (Riedmiller and Braun, 1993): steps of one size for each element, which grows by 1.2 while the
/// gradient keeps its sign and shrinks to a half when it turns, within 1e-6 to 50; for whole batches. Weight decay is not
/// taken.
pub type Rprop = Descent<RpropRule>;

/// Settings of [`Rprop`].
#[derive(Clone, Copy, Debug)]
pub struct RpropRule {
    etas: (f64, f64),
    sizes: (f64, f64),
}

impl Default for RpropRule {
    fn default() -> Self {
        Self { etas: (0.5, 1.2), sizes: (1e-6, 50.0) }
    }
}

impl Descent<RpropRule> {
    /// With other factors for turning and for keeping signs.
    #[must_use]
    pub fn etas(mut self, shrink: f64, grow: f64) -> Self {
        self.rule.etas = (shrink, grow);
        self
    }

    /// With other limits of the steps.
    #[must_use]
    pub fn step_sizes(mut self, least: f64, most: f64) -> Self {
        self.rule.sizes = (least, most);
        self
    }
}

impl Rule for RpropRule {
    const NAME: &'static str = "Rprop";
    const ARRAYS: &'static [&'static str] = &["prev", "step_size"];
    const NUMBERS: &'static [&'static str] = &["step"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        let (shrink, grow) = self.etas;
        if !(shrink > 0.0 && shrink < 1.0 && grow > 1.0) {
            return Err(Error::kernel(format!(
                "Rprop: the etas are {shrink} and {grow}, needed are 0 to 1 and more than 1"
            )));
        }
        if group.weight_decay != 0.0 {
            return Err(Error::kernel(format!("Rprop takes no weight decay, got {}", group.weight_decay)));
        }
        Ok(())
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        memory.next_step()?;
        if memory.get(1).is_none() {
            memory.set(1, filled(p, group.lr)?)?;
        }
        let [before, sizes] = memory.pair(0, 1, p)?;
        let (zero, one) = (number(0.0, p)?, number(1.0, p)?);
        let (shrink, grow) = (number(self.etas.0, p)?, number(self.etas.1, p)?);
        let agreement = grad.mul(before)?;
        let turned = agreement.lt(&zero)?;
        let factor = turned.where_cond(&shrink, &agreement.gt(&zero)?.where_cond(&grow, &one)?)?;
        in_place(MapOp::Mul, sizes, &factor)?;
        in_place(MapOp::Maximum, sizes, &number(self.sizes.0, p)?)?;
        in_place(MapOp::Minimum, sizes, &number(self.sizes.1, p)?)?;
        let g = turned.where_cond(&zero, grad)?;
        let step = g.sign()?.mul(sizes)?;
        *before = copy_like(&g, p)?;
        add_scaled(p, &step, -1.0)
    }
}
