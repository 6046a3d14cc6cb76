//! What a module shows its parts to.

use esker_autograd::Param;

use crate::{Buffer, Mode, Module};

/// What a module shows of itself.
#[derive(Clone, Copy)]
pub enum Item<'m> {
    /// A child, before its own parts.
    Module(&'m dyn Module),
    /// A parameter.
    Param(&'m Param),
    /// A buffer.
    Buffer(&'m Buffer),
    /// The flag of a module that behaves differently in training.
    Mode(&'m Mode),
}

/// Walks a module tree: every module reports its parts and children, and each part arrives with its path.
pub struct Visitor<'a> {
    path: String,
    take: &'a mut dyn FnMut(&str, Item<'_>),
}

impl<'a> Visitor<'a> {
    /// Calls `take` with the path (`encoder.0.weight`) and the part, in the order of the modules' own reports.
    pub fn new(take: &'a mut dyn FnMut(&str, Item<'_>)) -> Self {
        Self { path: String::new(), take }
    }

    /// Reports a parameter.
    pub fn param(&mut self, name: &str, param: &Param) {
        self.report(name, Item::Param(param));
    }

    /// Reports a buffer.
    pub fn buffer(&mut self, name: &str, buffer: &Buffer) {
        self.report(name, Item::Buffer(buffer));
    }

    /// Reports the training flag.
    pub fn mode(&mut self, mode: &Mode) {
        (self.take)(&self.path, Item::Mode(mode));
    }

    /// Reports a child module and all of its parts.
    pub fn child(&mut self, name: &str, module: &dyn Module) {
        self.within(name, |v| {
            (v.take)(&v.path, Item::Module(module));
            module.visit(v);
        });
    }

    /// Puts `name` in front of what `f` reports: for a list of parts that is no module of its own.
    pub fn within(&mut self, name: &str, f: impl FnOnce(&mut Self)) {
        let before = self.enter(name);
        f(self);
        self.path.truncate(before);
    }

    fn report(&mut self, name: &str, part: Item<'_>) {
        let before = self.enter(name);
        (self.take)(&self.path, part);
        self.path.truncate(before);
    }

    fn enter(&mut self, name: &str) -> usize {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        before
    }
}
