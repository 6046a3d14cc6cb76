//! Tensors from nothing. The rows of the table that fill memory name every argument; these have PyTorch's defaults.

use esker::ops::tensor::philox;
use esker::ops::{Ops, Sizes};
use esker::{DType, Device, Tensor};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::args::{Number, integer, integers, number, takes};
use crate::construct::{default_dtype, finish};
use crate::dtype::{to_device, to_dtype};
use crate::error::{Raise, type_error, value_error};
use crate::tensor::{PyTensor, cast, tensor_of};

type Any<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// Sizes written as one list or as several arguments.
fn sizes(name: &str, args: &Bound<'_, PyTuple>, keyword: Any<'_, '_>) -> PyResult<Vec<i64>> {
    if let Some(list) = keyword {
        return integers(list)?.ok_or_else(|| takes(&format!("{name}: size"), "sizes", list));
    }
    if let Ok(only) = args.get_item(0)
        && args.len() == 1
    {
        if let Some(n) = integer(&only)? {
            return Ok(vec![n]);
        }
        return integers(&only)?.ok_or_else(|| takes(&format!("{name}: size"), "sizes", &only));
    }
    integers(args.as_any())?.ok_or_else(|| takes(&format!("{name}: size"), "sizes", args.as_any()))
}

fn dtype(given: Any<'_, '_>) -> PyResult<Option<DType>> {
    given.filter(|d| !d.is_none()).map(to_dtype).transpose()
}

fn home(given: Any<'_, '_>) -> PyResult<Device> {
    match given.filter(|d| !d.is_none()).map(to_device).transpose()?.unwrap_or_default() {
        Device::Cuda(i) => esker::cuda(i).py(),
        device => Ok(device),
    }
}

/// A keyword of the functions below.
#[derive(Default)]
struct Options<'a, 'py> {
    size: Any<'a, 'py>,
    dtype: Option<DType>,
    device: Device,
    requires_grad: bool,
}

fn leaf(t: Tensor, requires_grad: bool) -> PyResult<PyTensor> {
    finish(t, None, requires_grad)
}

fn filled(name: &str, args: &Bound<'_, PyTuple>, value: f64, o: Options<'_, '_>) -> PyResult<PyTensor> {
    let sizes = sizes(name, args, o.size)?;
    let t = Tensor::full(value, &sizes[..], o.dtype.unwrap_or(default_dtype()), o.device).map_err(|e| e.prefix(name));
    leaf(t.py()?, o.requires_grad)
}

macro_rules! of_sizes {
    ($($(#[$doc:meta])* $name:ident |$args:ident, $o:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        #[pyfunction]
        #[pyo3(signature = (*size_args, size=None, dtype=None, device=None, requires_grad=false, **ignored))]
        #[pyo3(text_signature = "(*size, dtype=None, device=None, requires_grad=False)")]
        pub(crate) fn $name(
            size_args: &Bound<'_, PyTuple>,
            size: Any<'_, '_>,
            dtype: Any<'_, '_>,
            device: Any<'_, '_>,
            requires_grad: bool,
            ignored: Option<&Bound<'_, pyo3::types::PyDict>>,
        ) -> PyResult<PyTensor> {
            only_none(stringify!($name), ignored)?;
            let $o = Options { size, dtype: self::dtype(dtype)?, device: home(device)?, requires_grad };
            let $args = size_args;
            $body
        }
    )*};
}

/// Keywords of PyTorch's that have no meaning here may be given as None, or as their defaults.
fn only_none(name: &str, ignored: Option<&Bound<'_, pyo3::types::PyDict>>) -> PyResult<()> {
    let Some(ignored) = ignored else { return Ok(()) };
    for (key, value) in ignored {
        let key = key.to_string();
        let known = crate::rows::IGNORED_WHEN_NONE.contains(&key.as_str());
        if !known || !(value.is_none() || value.is(&*pyo3::types::PyBool::new(value.py(), false))) {
            return Err(type_error(format!("{name}: there is no argument {key}")));
        }
    }
    Ok(())
}

fn drawn(name: &str, args: &Bound<'_, PyTuple>, o: Options<'_, '_>, normal: bool) -> PyResult<PyTensor> {
    let sizes = sizes(name, args, o.size)?;
    let (key, dtype) = (philox::next_key(), o.dtype.unwrap_or(default_dtype()));
    if !dtype.is_float() {
        return Err(type_error(format!("{name}: a floating-point dtype was needed, got {dtype}")));
    }
    let t = match normal {
        true => Tensor::normal(0.0, 1.0, key, &sizes[..], dtype, o.device),
        false => Tensor::uniform(0.0, 1.0, key, &sizes[..], dtype, o.device),
    };
    leaf(t.map_err(|e| e.prefix(name)).py()?, o.requires_grad)
}

of_sizes! {
    /// A tensor of zeros.
    zeros |args, o| filled("zeros", args, 0.0, o);
    /// A tensor of ones.
    ones |args, o| filled("ones", args, 1.0, o);
    /// A tensor whose values do not matter; they are zeros, so that programs repeat.
    empty |args, o| filled("empty", args, 0.0, o);
    /// Uniform random numbers from 0 to below 1.
    rand |args, o| drawn("rand", args, o, false);
    /// Standard normal random numbers.
    randn |args, o| drawn("randn", args, o, true);
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
    leaf(scalar.expand(&sizes[..]).and_then(|t| t.contiguous()).map_err(|e| e.prefix("full")).py()?, requires_grad)
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
    let t = Tensor::arange(start, step, count as i64, dtype, home(device)?).map_err(|e| e.prefix("arange"));
    leaf(t.py()?, requires_grad)
}

/// `steps` numbers at equal distances from `start` to `end`, both included.
#[pyfunction]
#[pyo3(signature = (start, end, steps, *, dtype=None, device=None, requires_grad=false))]
pub(crate) fn linspace(
    start: f64,
    end: f64,
    steps: i64,
    dtype: Any<'_, '_>,
    device: Any<'_, '_>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    if steps < 0 {
        return Err(value_error(format!("linspace: steps must be 0 or more, got {steps}")));
    }
    let dtype = self::dtype(dtype)?.unwrap_or(default_dtype());
    let step = if steps > 1 { (end - start) / (steps - 1) as f64 } else { 0.0 };
    // Exact from both ends, as in PyTorch: the second half counts back from the end.
    let at = |i: i64| {
        if i < steps / 2 || steps == 1 { start + step * i as f64 } else { end - step * (steps - 1 - i) as f64 }
    };
    let all: Vec<f64> = (0..steps).map(at).collect();
    let t = Tensor::from_vec(all).and_then(|t| cast(&t, dtype)).py()?;
    leaf(t.to_device(home(device)?).py()?, requires_grad)
}

/// The identity matrix of `n` rows and `m` columns.
#[pyfunction]
#[pyo3(signature = (n, m=None, *, dtype=None, device=None, requires_grad=false))]
pub(crate) fn eye(
    n: i64,
    m: Option<i64>,
    dtype: Any<'_, '_>,
    device: Any<'_, '_>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let (m, dtype) = (m.unwrap_or(n), self::dtype(dtype)?.unwrap_or(default_dtype()));
    let make = || {
        let (rows, columns) = (
            Tensor::arange(0.0, 1.0, n, DType::I64, Device::Cpu)?,
            Tensor::arange(0.0, 1.0, m, DType::I64, Device::Cpu)?,
        );
        cast(&rows.unsqueeze(1)?.eq(&columns)?, dtype)
    };
    if n < 0 || m < 0 {
        return Err(value_error(format!("eye: the sizes must be 0 or more, got {n} and {m}")));
    }
    leaf(make().and_then(|t| t.to_device(home(device).unwrap_or_default())).py()?, requires_grad)
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
    let sizes = Sizes::new(&size);
    let count = sizes.shape().map_err(|e| e.prefix("randint")).py()?.numel();
    // The span of two i64 fits u64; the multiply-shift of a 64-bit word is even to one part in 2^64 / span.
    let span = high.wrapping_sub(low) as u64;
    let key = philox::next_key();
    let draw = |i: usize| {
        let words = philox::block(key, i as u64);
        let word = u64::from(words[1]) << 32 | u64::from(words[0]);
        low.wrapping_add(((u128::from(word) * u128::from(span)) >> 64) as i64)
    };
    let all: Vec<i64> = (0..count).map(draw).collect();
    let t = Tensor::from_slice(&all, sizes).and_then(|t| cast(&t, self::DType::I64)).py()?;
    let t = cast(&t, self::dtype(dtype)?.unwrap_or(DType::I64)).py()?;
    leaf(t.to_device(home(device)?).py()?, false)
}

/// The integers from 0 to below `n` in random order.
#[pyfunction]
#[pyo3(signature = (n, *, dtype=None, device=None))]
pub(crate) fn randperm(n: usize, dtype: Any<'_, '_>, device: Any<'_, '_>) -> PyResult<PyTensor> {
    let all: Vec<i64> = philox::permutation(n, philox::next_key()).into_iter().map(|i| i as i64).collect();
    let t = Tensor::from_vec(all).and_then(|t| cast(&t, DType::I64)).py()?;
    let t = cast(&t, self::dtype(dtype)?.unwrap_or(DType::I64)).py()?;
    leaf(t.to_device(home(device)?).py()?, false)
}

/// Normal random numbers with this mean and standard deviation.
#[pyfunction]
#[pyo3(signature = (mean, std, size, *, dtype=None, device=None))]
pub(crate) fn normal(
    mean: f64,
    std: f64,
    size: &Bound<'_, PyAny>,
    dtype: Any<'_, '_>,
    device: Any<'_, '_>,
) -> PyResult<PyTensor> {
    let sizes = integers(size)?.ok_or_else(|| takes("normal: size", "sizes", size))?;
    let dtype = self::dtype(dtype)?.unwrap_or(default_dtype());
    leaf(Tensor::normal(mean, std, philox::next_key(), &sizes[..], dtype, home(device)?).py()?, false)
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
