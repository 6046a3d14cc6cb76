//! An ONNX file as a graph: the file is checked, then its nodes run on arrays without values under a capture.

mod array;
mod call;
mod combine;
mod elementwise;
mod ints;
mod recurrent;
mod reduce;
mod shape;
mod window;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use esker_graph::{Const, Dim, Graph, InputSpec, Output, Sym, capture};
use esker_ops::Array;
use esker_tensor::{Error, ErrorKind, Result};
use prost::Message;

use crate::dtype::from_code;
use crate::export::MAX_OPSET;
use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use call::{Call, Handler, Item, Memory};

/// The oldest opset that is read.
const OLDEST: i64 = 7;
/// Larger sizes than this are taken for a broken file, so that no arithmetic on them can overflow.
const MAX_SIZE: i64 = 1 << 40;

/// How a file is read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImportOptions {
    /// Dimensions of inputs that the file leaves open, by their names, and the size that each is to have. One may stay
    /// open: the batch.
    pub sizes: Vec<(String, usize)>,
}

/// Reads an ONNX file.
///
/// # Errors
/// As [`import_with`].
pub fn import(bytes: &[u8]) -> Result<Graph> {
    import_with(bytes, &ImportOptions::default())
}

/// Reads an ONNX file.
///
/// # Errors
/// `Format` with what is wrong with the file, or all the operators in it that Esker does not know.
pub fn import_with(bytes: &[u8], options: &ImportOptions) -> Result<Graph> {
    read(bytes, options).map_err(|e| match e.kind() {
        ErrorKind::Format(_) | ErrorKind::OutOfMemory(_) => e,
        _ => Error::format(e.to_string()),
    })
}

fn read(bytes: &[u8], options: &ImportOptions) -> Result<Graph> {
    let model = ModelProto::decode(bytes).map_err(|e| Error::format(format!("this is no ONNX file: {e}")))?;
    if model.ir_version.is_none_or(|v| v < 3) {
        return Err(Error::format("this is no ONNX file: it states no format version of 3 or more"));
    }
    let proto = model.graph.as_ref().ok_or_else(|| Error::format("the file has no graph"))?;
    if !proto.sparse_initializer.is_empty() {
        return Err(Error::format("the file holds sparse initializers, which are not read"));
    }
    let opset = opset(&model)?;
    let handlers = handlers(proto)?;
    let file = File { opset, handlers, consts: consts(proto)?, nodes: &proto.node };
    let inputs = Inputs::of(proto, &file.consts, options)?;
    check_names(proto, &inputs.specs, &file.consts)?;
    file.graph(proto, inputs)
}

/// The version of the default domain's operators.
fn opset(model: &ModelProto) -> Result<u32> {
    let default = |domain: Option<&str>| matches!(domain, None | Some("" | "ai.onnx"));
    let version = model.opset_import.iter().find(|o| default(o.domain.as_deref())).and_then(|o| o.version);
    let version = version.ok_or_else(|| Error::format("the file does not state its opset"))?;
    match u32::try_from(version) {
        Ok(v) if (OLDEST..=i64::from(MAX_OPSET)).contains(&version) => Ok(v),
        _ => Err(Error::format(format!("the file is of opset {version}; {OLDEST} to {MAX_OPSET} are read"))),
    }
}

/// What to do for each node; all that is unknown is named at once.
fn handlers(proto: &GraphProto) -> Result<Vec<Handler>> {
    let mut unknown: Vec<String> = Vec::new();
    let mut found = Vec::with_capacity(proto.node.len());
    for node in &proto.node {
        let op = node.op_type.as_deref().unwrap_or("");
        let default = matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"));
        match handler(op).filter(|_| default) {
            Some(handler) => found.push(handler),
            None => {
                let domain = node.domain.as_deref().filter(|_| !default).map_or(String::new(), |d| format!("{d}."));
                unknown.push(format!("{domain}{op}"));
            }
        }
    }
    if unknown.is_empty() {
        return Ok(found);
    }
    unknown.sort_unstable();
    unknown.dedup();
    Err(Error::format(format!("the file uses operators that Esker does not read: {}", unknown.join(", "))))
}

fn handler(op: &str) -> Option<Handler> {
    [elementwise::HANDLERS, reduce::HANDLERS, shape::HANDLERS, window::HANDLERS, combine::HANDLERS, recurrent::HANDLERS]
        .iter()
        .flat_map(|list| list.iter())
        .find(|(name, _)| *name == op)
        .map(|(_, handler)| *handler)
        .or_else(|| elementwise::of_table(op))
}

/// Initializers and `Constant` nodes.
fn consts(proto: &GraphProto) -> Result<Vec<(String, Array)>> {
    let mut consts = Vec::new();
    for tensor in &proto.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        let array = array::read(tensor).map_err(|e| e.prefix(&format!("initializer `{name}`")))?;
        consts.push((name, array));
    }
    for node in proto.node.iter().filter(|n| n.op_type.as_deref() == Some("Constant")) {
        let name = node.output.first().cloned().unwrap_or_default();
        let array = array::constant(node).map_err(|e| e.prefix(&format!("constant `{name}`")))?;
        consts.push((name, array));
    }
    Ok(consts)
}

/// Every name is defined once, and before its use.
fn check_names(proto: &GraphProto, inputs: &[InputSpec], consts: &[(String, Array)]) -> Result<()> {
    let made = |node: &'_ NodeProto| node.op_type.as_deref() != Some("Constant");
    let mut defined: HashSet<&str> = HashSet::new();
    let given = inputs.iter().map(|i| i.name.as_str()).chain(consts.iter().map(|(name, _)| name.as_str()));
    for name in given {
        if name.is_empty() {
            return Err(Error::format("an input or a constant has no name"));
        }
        if !defined.insert(name) {
            return Err(Error::format(format!("`{name}` is defined twice")));
        }
    }
    let later: HashSet<&str> = proto.node.iter().flat_map(|n| n.output.iter().map(String::as_str)).collect();
    for node in proto.node.iter().filter(|n| made(n)) {
        if let Some(name) = node.input.iter().find(|n| !n.is_empty() && !defined.contains(n.as_str())) {
            let why = if later.contains(name.as_str()) {
                "before it is computed: the nodes form a cycle or are out of order"
            } else {
                "which nothing defines"
            };
            return Err(Error::format(format!("{} reads `{name}`, {why}", label(node))));
        }
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            if !defined.insert(name) {
                return Err(Error::format(format!("`{name}` is defined twice")));
            }
        }
    }
    let missing = |o: &&ValueInfoProto| !o.name.as_deref().is_some_and(|n| defined.contains(n));
    match proto.output.iter().find(missing) {
        Some(o) => Err(Error::format(format!("nothing defines the output `{}`", o.name.as_deref().unwrap_or("")))),
        None => Ok(()),
    }
}

/// A node for messages.
fn label(node: &NodeProto) -> String {
    let name = node.name.as_deref().filter(|n| !n.is_empty()).or(node.output.first().map(String::as_str));
    format!("node `{}` ({})", name.unwrap_or(""), node.op_type.as_deref().unwrap_or(""))
}

/// The inputs of a graph and what its batch is called.
struct Inputs {
    specs: Vec<InputSpec>,
    symbol: Option<String>,
}

impl Inputs {
    /// Inputs that are also initializers have a default, which is taken.
    fn of(proto: &GraphProto, consts: &[(String, Array)], options: &ImportOptions) -> Result<Self> {
        let known: HashSet<&str> = consts.iter().map(|(name, _)| name.as_str()).collect();
        let mut inputs = Self { specs: Vec::new(), symbol: None };
        for info in proto.input.iter().filter(|i| !known.contains(i.name.as_deref().unwrap_or(""))) {
            let name = info.name.clone().unwrap_or_default();
            let spec = inputs.spec(&name, info, options).map_err(|e| e.prefix(&format!("input `{name}`")))?;
            inputs.specs.push(spec);
        }
        Ok(inputs)
    }

    fn spec(&mut self, name: &str, info: &ValueInfoProto, options: &ImportOptions) -> Result<InputSpec> {
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| Error::format("it is no tensor"))?;
        let code = tensor.elem_type.unwrap_or(0);
        let dtype = from_code(code).ok_or_else(|| Error::format(format!("Esker has no element type number {code}")))?;
        let shape = tensor.shape.as_ref().ok_or_else(|| Error::format("its rank is not stated"))?;
        if shape.dim.len() > esker_tensor::MAX_RANK {
            return Err(Error::format(format!(
                "its rank is {}, above the highest, {}",
                shape.dim.len(),
                esker_tensor::MAX_RANK
            )));
        }
        let mut dims = Vec::with_capacity(shape.dim.len());
        for (axis, dim) in shape.dim.iter().enumerate() {
            dims.push(match (dim.dim_value, dim.dim_param.as_deref()) {
                (Some(n), _) if (0..=MAX_SIZE).contains(&n) => Dim::fixed(n),
                (Some(n), _) => return Err(Error::format(format!("its dimension {axis} has the size {n}"))),
                (None, param) => self.open(param.filter(|p| !p.is_empty()), axis, options)?,
            });
        }
        Ok(InputSpec { name: name.to_string(), dtype, dims })
    }

    /// A dimension without a size: given by the caller, or the batch.
    fn open(&mut self, param: Option<&str>, axis: usize, options: &ImportOptions) -> Result<Dim> {
        let given = options.sizes.iter().find(|(name, _)| Some(name.as_str()) == param);
        if let Some((_, size)) = given {
            return Ok(Dim::from((*size).min(MAX_SIZE as usize)));
        }
        if param.is_none() && axis > 0 {
            return Err(Error::format(format!("its dimension {axis} has neither size nor name; only the first may")));
        }
        let name = param.unwrap_or("N");
        let symbol = self.symbol.get_or_insert_with(|| name.to_string());
        if param.is_some_and(|p| p != symbol) {
            return Err(Error::format(format!(
                "its dimension {axis}, `{name}`, is open besides `{symbol}`; one open dimension is read, so state the \
                 size of the other in ImportOptions::sizes"
            )));
        }
        Ok(Dim::BATCH)
    }
}

/// A file that has been checked.
struct File<'a> {
    opset: u32,
    handlers: Vec<Handler>,
    consts: Vec<(String, Array)>,
    nodes: &'a [NodeProto],
}

impl File<'_> {
    /// Constants take part in the capture as inputs without values, so that nothing is computed while a file is read.
    fn graph(&self, proto: &GraphProto, inputs: Inputs) -> Result<Graph> {
        let given = inputs.specs.len();
        let mut specs = inputs.specs;
        specs.extend(self.consts.iter().map(|(name, array)| {
            let dims = array.shape().iter().map(|&n| Dim::from(n)).collect();
            InputSpec { name: name.clone(), dtype: array.dtype(), dims }
        }));
        let outputs: Vec<&str> = proto.output.iter().map(|o| o.name.as_deref().unwrap_or("")).collect();
        let mut graph = capture(&specs, |x| self.run(&specs, x, given, &outputs))?;
        let ids: Vec<_> = graph.inputs.drain(given.min(graph.inputs.len())..).collect();
        let stored = ids.into_iter().zip(&self.consts).map(|(id, (_, array))| Const { id, array: array.clone() });
        graph.consts.extend(stored);
        for (output, name) in graph.outputs.iter_mut().zip(outputs) {
            *output = Output { name: name.to_string(), id: output.id };
        }
        if let Some(symbol) = inputs.symbol {
            graph.symbol = symbol;
        }
        Ok(graph.without_dead_code())
    }

    fn run(&self, specs: &[InputSpec], x: &[Array], given: usize, outputs: &[&str]) -> Result<Vec<Array>> {
        let mut items: HashMap<&str, Item> = HashMap::new();
        for (i, (spec, array)) in specs.iter().zip(x).enumerate() {
            let known = i.checked_sub(given).and_then(|c| self.consts.get(c)).map(|(_, array)| Rc::new(array.clone()));
            items.insert(&spec.name, Item::Tensor { sym: Sym::new(array.clone()), known });
        }
        let mut memory = Memory::default();
        for (node, handler) in self.nodes.iter().zip(&self.handlers) {
            if node.op_type.as_deref() == Some("Constant") {
                continue;
            }
            let inputs = node.input.iter().map(|name| items.get(name.as_str()).cloned()).collect();
            let mut call = Call { node, opset: self.opset, x: inputs, memory: &mut memory };
            let made = call.check_dtypes().and_then(|()| handler(&mut call)).and_then(|made| check_results(node, made));
            let made = made.map_err(|e| e.prefix(&label(node)))?;
            for (name, item) in node.output.iter().zip(made).filter(|(name, _)| !name.is_empty()) {
                items.insert(name, item);
            }
        }
        outputs
            .iter()
            .map(|name| match items.get(name) {
                Some(item) => Ok(item.tensor()?.into_array()),
                None => Err(Error::format(format!("nothing defines the output `{name}`"))),
            })
            .collect()
    }
}

/// As many results as the node names, of sizes that arithmetic can bear.
fn check_results(node: &NodeProto, made: Vec<Item>) -> Result<Vec<Item>> {
    let wanted = node.output.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    if made.len() < wanted {
        return Err(Error::format(format!("{wanted} results are asked for, Esker gives {}", made.len())));
    }
    for item in &made {
        if let Item::Tensor { sym, .. } = item {
            array::check_sizes(sym.array().shape().iter().map(|&n| n as i64))?;
        }
    }
    Ok(made)
}
