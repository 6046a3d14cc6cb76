//! Steps of optimisers in one pass over a parameter, its gradient and what is remembered of it, with the CPU's bits.

use esker_ops::{Array, Update};
use esker_tensor::{DType, Error, Result};

use crate::gpu::{Gpu, address, args, name_of};
use crate::reduce::digits;

/// Threads of a block.
const THREADS: u32 = 256;

/// Runs a step where all operands are f32 or all f64 and lie alike without gaps; says whether it did.
pub(crate) fn run(gpu: &Gpu, update: &Update, p: &mut Array, grad: &Array, states: &mut [&mut Array]) -> Result<bool> {
    let dtype = p.dtype();
    let alike =
        |x: &Array| x.dtype() == dtype && x.shape() == p.shape() && x.layout().strides() == p.layout().strides();
    let needed = match update {
        Update::Adam(_) => 2,
        Update::Momentum(_) => 1,
    };
    let fits = matches!(dtype, DType::F32 | DType::F64) && states.len() == needed && p.layout().dense_order().is_some();
    if !fits || !alike(grad) || !states.iter().all(|s| alike(s)) {
        return Ok(false);
    }
    if !p.storage().is_unique() || states.iter().any(|s| !s.storage().is_unique()) {
        return Err(Error::kernel("an output shares its memory with another array"));
    }
    let n = p.shape().numel();
    let ends =
        [address(p), address(grad), states.first().map_or(0, |s| address(s)), states.get(1).map_or(0, |s| address(s))];
    let pack = if ends.iter().all(|end| end.is_multiple_of(16)) { 16 / dtype.size() } else { 1 };
    let [p, grad, first, second] = ends;
    let (grid, count) = (gpu.spread(n.div_ceil(pack), THREADS), n as i64);
    let (x, packed) = (("X", name_of(dtype)), ("PACK", digits(pack)));
    match update {
        Update::Adam(c) => {
            let kernel = gpu.kernel(esker_kernels::UPDATE, "adam", &[x, packed, ("ADAM", "1")])?;
            let ((b1, b2), rest1, rest2) = (c.betas, 1.0 - c.betas.0, 1.0 - c.betas.1);
            let args =
                args![p, grad, first, second, count, c.keep, c.pull, b1, rest1, b2, rest2, c.root, c.eps, c.rate];
            gpu.launch(kernel, grid, args)?;
        }
        Update::Momentum(c) => {
            let nesterov = ("NESTEROV", digits(usize::from(c.nesterov)));
            let kernel = gpu.kernel(esker_kernels::UPDATE, "momentum", &[x, packed, ("MOMENTUM", "1"), nesterov])?;
            let ahead = -(c.rate * c.momentum);
            gpu.launch(kernel, grid, args![p, grad, first, count, c.pull, c.momentum, c.fresh, c.rate, ahead])?;
        }
    }
    Ok(true)
}
