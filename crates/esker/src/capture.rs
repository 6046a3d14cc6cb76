//! A module as a graph.

use esker_autograd::{Tensor, no_grad};
use esker_graph::{Graph, InputSpec};
use esker_nn::{Forward, ModuleExt};
use esker_tensor::Result;

/// Runs a module once (per probe) on a tensor without data and returns what it did, ready for
/// [`Executor`](esker_graph::Executor) and [`onnx::save`](esker_onnx::save). Parameters become constants that bear their
/// paths. Modules that differ in training must be in evaluation: call `eval()` first.
///
/// ```
/// use esker::graph::Executor;
/// use esker::prelude::*;
///
/// # fn main() -> Result<()> {
/// let net = sequential![esker::nn::Linear::new(4, 3)?, esker::nn::Tanh];
/// net.eval();
/// let graph = esker::capture(&net, esker::InputSpec::new("x", DType::F32, &[None, Some(4)]))?; // None: any batch
/// let x = Tensor::randn([5, 4])?;
/// let y = Executor::new(graph)?.run(&[x.array().clone()])?;
/// assert_eq!(y[0].to_vec::<f32>()?, net.forward(&x)?.to_vec::<f32>()?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The module's own; `Capture` when it reads values or draws random numbers.
pub fn capture<M: Forward + ?Sized>(module: &M, input: InputSpec) -> Result<Graph> {
    let run = |x: &[esker_ops::Array]| {
        let x = x.iter().map(|x| module.forward(&Tensor::from_array(x.clone())));
        x.map(|y| Ok(y?.array().clone())).collect()
    };
    let mut graph = no_grad(|| esker_graph::capture(&[input], run))?;
    let state = module.state_dict();
    graph.name_consts(state.iter().map(|(name, tensor)| (name.as_str(), tensor.array())));
    Ok(graph)
}
