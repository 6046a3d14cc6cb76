//! What a module is: a forward pass, and a visit that shows its parameters by name.

use std::sync::atomic::{AtomicBool, Ordering};

use esker_autograd::{Param, Tensor};
use esker_tensor::Result;

/// A part of a net with one input and one output. Parts with other signatures have their own `forward`.
pub trait Module: Send + Sync {
    /// Applies the module.
    ///
    /// # Errors
    /// Those of its ops; containers add the path of the child that failed.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// Shows parameters, buffers, modes and children to the visitor, each with its name.
    fn visit(&self, visitor: &mut Visitor<'_>);
}

/// What a visit shows.
pub enum Item<'a> {
    /// A parameter that optimisers move.
    Param(&'a Param),
    /// A value that is saved with the parameters but not trained.
    Buffer(&'a Param),
    /// Whether the module is in training or evaluation.
    Mode(&'a Mode),
}

/// Walks a module tree; knows the path.
pub struct Visitor<'a> {
    path: String,
    f: &'a mut dyn FnMut(&str, Item<'_>),
}

impl<'a> Visitor<'a> {
    /// A visitor that calls `f` with the path and each item.
    pub fn new(f: &'a mut dyn FnMut(&str, Item<'_>)) -> Self {
        Self { path: String::new(), f }
    }

    fn at(&mut self, name: &str, f: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        if before > 0 && !name.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        f(self);
        self.path.truncate(before);
    }

    /// Shows a parameter.
    pub fn param(&mut self, name: &str, param: &Param) {
        self.at(name, |v| (v.f)(&v.path, Item::Param(param)));
    }

    /// Shows a buffer.
    pub fn buffer(&mut self, name: &str, buffer: &Param) {
        self.at(name, |v| (v.f)(&v.path, Item::Buffer(buffer)));
    }

    /// Shows the module's own mode.
    pub fn mode(&mut self, mode: &Mode) {
        (self.f)(&self.path, Item::Mode(mode));
    }

    /// Visits a child under `name`.
    pub fn child(&mut self, name: &str, module: &dyn Module) {
        self.at(name, |v| module.visit(v));
    }
}

/// Training or evaluation: held by modules that behave differently, set through [`ModuleExt::train`].
#[derive(Debug)]
pub struct Mode(AtomicBool);

impl Default for Mode {
    /// Training, as in PyTorch.
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Mode {
    /// Whether the module trains.
    pub fn is_training(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the mode.
    pub fn set_training(&self, training: bool) {
        self.0.store(training, Ordering::Relaxed);
    }
}

/// What every module can do.
pub trait ModuleExt: Module {
    /// Parameters with their paths, in the order of the visit; a shared parameter appears under each of its names.
    fn named_parameters(&self) -> Vec<(String, Param)> {
        let mut out = Vec::new();
        self.visit(&mut Visitor::new(&mut |path, item| {
            if let Item::Param(p) = item {
                out.push((path.to_owned(), p.clone()));
            }
        }));
        out
    }

    /// Parameters, each once.
    fn parameters(&self) -> Vec<Param> {
        let mut seen = std::collections::HashSet::new();
        self.named_parameters().into_iter().map(|(_, p)| p).filter(|p| seen.insert(p.id())).collect()
    }

    /// Parameters and buffers with their paths.
    fn named_state(&self) -> Vec<(String, Param)> {
        let mut out = Vec::new();
        self.visit(&mut Visitor::new(&mut |path, item| {
            if let Item::Param(p) | Item::Buffer(p) = item {
                out.push((path.to_owned(), p.clone()));
            }
        }));
        out
    }

    /// Number of trained elements.
    fn num_parameters(&self) -> usize {
        self.parameters().iter().map(|p| p.shape().numel()).sum()
    }

    /// Forgets all gradients.
    fn zero_grad(&self) {
        self.parameters().iter().for_each(Param::zero_grad);
    }

    /// Puts the tree in training mode.
    fn train(&self) {
        set_mode(self, true);
    }

    /// Puts the tree in evaluation mode: dropout passes its input on.
    fn eval(&self) {
        set_mode(self, false);
    }
}

impl<M: Module + ?Sized> ModuleExt for M {}

fn set_mode<M: Module + ?Sized>(module: &M, training: bool) {
    module.visit(&mut Visitor::new(&mut |_, item| {
        if let Item::Mode(mode) = item {
            mode.set_training(training);
        }
    }));
}

impl Module for Box<dyn Module> {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        (**self).forward(x)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        (**self).visit(visitor);
    }
}
