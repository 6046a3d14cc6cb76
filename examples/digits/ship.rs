//! The net as files, and the files as a net.

use std::path::Path;

use esker::graph::Executor;
use esker::nn::Sequential;
use esker::onnx::ExportOptions;
use esker::prelude::*;
use esker::tensor::write_atomic;

use crate::train::Digits;

/// Writes the net as ONNX (for any batch) and safetensors, and the held-out digits with the net's answers for whoever
/// wants to check the ONNX file with another program.
pub(crate) fn write(folder: &Path, net: &Sequential, held: &Digits, logits: &Tensor) -> Result<()> {
    let input = esker::InputSpec::new("x", DType::F32, &[None, Some(1), Some(8), Some(8)]);
    let mut graph = esker::capture(net, input)?;
    graph.outputs.iter_mut().for_each(|output| output.name = "logits".to_string());
    let options =
        ExportOptions { doc: "Reads handwritten digits, 0 (white) to 1 (black).".to_string(), ..Default::default() };
    esker::onnx::save(&graph, folder.join("digits.onnx"), &options)?;
    esker::nn::save(net, folder.join("digits.safetensors"))?;

    let floats =
        |t: &Tensor| -> Result<Vec<u8>> { Ok(t.to_vec::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect()) };
    write_atomic(&folder.join("holdout_x.f32"), &floats(&held.images)?)?;
    write_atomic(&folder.join("holdout_logits.f32"), &floats(logits)?)?;
    let labels = held.labels.to_vec::<i64>()?;
    write_atomic(
        &folder.join("holdout_labels.i64"),
        &labels.iter().flat_map(|l| l.to_le_bytes()).collect::<Vec<u8>>(),
    )?;
    let entry = |file: &str, dtype: &str, t: &Tensor| serde_json::json!({ "file": file, "dtype": dtype, "shape": t.shape()[..] });
    let manifest = serde_json::json!({
        "model": "digits.onnx",
        "byte_order": "little",
        "x": entry("holdout_x.f32", "float32", &held.images),
        "logits": entry("holdout_logits.f32", "float32", logits),
        "labels": entry("holdout_labels.i64", "int64", &held.labels),
    });
    write_atomic(&folder.join("holdout.json"), format!("{manifest:#}\n").as_bytes())
}

/// The logits that the ONNX file alone gives for the held-out digits: the graph's own run, without the tape or the module.
/// They must be those of training, bit for bit.
pub(crate) fn read(folder: &Path, held: &Digits, logits: &Tensor) -> Result<Tensor> {
    let graph = esker::onnx::load(folder.join("digits.onnx"))?;
    let results = Executor::new(graph)?.run(&[held.images.array().clone()])?;
    let shipped = results.into_iter().next().map(Tensor::from_array);
    let shipped = shipped.ok_or_else(|| Error::format("digits.onnx has no output"))?;
    let pairs = shipped.to_vec::<f32>()?.into_iter().zip(logits.to_vec::<f32>()?);
    let (mut equal, mut largest) = (true, 0f32);
    for (a, b) in pairs {
        equal &= a.to_bits() == b.to_bits();
        largest = largest.max((a - b).abs());
    }
    if largest > 1e-4 {
        return Err(Error::kernel(format!("digits.onnx differs from the trained net by {largest}, more than 1e-4")));
    }
    match equal {
        true => println!("digits.onnx, read back, gives the trained net's answers bit for bit; it reads:"),
        false => println!("digits.onnx, read back, differs from the trained net by at most {largest:.1e}; it reads:"),
    }
    Ok(shipped)
}
