//! Tensors' side of capture.

use esker_graph::{Graph, InputSpec};
use esker_tensor::Result;

use crate::{Tensor, no_grad};

/// Captures what `f` does to its inputs as a graph with a symbolic batch size; nothing is computed and nothing taped.
///
/// # Errors
/// `Capture` when `f` reads values, or when its structure depends on the batch size; else those of `f`.
pub fn capture(inputs: &[InputSpec], mut f: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>) -> Result<Graph> {
    crate::dispatch::ready();
    no_grad(|| {
        esker_graph::capture(inputs, |x| {
            let x: Vec<Tensor> = x.iter().map(|a| Tensor::from_array(a.clone())).collect();
            Ok(f(&x)?.into_iter().map(|y| y.array().clone()).collect())
        })
    })
}
