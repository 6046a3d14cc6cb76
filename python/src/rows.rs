//! What Python's names need beyond the table: each list says why. The stubs are made from it too (`cargo xtask gen`).

use crate::ops::Op;
use crate::ops::signature::{Attr, AttrKind, Param, ParamKind, Signature};

/// Rows with a keyword `dtype` in PyTorch that the input is cast to first, so that sums do not overflow.
pub(crate) const TAKES_DTYPE: &[&str] =
    &["sum", "mean", "prod", "cumsum", "cumprod", "softmax", "log_softmax", "norm", "nansum", "nanmean"];

/// Rows with PyTorch's factor `alpha` for their second input.
pub(crate) const TAKES_ALPHA: &[&str] = &["add", "sub"];

/// Rows whose two results PyTorch names `values` and `indices`.
pub(crate) const VALUES_AND_INDICES: &[&str] =
    &["max", "min", "sort", "topk", "median", "nanmedian", "kthvalue", "mode", "cummax", "cummin"];

/// Keywords of the array API and of PyTorch's methods for arguments that the table calls otherwise.
pub(crate) const KEYWORDS: &[(&str, &str)] = &[
    ("axis", "dim"),
    ("axis", "dims"),
    ("keepdims", "keepdim"),
    ("self", "input"),
    ("x", "input"),
    ("size", "sizes"),
    ("shape", "sizes"),
    ("shape", "size"),
    ("p", "ord"),
];

/// Keywords of PyTorch's that have no meaning here, for scripts that pass them as None.
pub(crate) const IGNORED_WHEN_NONE: &[&str] =
    &["out", "layout", "memory_format", "generator", "pin_memory", "dtype", "device", "size_average", "reduce"];

/// Function rows that have a form with an underscore in PyTorch; elementwise rows all have.
const IN_PLACE: &[&str] = &[
    "reciprocal",
    "rsqrt",
    "pow",
    "fmod",
    "lerp",
    "addcmul",
    "addcdiv",
    "clamp",
    "nan_to_num",
    "exp2",
    "log2",
    "log10",
    "logaddexp",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
    "ceil",
    "trunc",
    "round",
    "bitwise_not",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "logical_not",
    "logical_and",
    "logical_or",
    "logical_xor",
    "masked_fill",
    "relu6",
    "elu",
    "selu",
    "celu",
    "leaky_relu",
    "hardtanh",
    "threshold",
    "cumsum",
    "cumprod",
    "tril",
    "triu",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "masked_scatter",
    "addmm",
    "addmv",
    "addbmm",
    "baddbmm",
    "addr",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "bernoulli",
    "fill",
    "erfc",
    "erfinv",
    "lgamma",
    "digamma",
    "logit",
    "xlogy",
    "hypot",
    "copysign",
    "frac",
    "dropout",
    "hardswish",
    "hardsigmoid",
    "mish",
];

/// Tensors whose dtypes say nothing of the plain numbers beside them.
pub(crate) const NO_DTYPE_FOR_NUMBERS: &[&str] = &["condition", "mask", "index", "indices"];

/// Rows whose tensors may be written out: `einsum(text, a, b)`.
pub(crate) const TENSORS_WRITTEN_OUT: &[&str] = &["einsum", "meshgrid", "block_diag", "cartesian_prod"];

/// Whether the row has a method with an underscore.
pub(crate) fn has_in_place(sig: &Signature) -> bool {
    // Attributes make no elementwise row; its op says what it is.
    let elementwise = || matches!(sig.op(Vec::new(), u64::MAX), Ok(Op::Map(_)));
    IN_PLACE.contains(&sig.name) || elementwise()
}

/// `(input, dim=None, keepdim=False)`, or with `$self` in front for a method.
pub(crate) fn text_signature(sig: &Signature, method: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut optional = false;
    for &i in &sig.order {
        let p = &sig.params[i];
        if p.kind == ParamKind::Attr(AttrKind::Key) {
            continue;
        }
        if method && i == 0 {
            parts.push("$self".to_owned());
            continue;
        }
        if optional && default(p).is_none() && !parts.iter().any(|p| p == "*") {
            parts.push("*".to_owned());
        }
        match default(p) {
            Some(d) => {
                optional = true;
                parts.push(format!("{}={d}", p.name));
            }
            None => parts.push(p.name.to_owned()),
        }
    }
    format!("({})", parts.join(", "))
}

fn default(p: &Param) -> Option<String> {
    Some(match p.default.as_ref()? {
        Attr::None | Attr::DType(_) | Attr::Device(_) | Attr::Key(_) => "None".to_owned(),
        Attr::Bool(b) => if *b { "True" } else { "False" }.to_owned(),
        Attr::Int(i) => i.to_string(),
        Attr::Float(x) if x.is_finite() => format!("{x:?}"),
        Attr::Float(_) => "None".to_owned(),
        Attr::Ints(list) => {
            let items: Vec<String> = list.iter().map(i64::to_string).collect();
            format!("({})", if let [one] = &items[..] { format!("{one},") } else { items.join(", ") })
        }
        Attr::Floats(list) => format!("{list:?}").replace('[', "(").replace(']', ")"),
        Attr::Str(s) => format!("{s:?}"),
    })
}

/// Whether the argument at `order[at]` may be written out as several: `x.reshape(2, 3)`. A list of integers may when it is
/// the last of the numbers.
pub(crate) fn spreads(sig: &Signature, order: &[usize], at: usize) -> bool {
    use AttrKind::{Axes, Float, Int, Ints, OptionalFloat, OptionalInt, OptionalInts, Padding, Sizes};
    let kind = |i: usize| order.get(i).map(|&p| sig.params[p].kind);
    let next_is_number = matches!(
        kind(at + 1),
        Some(ParamKind::Attr(Axes | Float | Int | Ints | OptionalFloat | OptionalInt | OptionalInts | Padding | Sizes))
    );
    matches!(kind(at), Some(ParamKind::Attr(Ints | Sizes | Axes))) && !next_is_number
}
