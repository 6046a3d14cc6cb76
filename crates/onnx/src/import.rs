//! An ONNX file as a graph.

use esker_graph::Graph;
use esker_tensor::{Error, Result};

/// How a file is read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImportOptions {
    /// Dimensions of inputs that the file leaves open, by their names, and the size that each is to have. One may stay
    /// open: the batch.
    pub sizes: Vec<(String, usize)>,
}

/// Reads an ONNX file.
///
/// # Errors
/// `Format`.
pub fn import(bytes: &[u8]) -> Result<Graph> {
    import_with(bytes, &ImportOptions::default())
}

/// Reads an ONNX file.
///
/// # Errors
/// `Format`.
pub fn import_with(_bytes: &[u8], _options: &ImportOptions) -> Result<Graph> {
    Err(Error::format("not yet"))
}
