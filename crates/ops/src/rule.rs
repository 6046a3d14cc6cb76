//! The rules that every op states: what it accepts, what it returns, how it runs, differentiates and exports.

use std::fmt::Debug;
use std::hash::Hash;

use esker_tensor::{Dims, Error, Layout, Result, Shape};
use smallvec::SmallVec;

use crate::{Kernel, Meta, Metas, Onnx, OnnxCx, Op, Outs, Value};

/// An operation: a small struct of typed attributes. Every method is required; opting out takes a reason.
pub trait OpRule: Clone + Debug + Eq + Hash + Send + Sync + Into<Op> + 'static {
    /// The op's name, which is also its method's.
    fn name(&self) -> &'static str;

    /// How the dtypes of the inputs meet before anything else happens.
    fn promote(&self) -> Promote;

    /// Dtypes, shapes and devices of the outputs.
    ///
    /// # Errors
    /// One sentence saying what was given and what was needed; the op's name is put in front by the caller.
    fn infer(&self, x: &[Meta]) -> Result<Metas>;

    /// How the op runs.
    fn lower(&self, x: &[Meta]) -> Lowering;

    /// The op in terms of other ops: the only way to run for [`Lowering::Compose`], an equal of the kernel for ops that
    /// also have one, `None` for the rest.
    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>>;

    /// Whether the op can be differentiated, and what of its inputs and outputs the rule needs.
    fn grad(&self) -> Grad;

    /// Vector-Jacobian product: gradients of the inputs that [`Vjp::needs`] names. Never called when
    /// [`OpRule::grad`] gives a reason.
    ///
    /// # Errors
    /// Those of the ops it applies.
    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>>;

    /// The op as ONNX nodes.
    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx;

    /// Calls `f` on every attribute that is a size (a number of elements that may depend on the batch).
    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64));
}

/// How the dtypes of an op's inputs meet; dispatch inserts casts that the tape sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promote {
    /// Leave them as they are; the op's own rule checks.
    Keep,
    /// Cast all inputs from index `from` on to their common type (PyTorch's table; scalars are weak).
    Common {
        /// The first input that takes part.
        from: usize,
    },
    /// As `Common { from: 0 }`; an integer or bool result becomes f32.
    Float,
}

/// How an op runs.
#[derive(Clone, PartialEq, Debug)]
pub enum Lowering {
    /// One call of a kernel family; inputs broadcast as the family says.
    Kernel(Kernel),
    /// No arithmetic: another layout over the same storage (or over a contiguous copy when strides do not allow it).
    View(View),
    /// Through [`OpRule::compose`].
    Compose,
}

/// A change of layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum View {
    /// The same elements under another shape.
    Reshape(Shape),
    /// Another order of dimensions.
    Permute(Dims),
    /// Size-1 and new leading dimensions repeated.
    Expand(Shape),
    /// Elements `start`, `start + step`, .. (`len` of them) of one dimension.
    Slice {
        /// The dimension.
        dim: usize,
        /// First element.
        start: usize,
        /// Distance; negative runs backwards.
        step: isize,
        /// Number of elements.
        len: usize,
    },
}

impl View {
    /// The layout that shows `layout` in this way; `None` when that needs a contiguous copy first.
    ///
    /// # Errors
    /// `Shape` when the view does not fit.
    pub fn of(&self, layout: &Layout) -> Result<Option<Layout>> {
        Ok(match self {
            View::Reshape(shape) => layout.reshape(shape),
            View::Permute(order) => Some(layout.permute(order)),
            View::Expand(shape) => Some(layout.expand(shape)?),
            View::Slice { dim, start, step, len } => Some(layout.slice(*dim, *start, *step, *len)),
        })
    }
}

/// Whether an op has a gradient, and what the tape has to keep for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grad {
    /// Differentiable; bit `i` of `inputs` (`outputs`) says that the rule reads input (output) `i`.
    Saves {
        /// Bit mask of inputs.
        inputs: u64,
        /// Bit mask of outputs.
        outputs: u64,
    },
    /// Not differentiable, and why.
    None(&'static str),
}

impl Grad {
    /// Differentiable, reading nothing but shapes.
    pub const SHAPES: Grad = Grad::Saves { inputs: 0, outputs: 0 };

    /// Differentiable, reading the inputs of the mask.
    pub const fn inputs(mask: u64) -> Grad {
        Grad::Saves { inputs: mask, outputs: 0 }
    }

    /// Differentiable, reading the outputs of the mask.
    pub const fn outputs(mask: u64) -> Grad {
        Grad::Saves { inputs: 0, outputs: mask }
    }
}

/// The gradients of an op's inputs, in their order; `None` where none is needed or it is zero by definition.
pub type Grads<V> = SmallVec<[Option<V>; 3]>;

/// Gradients of which none is known yet.
#[inline]
pub(crate) fn no_grads<V>(inputs: usize) -> Grads<V> {
    let mut grads = Grads::new();
    grads.resize_with(inputs, || None);
    grads
}

/// What a gradient rule sees.
pub struct Vjp<'a, V> {
    /// The op's name, for messages.
    pub name: &'static str,
    /// Metas of the inputs (after promotion).
    pub x_metas: &'a [Meta],
    /// The inputs that [`OpRule::grad`] asked for.
    pub x: &'a [Option<V>],
    /// The outputs that [`OpRule::grad`] asked for.
    pub y: &'a [Option<V>],
    /// Gradients that arrived at the outputs; `None` for an output that nothing used.
    pub dy: &'a [Option<V>],
    /// Which inputs need a gradient.
    pub needs: &'a [bool],
}

impl<V: Value> Vjp<'_, V> {
    /// Saved input `i`.
    ///
    /// # Errors
    /// `Autograd` when the op's rule did not ask for it.
    pub fn x(&self, i: usize) -> Result<&V> {
        self.saved(self.x, i, "input")
    }

    /// Saved output `i`.
    ///
    /// # Errors
    /// `Autograd` when the op's rule did not ask for it.
    pub fn y(&self, i: usize) -> Result<&V> {
        self.saved(self.y, i, "output")
    }

    /// The gradient of the first output.
    ///
    /// # Errors
    /// `Autograd` when none arrived.
    pub fn dy(&self) -> Result<&V> {
        self.saved(self.dy, 0, "gradient of output")
    }

    /// Whether input `i` needs a gradient.
    pub fn needs(&self, i: usize) -> bool {
        self.needs.get(i).copied().unwrap_or(false)
    }

    /// Gradients where only input `i` may need one, computed by `f`.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn only(&self, i: usize, f: impl FnOnce() -> Result<V>) -> Result<Grads<V>> {
        let mut grads = no_grads(self.x_metas.len());
        if self.needs(i) {
            grads[i] = Some(f()?);
        }
        Ok(grads)
    }

    /// Gradients of every input that needs one, computed by `f(i)`.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn each(&self, mut f: impl FnMut(usize) -> Result<V>) -> Result<Grads<V>> {
        (0..self.x_metas.len()).map(|i| if self.needs(i) { f(i).map(Some) } else { Ok(None) }).collect()
    }

    fn saved<'b>(&self, from: &'b [Option<V>], i: usize, what: &str) -> Result<&'b V> {
        from.get(i).and_then(Option::as_ref).ok_or_else(|| {
            Error::autograd(format!("the gradient rule of {} reads {what} {i}, which was not kept", self.name))
        })
    }
}
