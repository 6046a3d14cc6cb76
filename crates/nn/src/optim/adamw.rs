//! Adam with decoupled weight decay.

use esker_autograd::Param;
use esker_ops::{Array, MapOp, Ops};
use esker_tensor::Result;

use super::{Group, Optimizer, Slot, apply, each, scale, scaled};

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101) in PyTorch's form.
pub struct AdamW {
    groups: Vec<Group>,
    betas: (f64, f64),
    eps: f64,
    state: Slot<Moments>,
}

struct Moments {
    step: i32,
    mean: Array,
    square: Array,
}

impl AdamW {
    /// Betas 0.9 and 0.999, epsilon 1e-8, weight decay 0.01.
    pub fn new(params: Vec<Param>, lr: f64) -> Self {
        let groups = vec![Group { params, lr, weight_decay: 0.01 }];
        Self { groups, betas: (0.9, 0.999), eps: 1e-8, state: Slot::new() }
    }

    /// Decay rates of the two moments.
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.betas = (first, second);
        self
    }

    /// Added to the root of the second moment.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Weight decay of every group so far.
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

impl Optimizer for AdamW {
    fn step(&mut self) -> Result<()> {
        let ((b1, b2), eps) = (self.betas, self.eps);
        let state = &mut self.state;
        each(&self.groups, |p, grad, group| {
            if !state.contains_key(&p.id()) {
                let zero = |g: &Array| scaled(g, 0.0);
                state.insert(p.id(), Moments { step: 0, mean: zero(grad)?, square: zero(grad)? });
            }
            let Some(m) = state.get_mut(&p.id()) else { return Ok(()) };
            m.step += 1;
            scale(&mut m.mean, b1)?;
            apply(MapOp::Add, &mut m.mean, &scaled(grad, 1.0 - b1)?)?;
            scale(&mut m.square, b2)?;
            apply(MapOp::Add, &mut m.square, &scaled(&grad.square()?, 1.0 - b2)?)?;
            let (c1, c2) = (1.0 - b1.powi(m.step), 1.0 - b2.powi(m.step));
            let mut root = scaled(&m.square, 1.0 / c2)?.sqrt()?;
            let eps = <Array as esker_ops::Value>::scalar(eps, root.dtype(), root.device())?;
            apply(MapOp::Add, &mut root, &eps)?;
            let change = scaled(&m.mean, -group.lr / c1)?.div(&root)?;
            p.update(|w| {
                scale(w, 1.0 - group.lr * group.weight_decay)?;
                apply(MapOp::Add, w, &change)
            })
        })
    }

    fn groups(&mut self) -> &mut [Group] {
        &mut self.groups
    }
}
