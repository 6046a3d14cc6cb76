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

/// How the rows of a channel are cut.
#[derive(Clone, Copy)]
struct Pieces {
    count: usize,
    length: usize,
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
        for (from, to) in [(params.address, dweight), (params.address + channels * size_of::<f64>(), dbias)] {
            reduce::sum_rows(self.gpu, (from, DType::F64), (to, self.dtype), parts, channels, 2 * channels)?;
        }
        self.write(&coefs)
    }

    /// Elements of a load, where all lie in whole packs of `run` elements.
    fn pack(&self, run: usize) -> usize {
        let pack = 16 / self.dtype.size();
        if run.is_multiple_of(pack) && self.ends.iter().all(|end| end.is_multiple_of(16)) { pack } else { 1 }
    }

    fn kernel(&self, entry: &'static str, pack: usize) -> Result<Function> {
        let flag = |set: bool| digits(usize::from(set));
        let defines = [
            ("X", name_of(self.dtype)),
            ("A", name_of(self.wide())),
            ("PACK", digits(pack)),
            ("BACK", flag(self.back)),
            ("LAST", flag(self.last)),
        ];
        self.gpu.kernel(esker_kernels::NORM, entry, &defines)
    }

    /// The sums of the pieces of all channels.
    fn sums(&self, means: usize) -> Result<(Block, Pieces)> {
        let g = &self.geometry;
        let (rows, channels) = (g.rows(), g.channels());
        let [x, dy, _] = self.ends;
        let allocate = |pieces: usize| self.gpu.scratch(g.all() * pieces * 2 * size_of::<f64>());
        let cut = |count: usize, unit: usize| {
            let length = rows.div_ceil(count.max(1)).next_multiple_of(unit).max(unit);
            Pieces { count: rows.div_ceil(length), length }
        };
        if g.all() * rows == 0 {
            return Ok((allocate(1)?, Pieces { count: 0, length: 1 }));
        }
        if self.last {
            let pack = self.pack(channels);
            let across = (channels / pack).next_power_of_two().min(32);
            let tiles = channels.div_ceil(across * pack);
            let pieces = cut((BLOCKS / 2 / (g.parts * tiles)).min(rows / (THREADS / across * 16)), 1);
            let block = allocate(pieces.count)?;
            let grid = Grid::new(g.parts * tiles * pieces.count, THREADS as u32);
            let [channels, rows, each, tiles, across] = [channels, rows, g.each, tiles, across].map(|v| v as i64);
            let (count, length) = (pieces.count as i64, pieces.length as i64);
            let args = args![x, dy, means, block.address, channels, rows, each, count, length, tiles, across];
            self.gpu.launch(self.kernel("sums", pack)?, grid, args)?;
            return Ok((block, pieces));
        }
        let pack = self.pack(g.size);
        let pieces = cut((BLOCKS / g.all()).min(rows / PIECE), pack);
        let block = allocate(pieces.count)?;
        let [channels, images, each, size] = [channels, g.images, g.each, g.size].map(|v| v as i64);
        let (count, length) = (pieces.count as i64, (pieces.length / pack) as i64);
        let args = args![x, dy, means, block.address, channels, images, each, size, count, length];
        let grid = Grid::new(g.all() * pieces.count, THREADS as u32);
        self.gpu.launch(self.kernel("sums", pack)?, grid, args)?;
        Ok((block, pieces))
    }

    /// What the elements of each channel are multiplied by, and the statistics or the parts of the gradients of weight and
    /// bias.
    fn settle(
        &self,
        sums: &Block,
        pieces: Pieces,
        [weight, bias]: [(usize, i64); 2],
        [mean, variance]: [usize; 2],
        params: usize,
    ) -> Result<Block> {
        let g = &self.geometry;
        let coefs = self.gpu.scratch(4 * g.all() * self.wide().size())?;
        let groups = g.parts * g.groups;
        let grid = Grid::new(groups.div_ceil(THREADS / 32), THREADS as u32);
        let numbers = [groups, g.channels(), g.each, pieces.count, g.rows(), pieces.length].map(|v| v as i64);
        let [groups, channels, each, count, rows, length] = numbers;
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
            count,
            rows,
            length,
            weight.1,
            bias.1,
            self.eps
        ];
        self.gpu.launch(self.kernel("settle", 1)?, grid, args)?;
        Ok(coefs)
    }

    fn write(&self, coefs: &Block) -> Result<()> {
        let g = &self.geometry;
        let n = g.all() * g.rows();
        let pack = self.pack(16);
        let [x, dy, y] = self.ends;
        let numbers = [n, g.channels(), g.all(), g.images, g.size].map(|v| v as i64);
        let [count, channels, all, images, size] = numbers;
        let grid = self.gpu.spread(n.div_ceil(pack), THREADS as u32);
        let args = args![x, dy, y, coefs.address, count, channels, all, images, size];
        self.gpu.launch(self.kernel("write", pack)?, grid, args)
    }
}
