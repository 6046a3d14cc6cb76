//! The user's [`Tensor`], the one door all ops pass ([`dispatch`]), the tape, parameters and grad modes.

mod capture;
mod convert;
mod dispatch;
mod display;
mod grad;
mod gradcheck;
mod mode;
mod operators;
mod param;
mod tape;
mod tensor;

pub use capture::capture;
pub use dispatch::dispatch;
pub use display::{PrintOptions, set_print_options};
pub use grad::{GradOptions, grad, grad_with};
pub use gradcheck::{GradCheck, gradcheck};
pub use mode::{GradMode, is_grad_enabled, no_grad};
pub use param::Param;
pub use tensor::Tensor;
