//! An LSTM of two layers of 256 that reads letters.

use esker::nn::{Embedding, LSTM, Linear, Recurrent};
use esker::prelude::*;

use super::LETTERS;

/// Letters i64 `[n, length]` to logits `[n, length, letters]`.
#[derive(Module)]
pub(crate) struct Lstm {
    emb: Embedding,
    rnn: LSTM,
    head: Linear,
}

impl Lstm {
    pub(crate) fn new() -> Result<Self> {
        let width = 256;
        Ok(Self {
            emb: Embedding::new(LETTERS, width)?,
            rnn: LSTM::with(width, width, Recurrent { layers: 2, batch_first: true, ..Default::default() })?,
            head: Linear::new(width, LETTERS)?,
        })
    }
}

impl Forward for Lstm {
    fn forward(&self, letters: &Tensor) -> Result<Tensor> {
        let (y, _) = self.rnn.forward(&self.emb.forward_in("emb", letters)?, None).within("rnn")?;
        self.head.forward_in("head", &y)
    }
}
