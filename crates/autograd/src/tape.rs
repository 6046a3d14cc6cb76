//! The tape: nodes that hang from the tensors they produced and point to those they came from.

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker_ops::{Array, Grad, Meta, Op};
use esker_tensor::{Error, Result};
use smallvec::SmallVec;

use crate::Tensor;

/// Output `slot` of `node`.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) node: Arc<Node>,
    pub(crate) slot: usize,
}

pub(crate) type Edges = SmallVec<[Option<Edge>; 3]>;

/// One op that was applied, or the start of a history.
pub(crate) struct Node {
    /// Rises with every node; inputs have smaller numbers than what is made of them.
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    /// A tensor whose gradient was asked for; it gathers here.
    Leaf {
        grad: Mutex<Option<Tensor>>,
    },
    Op(Box<Applied>),
}

/// An op on the tape with what its gradient rule needs.
pub(crate) struct Applied {
    pub(crate) op: Op,
    pub(crate) inputs: Edges,
    pub(crate) x_metas: SmallVec<[Meta; 4]>,
    pub(crate) outputs: usize,
    pub(crate) location: &'static Location<'static>,
    saved: Mutex<Option<Saved>>,
}

/// Inputs and outputs kept for the gradient rule; arrays, so that no history is held through them.
pub(crate) struct Saved {
    pub(crate) x: SmallVec<[Option<Array>; 3]>,
    pub(crate) y: SmallVec<[Option<Array>; 1]>,
}

static SEQ: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Edge {
    pub(crate) fn new(node: Arc<Node>, slot: usize) -> Self {
        Self { node, slot }
    }
}

impl Node {
    pub(crate) fn leaf() -> Arc<Self> {
        let kind = Kind::Leaf { grad: Mutex::new(None) };
        Arc::new(Self { seq: SEQ.fetch_add(1, Ordering::Relaxed), kind })
    }

    pub(crate) fn op(
        op: Op,
        inputs: Edges,
        x: &[&Array],
        x_metas: SmallVec<[Meta; 4]>,
        y: &[Array],
        location: &'static Location<'static>,
    ) -> Result<Arc<Self>> {
        let keep = |mask: u64, i: usize, a: &Array| -> Result<Option<Array>> {
            if mask >> i.min(63) & 1 == 0 {
                return Ok(None);
            }
            // Memory that Esker does not own may change under the tape, so the tape keeps a copy.
            if a.storage().is_foreign() { owned_copy(a).map(Some) } else { Ok(Some(a.clone())) }
        };
        let (x_mask, y_mask) = match op.grad() {
            Grad::Saves { inputs, outputs } => (inputs, outputs),
            Grad::None(_) => (0, 0),
        };
        let saved = Saved {
            x: x.iter().enumerate().map(|(i, a)| keep(x_mask, i, a)).collect::<Result<_>>()?,
            y: y.iter().enumerate().map(|(i, a)| keep(y_mask, i, a)).collect::<Result<_>>()?,
        };
        let applied = Applied { op, inputs, x_metas, outputs: y.len(), location, saved: Mutex::new(Some(saved)) };
        let kind = Kind::Op(Box::new(applied));
        Ok(Arc::new(Self { seq: SEQ.fetch_add(1, Ordering::Relaxed), kind }))
    }

    /// The gradient that has gathered at a leaf.
    pub(crate) fn leaf_grad(&self) -> Option<MutexGuard<'_, Option<Tensor>>> {
        match &self.kind {
            Kind::Leaf { grad } => Some(lock(grad)),
            Kind::Op(_) => None,
        }
    }
}

impl Applied {
    /// The saved values: kept for another backward when `retain`, given away otherwise.
    pub(crate) fn saved(&self, retain: bool) -> Result<Saved> {
        let mut slot = lock(&self.saved);
        let saved = if retain { slot.as_ref().map(Saved::share) } else { slot.take() };
        saved.ok_or_else(|| {
            Error::autograd(format!(
                "the graph was already used by an earlier backward, which dropped what {} (at {}) had saved; \
                 call grad_with(.., retain_graph) the first time to keep it",
                self.op.name(),
                self.location
            ))
        })
    }
}

impl Saved {
    fn share(&self) -> Self {
        Self { x: self.x.clone(), y: self.y.clone() }
    }
}

fn owned_copy(a: &Array) -> Result<Array> {
    let mut copy = Array::uninit(&a.meta(), esker_tensor::Layout::contiguous(*a.shape()))?;
    let slot = std::slice::from_mut(&mut copy);
    esker_ops::backend(a.device())?.run(&esker_ops::Kernel::Copy, &[a], slot)?;
    Ok(copy)
}

impl Drop for Node {
    /// Releases a long chain without recursion.
    fn drop(&mut self) {
        let mut pending: Vec<Arc<Node>> = Vec::new();
        take_inputs(&mut self.kind, &mut pending);
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                take_inputs(&mut node.kind, &mut pending);
            }
        }
    }
}

fn take_inputs(kind: &mut Kind, pending: &mut Vec<Arc<Node>>) {
    if let Kind::Op(applied) = kind {
        pending.extend(applied.inputs.drain(..).flatten().map(|e| e.node));
    }
}
