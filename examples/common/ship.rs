//! A trained module as an ONNX file, with what it answers on held-out rows, for whoever wants to check the file.

use std::path::Path;

use esker::InputSpec;
use esker::graph::Executor;
use esker::onnx::ExportOptions;
use esker::prelude::*;

/// How far the file's answers may be from the module's, relative to the larger of 1 and the answer.
const TOLERANCE: f64 = 1e-4;

/// Writes `<folder>/<name>.onnx`, for any batch, and `<folder>/holdout.safetensors`: `inputs` under their names and what the
/// module, which must be in evaluation, makes of them as `output`. Then reads the file back, runs it without tape or module,
/// says how far its
/// answers are from the module's, and returns them.
pub(crate) fn ship<M: Module>(
    folder: &Path,
    name: &str,
    module: &M,
    inputs: &[(&str, &Tensor)],
    doc: &str,
    forward: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Tensor> {
    std::fs::create_dir_all(folder)?;
    let spec = |(name, x): &(&str, &Tensor)| {
        let dims: Vec<_> = x.shape().iter().enumerate().map(|(d, &size)| (d > 0).then_some(size)).collect();
        InputSpec::new(*name, x.dtype(), &dims)
    };
    let specs: Vec<InputSpec> = inputs.iter().map(spec).collect();
    let graph = esker::capture_of(module, &specs, |x| Ok(vec![forward(x)?]))?;
    let path = folder.join(format!("{name}.onnx"));
    esker::onnx::save(&graph, &path, &ExportOptions { doc: doc.to_string(), ..Default::default() })?;
    esker::nn::save(module, folder.join(format!("{name}.safetensors")))?;

    let held: Vec<Tensor> = inputs.iter().map(|(_, x)| (*x).clone()).collect();
    let answers = no_grad(|| forward(&held))?;
    let rows = inputs.iter().map(|(name, x)| (name.to_string(), (*x).clone()));
    let rows = rows.chain([("output".to_string(), answers.clone())]).collect();
    esker::nn::save_state(&rows, folder.join("holdout.safetensors"))?;

    let arrays: Vec<_> = held.iter().map(|x| x.array().clone()).collect();
    let shipped = Executor::new(esker::onnx::load(&path)?)?.run(&arrays)?.into_iter().next().map(Tensor::from_array);
    let shipped = shipped.ok_or_else(|| Error::format(format!("{name}.onnx has no output")))?;
    let away = shipped.sub(&answers)?.abs()?;
    let largest = away.amax((), false)?.item()?;
    let off = away.div(&answers.abs()?.clamp(1.0, ())?)?.amax((), false)?.item()?;
    if off.is_nan() || off > TOLERANCE {
        return Err(Error::kernel(format!("{name}.onnx differs from the trained net by {off}, more than {TOLERANCE}")));
    }
    let rows = held.first().map_or(Ok(0), |x| x.size(0))?;
    println!(
        "{}, read back, gives the trained net's answers on {rows} held-out rows; largest difference {largest:.1e}",
        path.display()
    );
    Ok(shipped)
}
