//! Listening to the door: which ops pass, with the metas of what goes in and comes out.

use std::cell::{Cell, RefCell};

use esker_ops::{Meta, Op};

type Listener = Box<dyn FnMut(&Op, &[Meta], &[Meta])>;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Runs `f` while `listener` is told of every op on this thread that runs a kernel or makes a view, with the metas of its
/// inputs and outputs. Compositions are told by their parts. A listener that was there before hears nothing meanwhile.
pub fn observe<R>(listener: impl FnMut(&Op, &[Meta], &[Meta]) + 'static, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Listener>, bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            LISTENER.with(|l| *l.borrow_mut() = self.0.take());
            ON.set(self.1);
        }
    }
    let before = LISTENER.with(|l| l.borrow_mut().replace(Box::new(listener)));
    let _restore = Restore(before, ON.replace(true));
    f()
}

#[inline]
pub(crate) fn is_on() -> bool {
    ON.get()
}

/// Tells the listener; ops that the listener itself applies are not told.
pub(crate) fn tell(op: &Op, inputs: &[Meta], outputs: &[Meta]) {
    LISTENER.with(|l| {
        if let Ok(mut l) = l.try_borrow_mut()
            && let Some(listener) = l.as_mut()
        {
            listener(op, inputs, outputs);
        }
    });
}
