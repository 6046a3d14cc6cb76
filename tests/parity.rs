//! Training as PyTorch does it: the loss curves of four models over 100 steps against the fixtures of
//! `tests/parity/generate.py`, which says how the numbers were made.
//!
//! In f64 the curves agree to 1e-8. In f32 Esker is no further from PyTorch's f64 curve than twice PyTorch's own f32
//! curve is, or 1e-4.

use esker::nn::{BatchNorm2d, Conv2d, Embedding, LSTM, LayerNorm, Linear, Recurrent};
use esker::optim::{Adam, AdamW, SGD};
use esker::prelude::*;

const STEPS: u64 = 100;

/// Numbers in [-1, 1): splitmix64 of (stream, i), as in generate.py.
fn uniform(stream: u64, n: usize) -> Vec<f64> {
    let one = |i: u64| {
        let mut z = (i + 1).wrapping_add(stream << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 * 2f64.powi(-52) - 1.0
    };
    (0..n as u64).map(one).collect()
}

fn reals(stream: u64, shape: &[usize]) -> Tensor {
    Tensor::from_slice(&uniform(stream, shape.iter().product()), shape).unwrap()
}

/// Rows in which each token follows from the one before it: 3 t + 1.
fn tokens(stream: u64, count: i64, n: usize, length: usize) -> Tensor {
    let mut rows = Vec::new();
    for u in uniform(stream, n) {
        let mut token = ((u + 1.0) / 2.0 * count as f64).floor() as i64;
        for _ in 0..length {
            rows.push(token);
            token = (3 * token + 1) % count;
        }
    }
    Tensor::from_slice(&rows, [n, length]).unwrap()
}

/// Every parameter from its own stream, in f64.
fn fill(model: &impl Module) {
    model.to_dtype(DType::F64).unwrap();
    for (i, (name, p)) in model.named_parameters().into_iter().enumerate() {
        let shape = p.shape();
        let u = uniform(1000 + i as u64, shape.numel());
        let norm = shape.len() == 1 && name.contains("weight");
        let fan = if shape.len() > 1 { shape.numel() / shape[0] } else { 10 };
        let value = |u: f64| if norm { 1.0 + u / 10.0 } else { u / (fan as f64).sqrt() };
        let values: Vec<f64> = u.into_iter().map(value).collect();
        p.set(&Tensor::from_slice(&values, shape).unwrap()).unwrap();
    }
}

/// The losses of 100 steps.
fn curve<M: Module, O: Optimizer>(
    model: &M,
    dtype: DType,
    optimizer: impl Fn(Vec<Param>) -> O,
    loss: impl Fn(&M, u64) -> Result<Tensor>,
) -> Vec<f64> {
    fill(model);
    model.to_dtype(dtype).unwrap();
    let mut optimizer = optimizer(model.parameters());
    let step = |step| {
        optimizer.zero_grad();
        let loss = loss(model, step)?;
        loss.backward()?;
        optimizer.step()?;
        loss.item()
    };
    (0..STEPS).map(step).collect::<Result<_>>().unwrap()
}

/// Holds a model's curves against PyTorch's.
fn compare(name: &str, curve: impl Fn(DType) -> Vec<f64>) {
    let fixtures: serde_json::Value = serde_json::from_str(include_str!("parity/curves.json")).unwrap();
    let torch = |dtype: &str| -> Vec<f64> {
        let curve = fixtures["curves"][name][dtype].as_array().unwrap();
        curve.iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let distance = |a: &[f64], b: &[f64]| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let (exact, rounded) = (torch("float64"), torch("float32"));
    let double = distance(&curve(DType::F64), &exact);
    let single = distance(&curve(DType::F32), &exact);
    let allowed = (2.0 * distance(&rounded, &exact)).max(1e-4);
    println!("{name}: f64 off by {double:.1e}, f32 by {single:.1e} of {allowed:.1e}");
    assert!(double <= 1e-8, "{name} in f64 is off by {double:e}");
    assert!(single <= allowed, "{name} in f32 is off by {single:e}, allowed is {allowed:e}");
}

#[derive(Module)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Forward for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc3.forward(&self.fc2.forward(&self.fc1.forward(x)?.tanh()?)?.gelu()?)
    }
}

#[test]
fn mlp() {
    compare("mlp", |dtype| {
        let model = Mlp {
            fc1: Linear::new(20, 32).unwrap(),
            fc2: Linear::new(32, 32).unwrap(),
            fc3: Linear::new(32, 5).unwrap(),
        };
        let adam = |p| Adam::new(p, 1e-2);
        curve(&model, dtype, adam, |model, step| {
            let x = reals(step, &[16, 20]);
            let labels = x.slice(1, 0, 5, 1)?.argmax(1, false)?;
            cross_entropy(&model.forward(&x.cast(dtype)?)?, &labels)
        })
    });
}

#[derive(Module)]
struct Cnn {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    fc: Linear,
}

impl Forward for Cnn {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.bn1.forward(&self.conv1.forward(x)?)?.relu()?.max_pool2d(2, (), 0, 1, false)?;
        self.fc.forward(&self.bn2.forward(&self.conv2.forward(&x)?)?.relu()?.flatten(1, -1)?)
    }
}

#[test]
fn cnn() {
    compare("cnn", |dtype| {
        let model = Cnn {
            conv1: Conv2d::new(2, 6, 3).unwrap().padding(1),
            bn1: BatchNorm2d::new(6).unwrap(),
            conv2: Conv2d::new(6, 8, 3).unwrap().stride(2).without_bias(),
            bn2: BatchNorm2d::new(8).unwrap(),
            fc: Linear::new(32, 4).unwrap(),
        };
        let sgd = |p| SGD::new(p, 0.05).momentum(0.9).nesterov().weight_decay(1e-3);
        curve(&model, dtype, sgd, |model, step| {
            let x = reals(step, &[8, 2, 10, 10]);
            let quarters = x.sum(1, false)?.reshape([8, 2, 5, 2, 5])?.sum([2, 4], false)?;
            let labels = quarters.flatten(1, -1)?.argmax(1, false)?;
            model.forward(&x.cast(dtype)?)?.cross_entropy(&labels, None, -100, "mean", 0.1)
        })
    });
}

/// Each token's loss, given those before it.
fn next_token_loss(ids: &Tensor, logits: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let logits = logits(&ids.slice(1, 0, -1, 1)?)?;
    cross_entropy(&logits.flatten(0, 1)?, &ids.slice(1, 1, i64::MAX, 1)?.flatten(0, 1)?)
}

#[derive(Module)]
struct Lstm {
    embed: Embedding,
    lstm: LSTM,
    head: Linear,
}

#[test]
fn lstm() {
    compare("lstm", |dtype| {
        let model = Lstm {
            embed: Embedding::new(11, 12).unwrap(),
            lstm: LSTM::with(12, 16, Recurrent { layers: 2, batch_first: true, ..Recurrent::default() }).unwrap(),
            head: Linear::new(16, 11).unwrap(),
        };
        let adam = |p| Adam::new(p, 1e-2);
        curve(&model, dtype, adam, |model, step| {
            next_token_loss(&tokens(step, 11, 6, 13), |ids| {
                model.head.forward(&model.lstm.forward(&model.embed.forward(ids)?, None)?.0)
            })
        })
    });
}

#[derive(Module)]
struct Block {
    ln1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    ln2: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(d: usize) -> Result<Self> {
        Ok(Self {
            ln1: LayerNorm::new([d])?,
            qkv: Linear::new(d, 3 * d)?,
            proj: Linear::new(d, d)?,
            ln2: LayerNorm::new([d])?,
            up: Linear::new(d, 4 * d)?,
            down: Linear::new(4 * d, d)?,
        })
    }
}

impl Forward for Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [b, t, d] = x.shape()[..] else { return Err(Error::shape("a block takes [batch, time, features]")) };
        let qkv = self.qkv.forward(&self.ln1.forward(x)?)?.split(d as i64, 2)?;
        let heads = |x: &Tensor| x.reshape([b, t, 4, d / 4])?.transpose(1, 2);
        let (q, k, v) = (heads(&qkv[0])?, heads(&qkv[1])?, heads(&qkv[2])?);
        let y = q.scaled_dot_product_attention(&k, &v, None, 0.0, true, (), false, esker::tensor::philox::Key(0))?;
        let x = x.add(&self.proj.forward(&y.transpose(1, 2)?.reshape([b, t, d])?)?)?;
        x.add(&self.down.forward(&self.up.forward(&self.ln2.forward(&x)?)?.gelu_tanh()?)?)
    }
}

#[derive(Module)]
struct Gpt {
    tok: Embedding,
    pos: Embedding,
    blocks: Vec<Block>,
    ln: LayerNorm,
    head: Linear,
}

impl Forward for Gpt {
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let places = Tensor::from_slice(&(0..ids.size(1)? as i64).collect::<Vec<_>>(), [ids.size(1)?])?;
        let mut x = self.tok.forward(ids)?.add(&self.pos.forward(&places)?)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.head.forward(&self.ln.forward(&x)?)
    }
}

#[test]
fn gpt() {
    compare("gpt", |dtype| {
        let model = Gpt {
            tok: Embedding::new(13, 24).unwrap(),
            pos: Embedding::new(12, 24).unwrap(),
            blocks: vec![Block::new(24).unwrap(), Block::new(24).unwrap()],
            ln: LayerNorm::new([24]).unwrap(),
            head: Linear::without_bias(24, 13).unwrap(),
        };
        let adamw = |p| AdamW::new(p, 5e-3).betas(0.9, 0.95).weight_decay(0.1);
        curve(&model, dtype, adamw, |model, step| next_token_loss(&tokens(step, 13, 4, 13), |ids| model.forward(ids)))
    });
}
