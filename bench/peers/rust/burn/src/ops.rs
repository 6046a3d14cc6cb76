//! Operations by themselves.
use bench_common::{Bench, CONVS, GEMMS, SIZES};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, activation, module};

use crate::{integers, normal, synced};

/// Forward on plain tensors, then forward and backward with every input tracked.
fn both<const D: usize, const E: usize>(
    b: &Bench,
    device: &Device,
    name: &str,
    make: impl Fn() -> Vec<Tensor<D>>,
    f: impl Fn(&[Tensor<D>]) -> Tensor<E>,
) {
    if !b.wants_pair(name) {
        return;
    }
    let inputs = make();
    b.run(&format!("{name}_fwd"), || synced(device, || f(&inputs)));
    let name = format!("{name}_fwdbwd");
    if b.wants(&name) {
        let inputs: Vec<Tensor<D>> = inputs.iter().map(|t| t.clone().autodiff().require_grad()).collect();
        b.run(&name, || synced(device, || f(&inputs).backward()));
    }
}

pub fn run(b: &Bench, device: &Device) {
    for (m, k, n) in GEMMS {
        let inputs = || vec![normal([m, k], device), normal([k, n], device)];
        both(b, device, &format!("gemm_{m}x{k}x{n}"), inputs, |x| x[0].clone().matmul(x[1].clone()));
    }
    for (n, s) in SIZES {
        let x = || vec![normal([n], device)];
        let two = || vec![normal([n], device), normal([n], device)];
        both(b, device, &format!("add_{s}"), two, |x| x[0].clone() + x[1].clone());
        both(b, device, &format!("exp_{s}"), x, |x| x[0].clone().exp());
        both(b, device, &format!("gelu_{s}"), x, |x| activation::gelu(x[0].clone()));
        both(b, device, &format!("chain_{s}"), x, |x| activation::relu(x[0].clone() * 2.0 + 1.0).sum());
    }
    rows(b, device);
    gathers(b, device);
    convolutions(b, device);
}

fn rows(b: &Bench, device: &Device) {
    let x = || vec![normal([4096, 1024], device)];
    both(b, device, "softmax_4096x1024", x, |x| activation::softmax(x[0].clone(), 1));
    let (classes, cross_entropy) = (integers(1024, [4096], device), CrossEntropyLossConfig::new().init(device));
    both(b, device, "xent_4096x1024", x, |x| cross_entropy.forward(x[0].clone(), classes.clone()));
    both(b, device, "sum_all_4096x1024", x, |x| x[0].clone().sum());
    both(b, device, "sum_rows_4096x1024", x, |x| x[0].clone().sum_dim(1));
    both(b, device, "sum_cols_4096x1024", x, |x| x[0].clone().sum_dim(0));
    let (w, c) = (normal([768], device), normal([768], device));
    let x = || vec![normal([4096, 768], device)];
    both(b, device, "layernorm_4096x768", x, |x| module::layer_norm(x[0].clone(), w.clone(), Some(c.clone()), 1e-5));
}

fn gathers(b: &Bench, device: &Device) {
    let places = integers(100_000, [50_000], device);
    let table = || vec![normal([100_000, 64], device)];
    both(b, device, "index_select_100000x64_50000", table, |w| w[0].clone().select(0, places.clone()));
    let parts = || (0..8).map(|_| normal([1024, 512], device)).collect();
    both(b, device, "cat_8x1024x512", parts, |x: &[Tensor<2>]| Tensor::cat(x.to_vec(), 1));
    if b.wants("sort_1e6_fwd") {
        let x = normal([1_000_000], device);
        b.run("sort_1e6_fwd", || synced(device, || x.clone().sort(0)));
    }
}

fn convolutions(b: &Bench, device: &Device) {
    for c in CONVS.iter().filter(|c| b.wants_pair(c.name)) {
        let x = normal([32, c.inputs, c.side, c.side], device);
        let w = normal([c.outputs, c.inputs / c.groups, c.kernel, c.kernel], device);
        let options = || ConvOptions::new([c.stride; 2], [c.padding; 2], [1, 1], c.groups);
        let convolution = |x: &Tensor<4>, w: &Tensor<4>| module::conv2d(x.clone(), w.clone(), None, options());
        b.run_for(&format!("{}_fwd", c.name), 2.0, || synced(device, || convolution(&x, &w)));
        let name = format!("{}_fwdbwd", c.name);
        if b.wants(&name) {
            let w = w.autodiff().require_grad();
            // Nobody asks for the gradient of a picture.
            let x = if c.inputs == 3 { x.autodiff() } else { x.autodiff().require_grad() };
            b.run_for(&name, 2.0, || synced(device, || convolution(&x, &w).backward()));
        }
    }
}
