//! Optimisers. They change parameters in place; a step copies nothing that nobody else holds.

mod adamw;
mod sgd;

use esker_autograd::{Param, Tensor};
use esker_ops::{Array, Map, MapOp, backend};
use esker_tensor::Result;

pub use adamw::AdamW;
pub use sgd::Sgd;

/// What moves parameters along their gradients.
pub trait Optimizer {
    /// One step from the gradients that have gathered; parameters without one stay.
    ///
    /// # Errors
    /// `OutOfMemory`.
    fn step(&mut self) -> Result<()>;

    /// The groups of parameters.
    fn groups(&mut self) -> &mut [Group];

    /// Forgets all gradients.
    fn zero_grad(&mut self) {
        self.groups().iter().flat_map(|g| &g.params).for_each(Param::zero_grad);
    }

    /// Sets the learning rate of all groups.
    fn set_lr(&mut self, lr: f64) {
        self.groups().iter_mut().for_each(|g| g.lr = lr);
    }
}

/// Parameters with settings of their own.
#[derive(Clone)]
pub struct Group {
    /// The parameters; each is stepped once, however often it is named.
    pub params: Vec<Param>,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

/// What an optimiser remembers of a parameter, made when it first has a gradient.
type Slot<S> = std::collections::HashMap<usize, S>;

/// Calls `f` with each trained parameter that has a gradient, once, and its group's rate and decay.
fn each(groups: &[Group], mut f: impl FnMut(&Param, &Array, &Group) -> Result<()>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for group in groups {
        for p in group.params.iter().filter(|p| p.is_trainable() && seen.insert(p.id())) {
            if let Some(grad) = p.grad() {
                f(p, grad.array(), group)?;
            }
        }
    }
    Ok(())
}

/// `target = op(target, other)`.
fn apply(op: MapOp, target: &mut Array, other: &Array) -> Result<()> {
    backend(target.device())?.run_in_place(Map::Value(op), target, &[other])
}

/// `target *= factor`.
fn scale(target: &mut Array, factor: f64) -> Result<()> {
    let factor = <Array as esker_ops::Value>::scalar(factor, target.dtype(), target.device())?;
    apply(MapOp::Mul, target, &factor)
}

/// `x * factor` as a new array.
fn scaled(x: &Array, factor: f64) -> Result<Array> {
    let factor = <Array as esker_ops::Value>::scalar(factor, x.dtype(), x.device())?;
    esker_ops::Ops::mul(x, &factor)
}

/// Clips gradients so that their joint Euclidean norm is at most `max_norm`; returns the norm before.
///
/// # Errors
/// `OutOfMemory`.
pub fn clip_grad_norm(params: &[Param], max_norm: f64) -> Result<f64> {
    use esker_ops::Ops;
    let grads: Vec<(&Param, Tensor)> = params.iter().filter_map(|p| p.grad().map(|g| (p, g))).collect();
    let mut total = 0.0;
    for (_, g) in &grads {
        total += g.square()?.sum((), false)?.item()?;
    }
    let norm = total.sqrt();
    // PyTorch's guard against a norm of zero.
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        for (p, g) in grads {
            p.set_grad(Tensor::from_array(scaled(g.array(), factor)?))?;
        }
    }
    Ok(norm)
}
