//! Trains a small convolutional net on the 1,797 handwritten digits that travel with Esker, judges it on the fifth of them
//! that it has not seen, ships it as ONNX and safetensors, and lets the shipped file read three digits.
//!
//! `cargo run --release --example digits`
#![allow(missing_docs)]

#[path = "digits/chart.rs"]
mod chart;
#[path = "common/ship.rs"]
mod ship;
#[path = "digits/show.rs"]
mod show;
#[path = "digits/train.rs"]
mod train;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use esker::data::{digits, stratified_split};
use esker::prelude::*;

/// The held-out split is the same for every run.
const SPLIT_SEED: u64 = 0;
/// The share of the digits that is held out, of each class alike.
const HELD_OUT: f64 = 0.2;

/// Train a convolutional net on handwritten digits, export it to ONNX and read digits with the exported file.
#[derive(Parser)]
struct Args {
    /// How many nets to train, from seeds that follow each other; the mean accuracy is printed for more than one
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed: of the weights, the order of the digits, dropout and augmentation
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How often each digit is seen
    #[arg(long, default_value_t = 30)]
    epochs: u64,
    /// Digits per step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// The highest learning rate
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    /// Where files are written
    #[arg(long, default_value = "target/digits")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (images, labels) = digits()?;
    let (rest, held) = stratified_split(&labels.to_vec::<i64>()?, HELD_OUT, SPLIT_SEED)?;
    let pick = |indices: &[usize]| -> Result<train::Digits> {
        let index = Tensor::from_vec(indices.iter().map(|&i| i as i64).collect::<Vec<_>>())?;
        Ok(train::Digits { images: images.index_select(&index, 0)?, labels: labels.index_select(&index, 0)? })
    };
    let (training, held) = (pick(&rest)?, pick(&held)?);
    println!("{} digits to train on, {} held out, {} threads", rest.len(), held.len(), esker::num_threads());

    let mut accuracies = Vec::new();
    for seed in args.seed..args.seed + args.seeds.max(1) {
        let start = Instant::now();
        let run = train::run(&args, seed, &training, &held)?;
        println!(
            "seed {seed}: {:.2} % of the held-out digits are read correctly, after {:.1} s\n",
            100.0 * run.accuracy(),
            start.elapsed().as_secs_f64()
        );
        accuracies.push(run.accuracy());
        if seed == args.seed {
            deliver(&args, &run, &held)?;
        }
    }
    if accuracies.len() > 1 {
        let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
        println!("mean accuracy over {} seeds: {:.2} %", accuracies.len(), 100.0 * mean);
    }
    Ok(())
}

/// Shows what the net can do and writes it to files; then the ONNX file has to show the same.
fn deliver(args: &Args, run: &train::Run, held: &train::Digits) -> Result<()> {
    std::fs::create_dir_all(&args.out)?;
    let logits = no_grad(|| run.net.forward(&held.images))?;
    show::confusion(&logits, &held.labels)?;
    chart::write(&args.out.join("learning-curve.svg"), &run.curve)?;
    let doc = "Reads handwritten digits, 0 (white) to 1 (black).";
    let shipped = ship::ship(&args.out, "digits", &run.net, &[("x", &held.images)], doc, |x| run.net.forward(&x[0]))?;
    show::three(held, &shipped)
}
