//! Samples by index.

use esker_autograd::{Tensor, no_grad};
use esker_ops::Ops;
use esker_tensor::{Error, Result};

/// The columns of a batch, each with the samples along its first dimension.
pub type Batch = Vec<Tensor>;

/// Samples by index: each a list of tensors, such as an image and a label.
pub trait Dataset: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// The sample `index`, one tensor for each column.
    ///
    /// # Errors
    /// `Dim` for an index that is out of range; whatever reading the sample fails with.
    fn get(&self, index: usize) -> Result<Vec<Tensor>>;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples `indices` as a batch. The default [`stack`]s what [`Dataset::get`] gives.
    ///
    /// # Errors
    /// As [`Dataset::get`]; `Shape` when samples differ in shape.
    fn batch(&self, indices: &[usize]) -> Result<Batch> {
        let samples = indices.iter().map(|&i| self.get(i)).collect::<Result<Vec<_>>>()?;
        stack(&samples)
    }
}

/// Samples of equal shapes as a batch: each column gains a first dimension.
///
/// # Errors
/// `Shape` when there are no samples, or they differ in the number of columns or in shape.
pub fn stack(samples: &[Vec<Tensor>]) -> Result<Batch> {
    let columns = samples.first().map(Vec::len).ok_or_else(|| Error::shape("stack: there are no samples"))?;
    if let Some((i, odd)) = samples.iter().enumerate().find(|(_, s)| s.len() != columns) {
        return Err(Error::shape(format!("stack: sample 0 has {columns} columns, sample {i} has {}", odd.len())));
    }
    no_grad(|| {
        (0..columns)
            .map(|c| {
                let parts = samples.iter().filter_map(|s| s.get(c)).map(|t| t.unsqueeze(0));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0).map_err(|e| e.prefix(&format!("stack: column {c}")))
            })
            .collect()
    })
}

/// Tensors whose first dimension counts the samples.
#[derive(Clone)]
pub struct TensorDataset {
    columns: Vec<Tensor>,
    len: usize,
}

impl TensorDataset {
    /// From columns of equal first size; histories are dropped.
    ///
    /// # Errors
    /// `Shape` without columns, for a scalar column, or when the first sizes differ.
    pub fn new(columns: Vec<Tensor>) -> Result<Self> {
        let sizes: Vec<Option<usize>> = columns.iter().map(|c| c.shape().first().copied()).collect();
        match sizes.first() {
            Some(&Some(len)) if sizes.iter().all(|&s| s == Some(len)) => {
                Ok(Self { columns: columns.iter().map(Tensor::detach).collect(), len })
            }
            _ => {
                let shapes: Vec<_> = columns.iter().map(Tensor::shape).collect();
                Err(Error::shape(format!("TensorDataset: the columns need one first size, given are {shapes:?}")))
            }
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[Tensor] {
        &self.columns
    }
}

impl Dataset for TensorDataset {
    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Vec<Tensor>> {
        let index = position(index, self.len)?;
        no_grad(|| self.columns.iter().map(|c| c.select(0, index)).collect())
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch> {
        let index = indices.iter().map(|&i| position(i, self.len)).collect::<Result<Vec<i64>>>()?;
        let index = Tensor::from_vec(index)?;
        no_grad(|| self.columns.iter().map(|c| c.index_select(&index, 0)).collect())
    }
}

fn position(index: usize, len: usize) -> Result<i64> {
    if index < len {
        return Ok(index as i64);
    }
    Err(Error::dim(format!("sample {index} was asked for, there are {len}")))
}

/// Some samples of another dataset.
#[derive(Clone)]
pub struct Subset<D> {
    dataset: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    /// The samples `indices` of `dataset`, in that order.
    ///
    /// # Errors
    /// `Dim` for an index that is out of range.
    pub fn new(dataset: D, indices: Vec<usize>) -> Result<Self> {
        indices.iter().try_for_each(|&i| position(i, dataset.len()).map(drop))?;
        Ok(Self { dataset, indices })
    }

    /// The samples' indices in the whole dataset.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn whole(&self, index: usize) -> Result<usize> {
        let found = self.indices.get(index).copied();
        found.ok_or_else(|| Error::dim(format!("sample {index} was asked for, there are {}", self.indices.len())))
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize) -> Result<Vec<Tensor>> {
        self.dataset.get(self.whole(index)?)
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch> {
        let whole = indices.iter().map(|&i| self.whole(i)).collect::<Result<Vec<_>>>()?;
        self.dataset.batch(&whole)
    }
}

impl<D: Dataset + ?Sized> Dataset for std::sync::Arc<D> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<Vec<Tensor>> {
        (**self).get(index)
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch> {
        (**self).batch(indices)
    }
}
