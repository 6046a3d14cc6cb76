//! Trains a small U-Net to find circles, squares and triangles in noisy pictures, which are drawn as training goes. Prints
//! the intersection over union of each shape and one picture with what the net sees in it, and ships the net as ONNX.
//!
//! `cargo run --release --example unet`
#![allow(missing_docs)]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use esker::nn::{Conv2d, ConvTranspose2d, MaxPool2d, ReLU, Sequential};
use esker::optim::{AdamW, OneCycleLR, Scheduler};
use esker::prelude::*;
use esker::tensor::philox::{Generator, Key};
use shapes::Drawn;

#[path = "common/progress.rs"]
mod progress;
#[path = "unet/shapes.rs"]
mod shapes;
#[path = "common/ship.rs"]
mod ship;

/// Train a U-Net on drawn shapes and export it to ONNX.
#[derive(Parser)]
struct Args {
    /// Steps of training
    #[arg(long, default_value_t = 600)]
    steps: u64,
    /// Pictures per step
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// The side of a picture in pixels, a multiple of 4
    #[arg(long, default_value_t = 48)]
    side: usize,
    /// The highest learning rate
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    /// Seed of the weights and the pictures
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A tiny net for 10 steps on pictures of 16 x 16: seconds, for a test
    #[arg(long)]
    quick: bool,
    /// Where files are written
    #[arg(long, default_value = "target/unet")]
    out: PathBuf,
}

/// The pictures that judge the net come from a key that no step draws.
const TEST: Key = Key(u64::MAX);

/// Two halvings on the way down, two doublings on the way up, each with the picture of its size from the way down.
#[derive(Module)]
struct UNet {
    down1: Sequential,
    down2: Sequential,
    bottom: Sequential,
    up2: ConvTranspose2d,
    join2: Sequential,
    up1: ConvTranspose2d,
    join1: Sequential,
    head: Conv2d,
    pool: MaxPool2d,
}

fn two_convolutions(inputs: usize, outputs: usize) -> Result<Sequential> {
    Ok(sequential![
        Conv2d::new(inputs, outputs, 3)?.padding(1),
        ReLU,
        Conv2d::new(outputs, outputs, 3)?.padding(1),
        ReLU,
    ])
}

impl UNet {
    fn new(width: usize) -> Result<Self> {
        Ok(Self {
            down1: two_convolutions(1, width)?,
            down2: two_convolutions(width, 2 * width)?,
            bottom: two_convolutions(2 * width, 4 * width)?,
            up2: ConvTranspose2d::new(4 * width, 2 * width, 2)?.stride(2),
            join2: two_convolutions(4 * width, 2 * width)?,
            up1: ConvTranspose2d::new(2 * width, width, 2)?.stride(2),
            join1: two_convolutions(2 * width, width)?,
            head: Conv2d::new(width, shapes::CLASSES, 1)?,
            pool: MaxPool2d::new(2),
        })
    }
}

impl Forward for UNet {
    /// Pictures `[n, 1, side, side]` to logits of the classes `[n, classes, side, side]`.
    fn forward(&self, picture: &Tensor) -> Result<Tensor> {
        let full = self.down1.forward_in("down1", picture)?;
        let half = self.down2.forward_in("down2", &self.pool.forward(&full)?)?;
        let x = self.bottom.forward_in("bottom", &self.pool.forward(&half)?)?;
        let x = Tensor::cat(&[&half, &self.up2.forward_in("up2", &x)?], 1)?;
        let x = self.join2.forward_in("join2", &x)?;
        let x = Tensor::cat(&[&full, &self.up1.forward_in("up1", &x)?], 1)?;
        let x = self.join1.forward_in("join1", &x)?;
        self.head.forward_in("head", &x)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    esker::manual_seed(args.seed);
    let (side, width, steps) = if args.quick { (16, 4, 10) } else { (args.side, 16, args.steps) };
    let net = UNet::new(width)?;
    println!("pictures of {side} x {side}, {} parameters, {} threads", net.num_parameters(), esker::num_threads());
    let start = Instant::now();
    let test = shapes::draw(64, side, TEST)?;
    train(&args, &net, steps, &test)?;
    let (seen, each) = judge(&net, &test)?;
    for (name, iou) in shapes::NAMES.iter().zip(each) {
        println!("{name:>10}: intersection over union {iou:.3}");
    }
    println!("after {:.0} s; a picture, and what the net sees in it:\n", start.elapsed().as_secs_f64());
    shapes::show(&test.pictures.select(0, 0)?, &seen.select(0, 0)?)?;
    let held = test.pictures.narrow(0, 0, 16)?;
    let doc = "Logits of background, circle, square and triangle for each pixel.";
    ship::ship(&args.out, "unet", &net, &[("picture", &held)], doc, |x| net.forward(&x[0]))?;
    Ok(())
}

fn train(args: &Args, net: &UNet, steps: u64, test: &Drawn) -> Result<()> {
    let mut optimizer = AdamW::new(net.parameters(), args.lr);
    let mut scheduler = Scheduler::new(&mut optimizer, OneCycleLR::new(args.lr, steps));
    let mut random = Generator::new(args.seed);
    let mut progress = progress::Progress::new(steps)?;
    let side = test.pictures.size(-1)?;
    for step in 1..=steps {
        let drawn = shapes::draw(args.batch, side, random.next_key())?;
        let loss = cross_entropy(&net.forward(&drawn.pictures)?, &drawn.classes)?;
        optimizer.zero_grad();
        loss.backward()?;
        optimizer.step()?;
        scheduler.step(&mut optimizer);
        progress.step(loss.item()?);
        if step % (steps / 5).max(1) == 0 {
            let (_, each) = judge(net, test)?;
            let mean = each.iter().sum::<f64>() / each.len() as f64;
            progress.line(&format!("step {step}: mean intersection over union {mean:.3}"));
        }
    }
    progress.finish();
    Ok(())
}

/// The class that the net sees in each pixel, and for each class the pixels that are of it and seen as it, as a share of
/// those that are either.
fn judge(net: &UNet, test: &Drawn) -> Result<(Tensor, [f64; shapes::CLASSES])> {
    let seen = no_grad(|| net.forward(&test.pictures))?.argmax(1, false)?;
    let (mut both, mut either) = ([0.0; shapes::CLASSES], [0.0; shapes::CLASSES]);
    for (seen, is) in seen.to_vec::<i64>()?.into_iter().zip(test.classes.to_vec::<i64>()?) {
        for class in 0..shapes::CLASSES as i64 {
            both[class as usize] += f64::from(u8::from(seen == class && is == class));
            either[class as usize] += f64::from(u8::from(seen == class || is == class));
        }
    }
    Ok((seen, std::array::from_fn(|class| both[class] / either[class])))
}
