//! Operators. They panic where their methods return an error, with the same sentence and the caller's line.

use std::ops::{Add, Div, Mul, Neg, Sub};

use esker_ops::{Ops, Value};
use esker_tensor::DType;

use crate::Tensor;

/// A plain number meets a tensor in the tensor's dtype; an integer tensor meets a fraction in f32, as in PyTorch.
#[track_caller]
fn constant(like: &Tensor, value: f64) -> esker_tensor::Result<Tensor> {
    let whole = value.fract() == 0.0;
    let dtype = if like.dtype().is_float() || whole { like.dtype() } else { DType::F32 };
    Tensor::scalar(value, dtype, like.device())
}

#[track_caller]
#[allow(clippy::panic)] // Operators cannot return a Result; the methods can.
fn settled(result: esker_tensor::Result<Tensor>) -> Tensor {
    match result {
        Ok(tensor) => tensor,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident;)*) => {$(
        impl $Trait<&Tensor> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: &Tensor) -> Tensor { settled(Ops::$method(self, o)) }
        }
        impl $Trait<Tensor> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: Tensor) -> Tensor { settled(Ops::$method(&self, &o)) }
        }
        impl $Trait<&Tensor> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: &Tensor) -> Tensor { settled(Ops::$method(&self, o)) }
        }
        impl $Trait<Tensor> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: Tensor) -> Tensor { settled(Ops::$method(self, &o)) }
        }
        impl $Trait<f64> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: f64) -> Tensor { settled(constant(self, o).and_then(|o| Ops::$method(self, &o))) }
        }
        impl $Trait<f64> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: f64) -> Tensor { $Trait::$method(&self, o) }
        }
        impl $Trait<&Tensor> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: &Tensor) -> Tensor { settled(constant(o, self).and_then(|x| Ops::$method(&x, o))) }
        }
        impl $Trait<Tensor> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, o: Tensor) -> Tensor { $Trait::$method(self, &o) }
        }
    )*};
}

operators! { Add add; Sub sub; Mul mul; Div div; }

impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        settled(Ops::neg(self))
    }
}

impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        settled(Ops::neg(&self))
    }
}
