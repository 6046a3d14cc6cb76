//! Files: whole or not at all.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use esker_graph::Graph;
use esker_tensor::{Error, Result};

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

/// Writes `bytes` to a temporary file next to `path`, makes sure that they are on the disk, and renames it; on failure
/// nothing is left behind and what was at `path` stays.
///
/// # Errors
/// `Io` naming the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".esker-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666)); // The process's mask applies.
    }
    let write = || -> std::io::Result<()> {
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    write().map_err(|e| cannot("write", path, &e))
}

fn cannot(what: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::io(format!("cannot {what} {}: {e}", path.display()))
}
