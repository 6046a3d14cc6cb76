//! Which module is at work: what a summary listens to.

use std::cell::{Cell, RefCell};

use esker_autograd::Tensor;
use esker_tensor::{Result, Shape};

use crate::Module;

/// What a listener hears of modules at work.
pub(crate) enum Event<'a> {
    /// A module starts.
    Enter { address: *const (), type_name: &'static str },
    /// The module that started last has a result, or failed.
    Leave { outputs: Option<&'a [Shape]> },
}

type Listener = Box<dyn FnMut(Event<'_>)>;

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Says that a module is at work, so that [`summary`](crate::summary) can list its result. The layers here and
/// [`Forward::forward_in`](crate::Forward::forward_in) say so themselves; a module of several inputs may:
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{Forward, Linear, Module, Scope};
/// use esker_ops::Ops;
/// use esker_tensor::Result;
///
/// #[derive(Module)]
/// struct Scorer {
///     left: Linear,
///     right: Linear,
/// }
///
/// impl Scorer {
///     fn forward(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
///         Scope::of(self).gives(self.score(a, b))
///     }
///
///     fn score(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
///         self.left.forward_in("left", a)?.mul(&self.right.forward_in("right", b)?)
///     }
/// }
/// ```
#[must_use = "the scope ends when it is dropped"]
pub struct Scope {
    open: bool,
}

impl Scope {
    /// The module starts.
    #[inline]
    pub fn of<M: Module + ?Sized>(module: &M) -> Self {
        let open = LISTENING.get();
        if open {
            tell(Event::Enter { address: module.address(), type_name: module.type_name() });
        }
        Self { open }
    }

    /// The module ends with this result.
    #[inline]
    pub fn gives<T: Tensors>(mut self, result: Result<T>) -> Result<T> {
        if self.open {
            self.open = false;
            let shapes = result.as_ref().ok().map(|r| {
                let mut shapes = Vec::new();
                r.each(&mut |t| shapes.push(*t.shape()));
                shapes
            });
            tell(Event::Leave { outputs: shapes.as_deref() });
        }
        result
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.open {
            tell(Event::Leave { outputs: None });
        }
    }
}

/// A module's result: a tensor, or several.
pub trait Tensors {
    /// Calls `f` on each tensor.
    fn each(&self, f: &mut dyn FnMut(&Tensor));
}

impl Tensors for Tensor {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        f(self);
    }
}

impl<T: Tensors> Tensors for Option<T> {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.iter().for_each(|t| t.each(f));
    }
}

impl<T: Tensors> Tensors for Vec<T> {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.iter().for_each(|t| t.each(f));
    }
}

impl<A: Tensors, B: Tensors> Tensors for (A, B) {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.0.each(f);
        self.1.each(f);
    }
}

impl<A: Tensors, B: Tensors, C: Tensors> Tensors for (A, B, C) {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.0.each(f);
        self.1.each(f);
        self.2.each(f);
    }
}

fn tell(event: Event<'_>) {
    // A listener is never at work when it is told of something, since it calls no module.
    LISTENER.with(|l| {
        if let Ok(mut l) = l.try_borrow_mut()
            && let Some(listener) = l.as_mut()
        {
            listener(event);
        }
    });
}

/// Runs `f` while `listener` hears of every module at work on this thread; the listener that was there before hears nothing.
pub(crate) fn listen<R>(listener: impl FnMut(Event<'_>) + 'static, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Listener>, bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            LISTENER.with(|l| *l.borrow_mut() = self.0.take());
            LISTENING.set(self.1);
        }
    }
    let before = LISTENER.with(|l| l.borrow_mut().replace(Box::new(listener)));
    let _restore = Restore(before, LISTENING.replace(true));
    f()
}
