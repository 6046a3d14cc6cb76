//! Weight files in the safetensors format: eight bytes with the length of a JSON header, the header, the bytes.
//!
//! A file is written under a temporary name in the same folder, brought to the disk and renamed: it is either whole or
//! what it was before. Tied weights are stored under each of their names.

use std::path::Path;

use esker_autograd::Tensor;
use esker_ops::Array;
use esker_tensor::{DType, Device, Error, Layout, Result, Shape, Storage, write_atomic};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::{Module, ModuleExt, StateDict};

/// Bytes in front of the header.
const LENGTH: usize = 8;
/// The longest header that is read, as in the reference implementation.
const MAX_HEADER: usize = 100_000_000;

/// Writes a module's parameters and buffers to a file.
///
/// # Errors
/// `Io` naming the path (nothing is left behind, and what was there stays); `Capture` for a tensor without data.
pub fn save<M: Module + ?Sized>(module: &M, path: impl AsRef<Path>) -> Result<()> {
    save_state(&module.state_dict(), path)
}

/// Reads a module's parameters and buffers from a file, strictly.
///
/// # Errors
/// `Io` when the file cannot be read; `Format` when it is no safetensors file or does not fit the module. Both name the
/// path, and nothing is changed then.
pub fn load<M: Module + ?Sized>(module: &M, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    module.load_state_dict(&load_state(path)?, true).map_err(|e| e.prefix(&path.display().to_string()))
}

/// Writes a state dict to a file.
///
/// # Errors
/// As [`save`].
pub fn save_state(state: &StateDict, path: impl AsRef<Path>) -> Result<()> {
    write_atomic(path.as_ref(), &state_bytes(state)?)
}

/// Reads a state dict from a file.
///
/// # Errors
/// `Io` when the file cannot be read; `Format` saying what is wrong with it; both name the path.
pub fn load_state(path: impl AsRef<Path>) -> Result<StateDict> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(format!("{} could not be read: {e}", path.display())))?;
    parse_state(&bytes).map_err(|e| e.prefix(&path.display().to_string()))
}

/// A state dict as the bytes of a file.
///
/// # Errors
/// `Capture` for a tensor without data.
pub fn state_bytes(state: &StateDict) -> Result<Vec<u8>> {
    let (header, arrays) = layout(state)?;
    let data: usize = arrays.iter().map(|a| a.shape().numel() * a.dtype().size()).sum();
    let mut bytes = Vec::with_capacity(LENGTH + header.len() + data);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    arrays.iter().for_each(|a| append_elements(&mut bytes, a));
    Ok(bytes)
}

/// A state dict from the bytes of a file, which are taken for hostile until they have been checked.
///
/// # Errors
/// `Format` saying what is wrong.
pub fn parse_state(bytes: &[u8]) -> Result<StateDict> {
    let (header, data) = frame(bytes)?;
    let header: Metadata = serde_json::from_slice(header).map_err(|e| Error::format(format!("the header: {e}")))?;
    if header.data_len() != data.len() {
        return Err(Error::format(format!(
            "the header describes {} bytes of data, the file has {}",
            header.data_len(),
            data.len()
        )));
    }
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let tensor = tensor(info, data).map_err(|e| Error::format(format!("tensor {name}: {e}")))?;
        Ok((name, tensor))
    });
    tensors.collect()
}

/// Header and data.
fn frame(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(Error::format(format!("{} bytes are too few for a safetensors file", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().filter(|&n| n <= MAX_HEADER).and_then(|n| rest.split_at_checked(n));
    header.ok_or_else(|| {
        Error::format(format!(
            "the header should have {length} bytes, of at most {MAX_HEADER}, but {} follow; is this a safetensors file?",
            rest.len()
        ))
    })
}

fn tensor(info: &TensorInfo, data: &[u8]) -> Result<Tensor> {
    let dtype = dtype(info.dtype)?;
    let shape = Shape::new(&info.shape)?;
    let size = shape.checked_numel()?.checked_mul(dtype.size());
    let (start, end) = info.data_offsets;
    let bytes = data.get(start..end).filter(|b| Some(b.len()) == size);
    let bytes = bytes.ok_or_else(|| Error::format(format!("bytes {start} to {end} are no {shape:?} {dtype}")))?;
    let mut storage = Storage::from_bytes(bytes)?;
    if let Some(stored) = storage.get_mut() {
        match dtype {
            DType::Bool => stored.iter_mut().for_each(|b| *b = u8::from(*b != 0)),
            _ if cfg!(target_endian = "big") => stored.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse),
            _ => {}
        }
    }
    Ok(Tensor::from_array(Array::new(dtype, Device::Cpu, Layout::contiguous(shape), storage)?))
}

/// The header and the row-major arrays in the order of their bytes: larger elements first, so that all are aligned.
fn layout(state: &StateDict) -> Result<(Vec<u8>, Vec<Array>)> {
    let mut named: Vec<(&String, Array)> =
        state.iter().map(|(name, t)| Ok((name, t.array().to_cpu()?.contiguous()?))).collect::<Result<_>>()?;
    named.sort_by_key(|(_, a)| std::cmp::Reverse(a.dtype().size()));
    let mut end = 0;
    let infos = named.iter().map(|(name, a)| {
        let start = end;
        end += a.shape().numel() * a.dtype().size();
        let info = TensorInfo { dtype: code(a.dtype()), shape: a.shape().to_vec(), data_offsets: (start, end) };
        ((*name).clone(), info)
    });
    let infos = infos.collect();
    let format = [("format".to_string(), "pt".to_string())].into();
    let header = Metadata::new(Some(format), infos).map_err(|e| Error::format(format!("the header: {e}")))?;
    let mut header = serde_json::to_vec(&header).map_err(|e| Error::format(format!("the header: {e}")))?;
    if header.len() > MAX_HEADER {
        return Err(Error::format(format!("the header would have {} bytes, of at most {MAX_HEADER}", header.len())));
    }
    header.resize(header.len().next_multiple_of(LENGTH), b' ');
    Ok((header, named.into_iter().map(|(_, a)| a).collect()))
}

fn append_elements(to: &mut Vec<u8>, a: &Array) {
    let size = a.dtype().size();
    let start = a.layout().offset() * size;
    let bytes = a.storage().bytes().get(start..start + a.shape().numel() * size).unwrap_or_default();
    if cfg!(target_endian = "little") {
        to.extend_from_slice(bytes);
    } else {
        bytes.chunks_exact(size).for_each(|e| to.extend(e.iter().rev()));
    }
}

fn code(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
    }
}

fn dtype(code: Dtype) -> Result<DType> {
    Ok(match code {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        other => return Err(Error::dtype(format!("{other:?} is a dtype that Esker does not have"))),
    })
}
