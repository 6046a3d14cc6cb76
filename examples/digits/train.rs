//! The net and its training.

use esker::data::{DataLoader, RandomAffine, TensorDataset};
use esker::nn::{Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential};
use esker::optim::{AdamW, OneCycleLR, Scheduler};
use esker::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Args;

/// Images (f32 `[n, 1, 8, 8]`, 0 to 1) and the digits that they show (i64 `[n]`).
pub(crate) struct Digits {
    pub(crate) images: Tensor,
    pub(crate) labels: Tensor,
}

impl Digits {
    pub(crate) fn len(&self) -> usize {
        self.labels.numel()
    }
}

/// One point of the learning curve.
pub(crate) struct Epoch {
    pub(crate) train_loss: f64,
    pub(crate) held_loss: f64,
    pub(crate) accuracy: f64,
}

/// A trained net, in evaluation, and how it came about.
pub(crate) struct Run {
    pub(crate) net: Sequential,
    pub(crate) curve: Vec<Epoch>,
}

impl Run {
    pub(crate) fn accuracy(&self) -> f64 {
        self.curve.last().map_or(0.0, |e| e.accuracy)
    }
}

fn net() -> Result<Sequential> {
    Ok(sequential![
        Conv2d::new(1, 32, 3)?.padding(1),
        ReLU,
        Conv2d::new(32, 32, 3)?.padding(1),
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(32, 64, 3)?.padding(1),
        ReLU,
        Flatten::new(),
        Dropout::new(0.3),
        Linear::new(64 * 4 * 4, 64)?,
        ReLU,
        Linear::new(64, 10)?,
    ])
}

/// How far a digit may be turned, shifted, scaled and slanted and still be the same digit.
const AUGMENT: RandomAffine = RandomAffine { degrees: 10.0, shift: 0.7, scale: 0.1, shear: 0.1 };

pub(crate) fn run(args: &Args, seed: u64, training: &Digits, held: &Digits) -> Result<Run> {
    esker::manual_seed(seed);
    let net = net()?;
    let dataset = TensorDataset::new(vec![training.images.clone(), training.labels.clone()])?;
    let loader =
        DataLoader::new(dataset, args.batch)?.shuffle(seed).drop_last(true).prefetch(4).transform(|mut batch, key| {
            if let Some(images) = batch.first_mut() {
                *images = AUGMENT.apply(images, key)?;
            }
            Ok(batch)
        });
    let mut optimizer = AdamW::new(net.parameters(), args.lr);
    let steps = loader.len() as u64 * args.epochs;
    let schedule = OneCycleLR::new(args.lr, steps).pct_start(0.25).without_momentum();
    let mut scheduler = Scheduler::new(&mut optimizer, schedule);
    let bar = ProgressBar::new(steps);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {eta} left, loss {msg}");
    bar.set_style(style.map_err(|e| Error::format(e.to_string()))?);
    let mut curve = Vec::new();
    for epoch in 0..args.epochs {
        net.train();
        let mut total = 0.0;
        for batch in loader.epoch(epoch) {
            let [images, labels] = &batch?[..] else { return Err(Error::shape("a batch is images and labels")) };
            optimizer.zero_grad();
            let loss = cross_entropy(&net.forward(images)?, labels)?;
            loss.backward()?;
            optimizer.step()?;
            scheduler.step(&mut optimizer);
            total += loss.item()?;
            bar.inc(1);
            bar.set_message(format!("{:.4}", total / (bar.position() - epoch * loader.len() as u64) as f64));
        }
        net.eval();
        let logits = no_grad(|| net.forward(&held.images))?;
        let point = Epoch {
            train_loss: total / loader.len() as f64,
            held_loss: cross_entropy(&logits, &held.labels)?.item()?,
            accuracy: accuracy(&logits, &held.labels)?,
        };
        bar.suspend(|| {
            println!(
                "epoch {:>2}: loss {:.4} in training, {:.4} held out, accuracy {:>6.2} %",
                epoch + 1,
                point.train_loss,
                point.held_loss,
                100.0 * point.accuracy
            );
        });
        curve.push(point);
    }
    bar.finish_and_clear();
    Ok(Run { net, curve })
}
