//! Pooling of windows.

use bytemuck::{Pod, Zeroable};
use esker_kernels::POOL;
use esker_ops::kernel::{Divisor, Pool2d};
use esker_ops::{Array, PoolPass};
use esker_tensor::{DType, Error, Result};

use crate::dense::counter;
use crate::driver::Function;
use crate::gpu::{Gpu, address, args, name_of};

/// Threads of a block.
const THREADS: u32 = 256;

/// As `Pool` in `pool.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Pool {
    kernel: [i64; 2],
    stride: [i64; 2],
    padding: [i64; 2],
    dilation: [i64; 2],
    wide: [i64; 2],
    narrow: [i64; 2],
    divisor: i64,
}

impl Pool {
    /// Of an input and an output, dilated or not.
    fn new(pool: &Pool2d, wide: &Array, narrow: &Array, dilation: [usize; 2], divisor: i64) -> Result<Self> {
        let plane = |x: &Array| match x.shape()[..] {
            [_, _, h, w] => Ok([h as i64, w as i64]),
            _ => Err(Error::shape(format!("pooling needs four dimensions, not {:?}", x.shape()))),
        };
        let pair = |p: [usize; 2]| p.map(|v| v as i64);
        Ok(Self {
            kernel: pair(pool.kernel),
            stride: pair(pool.stride),
            padding: pair(pool.padding),
            dilation: pair(dilation),
            wide: plane(wide)?,
            narrow: plane(narrow)?,
            divisor,
        })
    }

    /// Whether some window has no tap inside the input.
    fn has_empty(&self) -> bool {
        let empty = |axis: usize| {
            (0..self.narrow[axis]).any(|out| {
                let start = out * self.stride[axis] - self.padding[axis];
                !(0..self.kernel[axis]).any(|tap| (0..self.wide[axis]).contains(&(start + tap * self.dilation[axis])))
            })
        };
        empty(0) || empty(1)
    }
}

/// Strides of the four dimensions.
fn steps(x: &Array) -> [i64; 4] {
    let mut steps = [0; 4];
    steps.iter_mut().zip(x.layout().strides().iter()).for_each(|(to, &from)| *to = from as i64);
    steps
}

/// Runs a pooling pass.
pub(crate) fn run(gpu: &Gpu, pass: PoolPass, pool: &Pool2d, x: &[&Array], y: &mut [Array]) -> Result<()> {
    let Some(dtype) = x.first().map(|x| x.dtype()) else {
        return Err(Error::kernel("pooling got no operands"));
    };
    if dtype == DType::Bool {
        return Err(Error::unavailable(format!("pooling of {dtype:?} has no kernel; cast it to a float first")));
    }
    let parts = |divisor: Divisor| match divisor {
        Divisor::Padded => 0,
        Divisor::Inside => -1,
        Divisor::Fixed(n) => n as i64,
    };
    match (pass, x, y) {
        (PoolPass::Max, [x], [y, index]) => max(gpu, &Pool::new(pool, x, y, pool.dilation, 0)?, x, y, index),
        (PoolPass::MaxInput, [dy, index], [dx]) => {
            back(gpu, &Pool::new(pool, dx, dy, pool.dilation, 0)?, dy, index, dx)
        }
        (PoolPass::MaxGather, [x, index], [y]) => pick(gpu, &Pool::new(pool, x, y, pool.dilation, 0)?, x, index, y),
        (PoolPass::Mean(divisor), [x], [y]) if dtype.is_float() => {
            mean(gpu, "pool_mean", &Pool::new(pool, x, y, [1, 1], parts(divisor))?, x, y)
        }
        (PoolPass::MeanInput(divisor), [dy], [dx]) if dtype.is_float() => {
            mean(gpu, "pool_mean_back", &Pool::new(pool, dx, dy, [1, 1], parts(divisor))?, dy, dx)
        }
        _ => Err(Error::kernel("pooling got the wrong number of operands")),
    }
}

/// The kernel that makes an output.
fn kernel_for(gpu: &Gpu, entry: &'static str, y: &Array) -> Result<Function> {
    let dtype = y.dtype();
    let lowest = match dtype {
        DType::Bool | DType::U8 => "0",
        DType::I8 => "-128",
        DType::I16 => "-32768",
        DType::I32 => "-2147483647 - 1",
        DType::I64 => "-9223372036854775807ll - 1",
        DType::F16 | DType::BF16 | DType::F32 => "__uint_as_float(0xff800000u)",
        DType::F64 => "__longlong_as_double(0xfff0000000000000ll)",
    };
    let last = y.layout().strides().get(1) == Some(&1) && y.shape()[1] > 1;
    let defines = [
        ("X", name_of(dtype)),
        ("I", counter(y.shape().numel())),
        ("CHANNELS_LAST", if last { "1" } else { "0" }),
        ("MEANS", if dtype.is_float() { "1" } else { "0" }),
        ("LOWEST", lowest),
    ];
    gpu.kernel(POOL, entry, &defines)
}

/// Channels and number of elements.
fn counts(y: &Array) -> [i64; 2] {
    [y.shape()[1] as i64, y.shape().numel() as i64]
}

fn max(gpu: &Gpu, pool: &Pool, x: &Array, y: &Array, index: &Array) -> Result<()> {
    let (kernel, [channels, n]) = (kernel_for(gpu, "pool_max", y)?, counts(y));
    let (from, to, found) = (address(x), address(y), address(index));
    gpu.launch(
        kernel,
        gpu.spread(n as usize, THREADS),
        args![from, to, found, *pool, steps(x), steps(y), steps(index), channels, n],
    )
}

fn pick(gpu: &Gpu, pool: &Pool, x: &Array, index: &Array, y: &Array) -> Result<()> {
    let (kernel, [channels, n]) = (kernel_for(gpu, "pool_pick", y)?, counts(y));
    let (from, found, to) = (address(x), address(index), address(y));
    gpu.launch(
        kernel,
        gpu.spread(n as usize, THREADS),
        args![from, found, to, *pool, steps(x), steps(index), steps(y), channels, n, gpu.fault()],
    )
}

fn back(gpu: &Gpu, pool: &Pool, dy: &Array, index: &Array, dx: &Array) -> Result<()> {
    let [channels, n] = counts(dx);
    let strays = gpu.scratch(size_of::<u32>())?;
    // A window without taps has an index all the same, which no place of the input finds.
    gpu.driver.fill(strays.address, u8::from(pool.has_empty()), size_of::<u32>())?;
    let (from, found, to, fault) = (address(dy), address(index), address(dx), gpu.fault());
    let steps = [steps(dy), steps(index), steps(dx)];
    let kernel = kernel_for(gpu, "pool_back", dx)?;
    let [s0, s1, s2] = steps;
    gpu.launch(
        kernel,
        gpu.spread(n as usize, THREADS),
        args![from, found, to, *pool, s0, s1, s2, channels, n, strays.address, fault],
    )?;
    let kernel = kernel_for(gpu, "pool_strays", dx)?;
    let planes = if n == 0 { 0 } else { dx.shape()[0] * dx.shape()[1] };
    gpu.launch(
        kernel,
        gpu.spread(planes, THREADS),
        args![from, found, to, *pool, s0, s1, s2, channels, planes as i64, strays.address, fault],
    )
}

fn mean(gpu: &Gpu, entry: &'static str, pool: &Pool, from: &Array, to: &Array) -> Result<()> {
    let (kernel, [channels, n]) = (kernel_for(gpu, entry, to)?, counts(to));
    gpu.launch(
        kernel,
        gpu.spread(n as usize, THREADS),
        args![address(from), address(to), *pool, steps(from), steps(to), channels, n],
    )
}
