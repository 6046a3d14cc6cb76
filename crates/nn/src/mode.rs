//! Whether a module trains or evaluates.

use std::sync::atomic::{AtomicBool, Ordering};

/// The flag of a module that behaves differently in training and in evaluation. It starts in training, as in PyTorch, and
/// is set for the whole tree by [`ModuleExt::train`](crate::ModuleExt::train) and [`ModuleExt::eval`](crate::ModuleExt::eval).
#[derive(Debug)]
pub struct Mode(AtomicBool);

impl Mode {
    /// In training.
    pub fn new() -> Self {
        Self(AtomicBool::new(true))
    }

    /// Whether the module trains.
    pub fn is_training(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Switches to training or to evaluation.
    pub fn set_training(&self, training: bool) {
        self.0.store(training, Ordering::Relaxed);
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Mode {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.is_training()))
    }
}
