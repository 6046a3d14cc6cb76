//! A small GPT that learns to write, character by character: Esker's own source text, or Tiny Shakespeare. Prints the loss
//! on held-out text and a sample, written with a cache of keys and values, and ships the model as ONNX.
//!
//! `cargo run --release --example char_gpt`
#![allow(missing_docs)]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use esker::nn::{Dropout, Embedding, LayerNorm, Linear, init};
use esker::optim::{AdamW, OneCycleLR, Scheduler, clip_grad_norm};
use esker::prelude::*;
use esker::tensor::philox::{Generator, Key};

#[path = "common/progress.rs"]
mod progress;
#[path = "common/ship.rs"]
mod ship;
#[path = "common/text.rs"]
mod text;

/// Train a small GPT on text, let it write, and export it to ONNX.
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
    #[arg(long, default_value_t = 2e-3)]
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
    #[arg(long, default_value = "target/char_gpt")]
    out: PathBuf,
}

/// The sizes of a model.
#[derive(Clone, Copy)]
struct Config {
    letters: usize,
    context: usize,
    width: usize,
    heads: usize,
    layers: usize,
    dropout: f64,
}

/// Keys and values of the characters so far, each `[n, heads, length, width / heads]`.
type Cache = Option<(Tensor, Tensor)>;

#[derive(Module)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    fn new(config: Config) -> Result<Self> {
        let width = config.width;
        Ok(Self { qkv: Linear::new(width, 3 * width)?, proj: Linear::new(width, width)?, heads: config.heads })
    }

    /// Every character looks at itself and those before it; those of earlier calls are in the cache.
    fn forward(&self, x: &Tensor, cache: Option<&mut Cache>) -> Result<Tensor> {
        let [_, length, width] = x.shape()[..] else {
            return Err(Error::shape("attention: needed is [n, length, width]"));
        };
        let sizes = [-1, length as i64, 3, self.heads as i64, (width / self.heads) as i64];
        let qkv = self.qkv.forward_in("qkv", x)?.reshape(sizes)?.permute([2, 0, 3, 1, 4])?;
        let (q, mut k, mut v) = (qkv.select(0, 0)?, qkv.select(0, 1)?, qkv.select(0, 2)?);
        let mut causal = true;
        if let Some(cache) = cache {
            if let Some((keys, values)) = cache.take() {
                (k, v) = (Tensor::cat(&[&keys, &k], 2)?, Tensor::cat(&[&values, &v], 2)?);
                causal = length > 1; // A single character is the last: it may look at all.
            }
            *cache = Some((k.clone(), v.clone()));
        }
        let mixed = q.scaled_dot_product_attention(&k, &v, None, 0.0, causal, None, false, Key(0))?;
        self.proj.forward_in("proj", &mixed.transpose(1, 2)?.reshape([-1, length as i64, width as i64])?)
    }
}

/// Attention and a wide layer, each on what a norm makes of its input, and added to it.
#[derive(Module)]
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
    dropout: Dropout,
}

impl Block {
    fn new(config: Config) -> Result<Self> {
        let width = config.width;
        Ok(Self {
            norm1: LayerNorm::new([width])?,
            attention: Attention::new(config)?,
            norm2: LayerNorm::new([width])?,
            up: Linear::new(width, 4 * width)?,
            down: Linear::new(4 * width, width)?,
            dropout: Dropout::new(config.dropout),
        })
    }

    fn forward(&self, x: &Tensor, cache: Option<&mut Cache>) -> Result<Tensor> {
        let mixed = self.attention.forward(&self.norm1.forward_in("norm1", x)?, cache).within("attention")?;
        let x = x.add(&self.dropout.forward(&mixed)?)?;
        let wide = self.up.forward_in("up", &self.norm2.forward_in("norm2", &x)?)?.gelu()?;
        x.add(&self.dropout.forward(&self.down.forward_in("down", &wide)?)?)
    }
}

#[derive(Module)]
struct Gpt {
    token: Embedding,
    position: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    #[module(skip)]
    config: Config,
}

impl Gpt {
    fn new(config: Config) -> Result<Self> {
        let table = |rows| Ok::<_, Error>(Embedding::of(Param::new(&init::normal([rows, config.width], 0.0, 0.02)?)?));
        Ok(Self {
            token: table(config.letters)?,
            position: table(config.context)?,
            blocks: (0..config.layers).map(|_| Block::new(config)).collect::<Result<_>>()?,
            norm: LayerNorm::new([config.width])?,
            head: Linear::without_bias(config.width, config.letters)?,
            config,
        })
    }

    /// Letters i64 `[n, length]` to logits `[n, length, letters]`. With `caches`, one a block, the letters follow those of
    /// earlier calls, which are `past`.
    fn run(&self, letters: &Tensor, past: usize, mut caches: Option<&mut [Cache]>) -> Result<Tensor> {
        let length = letters.size(1)?;
        let places = Tensor::from_vec((past..past + length).map(|i| i as i64).collect::<Vec<_>>())?;
        let mut x = self.token.forward_in("token", letters)?.add(&self.position.forward_in("position", &places)?)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let cache = caches.as_deref_mut().and_then(|c| c.get_mut(i));
            x = block.forward(&x, cache).within(&format!("blocks.{i}"))?;
        }
        self.head.forward_in("head", &self.norm.forward_in("norm", &x)?)
    }
}

impl Forward for Gpt {
    fn forward(&self, letters: &Tensor) -> Result<Tensor> {
        self.run(letters, 0, None)
    }
}

/// Mean cross-entropy of the next letter, in nats.
fn loss(gpt: &Gpt, letters: &Tensor, next: &Tensor) -> Result<Tensor> {
    let logits = gpt.forward(letters)?;
    cross_entropy(&logits.flatten(0, 1)?, &next.flatten(0, 1)?)
}

/// The loss on held-out text; the model is in training afterwards.
fn judge(gpt: &Gpt, text: &text::Text) -> Result<f64> {
    gpt.eval();
    let (held, next) = text::windows_in_order(&text.held, 64, gpt.config.context)?;
    let held_loss = no_grad(|| loss(gpt, &held, &next))?.item()?;
    gpt.train();
    Ok(held_loss)
}

fn main() -> Result<()> {
    let args = Args::parse();
    esker::manual_seed(args.seed);
    let text = text::Text::read(args.text)?;
    let letters = text.letters.len();
    let config = match args.quick {
        true => Config { letters, context: 16, width: 32, heads: 2, layers: 1, dropout: 0.0 },
        false => Config { letters, context: 64, width: 128, heads: 4, layers: 3, dropout: 0.1 },
    };
    let gpt = Gpt::new(config)?;
    println!("{} parameters, {} threads", gpt.num_parameters(), esker::num_threads());
    let start = Instant::now();
    train(&args, &gpt, &text)?;
    println!("held-out loss {:.4} nats a character, after {:.0} s", judge(&gpt, &text)?, start.elapsed().as_secs_f64());
    gpt.eval();
    let count = if args.quick { 40 } else { args.sample };
    println!("---\n{}\n---", no_grad(|| write(&gpt, &text, count, args.temperature))?);
    let (held, _) = text::windows_in_order(&text.held, 8, config.context)?;
    let doc = "Logits of the next character after each of a window's characters.";
    ship::ship(&args.out, "char_gpt", &gpt, &[("letters", &held)], doc, |x| gpt.forward(&x[0]))?;
    Ok(())
}

fn train(args: &Args, gpt: &Gpt, text: &text::Text) -> Result<()> {
    let (steps, batch) = if args.quick { (20, 8) } else { (args.steps, args.batch) };
    let parameters = gpt.parameters();
    let mut optimizer = AdamW::new(parameters.clone(), args.lr);
    let mut scheduler = Scheduler::new(&mut optimizer, OneCycleLR::new(args.lr, steps).pct_start(0.1));
    let mut random = Generator::new(args.seed);
    let mut progress = progress::Progress::new(steps)?;
    gpt.train();
    for step in 1..=steps {
        let (letters, next) = text::windows(&text.training, batch, gpt.config.context, &mut random)?;
        let loss = loss(gpt, &letters, &next)?;
        optimizer.zero_grad();
        loss.backward()?;
        clip_grad_norm(&parameters, 1.0)?;
        optimizer.step()?;
        scheduler.step(&mut optimizer);
        progress.step(loss.item()?);
        if step % (steps / 5).max(1) == 0 {
            progress.line(&format!("step {step}: held-out loss {:.4}", judge(gpt, text)?));
        }
    }
    progress.finish();
    Ok(())
}

/// `count` characters, one by one; each looks at the cache of those before it. A full context is halved.
fn write(gpt: &Gpt, text: &text::Text, count: usize, temperature: f64) -> Result<String> {
    let mut written = text.encode("\n");
    let mut caches: Vec<Cache> = Vec::new();
    let mut past = gpt.config.context;
    for _ in 0..count {
        if past == gpt.config.context {
            caches = gpt.blocks.iter().map(|_| None).collect();
            past = 0;
        }
        // The first time and after halving, several letters are read at once.
        let unread = if past == 0 { (gpt.config.context / 2).min(written.len()) } else { 1 };
        let letters = Tensor::from_slice(&written[written.len() - unread..], [1, unread])?;
        let logits = gpt.run(&letters, past, Some(&mut caches))?;
        past += unread;
        written.push(text::draw(&logits, temperature)?);
    }
    Ok(text.decode(&written[1..]))
}
