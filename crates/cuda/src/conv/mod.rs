//! Convolution and its gradients, as products of windows on channels-last memory.
//!
//! With stride `s` the gradient by the input splits into `s x s` phases, pixels of equal remainder, each a convolution of
//! stride 1 with the taps that reach it. The gradient by the weight is summed in slices of pixels whose number depends on
//! the shape alone.

mod columns;
mod pixels;

use bytemuck::{Pod, Zeroable};
use esker_kernels::CONV;
use esker_ops::kernel::Conv2d;
use esker_ops::{Array, ConvPass, View};
use esker_tensor::{DType, Dims, Error, Result, Shape};
use smallvec::SmallVec;

use crate::dense::{channels_last, in_order, number};
use crate::driver::Grid;
use crate::gpu::{Gpu, address, args, name_of};

/// Threads of a block.
const THREADS: u32 = 256;
/// Columns of a tile, as in `conv.cu`.
const WIDE: usize = 64;
/// The depth of a tile, as in `conv.cu`.
const DEPTH: usize = 16;
/// Blocks that keep a device busy; a choice for all devices, so that sums have one order.
const BUSY: usize = 264;
/// Most parts that a product's depth is split into, and the least depth of one.
const PARTS: (usize, usize) = (16, 128);
/// Blocks that the gradient by the weight is split into, where it is large enough.
const BLOCKS: usize = 1024;
/// The least pixels of a slice.
const SLICE: usize = 512;
/// Most blocks in the second and third dimension of a grid.
const MOST: usize = 65_535;

/// As `Windows` in `conv.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Windows {
    size: [i32; 2],
    out: [i32; 2],
    step: [i32; 2],
    base: [i32; 2],
    shift: [i32; 2],
    taps: [i32; 2],
    channels: i32,
    width: i32,
}

/// As `Target` in `conv.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Target {
    strides: [i64; 4],
    step: [i64; 2],
    base: [i64; 2],
}

/// The sizes of a convolution.
struct Geometry {
    conv: Conv2d,
    images: usize,
    /// Height and width of the input.
    size: [usize; 2],
    /// Height and width of the output.
    out: [usize; 2],
    /// Height and width of the window.
    window: [usize; 2],
    /// Channels of an input pixel.
    c: usize,
    /// Channels of an output pixel.
    k: usize,
}

/// Runs a convolution pass.
pub(crate) fn run(gpu: &Gpu, pass: ConvPass, conv: &Conv2d, a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    if !a.dtype().is_float() {
        return Err(Error::unavailable(format!("convolution computes floats, not {}; cast first", a.dtype())));
    }
    if y.shape().numel() == 0 {
        return Ok(());
    }
    let last = channels_last();
    let a = in_order(gpu, a, &last)?;
    let is_pointwise = |w: &Array| w.shape()[2..] == [1, 1] && conv.groups == 1;
    if conv.stride == [1, 1] && conv.padding == [0, 0] && is_pointwise(if pass == ConvPass::Weight { y } else { b }) {
        return pixels::run(gpu, pass, &a, b, y);
    }
    match pass {
        ConvPass::Forward => forward(gpu, &Geometry::new(conv, a.shape(), b.shape(), y.shape())?, &a, b, y),
        ConvPass::Input => input(gpu, &Geometry::new(conv, y.shape(), b.shape(), a.shape())?, &a, b, y),
        ConvPass::Weight => {
            let b = in_order(gpu, b, &last)?;
            weight(gpu, &Geometry::new(conv, a.shape(), y.shape(), b.shape())?, &a, &b, y)
        }
    }
}

/// A size as kernels count it; what they add to it fits too.
fn small(n: usize) -> Result<i32> {
    let fits = i32::try_from(n).ok().filter(|n| *n < 1 << 29);
    fits.ok_or_else(|| Error::unavailable(format!("convolutions count sizes up to 2^29, not {n}")))
}

fn pair([h, w]: [usize; 2]) -> Result<[i32; 2]> {
    Ok([small(h)?, small(w)?])
}

/// A tile's rows over 16: more where `large`, if shared memory has room for them.
fn rows_of(dtype: DType, large: bool) -> usize {
    if large && dtype != DType::F64 { 8 } else { 4 }
}

/// What the kernels are compiled for: whether all rows of channels, and where they begin, are whole groups of four.
fn defines(
    x: &Array,
    others: &[usize],
    widths: [usize; 2],
    rows: usize,
    pass: &'static str,
) -> [(&'static str, &'static str); 4] {
    let all = others.iter().fold(address(x), |all, at| all | at);
    let packed = widths.iter().all(|w| w.is_multiple_of(4)) && all.is_multiple_of(4 * x.dtype().size());
    [("X", name_of(x.dtype())), ("VEC", if packed { "4" } else { "1" }), ("ROWS", number(rows)), ("PASS", pass)]
}

/// Bytes of the type that sums are made in.
fn sum_bytes(dtype: DType) -> usize {
    if dtype == DType::F64 { 8 } else { 4 }
}

fn grid(blocks: [usize; 3]) -> Grid {
    Grid { blocks: blocks.map(|v| u32::try_from(v).unwrap_or(u32::MAX)), threads: THREADS, shared: 0 }
}

fn strides(x: &Array) -> [i64; 4] {
    let mut strides = [0; 4];
    strides.iter_mut().zip(x.layout().strides().iter()).for_each(|(to, &from)| *to = from as i64);
    strides
}

/// The taps along an axis that reach the pixels of one remainder: the first, the distance to the next, how many; and where
/// such a pixel sees the first, and the next from there.
#[derive(Clone, Copy)]
struct Reaching {
    first: usize,
    step: usize,
    count: usize,
    base: i32,
    shift: i32,
}

impl Geometry {
    fn new(conv: &Conv2d, x: &Shape, w: &Shape, y: &Shape) -> Result<Self> {
        match (&x[..], &w[..], &y[..]) {
            (&[images, c, h, width], &[k, _, r, s], &[_, _, oh, ow]) if (1..=MOST).contains(&conv.groups) => {
                Ok(Self { conv: *conv, images, size: [h, width], out: [oh, ow], window: [r, s], c, k })
            }
            _ => Err(Error::shape(format!("{x:?}, {w:?} and {y:?} are no convolution"))),
        }
    }

    /// Input channels of a group.
    fn cg(&self) -> usize {
        self.c / self.conv.groups
    }

    /// Output channels of a group.
    fn kg(&self) -> usize {
        self.k / self.conv.groups
    }

    /// The windows of the forward pass.
    fn windows(&self) -> Result<Windows> {
        Ok(Windows {
            size: pair(self.size)?,
            out: pair(self.out)?,
            step: pair(self.conv.stride)?,
            base: pair(self.conv.padding)?.map(|p| -p),
            shift: pair(self.conv.dilation)?,
            taps: pair(self.window)?,
            channels: small(self.c)?,
            width: small(self.cg())?,
        })
    }

    fn reaching(&self, axis: usize, phase: usize) -> Reaching {
        let (stride, dilation) = (self.conv.stride[axis], self.conv.dilation[axis]);
        let far = |tap: usize| (phase + self.conv.padding[axis]) as i64 - (tap * dilation) as i64;
        let reach: SmallVec<[usize; 8]> =
            (0..self.window[axis]).filter(|&tap| far(tap).rem_euclid(stride as i64) == 0).collect();
        let first = reach.first().copied().unwrap_or(0);
        // Those that reach are evenly spaced.
        let step = reach.get(1).map_or(stride, |second| second - first);
        let count = reach.len();
        let base = far(first).div_euclid(stride as i64) as i32;
        Reaching { first, step, count, base, shift: -((step * dilation / stride) as i32) }
    }

    /// The weights of groups, taps `[group, kg, cg, r, s]`.
    fn grouped(&self, w: &Array) -> Result<Array> {
        let shape = Shape::from([self.conv.groups, self.kg(), self.cg(), self.window[0], self.window[1]]);
        w.view(&View::Reshape(shape))
    }
}

/// Queues the product of windows with weights `[group][tap, in][out]`, `n` channels out of each group.
fn product(
    gpu: &Gpu,
    g: &Geometry,
    (x, windows): (&Array, Windows),
    weights: Option<&Array>,
    (y, to): (&Array, Target),
    n: usize,
) -> Result<()> {
    let pixels = windows.out.iter().map(|v| *v as usize).product::<usize>();
    let (m, groups, width) = (g.images * pixels, g.conv.groups, windows.width as usize);
    let k = windows.taps.iter().map(|t| *t as usize).product::<usize>() * width;
    if let (true, Some(weights)) = (columns::suits_library(g, x, [m, n, k]), weights) {
        return columns::product(gpu, g, (x, windows), weights, (y, to), [m, n, k]);
    }
    let others = n.div_ceil(WIDE) * groups;
    let rows = rows_of(x.dtype(), m.div_ceil(128) * others >= BUSY);
    let tiles = m.div_ceil(16 * rows);
    let wanted = (BUSY / (tiles * others).max(1)).min(PARTS.0).min(k / PARTS.1).min(MOST / groups).max(1);
    let depth = k.div_ceil(wanted).next_multiple_of(DEPTH).max(DEPTH);
    let parts = k.div_ceil(depth).max(1);
    small(k)?;
    let channels = groups * n;
    let partial = match parts {
        1 => None,
        _ => Some(gpu.scratch(parts * m * channels * sum_bytes(x.dtype()))?),
    };
    let (w, sums) = (weights.map_or(0, address), partial.as_ref().map_or(0, |block| block.address));
    let defines = defines(x, &[address(y), w], [width, n], rows, "WINDOWS");
    let kernel = gpu.kernel(CONV, "conv_windows", &defines)?;
    let (from, target) = (address(x), address(y));
    let [pixels, columns, taps, each, all] = [m, n, k, depth, groups].map(|v| v as i64);
    gpu.launch(
        kernel,
        grid([tiles, n.div_ceil(WIDE), parts * groups]),
        args![from, w, target, sums, windows, to, pixels, columns, taps, each, all],
    )?;
    if parts == 1 {
        return Ok(());
    }
    let kernel = gpu.kernel(CONV, "conv_join", &defines)?;
    let [parts, channels] = [parts, channels].map(|v| v as i64);
    gpu.launch(kernel, gpu.spread(m * groups * n, THREADS), args![sums, target, windows, to, parts, pixels, channels])
}

fn forward(gpu: &Gpu, g: &Geometry, x: &Array, w: &Array, y: &Array) -> Result<()> {
    let weights = g.grouped(w)?.view(&View::Permute(Dims::from([0, 3, 4, 2, 1])))?.contiguous()?;
    let to = Target { strides: strides(y), step: [1, 1], base: [0, 0] };
    product(gpu, g, (x, g.windows()?), Some(&weights), (y, to), g.kg())
}

fn input(gpu: &Gpu, g: &Geometry, dy: &Array, w: &Array, dx: &Array) -> Result<()> {
    let (step, grouped) = (g.conv.stride, g.grouped(w)?);
    for phase in (0..step[0] * step[1]).map(|p| [p / step[1], p % step[1]]) {
        let reach = [0, 1].map(|axis| g.reaching(axis, phase[axis]));
        let out = [0, 1].map(|axis| g.size[axis].saturating_sub(phase[axis]).div_ceil(step[axis]));
        let windows = Windows {
            size: pair(g.out)?,
            out: pair(out)?,
            step: [1, 1],
            base: reach.map(|r| r.base),
            shift: reach.map(|r| r.shift),
            taps: pair(reach.map(|r| r.count))?,
            channels: small(g.k)?,
            width: small(g.kg())?,
        };
        let to = Target { strides: strides(dx), step: step.map(|v| v as i64), base: phase.map(|v| v as i64) };
        let mut weights = None;
        if reach.iter().all(|r| r.count > 0) {
            let mut taps = grouped.clone();
            for (r, dim) in reach.iter().zip(3..) {
                taps = taps.view(&View::Slice { dim, start: r.first, step: r.step as isize, len: r.count })?;
            }
            weights = Some(taps.view(&View::Permute(Dims::from([0, 3, 4, 1, 2])))?.contiguous()?);
        }
        product(gpu, g, (dy, windows), weights.as_ref(), (dx, to), g.cg())?;
    }
    Ok(())
}

fn weight(gpu: &Gpu, g: &Geometry, x: &Array, dy: &Array, dw: &mut Array) -> Result<()> {
    let (cg, kg, groups) = (g.cg(), g.kg(), g.conv.groups);
    let (m, pixels) = (g.window[0] * g.window[1] * cg, g.images * g.out[0] * g.out[1]);
    if columns::suits_library(g, x, [m, kg, pixels]) && m * pixels * x.dtype().size() <= columns::AT_ONCE {
        return columns::weight(gpu, g, x, dy, dw);
    }
    let rows = rows_of(x.dtype(), m > WIDE);
    let (high, wide) = (m.div_ceil(16 * rows), kg.div_ceil(WIDE));
    let wanted = (BLOCKS / (high * wide * groups)).min(pixels / SLICE).min(MOST / groups).max(1);
    let depth = pixels.div_ceil(wanted).next_multiple_of(DEPTH).max(DEPTH);
    let (slices, total) = (pixels.div_ceil(depth).max(1), groups * m * kg);
    small(m)?;
    let partial = gpu.scratch(slices * total * sum_bytes(x.dtype()))?;
    let define = defines(x, &[address(dy)], [cg, kg], rows, "WEIGHTS");
    let kernel = gpu.kernel(CONV, "conv_weights", &define)?;
    let [all, rows, columns, count, each] = [groups, m, kg, pixels, depth].map(|v| v as i64);
    gpu.launch(
        kernel,
        grid([high, wide, slices * groups]),
        args![address(x), address(dy), partial.address, g.windows()?, all, rows, columns, count, each],
    )?;
    let kernel = gpu.kernel(CONV, "conv_sum", &define)?;
    let [parts, sums, width, taps] = [slices, total, cg, g.window[1]].map(|v| v as i64);
    let [k, c, r, s] = strides(dw);
    gpu.launch(
        kernel,
        gpu.spread(total, THREADS),
        args![partial.address, address(dw), parts, sums, rows, columns, width, taps, k, c, r, s],
    )
}
