//! Walking the tape backwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_ops::{Array, Grad, Grads, Map, MapOp, Ops, Value, Vjp};
use esker_tensor::site::Site;
use esker_tensor::{Device, Error, Result};
use smallvec::SmallVec;

use crate::dispatch::with_grad_mode;
use crate::hooks::Hooks;
use crate::tape::{Applied, Edge, Kind, Node, Recorded, Rule, Saved};
use crate::{Tensor, anomaly, observe};

/// How [`grad_with`] treats the graph.
#[derive(Clone, Copy, Default, Debug)]
pub struct GradOptions {
    /// Keep what the graph has saved, for another backward over it.
    pub retain_graph: bool,
    /// Record the gradients' own history, so that they can be differentiated again; implies `retain_graph`.
    pub create_graph: bool,
}

/// Gradients of the sum of `outputs` by each of `inputs`; parameters' own gradients are not touched.
///
/// # Errors
/// `Autograd` when an input has no history or does not take part in the outputs, or the graph was spent.
pub fn grad(outputs: &[&Tensor], inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    grad_with(outputs, inputs, GradOptions::default())
}

/// As [`grad`], keeping or recording the graph as `options` say.
///
/// # Errors
/// As [`grad`].
pub fn grad_with(outputs: &[&Tensor], inputs: &[&Tensor], options: GradOptions) -> Result<Vec<Tensor>> {
    let outputs: Vec<(&Tensor, Tensor)> = outputs.iter().map(|y| Ok((*y, y.ones_like()?))).collect::<Result<_>>()?;
    let found = grad_from(&outputs, inputs, options)?;
    found
        .into_iter()
        .enumerate()
        .map(|(i, g)| g.ok_or_else(|| Error::autograd(format!("input {i} does not take part in the outputs"))))
        .collect()
}

/// As [`grad_with`], with the gradient of each output given; `None` for an input that does not take part.
///
/// # Errors
/// `Autograd` when an input or an output has no history, or the graph was spent; `Shape` when a gradient is not like
/// its output.
pub fn grad_from(
    outputs: &[(&Tensor, Tensor)],
    inputs: &[&Tensor],
    options: GradOptions,
) -> Result<Vec<Option<Tensor>>> {
    let targets: SmallVec<[&Edge; 4]> = inputs
        .iter()
        .enumerate()
        .map(|(i, x)| {
            x.edge.as_ref().ok_or_else(|| {
                Error::autograd(format!(
                    "input {i} has no history; it must be a parameter or a tensor that was made to require a gradient"
                ))
            })
        })
        .collect::<Result<_>>()?;
    let roots = outputs.iter().map(|(y, dy)| Ok((history(y)?.clone(), seed(y, Some(dy), options)?)));
    Walk::new(roots, options)?.run(Some(&targets))
}

fn history(y: &Tensor) -> Result<&Edge> {
    y.edge.as_ref().ok_or_else(|| {
        Error::autograd(
            "this tensor has no history: nothing it was computed from asked for a gradient (or no_grad was active)",
        )
    })
}

/// Sends `gradient` (ones for a scalar) from `y` to every leaf upstream.
pub(crate) fn backward(y: &Tensor, gradient: Option<&Tensor>, options: GradOptions) -> Result<()> {
    let root = history(y).and_then(|edge| Ok((edge.clone(), seed(y, gradient, options)?)));
    Walk::new([root], options)?.run(None).map(drop)
}

/// The gradient that a walk starts from at `y`.
fn seed(y: &Tensor, gradient: Option<&Tensor>, options: GradOptions) -> Result<Tensor> {
    match gradient {
        Some(g) if g.shape() == y.shape() && g.dtype() == y.dtype() => {
            Ok(if options.create_graph { g.clone() } else { g.detach() })
        }
        Some(g) => Err(Error::shape(format!(
            "backward: the gradient is {:?} {}, the tensor {:?} {}",
            g.shape(),
            g.dtype(),
            y.shape(),
            y.dtype()
        ))),
        None if y.numel() == 1 => y.ones_like(),
        None => Err(Error::autograd(format!(
            "backward starts from a scalar, got {:?}; sum it first, or give a gradient of its shape",
            y.shape()
        ))),
    }
}

impl Tensor {
    fn ones_like(&self) -> Result<Tensor> {
        if self.device() == Device::Meta {
            return Err(Error::capture("backward over meta tensors: there are no values to differentiate"));
        }
        Tensor::full(1.0, self.shape(), self.dtype(), self.device())
    }
}

type Slots = SmallVec<[Option<Tensor>; 1]>;
type Entry = (Arc<Node>, Slots);

/// Nodes that [`Pending`] keeps side by side.
const NEAR: usize = 4;

/// The nodes that gradients have arrived at, with these, by number.
#[derive(Default)]
struct Pending {
    /// Those with the highest numbers, rising: in chains they come and go without a search or an allocation.
    near: SmallVec<[Entry; NEAR + 1]>,
    /// All others.
    far: BTreeMap<u64, Entry>,
}

impl Pending {
    /// Takes out the node with the highest number.
    fn pop(&mut self) -> Option<Entry> {
        self.near.pop().or_else(|| self.far.pop_last().map(|(_, entry)| entry))
    }

    /// The gradients at a node.
    fn slots(&mut self, node: &Arc<Node>) -> &mut Slots {
        let Self { near, far } = self;
        let place = near.iter().take_while(|(other, _)| other.seq < node.seq).count();
        if near.get(place).is_none_or(|(other, _)| other.seq != node.seq) {
            let lowest = place == 0;
            if lowest && (near.len() == NEAR || far.last_key_value().is_some_and(|(&seq, _)| seq >= node.seq)) {
                return &mut far.entry(node.seq).or_insert_with(|| Self::fresh(node)).1;
            }
            near.insert(place, Self::fresh(node));
            if near.len() > NEAR {
                let entry = near.remove(0);
                far.insert(entry.0.seq, entry);
                return &mut near[place - 1].1;
            }
        }
        &mut near[place].1
    }

    fn fresh(node: &Arc<Node>) -> Entry {
        let outputs = match &node.kind {
            Kind::Leaf { .. } => 1,
            Kind::Op(applied) => applied.outputs,
        };
        let mut slots = Slots::new();
        slots.resize_with(outputs, || None);
        (Arc::clone(node), slots)
    }
}

/// One backward pass. An op's number is above those of what it came from, so that the node with the highest has received
/// all that it will.
struct Walk {
    pending: Pending,
    options: GradOptions,
}

impl Walk {
    fn new(roots: impl IntoIterator<Item = Result<(Edge, Tensor)>>, options: GradOptions) -> Result<Self> {
        let mut walk = Self { pending: Pending::default(), options };
        for root in roots {
            let (edge, seed) = root?;
            walk.arrive(&edge, seed)?;
        }
        Ok(walk)
    }

    /// Runs through all nodes. With targets, returns the gradients at those edges and leaves parameters alone;
    /// without, adds to the leaves' gradients.
    fn run(mut self, targets: Option<&[&Edge]>) -> Result<Vec<Option<Tensor>>> {
        let targets_or_none = targets.unwrap_or_default();
        let mut found: Vec<Option<Tensor>> = targets_or_none.iter().map(|_| None).collect();
        while let Some((node, mut slots)) = self.pending.pop() {
            if let Some(hooks) = node.hooks.get() {
                with_grad_mode(self.options.create_graph, || hooks.see(&mut slots))?;
            }
            for (edge, found) in targets_or_none.iter().zip(&mut found).filter(|(e, _)| Arc::ptr_eq(&e.node, &node)) {
                *found = slots[edge.slot].clone();
            }
            match &node.kind {
                Kind::Leaf { .. } if targets.is_some() => {}
                Kind::Leaf { .. } => gather(&node, slots, self.options.create_graph)?,
                Kind::Op(applied) => self.step(&node, applied, slots)?,
            }
        }
        Ok(found)
    }

    /// Sends the gradients of a node's outputs to its inputs.
    fn step(&mut self, node: &Arc<Node>, applied: &Applied, dy: Slots) -> Result<()> {
        let context = |e: Error| e.prefix(&format!("backward of {} (called at {})", applied.name(), applied.location));
        let again = self.options.create_graph;
        let retain = self.options.retain_graph || again;
        if let (Rule::Op(recorded), false) = (&applied.rule, again || anomaly::is_on() || is_watched()) {
            let grads = recorded.plain_grads(applied, dy, retain).map_err(context)?;
            for (edge, grad) in applied.inputs.iter().zip(grads) {
                if let (Some(edge), Some(grad)) = (edge, grad) {
                    self.arrive(edge, Tensor::from_array(grad))?;
                }
            }
            return Ok(());
        }
        let dy = &dy[..];
        let inputs = if anomaly::is_on() { applied.kept_inputs() } else { Vec::new() };
        let rule = |f: &dyn Fn() -> Result<Grads<Tensor>>| {
            // The gradients as a whole are checked below.
            let (_site, _finder) = (Site::enter(applied.location), anomaly::off());
            with_grad_mode(again, f)
        };
        let grads = match &applied.rule {
            Rule::Op(recorded) => rule(&|| recorded.grads(node, applied, dy, retain, again)),
            Rule::Function(custom) => rule(&|| custom.grads(node, applied, dy, retain, again)),
            Rule::Checkpoint(segment) => {
                let y = segment.record(applied, retain).map_err(context)?;
                let reached: Vec<(&Edge, &Tensor)> =
                    y.iter().zip(dy).filter_map(|(y, dy)| Some((y.edge.as_ref()?, dy.as_ref()?))).collect();
                return reached.into_iter().try_for_each(|(edge, dy)| self.arrive(edge, dy.clone()));
            }
        };
        let grads = grads.map_err(context)?;
        if anomaly::is_on() {
            anomaly::check_gradients(&grads, dy, &inputs).map_err(context)?;
        }
        for (edge, grad) in applied.inputs.iter().zip(grads) {
            if let (Some(edge), Some(grad)) = (edge, grad) {
                self.arrive(edge, grad)?;
            }
        }
        Ok(())
    }

    /// Adds a gradient to what has arrived at an edge; the first is moved in.
    fn arrive(&mut self, edge: &Edge, grad: Tensor) -> Result<()> {
        let slots = self.pending.slots(&edge.node);
        let slot = &mut slots[edge.slot];
        *slot = Some(match slot.take() {
            None => grad,
            Some(sum) => add(sum, &grad, self.options.create_graph)?,
        });
        Ok(())
    }
}

/// Adds a gradient to what a leaf has; `record` keeps the history of both.
fn gather(leaf: &Node, mut slots: Slots, record: bool) -> Result<()> {
    if let (Some(mut total), Some(grad)) = (leaf.leaf_grad(), slots[0].take()) {
        *total = Some(match total.take() {
            None => grad,
            Some(sum) => add(sum, &grad, record)?,
        });
    }
    leaf.hooks.get().map_or(Ok(()), Hooks::gathered)
}

impl Recorded {
    /// The gradients of the inputs, by the op's rule, where nobody will ask for their history or looks on.
    fn plain_grads(&self, applied: &Applied, dy: Slots, retain: bool) -> Result<Grads<Array>> {
        let _site = Site::enter(applied.location);
        let mut arrays: SmallVec<[Option<Array>; 1]> = SmallVec::new();
        for dy in dy {
            arrays.push(dy.map(|dy| dy.array));
        }
        let Saved { x, y } = self.saved.take(retain, applied)?;
        self.rule(applied, &x, &y, &arrays)
    }

    /// The gradients of the inputs, by the op's rule.
    fn grads(
        &self,
        node: &Arc<Node>,
        applied: &Applied,
        dy: &[Option<Tensor>],
        retain: bool,
        again: bool,
    ) -> Result<Grads<Tensor>> {
        let Saved { x, y } = self.saved.take(retain, applied)?;
        let tensor = |array: Option<Array>, edge: Option<Edge>| array.map(|array| Tensor { array, edge });
        let x: SmallVec<[Option<Tensor>; 2]> =
            x.into_iter().zip(&applied.inputs).map(|(x, edge)| tensor(x, edge.clone().filter(|_| again))).collect();
        let own = |slot: usize, y: &Array| {
            let history = again && y.dtype().is_float();
            history.then(|| Edge::new(Arc::clone(node), slot))
        };
        let y: SmallVec<[Option<Tensor>; 1]> =
            y.into_iter().enumerate().map(|(slot, y)| tensor(y.clone(), y.and_then(|y| own(slot, &y)))).collect();
        self.rule(applied, &x, &y, dy)
    }

    fn rule<V: Value>(
        &self,
        applied: &Applied,
        x: &[Option<V>],
        y: &[Option<V>],
        dy: &[Option<V>],
    ) -> Result<Grads<V>> {
        if let Grad::None(reason) = self.op.grad() {
            return Err(Error::autograd(format!("it is not differentiable: {reason}")));
        }
        let mut needs: SmallVec<[bool; 8]> = SmallVec::new();
        for edge in &applied.inputs {
            needs.push(edge.is_some());
        }
        let x_metas = self.metas(needs.len());
        self.op.vjp(&Vjp { name: self.op.name(), x_metas: &x_metas, x, y, dy, needs: &needs })
    }
}

/// Whether ops on tensors are seen by others than the tape.
fn is_watched() -> bool {
    esker_graph::is_recording() || observe::is_on()
}

/// `sum + grad`, in place when nothing else sees `sum`.
fn add(mut sum: Tensor, grad: &Tensor, record: bool) -> Result<Tensor> {
    let in_place = !record
        && sum.edge.is_none()
        && sum.array.storage().is_unique()
        && sum.shape() == grad.shape()
        && sum.array.layout().dense_order().is_some();
    if !in_place {
        return with_grad_mode(record, || sum.add(grad));
    }
    let backend = esker_ops::backend(sum.device())?;
    backend.run_in_place(Map::Value(MapOp::Add), &mut sum.array, &[&grad.array])?;
    Ok(sum)
}
