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
    kernel: [i32; 2],
    stride: [i32; 2],
    padding: [i32; 2],
    dilation: [i32; 2],
    wide: [i32; 2],
    narrow: [i32; 2],
    divisor: i32,
    channels: i32,
}

impl Pool {
    /// Of an input and an output, dilated or not.
    fn new(pool: &Pool2d, wide: &Array, narrow: &Array, dilation: [usize; 2], divisor: Divisor) -> Result<Self> {
        let plane = |x: &Array| match x.shape()[..] {
            [_, _, h, w] => pair([h, w]),
            _ => Err(Error::shape(format!("pooling needs four dimensions, not {:?}", x.shape()))),
        };
        let (wide_plane, narrow_plane) = (plane(wide)?, plane(narrow)?);
        Ok(Self {
            kernel: pair(pool.kernel)?,
            stride: pair(pool.stride)?,
            padding: pair(pool.padding)?,
            dilation: pair(dilation)?,
            wide: wide_plane,
            narrow: narrow_plane,
            divisor: match divisor {
                Divisor::Padded => 0,
                Divisor::Inside => -1,
                Divisor::Fixed(n) => pair([n, n])?[0],
            },
            channels: pair([wide.shape()[1], 0])?[0],
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

/// Sizes as kernels count them; what they add to them fits too.
fn pair(sizes: [usize; 2]) -> Result<[i32; 2]> {
    let fits = |n: usize| {
        let small = i32::try_from(n).ok().filter(|n| *n < 1 << 29);
        small.ok_or_else(|| Error::unavailable(format!("pooling counts sizes up to 2^29, not {n}")))
    };
    Ok([fits(sizes[0])?, fits(sizes[1])?])
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
    let plain = |wide, narrow| Pool::new(pool, wide, narrow, pool.dilation, Divisor::Padded);
    match (pass, x, y) {
        (PoolPass::Max, [x], [y, index]) => max(gpu, &plain(x, y)?, x, y, index),
        (PoolPass::MaxInput, [dy, index], [dx]) => back(gpu, &plain(dx, dy)?, dy, index, dx),
        (PoolPass::MaxGather, [x, index], [y]) => pick(gpu, &plain(x, y)?, x, index, y),
        (PoolPass::Mean(divisor), [x], [y]) if dtype.is_float() => {
            mean(gpu, "pool_mean", &Pool::new(pool, x, y, [1, 1], divisor)?, x, y)
        }
        (PoolPass::MeanInput(divisor), [dy], [dx]) if dtype.is_float() => {
            mean(gpu, "pool_mean_back", &Pool::new(pool, dx, dy, [1, 1], divisor)?, dy, dx)
        }
        _ => Err(Error::kernel("pooling got the wrong number of operands")),
    }
}

/// The kernel that makes an output.
fn kernel_for(gpu: &Gpu, pass: &'static str, entry: &'static str, y: &Array) -> Result<Function> {
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
        ("PASS", pass),
        ("LOWEST", lowest),
    ];
    gpu.kernel(POOL, entry, &defines)
}

fn max(gpu: &Gpu, pool: &Pool, x: &Array, y: &Array, index: &Array) -> Result<()> {
    let (kernel, n) = (kernel_for(gpu, "MAX", "pool_max", y)?, y.shape().numel());
    let (from, to, found) = (address(x), address(y), address(index));
    gpu.launch(
        kernel,
        gpu.spread(n, THREADS),
        args![from, to, found, *pool, steps(x), steps(y), steps(index), n as i64],
    )
}

fn pick(gpu: &Gpu, pool: &Pool, x: &Array, index: &Array, y: &Array) -> Result<()> {
    let (kernel, n) = (kernel_for(gpu, "PICK", "pool_pick", y)?, y.shape().numel());
    let (from, found, to) = (address(x), address(index), address(y));
    gpu.launch(
        kernel,
        gpu.spread(n, THREADS),
        args![from, found, to, *pool, steps(x), steps(index), steps(y), n as i64, gpu.fault()],
    )
}

fn back(gpu: &Gpu, pool: &Pool, dy: &Array, index: &Array, dx: &Array) -> Result<()> {
    let n = dx.shape().numel();
    let strays = gpu.scratch(size_of::<u32>())?;
    // A window without taps has an index all the same, which no place of the input finds.
    gpu.driver.fill(strays.address, u8::from(pool.has_empty()), size_of::<u32>())?;
    let (from, found, to, fault) = (address(dy), address(index), address(dx), gpu.fault());
    let steps = [steps(dy), steps(index), steps(dx)];
    let kernel = kernel_for(gpu, "BACK", "pool_back", dx)?;
    let [s0, s1, s2] = steps;
    gpu.launch(
        kernel,
        gpu.spread(n, THREADS),
        args![from, found, to, *pool, s0, s1, s2, n as i64, strays.address, fault],
    )?;
    let kernel = kernel_for(gpu, "BACK", "pool_strays", dx)?;
    let planes = if n == 0 { 0 } else { dx.shape()[0] * dx.shape()[1] };
    gpu.launch(
        kernel,
        gpu.spread(planes, THREADS),
        args![from, found, to, *pool, s0, s1, s2, planes as i64, strays.address, fault],
    )
}

fn mean(gpu: &Gpu, entry: &'static str, pool: &Pool, from: &Array, to: &Array) -> Result<()> {
    let (kernel, n) = (kernel_for(gpu, "MEAN", entry, to)?, to.shape().numel());
    gpu.launch(
        kernel,
        gpu.spread(n, THREADS),
        args![address(from), address(to), *pool, steps(from), steps(to), n as i64],
    )
}
