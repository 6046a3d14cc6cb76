//! The layers.

mod activation;
mod conv;
mod dropout;
mod flatten;
mod layer_norm;
mod linear;
mod pool;
mod sequential;

pub use activation::{GELU, ReLU, SiLU, Sigmoid, Softmax, Tanh};
pub use conv::{Conv2d, Pair};
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::MaxPool2d;
pub use sequential::Sequential;
