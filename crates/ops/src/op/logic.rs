//! Questions whose answers are bools, and what follows from them.

use esker_tensor::{DType, Error, Result};

use super::{function, scalar_like};
use crate::{Ops, Value};

const BOOL: &str = "its result is bool";

/// Whether each element is other than 0.
pub(crate) fn truth<V: Value>(x: &V) -> Result<V> {
    let meta = x.meta();
    if meta.dtype == DType::Bool { Ok(x.clone()) } else { x.ne(&V::scalar(0.0, meta.dtype, meta.device)?) }
}

function! { Isnan |_op, x| x.ne(x)?, no_grad BOOL }

function! { Isinf |_op, x| {
    if x.meta().dtype.is_float() { x.abs()?.eq(&scalar_like(x, f64::INFINITY)?)? } else { x.ne(x)? }
}, no_grad BOOL }

function! { Isfinite |_op, x| {
    if x.meta().dtype.is_float() { x.abs()?.lt(&scalar_like(x, f64::INFINITY)?)? } else { x.eq(x)? }
}, no_grad BOOL }

function! { LogicalNot |_op, x| x.eq(&V::scalar(0.0, x.meta().dtype, x.meta().device)?)?, no_grad BOOL }
function! { LogicalAnd |_op, x, y| truth(x)?.bitwise_and(&truth(y)?)?, no_grad BOOL }
function! { LogicalOr |_op, x, y| truth(x)?.bitwise_or(&truth(y)?)?, no_grad BOOL }
function! { LogicalXor |_op, x, y| truth(x)?.bitwise_xor(&truth(y)?)?, no_grad BOOL }

function! { Isclose |op, x, y| {
    if x.meta().dtype.is_float() != y.meta().dtype.is_float() {
        return Err(Error::dtype(format!("compares like with like, got {} and {}", x.meta().dtype, y.meta().dtype)));
    }
    let same = x.eq(y)?;
    let y_abs = if y.meta().dtype == DType::Bool { y.cast(DType::U8)? } else { y.abs()? };
    let (x_num, y_num) = if x.meta().dtype == DType::Bool {
        (x.cast(DType::I16)?, y.cast(DType::I16)?)
    } else {
        (x.clone(), y.clone())
    };
    let allowed = y_abs.mul(&scalar_like(&y_abs, op.rtol.get())?)?.add(&scalar_like(&y_abs, op.atol.get())?)?;
    let near = x_num.sub(&y_num)?.abs()?.le(&allowed)?.logical_and(&y_num.isfinite()?)?;
    let close = same.logical_or(&near)?;
    if op.equal_nan { close.logical_or(&x.isnan()?.logical_and(&y.isnan()?)?)? } else { close }
}, no_grad BOOL }

/// Whether all elements hold.
fn every<V: Value>(holds: &V) -> Result<V> {
    let count = holds.meta().shape.numel() as f64;
    holds.cast(DType::I64)?.sum((), false)?.eq(&V::scalar(count, DType::I64, holds.meta().device)?)
}

function! { Allclose |op, x, y| every(&x.isclose(y, op.rtol.get(), op.atol.get(), op.equal_nan)?)?, no_grad BOOL }

function! { Equal |_op, x, y| {
    if x.meta().shape == y.meta().shape { every(&x.eq(y)?)? } else { V::full(0.0, (), DType::Bool, x.meta().device)? }
}, no_grad BOOL }

function! { MaskedFill |op, x, mask| {
    if mask.meta().dtype != DType::Bool {
        return Err(Error::dtype(format!("the mask must be bool, got {}", mask.meta().dtype)));
    }
    mask.where_cond(&V::scalar(op.value.get(), x.meta().dtype, x.meta().device)?, x)?
} }

#[cfg(feature = "spec")]
mod spec {
    use super::super::pointwise;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, bools, each_value, ints, real, values};

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn holds(b: bool) -> f64 {
        f64::from(u8::from(b))
    }

    pointwise! { Isnan |_op, x| holds(x.is_nan()); Isnan {} => [[-2.0..2.0]] "by definition" [(NAN => 1.0), (INF => 0.0), (0.0 => 0.0)]; }
    pointwise! { Isinf |_op, x| holds(x.is_infinite()); Isinf {} => [[-2.0..2.0]] "by definition" [(NAN => 0.0), (-INF => 1.0), (0.0 => 0.0)]; }
    pointwise! { Isfinite |_op, x| holds(x.is_finite()); Isfinite {} => [[-2.0..2.0]] "by definition" [(NAN => 0.0), (INF => 0.0), (1.0 => 1.0)]; }

    macro_rules! logical {
        ($($Name:ident $arity:literal $at:expr, |$v:ident| $f:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    each_value(x, |$v| holds($f))
                }
                fn samples() -> Vec<Sample> {
                    let op = $Name {};
                    let new = |x: Vec<_>| Sample::new(op.clone(), x);
                    let at = [values(&[4], &[0.0, 0.0, 2.0, 2.0]), values(&[4], &[0.0, 3.0, 0.0, 3.0])];
                    vec![
                        new(vec![ints(&[3, 5], -1, 1); $arity]).on(Dtypes::Numbers),
                        new(vec![bools(&[9]); $arity]).on(Dtypes::Only(&[esker_tensor::DType::Bool])),
                        new(at[..$arity].to_vec()).known(&[&$at], "the truth table"),
                        new(vec![real(&[2]); $arity + 1]).fails("Shape", "one input too many"),
                    ]
                }
            }
        )*};
    }

    logical! {
        LogicalNot 1 [1.0, 1.0, 0.0, 0.0], |v| v[0] == 0.0;
        LogicalAnd 2 [0.0, 0.0, 0.0, 1.0], |v| v[0] != 0.0 && v[1] != 0.0;
        LogicalOr 2 [0.0, 1.0, 1.0, 1.0], |v| v[0] != 0.0 || v[1] != 0.0;
        LogicalXor 2 [0.0, 1.0, 1.0, 0.0], |v| (v[0] != 0.0) != (v[1] != 0.0);
    }

    fn near(a: f64, b: f64, rtol: f64, atol: f64, equal_nan: bool) -> bool {
        a == b || (b.is_finite() && (a - b).abs() <= atol + rtol * b.abs()) || (equal_nan && a.is_nan() && b.is_nan())
    }

    pointwise! {
        Isclose |op, a, b| holds(near(a, b, op.rtol.get(), op.atol.get(), op.equal_nan));
        Isclose { rtol: 1e-5.into(), atol: 1e-8.into(), equal_nan: false } => [[-2.0..2.0, -2.0..2.0]] "numpy.isclose by hand"
            [(1.0, 1.000_001 => 1.0), (1.0, 1.1 => 0.0), (INF, INF => 1.0), (INF, -INF => 0.0), (1.0, INF => 0.0), (NAN, NAN => 0.0)];
        Isclose { rtol: 0.1.into(), atol: 0.0.into(), equal_nan: true } => [] "numpy.isclose by hand" [(NAN, NAN => 1.0), (1.0, 1.05 => 1.0)];
    }

    impl OpSpec for Allclose {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (rtol, atol) = (self.rtol.get(), self.atol.get());
            let all = each_value(x, |v| holds(near(v[0], v[1], rtol, atol, self.equal_nan)));
            vec![RefArray::new(&[], vec![holds(all[0].data.iter().all(|&v| v == 1.0))])]
        }
        fn samples() -> Vec<Sample> {
            let op = Allclose { rtol: 1e-5.into(), atol: 1e-8.into(), equal_nan: false };
            vec![
                Sample::new(op.clone(), [real(&[3, 4]), real(&[4])]),
                Sample::new(op.clone(), [real(&[0]), real(&[0])]),
                Sample::new(op.clone(), [values(&[2], &[1.0, 2.0]), values(&[2], &[1.0, 2.0])])
                    .known(&[&[1.0]], "equal"),
                Sample::new(op, [real(&[2]), real(&[3])]).fails("Shape", "they do not broadcast"),
            ]
        }
    }

    impl OpSpec for Equal {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![RefArray::new(&[], vec![holds(x[0].shape == x[1].shape && x[0].data == x[1].data)])]
        }
        fn samples() -> Vec<Sample> {
            let op = Equal {};
            vec![
                Sample::new(op.clone(), [values(&[2], &[1.0, 2.0]), values(&[2], &[1.0, 2.0])]).on(Dtypes::Numbers),
                Sample::new(op.clone(), [values(&[2], &[1.0, 2.0]), values(&[2], &[1.0, 3.0])])
                    .known(&[&[0.0]], "differ"),
                Sample::new(op.clone(), [values(&[1], &[1.0]), values(&[], &[1.0])]).known(&[&[0.0]], "two shapes"),
                Sample::new(op, [real(&[2])]).fails("Shape", "one input"),
            ]
        }
    }

    impl OpSpec for MaskedFill {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            each_value(x, |v| if v[1] != 0.0 { self.value.get() } else { v[0] })
        }
        fn samples() -> Vec<Sample> {
            let op = |value: f64| MaskedFill { value: value.into() };
            vec![
                Sample::new(op(3.0), [real(&[3, 4]), bools(&[3, 4])]),
                Sample::new(op(-1.0), [real(&[3, 4]), bools(&[4])]),
                Sample::new(op(7.0), [ints(&[2, 3], -3, 3), bools(&[2, 1])]).on(Dtypes::Numbers),
                Sample::new(op(-INF), [values(&[2], &[1.0, 2.0]), bools(&[0]).of(esker_tensor::DType::Bool)])
                    .fails("Shape", "the mask does not broadcast"),
                Sample::new(op(1.0), [real(&[2]), real(&[2])]).fails("DType", "a mask of numbers"),
            ]
        }
    }
}
