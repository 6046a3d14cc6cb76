//! The models.
use bench_common::LETTERS;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Int, Tensor, activation, module};

#[derive(Module, Debug)]
pub struct Mlp {
    a: Linear,
    b: Linear,
    c: Linear,
}

impl Mlp {
    pub fn new(device: &Device) -> Mlp {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Mlp { a: linear(784, 512), b: linear(512, 512), c: linear(512, 10) }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.c.forward(activation::relu(self.b.forward(activation::relu(self.a.forward(x)))))
    }
}

#[derive(Module, Debug)]
pub struct LeNet {
    c1: Conv2d,
    c2: Conv2d,
    f1: Linear,
    f2: Linear,
}

fn pool(x: Tensor<4>) -> Tensor<4> {
    MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init().forward(x)
}

impl LeNet {
    pub fn new(device: &Device) -> LeNet {
        LeNet {
            c1: Conv2dConfig::new([1, 20], [5, 5]).init(device),
            c2: Conv2dConfig::new([20, 50], [5, 5]).init(device),
            f1: LinearConfig::new(800, 500).init(device),
            f2: LinearConfig::new(500, 10).init(device),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = pool(activation::relu(self.c1.forward(x)));
        let x = pool(activation::relu(self.c2.forward(x)));
        self.f2.forward(activation::relu(self.f1.forward(x.flatten(1, 3))))
    }
}

#[derive(Module, Debug)]
struct Layer {
    ln1: LayerNorm,
    ln2: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    proj: Linear,
    up: Linear,
    down: Linear,
}

#[derive(Module, Debug)]
pub struct Gpt {
    tok: Embedding,
    pos: Embedding,
    layers: Vec<Layer>,
    ln: LayerNorm,
    head: Linear,
}

impl Gpt {
    pub fn new(device: &Device) -> Gpt {
        let d = 256;
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let norm = || LayerNormConfig::new(d).init(device);
        let layer = || Layer {
            ln1: norm(),
            ln2: norm(),
            q: linear(d, d),
            k: linear(d, d),
            v: linear(d, d),
            proj: linear(d, d),
            up: linear(d, 4 * d),
            down: linear(4 * d, d),
        };
        Gpt {
            tok: EmbeddingConfig::new(LETTERS, d).init(device),
            pos: EmbeddingConfig::new(256, d).init(device),
            layers: (0..4).map(|_| layer()).collect(),
            ln: norm(),
            head: LinearConfig::new(d, LETTERS).with_bias(false).init(device),
        }
    }

    /// Logits of every letter, one under the other.
    pub fn forward(&self, letters: Tensor<2, Int>) -> Tensor<2> {
        let [n, t] = letters.dims();
        let places = Tensor::<1, Int>::arange(0..t as i64, &letters.device()).reshape([1, t]);
        let mut x = self.tok.forward(letters) + self.pos.forward(places);
        let heads = |x: Tensor<3>| x.reshape([n, t, 4, 64]).swap_dims(1, 2);
        for layer in &self.layers {
            let h = layer.ln1.forward(x.clone());
            let (q, k, v) = (layer.q.forward(h.clone()), layer.k.forward(h.clone()), layer.v.forward(h));
            let causal = AttentionModuleOptions { is_causal: true, ..Default::default() };
            let y = module::attention(heads(q), heads(k), heads(v), None, None, causal);
            x = x + layer.proj.forward(y.swap_dims(1, 2).reshape([n, t, 256]));
            x = x.clone() + layer.down.forward(activation::gelu(layer.up.forward(layer.ln2.forward(x))));
        }
        self.head.forward(self.ln.forward(x)).reshape([n * t, LETTERS])
    }
}
