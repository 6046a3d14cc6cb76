//! What an op's row says of its arguments, for callers that only learn them at run time: a binding to another language,
//! documentation, a file format.

use esker_tensor::philox::Key;
use esker_tensor::{DType, Device, Error, Result};

use crate::{Axes, Call, F64Bits, Floats, Ints, Op, Opt, Padding, Sizes};

/// A row's call, as the row states it.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The method's name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Tensors, then attributes: the order of the Rust method.
    pub params: Vec<Param>,
    /// What comes back.
    pub outputs: Outputs,
    /// The order in which a caller that names no argument gives them, as places in `params`.
    pub order: Vec<usize>,
    /// Whether it is for users, not a part that other rows are made of.
    pub public: bool,
    build: Build,
}

/// Makes the op of a row from its attributes in the order of the row.
pub(crate) type Build = fn(&mut std::vec::IntoIter<Attr>) -> Result<Op>;

impl Signature {
    /// Of a row; `order` is `None` for an internal one and empty for the order of the parameters.
    pub(crate) fn new(
        (name, doc): (&'static str, &'static str),
        params: Vec<Param>,
        outputs: Outputs,
        order: Option<&[&str]>,
        build: Build,
    ) -> Self {
        let place = |name: &&str| params.iter().position(|p| p.name == *name);
        let order_given: Vec<usize> = order.unwrap_or_default().iter().filter_map(place).collect();
        let mut all = order_given.clone();
        all.extend((0..params.len()).filter(|i| !order_given.contains(i)));
        Self { name, doc: doc.trim(), params, outputs, order: all, public: order.is_some(), build }
    }

    /// Of an elementwise row: one or two inputs have the names of PyTorch's functions, three their own.
    pub(crate) fn of_map(name: &'static str, doc: &'static str, inputs: &[&'static str], build: Build) -> Self {
        let names = match inputs.len() {
            1 => &["input"],
            2 => &["input", "other"][..],
            _ => inputs,
        };
        let params = names.iter().map(|n| Param::tensor(n, ParamKind::Tensor)).collect();
        Self::new((name, doc), params, Outputs::Count(1), Some(&[]), build)
    }

    /// The row's op with these attributes, in the row's order. Bit `i` of `given` says whether tensor `i` is there.
    ///
    /// # Errors
    /// `DType` naming the argument when an attribute has another type than the row says.
    pub fn op(&self, attrs: Vec<Attr>, given: u64) -> Result<Op> {
        let op = (self.build)(&mut attrs.into_iter()).map_err(|e| e.prefix(self.name))?;
        Ok(match op {
            Op::Call(call) => Call::new(call.function().clone(), given).into(),
            op => op,
        })
    }
}

pub(crate) fn next_attr<T: AttrType>(attrs: &mut std::vec::IntoIter<Attr>, name: &str) -> Result<T> {
    T::from_attr(attrs.next().unwrap_or(Attr::None)).map_err(|e| e.prefix(name))
}

impl Param {
    pub(crate) fn tensor(name: &'static str, kind: ParamKind) -> Self {
        Self { name, kind, default: (kind == ParamKind::OptionalTensor).then_some(Attr::None) }
    }

    pub(crate) fn attr<T: AttrType>(name: &'static str, default: Option<T>) -> Self {
        Self { name, kind: ParamKind::Attr(T::KIND), default: default.and_then(|d| d.to_attr()) }
    }
}

/// One argument.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParamKind,
    /// What stands for it when it is left out; `None` where it must be given.
    pub default: Option<Attr>,
}

/// What an argument takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamKind {
    /// A tensor.
    Tensor,
    /// A tensor or nothing.
    OptionalTensor,
    /// Any number of tensors.
    Tensors,
    /// An attribute.
    Attr(AttrKind),
}

/// The types of attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum AttrKind {
    Bool,
    Int,
    Float,
    Str,
    /// Integers, where one may stand for all.
    Ints,
    /// Sizes of a shape.
    Sizes,
    /// Dimensions.
    Axes,
    DType,
    Device,
    /// A key of the random generator; the next one when left out.
    Key,
    /// Integers, where one may stand for all, or `"same"` or `"valid"`.
    Padding,
    OptionalBool,
    OptionalInt,
    OptionalFloat,
    /// Integers, where one may stand for all.
    OptionalInts,
    /// Floats, where one may stand for all.
    OptionalFloats,
    OptionalDType,
    /// Only rows that are not public have such.
    Internal,
}

/// What comes back from a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outputs {
    /// So many tensors.
    Count(usize),
    /// A list whose length depends on the arguments.
    List,
}

/// An attribute whose type is only known at run time.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Attr {
    /// Nothing: where the attribute is optional.
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Str(String),
    DType(DType),
    Device(Device),
    Key(Key),
}

/// A type that attributes of a row may have.
pub trait AttrType: Sized {
    /// Which it is.
    const KIND: AttrKind;

    /// From a value known at run time.
    ///
    /// # Errors
    /// `DType` when it is of another type.
    fn from_attr(attr: Attr) -> Result<Self>;

    /// To a value known at run time; `None` for types that only internal rows have.
    fn to_attr(&self) -> Option<Attr>;

    /// Moves an attribute that says where a result lies.
    fn place(&mut self, _: Device) {}
}

fn other(needed: &str, attr: &Attr) -> Error {
    Error::dtype(format!("takes {needed}, got {attr:?}"))
}

macro_rules! attr_types {
    ($($T:ty, $kind:ident, $needed:literal, { $($from:pat => $to:expr),* }, |$v:ident| $attr:expr;)*) => {$(
        impl AttrType for $T {
            const KIND: AttrKind = AttrKind::$kind;
            fn from_attr(attr: Attr) -> Result<Self> {
                match attr {
                    $($from => Ok($to),)*
                    attr => Err(other($needed, &attr)),
                }
            }
            fn to_attr(&self) -> Option<Attr> {
                let $v = self;
                Some($attr)
            }
        }
    )*};
}

attr_types! {
    bool, Bool, "True or False", { Attr::Bool(b) => b }, |v| Attr::Bool(*v);
    i64, Int, "an integer", { Attr::Int(i) => i, Attr::Bool(b) => i64::from(b) }, |v| Attr::Int(*v);
    F64Bits, Float, "a number",
        { Attr::Float(x) => x.into(), Attr::Int(i) => (i as f64).into(), Attr::Bool(b) => f64::from(u8::from(b)).into() },
        |v| Attr::Float(v.get());
    String, Str, "a text", { Attr::Str(s) => s }, |v| Attr::Str(v.clone());
    Ints, Ints, "an integer or a list of integers", { Attr::Ints(list) => list.into(), Attr::Int(i) => i.into() },
        |v| Attr::Ints(v.get().to_vec());
    Sizes, Sizes, "a list of sizes", { Attr::Ints(list) => Sizes::new(&list), Attr::Int(i) => Sizes::new(&[i]) },
        |v| Attr::Ints(v.get().unwrap_or_default().to_vec());
    Axes, Axes, "a dimension or a list of dimensions",
        { Attr::Ints(list) => Axes::new(&list), Attr::Int(i) => Axes::new(&[i]), Attr::None => Axes::new(&[]) },
        |v| match v.get().unwrap_or_default() { [] => Attr::None, list => Attr::Ints(list.to_vec()) };
    DType, DType, "a dtype", { Attr::DType(d) => d }, |v| Attr::DType(*v);
    Key, Key, "a key of the random generator",
        { Attr::Key(k) => k, Attr::None => esker_tensor::philox::next_key() }, |v| Attr::Key(*v);
    Opt<bool>, OptionalBool, "True, False or None", { Attr::Bool(b) => b.into(), Attr::None => ().into() },
        |v| v.get().map_or(Attr::None, Attr::Bool);
    Opt<Ints>, OptionalInts, "an integer, a list of integers or None",
        { Attr::Ints(list) => Some(Ints::from(list)).into(), Attr::Int(i) => i.into(), Attr::None => ().into() },
        |v| v.as_ref().map_or(Attr::None, |v| Attr::Ints(v.get().to_vec()));
    Opt<Floats>, OptionalFloats, "a number, a list of numbers or None",
        {
            Attr::Floats(list) => Some(Floats::from(&list[..])).into(),
            Attr::Ints(list) => Some(Floats::from(&list.iter().map(|&i| i as f64).collect::<Vec<_>>()[..])).into(),
            Attr::Float(x) => x.into(), Attr::Int(i) => (i as f64).into(), Attr::None => ().into()
        },
        |v| v.as_ref().map_or(Attr::None, |v| Attr::Floats(v.get()));
    Opt<i64>, OptionalInt, "an integer or None", { Attr::Int(i) => i.into(), Attr::None => ().into() },
        |v| v.get().map_or(Attr::None, Attr::Int);
    Opt<F64Bits>, OptionalFloat, "a number or None",
        { Attr::Float(x) => x.into(), Attr::Int(i) => (i as f64).into(), Attr::None => ().into() },
        |v| v.get().map_or(Attr::None, |x| Attr::Float(x.get()));
    Opt<DType>, OptionalDType, "a dtype or None", { Attr::DType(d) => d.into(), Attr::None => ().into() },
        |v| v.get().map_or(Attr::None, Attr::DType);
}

impl AttrType for Padding {
    const KIND: AttrKind = AttrKind::Padding;
    fn from_attr(attr: Attr) -> Result<Self> {
        match attr {
            Attr::Str(s) if s == "same" => Ok(Padding::Same),
            Attr::Str(s) if s == "valid" => Ok(Padding::Valid),
            Attr::Str(s) => Err(Error::kernel(format!("takes \"same\", \"valid\" or sizes, got {s:?}"))),
            attr => Ok(Padding::Sizes(Ints::from_attr(attr)?)),
        }
    }
    fn to_attr(&self) -> Option<Attr> {
        match self {
            Padding::Same => Some(Attr::Str("same".into())),
            Padding::Valid => Some(Attr::Str("valid".into())),
            Padding::Sizes(sizes) => sizes.to_attr(),
        }
    }
}

impl AttrType for Device {
    const KIND: AttrKind = AttrKind::Device;
    fn from_attr(attr: Attr) -> Result<Self> {
        match attr {
            Attr::Device(d) => Ok(d),
            attr => Err(other("a device", &attr)),
        }
    }
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Device(*self))
    }
    fn place(&mut self, device: Device) {
        *self = device;
    }
}

macro_rules! internal {
    ($($T:ty),*) => {$(
        impl AttrType for $T {
            const KIND: AttrKind = AttrKind::Internal;
            fn from_attr(attr: Attr) -> Result<Self> {
                Err(other(concat!("a value of type ", stringify!($T)), &attr))
            }
            fn to_attr(&self) -> Option<Attr> {
                None
            }
        }
    )*};
}

internal!(
    u8,
    crate::MapOp,
    crate::kernel::Conv2d,
    crate::kernel::Pool2d,
    crate::kernel::Divisor,
    crate::kernel::Put,
    crate::kernel::Share
);
