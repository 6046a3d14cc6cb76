//! The rules of every op, one subject a file. The structs come from their rows in the table.

pub mod elementwise;

mod activation;
mod adaptive_pool;
mod affine;
mod arg_reduce;
mod arithmetic;
mod arrange;
mod attention;
mod bits;
mod cast;
mod compare;
mod conv;
mod convolution;
mod create;
mod cross_entropy;
mod cummean;
mod distance;
mod dropout;
mod dropouts;
mod elements;
mod embedding;
mod extreme_grad;
mod fill;
mod index;
mod interpolate;
mod join;
mod linear;
mod logcumsumexp;
mod logic;
mod loss;
mod loss_class;
mod loss_pairs;
mod matmul;
mod max_pool;
mod mean_pool;
mod norm;
mod normalize;
mod pad;
mod pixel_shuffle;
mod pool;
mod product;
mod products;
mod random;
mod recurrent;
mod reduce;
mod rope;
mod rounding;
mod scan;
mod scatter;
mod select;
mod shape;
mod softmax;
mod sort;
mod special;
mod statistics;
mod transcendental;
mod view;

pub use crate::table::*;
pub(crate) use scatter::from_start;
pub(crate) use select::indices_of;

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

/// A scalar beside `x`: on its device and of its dtype, or f32 where an integer cannot hold it.
pub(crate) fn scalar_like<V: Value>(x: &V, value: f64) -> Result<V> {
    let meta = x.meta();
    let whole = value.fract() == 0.0 && meta.dtype.is_int();
    V::scalar(value, if whole { meta.dtype } else { crate::map::float_of(meta.dtype) }, meta.device)
}

/// The reference and samples of functions that work element by element:
/// `pointwise! { Name |op, x, y| f64 ..; Name { .. } => [boxes ..] "source" [(x.. => y), ..]; .. }`.
#[cfg(feature = "spec")]
macro_rules! pointwise {
    ($Name:ident |$op:ident, $($x:ident),+| $f:expr;
     $($make:expr => [$([$($range:expr),+]),*] $source:literal [$(($($at:expr),+ => $y:expr)),*];)+) => {
        #[allow(clippy::approx_constant)] // Known points meet named constants.
        impl $crate::spec::OpSpec for $crate::op::$Name {
            fn reference(&self, x: &[$crate::spec::RefArray]) -> Vec<$crate::spec::RefArray> {
                let $op = self;
                $crate::spec::each_value(x, |v| {
                    let [$($x),+] = *v else { return f64::NAN };
                    $f
                })
            }
            fn samples() -> Vec<$crate::spec::Sample> {
                let mut out = Vec::new();
                $(out.extend($crate::spec::pointwise(
                    $make, &[$(&[$($range),+]),*], &[$((&[$($at),+], $y)),*], $source,
                ));)+
                out
            }
        }
    };
}
#[cfg(feature = "spec")]
pub(crate) use pointwise;
