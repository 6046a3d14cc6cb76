//! State dicts: the values of a module by name, in memory and as safetensors files.

use std::collections::BTreeMap;
use std::path::Path;

use esker_autograd::Tensor;
use esker_ops::Array;
use esker_tensor::{DType, Device, Error, Layout, Result, Shape, Storage, write_atomic};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Module, ModuleExt};

/// Values by name.
pub type StateDict = BTreeMap<String, Tensor>;

/// The values of a module's parameters and buffers, detached. A shared parameter appears under each of its names.
pub fn state_dict<M: Module + ?Sized>(module: &M) -> StateDict {
    module.named_state().into_iter().map(|(name, p)| (name, p.tensor().detach())).collect()
}

/// Sets a module's parameters and buffers. Nothing is changed unless all of them fit.
///
/// # Errors
/// `Format` listing every missing, unexpected and mis-shaped name.
pub fn load_state_dict<M: Module + ?Sized>(module: &M, state: &StateDict) -> Result<()> {
    let named = module.named_state();
    let list = |what: &str, names: Vec<String>| match names.is_empty() {
        true => None,
        false => Some(format!("{what}: {}", names.join(", "))),
    };
    let missing = named.iter().map(|(n, _)| n).filter(|n| !state.contains_key(*n)).cloned().collect();
    let unexpected = state.keys().filter(|k| named.iter().all(|(n, _)| n != *k)).cloned().collect();
    let misfits = named
        .iter()
        .filter_map(|(name, p)| {
            let t = state.get(name)?;
            let (shape, dtype) = (p.shape(), p.dtype());
            (*t.shape() != shape || t.dtype() != dtype)
                .then(|| format!("{name} ({:?} {} for {shape:?} {dtype})", t.shape(), t.dtype()))
        })
        .collect();
    let problems: Vec<String> =
        [list("missing", missing), list("unexpected", unexpected), list("mis-shaped", misfits)]
            .into_iter()
            .flatten()
            .collect();
    if !problems.is_empty() {
        return Err(Error::format(format!("the state does not fit the module; {}", problems.join("; "))));
    }
    named.iter().try_for_each(|(name, p)| p.set(&state[name]))
}

/// Writes a module's values as a safetensors file: whole or not at all.
///
/// # Errors
/// `Io` when the file cannot be written; an old file of that name is then still there.
pub fn save<M: Module + ?Sized>(module: &M, path: impl AsRef<Path>) -> Result<()> {
    save_state(&state_dict(module), path)
}

/// Sets a module's values from a safetensors file.
///
/// # Errors
/// `Io` when it cannot be read, `Format` when it is no safetensors file or does not fit.
pub fn load<M: Module + ?Sized>(module: &M, path: impl AsRef<Path>) -> Result<()> {
    load_state_dict(module, &load_state(path)?)
}

/// Writes values as a safetensors file: whole or not at all.
///
/// # Errors
/// As [`save`].
pub fn save_state(state: &StateDict, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let arrays: Vec<(&String, Array)> =
        state.iter().map(|(n, t)| Ok((n, t.array().to_cpu()?.contiguous()?))).collect::<Result<_>>()?;
    let views: Vec<(&str, TensorView<'_>)> = arrays
        .iter()
        .map(|(name, a)| {
            let start = a.layout().offset() * a.dtype().size();
            let bytes = &a.storage().bytes()[start..start + a.shape().numel() * a.dtype().size()];
            let view = TensorView::new(dtype_to(a.dtype()), a.shape().to_vec(), bytes);
            Ok((name.as_str(), view.map_err(|e| Error::format(format!("{name}: {e}")))?))
        })
        .collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, None).map_err(|e| Error::format(e.to_string()))?;
    write_atomic(path, &bytes)
}

/// Reads a safetensors file.
///
/// # Errors
/// As [`load`].
pub fn load_state(path: impl AsRef<Path>) -> Result<StateDict> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(format!("{}: {e}", path.display())))?;
    parse_state(&bytes).map_err(|e| e.prefix(&path.display().to_string()))
}

/// Reads the bytes of a safetensors file.
///
/// # Errors
/// `Format` when they are none.
pub fn parse_state(bytes: &[u8]) -> Result<StateDict> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| Error::format(format!("no safetensors file: {e}")))?;
    file.iter()
        .map(|(name, view)| {
            let dtype = dtype_from(view.dtype())
                .ok_or_else(|| Error::format(format!("{name} has dtype {:?}, which Esker lacks", view.dtype())))?;
            let shape = Shape::new(view.shape()).map_err(|e| e.prefix(name))?;
            let storage = Storage::from_bytes(view.data())?;
            if dtype == DType::Bool && view.data().iter().any(|&b| b > 1) {
                return Err(Error::format(format!("{name} is bool but holds bytes other than 0 and 1")));
            }
            let array = Array::new(dtype, Device::Cpu, Layout::contiguous(shape), storage)?;
            Ok((name.to_owned(), Tensor::from_array(array)))
        })
        .collect()
}

fn dtype_to(dtype: DType) -> Dtype {
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

fn dtype_from(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|&d| dtype_to(d) == dtype)
}
