//! One module after the other.

use esker_autograd::Tensor;
use esker_tensor::Result;

use crate::{Forward, Module, Scope, Visitor};

/// Modules applied one after the other; children are called `0`, `1`, .. unless they are given a name.
///
/// ```
/// use esker_nn::{Linear, ModuleExt, Sequential, Tanh};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let net = Sequential::new().push(Linear::new(3, 4)?).push(Tanh).push_named("head", Linear::new(4, 2)?);
/// assert_eq!(net.named_parameters()[2].0, "head.weight");
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Sequential {
    children: Vec<(String, Box<dyn Forward>)>,
}

impl Sequential {
    /// No modules: the identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// With another module at the end, called by its index.
    #[must_use]
    pub fn push(self, module: impl Forward + 'static) -> Self {
        let name = self.children.len().to_string();
        self.push_named(name, module)
    }

    /// With another module at the end.
    #[must_use]
    pub fn push_named(mut self, name: impl Into<String>, module: impl Forward + 'static) -> Self {
        self.children.push((name.into(), Box::new(module)));
        self
    }

    /// The number of modules.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The modules with their names, in order.
    pub fn children(&self) -> impl Iterator<Item = (&str, &dyn Forward)> {
        self.children.iter().map(|(name, module)| (name.as_str(), &**module))
    }
}

impl Module for Sequential {
    fn visit(&self, v: &mut Visitor<'_>) {
        for (name, module) in self.children() {
            v.child(name, module);
        }
    }
}

impl Forward for Sequential {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Scope::of(self).gives(self.chained(x))
    }
}

impl Sequential {
    #[track_caller]
    fn chained(&self, x: &Tensor) -> Result<Tensor> {
        let mut children = self.children();
        let Some((name, first)) = children.next() else { return Ok(x.clone()) };
        let mut y = first.forward_in(name, x)?;
        for (name, module) in children {
            y = module.forward_in(name, &y)?;
        }
        Ok(y)
    }
}

/// A [`Sequential`] of the given modules.
///
/// ```
/// use esker_nn::{Linear, ModuleExt, ReLU, sequential};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let net = sequential![Linear::new(2, 3)?, ReLU, Linear::new(3, 1)?];
/// assert_eq!(net.num_parameters(), 13);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! sequential {
    ($($module:expr),* $(,)?) => { $crate::Sequential::new()$(.push($module))* };
}
