//! Running an op on arrays: promote, infer, lower, allocate, run. No tape.

use std::borrow::Cow;

use esker_tensor::{DType, Device, Dims, Error, Layout, Result};
use smallvec::SmallVec;

use crate::{Array, ConvPass, Kernel, Lowering, Meta, Metas, Op, Outs, Promote, Value, backend};

impl Value for Array {
    fn meta(&self) -> Meta {
        Array::meta(self)
    }

    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>> {
        if let Op::Call(call) = &op {
            return call.run(inputs);
        }
        let (inputs, metas, outs) = prepare(&op, inputs)?;
        let inputs: SmallVec<[&Self; 4]> = inputs.iter().map(|x| &**x).collect();
        run(&op, &inputs, &metas, &outs)
    }

    fn values(&self) -> Result<&Array> {
        if self.device() == Device::Meta { Err(crate::value::no_values()) } else { Ok(self) }
    }

    fn of_values(values: Array, device: Device) -> Result<Self> {
        match device {
            Device::Cpu | Device::Meta => Ok(values),
            device => {
                let values = values.contiguous()?;
                let mut storage = backend(device)?.alloc(values.storage().len())?;
                backend(device)?.write(values.storage().bytes(), &mut storage)?;
                Array::new(values.dtype(), device, *values.layout(), storage)
            }
        }
    }

    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self> {
        Self::of_values(Array::scalar(value, dtype)?, device)
    }
}

/// Inputs after promotion, their metas, and the metas of the outputs.
pub type Prepared<'a, V> = (SmallVec<[Cow<'a, V>; 4]>, SmallVec<[Meta; 4]>, Metas);

/// Promotes the dtypes of `inputs` as the op says (through casts that `V` sees) and infers the outputs.
///
/// # Errors
/// The op's own, with its name in front.
pub fn prepare<'a, V: Value>(op: &Op, inputs: &[&'a V]) -> Result<Prepared<'a, V>> {
    let mut metas: SmallVec<[Meta; 4]> = inputs.iter().map(|x| x.meta()).collect();
    let mut values: SmallVec<[Cow<'a, V>; 4]> = inputs.iter().map(|x| Cow::Borrowed(*x)).collect();
    if let Some((from, dtype)) = common_dtype(op.promote(), &metas) {
        for (value, meta) in values.iter_mut().zip(&mut metas).skip(from) {
            if meta.dtype != dtype {
                let cast = V::apply(crate::op::Cast { dtype }.into(), &[&**value])?.swap_remove(0);
                *value = Cow::Owned(cast);
                meta.dtype = dtype;
            }
        }
    }
    let outs = op.infer(&metas).map_err(|e| e.prefix(op.name()))?;
    Ok((values, metas, outs))
}

/// The dtype that the inputs from the first index on are cast to. Scalars (rank 0) only count when their category
/// (bool, integer, float) is above that of the rest, as in PyTorch.
fn common_dtype(promote: Promote, metas: &[Meta]) -> Option<(usize, DType)> {
    let (from, float) = match promote {
        Promote::Keep => return None,
        Promote::Common { from } => (from, false),
        Promote::Float => (0, true),
    };
    let join = |scalars: bool| {
        let dtypes = metas.iter().skip(from).filter(|m| m.shape.is_empty() == scalars).map(|m| m.dtype);
        dtypes.reduce(DType::promote)
    };
    let category = |d: DType| u8::from(d != DType::Bool) + u8::from(d.is_float());
    let dtype = match (join(false), join(true)) {
        (Some(t), Some(s)) if category(s) > category(t) => s,
        (Some(t), _) => t,
        (None, s) => s?,
    };
    Some((from, if float { crate::map::float_of(dtype) } else { dtype }))
}

/// Runs an op whose inputs are promoted and whose outputs are inferred.
///
/// # Errors
/// Those of the kernel, with the op's name in front.
pub fn run(op: &Op, inputs: &[&Array], metas: &[Meta], outs: &Metas) -> Result<Outs<Array>> {
    match op.lower(metas) {
        Lowering::View(view) => {
            let x = inputs.first().ok_or_else(|| Error::shape("a view needs an input"))?;
            Ok(std::iter::once(x.view(&view)?).collect())
        }
        Lowering::Compose if outs.iter().all(|m| m.device != Device::Meta) => match op.compose(inputs) {
            Some(result) => result.map_err(|e| e.prefix(op.name())),
            None => Err(Error::kernel(format!("{} neither runs nor composes", op.name()))),
        },
        Lowering::Compose => outs.iter().map(|m| Array::uninit(m, Layout::contiguous(m.shape))).collect(),
        Lowering::Kernel(kernel) => {
            let mut arrays: Outs<Array> =
                outs.iter().map(|m| Array::uninit(m, output_layout(&kernel, inputs, m))).collect::<Result<_>>()?;
            if let Some(device) = outs.first().map(|m| m.device).filter(|&d| d != Device::Meta) {
                backend(device)?.run(&kernel, inputs, &mut arrays).map_err(|e| e.prefix(op.name()))?;
            }
            Ok(arrays)
        }
    }
}

/// Elementwise kernels keep the memory order of their inputs; convolution and pooling work channels-last.
fn output_layout(kernel: &Kernel, inputs: &[&Array], out: &Meta) -> Layout {
    let order = match kernel {
        Kernel::Map(_) => {
            let full = inputs.iter().filter(|x| *x.shape() == out.shape && !x.layout().is_contiguous());
            full.filter_map(|x| x.layout().dense_order()).next()
        }
        Kernel::Conv(ConvPass::Forward | ConvPass::Input, _) | Kernel::Pool(..) => Some(Dims::from([0, 2, 3, 1])),
        _ => None,
    };
    match order {
        Some(order) if order.len() == out.shape.len() => Layout::dense(out.shape, &order),
        _ => Layout::contiguous(out.shape),
    }
}
