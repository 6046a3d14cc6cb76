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
    let (count, fault) = (n as i64, gpu.fault());
    let views: SmallVec<[_; 5]> = match form {
        Form::Dense { .. } => SmallVec::new(),
        Form::Strided { .. } => (1..=x.len()).chain([0]).map(|i| walk.view(i)).collect(),
    };
    let mut args: SmallVec<[&[u8]; 12]> = addresses.iter().map(bytemuck::bytes_of).collect();
    args.push(bytemuck::bytes_of(&count));
    args.push(bytemuck::bytes_of(&fault));
    args.extend(views.iter().map(bytemuck::bytes_of));
    let threads = match form {
        Form::Dense { pack, .. } => n.div_ceil(usize::from(pack)),
        Form::Strided { .. } => n,
    };
    gpu.launch(kernel, gpu.spread(threads, THREADS), &args)
}

fn form_of(walk: &Walk, x: &[&Array], y: &Array) -> Form {
    let dense = walk.is_dense(0) && (1..=x.len()).all(|i| walk.is_dense(i) || walk.is_one(i));
    if !dense {
        let reach = |i: usize| {
            let far = |(size, stride): (&usize, &isize)| (size - 1) * stride.unsigned_abs();
            walk.sizes.iter().zip(&walk.strides[i]).map(far).sum::<usize>()
        };
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
