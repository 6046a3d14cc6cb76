//! Adam, and Adam with decoupled weight decay.

use esker_ops::{AdamUpdate, Array, MapOp, Ops, Update};
use esker_tensor::Result;

use super::group::{at_least_zero, below_one};
use super::update::{add_number, add_scaled, average, correction, decayed, in_one_pass, in_place, scale};
use super::{Descent, Memory, ParamGroup, Rule};

/// `torch.optim.Adam` (Kingma and Ba, "Adam: a method for stochastic optimization", 2015): with `g` the gradient plus
/// `weight_decay` times the parameter, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, and at step `t` the parameter
/// moves by `-lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)`. Betas 0.9 and 0.999, eps 1e-8.
pub type Adam = Descent<AdamRule<false>>;

/// `torch.optim.AdamW` (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019): as [`Adam`], but the
/// parameter is scaled by `1 - lr weight_decay` and the gradient left as it is. Weight decay 0.01.
pub type AdamW = Descent<AdamRule<true>>;

/// Settings of [`Adam`] and [`AdamW`].
#[derive(Clone, Copy, Debug)]
pub struct AdamRule<const DECOUPLED: bool> {
    betas: (f64, f64),
    eps: f64,
    amsgrad: bool,
}

impl<const DECOUPLED: bool> Default for AdamRule<DECOUPLED> {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, amsgrad: false }
    }
}

impl<const DECOUPLED: bool> Descent<AdamRule<DECOUPLED>> {
    /// With other decay rates of the means of gradient and square, 0 to below 1.
    #[must_use]
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.rule.betas = (first, second);
        self
    }

    /// With another number added to the denominator.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }

    /// With the largest mean square so far in place of the present one (Reddi, Kale and Kumar, 2018).
    #[must_use]
    pub fn amsgrad(mut self) -> Self {
        self.rule.amsgrad = true;
        self
    }
}

impl<const DECOUPLED: bool> Rule for AdamRule<DECOUPLED> {
    const NAME: &'static str = if DECOUPLED { "AdamW" } else { "Adam" };
    const WEIGHT_DECAY: f64 = if DECOUPLED { 0.01 } else { 0.0 };
    const ARRAYS: &'static [&'static str] = &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
    const NUMBERS: &'static [&'static str] = &["step"];

    fn check(&self, group: &ParamGroup) -> Result<()> {
        check_betas(Self::NAME, group, self.betas, self.eps)
    }

    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()> {
        let (b1, b2) = (group.momentum.unwrap_or(self.betas.0), self.betas.1);
        let step = memory.next_step()?;
        let update = AdamUpdate {
            keep: if DECOUPLED { 1.0 - group.lr * group.weight_decay } else { 1.0 },
            pull: if DECOUPLED { 0.0 } else { group.weight_decay },
            betas: (b1, b2),
            root: 1.0 / correction(b2, step).sqrt(),
            eps: self.eps,
            rate: group.lr / correction(b1, step),
        };
        let [m, v] = memory.pair(0, 1, p)?;
        if !self.amsgrad && in_one_pass(Update::Adam(update), p, grad, &mut [m, v])? {
            return Ok(());
        }
        scale(p, update.keep)?;
        let g = decayed(grad, p, update.pull)?;
        average(m, &g, b1)?;
        average(v, &g.square()?, b2)?;
        let mut denominator = if self.amsgrad {
            let [largest, v] = memory.pair(2, 1, p)?;
            in_place(MapOp::Maximum, largest, v)?;
            largest.sqrt()?
        } else {
            v.sqrt()?
        };
        scale(&mut denominator, update.root)?;
        add_number(&mut denominator, update.eps)?;
        let m = memory.array(0, p)?;
        add_scaled(p, &m.div(&denominator)?, -update.rate)
    }
}

/// The checks of Adam and its kin.
pub(super) fn check_betas(name: &str, group: &ParamGroup, betas: (f64, f64), eps: f64) -> Result<()> {
    below_one(name, "beta 1", group.momentum.unwrap_or(betas.0))?;
    below_one(name, "beta 2", betas.1)?;
    at_least_zero(name, "eps", eps)
}
