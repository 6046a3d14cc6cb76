//! Integers that follow from shapes, computed while a file is read.

use esker_ops::Array;
use esker_tensor::{DType, Error, Result, Shape};

use super::call::{Call, Item};

/// A scalar or a short list of integers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ints {
    /// i64, i32 or bool.
    pub(crate) dtype: DType,
    /// Whether it has no dimension.
    pub(crate) scalar: bool,
    /// The numbers.
    pub(crate) data: Vec<i64>,
}

impl Ints {
    /// A list of i64.
    pub(crate) fn list(data: Vec<i64>) -> Self {
        Self { dtype: DType::I64, scalar: false, data }
    }

    /// What a stored array says.
    pub(crate) fn of(array: &Array) -> Option<Self> {
        if array.shape().len() > 1 {
            return None;
        }
        let data = match array.dtype() {
            DType::I64 => array.to_vec::<i64>().ok()?,
            DType::I32 => array.to_vec::<i32>().ok()?.into_iter().map(i64::from).collect(),
            DType::Bool => array.to_vec::<bool>().ok()?.into_iter().map(i64::from).collect(),
            _ => return None,
        };
        Some(Self { dtype: array.dtype(), scalar: array.shape().is_empty(), data })
    }

    /// As an array.
    pub(crate) fn array(&self) -> Result<Array> {
        let shape = if self.scalar { Shape::empty() } else { Shape::from([self.data.len()]) };
        match self.dtype {
            DType::I32 => Array::from_slice(&self.data.iter().map(|&v| v as i32).collect::<Vec<_>>(), shape),
            DType::Bool => Array::from_slice(&self.data.iter().map(|&v| v != 0).collect::<Vec<_>>(), shape),
            _ => Array::from_slice(&self.data, shape),
        }
    }

    fn at(&self, i: usize) -> i64 {
        self.data.get(if self.data.len() == 1 { 0 } else { i }).copied().unwrap_or(0)
    }
}

/// Applies `f` element by element to integers that broadcast; `None` when they do not.
fn zip<const N: usize>(x: &[Ints], dtype: DType, f: impl Fn([i64; N]) -> Result<i64>) -> Result<Option<Ints>> {
    let Ok(x) = <[&Ints; N]>::try_from(x.iter().collect::<Vec<_>>()) else { return Ok(None) };
    let len = x.iter().map(|v| v.data.len()).find(|&n| n != 1).unwrap_or(1);
    if x.iter().any(|v| v.data.len() != 1 && v.data.len() != len) {
        return Ok(None);
    }
    let data = (0..len).map(|i| f(x.map(|v| v.at(i)))).collect::<Result<_>>()?;
    Ok(Some(Ints { dtype, scalar: x.iter().all(|v| v.scalar), data }))
}

/// The node computed on integers, when its inputs are such and it is one of those that shapes are made with.
pub(crate) fn fold(call: &Call<'_>) -> Result<Option<Vec<Item>>> {
    let Some(x) = call.all_ints() else { return Ok(None) };
    let dtype = x.first().map_or(DType::I64, |v| v.dtype);
    let overflow = || Error::format("integers computed from shapes overflow");
    let binary =
        |f: fn(i64, i64) -> Option<i64>, dtype: DType| zip::<2>(&x, dtype, |[a, b]| f(a, b).ok_or_else(overflow));
    let folded = match call.node.op_type.as_deref().unwrap_or("") {
        "Identity" => x.first().cloned(),
        "Add" => binary(i64::checked_add, dtype)?,
        "Sub" => binary(i64::checked_sub, dtype)?,
        "Mul" => binary(i64::checked_mul, dtype)?,
        "Div" => binary(i64::checked_div, dtype)?,
        "Mod" => binary(floor_mod, dtype)?,
        "Max" => binary(|a, b| Some(a.max(b)), dtype)?,
        "Min" => binary(|a, b| Some(a.min(b)), dtype)?,
        "Equal" => binary(|a, b| Some(i64::from(a == b)), DType::Bool)?,
        "Less" => binary(|a, b| Some(i64::from(a < b)), DType::Bool)?,
        "Greater" => binary(|a, b| Some(i64::from(a > b)), DType::Bool)?,
        "Where" => {
            let dtype = x.get(1).map_or(dtype, |v| v.dtype);
            zip::<3>(&x, dtype, |[c, a, b]| Ok(if c != 0 { a } else { b }))?
        }
        "ReduceProd" => x.first().map(|v| product(v, call.int("keepdims", 1) != 0)).transpose()?,
        "Gather" => gather(&x)?,
        "Concat" => concat(&x)?,
        "Squeeze" => x.first().filter(|v| v.data.len() == 1).map(|v| Ints { scalar: true, ..v.clone() }),
        "Unsqueeze" => x.first().filter(|v| v.scalar).map(|v| Ints { scalar: false, ..v.clone() }),
        "Reshape" => x.first().zip(x.get(1)).and_then(|(v, to)| reshape(v, &to.data)),
        _ => None,
    };
    Ok(folded.map(|ints| vec![Item::Ints(ints)]))
}

fn floor_mod(a: i64, b: i64) -> Option<i64> {
    let r = a.checked_rem(b)?;
    Some(if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
}

fn product(v: &Ints, keep: bool) -> Result<Ints> {
    let product = v.data.iter().try_fold(1i64, |p, &n| p.checked_mul(n));
    let product = product.ok_or_else(|| Error::format("integers computed from shapes overflow"))?;
    Ok(Ints { data: vec![product], scalar: !keep || v.scalar, ..v.clone() })
}

fn gather(x: &[Ints]) -> Result<Option<Ints>> {
    let [from, index] = x else { return Ok(None) };
    if from.scalar {
        return Ok(None);
    }
    let len = from.data.len() as i64;
    let pick = |&i: &i64| {
        let at = usize::try_from(if i < 0 { i.saturating_add(len) } else { i }).ok();
        let found = at.and_then(|at| from.data.get(at)).copied();
        found.ok_or_else(|| Error::format(format!("index {i} is out of range for {len} elements")))
    };
    let data = index.data.iter().map(pick).collect::<Result<_>>()?;
    Ok(Some(Ints { dtype: from.dtype, scalar: index.scalar, data }))
}

fn concat(x: &[Ints]) -> Result<Option<Ints>> {
    if x.iter().any(|v| v.scalar) {
        return Ok(None);
    }
    let total: usize = x.iter().map(|v| v.data.len()).sum();
    if total > 1 << 16 {
        return Err(Error::format(format!("a list of {total} integers is no shape")));
    }
    let dtype = x.first().map_or(DType::I64, |v| v.dtype);
    Ok(Some(Ints { dtype, scalar: false, data: x.iter().flat_map(|v| v.data.iter().copied()).collect() }))
}

fn reshape(v: &Ints, to: &[i64]) -> Option<Ints> {
    let fits = match to {
        [] => v.data.len() == 1,
        [n] => *n == -1 || usize::try_from(*n).is_ok_and(|n| n == v.data.len()),
        _ => false,
    };
    fits.then(|| Ints { scalar: to.is_empty(), ..v.clone() })
}
