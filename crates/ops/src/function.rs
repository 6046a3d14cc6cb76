//! Functions: rows that are nothing but other rows. They have no kernel and no node on the tape; their parts have.

use esker_tensor::{Error, Result};

use crate::{
    Described, Function, Grad, Grads, Lowering, Meta, Metas, Onnx, OnnxCx, Op, OpRule, Outs, Promote, Value, Vjp,
    compose_vjp,
};

/// A function of tensors in terms of ops. Everything else an op must state follows from [`FnRule::call`].
pub trait FnRule {
    /// Why it has no gradient, where it has none.
    const NO_GRAD: Option<&'static str> = None;
    /// Why it has no ONNX form, where it has none; also given for functions that read values, such as `nonzero`.
    const NO_ONNX: Option<&'static str> = None;
    /// Whether it reads values ([`Value::values`]), so that it can be neither inferred nor captured.
    const READS: bool = false;
    /// Whether graphs hold it whole because ONNX has a node for it, see [`FnRule::onnx`].
    const NODE: bool = false;

    /// The function. `x` has a place for each tensor of the row, `None` for optional ones that were left out.
    ///
    /// # Errors
    /// Those of the ops it applies, and its own sentence for arguments that do not fit.
    fn call<V: Value>(&self, x: &[Option<&V>]) -> Result<Outs<V>>;

    /// What is known of its outputs, where following all of its parts would take long; `None` follows them.
    fn infer(&self, _: &[Option<&Meta>]) -> Option<Result<Metas>> {
        None
    }

    /// Its ONNX node, for those with [`FnRule::NODE`]; `None` exports its parts.
    fn onnx(&self, _: &OnnxCx<'_>) -> Option<Onnx> {
        None
    }
}

/// A function with the tensors it is called with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Call {
    function: Function,
    /// Bit `i` says that tensor `i` of the row is given.
    given: u64,
}

impl Call {
    /// A call in which bit `i` of `given` says whether tensor `i` of the row is there; [`u64::MAX`] when only the last
    /// ones may be absent.
    pub fn new(function: impl Into<Function>, given: u64) -> Self {
        Self { function: function.into(), given }
    }

    /// The function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Whether one of these tensors comes after one that was left out; references, which get a plain list, cannot tell.
    #[cfg(all(test, feature = "spec"))]
    pub(crate) fn leaves_gaps(&self, tensors: usize) -> bool {
        (self.given.trailing_ones() as usize) < tensors
    }

    /// The function, for changes to its attributes.
    pub(crate) fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    /// Calls the function.
    ///
    /// # Errors
    /// Those of the function, with its name in front.
    pub fn run<V: Value>(&self, x: &[&V]) -> Result<Outs<V>> {
        self.parts(x).map_err(|e| e.prefix(self.function.name()))
    }

    fn parts<V: Value>(&self, x: &[&V]) -> Result<Outs<V>> {
        self.function.call(&self.places(x)?)
    }

    fn places<'a, V>(&self, x: &[&'a V]) -> Result<Vec<Option<&'a V>>> {
        let Some((needed, most)) = self.function.places() else {
            return Ok(x.iter().map(|x| Some(*x)).collect());
        };
        let mut rest = x.iter().copied();
        let places: Vec<Option<&V>> =
            (0..most).map(|i| if self.given >> i & 1 == 1 { rest.next() } else { None }).collect();
        if rest.next().is_some() || places.iter().take(needed).any(Option::is_none) {
            let range = if needed == most { needed.to_string() } else { format!("{needed} to {most}") };
            return Err(Error::shape(format!("takes {range} inputs, got {}", x.len())));
        }
        Ok(places)
    }
}

/// Applies a function to the tensors that are there.
#[track_caller]
pub(crate) fn apply<V: Value>(function: Function, places: &[Option<&V>]) -> Result<Outs<V>> {
    let given = places.iter().enumerate().fold(0, |mask, (i, x)| mask | u64::from(x.is_some()) << i.min(63));
    let x: Vec<&V> = places.iter().copied().flatten().collect();
    V::apply(Op::Call(Box::new(Call { function, given })), &x)
}

impl From<Call> for Op {
    fn from(call: Call) -> Op {
        Op::Call(Box::new(call))
    }
}

impl From<Function> for Op {
    fn from(function: Function) -> Op {
        Call::new(function, u64::MAX).into()
    }
}

impl OpRule for Call {
    fn name(&self) -> &'static str {
        self.function.name()
    }

    fn promote(&self) -> Promote {
        Promote::Keep // The parts promote.
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        if let Some(metas) = self.function.infer(&self.places(&x.iter().collect::<Vec<_>>())?) {
            return metas;
        }
        let x: Vec<Described> = x.iter().copied().map(Described).collect();
        Ok(self.parts(&x.iter().collect::<Vec<_>>())?.iter().map(|y| y.0).collect())
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Compose
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        Some(self.parts(x))
    }

    fn grad(&self) -> Grad {
        self.function.no_grad().map_or(Grad::inputs(u64::MAX), Grad::None)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        compose_vjp(self, cx)
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        match self.function.no_onnx() {
            Some(reason) => Onnx::None(reason),
            None => self.function.onnx(&OnnxCx { given: self.given, ..*cx }).unwrap_or(Onnx::Compose),
        }
    }

    fn sizes(&mut self, _: &mut dyn FnMut(&mut i64)) {}
}

/// What a function's body may end in.
pub trait IntoOuts<V> {
    /// As an op's outputs.
    fn into_outs(self) -> Outs<V>;
}

impl<V: Value> IntoOuts<V> for V {
    fn into_outs(self) -> Outs<V> {
        std::iter::once(self).collect()
    }
}

impl<V: Value, const N: usize> IntoOuts<V> for [V; N] {
    fn into_outs(self) -> Outs<V> {
        self.into_iter().collect()
    }
}

impl<V: Value> IntoOuts<V> for Vec<V> {
    fn into_outs(self) -> Outs<V> {
        self.into()
    }
}

/// Writes a function: `function! { Name |op, x, weight; bias| body }`, where `op` has the attributes, the tensors after
/// the semicolon are `Option<&V>` and `[xs]` is any number of them. The body ends in a value, an array or a `Vec` of
/// values and may use `?` and the type `V`. Behind it may follow `, no_grad "reason"`, `, no_onnx "reason"`,
/// `, reads "reason"`, `, onnx |op, cx| ..` and `, infer |op, x| ..`, see [`FnRule`].
macro_rules! function {
    ($Name:ident |$op:ident, [$xs:ident]| $body:expr $(, $key:ident $value:expr)*) => {
        impl $crate::FnRule for $crate::op::$Name {
            fn call<V: $crate::Value>(&self, x: &[Option<&V>]) -> esker_tensor::Result<$crate::Outs<V>> {
                let ($op, $xs) = (self, &x.iter().copied().flatten().collect::<Vec<&V>>()[..]);
                Ok($crate::function::IntoOuts::<V>::into_outs($body))
            }
            $($crate::function::function! { @$key $value })*
        }
    };
    ($Name:ident |$op:ident $(, $x:ident)* $(; $($z:ident),+)?| $body:expr $(, $key:ident $value:expr)*) => {
        impl $crate::FnRule for $crate::op::$Name {
            fn call<V: $crate::Value>(&self, x: &[Option<&V>]) -> esker_tensor::Result<$crate::Outs<V>> {
                let ($op, mut _x) = (self, x.iter().copied());
                $(let $x: &V = $crate::function::given(_x.next(), stringify!($x))?;)*
                $($(let $z: Option<&V> = _x.next().flatten();)+)?
                Ok($crate::function::IntoOuts::<V>::into_outs($body))
            }
            $($crate::function::function! { @$key $value })*
        }
    };
    (@no_grad $reason:expr) => { const NO_GRAD: Option<&'static str> = Some($reason); };
    (@no_onnx $reason:expr) => { const NO_ONNX: Option<&'static str> = Some($reason); };
    (@infer $rule:expr) => {
        fn infer(&self, x: &[Option<&$crate::Meta>]) -> Option<esker_tensor::Result<$crate::Metas>> {
            let rule: fn(&Self, &[Option<&$crate::Meta>]) -> Option<esker_tensor::Result<$crate::Metas>> = $rule;
            rule(self, x)
        }
    };
    (@reads $reason:expr) => {
        const NO_ONNX: Option<&'static str> = Some($reason);
        const READS: bool = true;
    };
    (@onnx $rule:expr) => {
        const NODE: bool = true;
        fn onnx(&self, cx: &$crate::OnnxCx<'_>) -> Option<$crate::Onnx> {
            let rule: fn(&Self, &$crate::OnnxCx<'_>) -> Option<$crate::Onnx> = $rule;
            rule(self, cx)
        }
    };
}
pub(crate) use function;

/// A tensor that must be there.
pub(crate) fn given<'a, V>(x: Option<Option<&'a V>>, name: &str) -> Result<&'a V> {
    x.flatten().ok_or_else(|| Error::shape(format!("the tensor `{name}` is missing")))
}
