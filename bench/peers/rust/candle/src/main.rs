//! candle on the CPU.
mod models;
mod ops;
mod text;

use bench_common::{BEFORE, Bench, DECODED, LETTERS, memory_mb};
use candle_core::{D, DType, Device, Result, Tensor, backprop::GradStore};
use candle_nn::{AdamW, Optimizer, SGD, VarBuilder, VarMap, loss::cross_entropy};

const DEVICE: &Device = &Device::Cpu;

fn normal(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1f32, shape, DEVICE)
}

fn integers(high: usize, shape: &[usize]) -> Result<Tensor> {
    Tensor::rand(0f32, high as f32, shape, DEVICE)?.to_dtype(DType::U32)
}

fn letters(shape: &[usize]) -> Result<Tensor> {
    integers(LETTERS, shape)
}

/// A model; the flag says whether it is in training.
type Net = Box<dyn Fn(&Tensor, bool) -> Result<Tensor>>;
type Make = fn(VarBuilder) -> Result<Net>;

/// A step's optimiser: candle's SGD has no momentum.
enum Step {
    Adam(AdamW),
    Plain(SGD),
}

impl Step {
    fn go(&mut self, gradients: &GradStore) -> Result<()> {
        match self {
            Step::Adam(adam) => adam.step(gradients),
            Step::Plain(plain) => plain.step(gradients),
        }
    }
}

fn train(b: &Bench, name: &str, make: Make, x: Result<Tensor>, y: Result<Tensor>, plain: bool) -> Result<()> {
    let [train, alone] = [format!("train_{name}"), format!("opt_{name}")];
    if !b.wants(&train) && !b.wants(&alone) {
        return Ok(());
    }
    let (start, vars, x, y) = (memory_mb("VmRSS"), VarMap::new(), x?, y?.flatten_all()?);
    let net = make(VarBuilder::from_varmap(&vars, DType::F32, DEVICE))?;
    let mut step = match plain {
        true => Step::Plain(SGD::new(vars.all_vars(), 1e-3)?),
        false => Step::Adam(AdamW::new_lr(vars.all_vars(), 1e-3)?),
    };
    let gradients = || {
        let logits = net(&x, true)?;
        let classes = logits.dim(D::Minus1)?;
        cross_entropy(&logits.reshape(((), classes))?, &y)?.backward()
    };
    b.run_for(&train, 4.0, || step.go(&gradients()?));
    b.emit_memory(&train, start);
    if b.wants(&alone) {
        let last = gradients()?;
        b.run(&alone, || step.go(&last));
    }
    Ok(())
}

fn infer(b: &Bench, name: &str, make: Make, x: Result<Tensor>) -> Result<()> {
    if b.wants(name) {
        let (vars, x) = (VarMap::new(), x?);
        let net = make(VarBuilder::from_varmap(&vars, DType::F32, DEVICE))?;
        b.run(name, || net(&x.detach(), false));
    }
    Ok(())
}

fn decode(b: &Bench) -> Result<()> {
    let name = "decode_gpt_64tok";
    if !b.wants(name) {
        return Ok(());
    }
    let vars = VarMap::new();
    let gpt = text::Gpt::new(VarBuilder::from_varmap(&vars, DType::F32, DEVICE))?;
    let zeros = Tensor::zeros((1, text::HEADS, BEFORE, 64), DType::F32, DEVICE)?;
    b.run(name, || {
        let mut cache = vec![(zeros.clone(), zeros.clone()); 4];
        let mut letter = Tensor::zeros((1, 1), DType::U32, DEVICE)?;
        for i in 0..DECODED {
            letter = gpt.forward(&letter, BEFORE + i, Some(&mut cache), false)?.argmax(D::Minus1)?;
        }
        Result::Ok(letter)
    });
    Ok(())
}

fn main() -> Result<()> {
    let b = Bench::new("candle");
    ops::run(&b)?;
    let (mlp, lenet, resnet18) = (models::mlp as Make, models::lenet as Make, models::resnet18 as Make);
    let (gpt, lstm) = (text::gpt as Make, text::lstm as Make);
    train(&b, "mlp", mlp, normal(&[128, 784]), integers(10, &[128]), false)?;
    train(&b, "lenet", lenet, normal(&[128, 1, 28, 28]), integers(10, &[128]), false)?;
    train(&b, "resnet18", resnet18, normal(&[8, 3, 224, 224]), integers(1000, &[8]), true)?;
    train(&b, "gpt", gpt, letters(&[8, 256]), letters(&[8, 256]), false)?;
    train(&b, "lstm", lstm, letters(&[32, 64]), letters(&[32, 64]), false)?;
    infer(&b, "infer_mlp", mlp, normal(&[1, 784]))?;
    infer(&b, "infer_mlp_b128", mlp, normal(&[128, 784]))?;
    infer(&b, "infer_lenet", lenet, normal(&[1, 1, 28, 28]))?;
    infer(&b, "infer_resnet18", resnet18, normal(&[1, 3, 224, 224]))?;
    infer(&b, "infer_gpt_256", gpt, letters(&[1, 256]))?;
    infer(&b, "infer_lstm_64", lstm, letters(&[1, 64]))?;
    decode(&b)?;
    b.finish()
}
