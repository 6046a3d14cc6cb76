//! Functions and checkpoints written in Python, on the tape.

use std::sync::{Mutex, PoisonError};

use esker::autograd::{Context, Function, apply, checkpoint};
use esker::ops::{Meta, Ops, Value};
use esker::{Error, Result, Tensor};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::error::{Raise, carry, type_error, type_name};
use crate::tensor::{PyTensor, tensor_of, wrap};

/// One application of a subclass of `autograd.Function`.
struct Custom {
    name: String,
    class: Py<PyAny>,
    ctx: Py<PyAny>,
    args: Py<PyTuple>,
    /// Which arguments are tensors.
    places: Vec<usize>,
    outputs: Mutex<Outputs>,
}

/// What forward gave.
#[derive(Default)]
struct Outputs {
    metas: Vec<Meta>,
    /// Whether it was a tuple.
    many: bool,
}

/// `function.apply(*args)`.
#[pyfunction]
pub(crate) fn _apply_function<'py>(
    class: &Bound<'py, PyAny>,
    ctx: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let tensors: Vec<(usize, Tensor)> =
        args.iter().enumerate().filter_map(|(i, a)| Some((i, tensor_of(&a)?))).collect();
    let needs = args.iter().map(|a| tensor_of(&a).is_some_and(|t| t.requires_grad()));
    ctx.setattr("needs_input_grad", PyTuple::new(py, needs.collect::<Vec<_>>())?)?;
    let custom = std::sync::Arc::new(Custom {
        name: class.getattr("__name__")?.to_string(),
        class: class.clone().unbind(),
        ctx: ctx.clone().unbind(),
        args: args.clone().unbind(),
        places: tensors.iter().map(|(i, _)| *i).collect(),
        outputs: Mutex::default(),
    });
    let inputs: Vec<&Tensor> = tensors.iter().map(|(_, t)| t).collect();
    let results = apply(Shared(custom.clone()), &inputs).py()?;
    let many = custom.outputs().many;
    if many {
        return Ok(crate::tensor::wrap_all(py, results)?.into_bound(py).into_any());
    }
    match results.into_iter().next() {
        Some(only) => Ok(wrap(py, only)?.into_bound(py).into_any()),
        None => Err(type_error(format!("{}: forward gave nothing", custom.name))),
    }
}

/// The tape's share in a function.
struct Shared(std::sync::Arc<Custom>);

impl Custom {
    fn outputs(&self) -> std::sync::MutexGuard<'_, Outputs> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(&self, py: Python<'_>, cx: &mut Context) -> PyResult<Vec<Tensor>> {
        let (class, ctx) = (self.class.bind(py), self.ctx.bind(py));
        let result = class.call_method1("_run_forward", (ctx, self.args.bind(py)))?;
        let (outputs, many) = match result.cast::<PyTuple>() {
            Ok(tuple) => (tuple.iter().collect(), true),
            Err(_) => (vec![result.clone()], false),
        };
        let mut tensors = Vec::new();
        for output in &outputs {
            tensors.push(tensor_of(output).ok_or_else(|| {
                type_error(format!("forward must return tensors, it returned {}", type_name(output)))
            })?);
        }
        let constant = ctx.getattr("_non_differentiable")?;
        for (i, output) in outputs.iter().enumerate() {
            if constant.try_iter()?.any(|o| o.is_ok_and(|o| o.is(output))) {
                cx.mark_non_differentiable(i);
            }
        }
        let saved = ctx.getattr("_to_save")?;
        let saved: Vec<Tensor> = saved.try_iter()?.filter_map(|o| tensor_of(&o.ok()?)).collect();
        cx.save(&saved);
        *self.outputs() = Outputs { metas: tensors.iter().map(Value::meta).collect(), many };
        Ok(tensors)
    }

    fn backward(&self, py: Python<'_>, cx: &Context, dy: &[Option<Tensor>]) -> PyResult<Vec<Option<Tensor>>> {
        let (class, ctx) = (self.class.bind(py), self.ctx.bind(py));
        // The context's list of what to save says where None stood.
        let mut kept = cx.saved().iter();
        let mut saved = Vec::new();
        for o in ctx.getattr("_to_save")?.try_iter()? {
            saved.push(if tensor_of(&o?).is_some() {
                kept.next().map(|t| wrap(py, t.clone())).transpose()?
            } else {
                None
            });
        }
        ctx.setattr("_saved", PyTuple::new(py, saved)?)?;
        let fill = ctx.getattr("_materialize")?.is_truthy()?;
        let metas = self.outputs().metas.clone();
        let mut grads = Vec::new();
        for (dy, meta) in dy.iter().zip(metas) {
            grads.push(match dy {
                Some(dy) => Some(wrap(py, dy.clone())?),
                None if fill && meta.dtype.is_float() => {
                    Some(wrap(py, Tensor::full(0.0, meta.shape, meta.dtype, meta.device).py()?)?)
                }
                None => None,
            });
        }
        let result = class.call_method1("_run_backward", (ctx, PyTuple::new(py, grads)?));
        ctx.setattr("_saved", py.None())?;
        let result = result?;
        let given: Vec<Bound<'_, PyAny>> = match result.cast::<PyTuple>() {
            Ok(tuple) => tuple.iter().collect(),
            Err(_) => vec![result],
        };
        let count = self.args.bind(py).len();
        if given.len() < count {
            return Err(type_error(format!(
                "backward must return a gradient for each of the {count} arguments of forward (None for those without), \
                 it returned {}",
                given.len()
            )));
        }
        let pick = |&i: &usize| {
            let g = given.get(i).filter(|g| !g.is_none());
            g.map(|g| {
                tensor_of(g).ok_or_else(|| {
                    type_error(format!("backward must return tensors, argument {i} got {}", type_name(g)))
                })
            })
            .transpose()
        };
        let grads = self.places.iter().map(pick).collect::<PyResult<Vec<_>>>()?;
        // As PyTorch does, gradients of broadcast inputs are summed to their shapes, and brought to their dtypes.
        let args = self.args.bind(py);
        let fit = |(g, &i): (Option<Tensor>, &usize)| match (g, args.get_item(i).ok().and_then(|a| tensor_of(&a))) {
            (Some(g), Some(x)) => fitted(g, &x).map(Some),
            (g, _) => Ok(g),
        };
        grads.into_iter().zip(&self.places).map(fit).collect::<Result<Vec<_>>>().py()
    }
}

fn fitted(g: Tensor, x: &Tensor) -> Result<Tensor> {
    let g = if g.shape() == x.shape() { g } else { esker::ops::sum_to(&g, x.shape())? };
    if g.dtype() == x.dtype() { Ok(g) } else { g.cast(x.dtype()) }
}

impl Function for Shared {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn forward(&self, cx: &mut Context, _: &[Tensor]) -> Result<Vec<Tensor>> {
        Python::attach(|py| self.0.forward(py, cx).map_err(|e| carry(py, e)))
    }

    fn backward(&self, cx: &Context, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Python::attach(|py| self.0.backward(py, cx, dy).map_err(|e| carry(py, e)))
    }
}

/// Applies a function and keeps nothing of what it computes but its results; backward applies it once more.
#[pyfunction]
pub(crate) fn _checkpoint<'py>(
    function: Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let tensors: Vec<(usize, Tensor)> =
        args.iter().enumerate().filter_map(|(i, a)| Some((i, tensor_of(&a)?))).collect();
    let places: Vec<usize> = tensors.iter().map(|(i, _)| *i).collect();
    let many = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let noted = many.clone();
    let (function, given, kwargs) = (function.unbind(), args.clone().unbind(), kwargs.unbind());
    let run = move |x: &[Tensor]| {
        Python::attach(|py| {
            let call = || {
                let args = PyList::new(py, given.bind(py).iter())?;
                for (&i, x) in places.iter().zip(x) {
                    args.set_item(i, PyTensor::from(x.clone()))?;
                }
                let result = function.bind(py).call(args.to_tuple(), Some(kwargs.bind(py)))?;
                let outputs: Vec<Bound<'_, PyAny>> = match result.cast::<PyTuple>() {
                    Ok(tuple) => {
                        noted.store(true, std::sync::atomic::Ordering::Relaxed);
                        tuple.iter().collect()
                    }
                    Err(_) => vec![result],
                };
                let one = |o: &Bound<'_, PyAny>| {
                    tensor_of(o).ok_or_else(|| {
                        type_error(format!("checkpoint: the function must return tensors, got {}", type_name(o)))
                    })
                };
                outputs.iter().map(one).collect::<PyResult<Vec<_>>>()
            };
            call().map_err(|e| carry(py, e))
        })
    };
    let inputs: Vec<&Tensor> = tensors.iter().map(|(_, t)| t).collect();
    let results = checkpoint(run, &inputs).py()?;
    if many.load(std::sync::atomic::Ordering::Relaxed) {
        return Ok(crate::tensor::wrap_all(py, results)?.into_bound(py).into_any());
    }
    let only =
        results.into_iter().next().ok_or_else(|| Error::autograd("checkpoint: the function gave nothing")).py()?;
    Ok(wrap(py, only)?.into_bound(py).into_any())
}

/// Batch normalisation by the batch's own statistics: the result, and mean and variance that running ones follow.
#[pyfunction]
#[pyo3(signature = (input, weight, bias, eps))]
pub(crate) fn _batch_norm_train(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    weight: Option<&Bound<'_, PyTensor>>,
    bias: Option<&Bound<'_, PyTensor>>,
    eps: f64,
) -> PyResult<Py<PyTuple>> {
    let (x, w, b) = (input.get().get(), weight.map(|w| w.get().get()), bias.map(|b| b.get().get()));
    let (y, mean, variance) = py.detach(|| x.batch_norm_train(w.as_ref(), b.as_ref(), eps)).py()?;
    crate::tensor::wrap_all(py, [y, mean, variance])
}
