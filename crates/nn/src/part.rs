//! What a field of a module may be.

use esker_autograd::Param;

use crate::{Buffer, Mode, Module, Visitor};

/// What a field of a module may be: a parameter, a buffer, the training flag, a module, plain data (which reports nothing),
/// or an option, a list or a tuple of these. Elements of lists and tuples are called by their number, so that
/// `layers: Vec<Linear>` gives `layers.0.weight`; in PyTorch that is a `ModuleList`.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use esker_nn::{Forward, Linear, Module, ModuleExt};
///
/// #[derive(Module)]
/// struct Heads {
///     layers: Vec<Linear>,
///     heads: BTreeMap<String, Linear>,
///     activation: Option<Box<dyn Forward>>,
///     #[module(rename = "out_proj")]
///     output: (Linear, Linear),
///     width: usize,
///     #[module(skip)]
///     teacher: Vec<Linear>,
/// }
///
/// # fn main() -> esker_tensor::Result<()> {
/// let layer = || Linear::without_bias(2, 2);
/// let heads = Heads {
///     layers: vec![layer()?],
///     heads: [("price".to_string(), layer()?)].into(),
///     activation: None,
///     output: (layer()?, layer()?),
///     width: 2,
///     teacher: vec![layer()?],
/// };
/// let names: Vec<String> = heads.state_dict().into_keys().collect();
/// assert_eq!(names, ["heads.price.weight", "layers.0.weight", "out_proj.0.weight", "out_proj.1.weight"]);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a module",
    note = "derive `Module` for it, or put `#[module(skip)]` on the field"
)]
pub trait Part {
    /// Reports what there is under `name`.
    fn report(&self, name: &str, v: &mut Visitor<'_>);
}

#[diagnostic::do_not_recommend]
impl<M: Module> Part for M {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        v.child(name, self);
    }
}

impl Part for Param {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        v.param(name, self);
    }
}

impl Part for Buffer {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        v.buffer(name, self);
    }
}

impl Part for Mode {
    fn report(&self, _: &str, v: &mut Visitor<'_>) {
        v.mode(self);
    }
}

impl<P: Part> Part for Option<P> {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        if let Some(part) = self {
            part.report(name, v);
        }
    }
}

impl<P: Part> Part for [P] {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        v.within(name, |v| self.iter().enumerate().for_each(|(i, part)| part.report(&i.to_string(), v)));
    }
}

impl<P: Part> Part for Vec<P> {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        self[..].report(name, v);
    }
}

impl<P: Part, const N: usize> Part for [P; N] {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        self[..].report(name, v);
    }
}

impl<P: Part> Part for std::collections::BTreeMap<String, P> {
    fn report(&self, name: &str, v: &mut Visitor<'_>) {
        v.within(name, |v| self.iter().for_each(|(key, part)| part.report(key, v)));
    }
}

macro_rules! tuples {
    ($(($($P:ident $i:tt),+);)*) => {$(
        impl<$($P: Part),+> Part for ($($P,)+) {
            fn report(&self, name: &str, v: &mut Visitor<'_>) {
                v.within(name, |v| { $(self.$i.report(stringify!($i), v);)+ });
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
}

macro_rules! plain {
    ($($T:ty),*) => {$(
        impl Part for $T {
            fn report(&self, _: &str, _: &mut Visitor<'_>) {}
        }
    )*};
}

plain!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    usize,
    i8,
    i16,
    i32,
    i64,
    isize,
    f32,
    f64,
    String,
    &'static str,
    esker_tensor::DType,
    esker_tensor::Device,
    esker_tensor::Shape
);

impl<T: ?Sized> Part for std::marker::PhantomData<T> {
    fn report(&self, _: &str, _: &mut Visitor<'_>) {}
}
