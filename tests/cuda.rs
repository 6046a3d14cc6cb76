//! Training on a GPU, a real one or an emulated one: the losses of the CPU, and a steady step that asks for no memory and
//! waits for nothing. A program of its own, as its counters are the whole process's.

#![allow(clippy::unwrap_used)]

use esker::nn::{AttentionMask, Conv2d, Flatten, LSTM, LayerNorm, Linear, MaxPool2d, MultiheadAttention, ReLU};
use esker::optim::{AdamW, SGD};
use esker::prelude::*;

const GPU: u32 = 0;

/// The GPU under test; `None` where there is none to be had.
fn device() -> Option<Device> {
    esker_cuda::open_for_tests(GPU).unwrap()
}

/// A net, and the shape of its input.
type Made = (Box<dyn Forward>, Vec<usize>);

/// What is trained: its parts, its forward pass, its input's shape.
struct Case {
    name: &'static str,
    make: fn() -> Result<Made>,
}

const CASES: [Case; 4] = [
    Case {
        name: "perceptron",
        make: || {
            let net = sequential![Linear::new(12, 20)?, ReLU, LayerNorm::new([20])?, Linear::new(20, 5)?];
            Ok((Box::new(net), vec![16, 12]))
        },
    },
    Case {
        name: "convolutions",
        make: || {
            let net = sequential![Conv2d::new(2, 6, 3)?, ReLU, MaxPool2d::new(2), Flatten::new(), Linear::new(54, 5)?];
            Ok((Box::new(net), vec![8, 2, 8, 8]))
        },
    },
    Case { name: "attention", make: || Ok((Box::new(Attending::new()?), vec![3, 6, 8])) },
    Case { name: "recurrence", make: || Ok((Box::new(Recurring::new()?), vec![4, 3, 8])) },
];

/// Attention to oneself, and the last place's classes.
#[derive(Module)]
struct Attending {
    attention: MultiheadAttention,
    head: Linear,
}

impl Attending {
    fn new() -> Result<Self> {
        Ok(Self { attention: MultiheadAttention::new(8, 2)?.batch_first(), head: Linear::new(8, 5)? })
    }
}

impl Forward for Attending {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.attention.forward(x, x, x, &AttentionMask::default())?.select(1, -1)?)
    }
}

/// An and the last place's classes.
#[derive(Module)]
struct Recurring {
    lstm: LSTM,
    head: Linear,
}

impl Recurring {
    fn new() -> Result<Self> {
        Ok(Self { lstm: LSTM::new(8, 6)?, head: Linear::new(6, 5)? })
    }
}

impl Forward for Recurring {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.lstm.forward(x, None)?.0.select(0, -1)?)
    }
}

/// Losses of `steps` steps on a device, from the same start; `after` is told when a step is done.
fn losses(case: &Case, device: Device, steps: usize, adam: bool, after: &mut dyn FnMut(usize)) -> Result<Vec<f64>> {
    esker::manual_seed(7);
    let (net, shape) = (case.make)()?;
    let x = Tensor::randn(&shape[..])?.to_device(device)?;
    let rows = if case.name == "recurrence" { shape[1] } else { shape[0] }; // Steps come first there.
    let answers: Vec<i64> = (0..rows as i64).map(|i| i * 3 % 5).collect();
    let y = Tensor::from_slice(&answers, [rows])?.to_device(device)?;
    net.to_device(device)?;
    let parameters = net.parameters();
    let mut optimizer: Box<dyn Optimizer> = match adam {
        true => Box::new(AdamW::new(parameters, 1e-2)),
        false => Box::new(SGD::new(parameters, 5e-2).momentum(0.9)),
    };
    let mut losses = Vec::new();
    for step in 0..steps {
        optimizer.zero_grad();
        let loss = cross_entropy(&net.forward(&x)?, &y)?;
        loss.backward()?;
        optimizer.step()?;
        losses.push(loss);
        after(step);
    }
    losses.iter().map(Tensor::item).collect()
}

#[test]
fn training_goes_as_on_the_cpu() {
    let Some(gpu) = device() else { return };
    let start = esker_cuda::counts(GPU).unwrap();
    let emulated = esker_cuda::describe(GPU).unwrap().contains("emulated");
    for case in &CASES {
        for adam in [true, false] {
            let on_cpu = losses(case, Device::Cpu, 8, adam, &mut |_| {}).unwrap();
            let mut seen = Vec::new();
            let mut note = |_| {
                let (_, waits) = esker_cuda::counts(GPU).unwrap();
                // An emulated GPU fences every block anew, so its pool is never full.
                let requests = if emulated { 0 } else { esker_cuda::memory_stats(GPU).unwrap().requests };
                seen.push((requests, waits));
            };
            let on_gpu = losses(case, gpu, 8, adam, &mut note).unwrap();
            let apart = on_cpu.iter().zip(&on_gpu).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 2e-4, "{}: {on_cpu:?} and {on_gpu:?}", case.name);
            assert!(on_gpu[7] < on_gpu[0], "{}: {on_gpu:?}", case.name);
            let steady = &seen[2..];
            assert!(steady.iter().all(|s| *s == steady[0]), "{}: requests and waits by step: {seen:?}", case.name);
        }
    }
    assert!(esker_cuda::counts(GPU).unwrap().0 > start.0, "kernels ran");
}

#[test]
fn a_state_dict_comes_back_from_the_gpu() {
    let Some(gpu) = device() else { return };
    let net = Linear::new(3, 2).unwrap();
    let before = net.state_dict();
    net.to_device(gpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    esker::nn::save(&net, &path).unwrap();
    for (name, tensor) in esker::nn::load_state(&path).unwrap() {
        let (_, old) = before.iter().find(|(n, _)| **n == name).unwrap();
        assert_eq!(tensor.to_vec::<f32>().unwrap(), old.to_vec::<f32>().unwrap(), "{name}");
    }
}

#[test]
fn devices_do_not_mix() {
    let Some(gpu) = device() else { return };
    let x = Tensor::ones([2]).unwrap();
    let error = x.add(&x.to_device(gpu).unwrap()).unwrap_err().to_string();
    assert!(error.contains("operands live on"), "{error}");
}
