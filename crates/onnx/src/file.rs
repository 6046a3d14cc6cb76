//! Files: whole or not at all.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use esker_graph::Graph;
use esker_tensor::{Error, Result, write_atomic};

use crate::{ExportOptions, export, import};

/// Exports `graph` to a file, which is either written in full or left as it was.
///
/// # Errors
/// Those of [`export`]; `Io` naming the path.
pub fn save(graph: &Graph, path: impl AsRef<Path>, options: &ExportOptions) -> Result<()> {
    write_atomic(path.as_ref(), &export(graph, options)?)
}

/// Imports a file.
///
/// # Errors
/// Those of [`import`]; `Io` naming the path.
pub fn load(path: impl AsRef<Path>) -> Result<Graph> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(|e| cannot("read", path, &e))?;
    import(&bytes).map_err(|e| e.prefix(&path.display().to_string()))
}

fn cannot(what: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::io(format!("cannot {what} {}: {e}", path.display()))
}
