//! Batches of a dataset.

use std::sync::Arc;

use esker_tensor::philox::{Generator, Key, permutation};
use esker_tensor::{Error, Result};

use crate::{Batch, Dataset, Epoch};

/// What is done to a batch when it is made; it draws its random numbers from the key.
pub(crate) type Transform = Arc<dyn Fn(Batch, Key) -> Result<Batch> + Send + Sync>;

/// Batches of a dataset, epoch by epoch. The order follows from (seed, epoch); a transform's random numbers from (seed,
/// epoch, batch). Nothing depends on how far the batches are read ahead.
#[derive(Clone)]
pub struct DataLoader {
    pub(crate) dataset: Arc<dyn Dataset>,
    batch_size: usize,
    seed: Option<u64>,
    drop_last: bool,
    pub(crate) prefetch: usize,
    pub(crate) transform: Option<Transform>,
}

impl DataLoader {
    /// Batches of `batch_size` samples, in the dataset's order.
    ///
    /// # Errors
    /// `Shape` for batches of 0 samples.
    pub fn new(dataset: impl Dataset + 'static, batch_size: usize) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::shape("DataLoader: the batch size is 0, needed is 1 or more"));
        }
        let dataset: Arc<dyn Dataset> = Arc::new(dataset);
        Ok(Self { dataset, batch_size, seed: None, drop_last: false, prefetch: 0, transform: None })
    }

    /// In an order of its own in every epoch, which follows from the seed.
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Without the last batch when it is smaller than the others.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// With up to this many batches made ahead by a thread; 0 makes each when it is asked for.
    #[must_use]
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.prefetch = batches;
        self
    }

    /// With a change to every batch, such as augmentation, where it is made. Random numbers must come from the key alone.
    #[must_use]
    pub fn transform(mut self, f: impl Fn(Batch, Key) -> Result<Batch> + Send + Sync + 'static) -> Self {
        self.transform = Some(Arc::new(f));
        self
    }

    /// The number of batches in an epoch.
    pub fn len(&self) -> usize {
        let samples = self.dataset.len();
        if self.drop_last { samples / self.batch_size } else { samples.div_ceil(self.batch_size) }
    }

    /// Whether an epoch has no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches of epoch `epoch`, each with the sentence of its error if it could not be made, which is then the last.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        Epoch::start(self, epoch)
    }

    /// The samples of each batch of an epoch and the key of its transform.
    pub(crate) fn plan(&self, epoch: u64) -> Vec<(Vec<usize>, Key)> {
        let key = Generator::from_state(self.seed.unwrap_or(0), epoch).next_key();
        let samples = self.dataset.len();
        let order = match self.seed {
            Some(_) => permutation(samples, key),
            None => (0..samples).collect(),
        };
        let mut keys = Generator::new(key.0);
        order.chunks(self.batch_size).take(self.len()).map(|indices| (indices.to_vec(), keys.next_key())).collect()
    }

    pub(crate) fn make(&self, indices: &[usize], key: Key) -> Result<Batch> {
        let batch = self.dataset.batch(indices)?;
        match &self.transform {
            Some(f) => f(batch, key),
            None => Ok(batch),
        }
    }
}
