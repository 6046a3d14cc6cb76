//! A graph as an ONNX file.

use std::collections::{HashMap, HashSet};

use esker_graph::{Dim, Graph, InputSpec, PROBES, Sym, ValueId, bytes_of, capture_at};
use esker_ops::{Array, OnnxAttr};
use esker_tensor::{DType, Device, Error, Result, Shape};
use prost::Message;

use crate::dtype::code;
use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type,
};
use crate::rule::{Bounds, Input, Piece, Rule, rule};
use crate::simplify::simplify;
use crate::widen::{data_input, result, wide};

/// The oldest opset that is written.
pub const MIN_OPSET: u32 = 13;
/// The newest opset that is written.
pub const MAX_OPSET: u32 = 23;

/// How deep compositions may nest.
const MAX_DEPTH: usize = 8;

/// What a file says besides the graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportOptions {
    /// The version of the operators, 13 to 23.
    pub opset: u32,
    /// Who made the file.
    pub producer: String,
    /// Any texts by name.
    pub metadata: Vec<(String, String)>,
    /// What the model is.
    pub doc: String,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { opset: 17, producer: "esker".to_string(), metadata: Vec::new(), doc: String::new() }
    }
}

/// Writes `graph` as an ONNX file.
///
/// # Errors
/// `Capture` naming an op that has no ONNX form, and why; `Format` for an opset that is not written, or a file that would
/// be larger than protobuf allows.
pub fn export(graph: &Graph, options: &ExportOptions) -> Result<Vec<u8>> {
    if !(MIN_OPSET..=MAX_OPSET).contains(&options.opset) {
        return Err(Error::format(format!("opset {} is not written; {MIN_OPSET} to {MAX_OPSET} are", options.opset)));
    }
    graph.validate()?;
    let model = ModelProto {
        ir_version: Some(ir_version(options.opset)),
        producer_name: Some(options.producer.clone()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_string()),
        doc_string: Some(options.doc.clone()),
        graph: Some(Writer::new(options.opset, graph)?.write(graph)?),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(i64::from(options.opset)) }],
        metadata_props: options
            .metadata
            .iter()
            .map(|(k, v)| StringStringEntryProto { key: Some(k.clone()), value: Some(v.clone()) })
            .collect(),
    };
    if model.encoded_len() > i32::MAX as usize {
        return Err(Error::format(format!(
            "the file would have {} bytes; protobuf allows {}",
            model.encoded_len(),
            i32::MAX
        )));
    }
    Ok(model.encode_to_vec())
}

/// The file format that came with an opset (the table in ONNX's `docs/Versioning.md`).
fn ir_version(opset: u32) -> i64 {
    match opset {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        _ => 11,
    }
}

/// A name in the file and what it stands for.
#[derive(Clone)]
struct Typed {
    name: String,
    dtype: DType,
}

/// A file under construction.
struct Writer {
    opset: u32,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Names that are taken, and the number to try next after each.
    taken: HashMap<String, usize>,
    /// An input and its dimension that is the batch.
    batch: Option<(String, usize)>,
    /// Names of what was computed or stored before.
    sizes: HashMap<Vec<Dim>, String>,
    scalars: HashMap<(DType, Vec<u8>), String>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Writer {
    fn new(opset: u32, graph: &Graph) -> Result<Self> {
        let mut writer = Self {
            opset,
            nodes: Vec::new(),
            initializers: Vec::new(),
            taken: HashMap::new(),
            batch: None,
            sizes: HashMap::new(),
            scalars: HashMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        for &id in &graph.inputs {
            let name = writer.unique(&graph.label(id));
            let axis = graph.value(id)?.dims.iter().position(|&d| d == Dim::BATCH);
            if let (None, Some(axis)) = (&writer.batch, axis) {
                writer.batch = Some((name.clone(), axis));
            }
            writer.inputs.push(name);
        }
        writer.outputs = graph.outputs.iter().map(|o| writer.unique(&o.name)).collect();
        Ok(writer)
    }

    fn write(mut self, graph: &Graph) -> Result<GraphProto> {
        let inputs = self.inputs.clone();
        let mut results = self.graph(graph, inputs, 0)?;
        simplify(&mut self.nodes, &mut self.initializers, &mut results);
        self.name_results(&results);
        let info = |name: &String, id: ValueId| -> Result<ValueInfoProto> {
            let value = graph.value(id)?;
            Ok(value_info(name, value.dtype, &value.dims, &graph.symbol))
        };
        Ok(GraphProto {
            name: Some("esker".to_string()),
            input: self.inputs.iter().zip(&graph.inputs).map(|(n, id)| info(n, *id)).collect::<Result<_>>()?,
            output: self.outputs.iter().zip(&graph.outputs).map(|(n, o)| info(n, o.id)).collect::<Result<_>>()?,
            node: self.nodes,
            initializer: self.initializers,
            sparse_initializer: Vec::new(),
        })
    }

    /// A result that a node makes takes the output's name; an input, a constant or a second name is copied.
    fn name_results(&mut self, results: &[String]) {
        let made: HashSet<&String> = self.nodes.iter().flat_map(|n| &n.output).collect();
        let mut names: HashMap<String, String> = HashMap::new();
        let mut copies = Vec::new();
        for (from, to) in results.iter().zip(&self.outputs) {
            if made.contains(from) && !names.contains_key(from) {
                names.insert(from.clone(), to.clone());
            } else {
                copies.push((from.clone(), to.clone()));
            }
        }
        for (from, to) in copies {
            self.nodes.push(node("Identity", &to, vec![from], vec![to.clone()]));
        }
        for name in self.nodes.iter_mut().flat_map(|n| n.input.iter_mut().chain(&mut n.output)) {
            if let Some(to) = names.get(name) {
                name.clone_from(to);
            }
        }
    }

    /// Writes the nodes of a graph whose inputs have these names; returns the names of its results.
    fn graph(&mut self, graph: &Graph, inputs: Vec<String>, depth: usize) -> Result<Vec<String>> {
        let mut names: Vec<Option<String>> = vec![None; graph.values.len()];
        let put = |names: &mut Vec<Option<String>>, id: ValueId, name: String| {
            names.get_mut(id.index()).map(|slot| slot.replace(name));
        };
        for (&id, name) in graph.inputs.iter().zip(inputs) {
            put(&mut names, id, name);
        }
        for c in &graph.consts {
            let name = self.constant(&c.array, &graph.label(c.id))?;
            put(&mut names, c.id, name);
        }
        let batches: Vec<i64> =
            if graph.nodes.iter().any(|n| depends_on_batch(graph, n)) { PROBES.to_vec() } else { vec![1] };
        let bound = batches.iter().map(|&n| graph.bind(n, Device::Meta)).collect::<Result<_>>()?;
        let bounds = Bounds { batches, bound };
        for (i, node) in graph.nodes.iter().enumerate() {
            let x =
                node.inputs.iter().map(|id| Ok(Typed { name: named(&names, *id)?, dtype: graph.value(*id)?.dtype }));
            let x = x.collect::<Result<Vec<_>>>()?;
            let y = match rule(graph, i, &bounds, self.opset)? {
                Rule::Nodes(pieces) => self.pieces(&pieces, node.op.name(), &x, node.outputs.len())?,
                Rule::Compose if depth < MAX_DEPTH => {
                    let composed = composition(graph, node)?;
                    self.graph(&composed, x.into_iter().map(|t| t.name).collect(), depth + 1)?
                }
                Rule::Compose => {
                    return Err(Error::capture(format!("{} composes into itself without end", node.op.name())));
                }
            };
            for (&id, name) in node.outputs.iter().zip(y) {
                put(&mut names, id, name);
            }
        }
        graph.outputs.iter().map(|o| named(&names, o.id)).collect()
    }

    /// Writes a rule's nodes; returns the names of the op's `results`.
    fn pieces(&mut self, pieces: &[Piece], op: &str, x: &[Typed], results: usize) -> Result<Vec<String>> {
        let mut made: Vec<Vec<Typed>> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let mut attributes: Vec<AttributeProto> = piece.attrs.iter().map(|(n, v)| attribute(n, v)).collect();
            let mut inputs = Vec::with_capacity(piece.inputs.len());
            for input in &piece.inputs {
                inputs.push(self.input(input, piece.op_type, x, &made, &mut attributes).map_err(|e| e.prefix(op))?);
            }
            made.push(self.piece(piece, op, inputs, attributes));
        }
        let last = made.get(made.len().saturating_sub(results)..).unwrap_or_default();
        let names: Vec<String> = last.iter().filter_map(|m| m.first()).map(|t| t.name.clone()).collect();
        if names.len() == results {
            Ok(names)
        } else {
            Err(Error::capture(format!("the ONNX rule of {op} lacks results")))
        }
    }

    fn input(
        &mut self,
        input: &Input,
        op_type: &str,
        x: &[Typed],
        made: &[Vec<Typed>],
        attributes: &mut Vec<AttributeProto>,
    ) -> Result<Typed> {
        let missing = || Error::capture("its ONNX rule reads what is not there");
        let i64s = |name: String| Typed { name, dtype: DType::I64 };
        Ok(match input {
            Input::Op(i) => x.get(*i).cloned().ok_or_else(missing)?,
            Input::Piece(i, k) => made.get(*i).and_then(|m| m.get(*k)).cloned().ok_or_else(missing)?,
            Input::Ints(dims) if op_type == "Reshape" => i64s(self.target(dims, attributes)?),
            Input::Ints(dims) => i64s(self.ints(dims)?),
            Input::Size(dim) => i64s(self.size_scalar(*dim)?),
            Input::Scalar(value, dtype) => {
                Typed { name: self.constant(&Array::scalar(*value, *dtype)?, "scalar")?, dtype: *dtype }
            }
            Input::Absent => i64s(String::new()),
        })
    }

    /// Writes one node, between casts where it lacks the dtype; returns its outputs.
    fn piece(&mut self, piece: &Piece, op: &str, mut x: Vec<Typed>, attributes: Vec<AttributeProto>) -> Vec<Typed> {
        let dtype = x.get(data_input(piece.op_type)).map_or(DType::F32, |t| t.dtype);
        let wide = wide(piece.op_type, dtype, self.opset);
        if let Some(to) = wide {
            for t in x.iter_mut().filter(|t| t.dtype == dtype && !t.name.is_empty()) {
                t.name = self.cast(&t.name, to);
            }
        }
        let inside = wide.unwrap_or(dtype);
        let mut outputs: Vec<Typed> = (0..piece.outputs.max(1))
            .map(|k| Typed { name: self.unique(op), dtype: result(piece.op_type, k, inside, &piece.attrs) })
            .collect();
        let names: Vec<String> = outputs.iter().map(|t| t.name.clone()).collect();
        let inputs = x.into_iter().map(|t| t.name).collect();
        let mut proto = node(piece.op_type, names.first().map_or(op, String::as_str), inputs, names.clone());
        proto.attribute = attributes;
        self.nodes.push(proto);
        for t in outputs.iter_mut().filter(|t| wide == Some(t.dtype)) {
            *t = Typed { name: self.cast(&t.name, dtype), dtype };
        }
        outputs
    }

    fn cast(&mut self, name: &str, to: DType) -> String {
        self.emit("Cast", "cast", vec![name.to_string()], &[("to", OnnxAttr::DType(to))])
    }

    /// The target of a `Reshape`: one size that depends on the batch is -1.
    fn target(&mut self, dims: &[Dim], attributes: &mut Vec<AttributeProto>) -> Result<String> {
        let zeros = dims.contains(&Dim::fixed(0));
        if zeros {
            if self.opset < 14 {
                return Err(Error::capture("reshape to a size of 0 has no ONNX form before opset 14"));
            }
            attributes.push(attribute("allowzero", &OnnxAttr::Int(1)));
        }
        let symbolic = dims.iter().filter(|d| !d.is_fixed()).count();
        if symbolic == 1 && !zeros && !dims.contains(&Dim::fixed(-1)) {
            let sizes: Vec<Dim> = dims.iter().map(|d| if d.is_fixed() { *d } else { Dim::fixed(-1) }).collect();
            return self.ints(&sizes);
        }
        self.ints(dims)
    }

    /// A 1-d i64 tensor; sizes that depend on the batch are computed in the file.
    fn ints(&mut self, dims: &[Dim]) -> Result<String> {
        if let Some(name) = self.sizes.get(dims) {
            return Ok(name.clone());
        }
        let name = if dims.iter().all(|d| d.is_fixed()) {
            let numbers: Vec<i64> = dims.iter().map(|d| d.fixed).collect();
            self.initializer(&Array::from_slice(&numbers, Shape::from([numbers.len()]))?, "ints")?
        } else if let [dim] = dims {
            self.size(*dim)?
        } else {
            let parts = dims.chunk_by(|a, b| a.is_fixed() && b.is_fixed());
            let parts = parts.map(|p| self.ints(p)).collect::<Result<_>>()?;
            self.emit("Concat", "sizes", parts, &[("axis", OnnxAttr::Int(0))])
        };
        self.sizes.insert(dims.to_vec(), name.clone());
        Ok(name)
    }

    /// A size that depends on the batch, as an i64 tensor of one element.
    fn size(&mut self, dim: Dim) -> Result<String> {
        if dim == Dim::BATCH {
            let (input, axis) = self.batch.clone().ok_or_else(|| {
                Error::capture("a size depends on the batch, which is no dimension of any input on its own")
            })?;
            let shape = self.emit("Shape", "shape", vec![input], &[]);
            let axis = self.ints(&[Dim::fixed(axis as i64)])?;
            return Ok(self.emit("Gather", "batch", vec![shape, axis], &[("axis", OnnxAttr::Int(0))]));
        }
        let mut name = self.ints(&[Dim::BATCH])?;
        if dim.per != 1 {
            let factor = self.ints(&[Dim::fixed(dim.per)])?;
            name = self.emit("Mul", "size", vec![name, factor], &[]);
        }
        if dim.fixed != 0 {
            let term = self.ints(&[Dim::fixed(dim.fixed)])?;
            name = self.emit("Add", "size", vec![name, term], &[]);
        }
        Ok(name)
    }

    fn size_scalar(&mut self, dim: Dim) -> Result<String> {
        let size = self.ints(&[dim])?;
        let axis = self.ints(&[Dim::fixed(0)])?;
        Ok(self.emit("Squeeze", "size", vec![size, axis], &[]))
    }

    fn emit(&mut self, op_type: &str, stem: &str, inputs: Vec<String>, attrs: &[(&str, OnnxAttr)]) -> String {
        let name = self.unique(stem);
        let mut proto = node(op_type, &name, inputs, vec![name.clone()]);
        proto.attribute = attrs.iter().map(|(n, v)| attribute(n, v)).collect();
        self.nodes.push(proto);
        name
    }

    /// A stored tensor; equal scalars are stored once.
    fn constant(&mut self, array: &Array, stem: &str) -> Result<String> {
        if !array.shape().is_empty() {
            return self.initializer(array, stem);
        }
        let key = (array.dtype(), bytes_of(array)?);
        if let Some(name) = self.scalars.get(&key) {
            return Ok(name.clone());
        }
        let name = self.initializer(array, stem)?;
        self.scalars.insert(key, name.clone());
        Ok(name)
    }

    fn initializer(&mut self, array: &Array, stem: &str) -> Result<String> {
        let name = self.unique(stem);
        self.initializers.push(TensorProto {
            dims: array.shape().iter().map(|&n| n as i64).collect(),
            data_type: Some(code(array.dtype())),
            name: Some(name.clone()),
            raw_data: Some(little_endian(bytes_of(array)?, array.dtype().size())),
            ..TensorProto::default()
        });
        Ok(name)
    }

    /// A name that nothing else has, like `stem`, of characters that every reader takes.
    fn unique(&mut self, stem: &str) -> String {
        let keep = |c: char| if c.is_ascii_alphanumeric() || "._/:-".contains(c) { c } else { '_' };
        let stem: String = stem.chars().map(keep).collect();
        let stem = if stem.is_empty() { "value".to_string() } else { stem };
        let mut next = self.taken.get(&stem).copied().unwrap_or(0);
        let name = loop {
            let name = if next == 0 { stem.clone() } else { format!("{stem}_{next}") };
            next += 1;
            if !self.taken.contains_key(&name) {
                break name;
            }
        };
        self.taken.entry(name.clone()).or_insert(1);
        self.taken.insert(stem, next);
        name
    }
}

fn depends_on_batch(graph: &Graph, node: &esker_graph::Node) -> bool {
    let symbolic = |id: &ValueId| graph.values.get(id.index()).is_some_and(|v| v.dims.iter().any(|d| !d.is_fixed()));
    !node.sizes.is_empty() || node.inputs.iter().chain(&node.outputs).any(symbolic)
}

/// What a node composes into, as a graph of its own.
fn composition(graph: &Graph, node: &esker_graph::Node) -> Result<Graph> {
    let name = node.op.name();
    let specs = node.inputs.iter().enumerate().map(|(i, id)| {
        let value = graph.value(*id)?;
        Ok(InputSpec { name: format!("x{i}"), dtype: value.dtype, dims: value.dims.clone() })
    });
    let specs = specs.collect::<Result<Vec<_>>>()?;
    let batched = depends_on_batch(graph, node);
    let composed = capture_at(&specs, batched, |n, x| {
        let op = node.op_at(n, Device::Meta)?;
        let x: Vec<Sym> = x.iter().cloned().map(Sym::new).collect();
        let y = op.compose(&x.iter().collect::<Vec<_>>());
        let y = y.unwrap_or_else(|| Err(Error::capture(format!("{name} has no ONNX form: it has no composition"))))?;
        Ok(y.into_iter().map(Sym::into_array).collect())
    });
    // As many steps as there are elements, for one: a graph whose sizes follow the batch cannot say that.
    composed.map_err(|e| if batched { e.prefix(&format!("{name} has no ONNX form for any batch")) } else { e })
}

fn named(names: &[Option<String>], id: ValueId) -> Result<String> {
    let name = names.get(id.index()).cloned().flatten();
    name.ok_or_else(|| Error::capture(format!("value %{} is read before it is defined", id.0)))
}

fn node(op_type: &str, name: &str, input: Vec<String>, output: Vec<String>) -> NodeProto {
    NodeProto {
        input,
        output,
        name: Some(name.to_string()),
        op_type: Some(op_type.to_string()),
        attribute: Vec::new(),
        domain: None,
    }
}

fn attribute(name: &str, value: &OnnxAttr) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.to_string()), ..AttributeProto::default() };
    let kind = match value {
        OnnxAttr::Int(i) => {
            proto.i = Some(*i);
            attribute_type::INT
        }
        OnnxAttr::Float(f) => {
            proto.f = Some(*f);
            attribute_type::FLOAT
        }
        OnnxAttr::Ints(ints) => {
            proto.ints.clone_from(ints);
            attribute_type::INTS
        }
        OnnxAttr::Str(s) => {
            proto.s = Some(s.as_bytes().to_vec());
            attribute_type::STRING
        }
        OnnxAttr::Strs(texts) => {
            proto.strings = texts.iter().map(|s| s.as_bytes().to_vec()).collect();
            attribute_type::STRINGS
        }
        OnnxAttr::DType(dtype) => {
            proto.i = Some(i64::from(code(*dtype)));
            attribute_type::INT
        }
    };
    proto.r#type = Some(kind);
    proto
}

fn value_info(name: &str, dtype: DType, dims: &[Dim], symbol: &str) -> ValueInfoProto {
    let dim = |d: &Dim| match d.is_fixed() {
        true => DimensionProto { dim_value: Some(d.fixed), dim_param: None },
        false => DimensionProto { dim_value: None, dim_param: Some(d.text(symbol)) },
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: Some(code(dtype)), shape: Some(shape) };
    ValueInfoProto { name: Some(name.to_string()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

/// Raw data is little-endian everywhere.
fn little_endian(mut bytes: Vec<u8>, size: usize) -> Vec<u8> {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(size.max(1)).for_each(<[u8]>::reverse);
    }
    bytes
}
