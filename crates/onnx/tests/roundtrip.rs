//! Every sample of the op table: captured, run, exported, imported, run again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use esker_graph::{Executor, Graph};
use esker_onnx::{ExportOptions, export, import};
use esker_ops::spec::{Row, Sample, tolerance};
use esker_ops::{Array, Value};
use esker_tensor::{DType, Result};

/// The largest difference relative to `max(1, |b|)`; infinite for different shapes, dtypes, NaNs or infinities.
fn difference(a: &[Array], b: &[Array]) -> f64 {
    if a.len() != b.len() || a.iter().zip(b).any(|(a, b)| a.shape() != b.shape() || a.dtype() != b.dtype()) {
        return f64::INFINITY;
    }
    let pairs = a.iter().zip(b).flat_map(|(a, b)| a.to_f64_vec().unwrap().into_iter().zip(b.to_f64_vec().unwrap()));
    let off = |(a, b): (f64, f64)| match a == b || (a.is_nan() && b.is_nan()) {
        true => 0.0,
        false if (a - b).is_finite() => (a - b).abs() / b.abs().max(1.0),
        false => f64::INFINITY,
    };
    pairs.map(off).fold(0.0, f64::max)
}

fn run(graph: Graph, x: &[Array]) -> Result<Vec<Array>> {
    Executor::new(graph)?.run(x)
}

fn check(sample: &Sample, dtype: DType, graph: Graph, opsets: &[u32]) -> std::result::Result<usize, String> {
    let text = |e: esker_tensor::Error| e.to_string();
    let x = sample.materialize(dtype, 1).map_err(text)?;
    let eager = Array::apply(sample.op.clone(), &x.iter().collect::<Vec<_>>()).map_err(text)?.into_vec();
    let captured = run(graph.clone(), &x).map_err(|e| format!("captured: {e}\n{graph}"))?;
    if difference(&captured, &eager) != 0.0 {
        return Err(format!("the captured graph gives other bits\n{graph}"));
    }
    let mut exported = 0;
    for &opset in opsets {
        let bytes = match export(&graph, &ExportOptions { opset, ..ExportOptions::default() }) {
            Ok(bytes) => bytes,
            Err(e) if e.to_string().contains("has no ONNX form") => continue,
            Err(e) => return Err(format!("opset {opset}: {e}")),
        };
        exported += 1;
        let back = import(&bytes).map_err(|e| format!("import at opset {opset}: {e}\n{graph}"))?;
        let listing = back.to_string();
        let same = back.nodes.len() == 1 && graph.nodes.len() == 1 && back.nodes[0].op == graph.nodes[0].op;
        let again = run(back, &x).map_err(|e| format!("imported at opset {opset}: {e}\n{listing}"))?;
        let off = difference(&again, &eager);
        // Compositions round every step to a half type, kernels the result alone.
        let slack = if dtype.size() == 2 { 10.0 } else { 1.0 };
        let allowed = if same { 0.0 } else { tolerance(eager[0].dtype()) * slack + sample.slack };
        if off.is_nan() || off > allowed {
            return Err(format!("off by {off:e} after export at opset {opset} and import\n{listing}"));
        }
    }
    Ok(exported)
}

#[test]
fn samples_survive_export_and_import() {
    esker_cpu::register();
    let (mut failures, mut exported, mut batches) = (Vec::new(), 0, 0);
    for Row { name, samples, .. } in common::rows() {
        for (i, sample) in samples.iter().enumerate().filter(|(_, s)| !s.is_error() && !s.op.reads_values()) {
            for &dtype in sample.dtypes.list() {
                let opsets: &[u32] = if dtype == DType::F32 { &[13, 17, 20, 23] } else { &[17] };
                let mut note = |kind: &str, result: std::result::Result<usize, String>| match result {
                    Ok(n) => exported += n,
                    Err(e) => failures.push((name, format!("{name} sample {i} {dtype} {kind} {:?}: {e}", sample.op))),
                };
                let fixed = common::fixed(sample, dtype);
                note("fixed", fixed.map_err(|e| e.to_string()).and_then(|g| check(sample, dtype, g, opsets)));
                if let Some(graph) = common::batched(sample, dtype) {
                    batches += 1;
                    note("batched", check(sample, dtype, graph, opsets));
                }
            }
        }
    }
    println!("{exported} files, {batches} graphs with a batch");
    let count = failures.len();
    failures.dedup_by_key(|(name, _)| *name); // The first of each row.
    let shown = failures.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
    assert!(count == 0, "{count} failed:\n{shown}");
    assert!(
        std::env::var_os("ESKER_ROWS").is_some() || (exported > 1000 && batches > 100),
        "{exported} files, {batches} graphs with a batch"
    );
}
