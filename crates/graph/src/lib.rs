//! Esker's graph: a model as data, captured by running it on tensors without values, and run without a tape.
//!
//! [`capture`] runs a model on `Meta` arrays while a recorder listens ([`is_recording`], [`record_op`]). Rules of ops know
//! plain numbers only; which of them depend on the batch is found by running the model for several probe batches and
//! solving every size that differs as an affine function of the batch ([`Dim`]). An [`Executor`] runs the result.

mod capture;
mod dim;
mod exec;
mod ir;
mod pass;
mod record;
mod sym;

pub use capture::{InputSpec, PROBES, capture, capture_at};
pub use dim::Dim;
pub use exec::Executor;
pub use ir::{Bound, Const, Graph, Node, Output, ValueId, ValueInfo, bytes_of};
pub use record::{is_recording, record_op};
pub use sym::Sym;
