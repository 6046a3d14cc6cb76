//! The layers.

mod activation;
mod attention;
mod conv;
mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod pool;
mod sequential;
mod shape;
mod transformer;

pub use activation::{
    CELU, ELU, GELU, GELUTanh, GLU, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid, LogSoftmax,
    Mish, PReLU, ReLU, ReLU6, SELU, SiLU, Sigmoid, Softmax, Softmin, Softplus, Softshrink, Softsign, Tanh, Tanhshrink,
    Threshold,
};
pub use attention::{AttentionMask, KvCache, MultiheadAttention};
pub use conv::{Conv2d, Pair};
pub use dropout::{AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d};
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::{Bilinear, Linear};
pub use pool::MaxPool2d;
pub use sequential::Sequential;
pub use shape::{Flatten, Identity, Unflatten};
pub use transformer::{TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer};
