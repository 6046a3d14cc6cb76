//! Hooks: functions that see, and may replace, a gradient when it is complete.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use esker_tensor::{Error, Result};

use crate::tape::{Edge, Kind, Node, lock};
use crate::{Param, Tensor};

type See = Arc<dyn Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync>;
type Gathered = Arc<dyn Fn() -> Result<()> + Send + Sync>;

#[derive(Clone)]
enum Hook {
    /// Sees the gradient of an output before it goes on.
    See { slot: usize, f: See },
    /// Runs after a leaf has added a gradient to its own.
    Gathered(Gathered),
}

/// The hooks of a node, in the order in which they were registered, and the gradients it was asked to keep.
#[derive(Default)]
pub(crate) struct Hooks {
    list: Mutex<Vec<(u64, Hook)>>,
    kept: Mutex<Vec<(usize, Option<Tensor>)>>,
}

/// A registered hook; it stays when this is dropped and goes with [`HookHandle::remove`].
pub struct HookHandle {
    node: Weak<Node>,
    id: u64,
}

impl HookHandle {
    /// Takes the hook away; harmless when its tensor is gone.
    pub fn remove(self) {
        if let Some(hooks) = self.node.upgrade().as_ref().and_then(|n| n.hooks.get()) {
            lock(&hooks.list).retain(|(id, _)| *id != self.id);
        }
    }
}

impl Hooks {
    /// Shows complete gradients to the hooks and keeps those that were asked for.
    pub(crate) fn see(&self, slots: &mut [Option<Tensor>]) -> Result<()> {
        // A copy, so that a hook may register or remove hooks.
        let list = lock(&self.list).clone();
        for (_, hook) in &list {
            let Hook::See { slot, f } = hook else { continue };
            let Some(grad) = &slots[*slot] else { continue };
            if let Some(new) = f(grad)? {
                if new.shape() != grad.shape() || new.dtype() != grad.dtype() {
                    return Err(Error::autograd(format!(
                        "a hook must return a gradient like the one it was given, {:?} {}; it returned {:?} {}",
                        grad.shape(),
                        grad.dtype(),
                        new.shape(),
                        new.dtype()
                    )));
                }
                slots[*slot] = Some(new);
            }
        }
        for (slot, kept) in lock(&self.kept).iter_mut() {
            *kept = slots[*slot].clone().or(kept.take());
        }
        Ok(())
    }

    /// Runs what waits for a leaf's gradient to have been added.
    pub(crate) fn gathered(&self) -> Result<()> {
        let list = lock(&self.list).clone();
        list.iter().try_for_each(|(_, hook)| if let Hook::Gathered(f) = hook { f() } else { Ok(()) })
    }
}

fn register(node: &Arc<Node>, hook: Hook) -> HookHandle {
    static ID: AtomicU64 = AtomicU64::new(0);
    let id = ID.fetch_add(1, Ordering::Relaxed);
    lock(&node.hooks.get_or_init(Hooks::default).list).push((id, hook));
    HookHandle { node: Arc::downgrade(node), id }
}

impl Tensor {
    fn history(&self) -> Result<&Edge> {
        self.edge.as_ref().ok_or_else(|| {
            Error::autograd(
                "this tensor has no history, so no gradient comes to it; it must be computed from something that requires one",
            )
        })
    }

    /// Calls `hook` with the gradient of this tensor in every backward, when all parts of it have arrived and before it
    /// goes on; what the hook returns takes its place. Hooks run in the order in which they were registered.
    ///
    /// ```
    /// use esker_autograd::Tensor;
    /// use esker_ops::Ops;
    ///
    /// # fn main() -> esker_tensor::Result<()> {
    /// let x = Tensor::ones([2])?.tracked()?;
    /// let y = x.square()?;
    /// let handle = y.register_hook(|dy| dy.add(dy).map(Some))?;
    /// y.sum((), false)?.backward()?;
    /// assert_eq!(x.grad().map(|g| g.to_vec::<f32>()).transpose()?, Some(vec![4.0, 4.0]));
    /// handle.remove();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Autograd` for a tensor without history. An error of the hook ends the backward.
    pub fn register_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> Result<HookHandle> {
        let edge = self.history()?;
        Ok(register(&edge.node, Hook::See { slot: edge.slot, f: Arc::new(hook) }))
    }

    /// Keeps the gradient of a tensor that was computed, for [`Tensor::grad`] after backward. Tensors from
    /// [`Tensor::tracked`] and parameters keep theirs anyway.
    ///
    /// # Errors
    /// `Autograd` for a tensor without history.
    pub fn retain_grad(&self) -> Result<()> {
        let edge = self.history()?;
        if let Kind::Op(_) = edge.node.kind {
            let mut kept = lock(&edge.node.hooks.get_or_init(Hooks::default).kept);
            if kept.iter().all(|(slot, _)| *slot != edge.slot) {
                kept.push((edge.slot, None));
            }
        }
        Ok(())
    }

    /// The gradient that backward has left here: at tensors from [`Tensor::tracked`], at parameters' tensors, and after
    /// [`Tensor::retain_grad`].
    pub fn grad(&self) -> Option<Tensor> {
        let edge = self.edge.as_ref()?;
        if let Some(gathered) = edge.node.leaf_grad() {
            return gathered.clone();
        }
        let kept = lock(&edge.node.hooks.get()?.kept);
        kept.iter().find(|(slot, _)| *slot == edge.slot).and_then(|(_, grad)| grad.clone())
    }

    /// Replaces the gradient that has gathered at a tensor from [`Tensor::tracked`]; `None` forgets it.
    ///
    /// # Errors
    /// `Autograd` for a tensor that gathers none; `Shape` when the gradient's shape differs.
    pub fn set_grad(&self, grad: Option<&Tensor>) -> Result<()> {
        if let Some(g) = grad.filter(|g| g.shape() != self.shape()) {
            return Err(Error::shape(format!("the gradient is {:?}, the tensor {:?}", g.shape(), self.shape())));
        }
        match self.history()?.node.leaf_grad() {
            Some(mut slot) => *slot = grad.map(Tensor::detach),
            None => return Err(Error::autograd("only the start of a history gathers gradients; this was computed")),
        }
        Ok(())
    }
}

impl Param {
    /// As [`Tensor::register_hook`], for the gradient that each backward adds to this parameter's.
    pub fn register_hook(
        &self,
        hook: impl Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
    ) -> HookHandle {
        register(self.leaf(), Hook::See { slot: 0, f: Arc::new(hook) })
    }

    /// Calls `hook` after a backward has added to this parameter's gradient: the place to use the gradient up at once
    /// and forget it, so that not all gradients live at the same time.
    pub fn register_post_accumulate_grad_hook(
        &self,
        hook: impl Fn(&Param) -> Result<()> + Send + Sync + 'static,
    ) -> HookHandle {
        // The parameter owns its hooks; a hook that owned the parameter would keep both forever.
        let param = self.downgrade();
        let f = move || param().map_or(Ok(()), |p| hook(&p));
        register(self.leaf(), Hook::Gathered(Arc::new(f)))
    }
}
