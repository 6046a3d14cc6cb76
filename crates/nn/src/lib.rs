//! Esker's module tree: layers, losses, initialisers, optimisers, weight files.
//!
//! A [`Module`] is anything that maps a tensor to a tensor and can show its parts to a [`Visitor`]. Names of layers,
//! parameters, layouts, defaults and initialisers are PyTorch's, so that weights move over by name.
//!
//! ```
//! use esker_autograd::Tensor;
//! use esker_nn::optim::{AdamW, Optimizer};
//! use esker_nn::{Linear, Module, ModuleExt, ReLU, cross_entropy, sequential};
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

mod buffer;
pub mod init;
pub mod layer;
mod loss;
mod metric;
mod mode;
mod module;
pub mod optim;
mod state;
mod visitor;
mod weights;

pub use buffer::Buffer;
pub use layer::{
    Conv2d, Dropout, Flatten, Gelu, LayerNorm, Linear, MaxPool2d, Pair, ReLU, Sequential, Sigmoid, Silu, Softmax, Tanh,
};
pub use loss::{CrossEntropyOptions, Reduction, cross_entropy, cross_entropy_with, mse_loss, mse_loss_with};
pub use metric::accuracy;
pub use mode::Mode;
pub use module::{Module, ModuleExt};
pub use state::StateDict;
pub use visitor::{Item, Visitor};
pub use weights::{load, load_state, parse_state, save, save_state, state_bytes};
