//! The graph itself: nodes in an order in which they can run, values with their sizes, constants.

use std::collections::HashSet;
use std::fmt;

use esker_ops::{Array, Meta, Op};
use esker_tensor::{DType, Device, Error, Layout, Result, Shape};

use crate::Dim;

/// A value of a graph: an index into [`Graph::values`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ValueId(pub u32);

impl ValueId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueInfo {
    /// Element type.
    pub dtype: DType,
    /// Sizes.
    pub dims: Vec<Dim>,
    /// The name of an input or a constant.
    pub name: Option<String>,
}

/// One op applied.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// The op; where its sizes depend on the batch, as it is for a batch of 1.
    pub op: Op,
    /// The op's size attributes in the order of [`Op::sizes`]; empty when none depends on the batch.
    pub sizes: Vec<Dim>,
    /// What it reads, after promotion.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub outputs: Vec<ValueId>,
}

impl Node {
    /// The op for a batch of `n`, with its results (if it makes them from nothing) on `device`.
    ///
    /// # Errors
    /// `Shape` when a size overflows.
    pub fn op_at(&self, n: i64, device: Device) -> Result<Op> {
        let mut op = self.op.clone();
        op.place(device);
        let mut sizes = self.sizes.iter();
        let mut overflow = false;
        op.sizes(&mut |size| match sizes.next().map(|dim| dim.at(n)) {
            Some(Some(value)) => *size = value,
            Some(None) => overflow = true,
            None => {}
        });
        if overflow {
            return Err(Error::shape(format!("{}: a size overflows for a batch of {n}", op.name())));
        }
        Ok(op)
    }
}

/// A value known beforehand.
#[derive(Clone, Debug)]
pub struct Const {
    /// The value.
    pub id: ValueId,
    /// Its elements.
    pub array: Array,
}

/// A result of a graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The value.
    pub id: ValueId,
}

/// A model as data. Every value is defined once, before its first use, by an input, a constant or a node.
#[derive(Clone, Debug)]
pub struct Graph {
    /// What the batch is called.
    pub symbol: String,
    /// The ops, in an order in which they can run.
    pub nodes: Vec<Node>,
    /// Every value.
    pub values: Vec<ValueInfo>,
    /// The inputs, in the order of the model's arguments; each has a name.
    pub inputs: Vec<ValueId>,
    /// The results.
    pub outputs: Vec<Output>,
    /// The constants; each has a name.
    pub consts: Vec<Const>,
}

/// A graph for one size of the batch.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The op of each node.
    pub ops: Vec<Op>,
    /// Dtype, shape and device of each value.
    pub metas: Vec<Meta>,
}

impl Graph {
    /// What is known of a value.
    ///
    /// # Errors
    /// `Capture` for an id that is out of range.
    pub fn value(&self, id: ValueId) -> Result<&ValueInfo> {
        self.values
            .get(id.index())
            .ok_or_else(|| Error::capture(format!("value %{} does not exist; there are {}", id.0, self.values.len())))
    }

    /// A value's name, or `%` and its number.
    pub fn label(&self, id: ValueId) -> String {
        match self.values.get(id.index()).and_then(|v| v.name.clone()) {
            Some(name) => name,
            None => format!("%{}", id.0),
        }
    }

    /// Whether any input's size depends on the batch.
    pub fn has_batch(&self) -> bool {
        self.inputs.iter().any(|id| self.values.get(id.index()).is_some_and(|v| v.dims.iter().any(|d| !d.is_fixed())))
    }

    /// Gives constants the names of the arrays that they are: parameters by their paths. A view of a named array (a
    /// transposed weight) is called after it.
    pub fn name_consts<'a>(&mut self, names: impl IntoIterator<Item = (&'a str, &'a Array)>) {
        let names: Vec<(&str, &Array)> = names.into_iter().collect();
        let mut taken: HashSet<String> = self.values.iter().filter_map(|v| v.name.clone()).collect();
        for c in &self.consts {
            let shared = || names.iter().filter(|(_, a)| a.storage().id() == c.array.storage().id());
            let exact = shared().find(|(_, a)| a.layout() == c.array.layout() && a.dtype() == c.array.dtype());
            let name = match (exact, shared().next()) {
                (Some((name, _)), _) => Some((*name).to_string()),
                (None, Some((name, _))) => Some(format!("{name}.view")),
                _ => None,
            };
            if let (Some(name), Some(value)) = (name, self.values.get_mut(c.id.index())) {
                let later = (1..).map(|k: usize| format!("{name}_{k}"));
                value.name = std::iter::once(name.clone()).chain(later).find(|n| taken.insert(n.clone()));
            }
        }
    }

    /// The ops and metas for a batch of `n` on `device`, by each op's own inference.
    ///
    /// # Errors
    /// Those of the ops; `Capture` when the graph is malformed.
    pub fn bind(&self, n: i64, device: Device) -> Result<Bound> {
        let mut metas: Vec<Option<Meta>> = vec![None; self.values.len()];
        let define = |id: ValueId, meta: Meta, metas: &mut Vec<Option<Meta>>| match metas.get_mut(id.index()) {
            Some(slot @ None) => {
                *slot = Some(meta);
                Ok(())
            }
            Some(_) => Err(Error::capture(format!("value %{} is defined twice", id.0))),
            None => Err(Error::capture(format!("value %{} does not exist; there are {}", id.0, self.values.len()))),
        };
        for &id in &self.inputs {
            let info = self.value(id)?;
            define(id, Meta::new(info.dtype, shape_at(&info.dims, n)?, device), &mut metas)?;
        }
        for c in &self.consts {
            define(c.id, c.array.meta(), &mut metas)?;
        }
        let mut ops = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let op = node.op_at(n, device)?;
            let x = self.read(node, &metas)?;
            let y = op.infer(&x).map_err(|e| e.prefix(op.name()))?;
            if y.len() != node.outputs.len() {
                return Err(Error::capture(format!(
                    "{} has {} results, but its node lists {}",
                    op.name(),
                    y.len(),
                    node.outputs.len()
                )));
            }
            for (&id, meta) in node.outputs.iter().zip(y) {
                define(id, meta, &mut metas)?;
            }
            ops.push(op);
        }
        let metas: Vec<Meta> =
            metas.into_iter().enumerate().map(|(i, m)| m.ok_or_else(|| undefined(i))).collect::<Result<_>>()?;
        match self.outputs.iter().find(|o| o.id.index() >= metas.len()) {
            Some(o) => Err(Error::capture(format!("the result `{}` is no value of the graph", o.name))),
            None => Ok(Bound { ops, metas }),
        }
    }

    fn read(&self, node: &Node, metas: &[Option<Meta>]) -> Result<Vec<Meta>> {
        let meta = |id: &ValueId| metas.get(id.index()).copied().flatten();
        node.inputs
            .iter()
            .map(|id| {
                meta(id).ok_or_else(|| {
                    Error::capture(format!("{} reads {} before it is defined", node.op.name(), self.label(*id)))
                })
            })
            .collect()
    }

    /// Checks that every value is defined once and before its use, that names are there and distinct, and that the ops'
    /// own inference gives the dtypes and sizes that the graph lists, for two sizes of the batch.
    ///
    /// # Errors
    /// `Capture` with what does not hold.
    pub fn validate(&self) -> Result<()> {
        let mut names = HashSet::new();
        for id in self.inputs.iter().chain(self.consts.iter().map(|c| &c.id)) {
            let name = self.value(*id)?.name.as_deref().unwrap_or("");
            if name.is_empty() || !names.insert(name) {
                return Err(Error::capture(format!("value %{} needs a name of its own, it has `{name}`", id.0)));
            }
        }
        let probes: &[i64] = if self.has_batch() { &crate::PROBES[..2] } else { &[1] };
        for &n in probes {
            let bound = self.bind(n, Device::Meta)?;
            for (i, (meta, info)) in bound.metas.iter().zip(&self.values).enumerate() {
                if meta.dtype != info.dtype || shape_at(&info.dims, n)? != meta.shape {
                    return Err(Error::capture(format!(
                        "value %{i} is listed as {} {:?}, but for a batch of {n} it is {} {:?}",
                        info.dtype, info.dims, meta.dtype, meta.shape
                    )));
                }
            }
        }
        Ok(())
    }

    /// The sizes of a value as a text: `[N, 64]`.
    pub(crate) fn dims_text(&self, dims: &[Dim]) -> String {
        format!("[{}]", dims.iter().map(|d| d.text(&self.symbol)).collect::<Vec<_>>().join(", "))
    }

    fn described(&self, id: ValueId) -> String {
        match self.values.get(id.index()) {
            Some(v) => format!("{}: {}{}", self.label(id), v.dtype, self.dims_text(&v.dims)),
            None => format!("%{}: ?", id.0),
        }
    }
}

fn undefined(index: usize) -> Error {
    Error::capture(format!("value %{index} is never defined"))
}

/// The shape that `dims` are for a batch of `n`.
pub(crate) fn shape_at(dims: &[Dim], n: i64) -> Result<Shape> {
    let size = |d: &Dim| d.at(n).and_then(|s| usize::try_from(s).ok());
    let sizes: Option<Vec<usize>> = dims.iter().map(size).collect();
    let sizes = sizes.ok_or_else(|| {
        let text: Vec<String> = dims.iter().map(|d| d.text("N")).collect();
        Error::shape(format!("[{}] is no shape for a batch N of {n}", text.join(", ")))
    })?;
    let shape = Shape::new(&sizes)?;
    shape.checked_numel()?;
    Ok(shape)
}

/// An array without values.
pub(crate) fn meta_array(dtype: DType, shape: Shape) -> Result<Array> {
    Array::uninit(&Meta::new(dtype, shape, Device::Meta), Layout::contiguous(shape))
}

/// The bytes of an array's elements, row-major. Needs no backend for CPU arrays.
///
/// # Errors
/// `Capture` for an array without values.
pub fn bytes_of(array: &Array) -> Result<Vec<u8>> {
    let cpu = array.to_cpu()?;
    let (bytes, size) = (cpu.storage().bytes(), cpu.dtype().size());
    let short = || Error::capture("an array is longer than its storage");
    if cpu.layout().is_contiguous() {
        let start = cpu.layout().offset() * size;
        let len = cpu.shape().numel() * size;
        return bytes.get(start..start + len).map(<[u8]>::to_vec).ok_or_else(short);
    }
    let mut out = Vec::with_capacity(cpu.shape().numel() * size);
    for i in cpu.layout().indices() {
        out.extend_from_slice(bytes.get(i * size..(i + 1) * size).ok_or_else(short)?);
    }
    Ok(out)
}

/// A listing: inputs, constants, one line for each node, results.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs: Vec<String> = self.inputs.iter().map(|&id| self.described(id)).collect();
        writeln!(f, "graph({}) {{", inputs.join(", "))?;
        for c in &self.consts {
            writeln!(f, "  const {}", self.described(c.id))?;
        }
        for node in &self.nodes {
            let outputs: Vec<String> = node.outputs.iter().map(|&id| self.described(id)).collect();
            let inputs: Vec<String> = node.inputs.iter().map(|&id| self.label(id)).collect();
            write!(f, "  {} = {}({})", outputs.join(", "), node.op.name(), inputs.join(", "))?;
            let debug = format!("{:?}", node.op);
            if let Some((_, attrs)) = debug.split_once('{') {
                write!(f, " {{{}", attrs.trim_end_matches(')'))?;
            }
            if !node.sizes.is_empty() {
                write!(f, " with sizes {}", self.dims_text(&node.sizes))?;
            }
            writeln!(f)?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|o| format!("{}: {}", o.name, self.label(o.id))).collect();
        write!(f, "  return {}\n}}", outputs.join(", "))
    }
}
