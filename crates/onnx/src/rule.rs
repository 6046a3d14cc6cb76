//! An op's ONNX rule with its sizes as functions of the batch: the rule is asked for several batches, and every number
//! that differs is solved.

use esker_graph::{Bound, Dim, Graph, Node};
use esker_ops::{Meta, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, Op};
use esker_tensor::{DType, Error, Result};

/// A graph for each of several batches.
pub(crate) struct Bounds {
    pub(crate) batches: Vec<i64>,
    pub(crate) bound: Vec<Bound>,
}

/// What a rule says.
pub(crate) enum Rule {
    /// These nodes.
    Nodes(Vec<Piece>),
    /// The op's composition.
    Compose,
}

/// One node.
pub(crate) struct Piece {
    pub(crate) op_type: &'static str,
    pub(crate) inputs: Vec<Input>,
    pub(crate) attrs: Vec<(&'static str, OnnxAttr)>,
    pub(crate) outputs: usize,
}

/// An input of a node.
#[derive(Clone, PartialEq)]
pub(crate) enum Input {
    /// Input `i` of the op.
    Op(usize),
    /// Output `.1` of piece `.0`.
    Piece(usize, usize),
    /// A 1-d i64 tensor.
    Ints(Vec<Dim>),
    /// A scalar.
    Scalar(f64, DType),
    /// An i64 scalar that depends on the batch.
    Size(Dim),
    /// None.
    Absent,
}

/// Asks the rule of node `i`.
pub(crate) fn rule(graph: &Graph, i: usize, bounds: &Bounds, opset: u32) -> Result<Rule> {
    let node = graph.nodes.get(i).ok_or_else(|| Error::capture("a node is missing"))?;
    let said = bounds.bound.iter().map(|b| ask(node, i, b, opset)).collect::<Result<Vec<_>>>()?;
    let name = node.op.name();
    let mut lists = Vec::new();
    for onnx in &said {
        match onnx {
            Onnx::None(reason) => {
                return Err(Error::capture(format!("{name} has no ONNX form at opset {opset}: {reason}")));
            }
            Onnx::Compose => {}
            Onnx::Nodes(nodes) => lists.push(nodes),
        }
    }
    match lists.first() {
        None => Ok(Rule::Compose),
        Some(first) if lists.len() == said.len() && lists.iter().all(|l| l.len() == first.len()) => {
            let merge = Merge { graph, node, batches: &bounds.batches };
            let pieces =
                (0..first.len()).map(|k| merge.piece(&lists.iter().filter_map(|l| l.get(k)).collect::<Vec<_>>()));
            Ok(Rule::Nodes(pieces.collect::<Result<_>>()?))
        }
        Some(_) => Err(depends(name, "form")),
    }
}

fn ask(node: &Node, i: usize, bound: &Bound, opset: u32) -> Result<Onnx> {
    let metas = |ids: &[esker_graph::ValueId]| -> Result<Vec<Meta>> {
        let meta = |id: &esker_graph::ValueId| bound.metas.get(id.index()).copied();
        ids.iter().map(|id| meta(id).ok_or_else(|| Error::capture("a value is missing"))).collect()
    };
    let op: &Op = bound.ops.get(i).ok_or_else(|| Error::capture("a node is missing"))?;
    Ok(op.onnx(&OnnxCx { opset, x: &metas(&node.inputs)?, y: &metas(&node.outputs)?, given: u64::MAX }))
}

fn depends(name: &str, what: &str) -> Error {
    Error::capture(format!("{name} has no ONNX form here: its {what} depends on the batch size"))
}

/// Equality by bits, as NaN is a constant too.
fn same(a: &OnnxRef, b: &OnnxRef) -> bool {
    match (a, b) {
        (OnnxRef::Scalar(x, d), OnnxRef::Scalar(y, e)) => x.to_bits() == y.to_bits() && d == e,
        _ => a == b,
    }
}

struct Merge<'a> {
    graph: &'a Graph,
    node: &'a Node,
    batches: &'a [i64],
}

impl Merge<'_> {
    fn piece(&self, nodes: &[&OnnxNode]) -> Result<Piece> {
        let name = self.node.op.name();
        let [first, rest @ ..] = nodes else { return Err(depends(name, "form")) };
        for other in rest {
            let same = first.op_type == other.op_type
                && first.inputs.len() == other.inputs.len()
                && first.outputs == other.outputs;
            if !same {
                return Err(depends(name, "form"));
            }
            if let Some((a, _)) = first.attrs.iter().zip(&other.attrs).find(|(a, b)| a != b) {
                return Err(depends(name, &format!("attribute `{}`", a.0)));
            }
        }
        let inputs = (0..first.inputs.len())
            .map(|k| self.input(&nodes.iter().filter_map(|n| n.inputs.get(k)).collect::<Vec<_>>()));
        Ok(Piece {
            op_type: first.op_type,
            inputs: inputs.collect::<Result<_>>()?,
            attrs: first.attrs.clone(),
            outputs: first.outputs,
        })
    }

    fn input(&self, refs: &[&OnnxRef]) -> Result<Input> {
        let [first, ..] = refs else { return Err(depends(self.node.op.name(), "form")) };
        match first {
            OnnxRef::Ints(list) => self.ints(list.len(), refs),
            OnnxRef::Scalar(value, dtype) if refs.iter().any(|r| !same(r, first)) => self.scalar(*value, *dtype, refs),
            _ if refs.iter().any(|r| !same(r, first)) => Err(depends(self.node.op.name(), "form")),
            OnnxRef::In(i) => Ok(Input::Op(*i)),
            OnnxRef::Node(a, b) => Ok(Input::Piece(*a, *b)),
            OnnxRef::Scalar(value, dtype) => Ok(Input::Scalar(*value, *dtype)),
            OnnxRef::Absent => Ok(Input::Absent),
            OnnxRef::Sizes => Ok(Input::Ints(self.sizes())),
            OnnxRef::ShapeOf(i) => {
                let id = self.node.outputs.get(*i).copied();
                let id = id.ok_or_else(|| Error::capture(format!("{} has no output {i}", self.node.op.name())))?;
                Ok(Input::Ints(self.graph.value(id)?.dims.clone()))
            }
        }
    }

    fn sizes(&self) -> Vec<Dim> {
        if !self.node.sizes.is_empty() {
            return self.node.sizes.clone();
        }
        let mut sizes = Vec::new();
        self.node.op.clone().sizes(&mut |s| sizes.push(Dim::fixed(*s)));
        sizes
    }

    fn ints(&self, len: usize, refs: &[&OnnxRef]) -> Result<Input> {
        let name = self.node.op.name();
        let lists: Vec<&Vec<i64>> =
            refs.iter().filter_map(|r| if let OnnxRef::Ints(l) = r { Some(l) } else { None }).collect();
        if lists.len() != refs.len() || lists.iter().any(|l| l.len() != len) {
            return Err(depends(name, "form"));
        }
        let dims = (0..len).map(|k| {
            let numbers: Vec<i64> = lists.iter().filter_map(|l| l.get(k).copied()).collect();
            Dim::through(self.batches, &numbers).ok_or_else(|| depends(name, "form"))
        });
        Ok(Input::Ints(dims.collect::<Result<_>>()?))
    }

    fn scalar(&self, value: f64, dtype: DType, refs: &[&OnnxRef]) -> Result<Input> {
        let name = self.node.op.name();
        let numbers: Vec<i64> = refs
            .iter()
            .filter_map(|r| match r {
                OnnxRef::Scalar(v, d) if *d == DType::I64 && v.fract() == 0.0 => Some(*v as i64),
                _ => None,
            })
            .collect();
        if dtype != DType::I64 || numbers.len() != refs.len() {
            return Err(depends(name, &format!("constant {value}")));
        }
        Dim::through(self.batches, &numbers).map(Input::Size).ok_or_else(|| depends(name, "form"))
    }
}
