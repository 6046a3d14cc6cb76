//! Trains a perceptron on the table of the 1994 census (UCI Adult): who earns more than 50,000? Categories are embedded,
//! numbers standardised. Prints accuracy and the area under the ROC curve on the test set, and ships the net as ONNX.
//! Without the data set (see `ESKER_DATA`) it takes a made-up table of the same columns.
//!
//! `ESKER_DATA=... cargo run --release --example adult_mlp`
#![allow(missing_docs)]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use esker::data::{DataLoader, TensorDataset};
use esker::nn::{Buffer, Dropout, Embedding, Linear};
use esker::optim::{AdamW, OneCycleLR, Scheduler};
use esker::prelude::*;

#[path = "adult_mlp/census.rs"]
mod census;
#[path = "common/progress.rs"]
mod progress;
#[path = "common/ship.rs"]
mod ship;

/// Train a perceptron on the census table and export it to ONNX.
#[derive(Parser)]
struct Args {
    /// How often each person is seen
    #[arg(long, default_value_t = 10)]
    epochs: u64,
    /// Persons per step
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// The highest learning rate
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    /// Seed of the weights, the order of the persons and dropout
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// One epoch on a small made-up table: seconds, for a test
    #[arg(long)]
    quick: bool,
    /// Where files are written
    #[arg(long, default_value = "target/adult_mlp")]
    out: PathBuf,
}

/// Numbers and embedded categories side by side, two hidden layers, one logit.
#[derive(Module)]
struct Net {
    embeddings: Vec<Embedding>,
    fc1: Linear,
    fc2: Linear,
    out: Linear,
    dropout: Dropout,
    /// Of the training table, one for each number: what the net subtracts and divides by.
    mean: Buffer,
    std: Buffer,
}

impl Net {
    /// `codes` are the numbers of codes of the categories.
    fn new(codes: &[usize], numbers: &Tensor) -> Result<Self> {
        let size = |&codes: &usize| codes.div_ceil(2).min(16);
        let width = numbers.size(1)? + codes.iter().map(size).sum::<usize>();
        Ok(Self {
            embeddings: codes.iter().map(|c| Embedding::new(*c, size(c))).collect::<Result<_>>()?,
            fc1: Linear::new(width, 128)?,
            fc2: Linear::new(128, 64)?,
            out: Linear::new(64, 1)?,
            dropout: Dropout::new(0.2),
            mean: Buffer::new(&numbers.mean(0, false)?),
            std: Buffer::new(&numbers.std(0, 0.0, false)?.clamp(1e-6, ())?),
        })
    }

    /// Numbers f32 `[n, numbers]` and codes i64 `[n, categories]` to logits `[n]`.
    fn forward(&self, numbers: &Tensor, codes: &Tensor) -> Result<Tensor> {
        let mut parts = vec![numbers.sub(&self.mean.tensor())?.div(&self.std.tensor())?];
        for (i, embedding) in self.embeddings.iter().enumerate() {
            parts.push(embedding.forward_in(&format!("embeddings.{i}"), &codes.select(1, i as i64)?)?);
        }
        let x = Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1)?;
        let x = self.dropout.forward(&self.fc1.forward_in("fc1", &x)?.relu()?)?;
        let x = self.dropout.forward(&self.fc2.forward_in("fc2", &x)?.relu()?)?;
        self.out.forward_in("out", &x)?.squeeze(1)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    esker::manual_seed(args.seed);
    let (training, test, codes) = census::read(args.quick)?;
    let net = Net::new(&codes, &training.numbers)?;
    println!(
        "{} persons to train on, {} to test, {} parameters, {} threads",
        training.rich.numel(),
        test.rich.numel(),
        net.num_parameters(),
        esker::num_threads()
    );
    let start = Instant::now();
    train(&args, &net, &training, &test)?;
    let (right, auc) = judge(&net, &test)?;
    println!("test accuracy {:.2} %, AUC {auc:.4}, after {:.0} s", 100.0 * right, start.elapsed().as_secs_f64());
    let (numbers, codes) = (test.numbers.narrow(0, 0, 256)?, test.codes.narrow(0, 0, 256)?);
    let doc = "The logit of earning more than 50,000.";
    ship::ship(&args.out, "adult_mlp", &net, &[("numbers", &numbers), ("codes", &codes)], doc, |x| {
        net.forward(&x[0], &x[1])
    })?;
    Ok(())
}

fn train(args: &Args, net: &Net, training: &census::Census, test: &census::Census) -> Result<()> {
    let columns = vec![training.numbers.clone(), training.codes.clone(), training.rich.clone()];
    let loader = DataLoader::new(TensorDataset::new(columns)?, args.batch)?.shuffle(args.seed).drop_last(true);
    let epochs = if args.quick { 1 } else { args.epochs };
    let steps = loader.len() as u64 * epochs;
    let mut optimizer = AdamW::new(net.parameters(), args.lr);
    let mut scheduler = Scheduler::new(&mut optimizer, OneCycleLR::new(args.lr, steps));
    let mut progress = progress::Progress::new(steps)?;
    for epoch in 0..epochs {
        net.train();
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            let logits = net.forward(&batch[0], &batch[1])?;
            let loss = logits.binary_cross_entropy_with_logits(&batch[2], None, None, "mean")?;
            optimizer.zero_grad();
            loss.backward()?;
            optimizer.step()?;
            scheduler.step(&mut optimizer);
            progress.step(loss.item()?);
        }
        net.eval();
        let (right, auc) = judge(net, test)?;
        progress.line(&format!("epoch {:>2}: test accuracy {:.2} %, AUC {auc:.4}", epoch + 1, 100.0 * right));
    }
    progress.finish();
    Ok(())
}

/// The share of persons that are judged rightly, and the area under the ROC curve.
fn judge(net: &Net, test: &census::Census) -> Result<(f64, f64)> {
    let logits = no_grad(|| net.forward(&test.numbers, &test.codes))?.to_vec::<f32>()?;
    let rich: Vec<bool> = test.rich.to_vec::<f32>()?.into_iter().map(|r| r > 0.5).collect();
    let right = logits.iter().zip(&rich).filter(|&(&logit, &rich)| (logit > 0.0) == rich).count();
    Ok((right as f64 / rich.len() as f64, auc(&logits, &rich)))
}

/// The chance that a positive row scores above a negative one; equal scores count half.
fn auc(scores: &[f32], positive: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut below, mut pairs) = (0.0, 0.0);
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let positives = group.iter().filter(|&&i| positive[i]).count() as f64;
        let negatives = group.len() as f64 - positives;
        pairs += positives * (below + negatives / 2.0);
        below += negatives;
    }
    pairs / (below * (scores.len() as f64 - below))
}
