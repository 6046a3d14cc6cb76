//! Esker's datasets, loaders and readers.
//!
//! A [`Dataset`] gives samples by index, a [`DataLoader`] puts them into batches, shuffled by (seed, epoch) and read ahead
//! by a thread. The same seed gives the same batches, whether they are read ahead or not.
//!
//! ```
//! use esker_data::{DataLoader, TensorDataset, digits};
//!
//! # fn main() -> esker_tensor::Result<()> {
//! let (images, labels) = digits()?;
//! let loader = DataLoader::new(TensorDataset::new(vec![images, labels])?, 64)?.shuffle(0).prefetch(2);
//! for batch in loader.epoch(0) {
//!     let batch = batch?;
//!     assert_eq!(batch[0].shape()[1..], [1, 8, 8]);
//! #   break;
//! }
//! # Ok(())
//! # }
//! ```
#![deny(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod augment;
mod dataset;
mod digits;
mod epoch;
mod find;
mod gzip;
mod idx;
mod loader;
mod split;
mod table;

pub use augment::RandomAffine;
pub use dataset::{Batch, Dataset, Subset, TensorDataset, stack};
pub use digits::digits;
pub use epoch::Epoch;
pub use find::find_data;
pub use gzip::read_text;
pub use idx::{parse_idx, read_idx};
pub use loader::DataLoader;
pub use split::{random_split, stratified_split};
pub use table::{Categories, Csv, Table};
