//! Elementwise kernels, written from the ops' own expressions.

mod text;

use esker_ops::{Array, Map};
use esker_tensor::{DType, Error, Result};
use smallvec::SmallVec;

use crate::gpu::{Gpu, address};
use crate::view::Walk;

/// Threads of a block.
const THREADS: u32 = 256;

/// What an elementwise kernel is compiled for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Kind {
    map: Map,
    /// Of the inputs, then of the output.
    dtypes: SmallVec<[DType; 5]>,
    form: Form,
}

/// How the operands of a kernel lie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Form {
    /// All without gaps in one order, but for those whose bit is set in `ones`, which are one element; `pack` elements are
    /// moved at once.
    Dense { ones: u8, pack: u8 },
    /// Rows without gaps, wherever they lie, but for the operands whose bit is set in `ones`, which are one element in each row.
    Rows { ones: u8, pack: u8 },
    /// By strides; places fit 32 bits if so.
    Strided { short: bool },
}

/// `y = map(x..)`.
pub(crate) fn run(gpu: &Gpu, map: Map, x: &[&Array], y: &mut Array) -> Result<()> {
    let needed = match map {
        Map::Value(op) => op.info().arity,
        Map::Grad { op, .. } => op.info().arity + 1,
        Map::Compare(_) | Map::Bits(_) => 2,
        Map::Select => 3,
    };
    if x.len() != needed {
        return Err(Error::shape(format!("{needed} inputs are needed, got {}", x.len())));
    }
    queue(gpu, map, x, y)
}

/// `target = map(target, others..)`.
pub(crate) fn run_in_place(gpu: &Gpu, map: Map, target: &mut Array, others: &[&Array]) -> Result<()> {
    // Every element is read by the thread that writes it, before it does.
    let first = target.clone();
    let mut x: SmallVec<[&Array; 4]> = SmallVec::new();
    x.push(&first);
    x.extend(others.iter().copied());
    run(gpu, map, &x, target)
}

fn queue(gpu: &Gpu, map: Map, x: &[&Array], y: &Array) -> Result<()> {
    let mut layouts: SmallVec<[_; 5]> = SmallVec::new();
    layouts.push(y.layout());
    layouts.extend(x.iter().map(|x| x.layout()));
    let walk = Walk::new(y.shape(), &layouts)?;
    let n = walk.len();
    if n == 0 {
        return Ok(());
    }
    let form = form_of(&walk, x, y);
    let dtypes: SmallVec<[DType; 5]> = x.iter().map(|x| x.dtype()).chain([y.dtype()]).collect();
    let kind = Kind { map, dtypes, form };
    let kernel = gpu.generated(kind.clone(), || text::of(&kind))?;
    let addresses: SmallVec<[usize; 5]> = x.iter().map(|x| address(x)).chain([address(y)]).collect();
    let columns = walk.sizes.last().copied().unwrap_or(1);
    let (count, fault, across) = match form {
        Form::Rows { pack, .. } => (n / columns, gpu.fault(), across(columns / usize::from(pack))),
        _ => (n, gpu.fault(), 0),
    };
    let (count, width) = (count as i64, columns as i64);
    let views: SmallVec<[_; 5]> = match form {
        Form::Dense { .. } => SmallVec::new(),
        Form::Rows { .. } => (1..=x.len()).chain([0]).map(|i| walk.rows(i)).collect(),
        Form::Strided { .. } => (1..=x.len()).chain([0]).map(|i| walk.view(i)).collect(),
    };
    let mut args: SmallVec<[&[u8]; 16]> = addresses.iter().map(bytemuck::bytes_of).collect();
    args.push(bytemuck::bytes_of(&count));
    args.push(bytemuck::bytes_of(&fault));
    args.extend(views.iter().map(bytemuck::bytes_of));
    let grid = match form {
        Form::Dense { pack, .. } => gpu.spread(n.div_ceil(usize::from(pack)), THREADS),
        Form::Strided { .. } => gpu.spread(n, THREADS),
        Form::Rows { .. } => {
            args.push(bytemuck::bytes_of(&width));
            args.push(bytemuck::bytes_of(&across));
            gpu.spread(n / columns * across as usize, THREADS)
        }
    };
    gpu.launch(kernel, grid, &args)
}

/// Threads that share a row of so many packs: a power of two, at most a block.
fn across(packs: usize) -> u32 {
    u32::try_from(packs.next_power_of_two()).unwrap_or(THREADS).min(THREADS)
}

fn form_of(walk: &Walk, x: &[&Array], y: &Array) -> Form {
    let dense = walk.is_dense(0) && (1..=x.len()).all(|i| walk.is_dense(i) || walk.is_one(i));
    if !dense {
        let reach = |i: usize| {
            let far = |(size, stride): (&usize, &isize)| (size - 1) * stride.unsigned_abs();
            walk.sizes.iter().zip(&walk.strides[i]).map(far).sum::<usize>()
        };
        if let Some(rows) = rows_of(walk, x, y) {
            return rows;
        }
        let short = walk.len() < 1 << 31 && (0..=x.len()).all(|i| reach(i) < 1 << 31);
        return Form::Strided { short };
    }
    let one = |i: &usize| walk.is_one(i + 1) && !walk.is_dense(i + 1);
    let ones = (0..x.len()).filter(one).fold(0, |bits, i| bits | 1 << i);
    let moved = x.iter().enumerate().filter(|(i, _)| ones >> i & 1 == 0).map(|(_, x)| *x).chain([y]);
    let pack = 16 / moved.clone().map(|x| x.dtype().size()).max().unwrap_or(8);
    let aligned = moved.clone().all(|x| address(x).is_multiple_of(pack * x.dtype().size()));
    Form::Dense { ones, pack: if aligned { pack as u8 } else { 1 } }
}

/// Columns from which on rows are worth their own loop.
const WIDE: usize = 32;

/// The form of operands whose rows have no gaps, or are one element.
fn rows_of(walk: &Walk, x: &[&Array], y: &Array) -> Option<Form> {
    let columns = *walk.sizes.last()?;
    let inner = |i: usize| walk.strides[i].last().copied();
    let fits = inner(0) == Some(1) && (1..=x.len()).all(|i| matches!(inner(i), Some(0 | 1)));
    if columns < WIDE || !fits {
        return None;
    }
    let ones = (0..x.len()).filter(|&i| inner(i + 1) == Some(0)).fold(0u8, |bits, i| bits | 1 << i);
    let moved = || (0..=x.len()).filter(|&i| i == 0 || ones >> (i - 1) & 1 == 0);
    let operand = |i: usize| if i == 0 { y } else { x[i - 1] };
    let pack = 16 / moved().map(|i| operand(i).dtype().size()).max()?;
    let aligned = moved().all(|i| {
        let outer = walk.strides[i].split_last().map_or(&[][..], |(_, outer)| outer);
        let even = outer.iter().all(|stride| stride.unsigned_abs().is_multiple_of(pack));
        even && address(operand(i)).is_multiple_of(pack * operand(i).dtype().size())
    });
    Some(Form::Rows { ones, pack: if aligned { pack as u8 } else { 1 } })
}
