//! Normalisation of channels, or of groups of them, and its gradient: sums of pieces of each channel, then mean and variance
//! with what a channel's elements are multiplied by, then the result.

use esker_ops::{Array, NormPass, Share};
use esker_tensor::{DType, Dims, Error, Layout, Result, Shape};

use crate::driver::{Function, Grid};
use crate::gpu::{Gpu, address, args, name_of};
use crate::memory::Block;
use crate::reduce::{self, digits};
use crate::row::dense_outputs;

/// Threads of a block.
const THREADS: usize = 256;
/// Blocks that keep any device busy.
const BLOCKS: usize = 2048;
/// Elements that are worth a block of their own.
const PIECE: usize = 4096;

/// Runs a pass of a normalisation.
pub(crate) fn run(
    gpu: &Gpu,
    pass: NormPass,
    share: Share,
    eps: f64,
    inputs: &[&Array],
    outputs: &mut [Array],
) -> Result<()> {
    let Some(x) = inputs.first() else { return Err(Error::kernel("normalisation needs an input")) };
    if !x.dtype().is_float() {
        return Err(Error::unavailable(format!("normalisation computes floats, not {}; cast first", x.dtype())));
    }
    let [y, others @ ..] = outputs else { return Err(Error::kernel("normalisation gives three outputs")) };
    let geometry = Geometry::new(share, y.shape())?;
    let last = lies_last(y.layout(), geometry.size);
    let order = order(y.shape().len(), last);
    let full = |x: &Array| in_order(x, &order);
    let target = if y.layout().permute(&order).is_contiguous() { y.clone() } else { uninit(y, &order)? };
    dense_outputs(others, |others| {
        let [first, second] = others else { return Err(Error::kernel("normalisation gives three outputs")) };
        let (first, second, to) = (address(first), address(second), address(&target));
        match (pass, inputs) {
            (NormPass::Forward, [x, weight, bias]) => {
                let x = full(x)?;
                let run = Run { gpu, geometry, eps, last, back: false, dtype: x.dtype(), ends: [address(&x), 0, to] };
                run.forward([vector(weight), vector(bias)], [first, second])
            }
            (NormPass::Grad, [x, weight, mean, variance, dy]) => {
                let (x, dy) = (full(x)?, full(dy)?);
                let (mean, variance) = (mean.contiguous()?, variance.contiguous()?);
                let ends = [address(&x), address(&dy), to];
                let run = Run { gpu, geometry, eps, last, back: true, dtype: x.dtype(), ends };
                run.grad(vector(weight), [address(&mean), address(&variance)], [first, second])
            }
            _ => Err(Error::kernel(format!("{pass:?} does not take {} inputs", inputs.len()))),
        }
    })?;
    if address(&target) == address(y) { Ok(()) } else { copy(&target, y) }
}

/// Where a vector begins, and the distance of its elements.
fn vector(x: &Array) -> (usize, i64) {
    (address(x), x.layout().strides().last().map_or(0, |&stride| stride as i64))
}

/// The dimensions outermost first, with the channels innermost or row-major.
fn order(rank: usize, last: bool) -> Dims {
    let rank = rank as u8;
    if last { [0].into_iter().chain(2..rank).chain([1]).collect() } else { (0..rank).collect() }
}

/// Whether channels lie innermost; where planes of one element lie both ways, that is the better one.
fn lies_last(layout: &Layout, size: usize) -> bool {
    (size == 1 || !layout.is_contiguous()) && layout.permute(&order(layout.rank(), true)).is_contiguous()
}

fn uninit(x: &Array, order: &Dims) -> Result<Array> {
    Array::uninit(&x.meta(), Layout::dense(*x.shape(), order))
}

fn copy(x: &Array, y: &Array) -> Result<()> {
    esker_ops::backend(x.device())?.run(&esker_ops::Kernel::Copy, &[x], &mut [y.clone()])
}

/// The array lying densely with its dimensions in `order`; itself when it lies so.
fn in_order(x: &Array, order: &Dims) -> Result<Array> {
    if x.layout().permute(order).is_contiguous() {
        return Ok(x.clone());
    }
    let out = uninit(x, order)?;
    copy(x, &out)?;
    Ok(out)
}

/// `[parts, images, groups, each, size]`: a part and a group have a mean and a variance, a group and one of its `each`
/// channels a weight and a bias.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    parts: usize,
    images: usize,
    groups: usize,
    each: usize,
    size: usize,
}

impl Geometry {
    fn new(share: Share, x: &Shape) -> Result<Self> {
        let &[n, c, ref plane @ ..] = &x[..] else {
            return Err(Error::shape(format!("{x:?} has no channels")));
        };
        let ([parts, images], groups) = match share {
            Share::Batch => ([1, n], c),
            Share::Groups(groups) => ([n, 1], groups),
        };
        let size = plane.iter().product();
        Ok(Self { parts, images, groups, each: c / groups.max(1), size })
    }

    fn channels(&self) -> usize {
        self.groups * self.each
    }

    /// Channels of all parts.
    fn all(&self) -> usize {
        self.parts * self.channels()
    }

    /// Elements of a channel that share statistics.
    fn rows(&self) -> usize {
        self.images * self.size
    }
}

/// A pass that is to run.
struct Run<'a> {
    gpu: &'a Gpu,
    geometry: Geometry,
    eps: f64,
    last: bool,
    back: bool,
    dtype: DType,
    /// x, the gradient of the result (backwards), the result.
    ends: [usize; 3],
}

/// How planes that lie in one piece are walked: elements of a pack, whether planes begin or end within one, cuts of a plane and
/// their elements, threads of a cut.
#[derive(Clone, Copy)]
struct Planes {
    pack: usize,
    ragged: bool,
    cuts: usize,
    cut: usize,
    lanes: usize,
}

/// How channels that lie innermost are walked: elements of a pack, packs of a block side by side, blocks side by side.
#[derive(Clone, Copy)]
struct Tiles {
    pack: usize,
    across: usize,
    count: usize,
}

impl Run<'_> {
    fn wide(&self) -> DType {
        if self.dtype == DType::F64 { DType::F64 } else { DType::F32 }
    }

    fn forward(&self, params: [(usize, i64); 2], statistics: [usize; 2]) -> Result<()> {
        let (sums, pieces) = self.sums(0)?;
        let coefs = self.settle(&sums, pieces, params, statistics, 0)?;
        self.write(&coefs)
    }

    fn grad(&self, weight: (usize, i64), statistics: [usize; 2], [dweight, dbias]: [usize; 2]) -> Result<()> {
        let (parts, channels) = (self.geometry.parts, self.geometry.channels());
        let (sums, pieces) = self.sums(statistics[0])?;
        let params = self.gpu.scratch(parts * 2 * channels * size_of::<f64>())?;
        let coefs = self.settle(&sums, pieces, [weight; 2], statistics, params.address)?;
        let ends = ([dweight, dbias], self.dtype);
        reduce::sum_pairs(self.gpu, (params.address, DType::F64), ends, parts, channels)?;
        self.write(&coefs)
    }

    fn planes(&self) -> Planes {
        let size = self.geometry.size;
        let alike = self.ends.iter().all(|end| *end == 0 || end % 16 == self.ends[0] % 16);
        let pack = if alike { 16 / self.dtype.size() } else { 1 };
        let ragged = pack > 1 && !(size.is_multiple_of(pack) && self.ends[0].is_multiple_of(16));
        let packs = size.div_ceil(pack);
        let lanes = match packs {
            0..=16 => 4,
            17..=512 => 32,
            _ => THREADS,
        };
        // Four packs of each thread of a cut.
        let cut = if lanes == THREADS { 4 * THREADS * pack } else { size.max(1) };
        Planes { pack, ragged, cuts: size.div_ceil(cut), cut, lanes }
    }

    fn tiles(&self) -> Tiles {
        let channels = self.geometry.channels();
        let most = 16 / self.dtype.size();
        let aligned = channels.is_multiple_of(most) && self.ends.iter().all(|end| end.is_multiple_of(16));
        let pack = if aligned { most } else { 1 };
        let across = (channels / pack).next_power_of_two().min(32);
        Tiles { pack, across, count: channels.div_ceil(across * pack) }
    }

    fn kernel(&self, entry: &'static str, planes: Planes) -> Result<Function> {
        let flag = |set: bool| digits(usize::from(set));
        let defines = [
            ("X", name_of(self.dtype)),
            ("A", name_of(self.wide())),
            ("PACK", digits(planes.pack)),
            ("BACK", flag(self.back)),
            ("LAST", flag(self.last)),
            ("LANES", digits(planes.lanes)),
            ("RAGGED", flag(planes.ragged)),
        ];
        self.gpu.kernel(esker_kernels::NORM, entry, &defines)
    }

    fn kernel_of_tiles(&self, entry: &'static str, tiles: Tiles) -> Result<Function> {
        self.kernel(entry, Planes { pack: tiles.pack, ragged: false, cuts: 1, cut: 1, lanes: THREADS })
    }

    /// The sums of the pieces of all channels, and how many pieces each has.
    fn sums(&self, means: usize) -> Result<(Block, usize)> {
        let g = &self.geometry;
        let [x, dy, _] = self.ends;
        let allocate = |pieces: usize| self.gpu.scratch(g.all() * pieces * 3 * size_of::<f64>());
        if g.all() * g.rows() == 0 {
            return Ok((allocate(1)?, 0));
        }
        let [channels, rows, each] = [g.channels(), g.rows(), g.each].map(|v| v as i64);
        if self.last {
            let tiles = self.tiles();
            let most = (BLOCKS / 4 / (g.parts * tiles.count)).min(g.rows() / (THREADS / tiles.across * 16));
            let (pieces, length) = pieces(g.rows(), most);
            let block = allocate(pieces)?;
            let grid = Grid::new(g.parts * tiles.count * pieces, THREADS as u32);
            let [of, length, count, across] = [pieces, length, tiles.count, tiles.across].map(|v| v as i64);
            let args = args![x, dy, means, block.address, channels, rows, each, of, length, count, across];
            self.gpu.launch(self.kernel_of_tiles("sums", tiles)?, grid, args)?;
            return Ok((block, pieces));
        }
        let planes = self.planes();
        let items = g.images * planes.cuts;
        let (pieces, length) = pieces(items, (BLOCKS / g.all()).min(g.rows() / PIECE));
        let block = allocate(pieces)?;
        let numbers = [g.images, g.size, planes.cuts, planes.cut, pieces, length].map(|v| v as i64);
        let [images, size, cuts, cut, of, length] = numbers;
        let grid = Grid::new(g.all() * pieces, THREADS as u32);
        let args = args![x, dy, means, block.address, channels, images, each, size, cuts, cut, of, length];
        self.gpu.launch(self.kernel("sums", planes)?, grid, args)?;
        Ok((block, pieces))
    }

    /// What the elements of each channel are multiplied by, and the statistics or the parts of the gradients of weight and
    /// bias.
    fn settle(
        &self,
        sums: &Block,
        pieces: usize,
        [weight, bias]: [(usize, i64); 2],
        [mean, variance]: [usize; 2],
        params: usize,
    ) -> Result<Block> {
        let g = &self.geometry;
        let coefs = self.gpu.scratch(4 * g.all() * self.wide().size())?;
        let groups = g.parts * g.groups;
        let grid = Grid::new(groups.div_ceil(THREADS / 32), THREADS as u32);
        let [groups, channels, each, pieces, rows] = [groups, g.channels(), g.each, pieces, g.rows()].map(|v| v as i64);
        let kernel = self.kernel_of_tiles("settle", Tiles { pack: 1, across: 1, count: 1 })?;
        let args = args![
            sums.address,
            weight.0,
            bias.0,
            mean,
            variance,
            coefs.address,
            params,
            groups,
            channels,
            each,
            pieces,
            rows,
            weight.1,
            bias.1,
            self.eps
        ];
        self.gpu.launch(kernel, grid, args)?;
        Ok(coefs)
    }

    fn write(&self, coefs: &Block) -> Result<()> {
        let g = &self.geometry;
        let [x, dy, y] = self.ends;
        let [channels, all, rows] = [g.channels(), g.all(), g.rows()].map(|v| v as i64);
        if all * rows == 0 {
            return Ok(());
        }
        if self.last {
            let tiles = self.tiles();
            // Sixteen packs of each thread.
            let (pieces, length) = pieces(g.rows(), g.rows() / (THREADS / tiles.across * 16));
            let grid = Grid::new(g.parts * tiles.count * pieces, THREADS as u32);
            let [of, length, count, across] = [pieces, length, tiles.count, tiles.across].map(|v| v as i64);
            let args = args![x, dy, y, coefs.address, channels, all, rows, of, length, count, across];
            return self.gpu.launch(self.kernel_of_tiles("write", tiles)?, grid, args);
        }
        let planes = self.planes();
        let count = g.all() * g.images;
        let grid = Grid::new((count * planes.cuts).div_ceil(THREADS / planes.lanes), THREADS as u32);
        let [count, images, size, cuts, cut] = [count, g.images, g.size, planes.cuts, planes.cut].map(|v| v as i64);
        let args = args![x, dy, y, coefs.address, count, channels, all, images, size, cuts, cut];
        self.gpu.launch(self.kernel("write", planes)?, grid, args)
    }
}

/// At most `most` pieces of so many items, and the items of each.
fn pieces(items: usize, most: usize) -> (usize, usize) {
    let length = items.div_ceil(most.max(1)).max(1);
    (items.div_ceil(length), length)
}
