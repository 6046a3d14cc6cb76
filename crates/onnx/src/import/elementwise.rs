//! Element by element: arithmetic, functions, comparisons, casts.

use esker_graph::Sym;
use esker_ops::{Array, MapOnnx, MapOp, Op, Ops, Value};
use esker_tensor::{DType, Error, Result};

use super::call::{Call, Handler, Item, one, scalar, scalar_of};
use super::ints::fold;
use crate::dtype::from_code;

pub(crate) const HANDLERS: &[(&str, Handler)] = &[
    ("Relu", |c| map(c, MapOp::Relu)),
    ("Add", |c| folded(c, |c| map(c, MapOp::Add))),
    ("Sub", |c| folded(c, |c| map(c, MapOp::Sub))),
    ("Mul", |c| folded(c, multiply)),
    ("Div", |c| folded(c, divide)),
    ("Mod", |c| folded(c, modulo)),
    ("Max", |c| folded(c, |c| chain(c, MapOp::Maximum))),
    ("Min", |c| folded(c, |c| chain(c, MapOp::Minimum))),
    ("Sum", |c| chain(c, MapOp::Add)),
    ("Pow", power),
    ("Reciprocal", |c| one(c.tensor(0)?.reciprocal()?)),
    ("Gelu", gelu),
    ("Tan", |c| one(c.tensor(0)?.tan()?)),
    ("Asin", |c| one(c.tensor(0)?.asin()?)),
    ("Acos", |c| one(c.tensor(0)?.acos()?)),
    ("Atan", |c| one(c.tensor(0)?.atan()?)),
    ("And", |c| one(c.tensor(0)?.bitwise_and(&c.tensor(1)?)?)),
    ("Or", |c| one(c.tensor(0)?.bitwise_or(&c.tensor(1)?)?)),
    ("Xor", |c| one(c.tensor(0)?.bitwise_xor(&c.tensor(1)?)?)),
    ("BitwiseAnd", |c| one(c.tensor(0)?.bitwise_and(&c.tensor(1)?)?)),
    ("BitwiseOr", |c| one(c.tensor(0)?.bitwise_or(&c.tensor(1)?)?)),
    ("BitwiseXor", |c| one(c.tensor(0)?.bitwise_xor(&c.tensor(1)?)?)),
    ("BitShift", |c| match c.text("direction").as_deref() {
        Some("LEFT") => one(c.tensor(0)?.bitwise_left_shift(&c.tensor(1)?)?),
        _ => one(c.tensor(0)?.bitwise_right_shift(&c.tensor(1)?)?),
    }),
    ("Clip", clip),
    ("LeakyRelu", leaky_relu),
    ("Equal", |c| folded(c, |c| one(c.tensor(0)?.eq(&c.tensor(1)?)?))),
    ("Less", |c| folded(c, |c| one(c.tensor(0)?.lt(&c.tensor(1)?)?))),
    ("Greater", |c| folded(c, |c| one(c.tensor(0)?.gt(&c.tensor(1)?)?))),
    ("LessOrEqual", |c| one(c.tensor(0)?.le(&c.tensor(1)?)?)),
    ("GreaterOrEqual", |c| one(c.tensor(0)?.ge(&c.tensor(1)?)?)),
    ("Not", |c| one(c.tensor(0)?.eq(&scalar_of(0.0, DType::Bool)?)?)),
    ("Where", |c| folded(c, |c| one(c.tensor(0)?.where_cond(&c.tensor(1)?, &c.tensor(2)?)?))),
    ("Cast", cast),
    ("Identity", |c| folded(c, |c| Ok(vec![identity(c)?]))),
    ("Dropout", dropout),
];

/// Operators that are one elementwise op of the table: the op's own rule names them.
pub(crate) fn of_table(op_type: &str) -> Option<Handler> {
    table_op(op_type)?;
    Some(|call| match table_op(call.node.op_type.as_deref().unwrap_or("")) {
        Some(op) => map(call, op),
        None => Err(Error::format("it is no elementwise operator")),
    })
}

fn table_op(op_type: &str) -> Option<MapOp> {
    MapOp::ALL.iter().copied().find(|op| matches!(op.info().onnx, MapOnnx::Node(name, _) if name == op_type))
}

/// On integers where possible, else on tensors.
pub(crate) fn folded(call: &mut Call<'_>, tensors: Handler) -> Result<Vec<Item>> {
    match fold(call)? {
        Some(made) => Ok(made),
        None => tensors(call),
    }
}

fn map(call: &mut Call<'_>, op: MapOp) -> Result<Vec<Item>> {
    let x = call.tensors()?;
    let y = Sym::apply(Op::Map(op), &x.iter().collect::<Vec<_>>())?;
    Ok(y.into_iter().map(Item::from).collect())
}

fn chain(call: &mut Call<'_>, op: MapOp) -> Result<Vec<Item>> {
    let mut x = call.tensors()?.into_iter();
    let first = x.next().ok_or_else(|| Error::format("it has no inputs"))?;
    let folded = x.try_fold(first, |a, b| Ok::<_, Error>(Sym::apply(Op::Map(op), &[&a, &b])?.swap_remove(0)))?;
    one(folded)
}

/// `x * x` is one op here.
fn multiply(call: &mut Call<'_>) -> Result<Vec<Item>> {
    if call.node.input.first() == call.node.input.get(1) {
        return one(call.tensor(0)?.square()?);
    }
    map(call, MapOp::Mul)
}

fn divide(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (x, y) = (call.tensor(0)?, call.tensor(1)?);
    if !x.array().dtype().is_float() {
        return Err(Error::format("integer division truncates, which Esker has no op for"));
    }
    one(x.div(&y)?)
}

fn modulo(call: &mut Call<'_>) -> Result<Vec<Item>> {
    call.only("fmod", 0)?;
    map(call, MapOp::Remainder)
}

fn known_number(call: &Call<'_>, i: usize) -> Option<f64> {
    match call.item(i)? {
        Item::Tensor { known: Some(array), .. } => single(array),
        _ => None,
    }
}

fn single(array: &Array) -> Option<f64> {
    if array.shape().numel() != 1 {
        return None;
    }
    array.to_f64_vec().ok()?.first().copied()
}

fn power(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    match known_number(call, 1) {
        Some(2.0) => one(x.square()?),
        Some(0.5) => one(x.sqrt()?),
        Some(1.0) => one(x),
        Some(-1.0) => one(scalar(1.0, &x)?.div(&x)?),
        _ => one(x.float_power(&call.tensor(1)?)?),
    }
}

fn gelu(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    match call.text("approximate").as_deref() {
        None | Some("none") => one(x.gelu()?),
        Some("tanh") => one(x.gelu_tanh()?),
        Some(other) => Err(Error::format(format!("approximate = {other:?} is not read"))),
    }
}

/// Bounds are inputs since opset 11, attributes before.
fn clip(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let mut x = call.tensor(0)?;
    let bound = |call: &Call<'_>, name: &str, i: usize, x: &Sym| match call.attr(name).and_then(|a| a.f) {
        Some(f) => scalar(f64::from(f), x).map(Some),
        None => call.maybe(i),
    };
    if let Some(low) = bound(call, "min", 1, &x)? {
        x = x.maximum(&low)?;
    }
    if let Some(high) = bound(call, "max", 2, &x)? {
        x = x.minimum(&high)?;
    }
    one(x)
}

fn leaky_relu(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let x = call.tensor(0)?;
    let slope = scalar(call.float("alpha", 0.01), &x)?;
    let positive = x.ge(&scalar(0.0, &x)?)?;
    one(positive.where_cond(&x, &x.mul(&slope)?)?)
}

fn cast(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let code = i32::try_from(call.int("to", 0)).unwrap_or(0);
    let dtype = from_code(code).ok_or_else(|| Error::format(format!("Esker has no element type number {code}")))?;
    if let (Some(Item::Ints(ints)), DType::I64 | DType::I32) = (call.item(0), dtype) {
        let mut ints = ints.clone();
        ints.dtype = dtype;
        return Ok(vec![Item::Ints(ints)]);
    }
    let x = call.tensor(0)?;
    let y = x.cast(dtype)?;
    if x.array().dtype() == DType::Bool {
        call.memory.bools.insert(y.array().storage().id(), x.array().storage().id());
    }
    one(y)
}

fn identity(call: &Call<'_>) -> Result<Item> {
    call.item(0).cloned().ok_or_else(|| Error::format("its input is missing"))
}

/// Outside of training dropout does nothing.
fn dropout(call: &mut Call<'_>) -> Result<Vec<Item>> {
    if call.ints(2)?.is_some_and(|mode| mode.first() == Some(&1)) {
        return Err(Error::format("dropout in training mode draws random numbers, which is not read"));
    }
    Ok(vec![identity(call)?])
}
