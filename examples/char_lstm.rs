//! A recurrent net (LSTM) that learns to write, character by character: Esker's own source text, or Tiny Shakespeare.
//! Prints the loss on held-out text and a sample, and ships the model as ONNX.
//!
//! `cargo run --release --example char_lstm`
#![allow(missing_docs)]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use esker::nn::{Dropout, Embedding, LSTM, Linear, Recurrent};
use esker::optim::{AdamW, OneCycleLR, Scheduler, clip_grad_norm};
use esker::prelude::*;
use esker::tensor::philox::Generator;

#[path = "common/progress.rs"]
mod progress;
#[path = "common/ship.rs"]
mod ship;
#[path = "common/text.rs"]
mod text;

/// Train an LSTM on text, let it write, and export it to ONNX.
#[derive(Parser)]
struct Args {
    /// The text to learn
    #[arg(long, value_enum, default_value = "esker")]
    text: text::Source,
    /// Steps of training
    #[arg(long, default_value_t = 500)]
    steps: u64,
    /// Windows of text per step
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// The highest learning rate
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    /// Characters to write after training
    #[arg(long, default_value_t = 400)]
    sample: usize,
    /// Below 1: surer of itself, above: more adventurous
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Seed of the weights, the windows, dropout and the sample
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A tiny model for 20 steps: seconds, for a test
    #[arg(long)]
    quick: bool,
    /// Where files are written
    #[arg(long, default_value = "target/char_lstm")]
    out: PathBuf,
}

/// Hidden and cell state, each `[layers, n, width]`.
type State = (Tensor, Tensor);

#[derive(Module)]
struct Writer {
    letters: Embedding,
    lstm: LSTM,
    dropout: Dropout,
    head: Linear,
}

impl Writer {
    fn new(letters: usize, embedded: usize, width: usize, layers: usize) -> Result<Self> {
        Ok(Self {
            letters: Embedding::new(letters, embedded)?,
            lstm: LSTM::with(embedded, width, Recurrent { layers, batch_first: true, ..Default::default() })?,
            dropout: Dropout::new(0.1),
            head: Linear::new(width, letters)?,
        })
    }

    /// Letters i64 `[n, length]` to logits `[n, length, letters]`, and the state behind the last.
    fn run(&self, letters: &Tensor, state: Option<&State>) -> Result<(Tensor, State)> {
        let x = self.letters.forward_in("letters", letters)?;
        let (y, state) = self.lstm.forward(&x, state.map(|(h, c)| (h, c))).within("lstm")?;
        Ok((self.head.forward_in("head", &self.dropout.forward(&y)?)?, state))
    }
}

impl Forward for Writer {
    fn forward(&self, letters: &Tensor) -> Result<Tensor> {
        Ok(self.run(letters, None)?.0)
    }
}

/// Mean cross-entropy of the next letter, in nats.
fn loss(writer: &Writer, letters: &Tensor, next: &Tensor) -> Result<Tensor> {
    let logits = writer.forward(letters)?;
    cross_entropy(&logits.flatten(0, 1)?, &next.flatten(0, 1)?)
}

/// The loss on held-out text; the model is in training afterwards.
fn judge(writer: &Writer, text: &text::Text, length: usize) -> Result<f64> {
    writer.eval();
    let (held, next) = text::windows_in_order(&text.held, 64, length)?;
    let held_loss = no_grad(|| loss(writer, &held, &next))?.item()?;
    writer.train();
    Ok(held_loss)
}

fn main() -> Result<()> {
    let args = Args::parse();
    esker::manual_seed(args.seed);
    let text = text::Text::read(args.text)?;
    let letters = text.letters.len();
    let (length, writer) = match args.quick {
        true => (16, Writer::new(letters, 16, 32, 1)?),
        false => (64, Writer::new(letters, 64, 256, 2)?),
    };
    println!("{} parameters, {} threads", writer.num_parameters(), esker::num_threads());
    let start = Instant::now();
    train(&args, &writer, &text, length)?;
    println!(
        "held-out loss {:.4} nats a character, after {:.0} s",
        judge(&writer, &text, length)?,
        start.elapsed().as_secs_f64()
    );
    writer.eval();
    let count = if args.quick { 40 } else { args.sample };
    println!("---\n{}\n---", no_grad(|| write(&writer, &text, count, args.temperature))?);
    let (held, _) = text::windows_in_order(&text.held, 8, length)?;
    let doc = "Logits of the next character after each of a window's characters.";
    ship::ship(&args.out, "char_lstm", &writer, &[("letters", &held)], doc, |x| writer.forward(&x[0]))?;
    Ok(())
}

fn train(args: &Args, writer: &Writer, text: &text::Text, length: usize) -> Result<()> {
    let (steps, batch) = if args.quick { (20, 8) } else { (args.steps, args.batch) };
    let parameters = writer.parameters();
    let mut optimizer = AdamW::new(parameters.clone(), args.lr);
    let mut scheduler = Scheduler::new(&mut optimizer, OneCycleLR::new(args.lr, steps).pct_start(0.1));
    let mut random = Generator::new(args.seed);
    let mut progress = progress::Progress::new(steps)?;
    writer.train();
    for step in 1..=steps {
        let (letters, next) = text::windows(&text.training, batch, length, &mut random)?;
        let loss = loss(writer, &letters, &next)?;
        optimizer.zero_grad();
        loss.backward()?;
        clip_grad_norm(&parameters, 1.0)?;
        optimizer.step()?;
        scheduler.step(&mut optimizer);
        progress.step(loss.item()?);
        if step % (steps / 5).max(1) == 0 {
            progress.line(&format!("step {step}: held-out loss {:.4}", judge(writer, text, length)?));
        }
    }
    progress.finish();
    Ok(())
}

/// `count` characters, one by one, each from the state behind those before it.
fn write(writer: &Writer, text: &text::Text, count: usize, temperature: f64) -> Result<String> {
    let mut written = text.encode("\n");
    let mut state = None;
    for _ in 0..count {
        let last = Tensor::from_slice(&written[written.len() - 1..], [1, 1])?;
        let (logits, next) = writer.run(&last, state.as_ref())?;
        state = Some(next);
        written.push(text::draw(&logits, temperature)?);
    }
    Ok(text.decode(&written[1..]))
}
