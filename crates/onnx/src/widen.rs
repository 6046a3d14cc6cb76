//! Dtypes that an operator lacks: it computes in a wider one, between casts.

use esker_ops::OnnxAttr;
use esker_tensor::DType;

/// Operators that take bfloat16 from opset 13 (or their first) on; most others do from opset 22 on.
const TAKES_BF16: &[&str] = &[
    "Abs",
    "Add",
    "ArgMax",
    "ArgMin",
    "Cast",
    "Concat",
    "CumSum",
    "Div",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Floor",
    "Gather",
    "GatherElements",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "LayerNormalization",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "MatMul",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Relu",
    "Reshape",
    "ScatterElements",
    "ScatterND",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// The dtype in which an operator computes what it has no form for; `None` when it has one. From the type constraints of
/// the operators' published versions.
pub(crate) fn wide(op_type: &str, dtype: DType, opset: u32) -> Option<DType> {
    let to = match dtype {
        DType::Bool => DType::I32,
        DType::U8 | DType::I8 | DType::I16 => DType::I32,
        DType::F16 | DType::BF16 => DType::F32,
        _ => return None,
    };
    let lacks = match (op_type, dtype) {
        ("Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual", DType::Bool) => true,
        ("ArgMax" | "ArgMin", DType::Bool) => true,
        ("ReduceMax" | "ReduceMin", DType::Bool) => opset < 20,
        ("ReduceMax" | "ReduceMin", DType::I16) => true,
        // The checker takes small integers, ONNX Runtime has no kernel for them.
        ("TopK", DType::Bool | DType::U8 | DType::I8 | DType::I16) => true,
        ("Add" | "Sub" | "Mul", DType::U8 | DType::I8 | DType::I16) => opset < 14,
        ("MatMul", DType::U8 | DType::I8 | DType::I16) => true,
        ("Neg" | "Relu", DType::U8) => true,
        ("CumSum", DType::F16 | DType::BF16) => opset < 14,
        ("LessOrEqual" | "GreaterOrEqual" | "Where", DType::BF16) => opset < 16,
        (_, DType::BF16) => opset < 22 && !TAKES_BF16.contains(&op_type),
        _ => false,
    };
    lacks.then_some(to)
}

/// Which input's dtype is the one that an operator computes in.
pub(crate) fn data_input(op_type: &str) -> usize {
    usize::from(op_type == "Where")
}

/// The dtype of output `k` of an operator that computes in `dtype`.
pub(crate) fn result(op_type: &str, k: usize, dtype: DType, attrs: &[(&'static str, OnnxAttr)]) -> DType {
    match op_type {
        "Equal" | "Not" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" => DType::Bool,
        "ArgMax" | "ArgMin" | "Shape" => DType::I64,
        "MaxPool" | "TopK" if k == 1 => DType::I64,
        "Cast" => {
            let to = attrs.iter().find_map(|(_, v)| if let OnnxAttr::DType(d) = v { Some(*d) } else { None });
            to.unwrap_or(dtype)
        }
        _ => dtype,
    }
}
