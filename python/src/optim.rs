//! The optimisers of `esker::optim` over parameters from Python.

use std::sync::{Mutex, MutexGuard, PoisonError};

use esker::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Lion, NAdam, Optimizer, ParamGroup, RAdam, RMSprop, Rprop, SGD,
};
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

/// The options of an optimiser, by PyTorch's names.
struct Options<'a, 'py>(&'a Bound<'py, PyDict>);

impl Options<'_, '_> {
    fn number(&self, name: &str) -> PyResult<f64> {
        let found = self.0.get_item(name)?;
        found.ok_or_else(|| value_error(format!("the option {name} is missing")))?.extract()
    }

    fn pair(&self, name: &str) -> PyResult<(f64, f64)> {
        let found = self.0.get_item(name)?;
        found.ok_or_else(|| value_error(format!("the option {name} is missing")))?.extract()
    }

    fn is_set(&self, name: &str) -> PyResult<bool> {
        self.0.get_item(name)?.map_or(Ok(false), |x| x.is_truthy())
    }
}

/// The optimiser with `change` made to it when an option is set.
macro_rules! when {
    ($options:expr, $name:literal, $optimizer:expr, $change:ident) => {
        if $options.is_set($name)? { $optimizer.$change() } else { $optimizer }
    };
}

fn make(kind: &str, groups: Vec<ParamGroup>, o: &Options<'_, '_>) -> PyResult<Box<dyn Optimizer + Send>> {
    Ok(match kind {
        "SGD" => {
            let sgd = SGD::with_groups(groups).momentum(o.number("momentum")?).dampening(o.number("dampening")?);
            Box::new(when!(o, "nesterov", sgd, nesterov))
        }
        "Adam" => {
            let (first, second) = o.pair("betas")?;
            let adam = Adam::with_groups(groups).betas(first, second).eps(o.number("eps")?);
            Box::new(when!(o, "amsgrad", adam, amsgrad))
        }
        "AdamW" => {
            let (first, second) = o.pair("betas")?;
            let adam = AdamW::with_groups(groups).betas(first, second).eps(o.number("eps")?);
            Box::new(when!(o, "amsgrad", adam, amsgrad))
        }
        "NAdam" => {
            let (first, second) = o.pair("betas")?;
            let adam = NAdam::with_groups(groups).betas(first, second).eps(o.number("eps")?);
            let adam = adam.momentum_decay(o.number("momentum_decay")?);
            Box::new(when!(o, "decoupled_weight_decay", adam, decoupled_weight_decay))
        }
        "RAdam" => {
            let (first, second) = o.pair("betas")?;
            let adam = RAdam::with_groups(groups).betas(first, second).eps(o.number("eps")?);
            Box::new(when!(o, "decoupled_weight_decay", adam, decoupled_weight_decay))
        }
        "Adamax" => {
            let (first, second) = o.pair("betas")?;
            Box::new(Adamax::with_groups(groups).betas(first, second).eps(o.number("eps")?))
        }
        "Lion" => {
            let (first, second) = o.pair("betas")?;
            Box::new(Lion::with_groups(groups).betas(first, second))
        }
        "RMSprop" => {
            let rms = RMSprop::with_groups(groups).alpha(o.number("alpha")?).eps(o.number("eps")?);
            let rms = rms.momentum(o.number("momentum")?);
            Box::new(when!(o, "centered", rms, centered))
        }
        "Adagrad" => {
            let initial = o.number("initial_accumulator_value")?;
            let ada = Adagrad::with_groups(groups).lr_decay(o.number("lr_decay")?).eps(o.number("eps")?);
            Box::new(ada.initial_accumulator_value(initial))
        }
        "Adadelta" => Box::new(Adadelta::with_groups(groups).rho(o.number("rho")?).eps(o.number("eps")?)),
        "Rprop" => {
            let ((shrink, grow), (least, most)) = (o.pair("etas")?, o.pair("step_sizes")?);
            Box::new(Rprop::with_groups(groups).etas(shrink, grow).step_sizes(least, most))
        }
        other => return Err(value_error(format!("there is no optimiser {other}"))),
    })
}

#[pymethods]
impl Native {
    /// An optimiser by name with its options.
    #[new]
    fn new(kind: &str, list: &Bound<'_, PyList>, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Self(Mutex::new(make(kind, groups(list)?, &Options(options))?)))
    }

    /// Sets learning rates, weight decays and momenta (or first betas), three for each group.
    fn set(&self, settings: Vec<(f64, f64, Option<f64>)>) {
        for (group, (lr, decay, momentum)) in self.inner().groups_mut().iter_mut().zip(settings) {
            (group.lr, group.weight_decay, group.momentum) = (lr, decay, momentum);
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
            if name.starts_with("groups.") {
                continue; // The groups are Python's.
            }
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

/// Scales gradients so that their joint norm is at most `max_norm`; gives the norm before.
#[pyfunction]
pub(crate) fn _clip_grad_norm(params: &Bound<'_, PyAny>, max_norm: f64, norm_type: f64) -> PyResult<f64> {
    let params = leaves(params)?;
    match norm_type {
        2.0 => esker::optim::clip_grad_norm(&params, max_norm),
        p => esker::optim::clip_grad_norm_of(&params, max_norm, p),
    }
    .py()
}

/// Moves every element of the gradients to between `-clip_value` and `clip_value`.
#[pyfunction]
pub(crate) fn _clip_grad_value(params: &Bound<'_, PyAny>, clip_value: f64) -> PyResult<()> {
    esker::optim::clip_grad_value(&leaves(params)?, clip_value).py()
}
