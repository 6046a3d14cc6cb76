//! Steps of training, and the optimiser's part alone.

use esker::optim::{Adam, AdamW, SGD};
use esker::prelude::*;

use crate::bench::{Bench, Work};
use crate::data::integers;
use crate::{net, process};

/// Bytes that Adam moves for a parameter: it reads the gradient, and reads and writes the value and two means.
const ADAM: f64 = 28.0;
/// With momentum: the gradient is read, the value and the velocity read and written.
const MOMENTUM: f64 = 20.0;

/// A model and what it learns from.
struct Training {
    name: &'static str,
    model: fn() -> Result<Box<dyn Forward>>,
    input: fn() -> Result<Tensor>,
    classes: i64,
    answers: &'static [usize],
    optimizer: fn(Vec<Param>) -> Box<dyn Optimizer>,
    /// Floating-point operations of a step without the optimiser's, and the bytes a parameter costs the optimiser.
    work: (f64, f64),
}

const LETTERS: i64 = net::LETTERS as i64;
const GPT_TOKENS: f64 = 8.0 * 256.0;
const GPT_WEIGHTS: f64 = 4.0 * 12.0 * 256.0 * 256.0 + 65.0 * 256.0;
const GPT_ATTENTION: f64 = 4.0 * 8.0 * 4.0 * 256.0 * 256.0 * 256.0;
const LSTM_CELLS: f64 = 64.0 * 2.0 * 2.0 * 32.0 * 512.0 * 1024.0;

const TRAININGS: [Training; 5] = [
    Training {
        name: "mlp",
        model: net::mlp,
        input: || Tensor::randn([128, 784]),
        classes: 10,
        answers: &[128],
        optimizer: |p| Box::new(Adam::new(p, 1e-3)),
        // Nobody asks for the gradient of the input.
        work: (2.0 * 128.0 * (3.0 * 668_672.0 - 784.0 * 512.0), ADAM),
    },
    Training {
        name: "lenet",
        model: net::lenet,
        input: || Tensor::randn([128, 1, 28, 28]),
        classes: 10,
        answers: &[128],
        optimizer: |p| Box::new(Adam::new(p, 1e-3)),
        work: (2.0 * 128.0 * (2.0 * 288_000.0 + 3.0 * 2_005_000.0), ADAM),
    },
    Training {
        name: "resnet18",
        model: net::resnet18,
        input: || Tensor::randn([8, 3, 224, 224]),
        classes: 1000,
        answers: &[8],
        optimizer: |p| Box::new(SGD::new(p, 1e-3).momentum(0.9)),
        work: (2.0 * 8.0 * (3.0 * 1_814e6 - 118e6), MOMENTUM),
    },
    Training {
        name: "gpt",
        model: net::gpt,
        input: || integers(LETTERS, [8, 256]),
        classes: LETTERS,
        answers: &[8, 256],
        optimizer: |p| Box::new(AdamW::new(p, 1e-3)),
        work: (6.0 * GPT_TOKENS * GPT_WEIGHTS + 3.0 * GPT_ATTENTION, ADAM),
    },
    Training {
        name: "lstm",
        model: net::lstm,
        input: || integers(LETTERS, [32, 64]),
        classes: LETTERS,
        answers: &[32, 64],
        optimizer: |p| Box::new(Adam::new(p, 1e-3)),
        work: (3.0 * (LSTM_CELLS + 2.0 * 2048.0 * 256.0 * 65.0), ADAM),
    },
];

pub(crate) fn run(bench: &Bench) -> Result<()> {
    TRAININGS.iter().try_for_each(|t| train(bench, t))
}

/// The same steps on the bench's GPU, under the names `gpu_train_*`.
pub(crate) fn run_on_gpu(bench: &Bench) -> Result<()> {
    for t in &TRAININGS {
        let name = format!("gpu_train_{}", t.name);
        if bench.wants(&name) {
            let mut steps = Steps::new(t, bench.device())?;
            bench.run_for(&name, Work::new(t.work.0, 0.0), 2.0, || steps.step());
        }
    }
    Ok(())
}

fn train(bench: &Bench, t: &Training) -> Result<()> {
    let [name, alone] = [format!("train_{}", t.name), format!("opt_{}", t.name)];
    if !bench.wants(&name) && !bench.wants(&alone) {
        return Ok(());
    }
    let start = process::memory_mb("VmRSS");
    let mut steps = Steps::new(t, bench.device())?;
    let (flops, bytes) = t.work;
    let update = bytes * steps.net.num_parameters() as f64;
    if bench.wants(&name) {
        bench.run_for(&name, Work::new(flops, 0.0).update(update), 4.0, || steps.step());
        bench.emit_memory(&name, start);
    } else {
        steps.step()?; // There must be gradients.
    }
    bench.run(&alone, Work::new(0.0, update), || steps.optimizer.step());
    Ok(())
}

struct Steps {
    net: Box<dyn Forward>,
    optimizer: Box<dyn Optimizer>,
    x: Tensor,
    y: Tensor,
    classes: i64,
}

impl Steps {
    fn new(t: &Training, device: Device) -> Result<Self> {
        let net = (t.model)()?;
        net.to_device(device)?;
        let optimizer = (t.optimizer)(net.parameters());
        let y = integers(t.classes, t.answers)?.flatten(0, -1)?.to_device(device)?;
        Ok(Self { net, optimizer, x: (t.input)()?.to_device(device)?, y, classes: t.classes })
    }

    /// One step; its loss before the parameters move.
    fn step(&mut self) -> Result<Tensor> {
        self.optimizer.zero_grad();
        let logits = self.net.forward(&self.x)?.reshape([-1, self.classes])?;
        let loss = cross_entropy(&logits, &self.y)?;
        loss.backward()?;
        self.optimizer.step()?;
        Ok(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_begins_near_chance_and_falls() {
        for t in TRAININGS.iter().filter(|t| ["mlp", "lenet"].contains(&t.name)) {
            let mut steps = Steps::new(t, Device::Cpu).unwrap();
            let losses: Vec<f64> = (0..10).map(|_| steps.step().unwrap().item().unwrap()).collect();
            assert!((losses[0] - (t.classes as f64).ln()).abs() < 0.5, "{}: {losses:?}", t.name);
            assert!(losses[9] < 0.8 * losses[0], "{}: {losses:?}", t.name);
        }
    }
}
