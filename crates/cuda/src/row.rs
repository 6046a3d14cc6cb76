//! Kernels over rows (the last dimension): some lanes, a warp or a block for each row, which holds it in registers where it
//! fits, so that it is read once.

use esker_ops::{Array, Row};
use esker_tensor::{DType, Error, Layout, Result};
use smallvec::SmallVec;

use crate::driver::{Function, Grid};
use crate::gpu::{Gpu, address, args, name_of};
use crate::reduce::{self, digits};

/// Threads of a block, at least.
const THREADS: usize = 256;
/// Threads, and packs of each, for rows of so many packs. Longer rows are read again.
const HELD: [(usize, usize, usize); 5] = [(16, 4, 4), (32, 32, 1), (128, 32, 4), (1024, 256, 4), (4096, 512, 8)];
/// As [`HELD`] for the gradient of normalisation, which holds two operands and sums for two others.
const SUMMED: [(usize, usize, usize); 8] =
    [(32, 32, 1), (64, 64, 1), (96, 96, 1), (128, 128, 1), (192, 192, 1), (256, 256, 1), (512, 512, 1), (1024, 512, 2)];
/// Threads that keep any device busy, and not more than run at a time on the largest.
const BUSY: usize = 110_000;

/// Runs a row kernel.
pub(crate) fn run(gpu: &Gpu, row: &Row, x: &[&Array], y: &mut [Array]) -> Result<()> {
    match x.first().map(|x| x.dtype()) {
        Some(dtype) if dtype.is_float() => {}
        dtype => return Err(Error::unavailable(format!("row kernels compute floats, not {dtype:?}; cast first"))),
    }
    // Of weight and bias the kernels take any step.
    let params = match row {
        Row::Normalize { .. } => 1..3,
        Row::NormalizeGrad { .. } => 1..2,
        _ => 0..0,
    };
    let dense = |(i, x): (usize, &&Array)| if params.contains(&i) { Ok((*x).clone()) } else { x.contiguous() };
    let x: SmallVec<[Array; 5]> = x.iter().enumerate().map(dense).collect::<Result<_>>()?;
    dense_outputs(y, |y| rows(gpu, row, &x, y))
}

/// Runs `f` on outputs that lie row-major, and copies to those that do not.
pub(crate) fn dense_outputs(y: &mut [Array], f: impl FnOnce(&mut [Array]) -> Result<()>) -> Result<()> {
    if y.iter().all(|y| y.layout().is_contiguous()) {
        return f(y);
    }
    let dense = |y: &Array| Array::uninit(&y.meta(), Layout::contiguous(*y.shape()));
    let mut temporary: SmallVec<[Array; 3]> = y.iter().map(dense).collect::<Result<_>>()?;
    f(&mut temporary)?;
    let backend = |x: &Array| esker_ops::backend(x.device());
    for (y, x) in y.iter_mut().zip(temporary) {
        let mut out = [y.clone()];
        backend(&x)?.run(&esker_ops::Kernel::Copy, &[&x], &mut out)?;
    }
    Ok(())
}

/// How rows are walked.
struct Rows<'a> {
    gpu: &'a Gpu,
    dtype: DType,
    rows: usize,
    n: usize,
    /// Elements of a pack.
    pack: usize,
    /// Whether rows begin or end within a pack.
    ragged: bool,
}

/// The threads of a row, and the packs that each holds; 0 for none.
#[derive(Clone, Copy)]
struct Team {
    lanes: usize,
    cache: usize,
}

fn rows(gpu: &Gpu, row: &Row, x: &[Array], y: &[Array]) -> Result<()> {
    let Some(first) = x.first() else { return Ok(()) };
    let n = first.shape().last().copied().unwrap_or(1);
    let rows = match n {
        0 => first.shape().iter().rev().skip(1).product(),
        n => first.shape().numel() / n,
    };
    if i32::try_from(n).is_err() {
        return Err(Error::unavailable(format!("rows of {n} elements are too long for this device")));
    }
    // Operands as long as x, which must lie alike towards packs.
    let full = |x: &&Array| x.shape() == first.shape() && x.dtype() == first.dtype();
    let bytes = |x: &Array| address(x) % 16;
    let alike = x.iter().chain(y).filter(full).all(|x| bytes(x) == bytes(first));
    let pack = if alike { 16 / first.dtype().size() } else { 1 };
    let ragged = pack > 1 && !(n.is_multiple_of(pack) && bytes(first) == 0);
    let walk = Rows { gpu, dtype: first.dtype(), rows, n, pack, ragged };
    let ends: SmallVec<[usize; 8]> = x.iter().chain(y).map(address).collect();
    let (rows, n, fault) = (rows as i64, n as i64, gpu.fault());
    match (row, &ends[..]) {
        (Row::Softmax | Row::LogSoftmax, [x, y]) => {
            let log = digits(usize::from(*row == Row::LogSoftmax));
            walk.launch("softmax", &[("SOFTMAX", "1"), ("LOG", log)], walk.team(1), args![*x, *y, rows, n])
        }
        (Row::SoftmaxGrad | Row::LogSoftmaxGrad, [y, dy, dx]) => {
            let log = digits(usize::from(*row == Row::LogSoftmaxGrad));
            let defines = [("SOFTMAX_GRAD", "1"), ("LOG", log)];
            walk.launch("softmax_grad", &defines, walk.team(2), args![*y, *dy, *dx, rows, n])
        }
        (Row::Normalize { centre, eps }, [first, weight, bias, y, mean, rstd]) => {
            let defines = [("NORMALIZE", "1"), ("CENTRE", digits(usize::from(*centre)))];
            let (weight_step, bias_step, eps) = (step(&x[1]), step(&x[2]), eps.get());
            let args = args![*first, *weight, *bias, *y, *mean, *rstd, rows, n, weight_step, bias_step, eps];
            walk.launch("normalize", &defines, walk.team(1), args)
        }
        (Row::NormalizeGrad { centre }, [first, weight, mean, rstd, dy, dx, dweight, dbias]) => {
            let operands = [*first, *weight, *mean, *rstd, *dy, *dx];
            walk.normalize_grad(*centre, operands, step(&x[1]), [*dweight, *dbias])
        }
        (Row::ExtremeGrad, [x, y, dy, dx]) => {
            walk.launch("extreme_grad", &[("EXTREME_GRAD", "1")], walk.team(1), args![*x, *y, *dy, *dx, rows, n])
        }
        (Row::CrossEntropy { ignore }, [x, classes, loss, lse]) => {
            let args = args![*x, *classes, *loss, *lse, rows, n, *ignore, fault];
            walk.launch("cross_entropy", &[("CROSS_ENTROPY", "1")], walk.streaming(), args)
        }
        (Row::CrossEntropyGrad { ignore }, [x, classes, lse, dloss, dx]) => {
            let args = args![*x, *classes, *lse, *dloss, *dx, rows, n, *ignore, fault];
            walk.launch("cross_entropy_grad", &[("CROSS_ENTROPY_GRAD", "1")], walk.streaming(), args)
        }
        _ => Err(Error::kernel(format!("{row:?} got the wrong number of operands"))),
    }
}

/// The distance of the elements of a vector.
fn step(x: &Array) -> i64 {
    x.layout().strides().last().map_or(0, |&stride| stride as i64)
}

/// What rows of a dtype compute in.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

impl Rows<'_> {
    /// Packs of a row, at most.
    fn packs(&self) -> usize {
        self.n.div_ceil(self.pack) + usize::from(self.ragged)
    }

    /// Threads that hold `operands` rows.
    fn team(&self, operands: usize) -> Team {
        let packs = self.packs();
        let found = HELD.iter().find(|(most, _, cache)| packs <= *most && cache * operands <= 8);
        found.map_or(Team { lanes: 512, cache: 0 }, |&(_, lanes, cache)| Team { lanes, cache })
    }

    /// Threads that hold nothing.
    fn streaming(&self) -> Team {
        let lanes = match self.packs() {
            0..=16 => 4,
            17..=512 => 32,
            513..=2048 => 256,
            _ => 512,
        };
        Team { lanes, cache: 0 }
    }

    fn kernel(&self, entry: &'static str, defines: &[(&'static str, &'static str)], team: Team) -> Result<Function> {
        let mut all: SmallVec<[(&'static str, &'static str); 12]> = SmallVec::from_slice(&[
            ("X", name_of(self.dtype)),
            ("A", name_of(wide(self.dtype))),
            ("LANES", digits(team.lanes)),
            ("CACHE", digits(team.cache)),
            ("PACK", digits(self.pack)),
            ("RAGGED", digits(usize::from(self.ragged))),
        ]);
        all.extend_from_slice(defines);
        self.gpu.kernel(esker_kernels::ROW, entry, &all)
    }

    fn launch(
        &self,
        entry: &'static str,
        defines: &[(&'static str, &'static str)],
        team: Team,
        args: &[&[u8]],
    ) -> Result<()> {
        let threads = team.lanes.max(THREADS);
        let kernel = self.kernel(entry, defines, team)?;
        self.gpu.launch(kernel, Grid::new(self.rows.div_ceil(threads / team.lanes), threads as u32), args)
    }

    /// The gradient of x row by row, those of weight and bias in two stages; in one pass where rows fit registers.
    fn normalize_grad(&self, centre: bool, ends: [usize; 6], step: i64, params: [usize; 2]) -> Result<()> {
        let [x, weight, mean, rstd, dy, dx] = ends;
        let wide = wide(self.dtype);
        let (rows, n) = (self.rows as i64, self.n as i64);
        let centre = ("CENTRE", digits(usize::from(centre)));
        // The places of columns must be the same in all rows.
        let fits = SUMMED.iter().find(|(most, ..)| !self.ragged && self.packs() <= *most);
        let defines = [("NORMALIZE_GRAD", "1"), centre, ("SUMS", digits(usize::from(fits.is_some())))];
        if let Some(&(_, lanes, cache)) = fits {
            let length = self.rows.div_ceil(BUSY / lanes).max(4);
            let parts = self.rows.div_ceil(length);
            let sums = self.gpu.scratch(parts * 2 * self.n * wide.size())?;
            let team = Team { lanes, cache };
            let kernel = self.kernel("normalize_grad", &defines, team)?;
            let teams = if lanes < 128 && 128 % lanes == 0 { 128 / lanes } else { 1 };
            let grid = Grid::new(parts.div_ceil(teams), (teams * lanes) as u32);
            let length = length as i64;
            self.gpu.launch(kernel, grid, args![x, weight, mean, rstd, dy, dx, sums.address, rows, n, step, length])?;
            return self.params(sums.address, params, parts);
        }
        self.launch(
            "normalize_grad",
            &defines,
            self.team(2),
            args![x, weight, mean, rstd, dy, dx, 0usize, rows, n, step, 1i64],
        )?;
        let tiles = self.n.div_ceil(32);
        let length = self.rows.div_ceil((4 * BUSY / 256).div_ceil(tiles.max(1))).max(64);
        let parts = self.rows.div_ceil(length);
        let sums = self.gpu.scratch(parts * 2 * self.n * wide.size())?;
        let kernel = self.kernel("params_grad", &[("PARAMS_GRAD", "1")], Team { lanes: 256, cache: 0 })?;
        let (grid, length, tiles) = (Grid::new(parts * tiles, 256), length as i64, tiles as i64);
        self.gpu.launch(kernel, grid, args![x, mean, rstd, dy, sums.address, rows, n, length, tiles])?;
        self.params(sums.address, params, parts)
    }

    /// Sums what the parts have for weight and bias.
    fn params(&self, sums: usize, params: [usize; 2], parts: usize) -> Result<()> {
        reduce::sum_pairs(self.gpu, (sums, wide(self.dtype)), (params, self.dtype), parts, self.n)
    }
}
