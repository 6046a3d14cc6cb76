//! The workspace's integration tests, in one binary. [`table`] walks the op table; the others hold the promises that
//! no single op can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod determinism;
mod docs;
mod errors;
mod graph;
mod layers;
mod parity;
mod rules;
mod table;
mod tape;
mod tools;
mod values;
