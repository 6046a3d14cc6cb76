//! Operators.
#![allow(unsafe_op_in_unsafe_fn)] // PyO3's code around methods that a macro writes.

use esker::Tensor;
use esker::autograd::dispatch;
use esker::ops::{MapOp, Op, op};
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use smallvec::smallvec;

use crate::args::{Operand, operand, settle};
use crate::error::{Raise, type_error, type_name};
use crate::tensor::{PyTensor, wrap};

/// `op(x, y)`, or `op(y, x)` when reflected; `NotImplemented` when `y` is neither a tensor nor a number.
fn binary(slf: &Bound<'_, PyTensor>, other: &Bound<'_, PyAny>, op: Op, reflected: bool) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let Some(y) = operand_or_array(other)? else { return Ok(py.NotImplemented()) };
    let x = Operand::Tensor(slf.get().get());
    let pair = settle(if reflected { smallvec![y, x] } else { smallvec![x, y] }, u64::MAX)?;
    Ok(wrap(py, apply(py, op, &[&pair[0], &pair[1]])?)?.into_any())
}

/// An operand of an operator, where NumPy's arrays are welcome too.
fn operand_or_array(obj: &Bound<'_, PyAny>) -> PyResult<Option<Operand>> {
    if let Some(x) = operand(obj)? {
        return Ok(Some(x));
    }
    if obj.hasattr("__array_interface__")? {
        return Ok(Some(Operand::Tensor(crate::construct::from_data(obj, None)?)));
    }
    Ok(None)
}

/// Runs an op of one result.
pub(crate) fn apply(py: Python<'_>, op: Op, x: &[&Tensor]) -> PyResult<Tensor> {
    let large = x.iter().map(|t| t.numel()).sum::<usize>() >= 4096;
    let outs = if large { py.detach(|| dispatch(op, x)) } else { dispatch(op, x) }.py()?;
    outs.into_iter().next().ok_or_else(|| type_error("the op gave nothing"))
}

fn unary(slf: &Bound<'_, PyTensor>, op: impl Into<Op>) -> PyResult<Py<PyTensor>> {
    let x = slf.get().get();
    wrap(slf.py(), apply(slf.py(), op.into(), &[&x])?)
}

/// The operator that rebinds: `x += y`.
fn in_place(slf: &Bound<'_, PyTensor>, name: &str, other: &Bound<'_, PyAny>, op: Op) -> PyResult<()> {
    let Some(y) = operand_or_array(other)? else {
        return Err(type_error(format!("{name} takes a tensor or a number, got {}", type_name(other))));
    };
    let pair = settle(smallvec![Operand::Tensor(slf.get().get()), y], u64::MAX)?;
    let new = apply(slf.py(), op, &[&pair[0], &pair[1]])?;
    drop(pair);
    slf.get().assign(name, new)
}

macro_rules! operators {
    (
        $($op:expr => $plain:ident $reflected:ident;)*
        in place $($iop:expr => $iname:ident $text:literal;)*
    ) => {
        #[pymethods]
        impl PyTensor {
            $(
                fn $plain(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                    binary(slf, other, $op.into(), false)
                }
                fn $reflected(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                    binary(slf, other, $op.into(), true)
                }
            )*
            $(
                fn $iname(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
                    in_place(slf, $text, other, $iop.into())
                }
            )*
        }
    };
}

operators! {
    MapOp::Add => __add__ __radd__;
    MapOp::Sub => __sub__ __rsub__;
    MapOp::Mul => __mul__ __rmul__;
    MapOp::Div => __truediv__ __rtruediv__;
    MapOp::FloorDivide => __floordiv__ __rfloordiv__;
    MapOp::Remainder => __mod__ __rmod__;
    op::Matmul {} => __matmul__ __rmatmul__;
    op::BitwiseAnd {} => __and__ __rand__;
    op::BitwiseOr {} => __or__ __ror__;
    op::BitwiseXor {} => __xor__ __rxor__;
    op::BitwiseLeftShift {} => __lshift__ __rlshift__;
    op::BitwiseRightShift {} => __rshift__ __rrshift__;
    in place
    MapOp::Add => __iadd__ "+=";
    MapOp::Sub => __isub__ "-=";
    MapOp::Mul => __imul__ "*=";
    MapOp::Div => __itruediv__ "/=";
    MapOp::FloorDivide => __ifloordiv__ "//=";
    MapOp::Remainder => __imod__ "%=";
    op::BitwiseAnd {} => __iand__ "&=";
    op::BitwiseOr {} => __ior__ "|=";
    op::BitwiseXor {} => __ixor__ "^=";
    op::BitwiseLeftShift {} => __ilshift__ "<<=";
    op::BitwiseRightShift {} => __irshift__ ">>=";
}

#[pymethods]
impl PyTensor {
    fn __pow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, modulo: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if !modulo.is_none() {
            return Ok(slf.py().NotImplemented());
        }
        binary(slf, other, op::Pow {}.into(), false)
    }

    fn __rpow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, modulo: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if !modulo.is_none() {
            return Ok(slf.py().NotImplemented());
        }
        binary(slf, other, op::Pow {}.into(), true)
    }

    fn __ipow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, _modulo: &Bound<'_, PyAny>) -> PyResult<()> {
        in_place(slf, "**=", other, op::Pow {}.into())
    }

    fn __neg__(slf: &Bound<'_, Self>) -> PyResult<Py<PyTensor>> {
        unary(slf, MapOp::Neg)
    }

    fn __pos__(slf: &Bound<'_, Self>) -> Py<PyTensor> {
        slf.clone().unbind()
    }

    fn __abs__(slf: &Bound<'_, Self>) -> PyResult<Py<PyTensor>> {
        unary(slf, MapOp::Abs)
    }

    fn __invert__(slf: &Bound<'_, Self>) -> PyResult<Py<PyTensor>> {
        unary(slf, op::BitwiseNot {})
    }

    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, compare: CompareOp) -> PyResult<Py<PyAny>> {
        let op: Op = match compare {
            CompareOp::Lt => op::Lt {}.into(),
            CompareOp::Le => op::Le {}.into(),
            CompareOp::Eq => op::Eq {}.into(),
            CompareOp::Ne => op::Ne {}.into(),
            CompareOp::Gt => op::Gt {}.into(),
            CompareOp::Ge => op::Ge {}.into(),
        };
        binary(slf, other, op, false)
    }

    fn __bool__(&self) -> PyResult<bool> {
        let t = self.get();
        if t.numel() != 1 {
            return Err(esker::Error::shape(format!(
                "the truth of a tensor of {:?} is ambiguous; use .any() or .all()",
                t.shape()
            )))
            .py();
        }
        Ok(t.item().py()? != 0.0)
    }

    fn __float__(&self) -> PyResult<f64> {
        self.get().item().py()
    }

    fn __int__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let number = slf.get().item(slf.py())?;
        slf.py().get_type::<pyo3::types::PyInt>().call1((number,))
    }

    fn __index__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let t = slf.get().get();
        if t.dtype().is_float() || t.numel() != 1 {
            return Err(type_error("only an integer tensor of one element can be an index"));
        }
        slf.get().item(slf.py())
    }
}
