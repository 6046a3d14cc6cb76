//! Matrix products: the vendor's library where it knows the type, else our own kernel.

use esker_ops::{Array, Random};
use esker_tensor::{DType, Layout, Result, Shape};
use smallvec::SmallVec;

use crate::driver::Grid;
use crate::gpu::{Gpu, address, args, name_of};
use crate::products::{Operands, Product, Side};
use crate::view::View;

/// The side of our own kernel's tiles, as in `matmul.cu`.
const TILE: usize = 64;
/// Most blocks in the second and third dimension of a grid.
const MOST: usize = 65_535;

/// A factor: its sizes, its strides, and the walk over its matrices.
struct Factor {
    array: Array,
    /// Strides of rows and columns.
    strides: [isize; 2],
    batch: SmallVec<[(usize, isize); 6]>,
}

/// `y [.., m, n] = a [.., m, k] b [.., k, n]`.
pub(crate) fn run(gpu: &Gpu, a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    let (m, k) = matrix(a.shape());
    let n = matrix(b.shape()).1;
    product(gpu, [m, n, k], &Factor::of(a), &Factor::of(b), None, y)
}

/// `y [.., n] = x [.., k] w [n, k]^T (+ bias [n])`.
pub(crate) fn affine(gpu: &Gpu, x: &Array, w: &Array, bias: Option<&Array>, y: &mut Array) -> Result<()> {
    let (n, k) = matrix(w.shape());
    let m = y.shape().numel().checked_div(n).unwrap_or(0);
    let x = match rows_of(x) {
        Some(step) => Factor { array: x.clone(), strides: [step, last_stride(x)], batch: SmallVec::new() },
        None => Factor { array: x.contiguous()?, strides: [k as isize, 1], batch: SmallVec::new() },
    };
    let turned = Factor {
        array: w.clone(),
        strides: [w.layout().strides()[1], w.layout().strides()[0]],
        batch: SmallVec::new(),
    };
    let bias = bias.map(Array::contiguous).transpose()?;
    product(gpu, [m, n, k], &x, &turned, bias.as_ref(), y)
}

/// The sizes of the last two dimensions.
fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape {
        [.., rows, columns] => (*rows, *columns),
        [columns] => (1, *columns),
        [] => (1, 1),
    }
}

fn last_stride(x: &Array) -> isize {
    x.layout().strides().last().copied().unwrap_or(1)
}

/// The one distance of all rows (places of all dimensions but the last), if there is one.
fn rows_of(x: &Array) -> Option<isize> {
    let layout = x.layout();
    let rank = layout.rank();
    let lead = layout.shape().iter().copied().zip(layout.strides().iter().copied()).take(rank.saturating_sub(1));
    match &joined(lead)[..] {
        [] => Some(layout.shape().last().copied().unwrap_or(1) as isize),
        [(_, step)] => Some(*step),
        _ => None,
    }
}

/// Dimensions without those of size 1, and neighbours that lie one after the other as one.
fn joined(dims: impl Iterator<Item = (usize, isize)>) -> SmallVec<[(usize, isize); 6]> {
    let mut out: SmallVec<[(usize, isize); 6]> = SmallVec::new();
    for (size, stride) in dims.filter(|(size, _)| *size != 1) {
        match out.last_mut() {
            Some(last) if last.1 == stride * size as isize => *last = (last.0 * size, stride),
            _ => out.push((size, stride)),
        }
    }
    out
}

impl Factor {
    fn of(x: &Array) -> Self {
        let layout = x.layout();
        let rank = layout.rank();
        let dims = layout.shape().iter().copied().zip(layout.strides().iter().copied());
        let strides = [layout.strides()[rank - 2], layout.strides()[rank - 1]];
        Self { array: x.clone(), strides, batch: joined(dims.take(rank - 2)) }
    }

    /// As the library takes it: rows or columns without gaps, matrices in even distances.
    fn side(&self, rows: usize, columns: usize) -> Option<Side> {
        let batch = match self.batch[..] {
            [] => 0,
            [(_, stride)] => usize::try_from(stride).ok()?,
            _ => return None,
        };
        let [row, column] = self.strides;
        // The distance of a single row or column is whatever suits.
        let step = |stride: isize, count: usize, length: usize| match count {
            0 | 1 => Some(length.max(1)),
            _ => usize::try_from(stride).ok().filter(|step| *step >= length.max(1)),
        };
        if (column == 1 || columns == 1)
            && let Some(step) = step(row, rows, columns)
        {
            return Some(Side { turned: false, step, batch });
        }
        if row == 1 || rows == 1 {
            return Some(Side { turned: true, step: step(column, columns, rows)?, batch });
        }
        None
    }

    /// The same values, row-major.
    fn copied(&self, rows: usize, columns: usize) -> Result<Self> {
        let [row, column] = self.strides;
        let dims = self.batch.iter().copied().chain([(rows, row), (columns, column)]);
        let sizes: Shape = dims.clone().map(|(size, _)| size).collect();
        let strides = dims.map(|(_, stride)| stride).collect();
        let layout = Layout::new(sizes, strides, self.array.layout().offset());
        let (dtype, device) = (self.array.dtype(), self.array.device());
        Ok(Self::of(&Array::new(dtype, device, layout, self.array.storage().clone())?.copied()?))
    }
}

/// A factor as the library takes it; copied where it must be.
fn sided(factor: &Factor, rows: usize, columns: usize) -> Result<(Option<Factor>, Side)> {
    if let Some(side) = factor.side(rows, columns) {
        return Ok((None, side));
    }
    let copy = factor.copied(rows, columns)?;
    let dense = Side { turned: false, step: columns.max(1), batch: rows * columns };
    Ok((Some(copy), dense))
}

fn product(
    gpu: &Gpu,
    [m, n, k]: [usize; 3],
    a: &Factor,
    b: &Factor,
    bias: Option<&Array>,
    y: &mut Array,
) -> Result<()> {
    if y.shape().numel() == 0 {
        return Ok(());
    }
    if k == 0 {
        return match bias {
            Some(bias) => {
                let spread =
                    Array::new(y.dtype(), y.device(), bias.layout().expand(y.shape())?, bias.storage().clone())?;
                crate::copy::run(gpu, &spread, y)
            }
            None => crate::random::run(gpu, &Random::Fill(0.0.into()), &[], y),
        };
    }
    let batch = y.shape().numel() / (m * n);
    if matches!(y.dtype(), DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
        let ((a_copy, a_side), (b_copy, b_side)) = (sided(a, m, k)?, sided(b, k, n)?);
        let (a, b) = (a_copy.as_ref().unwrap_or(a), b_copy.as_ref().unwrap_or(b));
        let operands =
            Operands { a: address(&a.array), b: address(&b.array), bias: bias.map_or(0, address), y: address(y) };
        let product = Product {
            dtype: y.dtype(),
            batch,
            m,
            n,
            k,
            a: a_side,
            b: b_side,
            bias: bias.is_some(),
            alignment: operands.alignment(),
        };
        if gpu.driver.product(&product, &operands)? {
            return Ok(());
        }
    }
    own(gpu, [batch, m, n, k], a, b, bias, y)
}

/// Our own kernel, in slices of the batch that a grid holds.
fn own(gpu: &Gpu, [batch, m, n, k]: [usize; 4], a: &Factor, b: &Factor, bias: Option<&Array>, y: &Array) -> Result<()> {
    if batch > MOST || m.div_ceil(TILE) > MOST {
        return Err(esker_tensor::Error::unavailable(format!(
            "a product of {batch} matrices with {m} rows of {} without cuBLASLt",
            y.dtype()
        )));
    }
    let kernel = gpu.kernel(esker_kernels::MATMUL, "matmul", &[("T", name_of(y.dtype()))])?;
    let blocks = [n.div_ceil(TILE), m.div_ceil(TILE), batch].map(|v| u32::try_from(v).unwrap_or(u32::MAX));
    let grid = Grid { blocks, threads: 256, shared: 0 };
    let view = |f: &Factor| View::new(f.batch.iter().copied());
    let [m, n, k] = [m, n, k].map(|v| v as i64);
    let [a_row, a_column] = a.strides.map(|v| v as i64);
    let [b_row, b_column] = b.strides.map(|v| v as i64);
    let (x, w, bias, to) = (address(&a.array), address(&b.array), bias.map_or(0, address), address(y));
    gpu.launch(kernel, grid, args![x, w, bias, to, m, n, k, a_row, a_column, b_row, b_column, view(a), view(b)])
}
