//! Tensors from nothing that the rows of the table cannot make alone: where Python's integers and floats make different
//! dtypes, and where PyTorch's arguments come in two orders.

use esker::ops::Ops;
use esker::ops::tensor::philox;
use esker::{DType, Device, Tensor};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::args::{Number, integer, integers, number, takes};
use crate::construct::{default_dtype, finish};
use crate::dtype::{to_device, to_dtype};
use crate::error::{Raise, type_error, value_error};
use crate::tensor::{PyTensor, cast, tensor_of};

type Any<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

fn dtype(given: Any<'_, '_>) -> PyResult<Option<DType>> {
    given.filter(|d| !d.is_none()).map(to_dtype).transpose()
}

fn home(given: Any<'_, '_>) -> PyResult<Device> {
    match given.filter(|d| !d.is_none()).map(to_device).transpose()?.unwrap_or_default() {
        Device::Cuda(i) => esker::cuda(i).py(),
        device => Ok(device),
    }
}

/// A tensor of one value; a bool or an integer makes its own dtype.
#[pyfunction]
#[pyo3(signature = (size, fill_value, *, dtype=None, device=None, requires_grad=false))]
pub(crate) fn full(
    size: &Bound<'_, PyAny>,
    fill_value: &Bound<'_, PyAny>,
    dtype: Any<'_, '_>,
    device: Any<'_, '_>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let sizes = match integer(size)? {
        Some(n) => vec![n],
        None => integers(size)?.ok_or_else(|| takes("full: size", "sizes", size))?,
    };
    let value = one_number("full: fill_value", fill_value)?;
    let scalar = value.tensor(self::dtype(dtype)?.unwrap_or(value.dtype()), home(device)?)?;
    let filled = scalar.expand(&sizes[..]).and_then(|t| t.contiguous()).map_err(|e| e.prefix("full"));
    finish(filled.py()?, None, requires_grad)
}

fn one_number(name: &str, obj: &Bound<'_, PyAny>) -> PyResult<Number> {
    if let Some(t) = tensor_of(obj) {
        let x = t.item().py()?;
        return Ok(if t.dtype().is_float() { Number::Float(x) } else { Number::Int(x as i64) });
    }
    number(obj)?.ok_or_else(|| takes(name, "a number", obj))
}

/// Numbers from `start` to below `end`; integers make int64.
#[pyfunction]
#[pyo3(signature = (start, end=None, step=None, *, dtype=None, device=None, requires_grad=false))]
pub(crate) fn arange(
    start: &Bound<'_, PyAny>,
    end: Any<'_, '_>,
    step: Any<'_, '_>,
    dtype: Any<'_, '_>,
    device: Any<'_, '_>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let first = one_number("arange: start", start)?;
    let end = end.filter(|e| !e.is_none()).map(|e| one_number("arange: end", e)).transpose()?;
    let step = step.filter(|e| !e.is_none()).map(|e| one_number("arange: step", e)).transpose()?;
    let (start, end) = end.map_or((Number::Int(0), first), |end| (first, end));
    let step = step.unwrap_or(Number::Int(1));
    let whole = [start, end, step].iter().all(|n| !matches!(n, Number::Float(_)));
    let dtype = self::dtype(dtype)?.unwrap_or(if whole { DType::I64 } else { default_dtype() });
    let float = |n: Number| match n {
        Number::Bool(b) => f64::from(u8::from(b)),
        Number::Int(i) => i as f64,
        Number::Float(x) => x,
    };
    let (start, end, step) = (float(start), float(end), float(step));
    let count = ((end - start) / step).ceil();
    if step == 0.0 || !count.is_finite() || count < 0.0 {
        return Err(value_error(format!("arange: a step of {step} does not lead from {start} to {end}")));
    }
    let t = Tensor::iota(start, step, count as i64, dtype, home(device)?).map_err(|e| e.prefix("arange"));
    finish(t.py()?, None, requires_grad)
}

/// Uniform integers from `low` to below `high`: `randint(high, size)` or `randint(low, high, size)`.
#[pyfunction]
#[pyo3(signature = (*args, size=None, low=None, high=None, dtype=None, device=None))]
#[pyo3(text_signature = "(low, high, size, *, dtype=None, device=None)")]
pub(crate) fn randint(
    args: &Bound<'_, PyTuple>,
    size: Any<'_, '_>,
    low: Option<i64>,
    high: Option<i64>,
    dtype: Any<'_, '_>,
    device: Any<'_, '_>,
) -> PyResult<PyTensor> {
    let mut ints: Vec<i64> = Vec::new();
    let mut size = size.map(|s| integers(s)?.ok_or_else(|| takes("randint: size", "sizes", s))).transpose()?;
    for arg in args {
        match integer(&arg)? {
            Some(i) => ints.push(i),
            None => size = Some(integers(&arg)?.ok_or_else(|| takes("randint: size", "sizes", &arg))?),
        }
    }
    let (low, high) = match (ints[..].as_ref(), low, high) {
        ([high], low, None) => (low.unwrap_or(0), *high),
        ([low, high], None, None) => (*low, *high),
        ([low], None, Some(high)) => (*low, high),
        ([], low, Some(high)) => (low.unwrap_or(0), high),
        _ => return Err(type_error("randint takes high and size, or low, high and size")),
    };
    let size = size.ok_or_else(|| type_error("randint: the argument size is missing"))?;
    if low >= high {
        return Err(value_error(format!("randint: there is no integer from {low} to below {high}")));
    }
    let dtype = self::dtype(dtype)?.unwrap_or(DType::I64);
    let t = Tensor::randint(low, high, philox::next_key(), &size[..], dtype, home(device)?).py()?;
    finish(t, None, false)
}

/// The integers from 0 to below `n` in random order.
#[pyfunction]
#[pyo3(signature = (n, *, dtype=None, device=None))]
pub(crate) fn randperm(n: usize, dtype: Any<'_, '_>, device: Any<'_, '_>) -> PyResult<PyTensor> {
    let all: Vec<i64> = philox::permutation(n, philox::next_key()).into_iter().map(|i| i as i64).collect();
    let t = Tensor::from_vec(all).and_then(|t| cast(&t, DType::I64)).py()?;
    let t = cast(&t, self::dtype(dtype)?.unwrap_or(DType::I64)).py()?;
    finish(t.to_device(home(device)?).py()?, None, false)
}

/// Seeds the random generator of this thread.
#[pyfunction]
pub(crate) fn manual_seed(seed: i64) {
    philox::manual_seed(seed as u64);
}

/// The state of the random generator of this thread: seed and count.
#[pyfunction]
pub(crate) fn _rng_state() -> (u64, u64) {
    philox::default_generator().state()
}

/// Sets the state of the random generator of this thread.
#[pyfunction]
pub(crate) fn _set_rng_state(seed: u64, count: u64) {
    philox::set_default_generator(philox::Generator::from_state(seed, count));
}
