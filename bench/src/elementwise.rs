//! Functions of single elements, from one number to ten million, and a chain of them.

use esker::prelude::*;

use crate::bench::{Bench, Pair, Work};

const SIZES: [(usize, &str); 4] = [(1, "1"), (1000, "1e3"), (100_000, "1e5"), (10_000_000, "1e7")];

pub(crate) fn run(bench: &Bench) -> Result<()> {
    SIZES.iter().try_for_each(|&(n, size)| sized(bench, n, size))
}

fn sized(bench: &Bench, n: usize, size: &str) -> Result<()> {
    let x = || Ok(vec![Tensor::randn([n])?]);
    // What a call costs by itself decides below a thousand elements or so.
    let work = |flops: f64, bytes: f64| match n {
        0..=1000 => Work::default(),
        _ => Work::new(flops * n as f64, bytes * n as f64),
    };
    bench.pair(
        Pair::new(&format!("add_{size}"), &[0, 1], work(1.0, 12.0)),
        || Ok(vec![Tensor::randn([n])?, Tensor::randn([n])?]),
        |x| x[0].add(&x[1]),
    )?;
    bench.pair(Pair::new(&format!("exp_{size}"), &[0], work(20.0, 8.0)), x, |x| x[0].exp())?;
    let gelu = format!("gelu_{size}");
    bench.pair(Pair::new(&gelu, &[0], work(40.0, 8.0)).both(work(80.0, 20.0)), x, |x| x[0].gelu())?;
    let chain = format!("chain_{size}");
    bench.pair(Pair::new(&chain, &[0], work(3.0, 4.0)).both(work(4.0, 12.0)), x, |x| {
        (&x[0] * 2.0 + 1.0).relu()?.sum((), false)
    })
}
