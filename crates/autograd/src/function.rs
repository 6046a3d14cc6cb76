//! Functions of the user's own, with their own gradient.

use std::panic::Location;
use std::sync::Arc;

use esker_ops::{Array, Grads, Meta, Value};
use esker_tensor::site::Site;
use esker_tensor::{Error, Result};

use crate::dispatch::{ready, with_grad_mode};
use crate::tape::{Applied, Edge, Node, Rule, Spent, own};
use crate::{Tensor, is_grad_enabled};

/// A function with a gradient of its own: for a formula that is better than what the tape would derive, or for work
/// that is done outside of Esker. A capture sees the ops that `forward` applies.
///
/// ```
/// use esker_autograd::{Context, Function, Tensor, apply};
/// use esker_ops::Ops;
/// use esker_tensor::Result;
///
/// /// Passes its input, and turns the gradient's sign.
/// struct Reverse;
///
/// impl Function for Reverse {
///     fn forward(&self, _: &mut Context, x: &[Tensor]) -> Result<Vec<Tensor>> {
///         Ok(vec![x[0].clone()])
///     }
///
///     fn backward(&self, _: &Context, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
///         Ok(vec![dy[0].as_ref().map(|dy| dy.neg()).transpose()?])
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let x = Tensor::ones([3])?.tracked()?;
/// apply(Reverse, &[&x])?[0].sum((), false)?.backward()?;
/// assert_eq!(x.grad().map(|g| g.to_vec::<f32>()).transpose()?, Some(vec![-1.0; 3]));
/// # Ok(())
/// # }
/// ```
pub trait Function: Send + Sync + 'static {
    /// Its name in messages; the type's by default.
    fn name(&self) -> &str {
        std::any::type_name::<Self>().rsplit("::").next().unwrap_or("function")
    }

    /// The outputs. Runs without the tape; what `backward` needs is given to [`Context::save`].
    ///
    /// # Errors
    /// The function's own.
    fn forward(&self, cx: &mut Context, x: &[Tensor]) -> Result<Vec<Tensor>>;

    /// The gradient of each input from those of the outputs (`None` where nothing used an output); `None` for inputs
    /// without one. Made of ops on tensors, it can be differentiated again.
    ///
    /// # Errors
    /// The function's own.
    fn backward(&self, cx: &Context, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>;
}

/// What passes from a function's forward to its backward.
#[derive(Default)]
pub struct Context {
    saved: Vec<Tensor>,
    needs: Vec<bool>,
    constant: Vec<usize>,
}

impl Context {
    /// Keeps tensors for backward: inputs, outputs, or what was computed on the way.
    pub fn save<'a>(&mut self, tensors: impl IntoIterator<Item = &'a Tensor>) {
        self.saved = tensors.into_iter().cloned().collect();
    }

    /// What was kept, in the same order.
    pub fn saved(&self) -> &[Tensor] {
        &self.saved
    }

    /// Whether a gradient of input `i` is asked for.
    pub fn needs_input_grad(&self, i: usize) -> bool {
        self.needs.get(i).copied().unwrap_or(false)
    }

    /// Says that output `i` does not depend on the inputs in a way that has a gradient.
    pub fn mark_non_differentiable(&mut self, i: usize) {
        self.constant.push(i);
    }
}

/// Applies a function.
///
/// # Errors
/// Those of its forward, with its name in front.
#[track_caller]
pub fn apply(function: impl Function, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    ready();
    let site = Site::enter(Location::caller());
    let needs: Vec<bool> = inputs.iter().map(|x| x.requires_grad()).collect();
    let mut cx = Context { needs, ..Context::default() };
    let x: Vec<Tensor> = inputs.iter().copied().cloned().collect();
    let results = with_grad_mode(false, || function.forward(&mut cx, &x)).map_err(|e| e.prefix(function.name()))?;
    let results: Vec<Array> = results.into_iter().map(|y| y.array).collect();
    if !is_grad_enabled() || !cx.needs.contains(&true) {
        return Ok(results.into_iter().map(Tensor::from_array).collect());
    }
    let kept = cx.saved.iter().map(|t| Kept::of(t, &x, &results)).collect::<Result<_>>()?;
    let x_metas = x.iter().map(Value::meta).collect();
    let constant = cx.constant;
    let custom = Custom { function: Box::new(function), x_metas, needs: cx.needs, kept: Spent::new(kept) };
    let edges = x.into_iter().map(|x| x.edge).collect();
    let node = Node::applied(Rule::Function(custom), edges, results.len(), site.location());
    let outputs = results.into_iter().enumerate();
    Ok(outputs
        .map(|(slot, array)| {
            let edge = (array.dtype().is_float() && !constant.contains(&slot)).then(|| Edge::new(node.clone(), slot));
            Tensor { array, edge }
        })
        .collect())
}

/// A function on the tape.
pub(crate) struct Custom {
    function: Box<dyn Function>,
    x_metas: Vec<Meta>,
    needs: Vec<bool>,
    kept: Spent<Vec<Kept>>,
}

/// A tensor kept for backward: its values, and where its history is found. Holding an output's own history would be
/// a cycle.
#[derive(Clone)]
struct Kept {
    array: Array,
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    Input(usize),
    Output(usize),
    Computed,
}

impl Kept {
    fn of(t: &Tensor, x: &[Tensor], y: &[Array]) -> Result<Self> {
        let same = |a: &Array| a.storage().id() == t.array.storage().id() && a.layout() == t.array.layout();
        let source = if let Some(i) = x.iter().position(|x| same(&x.array)) {
            Source::Input(i)
        } else {
            y.iter().position(same).map_or(Source::Computed, Source::Output)
        };
        Ok(Self { array: own(&t.array)?, source })
    }
}

impl Custom {
    pub(crate) fn name(&self) -> &str {
        self.function.name()
    }

    /// The gradients of the inputs, by the function's backward.
    pub(crate) fn grads(
        &self,
        node: &Arc<Node>,
        applied: &Applied,
        dy: &[Option<Tensor>],
        retain: bool,
        again: bool,
    ) -> Result<Grads<Tensor>> {
        let tensor = |kept: Kept| {
            let edge = match kept.source {
                Source::Input(i) => applied.inputs[i].clone(),
                Source::Output(slot) => Some(Edge::new(Arc::clone(node), slot)),
                Source::Computed => None,
            };
            Tensor { array: kept.array, edge: edge.filter(|_| again) }
        };
        let saved = self.kept.take(retain, applied)?.into_iter().map(tensor).collect();
        let cx = Context { saved, needs: self.needs.clone(), constant: Vec::new() };
        let grads = self.function.backward(&cx, dy)?;
        self.check(&grads)?;
        Ok(grads.into_iter().collect())
    }

    fn check(&self, grads: &[Option<Tensor>]) -> Result<()> {
        if grads.len() != self.x_metas.len() {
            return Err(Error::autograd(format!(
                "it must return one gradient for each of its {} inputs (None for those without), it returned {}",
                self.x_metas.len(),
                grads.len()
            )));
        }
        for (i, (grad, x)) in grads.iter().zip(&self.x_metas).enumerate() {
            if let Some(g) = grad.as_ref().filter(|g| *g.shape() != x.shape || g.dtype() != x.dtype) {
                return Err(Error::autograd(format!(
                    "the gradient of input {i} must be {:?} {} as the input, it is {:?} {}",
                    x.shape,
                    x.dtype,
                    g.shape(),
                    g.dtype()
                )));
            }
        }
        Ok(())
    }
}
