//! The rules of every op, one subject a file. The structs come from their rows in the table.

pub mod elementwise;

mod arg_reduce;
mod cast;
mod compare;
mod conv;
mod create;
mod cross_entropy;
mod cummean;
mod dropout;
mod index;
mod matmul;
mod norm;
mod pool;
mod reduce;
mod scan;
mod shape;
mod softmax;

pub use crate::table::*;

use esker_tensor::{DType, Error, Result};

use crate::Meta;

/// For ops that are no composition of others.
macro_rules! no_compose {
    () => {
        fn compose<V: $crate::Value>(&self, _: &[&V]) -> Option<esker_tensor::Result<$crate::Outs<V>>> {
            None
        }
    };
}

/// For ops without size attributes.
macro_rules! no_sizes {
    () => {
        fn sizes(&mut self, _: &mut dyn FnMut(&mut i64)) {}
    };
}

/// For ops without a gradient, and why.
macro_rules! not_differentiable {
    ($reason:literal) => {
        fn grad(&self) -> $crate::Grad {
            $crate::Grad::None($reason)
        }
        fn vjp<V: $crate::Value>(&self, _: &$crate::Vjp<'_, V>) -> esker_tensor::Result<$crate::Grads<V>> {
            Err(esker_tensor::Error::autograd($reason))
        }
    };
}

/// For ops that differentiate through their composition.
macro_rules! vjp_by_composition {
    ($inputs:literal) => {
        fn grad(&self) -> $crate::Grad {
            $crate::Grad::inputs((1 << $inputs) - 1)
        }
        fn vjp<V: $crate::Value>(&self, cx: &$crate::Vjp<'_, V>) -> esker_tensor::Result<$crate::Grads<V>> {
            $crate::compose_vjp(self, cx)
        }
    };
}

/// An op of one floating-point input that is its composition and keeps the input's shape:
/// `composite! { Name, "name", |op, x| check .., compose .. }`, where `x` is the input's meta, then its value.
macro_rules! composite {
    ($Name:ident, $name:literal, |$op:ident, $x:ident| check $check:expr, compose $compose:expr) => {
        impl $crate::OpRule for $crate::op::$Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> $crate::Promote {
                $crate::Promote::Float
            }
            fn infer(&self, x: &[$crate::Meta]) -> esker_tensor::Result<$crate::Metas> {
                let ($op, [$x]) = (self, $crate::op::inputs(x)?);
                $check?;
                Ok(smallvec::smallvec![$x])
            }
            fn lower(&self, _: &[$crate::Meta]) -> $crate::Lowering {
                $crate::Lowering::Compose
            }
            fn compose<V: $crate::Value>(&self, x: &[&V]) -> Option<esker_tensor::Result<$crate::Outs<V>>> {
                let ($op, $x) = (self, *x.first()?);
                Some((|| Ok(smallvec::smallvec![$compose]))())
            }
            $crate::op::vjp_by_composition!(1);
            fn onnx(&self, _: &$crate::OnnxCx<'_>) -> $crate::Onnx {
                $crate::Onnx::Compose
            }
            $crate::op::no_sizes!();
        }
    };
}

pub(crate) use {composite, no_compose, no_sizes, not_differentiable, vjp_by_composition};

/// Exactly `N` inputs.
pub(crate) fn inputs<const N: usize>(x: &[Meta]) -> Result<[Meta; N]> {
    x.try_into().map_err(|_| Error::shape(format!("takes {N} inputs, got {}", x.len())))
}

/// A floating-point input, or a sentence that says so.
pub(crate) fn need_float(what: &str, dtype: DType) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    Err(Error::dtype(format!("{what} must be a floating-point tensor, got {dtype}; cast it first")))
}

/// An i64 input, or a sentence that says so.
pub(crate) fn need_i64(what: &str, dtype: DType) -> Result<()> {
    if dtype == DType::I64 {
        return Ok(());
    }
    Err(Error::dtype(format!("{what} must be int64, got {dtype}")))
}

/// An input of the given rank, or a sentence that says so.
pub(crate) fn need_rank(what: &str, meta: &Meta, rank: usize) -> Result<()> {
    if meta.shape.len() == rank {
        return Ok(());
    }
    Err(Error::shape(format!("{what} must have rank {rank}, got {:?}", meta.shape)))
}
