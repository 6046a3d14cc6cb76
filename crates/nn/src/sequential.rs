//! Modules one after the other.

use esker_autograd::Tensor;
use esker_tensor::Result;

use crate::{Module, Visitor};

/// Applies its children in order; they are named "0", "1", .. as in PyTorch.
#[derive(Default)]
pub struct Sequential {
    children: Vec<Box<dyn Module>>,
}

impl Sequential {
    /// No children: passes its input on.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more child at the end.
    pub fn push(mut self, child: impl Module + 'static) -> Self {
        self.children.push(Box::new(child));
        self
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, child) in self.children.iter().enumerate() {
            x = child.forward(&x).map_err(|e| e.within(&i.to_string()))?;
        }
        Ok(x)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        for (i, child) in self.children.iter().enumerate() {
            v.child(&i.to_string(), child.as_ref());
        }
    }
}
