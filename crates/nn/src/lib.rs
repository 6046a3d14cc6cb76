//! Esker's module tree: layers, losses, initialisers, optimisers, weight files.
//!
//! A [`Module`] is anything that shows its parameters and children to a [`Visitor`], and [`Forward`] one that maps a tensor
//! to a tensor. Names of layers, parameters, layouts, defaults and initialisers are PyTorch's, so that weights move over by
//! name.
//!
//! ```
//! use esker_autograd::Tensor;
//! use esker_nn::optim::{AdamW, Optimizer};
//! use esker_nn::{Forward, Linear, ModuleExt, ReLU, cross_entropy, sequential};
//!
//! # fn main() -> esker_tensor::Result<()> {
//! let net = sequential![Linear::new(2, 8)?, ReLU, Linear::new(8, 3)?];
//! let mut optimizer = AdamW::new(net.parameters(), 1e-2);
//! let (x, class) = (Tensor::randn([5, 2])?, Tensor::from_vec([0i64, 1, 2, 1, 0])?);
//! for _ in 0..3 {
//!     optimizer.zero_grad();
//!     cross_entropy(&net.forward(&x)?, &class)?.backward()?;
//!     optimizer.step()?;
//! }
//! assert_eq!(net.num_parameters(), 2 * 8 + 8 + 8 * 3 + 3);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate self as esker_nn; // What `derive(Module)` writes is the same in here.

mod buffer;
pub mod init;
pub mod layer;
mod loss;
mod metric;
mod mode;
mod module;
pub mod optim;
mod part;
mod scope;
mod state;
mod summary;
mod visitor;
mod weights;

pub use buffer::Buffer;
pub use esker_nn_derive::Module;
pub use layer::*;
pub use loss::{cross_entropy, mse_loss};
pub use metric::accuracy;
pub use mode::Mode;
pub use module::{Forward, Module, ModuleExt, Within};
pub use part::Part;
pub use scope::{Scope, Tensors};
pub use state::StateDict;
pub use summary::{LayerSummary, Summary, summary, summary_of};
pub use visitor::{Item, Visitor};
pub use weights::{load, load_state, parse_state, save, save_state, state_bytes};
