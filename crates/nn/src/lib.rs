//! Modules, losses, initialisers, optimisers and weight files.

mod activation;
mod conv;
pub mod init;
mod linear;
mod loss;
mod module;
mod norm;
pub mod optim;
mod sequential;
mod state;

pub use activation::{Dropout, Flatten, Gelu, ReLU, Sigmoid, Silu, Softmax, Tanh};
pub use conv::{Conv2d, MaxPool2d};
pub use linear::Linear;
pub use loss::{CrossEntropyOptions, Reduction, accuracy, cross_entropy, cross_entropy_with, mse_loss};
pub use module::{Item, Mode, Module, ModuleExt, Visitor};
pub use norm::LayerNorm;
pub use sequential::Sequential;
pub use state::{StateDict, load, load_state, load_state_dict, parse_state, save, save_state, state_dict};
