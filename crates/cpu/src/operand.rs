//! What the kernel families share: operands in the memory order they want, scratch memory, pointers for tasks.

use std::ops::Range;

use esker_ops::{Array, Kernel, backend};
use esker_tensor::{DType, Device, Dims, Error, Layout, Result, Shape, Storage};

use crate::threads;

/// A pointer that tasks share; each writes its own part, which the code that makes it argues.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

// SAFETY: the pointer is only a number; the unsafe code that follows it vouches for disjoint writes.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// A pointer for writing.
    pub(crate) fn new(p: *mut T) -> Self {
        Self(p)
    }

    /// A pointer that is only read.
    pub(crate) fn read(p: *const T) -> Self {
        Self(p.cast_mut())
    }

    /// The pointer. A method, so that closures capture the whole wrapper.
    #[inline(always)]
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }

    /// The pointer `i` elements on.
    #[inline(always)]
    pub(crate) fn at(&self, i: usize) -> *mut T {
        self.0.wrapping_add(i)
    }
}

/// The address of an input's first element.
pub(crate) fn source<T>(x: &Array) -> Shared<T> {
    Shared::read(x.as_ptr().cast())
}

/// The address of an output's first element.
///
/// # Errors
/// `Kernel` when the output is shared, which outputs never are.
pub(crate) fn target<T>(y: &mut Array) -> Result<Shared<T>> {
    let p = y.as_mut_ptr().ok_or_else(|| Error::kernel("an output shares its memory with another array"))?;
    Ok(Shared::new(p.cast()))
}

/// Copies with conversion of dtype and layout.
///
/// # Errors
/// Those of the copy kernel.
pub(crate) fn copy(x: &Array, y: &mut Array) -> Result<()> {
    let mut out = [std::mem::replace(y, placeholder()?)];
    let result = backend(Device::Cpu)?.run(&Kernel::Copy, &[x], &mut out);
    let [out] = out;
    *y = out;
    result
}

/// The array in `dtype`, keeping a dense memory order; itself when it has that dtype.
///
/// # Errors
/// Those of the copy kernel.
pub(crate) fn cast(x: &Array, dtype: DType) -> Result<Array> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    let layout = match x.layout().dense_order() {
        Some(order) => Layout::dense(*x.shape(), &order),
        None => Layout::contiguous(*x.shape()),
    };
    let mut out = uninit(dtype, layout)?;
    copy(x, &mut out)?;
    Ok(out)
}

/// The array lying densely with its dimensions in `order`, outermost first; itself when it lies so.
///
/// # Errors
/// Those of the copy kernel.
pub(crate) fn in_order(x: &Array, order: &Dims) -> Result<Array> {
    if x.layout().permute(order).is_contiguous() {
        return Ok(x.clone());
    }
    let mut out = uninit(x.dtype(), Layout::dense(*x.shape(), order))?;
    copy(x, &mut out)?;
    Ok(out)
}

/// The channels-last order of four dimensions.
pub(crate) fn channels_last() -> Dims {
    Dims::from([0, 2, 3, 1])
}

/// A CPU array with arbitrary contents.
///
/// # Errors
/// `OutOfMemory`.
pub(crate) fn uninit(dtype: DType, layout: Layout) -> Result<Array> {
    let bytes = layout.shape().checked_numel()?.checked_mul(dtype.size());
    let bytes = bytes.ok_or_else(|| Error::shape(format!("{:?} does not fit an address space", layout.shape())))?;
    Array::new(dtype, Device::Cpu, layout, Storage::alloc(bytes)?)
}

/// Runs `f` on an output that lies densely in `order`, and copies to `y` where that lies otherwise.
///
/// # Errors
/// Those of `f` and of the copy.
pub(crate) fn with_order(y: &mut Array, order: &Dims, f: impl FnOnce(&mut Array) -> Result<()>) -> Result<()> {
    if y.layout().permute(order).is_contiguous() {
        return f(y);
    }
    let mut dense = uninit(y.dtype(), Layout::dense(*y.shape(), order))?;
    f(&mut dense)?;
    copy(&dense, y)
}

/// Whether the dtype is stored as half and computed in f32.
pub(crate) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Runs `f` with half operands as f32: inputs converted before, outputs after.
///
/// # Errors
/// Those of `f` and of the conversions.
pub(crate) fn through_f32(
    inputs: &[&Array],
    outputs: &mut [Array],
    f: impl FnOnce(&[&Array], &mut [Array]) -> Result<()>,
) -> Result<()> {
    let wide = |d: DType| if is_half(d) { DType::F32 } else { d };
    let converted: Vec<Array> = inputs.iter().map(|x| cast(x, wide(x.dtype()))).collect::<Result<_>>()?;
    let converted: Vec<&Array> = converted.iter().collect();
    let mut temporary = Vec::with_capacity(outputs.len());
    for y in outputs.iter_mut() {
        temporary.push(match is_half(y.dtype()) {
            true => uninit(DType::F32, Layout::new(*y.shape(), *y.layout().strides(), 0))?,
            false => std::mem::replace(y, placeholder()?),
        });
    }
    let result = f(&converted, &mut temporary);
    for (y, t) in outputs.iter_mut().zip(temporary) {
        if is_half(y.dtype()) {
            copy(&t, y)?;
        } else {
            *y = t;
        }
    }
    result
}

/// What stands in an output's place while it is elsewhere.
fn placeholder() -> Result<Array> {
    Array::new(DType::U8, Device::Cpu, Layout::contiguous(Shape::from([0])), Storage::meta())
}

/// The product of the sizes before `dim`, the size at `dim`, and the product of the sizes behind it; a scalar counts as
/// one dimension of size 1.
pub(crate) fn split_at(shape: &Shape, dim: usize) -> [usize; 3] {
    let size = shape.get(dim).copied().unwrap_or(1);
    let product = |s: &[usize]| s.iter().product::<usize>();
    [product(&shape[..dim.min(shape.len())]), size, product(shape.get(dim + 1..).unwrap_or(&[]))]
}

/// The elements of a contiguous array.
pub(crate) fn slice<T: bytemuck::Pod>(x: &Array) -> &[T] {
    let start = x.layout().offset();
    let all: &[T] = bytemuck::cast_slice(x.storage().bytes());
    all.get(start..start + x.shape().numel()).unwrap_or(&[])
}

/// An i64 array, contiguous.
///
/// # Errors
/// `DType` when it holds something else; those of the copy.
pub(crate) fn index_array(index: &Array) -> Result<Array> {
    if index.dtype() != DType::I64 {
        return Err(Error::dtype(format!("an index must be int64, not {}", index.dtype())));
    }
    index.contiguous()
}

/// How many items of `cost` elements each make a task worth its hand-over.
pub(crate) fn grain(cost: usize) -> usize {
    (32_768 / cost.max(1)).max(1)
}

/// Splits `n` items of `cost` elements each over the threads.
pub(crate) fn parallel(n: usize, cost: usize, f: &(dyn Fn(Range<usize>) + Sync)) {
    threads::parallel_for(n, grain(cost), f);
}
