//! Operands in the memory order that a kernel wants, and elements as units that move at once.

use esker_ops::Array;
use esker_tensor::{DType, Dims, Error, Layout, Result};

use crate::copy;
use crate::gpu::{Gpu, address};

/// The bytes of the largest unit that moves at once.
const WIDEST: usize = 16;

/// The channels-last order of four dimensions.
pub(crate) fn channels_last() -> Dims {
    Dims::from([0, 2, 3, 1])
}

/// The row-major order.
pub(crate) fn row_major(rank: usize) -> Dims {
    (0..rank as u8).collect()
}

/// The array lying densely with its dimensions in `order`, outermost first; itself when it lies so.
pub(crate) fn in_order(gpu: &Gpu, x: &Array, order: &Dims) -> Result<Array> {
    if x.layout().permute(order).is_contiguous() {
        return Ok(x.clone());
    }
    let mut out = Array::uninit(&x.meta(), Layout::dense(*x.shape(), order))?;
    copy::run(gpu, x, &mut out)?;
    Ok(out)
}

/// The array in another dtype, row-major; itself when it is so.
pub(crate) fn cast(gpu: &Gpu, x: &Array, dtype: DType) -> Result<Array> {
    if x.dtype() == dtype {
        return x.contiguous();
    }
    let mut out = Array::uninit(&x.meta().with_dtype(dtype), Layout::contiguous(*x.shape()))?;
    copy::run(gpu, x, &mut out)?;
    Ok(out)
}

/// Runs `f` on an output that lies densely in `order`, and copies to `y` where that lies otherwise.
pub(crate) fn with_order(
    gpu: &Gpu,
    y: &mut Array,
    order: &Dims,
    f: impl FnOnce(&mut Array) -> Result<()>,
) -> Result<()> {
    if y.layout().permute(order).is_contiguous() {
        return f(y);
    }
    let mut dense = Array::uninit(&y.meta(), Layout::dense(*y.shape(), order))?;
    f(&mut dense)?;
    copy::run(gpu, &dense, y)
}

/// An i64 array, row-major.
pub(crate) fn index_array(index: &Array) -> Result<Array> {
    if index.dtype() != DType::I64 {
        return Err(Error::dtype(format!("an index must be int64, not {}", index.dtype())));
    }
    index.contiguous()
}

/// The widest power of two, up to 16, that divides all of these numbers of bytes and addresses.
pub(crate) fn unit_of(numbers: &[usize]) -> usize {
    let all = numbers.iter().fold(WIDEST, |all, n| all | n);
    1 << all.trailing_zeros()
}

/// The unsigned type of so many bytes, in kernels; `Quad` for sixteen.
pub(crate) fn unit_name(bytes: usize) -> &'static str {
    match bytes {
        1 => "u8",
        2 => "u16",
        4 => "u32",
        8 => "u64",
        _ => "Quad",
    }
}

/// How many elements of the array move at once, where rows of `inner` elements do, in `others` too.
pub(crate) fn pack_of(x: &Array, inner: usize, others: &[usize]) -> usize {
    let size = x.dtype().size();
    (unit_of(&[others, &[inner * size, address(x)]].concat()) / size).max(1)
}

/// A small power of two, in kernels.
pub(crate) fn number(n: usize) -> &'static str {
    match n {
        1 => "1",
        2 => "2",
        4 => "4",
        8 => "8",
        _ => "16",
    }
}

/// The type that counts up to `n`, in kernels.
pub(crate) fn counter(n: usize) -> &'static str {
    // A thread's last step may lead beyond the end by as much as there are threads.
    if n < 1 << 31 { "u32" } else { "i64" }
}
