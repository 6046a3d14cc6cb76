//! Folding dimensions away. Where the folded elements lie one after the other, some threads fold an output; where outputs
//! lie side by side, threads fold neighbouring ones. Few outputs of many elements fold in two stages. What adds to what
//! follows from shapes and layouts alone.

use esker_ops::{Array, Fold};
use esker_tensor::{DType, Dims, Error, Result};
use smallvec::SmallVec;

use crate::driver::Grid;
use crate::gpu::{Gpu, address, args, name_of};
use crate::view::View;

/// Threads of a block.
const THREADS: usize = 256;
/// Blocks that keep any device busy.
const BLOCKS: usize = 2048;
/// Elements that are worth a block of their own.
const PIECE: usize = 16_384;
/// Packs of an output up to which four lanes fold it, and up to which a warp does.
const FEW: usize = 16;
const SOME: usize = 512;

/// Folds the dimensions `dims` of `x`.
pub(crate) fn run(gpu: &Gpu, op: Fold, dims: &Dims, x: &Array, y: &mut Array) -> Result<()> {
    let plan = Plan::new(dims, x, y);
    if matches!(op, Fold::Max | Fold::Min) && plan.count() == 0 && plan.outputs() > 0 {
        let what = if op == Fold::Max { "largest" } else { "smallest" };
        return Err(Error::kernel(format!(
            "dimensions {dims:?} of {:?} hold nothing, so no {what} element",
            x.shape()
        )));
    }
    if op == Fold::Mean && !x.dtype().is_float() {
        return Err(Error::unavailable(format!("a mean of {} has no kernel; cast it to a float first", x.dtype())));
    }
    if plan.outputs() == 0 {
        return Ok(());
    }
    let call = Call { gpu, op, x: address(x), dtype: x.dtype(), y: address(y), to: y.dtype(), count: plan.count() };
    call.run(&plan)
}

/// Sums the rows of `x [rows, 2, columns]` to two vectors.
pub(crate) fn sum_pairs(
    gpu: &Gpu,
    x: (usize, DType),
    y: ([usize; 2], DType),
    rows: usize,
    columns: usize,
) -> Result<()> {
    if columns == 0 {
        return Ok(());
    }
    let ([first, second], to) = y;
    // Both are whole numbers of elements away from each other, as memory is aligned.
    let apart = (second as isize - first as isize) / to.size() as isize;
    let pair = Kept { size: 2, x: columns as isize, y: apart };
    let plan = Plan {
        kept: SmallVec::from_slice(&[pair, Kept { size: columns, x: 1, y: 1 }]),
        folded: SmallVec::from_slice(&[(rows, 2 * columns as isize)]),
        back: 0,
    };
    Call { gpu, op: Fold::Sum, x: x.0, dtype: x.1, y: first, to, count: rows }.run(&plan)
}

/// A kept dimension: its size, its stride in x, its stride in y.
#[derive(Clone, Copy, Debug)]
struct Kept {
    size: usize,
    x: isize,
    y: isize,
}

/// What lies where, each from the largest stride in x to the smallest, neighbours joined.
#[derive(Clone, Debug)]
struct Plan {
    kept: SmallVec<[Kept; 8]>,
    folded: SmallVec<[(usize, isize); 8]>,
    /// How far before the first element of x the walk begins, as folded dimensions go upwards.
    back: isize,
}

/// Sorts from large to small strides; what does not move at all comes first.
fn rank_of(stride: isize) -> std::cmp::Reverse<usize> {
    std::cmp::Reverse(if stride == 0 { usize::MAX } else { stride.unsigned_abs() })
}

impl Plan {
    fn new(dims: &Dims, x: &Array, y: &Array) -> Self {
        let (mut kept, mut folded) = (SmallVec::<[Kept; 8]>::new(), SmallVec::<[(usize, isize); 8]>::new());
        let (mut back, mut next) = (0, 0);
        let same = y.shape().len() == x.shape().len();
        for (d, (&size, &stride)) in x.shape().iter().zip(x.layout().strides().iter()).enumerate() {
            if dims.contains(&(d as u8)) {
                if stride < 0 && size > 0 {
                    back += (size as isize - 1) * stride;
                }
                folded.push((size, stride.abs()));
            } else {
                let to = if same { d } else { next };
                kept.push(Kept { size, x: stride, y: y.layout().strides().get(to).copied().unwrap_or(0) });
                next += 1;
            }
        }
        kept.retain(|d| d.size != 1);
        folded.retain(|d| d.0 != 1);
        kept.sort_by_key(|d| rank_of(d.x));
        folded.sort_by_key(|d| rank_of(d.1));
        kept.dedup_by(|inner, outer| {
            let size = inner.size as isize;
            let joins = outer.x == inner.x * size && outer.y == inner.y * size;
            if joins {
                *outer = Kept { size: outer.size * inner.size, ..*inner };
            }
            joins
        });
        folded.dedup_by(|inner, outer| {
            let joins = outer.1 == inner.1 * inner.0 as isize;
            if joins {
                *outer = (outer.0 * inner.0, inner.1);
            }
            joins
        });
        Self { kept, folded, back }
    }

    fn outputs(&self) -> usize {
        self.kept.iter().map(|d| d.size).product()
    }

    fn count(&self) -> usize {
        self.folded.iter().map(|d| d.0).product()
    }

    /// Whether all kept strides in x are multiples of `pack`, and those of the folded dimensions but the last.
    fn fits(&self, pack: usize) -> bool {
        let outer = self.folded.len().saturating_sub(1);
        let fits = |stride: isize| stride.unsigned_abs().is_multiple_of(pack);
        self.kept.iter().all(|d| fits(d.x)) && self.folded[..outer].iter().all(|d| fits(d.1))
    }
}

fn kept_views(kept: &[Kept]) -> (View, View) {
    (View::new(kept.iter().map(|d| (d.size, d.x))), View::new(kept.iter().map(|d| (d.size, d.y))))
}

fn name_of_fold(op: Fold) -> &'static str {
    match op {
        Fold::Sum | Fold::Mean => "FoldSum",
        Fold::Prod => "FoldProd",
        Fold::Max => "FoldMax",
        Fold::Min => "FoldMin",
    }
}

/// What a dtype folds in, and what is kept between two stages.
fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 => DType::F32,
        DType::F64 | DType::I64 => dtype,
        _ => DType::I32,
    }
}

/// Names of numbers, for defines.
pub(crate) fn digits(n: usize) -> &'static str {
    match n {
        0 => "0",
        1 => "1",
        2 => "2",
        4 => "4",
        8 => "8",
        16 => "16",
        32 => "32",
        64 => "64",
        96 => "96",
        128 => "128",
        192 => "192",
        256 => "256",
        512 => "512",
        _ => "1024",
    }
}

/// The operands of a fold, and the number of elements that sums are divided by.
#[derive(Clone, Copy)]
struct Call<'a> {
    gpu: &'a Gpu,
    op: Fold,
    x: usize,
    dtype: DType,
    y: usize,
    to: DType,
    count: usize,
}

impl Call<'_> {
    fn run(&self, plan: &Plan) -> Result<()> {
        let call = Self { x: self.x.wrapping_add_signed(plan.back * self.dtype.size() as isize), ..*self };
        let folded = plan.folded.last().map(|d| d.1.unsigned_abs());
        let kept = plan.kept.last().map(|d| d.x.unsigned_abs());
        let nearer = |kept: usize| kept != 0 && folded.is_none_or(|folded| folded == 0 || kept < folded);
        match &plan.folded[..] {
            _ if plan.count() > 0 && plan.count() < 1 << 31 && kept.is_some_and(nearer) => call.columns(plan),
            [] | [(_, 1)] => call.flat(plan),
            _ if plan.count() == 0 => call.flat(plan),
            _ => call.runs(plan),
        }
    }

    /// Elements of a load of 16 bytes, where `fits` says that all loads lie aligned.
    fn pack(&self, fits: impl Fn(usize) -> bool) -> usize {
        let pack = 16 / self.dtype.size();
        if self.x.is_multiple_of(16) && fits(pack) { pack } else { 1 }
    }

    fn defines(&self, pack: usize, staged: bool) -> [(&'static str, &'static str); 5] {
        let to = if staged { wide(self.dtype) } else { self.to };
        let mean = self.op == Fold::Mean && !staged;
        [
            ("X", name_of(self.dtype)),
            ("Y", name_of(to)),
            ("F", name_of_fold(self.op)),
            ("PACK", digits(pack)),
            ("MEAN", digits(usize::from(mean))),
        ]
    }

    /// Runs `stage` to y, or to memory between two stages, the second of which `then` runs with that.
    fn staged(
        &self,
        partials: usize,
        stage: impl FnOnce(usize) -> Result<()>,
        then: impl FnOnce(Self) -> Result<()>,
    ) -> Result<()> {
        if partials == 0 {
            return stage(self.y);
        }
        let between = wide(self.dtype);
        let block = self.gpu.scratch(partials * between.size())?;
        stage(block.address)?;
        then(Self { x: block.address, dtype: between, ..*self })
    }

    fn flat(&self, plan: &Plan) -> Result<()> {
        let (outputs, n) = (plan.outputs(), plan.count());
        let pack = 16 / self.dtype.size();
        let (pieces, length) = pieces(outputs, n, pack);
        let (kept, to) = kept_views(&plan.kept);
        let partials = if pieces > 1 { outputs * pieces } else { 0 };
        let stage = |y: usize| {
            let lanes = lanes(length.div_ceil(pack));
            let [x_, y_, fold, pack, mean] = self.defines(pack, pieces > 1);
            let defines = [x_, y_, fold, pack, mean, ("LANES", digits(lanes)), ("I", "u32")];
            let kernel = self.gpu.kernel(esker_kernels::REDUCE_ROWS, "flat", &defines)?;
            let grid = Grid::new((outputs * pieces).div_ceil(THREADS / lanes), THREADS as u32);
            let [n, pieces, length] = [n, pieces, length].map(|v| v as i64);
            self.gpu.launch(
                kernel,
                grid,
                args![self.x, y, kept, to, outputs as i64, n, pieces, length, self.count as i64],
            )
        };
        self.staged(partials, stage, |call| call.flat(&plan.second(outputs, pieces)))
    }

    fn runs(&self, plan: &Plan) -> Result<()> {
        let (outputs, n) = (plan.outputs(), plan.count());
        let (run, step) = plan.folded.last().copied().unwrap_or((1, 1));
        let pack = self.pack(|pack| step == 1 && run.is_multiple_of(pack) && plan.fits(pack));
        let (pieces, length) = pieces(outputs, n, pack);
        let (kept, to) = kept_views(&plan.kept);
        let runs = View::new(plan.folded[..plan.folded.len() - 1].iter().copied());
        let partials = if pieces > 1 { outputs * pieces } else { 0 };
        let stage = |y: usize| {
            let lanes = lanes(length.div_ceil(pack));
            let [x_, y_, fold, packed, mean] = self.defines(pack, pieces > 1);
            let index = if n / pack + length < 1 << 31 { "u32" } else { "i64" };
            let defines = [x_, y_, fold, packed, mean, ("LANES", digits(lanes)), ("I", index)];
            let kernel = self.gpu.kernel(esker_kernels::REDUCE_ROWS, "runs", &defines)?;
            let grid = Grid::new((outputs * pieces).div_ceil(THREADS / lanes), THREADS as u32);
            let [n, run, length] = [n, run, length].map(|v| (v / pack) as i64);
            let [outputs, pieces, count] = [outputs, pieces, self.count].map(|v| v as i64);
            let step = step as i64;
            let args = args![self.x, y, kept, to, runs, outputs, n, run, step, pieces, length, count];
            self.gpu.launch(kernel, grid, args)
        };
        self.staged(partials, stage, |call| call.flat(&plan.second(outputs, pieces)))
    }

    fn columns(&self, plan: &Plan) -> Result<()> {
        let Some((&inner, others)) = plan.kept.split_last() else { return Ok(()) };
        let rows = plan.count();
        let plain = |stride: isize, pack: usize| stride.unsigned_abs().is_multiple_of(pack);
        let pack = self.pack(|pack| {
            inner.x == 1
                && inner.size.is_multiple_of(pack)
                && others.iter().all(|d| plain(d.x, pack))
                && plan.folded.iter().all(|d| plain(d.1, pack))
        });
        let across = (inner.size / pack).next_power_of_two().min(32);
        let tiles = inner.size.div_ceil(across * pack);
        let outer: usize = others.iter().map(|d| d.size).product();
        // Rows for every thread of a block to have some.
        let least = THREADS / across * 16;
        let pieces = (BLOCKS / 2 / (outer * tiles)).min(rows / least).max(1);
        let length = rows.div_ceil(pieces);
        let pieces = rows.div_ceil(length);
        let (kept, to) = kept_views(others);
        let folded = View::new(plan.folded.iter().copied());
        let partials = if pieces > 1 { outer * pieces * inner.size } else { 0 };
        let stage = |y: usize| {
            let kernel = self.gpu.kernel(esker_kernels::REDUCE_COLUMNS, "columns", &self.defines(pack, pieces > 1))?;
            let grid = Grid::new(outer * pieces * tiles, THREADS as u32);
            let (columns, x_step, y_step) = (inner.size as i64, inner.x as i64, inner.y as i64);
            let [rows, pieces, length, tiles] = [rows, pieces, length, tiles].map(|v| v as i64);
            let [across, count] = [across, self.count].map(|v| v as i64);
            let args =
                args![self.x, y, kept, to, folded, columns, x_step, y_step, rows, pieces, length, tiles, across, count];
            self.gpu.launch(kernel, grid, args)
        };
        self.staged(partials, stage, |call| call.columns(&plan.second_of_columns(pieces)))
    }
}

impl Plan {
    /// The fold of `pieces` partial results for each output, which lie one after the other.
    fn second(&self, outputs: usize, pieces: usize) -> Self {
        let mut left = (outputs * pieces) as isize;
        let step = |d: &Kept| {
            left /= d.size.max(1) as isize;
            Kept { x: left, ..*d }
        };
        Self { kept: self.kept.iter().map(step).collect(), folded: SmallVec::from_slice(&[(pieces, 1)]), back: 0 }
    }

    /// As [`Plan::second`], where pieces lie in front of the innermost kept dimension.
    fn second_of_columns(&self, pieces: usize) -> Self {
        let columns = self.kept.last().map_or(1, |d| d.size);
        let mut kept = self.kept.clone();
        let mut step = (pieces * columns) as isize;
        let others = kept.len().saturating_sub(1);
        for d in kept[..others].iter_mut().rev() {
            d.x = step;
            step *= d.size as isize;
        }
        if let Some(last) = kept.last_mut() {
            last.x = 1;
        }
        Self { kept, folded: SmallVec::from_slice(&[(pieces, columns as isize)]), back: 0 }
    }
}

/// In how many pieces of how many elements each of `outputs` folds of `n` elements goes.
fn pieces(outputs: usize, n: usize, pack: usize) -> (usize, usize) {
    if n < 2 * PIECE || outputs >= BLOCKS {
        return (1, n.next_multiple_of(pack));
    }
    let length = n.div_ceil(BLOCKS.div_ceil(outputs)).max(PIECE).next_multiple_of(pack * THREADS);
    (n.div_ceil(length), length)
}

/// The threads that fold an output of so many packs.
fn lanes(packs: usize) -> usize {
    match packs {
        _ if packs <= FEW => 4,
        _ if packs <= SOME => 32,
        _ => THREADS,
    }
}
