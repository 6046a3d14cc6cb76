//! Sorting, running sums, random numbers.

use esker::prelude::*;

use crate::bench::{Bench, Work};

const N: usize = 1_000_000;

pub(crate) fn run(bench: &Bench) -> Result<()> {
    if ["sort_1e6_fwd", "topk100_1e6_fwd", "cumsum_1e6_fwd"].iter().any(|name| bench.wants(name)) {
        let x = Tensor::randn([N])?;
        bench.run("sort_1e6_fwd", Work::default(), || x.sort(-1, false, false));
        bench.run("topk100_1e6_fwd", Work::default(), || x.topk(100, -1, true, true));
        bench.run("cumsum_1e6_fwd", Work::new(N as f64, 8.0 * N as f64), || x.cumsum(0, false));
    }
    let rows = "cumsum_rows_1024x1024_fwd";
    if bench.wants(rows) {
        let x = Tensor::randn([1024, 1024])?;
        bench.run(rows, Work::new(1024.0 * 1024.0, 8.0 * 1024.0 * 1024.0), || x.cumsum(1, false));
    }
    bench.run("randn_1e6_fwd", Work::default(), || Tensor::randn([N]));
    Ok(())
}
