//! Esker's graphs to ONNX files and back.
//!
//! [`export`] writes each op by its own rule ([`esker_ops::Op::onnx`]) or through its composition; sizes that depend on
//! the batch are computed in the file. [`import`] reads what is exported, and common variants of it; a file is taken for
//! hostile until it has been checked.
#![deny(clippy::indexing_slicing)]

mod dtype;
mod export;
mod file;
mod import;
mod proto;
mod rule;
mod simplify;
mod widen;

pub use export::{ExportOptions, MAX_OPSET, MIN_OPSET, export};
pub use file::{load, save};
pub use import::{ImportOptions, import, import_with};
