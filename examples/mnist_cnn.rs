//! Trains a convolutional net on MNIST's 60,000 images, judges it on the 10,000 of the test set, and ships it as ONNX.
//! Without the data set (see `ESKER_DATA`) it takes the small digits that travel with Esker.
//!
//! `ESKER_DATA=... cargo run --release --example mnist_cnn`
#![allow(missing_docs)]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use esker::data::{DataLoader, RandomAffine, TensorDataset, digits, find_data, read_idx, stratified_split};
use esker::nn::{Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential};
use esker::optim::{AdamW, OneCycleLR, Scheduler};
use esker::prelude::*;

#[path = "common/progress.rs"]
mod progress;
#[path = "common/ship.rs"]
mod ship;

/// Train a convolutional net on MNIST and export it to ONNX.
#[derive(Parser)]
struct Args {
    /// How often each image is seen
    #[arg(long, default_value_t = 5)]
    epochs: u64,
    /// Images per step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// The highest learning rate
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    /// Seed of the weights, the order of the images, dropout and augmentation
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A small net for three epochs on 512 of the embedded digits: seconds, for a test
    #[arg(long)]
    quick: bool,
    /// Where files are written
    #[arg(long, default_value = "target/mnist_cnn")]
    out: PathBuf,
}

/// Images (f32 `[n, 1, side, side]`, 0 to 1) and the digits that they show (i64 `[n]`).
struct Digits {
    images: Tensor,
    labels: Tensor,
}

/// How far a digit may be turned, shifted, scaled and slanted and still be the same digit; the shift is a share of the side.
const AUGMENT: RandomAffine = RandomAffine { degrees: 8.0, shift: 0.05, scale: 0.08, shear: 0.08 };

fn main() -> Result<()> {
    let args = Args::parse();
    esker::manual_seed(args.seed);
    let (training, test) = data(args.quick)?;
    let side = training.images.size(-1)?;
    let net = net(side, if args.quick { 8 } else { 32 })?;
    println!(
        "{} images of {side} x {side} to train on, {} to test, {} parameters, {} threads",
        training.labels.numel(),
        test.labels.numel(),
        net.num_parameters(),
        esker::num_threads()
    );
    let start = Instant::now();
    train(&args, &net, &training, &test)?;
    let right = accuracy(&logits(&net, &test.images)?, &test.labels)?;
    println!(
        "{:.2} % of the test images are read correctly, after {:.0} s",
        100.0 * right,
        start.elapsed().as_secs_f64()
    );
    let held = test.images.narrow(0, 0, 256)?;
    let doc = "Reads handwritten digits, 0 (black) to 1 (white).";
    ship::ship(&args.out, "mnist_cnn", &net, &[("image", &held)], doc, |x| net.forward(&x[0]))?;
    Ok(())
}

/// Two stages of a convolution each, then a hidden layer.
fn net(side: usize, width: usize) -> Result<Sequential> {
    let features = 2 * width * (side / 4) * (side / 4);
    Ok(sequential![
        Conv2d::new(1, width, 3)?.padding(1),
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(width, 2 * width, 3)?.padding(1),
        ReLU,
        MaxPool2d::new(2),
        Flatten::new(),
        Dropout::new(0.25),
        Linear::new(features, 4 * width)?,
        ReLU,
        Linear::new(4 * width, 10)?,
    ])
}

fn train(args: &Args, net: &Sequential, training: &Digits, test: &Digits) -> Result<()> {
    let shift = AUGMENT.shift * training.images.size(-1)? as f32;
    let dataset = TensorDataset::new(vec![training.images.clone(), training.labels.clone()])?;
    let (epochs, batch) = if args.quick { (3, 32) } else { (args.epochs, args.batch) };
    let loader = DataLoader::new(dataset, batch)?.shuffle(args.seed).drop_last(true).prefetch(4);
    let loader = loader.transform(move |mut batch, key| {
        batch[0] = RandomAffine { shift, ..AUGMENT }.apply(&batch[0], key)?;
        Ok(batch)
    });
    let steps = loader.len() as u64 * epochs;
    let mut optimizer = AdamW::new(net.parameters(), args.lr);
    let mut scheduler = Scheduler::new(&mut optimizer, OneCycleLR::new(args.lr, steps));
    let mut progress = progress::Progress::new(steps)?;
    for epoch in 0..epochs {
        net.train();
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            let loss = cross_entropy(&net.forward(&batch[0])?, &batch[1])?;
            optimizer.zero_grad();
            loss.backward()?;
            optimizer.step()?;
            scheduler.step(&mut optimizer);
            progress.step(loss.item()?);
        }
        net.eval();
        let right = accuracy(&logits(net, &test.images)?, &test.labels)?;
        progress.line(&format!("epoch {}: test accuracy {:.2} %", epoch + 1, 100.0 * right));
    }
    progress.finish();
    Ok(())
}

/// What the net says of many images, some at a time.
fn logits(net: &Sequential, images: &Tensor) -> Result<Tensor> {
    let parts = images.split(1000, 0)?;
    let parts = parts.iter().map(|x| no_grad(|| net.forward(x))).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)
}

/// Training and test set.
fn data(quick: bool) -> Result<(Digits, Digits)> {
    let files =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
    if !quick {
        match find_data("mnist", files) {
            Ok([images, labels, test_images, test_labels]) => {
                return Ok((mnist(&images, &labels)?, mnist(&test_images, &test_labels)?));
            }
            Err(why) => println!("{why}; the embedded digits are taken instead"),
        }
    }
    let (images, labels) = digits()?;
    let (rest, held) = stratified_split(&labels.to_vec::<i64>()?, 0.2, 0)?;
    let pick = |indices: &[usize]| -> Result<Digits> {
        let index = Tensor::from_vec(indices.iter().map(|&i| i as i64).collect::<Vec<_>>())?;
        Ok(Digits { images: images.index_select(&index, 0)?, labels: labels.index_select(&index, 0)? })
    };
    let rest = if quick { &rest[..512] } else { &rest[..] };
    Ok((pick(rest)?, pick(&held)?))
}

fn mnist(images: &std::path::Path, labels: &std::path::Path) -> Result<Digits> {
    let (images, labels) = (read_idx(images)?, read_idx(labels)?);
    let images = images.cast(DType::F32)?.unsqueeze(1)?;
    Ok(Digits { images: images / 255.0, labels: labels.cast(DType::I64)? })
}
