//! A node with its inputs, and access to them that checks.

use std::collections::HashMap;
use std::rc::Rc;

use esker_graph::Sym;
use esker_ops::Array;
use esker_tensor::{DType, Device, Error, Result};

use super::MAX_SIZE;
use super::ints::Ints;
use crate::proto::{AttributeProto, NodeProto};

/// What a node does.
pub(crate) type Handler = fn(&mut Call<'_>) -> Result<Vec<Item>>;

/// Longer lists are no shapes.
const MAX_INTS: usize = 1 << 16;

/// A value while a file is read.
#[derive(Clone)]
pub(crate) enum Item {
    /// A tensor; `known` is its value when the file states it.
    Tensor {
        /// The tensor.
        sym: Sym,
        /// Its elements.
        known: Option<Rc<Array>>,
    },
    /// Integers that follow from shapes.
    Ints(Ints),
}

impl Item {
    /// As a tensor.
    pub(crate) fn tensor(&self) -> Result<Sym> {
        match self {
            Item::Tensor { sym, .. } => Ok(sym.clone()),
            Item::Ints(ints) => ints.array().map(Sym::new),
        }
    }

    /// Element type.
    fn dtype(&self) -> DType {
        match self {
            Item::Tensor { sym, .. } => sym.array().dtype(),
            Item::Ints(ints) => ints.dtype,
        }
    }

    /// As integers, where they are known and few.
    pub(crate) fn ints(&self) -> Option<Ints> {
        match self {
            Item::Ints(ints) => Some(ints.clone()),
            Item::Tensor { known, .. } => {
                known.as_ref().filter(|a| a.shape().numel() <= MAX_INTS).and_then(|a| Ints::of(a))
            }
        }
    }
}

impl From<Sym> for Item {
    fn from(sym: Sym) -> Self {
        Item::Tensor { sym, known: None }
    }
}

/// One result.
pub(crate) fn one(sym: Sym) -> Result<Vec<Item>> {
    Ok(vec![sym.into()])
}

/// What is remembered from node to node, by the identities of tensors.
#[derive(Default)]
pub(crate) struct Memory {
    /// What index tensors of `ArgMax` and `ArgMin` point into: the tensor, the dimension, whether at the largest.
    pub(crate) found: HashMap<usize, (usize, usize, bool)>,
    /// The bool tensors that integers were cast from.
    pub(crate) bools: HashMap<usize, usize>,
}

/// A node about to be run.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a NodeProto,
    pub(crate) opset: u32,
    pub(crate) x: Vec<Option<Item>>,
    pub(crate) memory: &'a mut Memory,
}

impl Call<'_> {
    /// Input `i`, if it is there.
    pub(crate) fn item(&self, i: usize) -> Option<&Item> {
        self.x.get(i).and_then(Option::as_ref)
    }

    /// Input `i` as a tensor.
    pub(crate) fn tensor(&self, i: usize) -> Result<Sym> {
        self.maybe(i)?.ok_or_else(|| Error::format(format!("its input {i} is missing")))
    }

    /// Input `i` as a tensor, if it is there.
    pub(crate) fn maybe(&self, i: usize) -> Result<Option<Sym>> {
        self.item(i).map(Item::tensor).transpose()
    }

    /// Every input as a tensor.
    pub(crate) fn tensors(&self) -> Result<Vec<Sym>> {
        (0..self.x.len()).map(|i| self.tensor(i)).collect()
    }

    /// Input `i` as integers, which the file must state or which must follow from shapes.
    pub(crate) fn ints(&self, i: usize) -> Result<Option<Vec<i64>>> {
        let Some(item) = self.item(i) else { return Ok(None) };
        let ints = item.ints().ok_or_else(|| {
            Error::format(format!("its input {i} must be integers that the file states or that follow from shapes"))
        })?;
        Ok(Some(ints.data))
    }

    /// Input `i` as sizes; -1 is let through.
    pub(crate) fn sizes(&self, i: usize) -> Result<Vec<i64>> {
        let sizes = self.ints(i)?.ok_or_else(|| Error::format(format!("its input {i} is missing")))?;
        if sizes.len() > esker_tensor::MAX_RANK {
            return Err(Error::format(format!("{} sizes are above the highest rank", sizes.len())));
        }
        match sizes.iter().find(|n| !(-1..=MAX_SIZE).contains(*n)) {
            Some(n) => Err(Error::format(format!("a size of {n} is not possible"))),
            None => Ok(sizes),
        }
    }

    /// Integers from the attribute `name` in old opsets and from input `i` in newer ones.
    pub(crate) fn ints_of(&self, name: &str, i: usize) -> Result<Option<Vec<i64>>> {
        match self.attr(name) {
            Some(a) => Ok(Some(a.ints.clone())),
            None => self.ints(i),
        }
    }

    /// An attribute.
    pub(crate) fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|a| a.name.as_deref() == Some(name) && a.ref_attr_name.is_none())
    }

    /// An integer attribute.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attr(name).and_then(|a| a.i).unwrap_or(default)
    }

    /// A float attribute as the decimal number that was meant: 1e-5, not the f32 next to it.
    pub(crate) fn float(&self, name: &str, default: f64) -> f64 {
        self.attr(name).and_then(|a| a.f).map_or(default, decimal)
    }

    /// A text attribute.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.attr(name).and_then(|a| a.s.as_ref()).map(|s| String::from_utf8_lossy(s).into_owned())
    }

    /// An attribute that must have one value because no other is known.
    pub(crate) fn only(&self, name: &str, value: i64) -> Result<()> {
        let given = self.int(name, value);
        if given == value {
            return Ok(());
        }
        Err(Error::format(format!("{name} = {given} is not read, only {value}")))
    }

    /// Whether the node's output `i` has a name.
    pub(crate) fn wants(&self, i: usize) -> bool {
        self.node.output.get(i).is_some_and(|name| !name.is_empty())
    }

    /// All inputs as integers, when at least one of them follows from shapes.
    pub(crate) fn all_ints(&self) -> Option<Vec<Ints>> {
        if !self.x.iter().flatten().any(|x| matches!(x, Item::Ints(_))) {
            return None;
        }
        self.x.iter().map(|x| x.as_ref().and_then(Item::ints)).collect()
    }
}

/// Operators whose inputs from the given one on must have one dtype.
const ALIKE: &[(&str, usize)] = &[
    ("Add", 0),
    ("Sub", 0),
    ("Mul", 0),
    ("Div", 0),
    ("Mod", 0),
    ("Max", 0),
    ("Min", 0),
    ("Sum", 0),
    ("Clip", 0),
    ("Equal", 0),
    ("Less", 0),
    ("Greater", 0),
    ("LessOrEqual", 0),
    ("GreaterOrEqual", 0),
    ("Where", 1),
    ("MatMul", 0),
    ("Gemm", 0),
    ("Conv", 0),
    ("ConvTranspose", 0),
    ("Concat", 0),
];

impl Call<'_> {
    /// ONNX has no promotion: dtypes that differ are a mistake in the file.
    pub(crate) fn check_dtypes(&self) -> Result<()> {
        let op = self.node.op_type.as_deref().unwrap_or("");
        let Some((_, from)) = ALIKE.iter().find(|(name, _)| *name == op) else { return Ok(()) };
        let mut dtypes = self.x.iter().skip(*from).flatten().map(Item::dtype);
        match dtypes.next().and_then(|first| dtypes.find(|d| *d != first).map(|other| (first, other))) {
            Some((a, b)) => Err(Error::format(format!("its inputs are {a} and {b}, which must be equal"))),
            None => Ok(()),
        }
    }
}

/// The shortest decimal number that rounds to `f`.
fn decimal(f: f32) -> f64 {
    format!("{f:e}").parse().unwrap_or(f64::from(f))
}

/// A scalar next to `like`.
pub(crate) fn scalar(value: f64, like: &Sym) -> Result<Sym> {
    scalar_of(value, like.array().dtype())
}

/// A scalar of a dtype.
pub(crate) fn scalar_of(value: f64, dtype: DType) -> Result<Sym> {
    <Sym as esker_ops::Value>::scalar(value, dtype, Device::Cpu)
}
