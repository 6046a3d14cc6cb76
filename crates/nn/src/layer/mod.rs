//! The layers.

mod activation;
mod attention;
mod conv;
mod distance;
mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod pool;
mod recurrent;
mod sequential;
mod shape;
mod size;
mod transformer;

pub use activation::{
    CELU, ELU, GELU, GELUTanh, GLU, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid, LogSoftmax,
    Mish, PReLU, ReLU, ReLU6, SELU, SiLU, Sigmoid, Softmax, Softmin, Softplus, Softshrink, Softsign, Tanh, Tanhshrink,
    Threshold,
};
pub use attention::{AttentionMask, KvCache, MultiheadAttention};
pub use conv::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d};
pub use distance::{CosineSimilarity, PairwiseDistance, RotaryEmbedding};
pub use dropout::{AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d};
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::{Bilinear, Linear};
pub use pool::{AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d};
pub use recurrent::{GRU, GRUCell, LSTM, LSTMCell, RNN, RNNCell, Recurrent};
pub use sequential::Sequential;
pub use shape::{Flatten, Identity, Unflatten};
pub use size::{Pair, Size};
pub use transformer::{TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer};
