//! Parameters: the only mutable objects. Gradients gather in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker_ops::{Array, Ops};
use esker_tensor::{DType, Device, Error, Result, Shape};

use crate::Tensor;
use crate::tape::{Edge, Node};

/// A tensor that training changes: a value, a gradient, and a version that rises with each change.
/// Clones are the same parameter (tied weights).
#[derive(Clone)]
pub struct Param(Arc<Cell>);

struct Cell {
    value: Mutex<Array>,
    version: AtomicU64,
    trainable: std::sync::atomic::AtomicBool,
    leaf: Arc<Node>,
}

impl Param {
    /// A trainable parameter that starts at the tensor's values.
    ///
    /// # Errors
    /// `Autograd` for a dtype without gradients.
    pub fn new(value: &Tensor) -> Result<Self> {
        if !value.dtype().is_float() {
            return Err(Error::autograd(format!("a parameter must be floating-point, got {}", value.dtype())));
        }
        Ok(Self(Arc::new(Cell {
            value: Mutex::new(value.array().clone()),
            version: AtomicU64::new(0),
            trainable: true.into(),
            leaf: Node::leaf(),
        })))
    }

    fn value(&self) -> MutexGuard<'_, Array> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present value as a tensor whose gradient gathers here.
    pub fn tensor(&self) -> Tensor {
        let edge = self.is_trainable().then(|| Edge::new(Arc::clone(&self.0.leaf), 0));
        Tensor { array: self.value().clone(), edge }
    }

    /// Sizes.
    pub fn shape(&self) -> Shape {
        *self.value().shape()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.value().dtype()
    }

    /// The gradient that has gathered since the last [`Param::zero_grad`].
    pub fn grad(&self) -> Option<Tensor> {
        self.0.leaf.leaf_grad().and_then(|g| g.clone())
    }

    /// Forgets the gradient.
    pub fn zero_grad(&self) {
        if let Some(mut g) = self.0.leaf.leaf_grad() {
            *g = None;
        }
    }

    /// Replaces the gradient (for clipping, or one computed elsewhere).
    ///
    /// # Errors
    /// `Shape` when the shape differs.
    pub fn set_grad(&self, grad: Tensor) -> Result<()> {
        if *grad.shape() != self.shape() {
            return Err(Error::shape(format!("the gradient is {:?}, the parameter {:?}", grad.shape(), self.shape())));
        }
        if let Some(mut g) = self.0.leaf.leaf_grad() {
            *g = Some(grad.detach());
        }
        Ok(())
    }

    pub(crate) fn leaf(&self) -> &Arc<Node> {
        &self.0.leaf
    }

    pub(crate) fn downgrade(&self) -> impl Fn() -> Option<Param> + Send + Sync + use<> {
        let cell = Arc::downgrade(&self.0);
        move || cell.upgrade().map(Param)
    }

    /// Whether gradients gather and optimisers move it.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Freezes or thaws the parameter.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
    }

    /// Rises with every change of the value; keys what is derived from it.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// `Shape` or `DType` when the new value differs in them.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        let mut old = self.value();
        if value.shape() != old.shape() {
            return Err(Error::shape(format!("the new value is {:?}, the parameter {:?}", value.shape(), old.shape())));
        }
        if value.dtype() != old.dtype() {
            return Err(Error::dtype(format!("the new value is {}, the parameter {}", value.dtype(), old.dtype())));
        }
        *old = value.array().clone();
        self.0.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Changes the element type, keeping the values as far as the new type can tell them apart. The gradient goes.
    ///
    /// # Errors
    /// `Autograd` for a dtype without gradients; `OutOfMemory`.
    pub fn to_dtype(&self, dtype: DType) -> Result<()> {
        if !dtype.is_float() {
            return Err(Error::autograd(format!("a parameter must be floating-point, not {dtype}")));
        }
        let new = self.tensor().detach().cast(dtype)?;
        self.zero_grad();
        *self.value() = new.array().clone();
        self.0.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Moves the value to a device. The gradient goes, and optimisers that remember anything of it must be made anew.
    ///
    /// # Errors
    /// `Unavailable` for a device that was not opened; `OutOfMemory`.
    pub fn to_device(&self, device: Device) -> Result<()> {
        let new = self.tensor().detach().to_device(device)?;
        self.zero_grad();
        *self.value() = new.array().clone();
        self.0.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Changes the value in place. When something else still holds the old value (a tape, a snapshot), it keeps it:
    /// the storage is copied first, which [`esker_tensor::pool::stats`] counts.
    ///
    /// # Errors
    /// Those of `f` and of the copy.
    pub fn update(&self, f: impl FnOnce(&mut Array) -> Result<()>) -> Result<()> {
        let mut value = self.value();
        value.own()?;
        f(&mut value)?;
        self.0.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Identity: equal for clones of the same parameter.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl std::fmt::Debug for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Param({:?}, {})", self.shape(), self.dtype())
    }
}

/// The names of the trainable parameters that have no gradient: what no backward since the last `zero_grad` reached,
/// because the loss does not depend on them, or through values that were detached or computed under `no_grad`.
///
/// ```
/// use esker_autograd::{Param, Tensor, unreached};
/// use esker_ops::Ops;
///
/// # fn main() -> esker_tensor::Result<()> {
/// let (used, forgotten) = (Param::new(&Tensor::ones([2])?)?, Param::new(&Tensor::ones([2])?)?);
/// used.tensor().square()?.sum((), false)?.backward()?;
/// let named = [("used".to_string(), used), ("forgotten".to_string(), forgotten)];
/// assert_eq!(unreached(&named), ["forgotten"]);
/// # Ok(())
/// # }
/// ```
pub fn unreached(parameters: &[(String, Param)]) -> Vec<String> {
    let without = parameters.iter().filter(|(_, p)| p.is_trainable() && p.grad().is_none());
    without.map(|(name, _)| name.clone()).collect()
}
