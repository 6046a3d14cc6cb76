//! The recorder: what ops were applied to arrays without values, in order.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use esker_ops::{Array, Meta, Op};
use esker_tensor::{DType, Device, Error, Layout, Result, Storage};

/// What one run of a model did. Values are numbered in the order in which they came up.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) nodes: Vec<Step>,
    /// The meta of every value.
    pub(crate) metas: Vec<Meta>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
    /// Arrays with values that ops read.
    pub(crate) consts: Vec<(usize, Array)>,
    /// Values by the identity of their arrays, which `held` keeps from being given to others.
    without_values: HashMap<usize, usize>,
    with_values: HashMap<Identity, usize>,
    held: Vec<Array>,
}

/// One op applied.
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
}

/// What makes two constants one.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    /// CPU scalars by value, since compositions make them anew each time.
    Scalar(DType, Vec<u8>),
    /// Others by where and how they lie.
    Stored(usize, DType, Layout),
}

thread_local! {
    /// Whether the innermost capture of this thread is recording; apart from the stack, as every op asks.
    static RECORDING: Cell<bool> = const { Cell::new(false) };
    static STACK: RefCell<Vec<Trace>> = const { RefCell::new(Vec::new()) };
}

/// Whether a capture is running on this thread.
#[inline(always)]
pub fn is_recording() -> bool {
    RECORDING.get()
}

/// Tells the running capture that `op` was applied. Only ops whose results have no values are kept: the rest computed
/// with constants alone, and their results are constants. The inputs are those after promotion.
///
/// # Errors
/// `Capture` when an input has no values and does not come from this capture.
pub fn record_op(op: &Op, inputs: &[&Array], outputs: &[Array]) -> Result<()> {
    if outputs.iter().all(|y| y.device() != Device::Meta) {
        return Ok(());
    }
    STACK.with_borrow_mut(|stack| match stack.last_mut() {
        Some(trace) => trace.push(op, inputs, outputs).map_err(|e| e.prefix(op.name())),
        None => Ok(()),
    })
}

/// Takes the recorder down again, also when the model panics.
struct Session;

impl Session {
    fn begin(trace: Trace) -> Self {
        STACK.with_borrow_mut(|s| s.push(trace));
        RECORDING.set(true);
        Session
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let open = STACK.with_borrow_mut(|s| {
            s.pop();
            !s.is_empty()
        });
        RECORDING.set(open);
    }
}

/// Runs `model` on `inputs`, arrays without values, and records what it does.
pub(crate) fn trace(inputs: &[Array], model: impl FnOnce(&[Array]) -> Result<Vec<Array>>) -> Result<Trace> {
    let mut trace = Trace::default();
    trace.inputs = inputs.iter().map(|x| trace.define(x)).collect::<Result<_>>()?;
    let session = Session::begin(trace);
    let outputs = model(inputs)?;
    let mut trace = STACK.with_borrow_mut(|s| s.last_mut().map(std::mem::take)).unwrap_or_default();
    drop(session);
    trace.outputs = outputs.iter().map(|y| trace.find(y)).collect::<Result<_>>().map_err(|e| e.prefix("the result"))?;
    Ok(trace)
}

impl Trace {
    fn push(&mut self, op: &Op, inputs: &[&Array], outputs: &[Array]) -> Result<()> {
        let inputs = inputs.iter().map(|x| self.find(x)).collect::<Result<_>>()?;
        let outputs = outputs.iter().map(|y| self.define(y)).collect::<Result<_>>()?;
        self.nodes.push(Step { op: op.clone(), inputs, outputs });
        Ok(())
    }

    fn number(&mut self, meta: Meta) -> usize {
        self.metas.push(meta);
        self.metas.len() - 1
    }

    /// A new value without values.
    fn define(&mut self, array: &Array) -> Result<usize> {
        let id = self.number(array.meta());
        self.held.push(array.clone());
        match self.without_values.insert(array.storage().id(), id) {
            None => Ok(id),
            Some(_) => Err(Error::capture("a result shares its identity with another value; each needs its own")),
        }
    }

    /// The value that `array` is; an array with values becomes a constant.
    fn find(&mut self, array: &Array) -> Result<usize> {
        if array.device() == Device::Meta {
            return self.without_values.get(&array.storage().id()).copied().ok_or_else(|| {
                Error::capture(format!(
                    "a meta tensor of {:?} does not come from the inputs of this capture; \
                     was it made outside, or changed in place?",
                    array.shape()
                ))
            });
        }
        let identity = identity(array);
        if let Some(&id) = self.with_values.get(&identity) {
            return Ok(id);
        }
        let id = self.number(array.meta());
        self.with_values.insert(identity, id);
        self.held.push(array.clone());
        self.consts.push((id, owned(array)?));
        Ok(id)
    }
}

fn identity(array: &Array) -> Identity {
    if array.shape().is_empty() && array.device() == Device::Cpu {
        let size = array.dtype().size();
        let start = array.layout().offset() * size;
        if let Some(bytes) = array.storage().bytes().get(start..start + size) {
            return Identity::Scalar(array.dtype(), bytes.to_vec());
        }
    }
    Identity::Stored(array.storage().id(), array.dtype(), *array.layout())
}

/// The array over memory that nobody else can change.
fn owned(array: &Array) -> Result<Array> {
    if !array.storage().is_foreign() {
        return Ok(array.clone());
    }
    Array::new(array.dtype(), array.device(), *array.layout(), Storage::from_bytes(array.storage().bytes())?)
}
