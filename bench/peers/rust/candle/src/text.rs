//! The models of text.
use bench_common::LETTERS;
use candle_core::{D, IndexOp, Module, Result, Tensor};
use candle_nn::{
    Embedding, Linear, RNN, VarBuilder, embedding, layer_norm, linear, linear_no_bias, lstm as lstm_layer, ops,
};

use crate::{DEVICE, Net};

pub const HEADS: usize = 4;
const WIDTH: usize = 256;

struct Norm(Tensor, Tensor);

impl Norm {
    fn new(vb: VarBuilder) -> Result<Norm> {
        let norm = layer_norm(WIDTH, 1e-5, vb)?;
        Ok(Norm(norm.weight().clone(), norm.bias().expect("a bias").clone()))
    }

    /// The fused one has no gradient.
    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let f = if train { ops::layer_norm_slow } else { ops::layer_norm };
        f(x, &self.0, &self.1, 1e-5)
    }
}

struct Layer {
    ln1: Norm,
    ln2: Norm,
    qkv: Linear,
    proj: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn new(vb: VarBuilder) -> Result<Layer> {
        Ok(Layer {
            ln1: Norm::new(vb.pp("ln1"))?,
            ln2: Norm::new(vb.pp("ln2"))?,
            qkv: linear(WIDTH, 3 * WIDTH, vb.pp("qkv"))?,
            proj: linear(WIDTH, WIDTH, vb.pp("proj"))?,
            up: linear(WIDTH, 4 * WIDTH, vb.pp("up"))?,
            down: linear(4 * WIDTH, WIDTH, vb.pp("down"))?,
        })
    }
}

pub struct Gpt {
    tok: Embedding,
    pos: Embedding,
    layers: Vec<Layer>,
    ln: Norm,
    head: Linear,
    mask: Tensor,
}

impl Gpt {
    pub fn new(vb: VarBuilder) -> Result<Gpt> {
        let mask = (0..256 * 256).map(|i| if i % 256 > i / 256 { f32::NEG_INFINITY } else { 0.0 }).collect();
        Ok(Gpt {
            tok: embedding(LETTERS, WIDTH, vb.pp("tok"))?,
            pos: embedding(256, WIDTH, vb.pp("pos"))?,
            layers: (0..4).map(|i| Layer::new(vb.pp(format!("l{i}")))).collect::<Result<_>>()?,
            ln: Norm::new(vb.pp("ln"))?,
            head: linear_no_bias(WIDTH, LETTERS, vb.pp("head"))?,
            mask: Tensor::from_vec::<_, f32>(mask, (256, 256), DEVICE)?,
        })
    }

    /// Logits of letters `[n, length]`, the first of which stands at `at`; `cache` holds keys and values of those before.
    pub fn forward(
        &self,
        letters: &Tensor,
        at: usize,
        mut cache: Option<&mut Vec<(Tensor, Tensor)>>,
        train: bool,
    ) -> Result<Tensor> {
        let (n, t) = letters.dims2()?;
        let places = Tensor::arange(at as u32, (at + t) as u32, DEVICE)?;
        let mut x = self.tok.forward(letters)?.broadcast_add(&self.pos.forward(&places)?)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let qkv = layer.qkv.forward(&layer.ln1.forward(&x, train)?)?.reshape((n, t, 3, HEADS, WIDTH / HEADS))?;
            let part = |j| qkv.i((.., .., j))?.transpose(1, 2)?.contiguous();
            let (q, mut k, mut v) = (part(0)?, part(1)?, part(2)?);
            if let Some(cache) = cache.as_deref_mut() {
                k = Tensor::cat(&[&cache[i].0, &k], 2)?;
                v = Tensor::cat(&[&cache[i].1, &v], 2)?;
                cache[i] = (k.clone(), v.clone());
            }
            let mut scores = (q.matmul(&k.t()?)? * 0.125)?;
            if t > 1 {
                scores = scores.broadcast_add(&self.mask.i((..t, ..t))?)?;
            }
            let shares = if train { ops::softmax(&scores, D::Minus1)? } else { ops::softmax_last_dim(&scores)? };
            let y = shares.matmul(&v)?.transpose(1, 2)?.reshape((n, t, WIDTH))?;
            x = (x + layer.proj.forward(&y)?)?;
            let wide = layer.up.forward(&layer.ln2.forward(&x, train)?)?.gelu_erf()?;
            x = (x + layer.down.forward(&wide)?)?;
        }
        self.head.forward(&self.ln.forward(&x, train)?)
    }
}

pub fn gpt(vb: VarBuilder) -> Result<Net> {
    let gpt = Gpt::new(vb)?;
    Ok(Box::new(move |x, train| gpt.forward(x, 0, None, train)))
}

pub fn lstm(vb: VarBuilder) -> Result<Net> {
    let letters = embedding(LETTERS, WIDTH, vb.pp("emb"))?;
    let layer = |i: usize| lstm_layer(WIDTH, WIDTH, Default::default(), vb.pp(format!("l{i}")));
    let (layers, head) = ([layer(0)?, layer(1)?], linear(WIDTH, LETTERS, vb.pp("head"))?);
    Ok(Box::new(move |x, _| {
        let mut x = letters.forward(x)?;
        for layer in &layers {
            x = layer.states_to_tensor(&layer.seq(&x)?)?;
        }
        head.forward(&x)
    }))
}
