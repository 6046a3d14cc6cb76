//! The IDX format, in which MNIST and its kin come: two zeros, a type, a rank, big-endian sizes and elements.

use std::path::Path;

use esker_autograd::Tensor;
use esker_tensor::{Element, Error, MAX_RANK, Result, Shape};

/// Reads an IDX file (not compressed).
///
/// # Errors
/// `Io` when it cannot be read; `Format` saying what is wrong with it; both name the path.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(format!("{} could not be read: {e}", path.display())))?;
    parse_idx(&bytes).map_err(|e| e.prefix(&path.display().to_string()))
}

/// Reads the bytes of an IDX file: uint8, int8, int16, int32, float32 or float64 of up to eight dimensions.
///
/// # Errors
/// `Format` saying what is wrong.
pub fn parse_idx(bytes: &[u8]) -> Result<Tensor> {
    let Some(([zero0, zero1, code, rank], mut rest)) = bytes.split_first_chunk::<4>() else {
        return Err(Error::format(format!("{} bytes are too few for an IDX file", bytes.len())));
    };
    if (*zero0, *zero1) != (0, 0) {
        let gzip = if (*zero0, *zero1) == (0x1f, 0x8b) { "; it is compressed with gzip, unpack it first" } else { "" };
        return Err(Error::format(format!(
            "an IDX file begins with two zeros, this one with {zero0} and {zero1}{gzip}"
        )));
    }
    if usize::from(*rank) > MAX_RANK {
        return Err(Error::format(format!("the array has {rank} dimensions, of at most {MAX_RANK}")));
    }
    let mut sizes = Vec::new();
    for d in 0..*rank {
        let Some((size, after)) = rest.split_first_chunk::<4>() else {
            return Err(Error::format(format!("the file ends within the size of dimension {d}")));
        };
        sizes.push(u32::from_be_bytes(*size) as usize);
        rest = after;
    }
    let shape = Shape::new(&sizes)?;
    match code {
        0x08 => elements(rest, shape, |[b]: [u8; 1]| b),
        0x09 => elements(rest, shape, i8::from_be_bytes),
        0x0b => elements(rest, shape, i16::from_be_bytes),
        0x0c => elements(rest, shape, i32::from_be_bytes),
        0x0d => elements(rest, shape, f32::from_be_bytes),
        0x0e => elements(rest, shape, f64::from_be_bytes),
        _ => Err(Error::format(format!("{code:#04x} is no IDX element type"))),
    }
}

fn elements<T: Element, const N: usize>(bytes: &[u8], shape: Shape, read: impl Fn([u8; N]) -> T) -> Result<Tensor> {
    let numel = shape.checked_numel().map_err(|e| Error::format(e.to_string()))?;
    let (chunks, spare) = bytes.as_chunks::<N>();
    if chunks.len() != numel || !spare.is_empty() {
        return Err(Error::format(format!(
            "{shape:?} has {numel} elements of {N} bytes, but {} bytes follow the sizes",
            bytes.len()
        )));
    }
    Tensor::from_slice(&chunks.iter().map(|&c| read(c)).collect::<Vec<T>>(), shape)
}
