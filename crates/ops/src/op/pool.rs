//! Pooling over one or two dimensions, in terms of the pooling of planes.

use esker_tensor::{Error, Result};

use super::conv::{batched, unbatched};
use super::function;
use crate::kernel::Pool2d as Window;
use crate::{Divisor, Ints, Onnx, OnnxCx, Ops, Opt, Value};

/// The window of `N` dimensions; a single one is the width. Without a stride it steps by its own size.
fn window<const N: usize>(
    kernel: &Ints,
    stride: &Opt<Ints>,
    padding: &Ints,
    dilation: &Ints,
    ceil: bool,
) -> Result<Window> {
    let kernel = kernel.each::<N>("kernel_size", 1)?;
    let stride = match stride.as_ref() {
        Some(stride) if !stride.get().is_empty() => stride.each("stride", 1)?,
        _ => kernel,
    };
    let last = |v: [usize; N], one: usize| [if N < 2 { one } else { v[0] }, v[N - 1]];
    Ok(Window {
        kernel: last(kernel, 1),
        stride: last(stride, 1),
        padding: last(padding.each("padding", 0)?, 0),
        dilation: last(dilation.each("dilation", 1)?, 1),
        ceil,
    })
}

/// Planes of `x` (lines are planes of height 1) put through `f`, whose results get back the form of `x`.
pub(super) fn over_planes<V: Value>(x: &V, spatial: usize, f: impl FnOnce(&V) -> Result<Vec<V>>) -> Result<Vec<V>> {
    let (x, had_batch) = batched(x, spatial)?;
    let x = match x.meta().shape[..] {
        [n, c, l] => x.reshape([n, c, 1, l])?,
        _ => x,
    };
    let back = |y: V| match y.meta().shape[..] {
        [n, c, 1, l] if spatial == 1 => unbatched(y.reshape([n, c, l])?, had_batch),
        _ => unbatched(y, had_batch),
    };
    f(&x)?.into_iter().map(back).collect()
}

/// The node of a pooling of the last `spatial` dimensions, for inputs with a batch.
fn with_batch(cx: &OnnxCx<'_>, spatial: usize, node: impl FnOnce() -> Option<Onnx>) -> Option<Onnx> {
    (cx.x[0].shape.len() == spatial + 2).then(node).flatten()
}

macro_rules! max_pools {
    ($($Name:ident $WithIndices:ident $n:literal;)*) => {$(
        function! { $Name |op, x| {
            let pool = window::<$n>(&op.kernel_size, &op.stride, &op.padding, &op.dilation, op.ceil_mode)?;
            over_planes(x, $n, |x| Ok(vec![x.max_pool(pool)?.0]))?
        }, onnx |op, cx| {
            let pool = window::<$n>(&op.kernel_size, &op.stride, &op.padding, &op.dilation, op.ceil_mode).ok()?;
            with_batch(cx, $n, || Some(pool.max_nodes($n, cx, None)))
        } }

        function! { $WithIndices |op, x| {
            let pool = window::<$n>(&op.kernel_size, &op.stride, &op.padding, &op.dilation, op.ceil_mode)?;
            over_planes(x, $n, |x| x.max_pool(pool).map(|(y, index)| vec![y, index]))?
        } }
    )*};
}

max_pools! { MaxPool1d MaxPool1dWithIndices 1; MaxPool2d MaxPool2dWithIndices 2; }

/// What `divisor_override` and `count_include_pad` ask for.
fn divisor(fixed: Option<i64>, include: bool) -> Result<Divisor> {
    match fixed.map(usize::try_from) {
        None => Ok(if include { Divisor::Padded } else { Divisor::Inside }),
        Some(Ok(n)) if n > 0 => Ok(Divisor::Fixed(n)),
        Some(_) => Err(Error::shape(format!("divisor_override must be positive, got {}", fixed.unwrap_or(0)))),
    }
}

macro_rules! avg_pools {
    ($($Name:ident $n:literal $fixed:expr;)*) => {$(
        function! { $Name |op, x| {
            let pool = window::<$n>(&op.kernel_size, &op.stride, &op.padding, &1.into(), op.ceil_mode)?;
            let fixed: fn(&Self) -> Option<i64> = $fixed;
            let divisor = divisor(fixed(op), op.count_include_pad)?;
            over_planes(x, $n, |x| Ok(vec![x.mean_pool(pool, divisor)?]))?
        }, onnx |op, cx| {
            let pool = window::<$n>(&op.kernel_size, &op.stride, &op.padding, &1.into(), op.ceil_mode).ok()?;
            let fixed: fn(&Self) -> Option<i64> = $fixed;
            let divisor = divisor(fixed(op), op.count_include_pad).ok()?;
            with_batch(cx, $n, || match super::mean_pool::nodes(&pool, divisor, $n, cx) {
                Onnx::Compose => None,
                nodes => Some(nodes),
            })
        } }
    )*};
}

avg_pools! { AvgPool1d 1 |_| None; AvgPool2d 2 |op| op.divisor_override.get(); }

#[cfg(feature = "spec")]
mod spec;
