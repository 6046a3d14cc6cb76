//! Running an op on arrays: promote, infer, lower, allocate, run. No tape.

use std::borrow::Cow;

use esker_tensor::{DType, Device, Dims, Error, Layout, Result, Shape};
use smallvec::{SmallVec, smallvec};

use crate::{
    Array, ConvPass, Form, Kernel, Lowering, Map, MapGrad, Meta, Metas, Op, Outs, Promote, Random, Value, backend,
};

impl Value for Array {
    fn meta(&self) -> Meta {
        Array::meta(self)
    }

    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>> {
        if let Op::Call(call) = &op {
            return call.run(inputs);
        }
        if let Some(y) = run_alike(&op, inputs) {
            return Ok(smallvec![y?]);
        }
        let mut metas = metas_of(inputs);
        if let Some(cast) = promoted(&op, inputs, &mut metas)? {
            return Self::apply(op, &cast.iter().collect::<SmallVec<[&Self; 4]>>());
        }
        run(&op, inputs, &metas, &infer(&op, &metas)?)
    }

    fn values(&self) -> Result<&Array> {
        if self.device() == Device::Meta { Err(crate::value::no_values()) } else { Ok(self) }
    }

    fn of_values(values: Array, device: Device) -> Result<Self> {
        match device {
            Device::Cpu | Device::Meta => Ok(values),
            device if device == values.device() => Ok(values),
            device => {
                let values = values.contiguous()?;
                let mut storage = backend(device)?.alloc(values.storage().len())?;
                backend(device)?.write(values.storage().bytes(), &mut storage)?;
                Array::new(values.dtype(), device, *values.layout(), storage)
            }
        }
    }

    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self> {
        match device {
            Device::Cpu | Device::Meta => Self::of_values(Array::scalar(value, dtype)?, device),
            device => {
                // A fill is queued; bytes would have to be copied there.
                let meta = Meta::new(dtype, Shape::empty(), device);
                let mut y = [Array::uninit(&meta, Layout::contiguous(meta.shape))?];
                backend(device)?.run(&Kernel::Random(Random::Fill(value.into())), &[], &mut y)?;
                let [y] = y;
                Ok(y)
            }
        }
    }
}

/// The metas of an op's inputs; inline for the usual few.
pub type InputMetas = SmallVec<[Meta; 3]>;

/// What is known of the inputs.
#[inline]
pub fn metas_of<V: Value>(inputs: &[&V]) -> InputMetas {
    let mut metas = InputMetas::new();
    for x in inputs {
        metas.push(x.meta());
    }
    metas
}

/// The inputs with those cast (in a way that `V` sees) whose dtype the op promotes; `metas` are then of the results.
/// `None`, as nearly always, when all are as they must be.
///
/// # Errors
/// The cast's own.
#[inline]
pub fn promoted<V: Value>(op: &Op, inputs: &[&V], metas: &mut [Meta]) -> Result<Option<SmallVec<[V; 3]>>> {
    let Some((from, dtype)) = common_dtype(op.promote(), metas) else { return Ok(None) };
    if metas.iter().skip(from).all(|m| m.dtype == dtype) {
        return Ok(None);
    }
    let mut values: SmallVec<[V; 3]> = inputs.iter().map(|x| (*x).clone()).collect();
    for (value, meta) in values.iter_mut().zip(metas).skip(from).filter(|(_, m)| m.dtype != dtype) {
        *value = V::apply(crate::op::Cast { dtype }.into(), &[value])?.swap_remove(0);
        meta.dtype = dtype;
    }
    Ok(Some(values))
}

/// The metas of an op's outputs.
///
/// # Errors
/// The op's own, with its name in front.
#[inline]
pub fn infer(op: &Op, metas: &[Meta]) -> Result<Metas> {
    op.infer(metas).map_err(|e| e.prefix(op.name()))
}

/// Inputs after promotion, their metas, and the metas of the outputs.
pub type Prepared<'a, V> = (SmallVec<[Cow<'a, V>; 4]>, InputMetas, Metas);

/// Promotes the dtypes of `inputs` as the op says and infers the outputs: [`promoted`] and [`infer`] for those that are
/// in no hurry.
///
/// # Errors
/// The op's own, with its name in front.
pub fn prepare<'a, V: Value>(op: &Op, inputs: &[&'a V]) -> Result<Prepared<'a, V>> {
    let mut metas = metas_of(inputs);
    let values = match promoted(op, inputs, &mut metas)? {
        Some(cast) => cast.into_iter().map(Cow::Owned).collect(),
        None => inputs.iter().map(|x| Cow::Borrowed(*x)).collect(),
    };
    let outs = infer(op, &metas)?;
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

/// Runs an elementwise op on floats that lie alike, or are a scalar of their dtype (spread over their shape or not): what
/// [`promoted`], [`infer`] and [`run`] give, without them, since on small arrays they take longer than the kernel. `None`
/// where the operands differ.
///
/// # Errors
/// Those of the kernel, with the op's name in front.
#[inline]
pub fn run_alike<X: AsRef<Array>>(op: &Op, inputs: &[&X]) -> Option<Result<Array>> {
    let (map, arity) = match op {
        Op::Map(op) => (Map::Value(*op), op.info().arity),
        Op::MapGrad(MapGrad { op, wrt }) if usize::from(*wrt) < op.info().arity => {
            (Map::Grad { op: *op, wrt: *wrt }, op.info().arity + 1)
        }
        _ => return None,
    };
    if inputs.len() != arity || arity == 0 || arity > 4 {
        return None;
    }
    let arrays: [&Array; 4] = std::array::from_fn(|i| inputs[i.min(arity - 1)].as_ref());
    let arrays = &arrays[..arity];
    run_arrays(op, map, arrays)
}

/// [`run_alike`] of operands in the number that the kernel takes.
fn run_arrays(op: &Op, map: Map, inputs: &[&Array]) -> Option<Result<Array>> {
    let full = inputs.iter().find(|x| !x.shape().is_empty() && x.layout().is_fresh()).or(inputs.first())?;
    let one =
        |x: &Array| x.is_of(full) && (x.shape().is_empty() || x.shape() == full.shape()) && x.layout().is_one_element();
    if !full.dtype().is_float() || !full.layout().is_fresh() || !inputs.iter().all(|x| x.lies_like(full) || one(x)) {
        return None;
    }
    let mut y = match full.uninit_like() {
        Some(Ok(y)) => y,
        other => return other,
    };
    let done = backend(y.device()).and_then(|b| b.run(&Kernel::Map(map), inputs, std::slice::from_mut(&mut y)));
    Some(done.map(|()| y).map_err(|e| e.prefix(op.name())))
}

/// Runs an op whose inputs are promoted and whose outputs are inferred.
///
/// # Errors
/// Those of the kernel, with the op's name in front.
pub fn run(op: &Op, inputs: &[&Array], metas: &[Meta], outs: &Metas) -> Result<Outs<Array>> {
    run_lowered(op, op.lower(metas), inputs, outs)
}

/// As [`run`], in the way that [`Op::lower`] gave.
///
/// # Errors
/// As [`run`].
pub fn run_lowered(op: &Op, lowering: Lowering, inputs: &[&Array], outs: &Metas) -> Result<Outs<Array>> {
    match lowering {
        Lowering::View(view) => {
            let x = inputs.first().ok_or_else(|| Error::shape("a view needs an input"))?;
            Ok(std::iter::once(x.view(&view)?).collect())
        }
        Lowering::Compose if outs.iter().all(|m| m.device != Device::Meta) => match op.compose(inputs) {
            Some(result) => result.map_err(|e| e.prefix(op.name())),
            None => Err(Error::kernel(format!("{} neither runs nor composes", op.name()))),
        },
        Lowering::Compose => outs.iter().map(|m| Array::uninit_as(m, Form::contiguous(m))).collect(),
        Lowering::Kernel(kernel) => {
            let mut arrays = Outs::new();
            for out in outs {
                arrays.push(Array::uninit_as(out, output_form(&kernel, inputs, out))?);
            }
            if let Some(device) = outs.first().map(|m| m.device).filter(|&d| d != Device::Meta) {
                backend(device)?.run(&kernel, inputs, &mut arrays).map_err(|e| e.prefix(op.name()))?;
            }
            Ok(arrays)
        }
    }
}

/// Convolution and pooling work channels-last; elementwise kernels and normalisation keep the memory order of their inputs.
fn output_form(kernel: &Kernel, inputs: &[&Array], out: &Meta) -> Form {
    match kernel {
        Kernel::Map(_) | Kernel::Norm { .. } => form_of_inputs(inputs, out),
        Kernel::Conv(ConvPass::Forward | ConvPass::Input, _) | Kernel::Pool(..) if out.shape.len() == 4 => {
            Form::lying(out, Layout::dense(out.shape, &Dims::from([0, 2, 3, 1])))
        }
        _ => Form::contiguous(out),
    }
}

/// The memory order of the inputs of this shape, and their form itself where it can be shared.
fn form_of_inputs(inputs: &[&Array], out: &Meta) -> Form {
    let mut full = inputs.iter().filter(|x| *x.shape() == out.shape);
    if let Some(order) = full.clone().filter(|x| !x.layout().is_contiguous()).find_map(|x| x.layout().dense_order()) {
        return Form::lying(out, Layout::dense(out.shape, &order));
    }
    let alike = |x: &&&Array| x.dtype() == out.dtype && x.device() == out.device && x.layout().is_fresh();
    full.find(alike).map_or_else(|| Form::contiguous(out), |x| x.form().clone())
}
