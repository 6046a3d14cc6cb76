//! Convolution and its gradients, as products of windows on channels-last memory.
//!
//! With stride `s` the gradient by the input splits into `s x s` phases, pixels of equal remainder, each a convolution of
//! stride 1 with the taps that reach it. The gradient by the weight is summed in slices of pixels whose number depends on
//! the shape alone.

use bytemuck::{Pod, Zeroable};
use esker_kernels::CONV;
use esker_ops::kernel::Conv2d;
use esker_ops::{Array, ConvPass, View};
use esker_tensor::{DType, Dims, Error, Result, Shape};
use smallvec::SmallVec;

use crate::dense::{channels_last, in_order};
use crate::driver::Grid;
use crate::gpu::{Gpu, address, args, name_of};

/// Threads of a block.
const THREADS: u32 = 256;
/// The side of a tile, as in `conv.cu`.
const TILE: usize = 64;
/// The depth of a tile, as in `conv.cu`.
const DEPTH: usize = 16;
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
    size: [i64; 2],
    out: [i64; 2],
    step: [i64; 2],
    base: [i64; 2],
    shift: [i64; 2],
    taps: [i64; 2],
    channels: i64,
    width: i64,
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
    match pass {
        ConvPass::Forward => forward(gpu, &Geometry::new(conv, a.shape(), b.shape(), y.shape())?, &a, b, y),
        ConvPass::Input => input(gpu, &Geometry::new(conv, y.shape(), b.shape(), a.shape())?, &a, b, y),
        ConvPass::Weight => {
            let b = in_order(gpu, b, &last)?;
            weight(gpu, &Geometry::new(conv, a.shape(), y.shape(), b.shape())?, &a, &b, y)
        }
    }
}

/// Pairs as kernels take them.
fn pair(v: [usize; 2]) -> [i64; 2] {
    v.map(|v| v as i64)
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
    base: i64,
    shift: i64,
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
    fn windows(&self) -> Windows {
        Windows {
            size: pair(self.size),
            out: pair(self.out),
            step: pair(self.conv.stride),
            base: pair(self.conv.padding).map(|p| -p),
            shift: pair(self.conv.dilation),
            taps: pair(self.window),
            channels: self.c as i64,
            width: self.cg() as i64,
        }
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
        let base = far(first).div_euclid(stride as i64);
        Reaching { first, step, count, base, shift: -((step * dilation / stride) as i64) }
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
    from: (&Array, Windows),
    weights: Option<&Array>,
    to: (&Array, Target),
    n: usize,
) -> Result<()> {
    let (x, windows) = from;
    let m = g.images * windows.out.iter().product::<i64>() as usize;
    let k = windows.taps.iter().product::<i64>() * windows.width;
    let kernel = gpu.kernel(CONV, "conv_windows", &[("X", name_of(x.dtype()))])?;
    let blocks = [m.div_ceil(TILE), n.div_ceil(TILE), g.conv.groups].map(|v| u32::try_from(v).unwrap_or(u32::MAX));
    let grid = Grid { blocks, threads: THREADS, shared: 0 };
    let (y, target) = to;
    let w = weights.map_or(0, address);
    gpu.launch(kernel, grid, args![address(x), w, address(y), windows, target, m as i64, n as i64, k])
}

fn forward(gpu: &Gpu, g: &Geometry, x: &Array, w: &Array, y: &Array) -> Result<()> {
    let weights = g.grouped(w)?.view(&View::Permute(Dims::from([0, 3, 4, 2, 1])))?.contiguous()?;
    let to = Target { strides: strides(y), step: [1, 1], base: [0, 0] };
    product(gpu, g, (x, g.windows()), Some(&weights), (y, to), g.kg())
}

fn input(gpu: &Gpu, g: &Geometry, dy: &Array, w: &Array, dx: &Array) -> Result<()> {
    let (step, grouped) = (g.conv.stride, g.grouped(w)?);
    for phase in (0..step[0] * step[1]).map(|p| [p / step[1], p % step[1]]) {
        let reach = [0, 1].map(|axis| g.reaching(axis, phase[axis]));
        let out = [0, 1].map(|axis| g.size[axis].saturating_sub(phase[axis]).div_ceil(step[axis]));
        let windows = Windows {
            size: pair(g.out),
            out: pair(out),
            step: [1, 1],
            base: reach.map(|r| r.base),
            shift: reach.map(|r| r.shift),
            taps: pair(reach.map(|r| r.count)),
            channels: g.k as i64,
            width: g.kg() as i64,
        };
        let to = Target { strides: strides(dx), step: pair(step), base: pair(phase) };
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

fn weight(gpu: &Gpu, g: &Geometry, x: &Array, dy: &Array, dw: &Array) -> Result<()> {
    let (cg, kg, groups) = (g.cg(), g.kg(), g.conv.groups);
    let (m, pixels) = (g.window[0] * g.window[1] * cg, g.images * g.out[0] * g.out[1]);
    let tiles = m.div_ceil(TILE) * kg.div_ceil(TILE) * groups;
    let wanted = (BLOCKS / tiles).min(pixels / SLICE).min(MOST / groups).max(1);
    let depth = pixels.div_ceil(wanted).next_multiple_of(DEPTH).max(DEPTH);
    let (slices, total) = (pixels.div_ceil(depth).max(1), groups * m * kg);
    let double = x.dtype() == DType::F64;
    let partial = gpu.scratch(slices * total * if double { 8 } else { 4 })?;
    let define = [("X", name_of(x.dtype()))];
    let kernel = gpu.kernel(CONV, "conv_weights", &define)?;
    let blocks = [m.div_ceil(TILE), kg.div_ceil(TILE), slices * groups].map(|v| u32::try_from(v).unwrap_or(u32::MAX));
    let [all, rows, columns, count, each] = [groups, m, kg, pixels, depth].map(|v| v as i64);
    gpu.launch(
        kernel,
        Grid { blocks, threads: THREADS, shared: 0 },
        args![address(x), address(dy), partial.address, g.windows(), all, rows, columns, count, each],
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
