//! Files that may be compressed.

use std::io::Read;
use std::path::Path;

use esker_tensor::{Error, Result};
use flate2::read::MultiGzDecoder;

/// The first two bytes of everything that gzip writes.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes themselves, or what gzip made them from; unpacked as they are read, never all at once.
pub(crate) fn plain<'a>(bytes: &'a [u8]) -> Box<dyn Read + 'a> {
    match bytes.starts_with(&MAGIC) {
        true => Box::new(MultiGzDecoder::new(bytes)),
        false => Box::new(bytes),
    }
}

/// What a file holds, as it lies on the disk.
pub(crate) fn stored(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(format!("{} could not be read: {e}", path.display())))
}

/// Reads a text file, compressed with gzip or not.
///
/// # Errors
/// `Io` when it cannot be read; `Format` when it is not UTF-8 or its compression is damaged; both name the path.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut text = String::new();
    let read = plain(&stored(path)?).read_to_string(&mut text);
    read.map_err(|e| Error::format(format!("{}: {e}", path.display())))?;
    Ok(text)
}
