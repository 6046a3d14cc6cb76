//! Stochastic gradient descent.

use esker_autograd::{Param, Tensor};
use esker_ops::{Array, MapOp, Ops};
use esker_tensor::{Error, Result};

use super::group::{at_least_zero, once};
use super::update::{add_scaled, copy_like, each, entries, in_place, number, scale, snapshot};
use super::{Optimizer, ParamGroup};
use crate::StateDict;

/// `torch.optim.SGD`: with `g` the gradient plus `weight_decay` times the parameter,
/// `v = momentum v + (1 - dampening) g` (the first `v` is `g`), and the parameter moves by `-lr v`
/// (`-lr (g + momentum v)` with Nesterov, `-lr g` without momentum).
#[derive(Debug)]
pub struct Sgd {
    groups: Vec<ParamGroup>,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    velocity: Vec<Option<Array>>,
}

impl Sgd {
    /// Plain descent.
    pub fn new(params: Vec<Param>, lr: f64) -> Self {
        Self::with_groups(vec![ParamGroup::new(params, lr)])
    }

    /// Over groups with settings of their own.
    pub fn with_groups(groups: Vec<ParamGroup>) -> Self {
        let groups = once(groups);
        let velocity = groups.iter().flat_map(|g| &g.params).map(|_| None).collect();
        Self { groups, momentum: 0.0, dampening: 0.0, nesterov: false, velocity }
    }

    /// With momentum, from 0 on.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// With the gradient damped as it enters the velocity, from 0 on.
    #[must_use]
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// With Nesterov's look-ahead; needs momentum and no dampening.
    #[must_use]
    pub fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    /// With weight decay in every group.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.groups.iter_mut().for_each(|g| g.weight_decay = weight_decay);
        self
    }

    fn check(&self) -> Result<()> {
        self.groups.iter().try_for_each(|g| g.check("Sgd"))?;
        at_least_zero("Sgd", "momentum", self.momentum)?;
        at_least_zero("Sgd", "dampening", self.dampening)?;
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::kernel(format!(
                "Sgd: Nesterov needs momentum and no dampening, given are {} and {}",
                self.momentum, self.dampening
            )));
        }
        Ok(())
    }
}

impl Optimizer for Sgd {
    fn step(&mut self) -> Result<()> {
        self.check()?;
        let (momentum, dampening, nesterov) = (self.momentum, self.dampening, self.nesterov);
        each(&self.groups, &mut self.velocity, |group, param, grad, velocity| {
            param.update(|p| {
                let mut decayed = None;
                if group.weight_decay != 0.0 {
                    let mut sum = p.mul(&number(group.weight_decay, p)?)?;
                    in_place(MapOp::Add, &mut sum, grad.array())?;
                    decayed = Some(sum);
                }
                let g = decayed.as_ref().unwrap_or(grad.array());
                if momentum == 0.0 {
                    return add_scaled(p, g, -group.lr);
                }
                let v = match velocity {
                    Some(v) => {
                        scale(v, momentum)?;
                        add_scaled(v, g, 1.0 - dampening)?;
                        v
                    }
                    None => velocity.insert(copy_like(g, p)?),
                };
                if nesterov {
                    add_scaled(p, g, -group.lr)?;
                    return add_scaled(p, v, -group.lr * momentum);
                }
                add_scaled(p, v, -group.lr)
            })
        })
    }

    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    fn groups_mut(&mut self) -> &mut [ParamGroup] {
        &mut self.groups
    }

    fn state_dict(&self) -> Result<StateDict> {
        let known = self.velocity.iter().enumerate().filter_map(|(i, v)| Some((i, v.as_ref()?)));
        known.map(|(i, v)| Ok((format!("{i}.momentum_buffer"), snapshot(v)?))).collect()
    }

    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let entries = entries("Sgd", &self.groups, state, &["momentum_buffer"])?;
        let mut velocity: Vec<Option<Array>> = self.velocity.iter().map(|_| None).collect();
        for (i, _, tensor) in entries {
            if let Some(slot) = velocity.get_mut(i) {
                *slot = Some(own(tensor)?);
            }
        }
        self.velocity = velocity;
        Ok(())
    }
}

/// A copy that the optimiser alone holds.
pub(super) fn own(tensor: &Tensor) -> Result<Array> {
    copy_like(tensor.array(), tensor.array())
}
