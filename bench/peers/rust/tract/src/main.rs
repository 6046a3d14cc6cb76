//! tract on the models of `export_onnx.py`, which lie in the folder ONNX_DIR. It runs on one thread.
use bench_common::{Bench, LETTERS};
use tract_onnx::prelude::*;

fn floats(shape: &[usize]) -> TractResult<Tensor> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor::from_shape(shape, &values)
}

fn letters(shape: &[usize]) -> TractResult<Tensor> {
    let n: usize = shape.iter().product();
    let values: Vec<i64> = (0..n).map(|i| (i * 31 % LETTERS) as i64).collect();
    Tensor::from_shape(shape, &values)
}

fn infer(b: &Bench, name: &str, x: Tensor) -> TractResult<()> {
    let model = tract_onnx::onnx()
        .model_for_path(format!("{}/{name}.onnx", std::env::var("ONNX_DIR")?))?
        .with_input_fact(0, InferenceFact::dt_shape(x.datum_type(), x.shape()))?
        .into_optimized()?
        .into_runnable()?;
    b.run(name, || model.run(tvec!(x.clone().into())));
    Ok(())
}

fn main() -> TractResult<()> {
    let b = Bench::new("tract");
    for (name, x) in [
        ("infer_mlp", floats(&[1, 784])?),
        ("infer_mlp_b128", floats(&[128, 784])?),
        ("infer_lenet", floats(&[1, 1, 28, 28])?),
        ("infer_resnet18", floats(&[1, 3, 224, 224])?),
        ("infer_gpt_256", letters(&[1, 256])?),
        ("infer_lstm_64", letters(&[1, 64])?),
    ] {
        if b.wants(name)
            && let Err(error) = infer(&b, name, x)
        {
            eprintln!("{name}: {error}");
        }
    }
    b.finish()
}
