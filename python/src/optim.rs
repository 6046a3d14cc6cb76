//! The optimisers of `esker::optim` over parameters from Python.

use std::sync::{Mutex, MutexGuard, PoisonError};

use esker::optim::{AdamW, Optimizer, ParamGroup, Sgd};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::error::{Raise, value_error};
use crate::grad::leaves;
use crate::tensor::wrap;

/// An optimiser of Rust's; the classes in `esker.optim` hold one.
#[pyclass(frozen, module = "esker._esker")]
pub(crate) struct Native(Mutex<Box<dyn Optimizer + Send>>);

/// `(parameters, learning rate, weight decay)` for each group.
fn groups(list: &Bound<'_, PyList>) -> PyResult<Vec<ParamGroup>> {
    list.iter()
        .map(|group| {
            let (params, lr, decay): (Bound<'_, PyAny>, f64, f64) = group.extract()?;
            Ok(ParamGroup::new(leaves(&params)?, lr).weight_decay(decay))
        })
        .collect()
}

impl Native {
    fn inner(&self) -> MutexGuard<'_, Box<dyn Optimizer + Send>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Native {
    /// An optimiser by name with its options.
    #[new]
    fn new(kind: &str, list: &Bound<'_, PyList>, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let number = |name: &str, default: f64| match options.get_item(name)? {
            Some(x) => x.extract::<f64>(),
            None => Ok(default),
        };
        let truth = |name: &str| options.get_item(name)?.map_or(Ok(false), |x| x.is_truthy());
        let groups = groups(list)?;
        let made: Box<dyn Optimizer + Send> = match kind {
            "SGD" => {
                let sgd =
                    Sgd::with_groups(groups).momentum(number("momentum", 0.0)?).dampening(number("dampening", 0.0)?);
                Box::new(if truth("nesterov")? { sgd.nesterov() } else { sgd })
            }
            "AdamW" => {
                let (first, second) = (number("beta1", 0.9)?, number("beta2", 0.999)?);
                Box::new(AdamW::with_groups(groups).betas(first, second).eps(number("eps", 1e-8)?))
            }
            other => return Err(value_error(format!("there is no optimiser {other}"))),
        };
        Ok(Self(Mutex::new(made)))
    }

    /// Sets learning rates and weight decays, one pair for each group.
    fn set(&self, settings: Vec<(f64, f64)>) {
        for (group, (lr, decay)) in self.inner().groups_mut().iter_mut().zip(settings) {
            (group.lr, group.weight_decay) = (lr, decay);
        }
    }

    /// Moves each parameter once.
    fn step(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner().step()).py()
    }

    /// Forgets all gradients.
    fn zero_grad(&self) {
        self.inner().zero_grad();
    }

    /// What the optimiser remembers, by number of the parameter and name.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, tensor) in self.inner().state_dict().py()? {
            dict.set_item(name, wrap(py, tensor)?)?;
        }
        Ok(dict)
    }

    /// Takes over what an optimiser over the same parameters remembered.
    fn load(&self, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut tensors = esker::nn::StateDict::new();
        for (name, value) in state {
            let tensor = crate::tensor::tensor_of(&value);
            tensors.insert(name.extract()?, tensor.ok_or_else(|| value_error("a state holds tensors by name"))?);
        }
        self.inner().load_state_dict(&tensors).py()
    }
}

/// Scales gradients so that their joint Euclidean norm is at most `max_norm`; gives the norm before.
#[pyfunction]
pub(crate) fn _clip_grad_norm(params: &Bound<'_, PyAny>, max_norm: f64) -> PyResult<f64> {
    esker::optim::clip_grad_norm(&leaves(params)?, max_norm).py()
}
