//! Attention with several heads.

use esker_autograd::{Param, Tensor};
use esker_ops::{Ops, Value};
use esker_tensor::philox::next_key;
use esker_tensor::{DType, Error, Result};

use crate::{Forward, Linear, Mode, Module, Scope, init};

/// Where attention may not look. Boolean masks are true where it may not, as in PyTorch; floating-point ones are added to
/// the scores.
#[derive(Clone, Copy, Default)]
pub struct AttentionMask<'a> {
    /// `[l, s]`, or `[n * heads, l, s]`.
    pub attn_mask: Option<&'a Tensor>,
    /// `[n, s]` (`[s]` without a batch): keys that are padding.
    pub key_padding_mask: Option<&'a Tensor>,
    /// Nothing may look at what comes later.
    pub is_causal: bool,
}

impl AttentionMask<'_> {
    /// Nothing may look at what comes later.
    pub fn causal() -> Self {
        Self { is_causal: true, ..Self::default() }
    }
}

/// Keys and values of the steps so far, for decoding step by step.
#[derive(Clone, Default)]
pub struct KvCache(Option<(Tensor, Tensor)>);

impl KvCache {
    /// Of no steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.0.as_ref().and_then(|(k, _)| k.size(-2).ok()).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `[n, heads, s, d]` and gives all.
    fn push(&mut self, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let all = match &self.0 {
            Some((before_k, before_v)) => (Tensor::cat(&[before_k, k], -2)?, Tensor::cat(&[before_v, v], -2)?),
            None => (k.clone(), v.clone()),
        };
        self.0 = Some(all.clone());
        Ok(all)
    }
}

/// `torch.nn.MultiheadAttention`: queries `[l, n, e]`, keys `[s, n, kdim]` and values `[s, n, vdim]` (or `[n, l, e]` and so on
/// with [`batch_first`](MultiheadAttention::batch_first), or without a batch) to `[l, n, e]`.
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{AttentionMask, MultiheadAttention};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let attention = MultiheadAttention::new(8, 2)?.batch_first();
/// let x = Tensor::randn([3, 5, 8])?;
/// assert_eq!(attention.forward(&x, &x, &x, &AttentionMask::causal())?.shape()[..], [3, 5, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug, Clone)]
pub struct MultiheadAttention {
    /// `[3 * e, e]`: query, key and value, one below the other; absent where their sizes differ.
    pub in_proj_weight: Option<Param>,
    /// `[e, e]`, where sizes differ.
    pub q_proj_weight: Option<Param>,
    /// `[e, kdim]`, where sizes differ.
    pub k_proj_weight: Option<Param>,
    /// `[e, vdim]`, where sizes differ.
    pub v_proj_weight: Option<Param>,
    /// `[3 * e]`.
    pub in_proj_bias: Option<Param>,
    /// From all heads to the result.
    pub out_proj: Linear,
    embed: usize,
    heads: usize,
    dropout: f64,
    batch_first: bool,
    mode: Mode,
}

impl MultiheadAttention {
    /// `heads` heads that share `embed` channels, with biases and without dropout.
    ///
    /// # Errors
    /// `Shape` when the heads do not divide the channels; `OutOfMemory`.
    pub fn new(embed: usize, heads: usize) -> Result<Self> {
        let mut attention = Self::sized(embed, heads, embed, embed)?;
        attention.in_proj_weight = Some(Param::new(&init::xavier_uniform([3 * embed, embed], 1.0)?)?);
        (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight) = (None, None, None);
        Ok(attention)
    }

    /// As [`MultiheadAttention::new`], for keys and values of other sizes.
    ///
    /// # Errors
    /// As [`MultiheadAttention::new`].
    pub fn sized(embed: usize, heads: usize, kdim: usize, vdim: usize) -> Result<Self> {
        if heads == 0 || !embed.is_multiple_of(heads) {
            return Err(Error::shape(format!("MultiheadAttention: {heads} heads do not divide {embed} channels")));
        }
        let weight = |size: usize| Param::new(&init::xavier_uniform([embed, size], 1.0)?).map(Some);
        let out_proj = Linear::new(embed, embed)?;
        if let Some(bias) = &out_proj.bias {
            bias.set(&init::zeros([embed])?)?;
        }
        Ok(Self {
            in_proj_weight: None,
            q_proj_weight: weight(embed)?,
            k_proj_weight: weight(kdim)?,
            v_proj_weight: weight(vdim)?,
            in_proj_bias: Some(Param::new(&init::zeros([3 * embed])?)?),
            out_proj,
            embed,
            heads,
            dropout: 0.0,
            batch_first: false,
            mode: Mode::new(),
        })
    }

    /// Without biases.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.in_proj_bias = None;
        self.out_proj.bias = None;
        self
    }

    /// With dropout of weights in training.
    #[must_use]
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// With the batch as the first dimension.
    #[must_use]
    pub fn batch_first(mut self) -> Self {
        self.batch_first = true;
        self
    }

    /// What the queries find.
    ///
    /// # Errors
    /// `Shape` or `DType` when the inputs do not fit.
    #[track_caller]
    pub fn forward(&self, query: &Tensor, key: &Tensor, value: &Tensor, mask: &AttentionMask<'_>) -> Result<Tensor> {
        Scope::of(self).gives(self.attend(query, key, value, mask, None))
    }

    /// As [`MultiheadAttention::forward`], with the weights `[n, l, s]`, the mean over the heads.
    ///
    /// # Errors
    /// As [`MultiheadAttention::forward`].
    #[track_caller]
    pub fn forward_with_weights(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: &AttentionMask<'_>,
    ) -> Result<(Tensor, Tensor)> {
        let mut weights = None;
        let scope = Scope::of(self);
        let result = self.attend(query, key, value, mask, Some(&mut weights)).and_then(|y| match weights {
            Some(weights) => Ok((y, weights)),
            None => Err(Error::kernel("attention gave no weights")),
        });
        scope.gives(result)
    }

    /// The next steps of a sequence that looks at itself, none at what comes later: keys and values of the steps before are
    /// those of the cache, and those of these steps are added to it.
    ///
    /// # Errors
    /// As [`MultiheadAttention::forward`].
    #[track_caller]
    pub fn forward_cached(&self, x: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        Scope::of(self).gives(self.attend_cached(x, cache))
    }

    #[track_caller]
    fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: &AttentionMask<'_>,
        weights: Option<&mut Option<Tensor>>,
    ) -> Result<Tensor> {
        let [q, k, v] = self.projected(query, key, value)?;
        let additive = self.mask(&q, &k, mask, 0)?;
        let causal = mask.is_causal && additive.is_none();
        let p = if self.mode.is_training() { self.dropout } else { 0.0 };
        let y = match weights {
            None => q.scaled_dot_product_attention(&k, &v, additive.as_ref(), p, causal, (), false, next_key())?,
            Some(out) => {
                let additive = if causal { Some(later(&q, &k, 0)?) } else { additive };
                let scale = number(&q, 1.0 / (q.size(-1)? as f64).sqrt())?;
                let mut scores = q.mul(&scale)?.matmul(&k.transpose(-2, -1)?)?;
                if let Some(additive) = additive {
                    scores = scores.add(&additive)?;
                }
                let shares = scores.softmax(-1)?.dropout(p, p > 0.0, next_key())?;
                let mean = shares.mean(1, false)?;
                *out = Some(if query.rank() == 2 { mean.squeeze(0)? } else { mean });
                shares.matmul(&v)?
            }
        };
        self.joined(&y, query.rank())
    }

    #[track_caller]
    fn attend_cached(&self, x: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let [q, k, v] = self.projected(x, x, x)?;
        let before = cache.len();
        let (k, v) = cache.push(&k, &v)?;
        let mask = if q.size(-2)? == 1 { None } else { Some(later(&q, &k, before)?) };
        let p = if self.mode.is_training() { self.dropout } else { 0.0 };
        let y = q.scaled_dot_product_attention(&k, &v, mask.as_ref(), p, false, (), false, next_key())?;
        self.joined(&y, x.rank())
    }

    /// Query, key and value as `[n, heads, length, d]`.
    #[track_caller]
    fn projected(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<[Tensor; 3]> {
        let itself = std::ptr::eq(query, key) && std::ptr::eq(key, value);
        let (q, k, v) = (self.batched(query)?, self.batched(key)?, self.batched(value)?);
        let bias = self.in_proj_bias.as_ref().map(Param::tensor);
        if let (true, Some(weight)) = (itself, &self.in_proj_weight) {
            let all = q.linear(&weight.tensor(), bias.as_ref())?.chunk(3, -1)?;
            let [q, k, v] = &all[..] else {
                return Err(Error::shape("attention: the weight does not divide into query, key and value"));
            };
            return Ok([self.split(q)?, self.split(k)?, self.split(v)?]);
        }
        let part = |i: usize, x: &Tensor, own: &Option<Param>| {
            let (start, length) = ((i * self.embed) as i64, self.embed as i64);
            let weight = match (own, &self.in_proj_weight) {
                (Some(weight), _) => weight.tensor(),
                (None, Some(all)) => all.tensor().narrow(0, start, length)?,
                (None, None) => return Err(Error::shape("attention: a weight is missing")),
            };
            let bias = bias.as_ref().map(|b| b.narrow(0, start, length)).transpose()?;
            self.split(&x.linear(&weight, bias.as_ref())?)
        };
        Ok([part(0, &q, &self.q_proj_weight)?, part(1, &k, &self.k_proj_weight)?, part(2, &v, &self.v_proj_weight)?])
    }

    /// `[n, length, channels]`.
    fn batched(&self, x: &Tensor) -> Result<Tensor> {
        match x.rank() {
            2 => x.unsqueeze(0),
            3 if self.batch_first => Ok(x.clone()),
            3 => x.transpose(0, 1),
            _ => Err(Error::shape(format!("attention: two or three dimensions are needed, got {:?}", x.shape()))),
        }
    }

    /// `[n, length, e]` to `[n, heads, length, d]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (n, length) = (x.size(0)?, x.size(1)?);
        x.reshape([n, length, self.heads, self.embed / self.heads])?.transpose(1, 2)
    }

    /// `[n, heads, length, d]` through the last projection, laid out as the query was.
    #[track_caller]
    fn joined(&self, y: &Tensor, rank: usize) -> Result<Tensor> {
        let (n, length) = (y.size(0)?, y.size(2)?);
        let y = self.out_proj.forward_in("out_proj", &y.transpose(1, 2)?.reshape([n, length, self.embed])?)?;
        match rank {
            2 => y.squeeze(0),
            _ if self.batch_first => Ok(y),
            _ => y.transpose(0, 1),
        }
    }

    /// What is added to the scores `[n, heads, l, s]`; nothing for the causal mask alone.
    fn mask(&self, q: &Tensor, k: &Tensor, mask: &AttentionMask<'_>, before: usize) -> Result<Option<Tensor>> {
        let (n, l, s) = (q.size(0)?, q.size(2)?, k.size(2)?);
        let mut all = None;
        if let Some(m) = mask.attn_mask {
            let m = if m.rank() == 3 { m.reshape([n, self.heads, l, s])? } else { m.clone() };
            all = Some(additive(&m, q)?);
        }
        if let Some(m) = mask.key_padding_mask {
            let m = additive(&m.reshape([n, 1, 1, s])?, q)?;
            all = Some(all.map_or(Ok(m.clone()), |a: Tensor| a.add(&m))?);
        }
        match all {
            Some(all) if mask.is_causal => Ok(Some(all.add(&later(q, k, before)?)?)),
            all => Ok(all),
        }
    }
}

fn number(like: &Tensor, value: f64) -> Result<Tensor> {
    <Tensor as Value>::scalar(value, like.dtype(), like.device())
}

/// A mask as what is added to scores: minus infinity where a boolean one is true.
fn additive(mask: &Tensor, scores: &Tensor) -> Result<Tensor> {
    if mask.dtype() == DType::Bool {
        return mask.where_cond(&number(scores, f64::NEG_INFINITY)?, &number(scores, 0.0)?);
    }
    Ok(mask.clone())
}

/// `[l, s]` with minus infinity where a key comes later than the query, which has `before` steps before it.
fn later(q: &Tensor, k: &Tensor, before: usize) -> Result<Tensor> {
    let count = |from: usize, n: usize| Tensor::iota(from as f64, 1.0, n as i64, DType::I64, q.device());
    let (l, s) = (q.size(-2)?, k.size(-2)?);
    additive(&count(before, l)?.reshape([l, 1])?.lt(&count(0, s)?)?, q)
}
