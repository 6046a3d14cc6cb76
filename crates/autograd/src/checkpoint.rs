//! Checkpoints: memory for time. What lies between is computed again when backward comes to it.

use std::panic::Location;
use std::sync::Arc;

use esker_ops::Array;
use esker_tensor::philox::{Generator, default_generator, set_default_generator};
use esker_tensor::site::Site;
use esker_tensor::{Error, Result};

use crate::dispatch::{ready, with_grad_mode};
use crate::tape::{Applied, Edge, Node, Rule, Spent, own};
use crate::{Tensor, is_grad_enabled};

type Forward = Arc<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync>;

/// Applies `f` and keeps nothing of what it computes but its results: backward applies it once more, with the same
/// random numbers, and goes on through that. Parameters that `f` uses get their gradients as ever.
///
/// `f` must do the same both times: it must not depend on anything that changes in between.
///
/// ```
/// use esker_autograd::{Tensor, checkpoint};
/// use esker_ops::Ops;
///
/// # fn main() -> esker_tensor::Result<()> {
/// let x = Tensor::ones([4])?.tracked()?;
/// let y = checkpoint(|x| Ok(vec![x[0].exp()?.sin()?]), &[&x])?.remove(0);
/// y.sum((), false)?.backward()?;
/// let slope = 1f64.exp() * 1f64.exp().cos();
/// let dx = x.grad().map(|g| g.to_f64_vec()).transpose()?.unwrap_or_default();
/// assert!(dx.iter().all(|d| (d - slope).abs() < 1e-5));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of `f`, now and in backward.
#[track_caller]
pub fn checkpoint(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    inputs: &[&Tensor],
) -> Result<Vec<Tensor>> {
    ready();
    let site = Site::enter(Location::caller());
    let x: Vec<Tensor> = inputs.iter().copied().cloned().collect();
    if !is_grad_enabled() || esker_graph::is_recording() {
        return f(&x);
    }
    let generator = default_generator();
    let results = with_grad_mode(false, || f(&x))?;
    let arrays = x.iter().map(|x| own(&x.array)).collect::<Result<_>>()?;
    let segment = Segment { f: Arc::new(f), inputs: Spent::new(arrays), generator, outputs: results.len() };
    let edges = x.into_iter().map(|x| x.edge).collect();
    let node = Node::applied(Rule::Checkpoint(segment), edges, results.len(), site.location());
    let outputs = results.into_iter().enumerate();
    Ok(outputs
        .map(|(slot, y)| {
            let edge = y.dtype().is_float().then(|| Edge::new(node.clone(), slot));
            Tensor { array: y.array, edge }
        })
        .collect())
}

/// A checkpoint on the tape.
pub(crate) struct Segment {
    f: Forward,
    inputs: Spent<Vec<Array>>,
    generator: Generator,
    outputs: usize,
}

impl Segment {
    /// Applies the function again, this time on the tape and with its inputs' own history.
    pub(crate) fn record(&self, applied: &Applied, retain: bool) -> Result<Vec<Tensor>> {
        let arrays = self.inputs.take(retain, applied)?.into_iter();
        let x: Vec<Tensor> =
            arrays.zip(&applied.inputs).map(|(array, edge)| Tensor { array, edge: edge.clone() }).collect();
        let now = default_generator();
        set_default_generator(self.generator);
        let results = with_grad_mode(true, || (self.f)(&x));
        set_default_generator(now);
        let results = results?;
        if results.len() != self.outputs {
            return Err(Error::autograd(format!(
                "the function gave {} results before and {} now; it must do the same both times",
                self.outputs,
                results.len()
            )));
        }
        Ok(results)
    }
}
