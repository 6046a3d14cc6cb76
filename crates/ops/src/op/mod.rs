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
mod join;
mod leaky_relu;
mod linear;
mod matmul;
mod norm;
mod pool;
mod reduce;
mod scan;
mod shape;
mod softmax;

pub use crate::table::*;

use esker_tensor::{DType, Error, Result};

pub(crate) use crate::function::function;
use crate::{Meta, Value};

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

pub(crate) use {no_compose, no_sizes, not_differentiable, vjp_by_composition};

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

/// A scalar beside `x`: of its dtype (f32 beside integers) and on its device.
pub(crate) fn scalar_like<V: Value>(x: &V, value: f64) -> Result<V> {
    let meta = x.meta();
    V::scalar(value, crate::map::float_of(meta.dtype), meta.device)
}
