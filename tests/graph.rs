//! Capture, execution without a tape, and ONNX: each equal to eager, bit for bit.

use esker::graph::{Executor, Graph, InputSpec};
use esker::ops::{Array, Onnx, OnnxCx, prepare};
use esker::prelude::*;
use esker::tensor::philox::Key;
use esker::{autograd, onnx};

use crate::table::{apply, identical, tensors, text, walk};

fn specs(x: &[Array]) -> Vec<InputSpec> {
    let dims = |a: &Array| a.shape().iter().map(|&n| Some(n)).collect::<Vec<_>>();
    x.iter().enumerate().map(|(i, a)| InputSpec::new(format!("x{i}"), a.dtype(), &dims(a))).collect()
}

fn run(graph: &Graph, x: &[Array]) -> Result<Vec<Tensor>> {
    Ok(Executor::new(graph.clone())?.run(x)?.into_iter().map(Tensor::from_array).collect())
}

#[test]
fn captured_ops_equal_eager() {
    walk(|s, dtype| {
        if s.is_error() || s.inputs.is_empty() || s.op.reads_values() {
            return Ok(());
        }
        let x = s.materialize(dtype, 6).map_err(text)?;
        let graph = autograd::capture(&specs(&x), |x| apply(&s.op, x)).map_err(text)?;
        identical(&run(&graph, &x).map_err(text)?, &apply(&s.op, &tensors(&x)).map_err(text)?)
    });
}

#[test]
fn exported_ops_come_back_equal() {
    walk(|s, dtype| {
        // Some ops are exported as their composition, which in half types rounds after each part.
        if s.is_error() || s.inputs.is_empty() || s.op.reads_values() || matches!(dtype, DType::F16 | DType::BF16) {
            return Ok(());
        }
        let x = s.materialize(dtype, 7).map_err(text)?;
        let (_, metas, outs) = prepare(&s.op, &x.iter().collect::<Vec<_>>()).map_err(text)?;
        if matches!(s.op.onnx(&OnnxCx { opset: 17, x: &metas, y: &outs, given: u64::MAX }), Onnx::None(_)) {
            return Ok(()); // The op says why; `cargo xtask ops` shows it.
        }
        let graph = autograd::capture(&specs(&x), |x| apply(&s.op, x)).map_err(text)?;
        let bytes = match onnx::export(&graph, &onnx::ExportOptions::default()) {
            Ok(bytes) => bytes,
            // A part of a composition may be what ONNX lacks; the message must say so.
            Err(e) if e.to_string().contains("ONNX") => return Ok(()),
            Err(e) => return Err(text(e)),
        };
        let back = onnx::import(&bytes).map_err(text)?;
        let (got, want) = (run(&back, &x).map_err(text)?, apply(&s.op, &tensors(&x)).map_err(text)?);
        crate::table::near(&got, &want, s.slack)
    });
}

/// A function whose sizes follow the batch in several ways.
fn model(x: &Tensor) -> Result<Tensor> {
    let w = Tensor::normal(0.0, 0.3, Key(1), [12, 5], DType::F32, Device::Cpu)?;
    let rows = x.reshape([-1, 12])?;
    let both = Tensor::cat(&[&rows, &rows.neg()?], 0)?;
    both.slice(0, 1, i64::MAX, 1)?.matmul(&w)?.softmax(-1)
}

#[test]
fn one_graph_serves_every_batch() {
    let specs = [InputSpec::new("x", DType::F32, &[None, Some(3), Some(4)])];
    let graph = autograd::capture(&specs, |x| Ok(vec![model(&x[0])?])).unwrap();
    let back = onnx::import(&onnx::export(&graph, &onnx::ExportOptions::default()).unwrap()).unwrap();
    for batch in [1usize, 2, 7, 1009] {
        let x = Tensor::normal(0.0, 1.0, Key(9), [batch, 3, 4], DType::F32, Device::Cpu).unwrap();
        let eager = [model(&x).unwrap()];
        for graph in [&graph, &back] {
            identical(&run(graph, &[x.array().clone()]).unwrap(), &eager).unwrap();
        }
    }
}

#[test]
fn what_depends_on_the_batch_otherwise_is_refused() {
    let specs = [InputSpec::new("x", DType::F32, &[None, Some(4)])];
    let scaled = |x: &Tensor| x.mul(&Tensor::from_scalar(1.0 / x.shape()[0] as f32)?);
    let error = autograd::capture(&specs, |x| Ok(vec![scaled(&x[0])?])).unwrap_err();
    assert_eq!(error.kind().name(), "Capture", "{error}");
    let reading = autograd::capture(&specs, |x| Ok(vec![Tensor::from_scalar(x[0].item()? as f32)?])).unwrap_err();
    assert_eq!(reading.kind().name(), "Capture", "{reading}");
}

#[test]
fn a_graph_says_which_input_does_not_fit() {
    let specs = [InputSpec::new("image", DType::F32, &[None, Some(3), Some(4)])];
    let graph = autograd::capture(&specs, |x| Ok(vec![model(&x[0])?])).unwrap();
    let wrong = Tensor::zeros([2, 3, 5]).unwrap();
    let error = run(&graph, &[wrong.array().clone()]).unwrap_err().to_string();
    assert!(error.contains("image") && error.contains("[2, 3, 5]"), "{error}");
    assert!(run(&graph, &[]).is_err());
}

#[test]
fn ops_without_onnx_say_why() {
    let specs = [InputSpec::new("x", DType::F32, &[None, Some(4)])];
    let graph = autograd::capture(&specs, |x| Ok(vec![x[0].dropout(0.5, true, Key(1))?])).unwrap();
    let error = onnx::export(&graph, &onnx::ExportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("dropout") && error.contains("eval()"), "{error}");
}
