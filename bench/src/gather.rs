//! Rows taken from a table and added to it, and pieces put side by side.

use esker::prelude::*;

use crate::bench::{Bench, Pair, Work};
use crate::data::{count, integers};

pub(crate) fn run(bench: &Bench) -> Result<()> {
    bench.pair(
        Pair::new("embedding_10000x256_8192", &[0], Work::new(0.0, 8.0 * count(&[8192, 256]))),
        || Ok(vec![Tensor::randn([10_000, 256])?, integers(10_000, [8192])?]),
        |x| x[1].embedding(&x[0], None),
    )?;
    let moved = 8.0 * count(&[50_000, 64]);
    bench.pair(
        Pair::new("index_select_100000x64_50000", &[0], Work::new(0.0, moved)),
        || Ok(vec![Tensor::randn([100_000, 64])?, integers(100_000, [50_000])?]),
        |x| x[0].index_select(&x[1], 0),
    )?;
    let scatter = "scatter_add_100000x64_50000_fwd";
    if bench.wants(scatter) {
        let (table, places) = (Tensor::zeros([100_000, 64])?, integers(100_000, [50_000])?);
        let rows = Tensor::randn([50_000, 64])?;
        let work = Work::new(0.0, moved + 8.0 * count(&[100_000, 64]));
        bench.run(scatter, work, || table.index_add(&places, &rows, 0, 1.0));
    }
    bench.pair(
        Pair::new("cat_8x1024x512", &[0, 1, 2, 3, 4, 5, 6, 7], Work::new(0.0, 8.0 * count(&[8, 1024, 512]))),
        || (0..8).map(|_| Tensor::randn([1024, 512])).collect(),
        |x| Tensor::cat(&x.iter().collect::<Vec<_>>(), 1),
    )
}
