//! Embeddings.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_tensor::{Error, Result};

use crate::{Forward, Module, Scope, init};

/// A table of vectors looked up by index: i64 of any shape to `[.., dim]`.
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{Embedding, Forward};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let words = Embedding::new(1000, 16)?.padding_idx(0)?;
/// assert_eq!(words.forward(&Tensor::from_vec([5i64, 0, 7])?)?.shape()[..], [3, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug, Clone)]
pub struct Embedding {
    /// `[count, dim]`; starts standard normal.
    pub weight: Param,
    padding_idx: Option<i64>,
}

impl Embedding {
    /// `count` vectors of size `dim`.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for sizes that do not fit.
    pub fn new(count: usize, dim: usize) -> Result<Self> {
        Ok(Self::of(Param::new(&init::normal([count, dim], 0.0, 1.0)?)?))
    }

    /// A table that it may share with others, such as the output layer of a language model.
    pub fn of(weight: Param) -> Self {
        Self { weight, padding_idx: None }
    }

    /// With an index that stands for nothing: its vector is set to 0 and gets no gradient. Negative ones count from the end.
    ///
    /// # Errors
    /// `Dim` when the table has no such index.
    pub fn padding_idx(mut self, index: i64) -> Result<Self> {
        let [count, dim] = self.weight.shape()[..] else {
            return Err(Error::shape(format!(
                "Embedding: the weight must be [count, dim], got {:?}",
                self.weight.shape()
            )));
        };
        let row = if index < 0 { index + count as i64 } else { index };
        if !(0..count as i64).contains(&row) {
            return Err(Error::dim(format!("Embedding: padding_idx is {index}, the table has {count} vectors")));
        }
        let rows = Tensor::from_vec((0..count as i64).map(|i| i != row).collect::<Vec<bool>>())?.reshape([count, 1])?;
        let zero = Tensor::full(0.0, [1, dim], self.weight.dtype(), esker_tensor::Device::Cpu)?;
        self.weight.set(&rows.where_cond(&self.weight.tensor().detach(), &zero)?)?;
        self.padding_idx = Some(row);
        Ok(self)
    }
}

impl Forward for Embedding {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(x.embedding(&self.weight.tensor(), self.padding_idx))
    }
}
