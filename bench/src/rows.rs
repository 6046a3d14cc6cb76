//! Functions of whole rows and columns.

use esker::prelude::*;

use crate::bench::{Bench, Pair, Work};
use crate::data::{count, integers};

const SHAPE: [usize; 2] = [4096, 1024];

pub(crate) fn run(bench: &Bench) -> Result<()> {
    let n = count(&SHAPE);
    let x = || Ok(vec![Tensor::randn(SHAPE)?]);
    let work = |flops: f64, bytes: f64| Work::new(flops * n, bytes * n);
    let pair = |name, flops, bytes| Pair::new(name, &[0], work(flops, bytes));
    bench.pair(pair("softmax_4096x1024", 25.0, 8.0).both(work(30.0, 20.0)), x, |x| x[0].softmax(1))?;
    bench.pair(
        pair("xent_4096x1024", 25.0, 4.0).both(work(30.0, 12.0)),
        || Ok(vec![Tensor::randn(SHAPE)?, integers(1024, [4096])?]),
        |x| cross_entropy(&x[0], &x[1]),
    )?;
    bench.pair(pair("sum_all_4096x1024", 1.0, 4.0), x, |x| x[0].sum((), false))?;
    bench.pair(pair("sum_rows_4096x1024", 1.0, 4.0), x, |x| x[0].sum(1, false))?;
    bench.pair(pair("sum_cols_4096x1024", 1.0, 4.0), x, |x| x[0].sum(0, false))?;
    bench.pair(pair("max_rows_4096x1024", 1.0, 4.0), x, |x| x[0].amax(1, false))?;
    let argmax = "argmax_rows_4096x1024_fwd";
    if bench.wants(argmax) {
        let x = Tensor::randn(SHAPE)?;
        bench.run(argmax, work(1.0, 4.0), || x.argmax(1, false));
    }
    Ok(())
}
