//! The tape: nodes that hang from the tensors they produced and point to those they came from.

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use esker_ops::{Array, Form, Grad, InputMetas, Op};
use esker_tensor::{Error, Result};
use smallvec::SmallVec;

use crate::Tensor;
use crate::checkpoint::Segment;
use crate::function::Custom;
use crate::hooks::Hooks;

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
    /// What wants to see the gradients that arrive here.
    pub(crate) hooks: OnceLock<Hooks>,
}

#[allow(clippy::large_enum_variant)] // Nearly all are ops; a box more would cost each an allocation.
pub(crate) enum Kind {
    /// A tensor whose gradient was asked for; it gathers here.
    Leaf {
        grad: Mutex<Option<Tensor>>,
    },
    Op(Applied),
}

/// Something that was applied, with what its gradient needs.
pub(crate) struct Applied {
    pub(crate) rule: Rule,
    pub(crate) inputs: Edges,
    pub(crate) outputs: usize,
    pub(crate) location: &'static Location<'static>,
}

/// How gradients pass through a node.
#[allow(clippy::large_enum_variant)] // Ops are nearly all of them; a box more would cost each an allocation.
pub(crate) enum Rule {
    /// By an op's own rule.
    Op(Recorded),
    /// By a rule of the user's.
    Function(Custom),
    /// By recording the forward now, which was not recorded then.
    Checkpoint(Segment),
}

/// An op on the tape with what its gradient rule needs.
pub(crate) struct Recorded {
    pub(crate) op: Op,
    /// Of the inputs; a single one where all lie alike.
    forms: SmallVec<[Form; 2]>,
    pub(crate) saved: Spent<Saved>,
}

/// What is kept for backward and given away by the first that does not retain the graph.
pub(crate) struct Spent<T>(Mutex<Option<T>>);

impl<T: Clone> Spent<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    fn peek(&self) -> Option<T> {
        lock(&self.0).clone()
    }

    /// What was kept: kept for another backward when `retain`, given away otherwise.
    pub(crate) fn take(&self, retain: bool, applied: &Applied) -> Result<T> {
        let mut slot = lock(&self.0);
        let kept = if retain { slot.clone() } else { slot.take() };
        kept.ok_or_else(|| {
            Error::autograd(format!(
                "the graph was already used by an earlier backward, which dropped what {} (at {}) had saved; \
                 ask to retain the graph the first time to keep it",
                applied.name(),
                applied.location
            ))
        })
    }
}

/// Inputs and outputs kept for the gradient rule, without history, so that none is held through them.
#[derive(Clone)]
pub(crate) struct Saved {
    pub(crate) x: SmallVec<[Option<Array>; 2]>,
    pub(crate) y: SmallVec<[Option<Array>; 1]>,
}

static SEQ: AtomicU64 = AtomicU64::new(1);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        Self::new(kind)
    }

    #[inline]
    fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self { seq: SEQ.fetch_add(1, Ordering::Relaxed), kind, hooks: OnceLock::new() })
    }

    #[inline]
    pub(crate) fn applied(
        rule: Rule,
        inputs: Edges,
        outputs: usize,
        location: &'static Location<'static>,
    ) -> Arc<Self> {
        Self::new(Kind::Op(Applied { rule, inputs, outputs, location }))
    }

    pub(crate) fn op(op: Op, x: &[&Tensor], y: &[Array], location: &'static Location<'static>) -> Result<Arc<Self>> {
        let (x_mask, y_mask) = match op.grad() {
            Grad::Saves { inputs, outputs } => (inputs, outputs),
            Grad::None(_) => (0, 0),
        };
        let keep = |mask: u64, i: usize, a: &Array| -> Result<Option<Array>> {
            if mask >> i.min(63) & 1 == 0 { Ok(None) } else { own(a).map(Some) }
        };
        let mut saved = Saved { x: SmallVec::new(), y: SmallVec::new() };
        let mut inputs = Edges::new();
        for (i, x) in x.iter().enumerate() {
            saved.x.push(keep(x_mask, i, &x.array)?);
            inputs.push(x.edge.clone());
        }
        for (i, y) in y.iter().enumerate() {
            saved.y.push(keep(y_mask, i, y)?);
        }
        let rule = Rule::Op(Recorded { op, forms: forms(x), saved: Spent::new(saved) });
        Ok(Self::applied(rule, inputs, y.len(), location))
    }

    /// The gradient that has gathered at a leaf.
    pub(crate) fn leaf_grad(&self) -> Option<MutexGuard<'_, Option<Tensor>>> {
        match &self.kind {
            Kind::Leaf { grad } => Some(lock(grad)),
            Kind::Op(_) => None,
        }
    }
}

/// What [`Recorded::forms`] says.
fn forms(x: &[&Tensor]) -> SmallVec<[Form; 2]> {
    let alike = x.windows(2).all(|pair| pair[0].array.form().is_shared_by(pair[1].array.form()));
    let mut forms = SmallVec::new();
    for x in if alike { &x[..x.len().min(1)] } else { x } {
        forms.push(x.array.form().clone());
    }
    forms
}

impl Recorded {
    /// Metas of the inputs, `n` of them.
    pub(crate) fn metas(&self, n: usize) -> InputMetas {
        match &self.forms[..] {
            [one] => SmallVec::from_elem(one.meta(), n),
            forms => forms.iter().map(Form::meta).collect(),
        }
    }
}

impl Applied {
    pub(crate) fn name(&self) -> &str {
        match &self.rule {
            Rule::Op(recorded) => recorded.op.name(),
            Rule::Function(custom) => custom.name(),
            Rule::Checkpoint(_) => "checkpoint",
        }
    }

    /// The inputs that are kept for an op's rule.
    pub(crate) fn kept_inputs(&self) -> Vec<Array> {
        match &self.rule {
            Rule::Op(recorded) => {
                recorded.saved.peek().map(|s| s.x.into_iter().flatten().collect()).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

/// The array to keep: memory that Esker does not own may change under the tape, so the tape keeps a copy.
pub(crate) fn own(a: &Array) -> Result<Array> {
    if !a.storage().is_foreign() {
        return Ok(a.clone());
    }
    let mut copy = Array::uninit(&a.meta(), esker_tensor::Layout::contiguous(*a.shape()))?;
    let slot = std::slice::from_mut(&mut copy);
    esker_ops::backend(a.device())?.run(&esker_ops::Kernel::Copy, &[a], slot)?;
    Ok(copy)
}

impl Drop for Node {
    /// Releases a long chain without recursion.
    fn drop(&mut self) {
        let mut pending: SmallVec<[Arc<Node>; 4]> = SmallVec::new();
        take_inputs(&mut self.kind, &mut pending);
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                take_inputs(&mut node.kind, &mut pending);
            }
        }
    }
}

/// Lets go of a node's inputs; those that nobody else holds go to `pending`.
fn take_inputs(kind: &mut Kind, pending: &mut SmallVec<[Arc<Node>; 4]>) {
    if let Kind::Op(applied) = kind {
        for edge in applied.inputs.drain(..).flatten() {
            // Two threads that let go at once may both leave it to the other; its own drop then does the same again.
            if Arc::strong_count(&edge.node) == 1 {
                pending.push(edge.node);
            }
        }
    }
}
