//! Every row of the op table, forward, on its largest f32 sample: `cargo bench --bench ops -- softmax`.
//!
//! Rows come from the table, so a new op has its line here without a word. Samples are small; what is timed is mostly
//! the cost of a call. The kernels at real sizes have examples of their own in `crates/cpu`.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use esker::ops::Value;
use esker::ops::spec::{Row, Sample};
use esker::prelude::*;

fn largest(samples: &[Sample]) -> Option<&Sample> {
    let fits = |s: &&Sample| !s.is_error() && s.dtypes.list().contains(&DType::F32);
    samples.iter().filter(fits).max_by_key(|s| s.inputs.iter().map(|x| x.numel()).sum::<usize>())
}

fn ops(c: &mut Criterion) {
    let mut group = c.benchmark_group("ops");
    for Row { name, samples, .. } in esker::ops::table::rows() {
        let Some(sample) = largest(&samples) else { continue };
        let arrays = sample.materialize(DType::F32, 1).unwrap();
        let x: Vec<Tensor> = arrays.into_iter().map(Tensor::from_array).collect();
        let inputs: Vec<&Tensor> = x.iter().collect();
        group.bench_function(name, |b| b.iter(|| Tensor::apply(sample.op.clone(), &inputs).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, ops);
criterion_main!(benches);
