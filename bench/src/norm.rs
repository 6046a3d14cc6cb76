//! Normalisation of rows and of channels.

use esker::nn::BatchNorm2d;
use esker::prelude::*;

use crate::bench::{Bench, Pair, Work};
use crate::data::count;

pub(crate) fn run(bench: &Bench) -> Result<()> {
    let n = count(&[4096, 768]);
    bench.pair(
        Pair::new("layernorm_4096x768", &[0, 1, 2], Work::new(8.0 * n, 8.0 * n)).both(Work::new(20.0 * n, 24.0 * n)),
        || Ok(vec![Tensor::randn([4096, 768])?, Tensor::randn([768])?, Tensor::randn([768])?]),
        |x| x[0].layer_norm(Some(&x[1]), Some(&x[2]), [768], 1e-5),
    )?;
    batch_norm(bench)
}

/// In training: the running statistics follow, as in the peers.
fn batch_norm(bench: &Bench) -> Result<()> {
    let (shape, name) = ([32, 64, 56, 56], "batchnorm_32x64x56x56");
    if !bench.wants_pair(name) {
        return Ok(());
    }
    let (n, norm, x) = (count(&shape), BatchNorm2d::new(64)?, Tensor::randn(shape)?);
    bench.run(&format!("{name}_fwd"), Work::new(8.0 * n, 12.0 * n), || no_grad(|| norm.forward(&x)));
    let mut leaves = vec![x.tracked()?];
    leaves.extend(norm.parameters().iter().map(Param::tensor));
    let (x, work) = (&leaves[0], Work::new(20.0 * n, 32.0 * n));
    bench.backward(&format!("{name}_fwdbwd"), work, 1.0, &leaves.iter().collect::<Vec<_>>(), || norm.forward(x));
    Ok(())
}
