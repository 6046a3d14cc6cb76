//! Whether ops are recorded on the tape, per thread.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Whether the tape records on this thread.
pub fn is_grad_enabled() -> bool {
    ENABLED.get()
}

/// Sets the grad mode of this thread until dropped; bound to its thread.
#[must_use = "the mode ends when the guard is dropped"]
pub struct GradMode {
    before: bool,
    thread: PhantomData<*const ()>,
}

impl GradMode {
    /// Switches the tape on or off.
    pub fn set(enabled: bool) -> Self {
        Self { before: ENABLED.replace(enabled), thread: PhantomData }
    }
}

impl Drop for GradMode {
    fn drop(&mut self) {
        ENABLED.set(self.before);
    }
}

/// Switches the tape of this thread on or off until it is switched again; says what it was. For callers without scopes;
/// others use [`GradMode`].
pub fn set_grad_enabled(enabled: bool) -> bool {
    ENABLED.replace(enabled)
}

/// Runs `f` without recording on the tape.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    let _mode = GradMode::set(false);
    f()
}
