//! Elementwise ops: each is one generic body over the scalar vocabulary; everything else follows from it.

use std::sync::OnceLock;

use esker_tensor::{DType, Error, Result, Shape};
use smallvec::smallvec;

use crate::rule::no_grads;
use crate::scalar::{Prim, Program, Scalar};
use crate::{
    Grad, Grads, Kernel, Lowering, Map, MapGrad, MapOp, Meta, Metas, Onnx, OnnxCx, Op, OpRule, Ops, Outs, Promote,
    Value, Vjp,
};

/// An elementwise function: its name, its body, where it is at home.
pub trait ElemFn: 'static {
    /// The op's name.
    const NAME: &'static str;
    /// The number of inputs, 1 to 3.
    const ARITY: usize;
    /// Whether integers keep their type (else they become f32).
    const INTEGERS: bool;
    /// Whether integer kernels must refuse a zero in the last input.
    const CHECK_ZERO: bool;
    /// Its ONNX form.
    const ONNX: MapOnnx;
    /// The body; places beyond the arity must not be read.
    fn f<S: Scalar>(x: [S; 3]) -> S;
}

/// An elementwise function that integers have too.
pub trait NumFn: ElemFn {
    /// The body; places beyond the arity must not be read.
    fn g<S: crate::scalar::Num>(x: [S; 3]) -> S;
}

/// The ONNX form of an elementwise op.
#[derive(Clone, Copy)]
pub enum MapOnnx {
    /// One operator that exists since this opset; before it, the body's primitives.
    Node(&'static str, u32),
    /// The body's primitives.
    Primitives,
    /// Its own rule.
    Rule(fn(&OnnxCx<'_>) -> Onnx),
}

/// What a visitor of the map table does with each function's type.
pub trait MapVisitor {
    /// The visit's result.
    type Out;
    /// Called with the op's function.
    fn visit<F: ElemFn>(self) -> Self::Out;
}

/// What is known of an elementwise op without its type.
pub struct MapInfo {
    /// Its name.
    pub name: &'static str,
    /// The number of its inputs.
    pub arity: usize,
    /// Whether integers keep their type.
    pub integers: bool,
    /// Whether integer kernels must refuse a zero in the last input.
    pub check_zero: bool,
    /// Its ONNX form.
    pub onnx: MapOnnx,
    /// Its body, written down.
    pub value: Program,
    /// Its derivative by each input times the incoming gradient (input `arity`); `None` where it is zero everywhere.
    pub grads: Vec<Option<Program>>,
    /// Bit `i` says that some derivative reads input `i`.
    pub reads: u8,
    /// Bit `i` says that the derivative by input `i` is 1.
    pub passes: u8,
}

struct Describe;

impl MapVisitor for Describe {
    type Out = MapInfo;
    fn visit<F: ElemFn>(self) -> MapInfo {
        let grads: Vec<Option<Program>> = (0..F::ARITY).map(Program::grad::<F>).collect();
        let own = (1u8 << F::ARITY) - 1;
        let dy = 1 << F::ARITY;
        let passes = |p: &Option<Program>| p.as_ref().is_some_and(|p| p.steps.len() == 1 && p.reads() == dy);
        MapInfo {
            name: F::NAME,
            arity: F::ARITY,
            integers: F::INTEGERS,
            check_zero: F::CHECK_ZERO,
            onnx: F::ONNX,
            value: Program::value::<F>(),
            reads: grads.iter().flatten().fold(0, |mask, p| mask | p.reads()) & own,
            passes: grads.iter().enumerate().fold(0, |mask, (i, p)| mask | u8::from(passes(p)) << i),
            grads,
        }
    }
}

impl MapOp {
    /// What is known of the op; computed once.
    pub fn info(self) -> &'static MapInfo {
        static INFO: OnceLock<Vec<MapInfo>> = OnceLock::new();
        &INFO.get_or_init(|| MapOp::ALL.iter().map(|op| op.visit(Describe)).collect())[self as usize]
    }
}

fn broadcast(x: &[Meta]) -> Result<Meta> {
    let mut out = x.first().copied().ok_or_else(|| Error::shape("needs at least one input"))?;
    for m in &x[1..] {
        out.shape = out.shape.broadcast(&m.shape)?;
        out.device = out.device.meet(m.device)?;
    }
    out.shape.checked_numel()?;
    Ok(out)
}

fn check_arity(given: usize, needed: usize) -> Result<()> {
    if given == needed { Ok(()) } else { Err(Error::shape(format!("takes {needed} inputs, got {given}"))) }
}

impl OpRule for MapOp {
    fn name(&self) -> &'static str {
        self.info().name
    }

    fn promote(&self) -> Promote {
        if self.info().integers { Promote::Common { from: 0 } } else { Promote::Float }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        check_arity(x.len(), self.info().arity)?;
        let y = broadcast(x)?;
        if y.dtype == DType::Bool {
            return Err(Error::dtype("takes numbers, got bool; cast first"));
        }
        Ok(smallvec![y])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Map(Map::Value(*self)))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let program = &self.info().value;
        // A primitive is its own program; composing it from itself would not end.
        let computed = program.steps.iter().filter(|s| !matches!(s.prim, Prim::Input(_))).count();
        (computed > 1).then(|| run_program(program, x).map(|y| smallvec![y]))
    }

    fn grad(&self) -> Grad {
        Grad::inputs(u64::from(self.info().reads))
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let dy = cx.dy()?;
        let info = self.info();
        let mut grads = no_grads(info.arity);
        for wrt in (0..info.arity).filter(|&i| cx.needs(i) && info.grads[i].is_some()) {
            let dx = if info.passes >> wrt & 1 == 1 {
                dy.clone() // The derivative is 1.
            } else {
                // Inputs that the derivative does not read were not kept; dy stands in their place.
                let kept = |i: usize| cx.x.get(i).and_then(Option::as_ref).unwrap_or(dy);
                let inputs: [&V; 4] = std::array::from_fn(kept);
                V::apply(MapGrad { op: *self, wrt: wrt as u8 }.into(), &inputs[..=info.arity])?.swap_remove(0)
            };
            let shape = &cx.x_metas[wrt].shape;
            grads[wrt] = Some(if dx.meta().shape == *shape { dx } else { sum_to(&dx, shape)? });
        }
        Ok(grads)
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        match self.info().onnx {
            MapOnnx::Node(name, since) if cx.opset >= since => Onnx::node(name, cx),
            MapOnnx::Rule(rule) => rule(cx),
            _ => Onnx::Compose,
        }
    }

    fn sizes(&mut self, _: &mut dyn FnMut(&mut i64)) {}
}

impl OpRule for MapGrad {
    fn name(&self) -> &'static str {
        "map_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 0 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let arity = self.op.info().arity;
        check_arity(x.len(), arity + 1)?;
        if usize::from(self.wrt) >= arity {
            return Err(Error::dim(format!(
                "{} has {arity} inputs and no derivative by input {}",
                self.op.name(),
                self.wrt
            )));
        }
        let y = broadcast(x)?;
        crate::op::need_float("the input", y.dtype)?;
        Ok(smallvec![y])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Map(Map::Grad { op: self.op, wrt: self.wrt }))
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let wrt = usize::from(self.wrt);
        Some(match self.op.info().grads.get(wrt) {
            Some(Some(program)) => run_program(program, x).map(|y| smallvec![y]),
            _ => zero_of(x).map(|y| smallvec![y]),
        })
    }

    fn grad(&self) -> Grad {
        Grad::inputs((1 << (self.op.info().arity + 1)) - 1)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        crate::compose_vjp(self, cx)
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    fn sizes(&mut self, _: &mut dyn FnMut(&mut i64)) {}
}

fn zero_of<V: Value>(x: &[&V]) -> Result<V> {
    let meta = broadcast(&x.iter().map(|v| v.meta()).collect::<Vec<_>>())?;
    V::scalar(0.0, meta.dtype, meta.device)?.expand(meta.shape)
}

/// Applies a program's primitives as ops, one by one, to `x`.
pub(crate) fn run_program<V: Value>(program: &Program, x: &[&V]) -> Result<V> {
    let meta = x.first().map(|v| v.meta()).ok_or_else(|| Error::shape("needs at least one input"))?;
    let mut lines: Vec<V> = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let a: Vec<V> = step.prim.args().iter().map(|&i| lines[step.args[i] as usize].clone()).collect();
        lines.push(match step.prim {
            Prim::Input(i) => V::clone(x[usize::from(i)]),
            Prim::Const(c) => V::scalar(c.get(), meta.dtype, meta.device)?,
            Prim::MulAdd => a[0].mul(&a[1])?.add(&a[2])?,
            Prim::Select => V::apply(crate::op::Where {}.into(), &[&a[0], &a[1], &a[2]])?.swap_remove(0),
            prim => {
                let inputs: Vec<&V> = a.iter().collect();
                V::apply(prim_op(prim)?, &inputs)?.swap_remove(0)
            }
        });
    }
    let y = lines.pop().ok_or_else(|| Error::shape("empty program"))?;
    // A derivative may not read every input; the result has the broadcast shape all the same.
    let shape = broadcast(&x.iter().map(|v| v.meta()).collect::<Vec<_>>())?.shape;
    if y.meta().shape == shape { Ok(y) } else { y.expand(shape) }
}

fn prim_op(prim: Prim) -> Result<Op> {
    use crate::op::{Eq, Le, Lt};
    Ok(match prim {
        Prim::Add => MapOp::Add.into(),
        Prim::Sub => MapOp::Sub.into(),
        Prim::Mul => MapOp::Mul.into(),
        Prim::Div => MapOp::Div.into(),
        Prim::Neg => MapOp::Neg.into(),
        Prim::Abs => MapOp::Abs.into(),
        Prim::FloorDiv => MapOp::FloorDivide.into(),
        Prim::Remainder => MapOp::Remainder.into(),
        Prim::Square => MapOp::Square.into(),
        Prim::Sqrt => MapOp::Sqrt.into(),
        Prim::Exp => MapOp::Exp.into(),
        Prim::Expm1 => MapOp::Expm1.into(),
        Prim::Log => MapOp::Log.into(),
        Prim::Log1p => MapOp::Log1p.into(),
        Prim::Sin => MapOp::Sin.into(),
        Prim::Cos => MapOp::Cos.into(),
        Prim::Tanh => MapOp::Tanh.into(),
        Prim::Erf => MapOp::Erf.into(),
        Prim::Sigmoid => MapOp::Sigmoid.into(),
        Prim::Floor => MapOp::Floor.into(),
        Prim::Atan2 => MapOp::Atan2.into(),
        Prim::Pow => MapOp::FloatPower.into(),
        Prim::Lt => Lt {}.into(),
        Prim::Le => Le {}.into(),
        Prim::Eq => Eq {}.into(),
        Prim::Input(_) | Prim::Const(_) | Prim::MulAdd | Prim::Select => {
            return Err(Error::kernel(format!("{prim:?} is not an op of its own")));
        }
    })
}

/// Undoes a broadcast: sums `x` over the dimensions that `shape` lacks or has as 1.
///
/// # Errors
/// Those of `sum` and `reshape`.
pub fn sum_to<V: Value>(x: &V, shape: &Shape) -> Result<V> {
    let from = x.meta().shape;
    if from == *shape {
        return Ok(x.clone());
    }
    let lead = from.len().saturating_sub(shape.len());
    let dims: Vec<i64> =
        (0..from.len()).filter(|&d| d < lead || (shape[d - lead] == 1 && from[d] != 1)).map(|d| d as i64).collect();
    let summed = if dims.is_empty() { x.clone() } else { x.sum(&dims[..], true)? };
    if summed.meta().shape == *shape { Ok(summed) } else { summed.reshape(shape) }
}

/// The float type that integers become where an op needs floats.
pub(crate) fn float_of(dtype: DType) -> DType {
    if dtype.is_float() { dtype } else { DType::F32 }
}

/// Writes an elementwise op: its body once, and where it is known by other names.
///
/// `elementwise! { Gelu, "gelu", real, |x| x * .., onnx MapOnnx::Node("Gelu", 20), range -4.0..4.0; at [(x => y), ..] }`
/// where `range` says where samples lie and the function is smooth (`; and` starts another such box).
macro_rules! elementwise {
    (@body $s:ident, [$($x:ident),+], $body:expr, $arr:ident) => {{
        let [$($x),+, ..]: [$s; 3] = $arr;
        $body
    }};
    (@zero) => { false };
    (@zero zero) => { true };
    (@ints num) => { true };
    (@ints real) => { false };
    (@num num, $Name:ident, [$($x:ident),+], $body:expr) => {
        impl $crate::NumFn for $Name {
            #[inline(always)]
            fn g<S: $crate::scalar::Num>(x: [S; 3]) -> S { elementwise!(@body S, [$($x),+], $body, x) }
        }
    };
    (@num real, $($rest:tt)*) => {};
    (
        $(#[$doc:meta])* $Name:ident, $name:literal, $kind:ident $($zero:ident)?, |$($x:ident),+| $body:expr,
        onnx $onnx:expr, range $($range:expr),+ $(; and $($more:expr),+)*; at [$(($($at:expr),+ => $y:expr)),* $(,)?]
    ) => {
        #[doc = concat!("The body of `", $name, "`.")]
        $(#[$doc])*
        pub struct $Name;

        impl $crate::ElemFn for $Name {
            const NAME: &'static str = $name;
            const ARITY: usize = [$(stringify!($x)),+].len();
            const INTEGERS: bool = elementwise!(@ints $kind);
            const CHECK_ZERO: bool = elementwise!(@zero $($zero)?);
            const ONNX: $crate::MapOnnx = $onnx;
            #[inline(always)]
            fn f<S: $crate::scalar::Scalar>(x: [S; 3]) -> S { elementwise!(@body S, [$($x),+], $body, x) }
        }

        elementwise!(@num $kind, $Name, [$($x),+], $body);

        #[cfg(feature = "spec")]
        #[allow(clippy::approx_constant)] // Known points meet named constants.
        impl $crate::spec::ElemSpec for $Name {
            const RANGES: &'static [&'static [std::ops::Range<f64>]] = &[&[$($range),+] $(, &[$($more),+])*];
            const AT: &'static [(&'static [f64], f64)] = &[$((&[$($at),+], $y)),*];
        }
    };
}
pub(crate) use elementwise;
