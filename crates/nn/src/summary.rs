//! What a model is made of: a table of its layers.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use esker_autograd::{Tensor, no_grad, observe};
use esker_ops::{ConvPass, Kernel, Lowering, Meta, Op};
use esker_tensor::{Result, Shape};

use crate::scope::{Event, listen};
use crate::{Forward, Item, Module, ModuleExt, Scope, Tensors, Visitor};

/// One layer in a [`Summary`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerSummary {
    /// The path, empty for the model itself.
    pub path: String,
    /// The type's name.
    pub type_name: &'static str,
    /// The shapes of its latest result; empty when it was not called.
    pub outputs: Vec<Shape>,
    /// The elements of its own parameters, without its children's.
    pub parameters: usize,
    /// The bytes of its own parameters and buffers.
    pub bytes: usize,
    /// The multiplications with addition of its own matrix products and convolutions, all calls together.
    pub multiply_adds: u64,
}

/// A model's layers, and their sums with tied parameters counted once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The model and its layers, in the order in which they report themselves.
    pub layers: Vec<LayerSummary>,
    /// The elements of all parameters.
    pub parameters: usize,
    /// The elements of the parameters that are trained.
    pub trainable: usize,
    /// The bytes of all parameters and buffers.
    pub bytes: usize,
    /// The multiplications with addition of one call.
    pub multiply_adds: u64,
}

/// Runs the module once on `x`, in evaluation and without the tape, and lists its layers: path, type, shape of the result,
/// parameters, bytes, multiply-adds. With a tensor without data ([`Tensor::meta_like`]) nothing is computed.
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{Linear, ReLU, sequential, summary};
/// use esker_tensor::DType;
///
/// # fn main() -> esker_tensor::Result<()> {
/// let net = sequential![Linear::new(64, 100)?, ReLU, Linear::new(100, 10)?];
/// let table = summary(&net, &Tensor::meta_like(DType::F32, [1, 64])?)?;
/// assert_eq!(table.to_string(), "\
/// Layer    Type        Output    Parameters   Bytes  Multiply-adds
/// (model)  Sequential  [1, 10]            -       -              -
/// 0        Linear      [1, 100]       6,500  26,000          6,400
/// 1        ReLU        [1, 100]           -       -              -
/// 2        Linear      [1, 10]        1,010   4,040          1,000
/// Total: 7,510 parameters (7,510 trainable), 30,040 bytes, 7,400 multiply-adds");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of the module.
pub fn summary<M: Forward + ?Sized>(module: &M, x: &Tensor) -> Result<Summary> {
    summary_of(module, || Scope::of(module).gives(module.forward(x)))
}

/// As [`summary`], for a module of several inputs: `run` calls it.
///
/// # Errors
/// Those of `run`.
pub fn summary_of<M: Module + ?Sized, T: Tensors>(module: &M, run: impl FnOnce() -> Result<T>) -> Result<Summary> {
    let trace = Rc::new(RefCell::new(Trace::of(module)));
    let (events, ops) = (Rc::clone(&trace), Rc::clone(&trace));
    let _evaluation = Evaluation::of(module);
    let result = no_grad(|| {
        listen(
            move |event| events.borrow_mut().event(&event),
            || observe(move |op, x, y| ops.borrow_mut().op(op, x, y), run),
        )
    })?;
    let mut trace = trace.borrow_mut();
    if let Some(model) = trace.layers.first_mut() {
        model.outputs.clear();
        result.each(&mut |t| model.outputs.push(*t.shape()));
    }
    let layers = std::mem::take(&mut trace.layers);
    let params = module.parameters();
    let trainable = params.iter().filter(|p| p.is_trainable()).map(|p| p.shape().numel()).sum();
    let multiply_adds = layers.iter().map(|l| l.multiply_adds).sum();
    Ok(Summary { layers, parameters: module.num_parameters(), trainable, bytes: trace.bytes, multiply_adds })
}

/// Puts a module into evaluation until dropped; then each flag is as it was.
struct Evaluation<'m, M: Module + ?Sized> {
    module: &'m M,
    before: Vec<bool>,
}

impl<'m, M: Module + ?Sized> Evaluation<'m, M> {
    fn of(module: &'m M) -> Self {
        let mut before = Vec::new();
        module.each_part(&mut |_, part| {
            if let Item::Mode(mode) = part {
                before.push(mode.is_training());
                mode.set_training(false);
            }
        });
        Self { module, before }
    }
}

impl<M: Module + ?Sized> Drop for Evaluation<'_, M> {
    fn drop(&mut self) {
        let mut before = self.before.iter();
        self.module.each_part(&mut |_, part| {
            if let Item::Mode(mode) = part
                && let Some(training) = before.next()
            {
                mode.set_training(*training);
            }
        });
    }
}

/// A module, as it is told from others: modules without size may share an address.
type Key = (usize, &'static str);

struct Trace {
    layers: Vec<LayerSummary>,
    /// How often each layer started.
    calls: Vec<usize>,
    places: HashMap<Key, Vec<usize>>,
    /// The layers at work, from the outside in; `None` for one that does not belong to the model.
    stack: Vec<(Key, Option<usize>)>,
    bytes: usize,
}

impl Trace {
    fn of<M: Module + ?Sized>(module: &M) -> Self {
        let mut trace = Self { layers: vec![], calls: vec![], places: HashMap::new(), stack: vec![], bytes: 0 };
        trace.layer("", module.address(), module.type_name());
        let mut seen = HashSet::new();
        module.visit(&mut Visitor::new(&mut |path, part| {
            let (elements, bytes, new) = match part {
                Item::Module(child) => return trace.layer(path, child.address(), child.type_name()),
                Item::Param(p) => (p.shape().numel(), p.shape().numel() * p.dtype().size(), seen.insert(p.id())),
                Item::Buffer(b) => (0, b.tensor().numel() * b.tensor().dtype().size(), true),
                Item::Mode(_) => return,
            };
            trace.bytes += if new { bytes } else { 0 };
            // The innermost layer whose path leads to the part.
            let owner = trace.layers.iter_mut().rev().find(|l| below(path, &l.path));
            if let Some(owner) = owner {
                owner.parameters += elements;
                owner.bytes += bytes;
            }
        }));
        trace
    }

    fn layer(&mut self, path: &str, address: *const (), type_name: &'static str) {
        self.places.entry((address as usize, type_name)).or_default().push(self.layers.len());
        self.calls.push(0);
        let path = path.to_string();
        let layer = LayerSummary { path, type_name, outputs: vec![], parameters: 0, bytes: 0, multiply_adds: 0 };
        self.layers.push(layer);
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Enter { address, type_name } => {
                let key = (*address as usize, *type_name);
                let again = self.stack.last().filter(|(top, _)| *top == key).map(|(_, layer)| *layer);
                let layer = again.unwrap_or_else(|| self.find(key));
                self.stack.push((key, layer));
            }
            Event::Leave { outputs } => {
                let layer = self.stack.pop().and_then(|(_, layer)| self.layers.get_mut(layer?));
                if let (Some(layer), Some(outputs)) = (layer, outputs) {
                    layer.outputs = outputs.to_vec();
                }
            }
        }
    }

    /// The layer that starts: among those that cannot be told apart, the one that started least often.
    fn find(&mut self, key: Key) -> Option<usize> {
        let parent = self.working().map(|l| self.layers[l].path.clone()).unwrap_or_default();
        let among = self.places.get(&key)?.iter().copied();
        let layer = among.filter(|&l| below(&self.layers[l].path, &parent)).min_by_key(|&l| self.calls[l])?;
        self.calls[layer] += 1;
        Some(layer)
    }

    /// The innermost layer at work.
    fn working(&self) -> Option<usize> {
        self.stack.iter().rev().find_map(|(_, layer)| *layer)
    }

    fn op(&mut self, op: &Op, x: &[Meta], y: &[Meta]) {
        let layer = self.working().unwrap_or(0);
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.multiply_adds += multiply_adds(op, x, y);
        }
    }
}

/// Whether `path` is `parent` or lies within it.
fn below(path: &str, parent: &str) -> bool {
    parent.is_empty() || path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn multiply_adds(op: &Op, x: &[Meta], y: &[Meta]) -> u64 {
    let numel = |m: &Meta| m.shape.numel() as u64;
    match (op.lower(x), x, y) {
        (Lowering::Kernel(Kernel::MatMul | Kernel::Affine), [a, ..], [y, ..]) => {
            numel(y) * a.shape.last().copied().unwrap_or_default() as u64
        }
        (Lowering::Kernel(Kernel::Conv(pass, _)), [a, w], [y, ..]) => {
            // Every output of the forward convolution is a sum over one of the weight's slices.
            let (outputs, w) = match pass {
                ConvPass::Forward => (y, w),
                ConvPass::Input => (a, w),
                ConvPass::Weight => (w, y),
            };
            numel(outputs) * numel(w) / w.shape.first().copied().unwrap_or(1).max(1) as u64
        }
        _ => 0,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["Layer", "Type", "Output", "Parameters", "Bytes", "Multiply-adds"].map(String::from);
        let row = |l: &LayerSummary| {
            let outputs: Vec<String> = l.outputs.iter().map(|s| format!("{s:?}")).collect();
            [
                if l.path.is_empty() { "(model)".to_string() } else { l.path.clone() },
                l.type_name.to_string(),
                if outputs.is_empty() { "-".to_string() } else { outputs.join(", ") },
                count(l.parameters as u64),
                count(l.bytes as u64),
                count(l.multiply_adds),
            ]
        };
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(self.layers.iter().map(row)).collect();
        let widths: [usize; 6] =
            std::array::from_fn(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or_default());
        for row in &rows {
            for (c, (cell, width)) in row.iter().zip(widths).enumerate() {
                let gap = if c == 0 { "" } else { "  " };
                if c < 3 { write!(f, "{gap}{cell:<width$}")? } else { write!(f, "{gap}{cell:>width$}")? }
            }
            writeln!(f)?;
        }
        write!(
            f,
            "Total: {} parameters ({} trainable), {} bytes, {} multiply-adds",
            grouped(self.parameters as u64),
            grouped(self.trainable as u64),
            grouped(self.bytes as u64),
            grouped(self.multiply_adds)
        )
    }
}

fn count(n: u64) -> String {
    if n == 0 { "-".to_string() } else { grouped(n) }
}

/// With a comma between thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
