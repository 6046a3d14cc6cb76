//! Pooling, and elements moved to other places of a plane.

use esker::prelude::*;

use crate::bench::{Bench, Pair, Work};
use crate::data::count;

pub(crate) fn run(bench: &Bench) -> Result<()> {
    let shape = [32, 64, 56, 56];
    let n = count(&shape);
    bench.pair(
        Pair::new("maxpool2_32x64x56x56", &[0], Work::new(n, 5.0 * n)),
        || Ok(vec![Tensor::randn(shape)?]),
        |x| x[0].max_pool2d([2, 2], (), [0, 0], [1, 1], false),
    )?;
    let moved = "nchw_to_nhwc_32x64x56x56_fwd";
    if bench.wants(moved) {
        let x = Tensor::randn(shape)?;
        bench.run(moved, Work::new(0.0, 8.0 * n), || x.permute([0, 2, 3, 1])?.contiguous());
    }
    let (transpose, broadcast) = ("transpose_4096_fwd", "broadcast_add_4096_fwd");
    if bench.wants(transpose) || bench.wants(broadcast) {
        let x = Tensor::randn([4096, 4096])?;
        let work = Work::new(0.0, 8.0 * count(&[4096, 4096]));
        bench.run(transpose, work, || x.transpose(0, 1)?.contiguous());
        bench.run(broadcast, work, || x.add(&x.select(0, 0)?));
    }
    Ok(())
}
