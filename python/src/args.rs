//! Python arguments as what rows of the table take.

use esker::ops::Value;
use esker::ops::signature::{Attr, AttrKind};
use esker::{DType, Tensor};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString, PyTuple};
use smallvec::SmallVec;

use crate::dtype::{to_device, to_dtype};
use crate::error::{Raise, type_error, type_name};
use crate::tensor::PyTensor;

/// An argument in the place of a tensor.
pub(crate) enum Operand {
    /// A tensor.
    Tensor(Tensor),
    /// A plain number, which takes the dtype of the tensors it meets.
    Number(Number),
}

/// A plain number of Python's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Number {
    Bool(bool),
    Int(i64),
    Float(f64),
}

pub(crate) type Tensors = SmallVec<[Tensor; 4]>;

impl Number {
    /// 0 for bools, 1 for integers, 2 for floats.
    fn category(self) -> u8 {
        match self {
            Number::Bool(_) => 0,
            Number::Int(_) => 1,
            Number::Float(_) => 2,
        }
    }

    /// The dtype it has alone.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Number::Bool(_) => DType::Bool,
            Number::Int(_) => DType::I64,
            Number::Float(_) => crate::construct::default_dtype(),
        }
    }

    /// The dtype it takes among tensors that meet in `dtype`.
    fn dtype_among(self, dtype: Option<DType>) -> DType {
        match dtype {
            Some(d) if category(d) >= self.category() => d,
            _ => self.dtype(),
        }
    }

    /// As a scalar tensor.
    pub(crate) fn tensor(self, dtype: DType, device: esker::Device) -> PyResult<Tensor> {
        let value = match self {
            Number::Bool(b) => f64::from(u8::from(b)),
            Number::Float(x) => x,
            Number::Int(i) if dtype == DType::I64 => {
                return Tensor::from_scalar(i).and_then(|t| t.to_device(device)).py();
            }
            Number::Int(i) if dtype.is_int() => whole(i, dtype)?,
            Number::Int(i) => i as f64,
        };
        Tensor::scalar(value, dtype, device).py()
    }
}

fn category(d: DType) -> u8 {
    u8::from(d != DType::Bool) + u8::from(d.is_float())
}

/// A whole number in a smaller type; what does not fit is refused, but negative numbers wrap in unsigned types, so that
/// `x + -1` is `x - 1`.
fn whole(i: i64, dtype: DType) -> PyResult<f64> {
    let bits = 8 * dtype.size() as u32;
    let (low, high) = if dtype == DType::U8 { (-255, 255) } else { (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1) };
    if !(low..=high).contains(&i) {
        return Err(crate::error::value_error(format!("the number {i} does not fit {dtype}")));
    }
    Ok(if dtype == DType::U8 { i.rem_euclid(256) } else { i } as f64)
}

/// A tensor or a number; `None` for anything else.
#[inline]
pub(crate) fn operand(obj: &Bound<'_, PyAny>) -> PyResult<Option<Operand>> {
    if let Ok(t) = obj.cast::<PyTensor>() {
        return Ok(Some(Operand::Tensor(t.get().get())));
    }
    Ok(number(obj)?.map(Operand::Number))
}

/// A number: Python's, or a scalar of NumPy's.
pub(crate) fn number(obj: &Bound<'_, PyAny>) -> PyResult<Option<Number>> {
    if let Ok(x) = obj.cast::<PyFloat>() {
        return Ok(Some(Number::Float(x.value())));
    }
    if let Ok(b) = obj.cast::<PyBool>() {
        return Ok(Some(Number::Bool(b.is_true())));
    }
    if obj.is_instance_of::<PyInt>() {
        return Ok(Some(Number::Int(obj.extract()?)));
    }
    if is_numpy_scalar(obj) {
        return number(&obj.call_method0("item")?);
    }
    Ok(None)
}

/// Whether it is a scalar of NumPy's: it has a dtype, no sizes, and is no array.
pub(crate) fn is_numpy_scalar(obj: &Bound<'_, PyAny>) -> bool {
    let class = obj.get_type();
    class.module().is_ok_and(|m| m.to_string_lossy() == "numpy")
        && class.name().is_ok_and(|n| n != "ndarray")
        && obj.hasattr("item").unwrap_or(false)
}

/// Numbers among tensors as tensors, weak as in PyTorch: a number changes the dtype of the tensors it meets only if its
/// kind (bool, integer, float) is above theirs. The tensors with a bit in `weak` count.
pub(crate) fn settle(operands: SmallVec<[Operand; 4]>, weak: u64) -> PyResult<Tensors> {
    if operands.iter().all(|o| matches!(o, Operand::Tensor(_))) {
        return Ok(operands
            .into_iter()
            .filter_map(|o| match o {
                Operand::Tensor(t) => Some(t),
                Operand::Number(_) => None,
            })
            .collect());
    }
    let (mut whole, mut scalar, mut device) = (None, None, esker::Device::Cpu);
    for (i, o) in operands.iter().enumerate() {
        let Operand::Tensor(t) = o else { continue };
        device = t.device();
        if weak >> i & 1 == 1 {
            let join = if t.rank() == 0 { &mut scalar } else { &mut whole };
            *join = Some(join.map_or(t.dtype(), |d: DType| d.promote(t.dtype())));
        }
    }
    let met = match (whole, scalar) {
        (Some(w), Some(s)) if category(s) > category(w) => Some(s),
        (w, s) => w.or(s),
    };
    let numbers = operands.iter().filter_map(|o| match o {
        Operand::Number(n) => Some(n.dtype()),
        Operand::Tensor(_) => None,
    });
    // Numbers alone meet each other in the highest of their own dtypes.
    let met = met.or_else(|| numbers.reduce(DType::promote));
    operands
        .into_iter()
        .map(|o| match o {
            Operand::Tensor(t) => Ok(t),
            Operand::Number(n) => n.tensor(n.dtype_among(met), device),
        })
        .collect()
}

/// An attribute; the sentence of an error has `name` in it.
pub(crate) fn attr(kind: AttrKind, obj: &Bound<'_, PyAny>) -> PyResult<Option<Attr>> {
    Ok(match kind {
        AttrKind::Bool | AttrKind::OptionalBool => obj.cast::<PyBool>().ok().map(|b| Attr::Bool(b.is_true())),
        AttrKind::Int | AttrKind::OptionalInt if obj.is_none() => None,
        AttrKind::Int | AttrKind::OptionalInt => integer(obj)?.map(Attr::Int),
        AttrKind::Float | AttrKind::OptionalFloat => float(obj)?.map(Attr::Float),
        AttrKind::Str => {
            obj.cast::<PyString>().ok().map(|s| s.to_cow().map(|s| Attr::Str(s.into_owned()))).transpose()?
        }
        AttrKind::Ints | AttrKind::Sizes | AttrKind::Axes | AttrKind::OptionalInts => match integer(obj)? {
            Some(i) => Some(Attr::Int(i)),
            None => integers(obj)?.map(Attr::Ints),
        },
        AttrKind::DType | AttrKind::OptionalDType => Some(Attr::DType(to_dtype(obj)?)),
        AttrKind::Device => Some(Attr::Device(match to_device(obj)? {
            esker::Device::Cuda(i) => esker::cuda(i).py()?,
            device => device,
        })),
        _ => plain(obj)?,
    })
}

/// A value as what it is: for kinds that take several.
fn plain(obj: &Bound<'_, PyAny>) -> PyResult<Option<Attr>> {
    if let Ok(text) = obj.cast::<PyString>() {
        return Ok(Some(Attr::Str(text.to_cow()?.into_owned())));
    }
    if let Some(i) = integer(obj)? {
        return Ok(Some(Attr::Int(i)));
    }
    if let Some(list) = integers(obj)? {
        return Ok(Some(Attr::Ints(list)));
    }
    if obj.is_instance_of::<PyList>() || obj.is_instance_of::<PyTuple>() {
        let all: Option<Vec<f64>> = obj.try_iter()?.map(|o| float(&o?)).collect::<PyResult<_>>()?;
        return Ok(all.map(Attr::Floats));
    }
    Ok(number(obj)?.map(|n| match n {
        Number::Bool(b) => Attr::Bool(b),
        Number::Int(i) => Attr::Int(i),
        Number::Float(x) => Attr::Float(x),
    }))
}

/// What an attribute of this kind takes, for sentences.
pub(crate) fn needed(kind: AttrKind) -> &'static str {
    match kind {
        AttrKind::Bool => "True or False",
        AttrKind::OptionalBool => "True, False or None",
        AttrKind::OptionalInts => "an integer, a list of integers or None",
        AttrKind::OptionalFloats => "a number, a list of numbers or None",
        AttrKind::Padding => "\"same\", \"valid\", an integer or a list of integers",
        AttrKind::Int => "an integer",
        AttrKind::Float => "a number",
        AttrKind::Str => "a text",
        AttrKind::Ints => "an integer or a list of integers",
        AttrKind::Sizes => "a list of sizes",
        AttrKind::Axes => "a dimension or a list of dimensions",
        AttrKind::DType | AttrKind::OptionalDType => "a dtype",
        AttrKind::Device => "a device",
        AttrKind::OptionalInt => "an integer or None",
        AttrKind::OptionalFloat => "a number or None",
        _ => "another kind of value",
    }
}

/// A whole number: an int (no bool), a 0-d integer tensor, or what has `__index__`.
pub(crate) fn integer(obj: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if obj.is_instance_of::<PyBool>() {
        return Ok(None);
    }
    if obj.is_instance_of::<PyInt>() {
        return obj.extract().map(Some);
    }
    if let Ok(t) = obj.cast::<PyTensor>() {
        let t = t.get().get();
        return if t.rank() == 0 && t.dtype().is_int() { Ok(Some(t.item().py()? as i64)) } else { Ok(None) };
    }
    // SAFETY: `obj` is a live object and the GIL is held.
    if unsafe { ffi::PyIndex_Check(obj.as_ptr()) } == 0 || obj.get_type().name().is_ok_and(|n| n == "ndarray") {
        return Ok(None);
    }
    Ok(obj.call_method0("__index__")?.extract().ok())
}

/// A list or tuple of whole numbers.
pub(crate) fn integers(obj: &Bound<'_, PyAny>) -> PyResult<Option<Vec<i64>>> {
    let item = |o: Bound<'_, PyAny>| integer(&o);
    if let Ok(t) = obj.cast::<PyTuple>() {
        return t.iter().map(item).collect();
    }
    if let Ok(l) = obj.cast::<PyList>() {
        return l.iter().map(item).collect();
    }
    if obj.is_instance_of::<pyo3::types::PyRange>() {
        return obj.try_iter()?.map(|o| integer(&o?)).collect();
    }
    Ok(None)
}

/// A number as f64, also of a 0-d tensor.
pub(crate) fn float(obj: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if let Ok(t) = obj.cast::<PyTensor>() {
        let t = t.get().get();
        return if t.numel() == 1 { t.item().py().map(Some) } else { Ok(None) };
    }
    Ok(number(obj)?.map(|n| match n {
        Number::Bool(b) => f64::from(u8::from(b)),
        Number::Int(i) => i as f64,
        Number::Float(x) => x,
    }))
}

/// `TypeError`: what was needed and what was given.
#[cold]
pub(crate) fn takes(name: &str, needed: &str, obj: &Bound<'_, PyAny>) -> PyErr {
    let shown = match obj.repr() {
        Ok(text) if text.to_string_lossy().len() <= 40 && !obj.is_instance_of::<PyTensor>() => format!(" {text}"),
        _ => String::new(),
    };
    type_error(format!("{name} takes {needed}, got {}{shown}", type_name(obj)))
}
