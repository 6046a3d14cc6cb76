//! A module as a graph.

use esker_autograd::{Tensor, no_grad};
use esker_graph::{Graph, InputSpec};
use esker_nn::{Forward, Module, ModuleExt};
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
    capture_of(module, &[input], |x| x.iter().map(|x| module.forward(x)).collect())
}

/// As [`capture`], for what is not a module of one tensor: `forward` runs the model on the inputs, `module` is where its
/// parameters have their names.
///
/// ```
/// use esker::prelude::*;
///
/// # fn main() -> Result<()> {
/// let (left, right) = (esker::nn::Linear::new(4, 3)?, esker::nn::Linear::new(2, 3)?);
/// let inputs = [("a", 4), ("b", 2)].map(|(name, size)| esker::InputSpec::new(name, DType::F32, &[None, Some(size)]));
/// let forward = |x: &[Tensor]| Ok(vec![left.forward(&x[0])?.add(&right.forward(&x[1])?)?]);
/// let graph = esker::capture_of(&left, &inputs, forward)?;
/// assert_eq!(graph.inputs.len(), 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`capture`].
pub fn capture_of<M: Module + ?Sized>(
    module: &M,
    inputs: &[InputSpec],
    mut forward: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Graph> {
    let run = |x: &[esker_ops::Array]| {
        let x: Vec<Tensor> = x.iter().map(|x| Tensor::from_array(x.clone())).collect();
        Ok(forward(&x)?.iter().map(|y| y.array().clone()).collect())
    };
    let mut graph = no_grad(|| esker_graph::capture(inputs, run))?;
    let state = module.state_dict();
    graph.name_consts(state.iter().map(|(name, tensor)| (name.as_str(), tensor.array())));
    Ok(graph)
}
