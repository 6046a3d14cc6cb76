//! A GPT of 4 layers of width 256 with a context of 256, and one step of decoding with what it remembers.

use esker::nn::{Embedding, LayerNorm, Linear};
use esker::prelude::*;
use esker::tensor::philox::Key;

use super::LETTERS;

const CONTEXT: usize = 256;
const WIDTH: i64 = 256;
const LAYERS: usize = 4;
const HEADS: i64 = 4;

/// Keys and values of a layer, each `[n, heads, length, width / heads]`.
type Cache = (Tensor, Tensor);

/// What every layer remembers of the letters so far.
pub(crate) struct Caches(Vec<Cache>);

impl Caches {
    /// Zeros for `length` letters.
    pub(crate) fn empty(length: usize) -> Result<Self> {
        let zeros = || Tensor::zeros([1, HEADS, length as i64, WIDTH / HEADS]);
        Ok(Self((0..LAYERS).map(|_| Ok((zeros()?, zeros()?))).collect::<Result<_>>()?))
    }

    /// From keys and values in turn.
    pub(crate) fn of(tensors: &[Tensor]) -> Self {
        Self(tensors.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    /// Keys and values in turn.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.0.iter().flat_map(|(k, v)| [k, v])
    }
}

#[derive(Module)]
struct Layer {
    ln1: LayerNorm,
    ln2: LayerNorm,
    qkv: Linear,
    proj: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn new() -> Result<Self> {
        let width = WIDTH as usize;
        Ok(Self {
            ln1: LayerNorm::new([width])?,
            ln2: LayerNorm::new([width])?,
            qkv: Linear::new(width, 3 * width)?,
            proj: Linear::new(width, width)?,
            up: Linear::new(width, 4 * width)?,
            down: Linear::new(4 * width, width)?,
        })
    }

    /// The layer's result, and its keys and values, those of `cache` in front.
    fn forward(&self, x: &Tensor, cache: Option<&Cache>) -> Result<(Tensor, Cache)> {
        let length = x.size(1)? as i64;
        let qkv = self.qkv.forward_in("qkv", &self.ln1.forward_in("ln1", x)?)?.split(WIDTH, 2)?;
        let heads = |x: &Tensor| x.reshape([-1, length, HEADS, WIDTH / HEADS])?.transpose(1, 2);
        let (q, mut k, mut v) = (heads(&qkv[0])?, heads(&qkv[1])?, heads(&qkv[2])?);
        if let Some((keys, values)) = cache {
            (k, v) = (Tensor::cat(&[keys, &k], 2)?, Tensor::cat(&[values, &v], 2)?);
        }
        let causal = length > 1;
        let y = q.scaled_dot_product_attention(&k, &v, None, 0.0, causal, None, false, Key(0))?;
        let x = x.add(&self.proj.forward_in("proj", &y.transpose(1, 2)?.reshape([-1, length, WIDTH])?)?)?;
        let wide = self.up.forward_in("up", &self.ln2.forward_in("ln2", &x)?)?.gelu()?;
        Ok((x.add(&self.down.forward_in("down", &wide)?)?, (k, v)))
    }
}

/// Letters i64 `[n, length]` to logits `[n, length, letters]`.
#[derive(Module)]
pub(crate) struct Gpt {
    tok: Embedding,
    pos: Embedding,
    layers: Vec<Layer>,
    ln: LayerNorm,
    head: Linear,
}

impl Gpt {
    pub(crate) fn new() -> Result<Self> {
        let width = WIDTH as usize;
        Ok(Self {
            tok: Embedding::new(LETTERS, width)?,
            pos: Embedding::new(CONTEXT, width)?,
            layers: (0..LAYERS).map(|_| Layer::new()).collect::<Result<_>>()?,
            ln: LayerNorm::new([width])?,
            head: Linear::without_bias(width, LETTERS)?,
        })
    }

    /// Logits `[n, 1, letters]` of the letter behind `letters [n, 1]`, which stand at `position [1]`, and what is remembered then.
    pub(crate) fn step(&self, letters: &Tensor, position: &Tensor, caches: &Caches) -> Result<(Tensor, Caches)> {
        let mut x = self.tok.forward_in("tok", letters)?.add(&self.pos.forward_in("pos", position)?)?;
        let mut next = Vec::with_capacity(LAYERS);
        for (layer, cache) in self.layers.iter().zip(&caches.0) {
            let (y, cache) = layer.forward(&x, Some(cache))?;
            x = y;
            next.push(cache);
        }
        Ok((self.head.forward_in("head", &self.ln.forward_in("ln", &x)?)?, Caches(next)))
    }
}

impl Forward for Gpt {
    fn forward(&self, letters: &Tensor) -> Result<Tensor> {
        let places = Tensor::arange(0.0, letters.size(1)? as f64, 1.0, DType::I64, letters.device())?;
        let mut x = self.tok.forward_in("tok", letters)?.add(&self.pos.forward_in("pos", &places)?)?;
        for layer in &self.layers {
            (x, _) = layer.forward(&x, None)?;
        }
        self.head.forward_in("head", &self.ln.forward_in("ln", &x)?)
    }
}
