//! Stored tensors.

use esker_ops::Array;
use esker_tensor::{DType, Device, Error, Layout, Result, Shape, Storage};

use super::MAX_SIZE;
use crate::dtype::from_code;
use crate::proto::{NodeProto, TensorProto};

/// Sizes that are neither negative nor large enough for an overflow.
pub(crate) fn check_sizes(sizes: impl Iterator<Item = i64>) -> Result<()> {
    let mut product: i64 = 1;
    for size in sizes {
        if !(0..=MAX_SIZE).contains(&size) {
            return Err(Error::format(format!("a size of {size} is not possible")));
        }
        product = product.saturating_mul(size.max(1));
    }
    if product > MAX_SIZE << 8 {
        return Err(Error::format(format!("sizes with a product of {product} are too large")));
    }
    Ok(())
}

/// The array that a message holds.
pub(crate) fn read(tensor: &TensorProto) -> Result<Array> {
    if tensor.data_location.unwrap_or(0) != 0 {
        return Err(Error::format("its data lies in another file, which is not read"));
    }
    let code = tensor.data_type.unwrap_or(0);
    let dtype = from_code(code).ok_or_else(|| Error::format(format!("Esker has no element type number {code}")))?;
    check_sizes(tensor.dims.iter().copied())?;
    let sizes: Vec<usize> = tensor.dims.iter().map(|&n| n as usize).collect();
    let shape = Shape::new(&sizes)?;
    let numel = shape.checked_numel()?;
    let bytes = match &tensor.raw_data {
        Some(raw) => from_raw(raw, dtype),
        None => from_lists(tensor, dtype),
    };
    if numel.checked_mul(dtype.size()) != Some(bytes.len()) {
        return Err(Error::format(format!(
            "{shape:?} {dtype} needs {} bytes, the file holds {}",
            numel.saturating_mul(dtype.size()),
            bytes.len()
        )));
    }
    Array::new(dtype, Device::Cpu, Layout::contiguous(shape), Storage::from_bytes(&bytes)?)
}

fn from_raw(raw: &[u8], dtype: DType) -> Vec<u8> {
    let mut bytes = raw.to_vec();
    if dtype == DType::Bool {
        bytes.iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
    bytes
}

/// Elements in the lists of the message; narrow types, and the bits of half types, stand in the list of 32-bit integers.
fn from_lists(tensor: &TensorProto, dtype: DType) -> Vec<u8> {
    fn all<T: Copy, const N: usize>(list: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        list.iter().flat_map(|&v| bytes(v)).collect()
    }
    let ints = &tensor.int32_data;
    match dtype {
        DType::F32 => all(&tensor.float_data, f32::to_ne_bytes),
        DType::F64 => all(&tensor.double_data, f64::to_ne_bytes),
        DType::I64 => all(&tensor.int64_data, i64::to_ne_bytes),
        DType::I32 => all(ints, i32::to_ne_bytes),
        DType::I16 | DType::F16 | DType::BF16 => all(ints, |v| (v as u16).to_ne_bytes()),
        DType::I8 | DType::U8 => all(ints, |v| [v as u8]),
        DType::Bool => all(ints, |v| [u8::from(v != 0)]),
    }
}

/// The value of a `Constant` node.
pub(crate) fn constant(node: &NodeProto) -> Result<Array> {
    let [attribute] = &node.attribute[..] else {
        return Err(Error::format("it needs one attribute with its value"));
    };
    if let Some(tensor) = &attribute.t {
        return read(tensor);
    }
    let list = |n: usize| Shape::from([n]);
    match attribute.name.as_deref().unwrap_or("") {
        "value_float" => Array::from_slice(&[attribute.f.unwrap_or(0.0)], Shape::empty()),
        "value_int" => Array::from_slice(&[attribute.i.unwrap_or(0)], Shape::empty()),
        "value_floats" => Array::from_slice(&attribute.floats, list(attribute.floats.len())),
        "value_ints" => Array::from_slice(&attribute.ints, list(attribute.ints.len())),
        other => Err(Error::format(format!("its attribute `{other}` is not read"))),
    }
}
