//! How an op says what it is in ONNX: data that the exporter turns into protobuf.

use esker_tensor::DType;

use crate::Meta;

/// What an op's ONNX rule may look at.
pub struct OnnxCx<'a> {
    /// The target opset, 13 to 23.
    pub opset: u32,
    /// Metas of the inputs.
    pub x: &'a [Meta],
    /// Metas of the outputs.
    pub y: &'a [Meta],
    /// Bit `i` says whether tensor `i` of a function's row is given.
    pub given: u64,
}

impl OnnxCx<'_> {
    /// Tensor `i` of a function's row, where it is given.
    pub fn given(&self, i: usize) -> Option<OnnxRef> {
        let place = (self.given & ((1 << i) - 1)).count_ones() as usize;
        (self.given >> i & 1 == 1 && place < self.x.len()).then_some(OnnxRef::In(place))
    }
}

/// An op in ONNX. Rules need not mind which dtypes an operator takes: the exporter casts where it must.
#[derive(Clone, PartialEq, Debug)]
pub enum Onnx {
    /// These nodes in order. An op of one output has the last node's first; an op of `n` outputs has the first output of
    /// each of the last `n` nodes.
    Nodes(Vec<OnnxNode>),
    /// Export [`crate::OpRule::compose`] instead.
    Compose,
    /// It has no ONNX form, and why.
    None(&'static str),
}

/// One node.
#[derive(Clone, PartialEq, Debug)]
pub struct OnnxNode {
    /// The operator, in the default domain.
    pub op_type: &'static str,
    /// Its inputs.
    pub inputs: Vec<OnnxRef>,
    /// Its attributes.
    pub attrs: Vec<(&'static str, OnnxAttr)>,
    /// The number of its outputs.
    pub outputs: usize,
}

/// An input of a node.
#[derive(Clone, PartialEq, Debug)]
pub enum OnnxRef {
    /// Input `i` of the op.
    In(usize),
    /// Output `.1` of node `.0` of this rule.
    Node(usize, usize),
    /// A 1-d i64 constant.
    Ints(Vec<i64>),
    /// Sizes that may depend on the batch: the op's size attributes in the order of `OpRule::sizes`.
    Sizes,
    /// The shape of the op's output `i`; sizes that depend on the batch are computed in the file.
    ShapeOf(usize),
    /// A scalar of the given dtype.
    Scalar(f64, DType),
    /// An optional input left out.
    Absent,
}

/// An attribute.
#[derive(Clone, PartialEq, Debug)]
pub enum OnnxAttr {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
    /// A text.
    Str(&'static str),
    /// Texts.
    Strs(Vec<&'static str>),
    /// A dtype, as ONNX's `TensorProto.DataType` number.
    DType(DType),
}

impl Onnx {
    /// One node that takes all inputs of the op in order, with one output.
    pub fn node(op_type: &'static str, cx: &OnnxCx<'_>) -> Onnx {
        Onnx::Nodes(vec![OnnxNode::new(op_type, (0..cx.x.len()).map(OnnxRef::In).collect())])
    }
}

impl OnnxNode {
    /// A node without attributes and with one output.
    pub fn new(op_type: &'static str, inputs: Vec<OnnxRef>) -> Self {
        Self { op_type, inputs, attrs: Vec::new(), outputs: 1 }
    }

    /// The node with one more attribute.
    pub fn attr(mut self, name: &'static str, value: OnnxAttr) -> Self {
        self.attrs.push((name, value));
        self
    }

    /// The node with `n` outputs.
    pub fn outputs(mut self, n: usize) -> Self {
        self.outputs = n;
        self
    }
}

impl From<OnnxNode> for Onnx {
    fn from(node: OnnxNode) -> Self {
        Onnx::Nodes(vec![node])
    }
}
