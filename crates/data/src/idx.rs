//! The IDX format, in which MNIST and its kin come: two zeros, a type, a rank, big-endian sizes and elements.

use std::io::Read;
use std::path::Path;

use esker_autograd::Tensor;
use esker_tensor::{Element, Error, MAX_RANK, Result, Shape};

use crate::gzip::{plain, stored};

/// Reads an IDX file, compressed with gzip or not.
///
/// # Errors
/// `Io` when it cannot be read; `Format` saying what is wrong with it; both name the path.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    parse_idx(&stored(path)?).map_err(|e| e.prefix(&path.display().to_string()))
}

/// Reads the bytes of an IDX file, compressed with gzip or not: uint8, int8, int16, int32, float32 or float64 of up to
/// eight dimensions.
///
/// # Errors
/// `Format` saying what is wrong.
pub fn parse_idx(bytes: &[u8]) -> Result<Tensor> {
    let mut file = plain(bytes);
    let head = up_to(&mut *file, 4)?;
    let &[zero0, zero1, code, rank] = &head[..] else {
        return Err(Error::format(format!("{} bytes are too few for an IDX file", head.len())));
    };
    if (zero0, zero1) != (0, 0) {
        return Err(Error::format(format!("an IDX file begins with two zeros, this one with {zero0} and {zero1}")));
    }
    if usize::from(rank) > MAX_RANK {
        return Err(Error::format(format!("the array has {rank} dimensions, of at most {MAX_RANK}")));
    }
    let sizes = up_to(&mut *file, 4 * u64::from(rank))?;
    let (sizes, cut) = sizes.as_chunks::<4>();
    if sizes.len() < usize::from(rank) || !cut.is_empty() {
        return Err(Error::format(format!("the file ends within the size of dimension {}", sizes.len())));
    }
    let shape = Shape::new(&sizes.iter().map(|&size| u32::from_be_bytes(size) as usize).collect::<Vec<_>>())?;
    match code {
        0x08 => elements(&mut *file, shape, |[b]: [u8; 1]| b),
        0x09 => elements(&mut *file, shape, i8::from_be_bytes),
        0x0b => elements(&mut *file, shape, i16::from_be_bytes),
        0x0c => elements(&mut *file, shape, i32::from_be_bytes),
        0x0d => elements(&mut *file, shape, f32::from_be_bytes),
        0x0e => elements(&mut *file, shape, f64::from_be_bytes),
        _ => Err(Error::format(format!("{code:#04x} is no IDX element type"))),
    }
}

/// The next `count` bytes, or as many as there are.
fn up_to(file: &mut dyn Read, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes).map_err(|e| Error::format(format!("the file cannot be unpacked: {e}")))?;
    Ok(bytes)
}

fn elements<T: Element, const N: usize>(
    file: &mut dyn Read,
    shape: Shape,
    read: impl Fn([u8; N]) -> T,
) -> Result<Tensor> {
    let numel = shape.checked_numel().map_err(|e| Error::format(e.to_string()))?;
    let needed = (numel as u64).saturating_mul(N as u64);
    let bytes = up_to(file, needed.saturating_add(1))?; // One more, which must not be there; a bomb is read no further.
    if bytes.len() as u64 != needed {
        let found = if bytes.len() as u64 > needed { "more".to_string() } else { bytes.len().to_string() };
        return Err(Error::format(format!(
            "{shape:?} has {numel} elements of {N} bytes, but {found} bytes follow the sizes"
        )));
    }
    let (chunks, _) = bytes.as_chunks::<N>();
    Tensor::from_slice(&chunks.iter().map(|&c| read(c)).collect::<Vec<T>>(), shape)
}
