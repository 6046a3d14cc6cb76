//! Transformers.

use esker_autograd::Tensor;
use esker_ops::Ops;
use esker_tensor::Result;

use crate::{
    AttentionMask, Dropout, Forward, KvCache, LayerNorm, Linear, Module, MultiheadAttention, ReLU, Scope, Within,
};

/// The settings that layers of encoder and decoder share.
macro_rules! settings {
    ($Layer:ident, $($attention:ident),+; $($dropout:ident),+; $($norm:ident),+) => {
        impl $Layer {
            /// With another probability of dropout than 0.1.
            #[must_use]
            pub fn dropout(mut self, p: f64) -> Self {
                $(self.$attention = self.$attention.dropout(p);)+
                $(self.$dropout = Dropout::new(p);)+
                self
            }

            /// With another activation than [`ReLU`] between the two linear layers.
            #[must_use]
            pub fn activation(mut self, activation: impl Forward + 'static) -> Self {
                self.activation = Box::new(activation);
                self
            }

            /// With another eps of the layer norms than 1e-5.
            #[must_use]
            pub fn layer_norm_eps(mut self, eps: f64) -> Self {
                $(self.$norm = self.$norm.eps(eps);)+
                self
            }

            /// With norms in front of the parts, not behind them.
            #[must_use]
            pub fn norm_first(mut self) -> Self {
                self.norm_first = true;
                self
            }

            /// With the batch as the first dimension.
            #[must_use]
            pub fn batch_first(mut self) -> Self {
                $(self.$attention = self.$attention.batch_first();)+
                self
            }

            /// Linear, activation, linear.
            #[track_caller]
            fn feed(&self, x: &Tensor) -> Result<Tensor> {
                let hidden = self.activation.forward_in("activation", &self.linear1.forward_in("linear1", x)?)?;
                self.linear2.forward_in("linear2", &self.dropout.forward_in("dropout", &hidden)?)
            }

            /// `x` plus what `part` makes of it, normalised before or after.
            #[track_caller]
            fn add(
                &self,
                x: &Tensor,
                norm: (&str, &LayerNorm),
                dropout: (&str, &Dropout),
                part: impl FnOnce(&Tensor) -> Result<Tensor>,
            ) -> Result<Tensor> {
                if self.norm_first {
                    return x.add(&dropout.1.forward_in(dropout.0, &part(&norm.1.forward_in(norm.0, x)?)?)?);
                }
                norm.1.forward_in(norm.0, &x.add(&dropout.1.forward_in(dropout.0, &part(x)?)?)?)
            }
        }
    };
}

/// `torch.nn.TransformerEncoderLayer`: a sequence `[l, n, e]` looks at itself, then each step goes through two linear layers.
#[derive(Module)]
pub struct TransformerEncoderLayer {
    /// The attention.
    pub self_attn: MultiheadAttention,
    /// `e` to the feed-forward size.
    pub linear1: Linear,
    dropout: Dropout,
    /// Back to `e`.
    pub linear2: Linear,
    /// That of the attention.
    pub norm1: LayerNorm,
    /// That of the linear layers.
    pub norm2: LayerNorm,
    dropout1: Dropout,
    dropout2: Dropout,
    activation: Box<dyn Forward>,
    norm_first: bool,
}

settings! { TransformerEncoderLayer, self_attn; dropout, dropout1, dropout2; norm1, norm2 }

impl TransformerEncoderLayer {
    /// `d_model` channels in `nhead` heads; PyTorch's feed-forward size is 2048 unless given.
    ///
    /// # Errors
    /// `Shape` when the heads do not divide the channels; `OutOfMemory`.
    pub fn new(d_model: usize, nhead: usize, dim_feedforward: usize) -> Result<Self> {
        let dropout = || Dropout::new(0.1);
        Ok(Self {
            self_attn: MultiheadAttention::new(d_model, nhead)?.dropout(0.1),
            linear1: Linear::new(d_model, dim_feedforward)?,
            dropout: dropout(),
            linear2: Linear::new(dim_feedforward, d_model)?,
            norm1: LayerNorm::new([d_model])?,
            norm2: LayerNorm::new([d_model])?,
            dropout1: dropout(),
            dropout2: dropout(),
            activation: Box::new(ReLU),
            norm_first: false,
        })
    }

    /// The result for `x`, looking where the mask lets it.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward_masked(&self, x: &Tensor, mask: &AttentionMask<'_>) -> Result<Tensor> {
        Scope::of(self).gives(self.with(x, |x| self.self_attn.forward(x, x, x, mask)))
    }

    /// The result for the next steps of a sequence, none of which looks at what comes later.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward_cached(&self, x: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        Scope::of(self).gives(self.with(x, |x| self.self_attn.forward_cached(x, cache)))
    }

    #[track_caller]
    fn with(&self, x: &Tensor, attend: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let x = self.add(x, ("norm1", &self.norm1), ("dropout1", &self.dropout1), |x| attend(x).within("self_attn"))?;
        self.add(&x, ("norm2", &self.norm2), ("dropout2", &self.dropout2), |x| self.feed(x))
    }
}

impl Forward for TransformerEncoderLayer {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_masked(x, &AttentionMask::default())
    }
}

/// `torch.nn.TransformerEncoder`: several layers, and a norm at the end where wanted. With
/// [`forward_cached`](TransformerEncoder::forward_cached) it is the decoder of a language model.
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{GELU, TransformerEncoder, TransformerEncoderLayer};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let layer = || Ok(TransformerEncoderLayer::new(8, 2, 32)?.batch_first().norm_first().activation(GELU));
/// let net = TransformerEncoder::new(2, layer)?;
/// let mut cache = net.cache();
/// for _ in 0..3 {
///     let step = net.forward_cached(&Tensor::randn([4, 1, 8])?, &mut cache)?;
///     assert_eq!(step.shape()[..], [4, 1, 8]);
/// }
/// assert_eq!(cache[0].len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Module)]
pub struct TransformerEncoder {
    /// The layers.
    pub layers: Vec<TransformerEncoderLayer>,
    /// The norm of the result.
    pub norm: Option<LayerNorm>,
}

impl TransformerEncoder {
    /// So many layers, each made by `layer`.
    ///
    /// # Errors
    /// Those of `layer`.
    pub fn new(layers: usize, mut layer: impl FnMut() -> Result<TransformerEncoderLayer>) -> Result<Self> {
        Ok(Self { layers: (0..layers).map(|_| layer()).collect::<Result<_>>()?, norm: None })
    }

    /// With a norm at the end.
    #[must_use]
    pub fn norm(mut self, norm: LayerNorm) -> Self {
        self.norm = Some(norm);
        self
    }

    /// A cache for each layer, of no steps.
    pub fn cache(&self) -> Vec<KvCache> {
        self.layers.iter().map(|_| KvCache::new()).collect()
    }

    /// The result for `x`, looking where the mask lets it.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward_masked(&self, x: &Tensor, mask: &AttentionMask<'_>) -> Result<Tensor> {
        Scope::of(self).gives(self.through(x, |_, layer, x| layer.forward_masked(x, mask)))
    }

    /// The result for the next steps of a sequence, none of which looks at what comes later.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit; `Shape` when there are fewer caches than layers.
    #[track_caller]
    pub fn forward_cached(&self, x: &Tensor, cache: &mut [KvCache]) -> Result<Tensor> {
        let given = cache.len();
        Scope::of(self).gives(self.through(x, |i, layer, x| match cache.get_mut(i) {
            Some(cache) => layer.forward_cached(x, cache),
            None => Err(esker_tensor::Error::shape(format!("{given} caches are given, each layer needs one"))),
        }))
    }

    #[track_caller]
    fn through(
        &self,
        x: &Tensor,
        mut call: impl FnMut(usize, &TransformerEncoderLayer, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut y = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            y = call(i, layer, &y).within(&i.to_string()).within("layers")?;
        }
        match &self.norm {
            Some(norm) => norm.forward_in("norm", &y),
            None => Ok(y),
        }
    }
}

impl Forward for TransformerEncoder {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_masked(x, &AttentionMask::default())
    }
}

/// `torch.nn.TransformerDecoderLayer`: a sequence `[l, n, e]` looks at itself and at a memory `[s, n, e]`, then each step goes
/// through two linear layers.
#[derive(Module)]
pub struct TransformerDecoderLayer {
    /// The attention to itself.
    pub self_attn: MultiheadAttention,
    /// The attention to the memory.
    pub multihead_attn: MultiheadAttention,
    /// `e` to the feed-forward size.
    pub linear1: Linear,
    dropout: Dropout,
    /// Back to `e`.
    pub linear2: Linear,
    /// That of the attention to itself.
    pub norm1: LayerNorm,
    /// That of the attention to the memory.
    pub norm2: LayerNorm,
    /// That of the linear layers.
    pub norm3: LayerNorm,
    dropout1: Dropout,
    dropout2: Dropout,
    dropout3: Dropout,
    activation: Box<dyn Forward>,
    norm_first: bool,
}

settings! {
    TransformerDecoderLayer, self_attn, multihead_attn; dropout, dropout1, dropout2, dropout3; norm1, norm2, norm3
}

impl TransformerDecoderLayer {
    /// `d_model` channels in `nhead` heads; PyTorch's feed-forward size is 2048 unless given.
    ///
    /// # Errors
    /// `Shape` when the heads do not divide the channels; `OutOfMemory`.
    pub fn new(d_model: usize, nhead: usize, dim_feedforward: usize) -> Result<Self> {
        let dropout = || Dropout::new(0.1);
        Ok(Self {
            self_attn: MultiheadAttention::new(d_model, nhead)?.dropout(0.1),
            multihead_attn: MultiheadAttention::new(d_model, nhead)?.dropout(0.1),
            linear1: Linear::new(d_model, dim_feedforward)?,
            dropout: dropout(),
            linear2: Linear::new(dim_feedforward, d_model)?,
            norm1: LayerNorm::new([d_model])?,
            norm2: LayerNorm::new([d_model])?,
            norm3: LayerNorm::new([d_model])?,
            dropout1: dropout(),
            dropout2: dropout(),
            dropout3: dropout(),
            activation: Box::new(ReLU),
            norm_first: false,
        })
    }

    /// The result for `x`, looking at itself and at the memory where the two masks let it.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(
        &self,
        x: &Tensor,
        memory: &Tensor,
        mask: &AttentionMask<'_>,
        memory_mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        Scope::of(self).gives(self.decoded(x, memory, mask, memory_mask))
    }

    #[track_caller]
    fn decoded(
        &self,
        x: &Tensor,
        memory: &Tensor,
        mask: &AttentionMask<'_>,
        memory_mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let x = self.add(x, ("norm1", &self.norm1), ("dropout1", &self.dropout1), |x| {
            self.self_attn.forward(x, x, x, mask).within("self_attn")
        })?;
        let x = self.add(&x, ("norm2", &self.norm2), ("dropout2", &self.dropout2), |x| {
            self.multihead_attn.forward(x, memory, memory, memory_mask).within("multihead_attn")
        })?;
        self.add(&x, ("norm3", &self.norm3), ("dropout3", &self.dropout3), |x| self.feed(x))
    }
}

/// `torch.nn.TransformerDecoder`: several layers, and a norm at the end where wanted.
#[derive(Module)]
pub struct TransformerDecoder {
    /// The layers.
    pub layers: Vec<TransformerDecoderLayer>,
    /// The norm of the result.
    pub norm: Option<LayerNorm>,
}

impl TransformerDecoder {
    /// So many layers, each made by `layer`.
    ///
    /// # Errors
    /// Those of `layer`.
    pub fn new(layers: usize, mut layer: impl FnMut() -> Result<TransformerDecoderLayer>) -> Result<Self> {
        Ok(Self { layers: (0..layers).map(|_| layer()).collect::<Result<_>>()?, norm: None })
    }

    /// With a norm at the end.
    #[must_use]
    pub fn norm(mut self, norm: LayerNorm) -> Self {
        self.norm = Some(norm);
        self
    }

    /// The result for `x`, looking at itself and at the memory where the two masks let it.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(
        &self,
        x: &Tensor,
        memory: &Tensor,
        mask: &AttentionMask<'_>,
        memory_mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let scope = Scope::of(self);
        let mut y = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            y = layer.forward(&y, memory, mask, memory_mask).within(&i.to_string()).within("layers")?;
        }
        scope.gives(match &self.norm {
            Some(norm) => norm.forward_in("norm", &y),
            None => Ok(y),
        })
    }
}
