//! The module: a function with parts.

use std::collections::HashSet;

use esker_autograd::{Param, Tensor};
use esker_tensor::{DType, Device, Result};

use crate::{Buffer, Item, Scope, StateDict, Visitor, state};

/// Anything that has parameters, buffers and children, and shows them to a [`Visitor`]. `#[derive(Module)]` writes it for a
/// struct: every field reports itself under its name, see [`Part`](crate::Part) for what a field may be.
///
/// | attribute of a field | effect |
/// |---|---|
/// | `#[module(skip)]` | the field is passed over, whatever its type |
/// | `#[module(rename = "name")]` | the field is reported under another name |
///
/// A module of one tensor also implements [`Forward`]; one of several inputs has an inherent method, by custom called
/// `forward`, and is a child like any other.
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{Forward, Linear, Module, ModuleExt};
/// use esker_ops::Ops;
///
/// #[derive(Module)]
/// struct Mlp {
///     fc1: Linear,
///     fc2: Linear,
/// }
///
/// impl Forward for Mlp {
///     fn forward(&self, x: &Tensor) -> esker_tensor::Result<Tensor> {
///         let hidden = self.fc1.forward_in("fc1", x)?.relu()?;
///         self.fc2.forward_in("fc2", &hidden)
///     }
/// }
///
/// # fn main() -> esker_tensor::Result<()> {
/// let mlp = Mlp { fc1: Linear::new(4, 8)?, fc2: Linear::new(8, 2)? };
/// let names: Vec<String> = mlp.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
/// let error = mlp.forward(&Tensor::zeros([1, 5])?).err().map(|e| e.to_string()).unwrap_or_default();
/// assert!(error.ends_with("(in fc1)"), "{error}");
/// # Ok(())
/// # }
/// ```
pub trait Module: Send + Sync {
    /// Reports parameters, buffers, the training flag and children, in the order in which they are to be listed.
    fn visit(&self, v: &mut Visitor<'_>);

    /// The type's name without its path, for listings.
    fn type_name(&self) -> &'static str {
        let name = std::any::type_name::<Self>();
        let head = name.split('<').next().unwrap_or(name);
        head.rsplit("::").next().unwrap_or(head)
    }

    /// Where the module lies: what tells it from others in a [`Scope`](crate::Scope).
    #[doc(hidden)]
    fn address(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }
}

/// A module that maps one tensor to one tensor: what [`Sequential`](crate::Sequential) chains and what can be captured as a
/// graph.
pub trait Forward: Module {
    /// The module's result for `x`.
    ///
    /// # Errors
    /// Those of its ops, with the path of the child where they arose.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// The result for `x`; errors name the module as `name`. What modules call their children with.
    ///
    /// # Errors
    /// Those of [`Forward::forward`].
    #[track_caller]
    fn forward_in(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(self.forward(x)).within(name)
    }
}

/// Errors that name the child in which they arose: `self.attention.forward(q, k, v).within("attention")?`.
pub trait Within {
    /// The same result, its error placed in the child of this name.
    #[must_use]
    fn within(self, name: &str) -> Self;
}

impl<T> Within for Result<T> {
    fn within(self, name: &str) -> Self {
        self.map_err(|e| e.within(name))
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn visit(&self, v: &mut Visitor<'_>) {
        (**self).visit(v);
    }

    fn type_name(&self) -> &'static str {
        (**self).type_name()
    }

    fn address(&self) -> *const () {
        (**self).address()
    }
}

impl<M: Forward + ?Sized> Forward for Box<M> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        (**self).forward(x)
    }
}

/// What every module can do by walking its tree.
pub trait ModuleExt: Module {
    /// Every part with its path, as [`Module::visit`] reports it.
    fn each_part(&self, take: &mut dyn FnMut(&str, Item<'_>)) {
        self.visit(&mut Visitor::new(take));
    }

    /// The parameters by path; tied parameters appear under each of their names.
    fn named_parameters(&self) -> Vec<(String, Param)> {
        let mut found = Vec::new();
        self.each_part(&mut |path, part| {
            if let Item::Param(p) = part {
                found.push((path.to_string(), p.clone()));
            }
        });
        found
    }

    /// The parameters, tied ones once.
    fn parameters(&self) -> Vec<Param> {
        let mut seen = HashSet::new();
        self.named_parameters().into_iter().map(|(_, p)| p).filter(|p| seen.insert(p.id())).collect()
    }

    /// The names of the trainable parameters that no backward since the last `zero_grad` has reached.
    fn unreached_parameters(&self) -> Vec<String> {
        esker_autograd::unreached(&self.named_parameters())
    }

    /// The number of elements of all parameters, tied ones counted once.
    fn num_parameters(&self) -> usize {
        self.parameters().iter().map(|p| p.shape().numel()).sum()
    }

    /// Switches the whole tree to training (dropout drops).
    fn train(&self) {
        self.set_training(true);
    }

    /// Switches the whole tree to evaluation (dropout passes).
    fn eval(&self) {
        self.set_training(false);
    }

    /// Switches the whole tree to training or to evaluation.
    fn set_training(&self, training: bool) {
        self.each_part(&mut |_, part| {
            if let Item::Mode(mode) = part {
                mode.set_training(training);
            }
        });
    }

    /// Forgets the gradients of all parameters.
    fn zero_grad(&self) {
        self.each_part(&mut |_, part| {
            if let Item::Param(p) = part {
                p.zero_grad();
            }
        });
    }

    /// Freezes or thaws all parameters.
    fn set_trainable(&self, trainable: bool) {
        self.each_part(&mut |_, part| {
            if let Item::Param(p) = part {
                p.set_trainable(trainable);
            }
        });
    }

    /// Changes the element type of every parameter and every floating-point buffer.
    ///
    /// # Errors
    /// `Autograd` for a dtype without gradients; `OutOfMemory`.
    fn to_dtype(&self, dtype: DType) -> Result<()> {
        each_state(self, |p| p.to_dtype(dtype), |b| b.to_dtype(dtype))
    }

    /// Moves every parameter and every buffer to a device. Make optimisers afterwards.
    ///
    /// # Errors
    /// `Unavailable` for a device that was not opened; `OutOfMemory`.
    fn to_device(&self, device: Device) -> Result<()> {
        each_state(self, |p| p.to_device(device), |b| b.to_device(device))
    }

    /// Parameters and buffers by path; tied parameters stand under each of their names. The tensors share the
    /// parameters' memory until either side changes.
    fn state_dict(&self) -> StateDict {
        state::collect(&mut |v| self.visit(v))
    }

    /// Takes over the values of a state dict, all or none of them. Unless `strict`, names that are missing or unexpected are
    /// passed over.
    ///
    /// # Errors
    /// `Format` listing the names that are missing, unexpected, of another shape or dtype, or tied here and different
    /// there; nothing is changed then.
    fn load_state_dict(&self, state: &StateDict, strict: bool) -> Result<()> {
        state::distribute(&mut |v| self.visit(v), state, strict)
    }
}

impl<M: Module + ?Sized> ModuleExt for M {}

/// Does something to every parameter and buffer, until it fails.
fn each_state<M: Module + ?Sized>(
    module: &M,
    to_param: impl Fn(&Param) -> Result<()>,
    to_buffer: impl Fn(&Buffer) -> Result<()>,
) -> Result<()> {
    let mut outcome = Ok(());
    module.each_part(&mut |_, part| {
        if outcome.is_ok() {
            outcome = match part {
                Item::Param(p) => to_param(p),
                Item::Buffer(b) => to_buffer(b),
                Item::Mode(_) | Item::Module(_) => Ok(()),
            };
        }
    });
    outcome
}
