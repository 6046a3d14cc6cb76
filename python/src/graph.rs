//! Models as graphs: capture of what Python code does, ONNX files out and in.

use esker::graph::{Executor, Graph};
use esker::onnx::ExportOptions;
use esker::ops::Array;
use esker::{InputSpec, Tensor, no_grad};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::dtype::to_dtype;
use crate::error::{Raise, carry, raise, type_error, type_name, value_error};
use crate::tensor::{PyTensor, tensor_of, wrap};

/// A model as data: what was captured or read from a file. Calling it runs it without a tape.
#[pyclass(frozen, name = "Graph", module = "esker.onnx")]
pub(crate) struct PyGraph(Executor);

impl PyGraph {
    fn new(graph: Graph) -> PyResult<Self> {
        Executor::new(graph).map(Self).py()
    }
}

#[pymethods]
impl PyGraph {
    /// The names of the inputs, in order.
    #[getter]
    fn input_names(&self) -> Vec<String> {
        let graph = self.0.graph();
        graph.inputs.iter().map(|&id| graph.label(id)).collect()
    }

    /// The names of the outputs, in order.
    #[getter]
    fn output_names(&self) -> Vec<String> {
        self.0.graph().outputs.iter().map(|o| o.name.clone()).collect()
    }

    /// The names of the ops, in the order in which they run.
    #[getter]
    fn ops(&self) -> Vec<String> {
        self.0.graph().nodes.iter().map(|n| n.op.name().to_owned()).collect()
    }

    /// Runs the model on tensors in the order of the inputs, or by name; gives a tensor, or a tuple of several.
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let names = self.input_names();
        let mut inputs: Vec<Array> = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let named = kwargs.map(|k| k.get_item(name)).transpose()?.flatten();
            let given = args.get_item(i).ok().or(named);
            let given = given.ok_or_else(|| {
                type_error(format!("the input {name} is missing; the inputs are {}", names.join(", ")))
            })?;
            let x = tensor_of(&given).map_or_else(|| crate::construct::from_data(&given, None), Ok)?;
            inputs.push(x.array().clone());
        }
        if args.len() + kwargs.map_or(0, |k| k.len()) > names.len() {
            return Err(type_error(format!("the inputs are {}, more were given", names.join(", "))));
        }
        let outputs = py.detach(|| self.0.run(&inputs)).py()?;
        let mut tensors: Vec<Tensor> = outputs.into_iter().map(Tensor::from_array).collect();
        match tensors.len() {
            1 => Ok(wrap(py, tensors.remove(0))?.into_any()),
            _ => Ok(crate::tensor::wrap_all(py, tensors)?.into_any()),
        }
    }

    /// Writes an ONNX file.
    #[pyo3(signature = (path, opset=17, metadata=None, doc=""))]
    fn save(
        &self,
        path: std::path::PathBuf,
        opset: u32,
        metadata: Option<Vec<(String, String)>>,
        doc: &str,
    ) -> PyResult<()> {
        let options = ExportOptions {
            opset,
            metadata: metadata.unwrap_or_default(),
            doc: doc.to_owned(),
            ..ExportOptions::default()
        };
        esker::onnx::save(self.0.graph(), path, &options).py()
    }

    fn __repr__(&self) -> String {
        let graph = self.0.graph();
        format!(
            "Graph({} -> {}, {} ops)",
            self.input_names().join(", "),
            self.output_names().join(", "),
            graph.nodes.len()
        )
    }
}

/// Runs `function` on tensors without values and notes what it does. `inputs` are `(name, dtype, sizes)`, with None for the
/// batch; `state` names the constants.
#[pyfunction]
pub(crate) fn _capture(
    function: &Bound<'_, PyAny>,
    inputs: Vec<(String, Bound<'_, PyAny>, Vec<Option<usize>>)>,
    outputs: Vec<String>,
    state: &Bound<'_, PyDict>,
) -> PyResult<PyGraph> {
    let py = function.py();
    let specs = inputs
        .iter()
        .map(|(name, dtype, dims)| Ok(InputSpec::new(name.as_str(), to_dtype(dtype)?, dims)))
        .collect::<PyResult<Vec<_>>>()?;
    let run = |x: &[Array]| {
        let call = || {
            let args = x.iter().map(|x| wrap(py, Tensor::from_array(x.clone()))).collect::<PyResult<Vec<_>>>()?;
            let result = function.call1(PyTuple::new(py, args)?)?;
            flat(&result)
        };
        call().map_err(|e| carry(py, e))
    };
    let mut graph = no_grad(|| esker::graph::capture(&specs, run)).map_err(raise)?;
    let named: Vec<(String, Tensor)> = state
        .iter()
        .map(|(name, t)| {
            let t = tensor_of(&t).ok_or_else(|| value_error("a state holds tensors"))?;
            Ok((name.extract()?, t))
        })
        .collect::<PyResult<_>>()?;
    graph.name_consts(named.iter().map(|(name, t)| (name.as_str(), t.array())));
    if !outputs.is_empty() && outputs.len() != graph.outputs.len() {
        return Err(value_error(format!(
            "{} output names were given for {} outputs",
            outputs.len(),
            graph.outputs.len()
        )));
    }
    for (output, name) in graph.outputs.iter_mut().zip(outputs) {
        output.name = name;
    }
    PyGraph::new(graph)
}

/// The arrays of a tensor, or of nested tuples, lists and dicts of tensors.
fn flat(result: &Bound<'_, PyAny>) -> PyResult<Vec<Array>> {
    if let Ok(t) = result.cast::<PyTensor>() {
        return Ok(vec![t.get().get().array().clone()]);
    }
    if let Ok(dict) = result.cast::<PyDict>() {
        return dict.values().iter().map(|v| flat(&v)).collect::<PyResult<Vec<_>>>().map(|v| v.concat());
    }
    if result.is_instance_of::<PyTuple>() || result.is_instance_of::<pyo3::types::PyList>() {
        return result.try_iter()?.map(|v| flat(&v?)).collect::<PyResult<Vec<_>>>().map(|v| v.concat());
    }
    Err(type_error(format!("a captured model must return tensors, it returned {}", type_name(result))))
}

/// Reads an ONNX file.
#[pyfunction]
pub(crate) fn _load_onnx(path: std::path::PathBuf) -> PyResult<PyGraph> {
    PyGraph::new(esker::onnx::load(path).py()?)
}
