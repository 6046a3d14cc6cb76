//! What every operation of Esker means.
//!
//! [`table`] lists the ops. A row makes an op known everywhere; its rules ([`OpRule`]) stand in one file under `op/`.
//! Ops lower to a closed set of kernel families ([`Kernel`]) that a [`Backend`] implements without learning an op's name.
//! Gradient rules and compositions are written against [`Value`] and serve the tape, the graph and plain arrays alike.

mod array;
mod attr;
mod backend;
#[macro_use]
mod define;
mod exec;
mod function;
mod functions;
mod indexing;
pub mod kernel;
mod map;
mod onnx;
pub mod op;
mod rule;
pub mod scalar;
pub mod signature;
mod sketch;
#[cfg(feature = "spec")]
pub mod spec;
pub mod table;
mod update;
mod value;

pub use array::{Array, Form};
pub use attr::{Axes, F64Bits, Floats, Ints, Opt, Padding, Sizes};
pub use backend::{Backend, backend, register};
pub use esker_tensor as tensor;
pub use exec::{InputMetas, Prepared, infer, metas_of, prepare, promoted, run, run_alike, run_lowered};
pub use function::{Call, FnRule, IntoOuts};
pub use half;
pub use indexing::{Index, Indexing};
pub use kernel::{Bits, Cmp, ConvPass, Divisor, Fold, Kernel, Map, NormPass, PoolPass, Put, Random, Row, Share};
pub use map::{ElemFn, MapInfo, MapOnnx, MapVisitor, NumFn, sum_to};
pub use onnx::{Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef};
pub use rule::{Grad, Grads, Lowering, OpRule, Promote, View, Vjp};
pub use sketch::compose_vjp;
pub use table::{Function, MapGrad, MapOp, Op, Ops};
pub use update::{AdamUpdate, MomentumUpdate, Update};
pub use value::{Described, Meta, Metas, Outs, Value};
