//! Samples of the op table as graphs.
#![allow(dead_code)]

use esker_graph::{Dim, Graph, InputSpec, Sym, capture};
use esker_ops::Value;
use esker_ops::spec::Sample;
use esker_tensor::{DType, Device, Result};

/// A sample as a graph with the sizes that it states.
pub(crate) fn fixed(sample: &Sample, dtype: DType) -> Result<Graph> {
    graph(sample, dtype, |_| false)
}

/// A sample as a graph whose first dimension is the batch, of all inputs that agree in it or of the first alone; `None`
/// where the op's attributes tie it to one size.
pub(crate) fn batched(sample: &Sample, dtype: DType) -> Option<Graph> {
    let first = *sample.inputs.first()?.shape.first()?;
    let agree = |i: usize| sample.inputs[i].shape.first() == Some(&first);
    let some = |g: Graph| g.has_batch().then_some(g);
    graph(sample, dtype, agree).ok().and_then(some).or_else(|| graph(sample, dtype, |i| i == 0).ok().and_then(some))
}

fn graph(sample: &Sample, dtype: DType, batch: impl Fn(usize) -> bool) -> Result<Graph> {
    let spec = |(i, meta): (usize, esker_ops::Meta)| {
        let mut dims: Vec<Dim> = meta.shape.iter().map(|&n| n.into()).collect();
        if let Some(d) = dims.first_mut().filter(|_| batch(i)) {
            *d = Dim::BATCH;
        }
        InputSpec { name: format!("x{i}"), dtype: meta.dtype, dims }
    };
    let specs: Vec<InputSpec> = sample.metas(dtype, Device::Meta).into_iter().enumerate().map(spec).collect();
    let op = sample.op_on(Device::Meta);
    capture(&specs, |x| {
        let x: Vec<Sym> = x.iter().cloned().map(Sym::new).collect();
        let y = Sym::apply(op.clone(), &x.iter().collect::<Vec<_>>())?;
        Ok(y.into_iter().map(Sym::into_array).collect())
    })
}
