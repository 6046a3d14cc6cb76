//! The user's [`Tensor`], the one door all ops pass ([`dispatch`]), the tape, parameters and grad modes.

mod anomaly;
mod capture;
mod checkpoint;
mod convert;
mod dispatch;
mod display;
mod function;
mod grad;
mod gradcheck;
mod hooks;
mod mode;
mod observe;
mod operators;
mod param;
mod tape;
mod tensor;

pub use anomaly::{Anomaly, detect_anomaly, set_detect_anomaly};
pub use capture::capture;
pub use checkpoint::checkpoint;
pub use dispatch::dispatch;
pub use display::{PrintOptions, set_print_options};
pub use function::{Context, Function, apply};
pub use grad::{GradOptions, grad, grad_from, grad_with};
pub use gradcheck::{GradCheck, gradcheck};
pub use hooks::HookHandle;
pub use mode::{GradMode, is_grad_enabled, no_grad, set_grad_enabled};
pub use observe::observe;
pub use param::{Param, unreached};
pub use tensor::Tensor;
