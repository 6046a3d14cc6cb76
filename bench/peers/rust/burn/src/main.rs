//! burn on its CPU backend `flex`, with AVX-512 products.
mod models;
mod ops;

use std::convert::Infallible;

use bench_common::{Bench, LETTERS, memory_mb};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Int, Tensor};

use models::{Gpt, LeNet, Mlp};

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn integers<const D: usize>(high: usize, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::<D>::random(shape, Distribution::Uniform(0.0, high as f64), device).int()
}

/// Runs `f` and waits for the device.
fn synced<T>(device: &Device, f: impl FnOnce() -> T) -> Result<T, Infallible> {
    let y = f();
    device.sync().expect("the device works");
    Ok(y)
}

/// What a training needs besides its data.
struct Training<M, X> {
    name: &'static str,
    model: fn(&Device) -> M,
    forward: fn(&M, X) -> Tensor<2>,
    optimizer: ModuleOptimizer,
}

impl<M: Module, X: Clone> Training<M, X> {
    fn run(mut self, b: &Bench, device: &Device, x: impl FnOnce() -> X, y: impl FnOnce() -> Tensor<1, Int>) {
        let name = format!("train_{}", self.name);
        if !b.wants(&name) {
            return;
        }
        let (start, x, y) = (memory_mb("VmRSS"), x(), y());
        let cross_entropy = CrossEntropyLossConfig::new().init(device);
        let mut present = Some((self.model)(device));
        b.run_for(&name, 4.0, || {
            synced(device, || {
                let model = present.take().expect("a model");
                let loss = cross_entropy.forward((self.forward)(&model, x.clone()), y.clone());
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                present = Some(self.optimizer.step(1e-3, model, gradients));
            })
        });
        b.emit_memory(&name, start);
    }
}

fn infer<M, X: Clone>(
    b: &Bench,
    device: &Device,
    name: &str,
    model: fn(&Device) -> M,
    x: impl FnOnce() -> X,
    f: fn(&M, X) -> Tensor<2>,
) {
    if b.wants(name) {
        let (model, x) = (model(device), x());
        b.run(name, || synced(device, || f(&model, x.clone())));
    }
}

fn main() {
    let b = Bench::new("burn");
    let plain = Device::flex();
    ops::run(&b, &plain);
    let taped = plain.clone().autodiff();
    let adam = || AdamConfig::new().init();
    let mlp = Training { name: "mlp", model: Mlp::new, forward: Mlp::forward, optimizer: adam() };
    mlp.run(&b, &taped, || normal([128, 784], &taped), || integers(10, [128], &taped));
    let lenet = Training { name: "lenet", model: LeNet::new, forward: LeNet::forward, optimizer: adam() };
    lenet.run(&b, &taped, || normal([128, 1, 28, 28], &taped), || integers(10, [128], &taped));
    let gpt = Training { name: "gpt", model: Gpt::new, forward: Gpt::forward, optimizer: AdamWConfig::new().init() };
    gpt.run(&b, &taped, || integers(LETTERS, [8, 256], &taped), || integers(LETTERS, [2048], &taped));
    infer(&b, &plain, "infer_mlp", Mlp::new, || normal([1, 784], &plain), Mlp::forward);
    infer(&b, &plain, "infer_mlp_b128", Mlp::new, || normal([128, 784], &plain), Mlp::forward);
    infer(&b, &plain, "infer_lenet", LeNet::new, || normal([1, 1, 28, 28], &plain), LeNet::forward);
    infer(&b, &plain, "infer_gpt_256", Gpt::new, || integers(LETTERS, [1, 256], &plain), Gpt::forward);
    b.finish()
}
