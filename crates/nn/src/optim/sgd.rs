//! Stochastic gradient descent.

use esker_autograd::Param;
use esker_ops::{Array, MapOp, Ops};
use esker_tensor::Result;

use super::{Group, Optimizer, Slot, apply, each, scale, scaled};

/// SGD with momentum, dampening, Nesterov's variant and weight decay, in PyTorch's form:
/// `g += decay w; v = momentum v + (1 - dampening) g; w -= lr (nesterov ? g + momentum v : v)`, with `v = g` at first.
pub struct Sgd {
    groups: Vec<Group>,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    velocity: Slot<Array>,
}

impl Sgd {
    /// Plain gradient descent.
    pub fn new(params: Vec<Param>, lr: f64) -> Self {
        let groups = vec![Group { params, lr, weight_decay: 0.0 }];
        Self { groups, momentum: 0.0, dampening: 0.0, nesterov: false, velocity: Slot::new() }
    }

    /// With momentum.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// With dampening of the gradient in the velocity.
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// With Nesterov's look-ahead.
    pub fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    /// With weight decay in every group so far.
    pub fn weight_decay(mut self, decay: f64) -> Self {
        self.groups.iter_mut().for_each(|g| g.weight_decay = decay);
        self
    }

    /// With one more group.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }
}

impl Optimizer for Sgd {
    fn step(&mut self) -> Result<()> {
        let (momentum, dampening, nesterov) = (self.momentum, self.dampening, self.nesterov);
        let velocity = &mut self.velocity;
        each(&self.groups, |p, grad, group| {
            p.update(|w| {
                let mut g = scaled(grad, 1.0)?;
                if group.weight_decay != 0.0 {
                    apply(MapOp::Add, &mut g, &scaled(w, group.weight_decay)?)?;
                }
                if momentum != 0.0 {
                    match velocity.get_mut(&p.id()) {
                        Some(v) => {
                            scale(v, momentum)?;
                            apply(MapOp::Add, v, &scaled(&g, 1.0 - dampening)?)?;
                        }
                        None => {
                            velocity.insert(p.id(), scaled(&g, 1.0)?);
                        }
                    }
                    let v = &velocity[&p.id()];
                    g = if nesterov { g.add(&scaled(v, momentum)?)? } else { scaled(v, 1.0)? };
                }
                scale(&mut g, -group.lr)?;
                apply(MapOp::Add, w, &g)
            })
        })
    }

    fn groups(&mut self) -> &mut [Group] {
        &mut self.groups
    }
}
