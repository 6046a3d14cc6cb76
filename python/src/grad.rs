//! The tape from Python: backward, grad, leaves, hooks, modes.

use esker::autograd::{GradOptions, HookHandle, grad_from, is_grad_enabled};
use esker::ops::Ops;
use esker::{Param, Tensor};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::error::{Raise, carry, type_error, type_name};
use crate::tensor::{PyTensor, Slot, tensor_of, wrap};

#[pymethods]
impl PyTensor {
    /// Whether a gradient can flow through it to something that asked for one.
    #[getter]
    fn requires_grad(&self) -> bool {
        match &*self.slot() {
            Slot::Param(p) => p.is_trainable(),
            slot => slot.tensor().requires_grad(),
        }
    }

    #[setter]
    fn set_requires_grad(&self, on: bool) -> PyResult<()> {
        self.require_grad(on)
    }

    /// Makes it a leaf that gathers a gradient, or no longer one.
    #[pyo3(signature = (requires_grad=true))]
    fn requires_grad_(slf: Bound<'_, Self>, requires_grad: bool) -> PyResult<Bound<'_, Self>> {
        slf.get().require_grad(requires_grad)?;
        Ok(slf)
    }

    /// Whether it was not computed from what requires a gradient.
    #[getter]
    fn is_leaf(&self) -> bool {
        match &*self.slot() {
            Slot::Param(_) => true,
            slot => slot.tensor().grad_fn_name().is_none(),
        }
    }

    /// What computed it, when the tape knows.
    #[getter]
    fn grad_fn(&self) -> Option<GradFn> {
        self.get().grad_fn_name().map(|name| GradFn { name: crate::show::grad_fn(&name) })
    }

    /// The gradient that has gathered here. Writing to it in place writes the gradient itself.
    #[getter]
    fn grad(&self) -> Option<PyTensor> {
        match &*self.slot() {
            Slot::Param(p) => p.grad().map(|g| Slot::Grad(g, p.clone()).into()),
            slot => slot.tensor().grad().map(Into::into),
        }
    }

    #[setter]
    fn set_grad(&self, grad: Option<&Bound<'_, PyTensor>>) -> PyResult<()> {
        match (&*self.slot(), grad) {
            (Slot::Param(p), None) => p.zero_grad(),
            (Slot::Param(p), Some(g)) => {
                let g = g.get().get();
                if g.dtype() != p.dtype() {
                    return Err(type_error(format!("the gradient is {}, the tensor {}", g.dtype(), p.dtype())));
                }
                p.set_grad(g).py()?;
            }
            (slot, g) => {
                let t = slot.tensor();
                if g.is_none() && !t.requires_grad() {
                    return Ok(());
                }
                let g = g.map(|g| g.get().get());
                t.set_grad(g.as_ref()).py()?;
            }
        }
        Ok(())
    }

    /// Sends gradients from here to every leaf upstream, where they add to what has gathered.
    #[pyo3(signature = (gradient=None, retain_graph=None, create_graph=false, inputs=None))]
    fn backward(
        &self,
        py: Python<'_>,
        gradient: Option<&Bound<'_, PyTensor>>,
        retain_graph: Option<bool>,
        create_graph: bool,
        inputs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let t = self.get();
        let gradient = gradient.map(|g| g.get().get());
        let options = GradOptions { retain_graph: retain_graph.unwrap_or(create_graph), create_graph };
        let Some(inputs) = inputs else {
            return py.detach(|| t.backward_from(gradient.as_ref(), options)).py();
        };
        let leaves = leaves(inputs)?;
        let seed = match gradient {
            Some(g) => g,
            None => t.ones_like(()).py()?,
        };
        let targets: Vec<Tensor> = leaves.iter().map(Param::tensor).collect();
        let found = py.detach(|| grad_from(&[(&t, seed)], &targets.iter().collect::<Vec<_>>(), options)).py()?;
        for (p, g) in leaves.iter().zip(found) {
            let Some(g) = g else { continue };
            let sum = match p.grad() {
                Some(before) => before.add(&g).py()?,
                None => g,
            };
            p.set_grad(sum).py()?;
        }
        Ok(())
    }

    /// Keeps the gradient of a tensor that was computed, for `.grad` after backward.
    fn retain_grad(&self) -> PyResult<()> {
        self.get().retain_grad().py()
    }

    /// Calls `hook` with the gradient of this tensor in every backward; what it returns, if not None, takes its place.
    fn register_hook(&self, hook: Py<PyAny>) -> PyResult<Handle> {
        let see = move |g: &Tensor| seen(&hook, g);
        let handle = match &*self.slot() {
            Slot::Param(p) => p.register_hook(see),
            slot => slot.tensor().register_hook(see).py()?,
        };
        Ok(Handle { handle: std::sync::Mutex::new(Some(handle)) })
    }

    /// Calls `hook` with this leaf after a backward has added to its gradient.
    fn register_post_accumulate_grad_hook(&self, hook: Py<PyAny>) -> PyResult<Handle> {
        let Slot::Param(p) = &*self.slot() else {
            return Err(type_error("only a leaf that requires grad accumulates a gradient"));
        };
        let run = move |p: &Param| {
            Python::attach(|py| {
                let leaf = PyTensor::from(Slot::Param(p.clone()));
                hook.call1(py, (leaf,)).map(drop).map_err(|e| carry(py, e))
            })
        };
        Ok(Handle { handle: std::sync::Mutex::new(Some(p.register_post_accumulate_grad_hook(run))) })
    }

    /// The same values without history.
    fn detach(&self, py: Python<'_>) -> PyResult<Py<PyTensor>> {
        wrap(py, self.get().detach())
    }

    /// Rebinds it to its values without history.
    fn detach_(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        let value = slf.get().get().detach();
        *slf.get().slot() = Slot::Value(value);
        slf
    }

    /// Rises with every change of a parameter's value.
    #[getter]
    fn _version(&self) -> u64 {
        match &*self.slot() {
            Slot::Param(p) => p.version(),
            _ => 0,
        }
    }
}

impl PyTensor {
    fn require_grad(&self, on: bool) -> PyResult<()> {
        let mut slot = self.slot();
        let next = match &*slot {
            Slot::Param(p) => {
                p.set_trainable(on);
                return Ok(());
            }
            slot => match (slot.tensor(), on) {
                (t, true) if t.requires_grad() => return Ok(()),
                (t, true) => Slot::Param(Param::new(&t).py()?),
                (t, false) if t.requires_grad() => {
                    return Err(esker::Error::autograd("requires_grad can be taken from leaves only; use detach()"))
                        .py();
                }
                (_, false) => return Ok(()),
            },
        };
        *slot = next;
        Ok(())
    }
}

/// What a hook of Python's makes of a gradient.
fn seen(hook: &Py<PyAny>, grad: &Tensor) -> esker::Result<Option<Tensor>> {
    Python::attach(|py| {
        let run = || {
            let result = hook.bind(py).call1((PyTensor::from(grad.clone()),))?;
            if result.is_none() {
                return Ok(None);
            }
            tensor_of(&result).map(Some).ok_or_else(|| {
                type_error(format!("a hook must return a tensor or None, it returned {}", type_name(&result)))
            })
        };
        run().map_err(|e| carry(py, e))
    })
}

/// The name of what computed a tensor.
#[pyclass(frozen, module = "esker")]
pub(crate) struct GradFn {
    name: String,
}

#[pymethods]
impl GradFn {
    /// The name.
    fn name(&self) -> &str {
        &self.name
    }

    fn __repr__(&self) -> String {
        format!("<{}>", self.name)
    }
}

/// A registered hook.
#[pyclass(frozen, name = "RemovableHandle", module = "esker.utils.hooks")]
pub(crate) struct Handle {
    handle: std::sync::Mutex<Option<HookHandle>>,
}

#[pymethods]
impl Handle {
    /// Takes the hook away.
    fn remove(&self) {
        let mut handle = self.handle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(handle) = handle.take() {
            handle.remove();
        }
    }
}

/// The leaves in a tensor or a list of tensors.
pub(crate) fn leaves(obj: &Bound<'_, PyAny>) -> PyResult<Vec<Param>> {
    let one = |o: &Bound<'_, PyAny>| {
        let Ok(t) = o.cast::<PyTensor>() else {
            return Err(type_error(format!("a tensor was needed, got {}", type_name(o))));
        };
        match &*t.get().slot() {
            Slot::Param(p) => Ok(p.clone()),
            _ => Err(crate::error::value_error(
                "a leaf was needed (a parameter, or a tensor made with requires_grad=True), got a plain or computed tensor",
            )),
        }
    };
    if obj.is_instance_of::<PyTensor>() {
        return Ok(vec![one(obj)?]);
    }
    obj.try_iter()?.map(|o| one(&o?)).collect()
}

fn tensors(name: &str, obj: &Bound<'_, PyAny>) -> PyResult<Vec<Tensor>> {
    let one = |o: &Bound<'_, PyAny>| {
        tensor_of(o).ok_or_else(|| type_error(format!("grad: {name} takes tensors, got {}", type_name(o))))
    };
    if obj.is_instance_of::<PyTensor>() {
        return Ok(vec![one(obj)?]);
    }
    obj.try_iter()?.map(|o| one(&o?)).collect()
}

/// Gradients of the sum of `outputs` by each of `inputs`; nothing gathers in leaves.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // PyTorch's.
#[pyo3(signature = (outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=false, allow_unused=false, materialize_grads=false))]
pub(crate) fn grad<'py>(
    py: Python<'py>,
    outputs: &Bound<'py, PyAny>,
    inputs: &Bound<'py, PyAny>,
    grad_outputs: Option<&Bound<'py, PyAny>>,
    retain_graph: Option<bool>,
    create_graph: bool,
    allow_unused: bool,
    materialize_grads: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let (y, x) = (tensors("outputs", outputs)?, tensors("inputs", inputs)?);
    let mut seeds: Vec<Option<Tensor>> = vec![None; y.len()];
    if let Some(given) = grad_outputs {
        if given.is_instance_of::<PyTensor>() {
            seeds = vec![tensor_of(given)];
        } else {
            seeds = given.try_iter()?.map(|o| Ok(tensor_of(&o?))).collect::<PyResult<_>>()?;
        }
        if seeds.len() != y.len() {
            return Err(crate::error::value_error(format!(
                "grad: there are {} outputs and {} grad_outputs",
                y.len(),
                seeds.len()
            )));
        }
    }
    let mut pairs = Vec::new();
    for (y, seed) in y.iter().zip(seeds) {
        let seed = match seed {
            Some(seed) => seed,
            None if y.numel() == 1 => y.detach().ones_like(()).py()?,
            None => {
                return Err(esker::Error::autograd(format!(
                    "grad: an output of {:?} needs a gradient in grad_outputs; only scalars start from 1",
                    y.shape()
                )))
                .py();
            }
        };
        pairs.push((y, seed));
    }
    let options = GradOptions { retain_graph: retain_graph.unwrap_or(create_graph), create_graph };
    let targets: Vec<&Tensor> = x.iter().collect();
    let found = py.detach(|| grad_from(&pairs, &targets, options)).py()?;
    let mut all: Vec<Option<PyTensor>> = Vec::new();
    for (i, (g, x)) in found.into_iter().zip(&x).enumerate() {
        all.push(match g {
            Some(g) => Some(g.into()),
            None if materialize_grads => Some(x.detach().zeros_like(()).py()?.into()),
            None if allow_unused => None,
            None => {
                return Err(esker::Error::autograd(format!(
                    "grad: input {i} does not take part in the outputs; pass allow_unused=True for None"
                )))
                .py();
            }
        });
    }
    PyTuple::new(py, all)
}

/// Whether ops of this thread are recorded on the tape.
#[pyfunction(name = "is_grad_enabled")]
pub(crate) fn grad_enabled() -> bool {
    is_grad_enabled()
}

/// Switches the tape of this thread on or off; says what it was.
#[pyfunction]
pub(crate) fn _set_grad_enabled(on: bool) -> bool {
    esker::autograd::set_grad_enabled(on)
}

/// Switches the anomaly finder of this thread on or off; says what it was.
#[pyfunction]
pub(crate) fn _set_detect_anomaly(on: bool) -> bool {
    esker::autograd::set_detect_anomaly(on)
}

/// The names of trainable parameters that no backward has reached.
#[pyfunction]
pub(crate) fn _unreached(named: &Bound<'_, PyList>) -> PyResult<Vec<String>> {
    let mut pairs = Vec::new();
    for item in named {
        let (name, tensor): (String, Bound<'_, PyAny>) = item.extract()?;
        pairs.push((name, leaves(&tensor)?.remove(0)));
    }
    Ok(esker::autograd::unreached(&pairs))
}
