//! Samples of the op table, and whole models, as graphs.
#![allow(dead_code, clippy::unwrap_used)]

use esker_graph::{Dim, Graph, InputSpec, Sym, capture};
use esker_ops::spec::{Row, Sample};
use esker_ops::{Array, Ops, Value};
use esker_tensor::{DType, Device, Result, Shape};

/// The rows of the table; with `ESKER_ROWS=conv,pool` only those whose names contain one of these, for work on a few.
pub(crate) fn rows() -> Vec<Row> {
    let rows = esker_ops::table::rows();
    let Ok(only) = std::env::var("ESKER_ROWS") else { return rows };
    rows.into_iter().filter(|row| only.split(',').any(|part| row.name.contains(part))).collect()
}

/// A sample as a graph with the sizes that it states.
pub(crate) fn fixed(sample: &Sample, dtype: DType) -> Result<Graph> {
    graph(sample, dtype, |_| false)
}

/// A sample as a graph whose first dimension is the batch, of all inputs that agree in it or of the first alone; `None`
/// where the op's attributes tie it to one size, and where it does something else at this size than at others (`squeeze`
/// of a batch of 1).
pub(crate) fn batched(sample: &Sample, dtype: DType) -> Option<Graph> {
    let first = *sample.inputs.first()?.shape.first()?;
    let agree = |i: usize| sample.inputs[i].shape.first() == Some(&first);
    let shape = |g: &Graph| {
        let ops: Vec<&str> = g.nodes.iter().map(|n| n.op.name()).collect();
        let ranks: Vec<usize> = g.outputs.iter().map(|o| g.value(o.id).unwrap().dims.len()).collect();
        (ops, ranks)
    };
    let fixed = fixed(sample, dtype).ok()?;
    let some = |g: Graph| (g.has_batch() && shape(&g) == shape(&fixed)).then_some(g);
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

/// An array of some numbers.
pub(crate) fn filled(shape: &[usize]) -> Array {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 200.0).collect();
    Array::from_slice(&values, Shape::new(shape).unwrap()).unwrap()
}

/// Conv, relu, max pooling, flatten, two linear layers.
pub(crate) fn net() -> Graph {
    let [w1, b1, w2, b2] = [&[8, 1, 3, 3][..], &[8], &[128, 10], &[10]].map(|s| Sym::new(filled(s)));
    let model = |x: &Sym| -> Result<Sym> {
        let x = x.conv2d(&w1, Some(&b1), 1, 1, 1, 1)?.relu()?;
        let x = x.max_pool2d(2, (), 0, 1, false)?;
        let n = x.array().shape()[0];
        x.reshape([n, 128])?.matmul(&w2)?.add(&b2)?.log_softmax(-1)
    };
    let spec = InputSpec::new("x", DType::F32, &[None, Some(1), Some(8), Some(8)]);
    let mut graph = capture(&[spec], |x| Ok(vec![model(&Sym::new(x[0].clone()))?.into_array()])).unwrap();
    graph.name_consts([("conv.weight", w1.array()), ("fc.weight", w2.array())]);
    graph
}

/// A graph of one input `x`.
pub(crate) fn of(dims: &[Option<usize>], model: impl Fn(&Sym) -> Result<Vec<Sym>>) -> Graph {
    let spec = InputSpec::new("x", DType::F32, dims);
    capture(&[spec], |x| Ok(model(&Sym::new(x[0].clone()))?.into_iter().map(Sym::into_array).collect())).unwrap()
}

/// A model of `[N, 4]` whose sizes follow the batch in many ways.
pub(crate) fn sized() -> Graph {
    of(&[None, Some(4)], |x| {
        let n = x.array().shape()[0];
        let wide = x.reshape([n, 1, 4])?.expand([n, 3, 4])?;
        let twice = Sym::cat(&[&wide, &wide], 0)?.slice(0, 1, 2 * n as i64, 1)?;
        let count = Sym::iota(0.0, 1.0, n as i64, DType::I64, Device::Meta)?;
        let zeros = Sym::full(0.0, [n, n + 2], DType::F32, Device::Meta)?;
        let end = x.slice(0, n as i64 - 1, i64::MAX, 1)?;
        Ok(vec![twice.reshape([2 * n - 1, 12])?, count, zeros, x.reshape([2, n, 2])?, end])
    })
}
