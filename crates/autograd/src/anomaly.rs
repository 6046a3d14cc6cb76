//! The anomaly finder: stops at the first value that is not finite and says where it arose and from what.

use std::cell::Cell;
use std::fmt::Write;
use std::marker::PhantomData;
use std::panic::Location;

use esker_ops::{Array, Fold, Kernel, Meta};
use esker_tensor::{Device, Dims, Error, Layout, Result, Shape};

use crate::Tensor;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// The anomaly finder of this thread, on until dropped.
#[must_use = "the finder is off when the guard is dropped"]
pub struct Anomaly {
    before: bool,
    thread: PhantomData<*const ()>,
}

/// Has every op and every gradient on this thread checked until the guard is dropped. A NaN that an op makes of numbers,
/// or an infinity that it makes of finite ones, is an error with the op's name, the line that called it, and the range
/// of what went in. Infinities that are put in on purpose, such as those of an attention mask, pass.
///
/// ```
/// use esker_autograd::{Tensor, detect_anomaly};
/// use esker_ops::Ops;
///
/// # fn main() -> esker_tensor::Result<()> {
/// let _finder = detect_anomaly();
/// let error = Tensor::from_vec([1.0f32, -2.0])?.log().err().map(|e| e.to_string()).unwrap_or_default();
/// assert!(error.starts_with("log: 1 of 2 results is NaN"), "{error}");
/// assert!(error.contains("input 0: float32 [2] from -2 to 1"), "{error}");
/// # Ok(())
/// # }
/// ```
pub fn detect_anomaly() -> Anomaly {
    Anomaly { before: ON.replace(true), thread: PhantomData }
}

impl Drop for Anomaly {
    fn drop(&mut self) {
        ON.set(self.before);
    }
}

/// Switches the finder of this thread on or off until it is switched again; says what it was. For callers without
/// scopes; others use [`detect_anomaly`].
pub fn set_detect_anomaly(on: bool) -> bool {
    ON.replace(on)
}

/// Switches the finder off until the guard is dropped.
pub(crate) fn off() -> Anomaly {
    Anomaly { before: ON.replace(false), thread: PhantomData }
}

/// Whether the finder is on.
#[inline]
pub(crate) fn is_on() -> bool {
    ON.get()
}

/// Fails for results that are not finite though the inputs are.
pub(crate) fn check_results(name: &str, location: &Location<'_>, x: &[&Array], y: &[Array]) -> Result<()> {
    let inputs: Vec<Array> = x.iter().copied().cloned().collect();
    for (k, y) in y.iter().enumerate() {
        let view = x.iter().any(|x| x.storage().id() == y.storage().id());
        if x.is_empty() || view || looks_finite(y)? {
            continue; // Constants are asked for, and views compute nothing.
        }
        let found = Census::of(y)?;
        if let Some(problem) = found.news(&inputs)? {
            let which = if k == 0 { "results".to_owned() } else { format!("elements of result {k}") };
            return Err(Error::autograd(format!(
                "{name}: {} ({}); called at {location}",
                found.says(problem, &which),
                ranges("input", &inputs)?
            )));
        }
    }
    Ok(())
}

/// Fails for gradients that are not finite though those that came in are. `inputs` are those that the op has kept.
pub(crate) fn check_gradients(grads: &[Option<Tensor>], dy: &[Option<Tensor>], inputs: &[Array]) -> Result<()> {
    let incoming: Vec<Array> = dy.iter().flatten().map(|t| t.array.clone()).collect();
    for (i, grad) in grads.iter().enumerate() {
        let Some(grad) = grad.as_ref().filter(|g| g.dtype().is_float()) else { continue };
        if looks_finite(&grad.array)? {
            continue;
        }
        let found = Census::of(&grad.array)?;
        if let Some(problem) = found.news(&incoming)? {
            let which = format!("elements of the gradient of input {i}");
            let comma = if inputs.is_empty() { "" } else { ", " };
            return Err(Error::autograd(format!(
                "{} ({}{comma}{})",
                found.says(problem, &which),
                ranges("incoming gradient", &incoming)?,
                ranges("input", inputs)?
            )));
        }
    }
    Ok(())
}

/// A quick look: the sum of finite numbers is finite unless it overflows, and any other has a sum that is not.
fn looks_finite(x: &Array) -> Result<bool> {
    if !x.dtype().is_float() || x.device() == Device::Meta {
        return Ok(true);
    }
    let dims: Dims = (0..x.shape().len() as u8).collect();
    let scalar = Meta::new(x.dtype(), Shape::empty(), x.device());
    let mut sum = Array::uninit(&scalar, Layout::contiguous(Shape::empty()))?;
    let kernel = Kernel::Reduce { op: Fold::Sum, dims };
    esker_ops::backend(x.device())?.run(&kernel, &[x], std::slice::from_mut(&mut sum))?;
    Ok(sum.to_f64_vec()?.iter().all(|s| s.is_finite()))
}

/// What an array holds.
struct Census {
    count: usize,
    nan: usize,
    infinite: usize,
    low: f64,
    high: f64,
}

#[derive(Clone, Copy)]
enum Problem {
    Nan,
    Infinite,
}

impl Census {
    fn of(x: &Array) -> Result<Self> {
        let values = x.to_f64_vec()?;
        let start = Self { count: values.len(), nan: 0, infinite: 0, low: f64::INFINITY, high: f64::NEG_INFINITY };
        Ok(values.into_iter().fold(start, |c, v| Self {
            count: c.count,
            nan: c.nan + usize::from(v.is_nan()),
            infinite: c.infinite + usize::from(v.is_infinite()),
            low: c.low.min(v),
            high: c.high.max(v),
        }))
    }

    /// What is new in comparison with what went in.
    fn news(&self, inputs: &[Array]) -> Result<Option<Problem>> {
        let inputs: Vec<Census> =
            inputs.iter().filter(|x| x.dtype().is_float()).map(Census::of).collect::<Result<_>>()?;
        let nan_before = inputs.iter().any(|c| c.nan > 0);
        let infinite_before = inputs.iter().any(|c| c.infinite > 0);
        Ok(match (self.nan > 0 && !nan_before, self.infinite > 0 && !nan_before && !infinite_before) {
            (true, _) => Some(Problem::Nan),
            (_, true) => Some(Problem::Infinite),
            _ => None,
        })
    }

    fn says(&self, problem: Problem, which: &str) -> String {
        let (n, what) = match problem {
            Problem::Nan => (self.nan, "NaN"),
            Problem::Infinite => (self.infinite, "infinite"),
        };
        format!("{n} of {} {which} {} {what}", self.count, if n == 1 { "is" } else { "are" })
    }
}

/// Each array with its range, as `input 0: float32 [2] from -2 to 1`.
fn ranges(what: &str, arrays: &[Array]) -> Result<String> {
    let mut text = String::new();
    for (i, x) in arrays.iter().enumerate() {
        let Census { count, nan, infinite, low, high } = Census::of(x)?;
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{what} {i}: {} {:?}", x.dtype(), x.shape());
        if count > nan {
            let _ = write!(text, " from {low} to {high}");
        }
        if nan + infinite > 0 {
            let _ = write!(text, " with {nan} NaN and {infinite} infinite");
        }
    }
    Ok(text)
}
