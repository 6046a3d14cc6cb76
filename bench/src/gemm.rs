//! Matrix products.

use esker::prelude::*;

use crate::bench::{Bench, Pair, Work};
use crate::data::count;

/// Rows, inner size, columns.
const SIZES: [[usize; 3]; 7] = [
    [256, 256, 256],
    [512, 512, 512],
    [1024, 1024, 1024],
    [2048, 2048, 2048],
    [1, 1024, 1024],
    [32, 768, 3072],
    [128, 784, 512],
];

pub(crate) fn run(bench: &Bench) -> Result<()> {
    for [m, k, n] in SIZES {
        let work = Work::new(2.0 * count(&[m, k, n]), 4.0 * (count(&[m, k]) + count(&[k, n]) + count(&[m, n])));
        let both = Work::new(6.0 * count(&[m, k, n]), 12.0 * (count(&[m, k]) + count(&[k, n]) + count(&[m, n])));
        bench.pair(
            Pair::new(&format!("gemm_{m}x{k}x{n}"), &[0, 1], work).both(both),
            || Ok(vec![Tensor::randn([m, k])?, Tensor::randn([k, n])?]),
            |x| x[0].mm(&x[1]),
        )?;
    }
    Ok(())
}
