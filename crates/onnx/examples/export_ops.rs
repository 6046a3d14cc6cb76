//! Writes every sample of the op table as ONNX files with inputs and results, for other programs to check:
//! `manifest.json`, `values.bin` and one file for each sample, dtype and opset under the folder that is given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};

use esker_graph::{Executor, Graph, bytes_of};
use esker_onnx::{ExportOptions, export};
use esker_ops::spec::{Row, Sample};
use esker_ops::{Array, Op, Value};
use esker_tensor::DType;
use serde_json::{Value as Json, json};

/// Opsets for f32; other dtypes are written at the default.
const OPSETS: [u32; 4] = [13, 17, 20, 23];

/// What has been written so far.
struct Out {
    folder: PathBuf,
    values: Vec<u8>,
    cases: Vec<Json>,
}

impl Out {
    /// Appends an array's bytes; says where.
    fn value(&mut self, array: &Array) -> Json {
        let bytes = bytes_of(array).expect("CPU arrays have bytes");
        let offset = self.values.len();
        self.values.extend_from_slice(&bytes);
        json!({ "dtype": array.dtype().name(), "shape": array.shape().to_vec(), "offset": offset, "bytes": bytes.len() })
    }

    fn case(&mut self, name: &str, graph: &Graph, opset: u32, values: &Json) {
        let mut case = values.clone();
        case["name"] = json!(format!("{name} opset {opset}"));
        match export(graph, &ExportOptions { opset, ..ExportOptions::default() }) {
            Ok(bytes) => {
                let file = format!("{:05}.onnx", self.cases.len());
                std::fs::write(self.folder.join(&file), bytes).expect("the folder can be written");
                case["file"] = json!(file);
            }
            Err(e) => case["skip"] = json!(e.to_string()),
        }
        self.cases.push(case);
    }

    fn sample(&mut self, name: &str, sample: &Sample, dtype: DType) {
        let x = sample.materialize(dtype, 1).expect("samples materialize");
        let y = Array::apply(sample.op.clone(), &x.iter().collect::<Vec<_>>()).expect("samples run");
        let inputs: Json = x.iter().map(|a| self.value(a)).collect();
        let outputs: Json = y.iter().map(|a| self.value(a)).collect();
        let values = json!({
            "inputs": inputs, "outputs": outputs, "slack": sample.slack, "unspecified": unspecified(&sample.op, &x),
        });
        let opsets = if dtype == DType::F32 { &OPSETS[..] } else { &OPSETS[1..2] };
        let fixed = common::fixed(sample, dtype).expect("samples can be captured");
        let batched = common::batched(sample, dtype);
        for &opset in opsets {
            self.case(name, &fixed, opset, &values);
            if let Some(graph) = &batched {
                self.case(&format!("{name} batch"), graph, opset, &values);
            }
        }
    }
}

/// Whole models, each at several batches.
fn models(out: &mut Out) {
    for (name, graph, shape) in [("net", common::net(), &[1, 8, 8][..]), ("sized", common::sized(), &[4])] {
        let executor = Executor::new(graph.clone()).expect("models hold together");
        for n in [1, 3, 32] {
            let x = common::filled(&[&[n], shape].concat());
            let y = executor.run(std::slice::from_ref(&x)).expect("models run");
            let inputs = vec![out.value(&x)];
            let outputs: Json = y.iter().map(|a| out.value(a)).collect();
            let values = json!({ "inputs": inputs, "outputs": outputs, "slack": 0.0, "unspecified": null });
            for opset in OPSETS {
                out.case(&format!("model {name} batch {n}"), &graph, opset, &values);
            }
        }
    }
}

/// Where ONNX leaves the result open, so that other programs may give another.
fn unspecified(op: &Op, x: &[Array]) -> Option<&'static str> {
    let values: Vec<f64> = x.iter().flat_map(|a| a.to_f64_vec().expect("CPU arrays have values")).collect();
    match op {
        Op::Cast(op) if op.dtype.is_int() && x.iter().all(|a| a.dtype().is_float()) => {
            let exact =
                |v: f64| Array::scalar(v, op.dtype).and_then(|a| a.to_f64_vec()).is_ok_and(|y| y[0] == v.trunc());
            let open = values.iter().any(|&v| !exact(v));
            open.then_some("casts of floats beyond an integer's range are undefined in ONNX")
        }
        Op::Amax(_)
        | Op::Amin(_)
        | Op::Max(_)
        | Op::Min(_)
        | Op::Argmax(_)
        | Op::Argmin(_)
        | Op::Sort(_)
        | Op::MaxPool(_) => values.iter().any(|v| v.is_nan()).then_some("ONNX does not say what NaN does in extremes"),
        Op::Call(call) if values.is_empty() && format!("{call:?}").contains("reduction: \"mean\"") => {
            Some("ONNX does not say what the mean of nothing is")
        }
        Op::Mean(_) | Op::Standardize(_) | Op::StandardizeChannels(_) => {
            let empty = x.first().is_some_and(|x| x.shape().numel() == 0);
            empty.then_some("ONNX does not say what the mean of nothing is")
        }
        _ => None,
    }
}

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/onnx-ops".to_string());
    let folder = Path::new(&folder).to_path_buf();
    let _ = std::fs::remove_dir_all(&folder); // It is made anew; that there was none is fine.
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    esker_cpu::register();
    let mut out = Out { folder, values: Vec::new(), cases: Vec::new() };
    models(&mut out);
    for Row { name, samples, .. } in common::rows() {
        for (i, sample) in samples.iter().enumerate().filter(|(_, s)| !s.is_error() && !s.op.reads_values()) {
            for &dtype in sample.dtypes.list() {
                out.sample(&format!("{name} sample {i} {dtype}"), sample, dtype);
            }
        }
    }
    std::fs::write(out.folder.join("values.bin"), &out.values).expect("the values can be written");
    let manifest = serde_json::to_string(&json!({ "cases": out.cases })).expect("JSON");
    std::fs::write(out.folder.join("manifest.json"), manifest).expect("the manifest can be written");
    println!("{} cases in {}", out.cases.len(), out.folder.display());
}
