//! The text of an elementwise kernel.

use std::fmt::Write;

use esker_kernels::{COMMON, MAP};
use esker_ops::scalar::{Prim, Program};
use esker_ops::{Bits, Cmp, Map};
use esker_tensor::DType;

use super::{Form, Kind};
use crate::driver::Text;
use crate::gpu::name_of;

/// The kernel of a kind.
pub(super) fn of(kind: &Kind) -> Text {
    let mut source = String::with_capacity(12_000);
    source.push_str(COMMON.text);
    source.push_str(MAP.text);
    let inputs = kind.dtypes.len() - 1;
    for (i, &dtype) in kind.dtypes.iter().take(inputs).enumerate() {
        line(&mut source, format_args!("typedef {} T{i};", name_of(dtype)));
    }
    line(&mut source, format_args!("typedef {} Y;", name_of(kind.dtypes[inputs])));
    let parameters: Vec<String> = (0..inputs).map(|i| format!("T{i} v{i}")).collect();
    line(&mut source, format_args!("__device__ inline Y body({}, Fault *fault) {{", parameters.join(", ")));
    body(&mut source, kind);
    source.push_str("}\n");
    match kind.form {
        Form::Dense { ones, pack } => dense(&mut source, inputs, ones, pack),
        Form::Rows { ones, pack } => rows(&mut source, inputs, ones, pack),
        Form::Strided { short } => strided(&mut source, inputs, short),
    }
    Text { name: format!("elementwise {:?} {:?}", kind.map, kind.dtypes), source, entry: "map", fuse: false }
}

fn line(to: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(to, "{text}"); // Writing to a string does not fail.
}

/// `y` of elements `v0`, `v1` ..: what one thread computes.
fn body(to: &mut String, kind: &Kind) {
    match kind.map {
        Map::Value(op) => program(to, &op.info().value, kind.dtypes[0]),
        Map::Grad { op, wrt } => match op.info().grads.get(usize::from(wrt)) {
            Some(Some(grad)) => program(to, grad, kind.dtypes[0]),
            _ => line(to, format_args!("return Rounded<Y>::of(0);")),
        },
        Map::Compare(cmp) => {
            let sign = match cmp {
                Cmp::Eq => "==",
                Cmp::Ne => "!=",
                Cmp::Lt => "<",
                Cmp::Le => "<=",
                Cmp::Gt => ">",
                Cmp::Ge => ">=",
            };
            line(to, format_args!("return Rounded<Y>::of(value_of<T0>(v0) {sign} value_of<T1>(v1));"));
        }
        Map::Bits(op) => {
            let value = match op {
                Bits::And => "a & b",
                Bits::Or => "a | b",
                Bits::Xor => "a ^ b",
                Bits::Left => "shifted_left<A>(a, b)",
                Bits::Right => "shifted_right<A>(a, b)",
            };
            line(to, format_args!("typedef Acc<Y>::type A; A a = value_of<T0>(v0), b = value_of<T1>(v1);"));
            line(to, format_args!("return Rounded<Y>::of((A)({value}));"));
        }
        Map::Select => line(to, format_args!("return v0.bits ? v1 : v2;")),
    }
}

/// What a dtype is computed in.
fn computed_in(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 => "float",
        DType::F64 => "double",
        DType::I64 => "i64",
        DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 => "i32",
    }
}

fn constant(value: f64, dtype: DType) -> String {
    match dtype {
        DType::F64 => format!("__longlong_as_double({:#x}ll)", value.to_bits()),
        dtype if dtype.is_float() => format!("__uint_as_float({:#x}u)", (value as f32).to_bits()),
        _ => format!("({})({}ll)", computed_in(dtype), value as i64),
    }
}

/// A body written down, line by line.
fn program(to: &mut String, program: &Program, dtype: DType) {
    let numbers = computed_in(dtype);
    for (i, step) in program.steps.iter().enumerate() {
        let [a, b, c] = step.args;
        let (kind, value) = match step.prim {
            Prim::Input(x) => (numbers, format!("({numbers})value_of<T{x}>(v{x})")),
            Prim::Const(v) => (numbers, constant(v.get(), dtype)),
            Prim::Lt => ("bool", format!("s{a} < s{b}")),
            Prim::Le => ("bool", format!("s{a} <= s{b}")),
            Prim::Eq => ("bool", format!("s{a} == s{b}")),
            Prim::Select => (numbers, format!("s{a} ? s{b} : s{c}")),
            Prim::FloorDiv => (numbers, format!("p_floor_div(s{a}, s{b}, fault)")),
            Prim::Remainder => (numbers, format!("p_remainder(s{a}, s{b}, fault)")),
            prim => {
                let args: Vec<String> = prim.args().iter().map(|&p| format!("s{}", step.args[p])).collect();
                (numbers, format!("p_{}({})", name(prim), args.join(", ")))
            }
        };
        line(to, format_args!("    {kind} s{i} = {value};"));
    }
    line(to, format_args!("    return Rounded<Y>::of((Acc<Y>::type)s{});", program.steps.len().saturating_sub(1)));
}

/// The primitive's function in `map.cuh`, without its prefix.
fn name(prim: Prim) -> &'static str {
    match prim {
        Prim::Add => "add",
        Prim::Sub => "sub",
        Prim::Mul => "mul",
        Prim::Div => "div",
        Prim::Neg => "neg",
        Prim::MulAdd => "mul_add",
        Prim::Abs => "abs",
        Prim::Square => "square",
        Prim::Sqrt => "sqrt",
        Prim::Exp => "exp",
        Prim::Expm1 => "expm1",
        Prim::Log => "log",
        Prim::Log1p => "log1p",
        Prim::Sin => "sin",
        Prim::Cos => "cos",
        Prim::Tanh => "tanh",
        Prim::Erf => "erf",
        Prim::Sigmoid => "sigmoid",
        Prim::Floor => "floor",
        Prim::Atan2 => "atan2",
        Prim::Pow => "pow",
        Prim::FloorDiv => "floor_div",
        Prim::Remainder => "remainder",
        Prim::Lt | Prim::Le | Prim::Eq | Prim::Select | Prim::Input(_) | Prim::Const(_) => "written_in_place",
    }
}

fn parameters(inputs: usize) -> String {
    let x: String = (0..inputs).map(|i| format!("const T{i} *x{i}, ")).collect();
    format!("{x}Y *y, i64 n, Fault *fault")
}

/// A kernel over operands without gaps.
fn dense(to: &mut String, inputs: usize, ones: u8, pack: u8) {
    let is_one = |i: usize| ones >> i & 1 == 1;
    line(to, format_args!("extern \"C\" __global__ void map({}) {{", parameters(inputs)));
    for i in (0..inputs).filter(|&i| is_one(i)) {
        line(to, format_args!("    const T{i} one{i} = *x{i};"));
    }
    let one = |i: usize, place: &str| if is_one(i) { format!("one{i}") } else { format!("x{i}[{place}]") };
    let values = |place: &str| (0..inputs).map(|i| one(i, place)).collect::<Vec<_>>().join(", ");
    if pack > 1 {
        line(to, format_args!("    i64 packs = n / {pack};"));
        line(to, format_args!("    for (i64 p = thread_index(); p < packs; p += thread_count()) {{"));
        for i in (0..inputs).filter(|&i| !is_one(i)) {
            line(to, format_args!("        Pack<T{i}, {pack}> p{i} = ((const Pack<T{i}, {pack}> *)x{i})[p];"));
        }
        let lane = |i: usize| if is_one(i) { format!("one{i}") } else { format!("p{i}.e[l]") };
        let lanes = (0..inputs).map(lane).collect::<Vec<_>>().join(", ");
        line(to, format_args!("        Pack<Y, {pack}> r;"));
        line(to, format_args!("        for (int l = 0; l < {pack}; l++) r.e[l] = body({lanes}, fault);"));
        line(to, format_args!("        ((Pack<Y, {pack}> *)y)[p] = r;\n    }}"));
        line(to, format_args!("    for (i64 i = packs * {pack} + thread_index(); i < n; i += thread_count())"));
    } else {
        line(to, format_args!("    for (i64 i = thread_index(); i < n; i += thread_count())"));
    }
    line(to, format_args!("        y[i] = body({}, fault);\n}}", values("i")));
}

/// A kernel over rows without gaps: `n` of them, each walked by `across` threads.
fn rows(to: &mut String, inputs: usize, ones: u8, pack: u8) {
    let is_one = |i: usize| ones >> i & 1 == 1;
    let views: String = (0..inputs).map(|i| format!(", View w{i}")).collect();
    let head =
        format!("extern \"C\" __global__ void map({}{views}, View w, i64 columns, u32 across) {{", parameters(inputs));
    line(to, format_args!("{head}"));
    line(
        to,
        format_args!("    u32 first = threadIdx.x % across, down = threadIdx.x / across, each = blockDim.x / across;"),
    );
    line(to, format_args!("    i64 packs = columns / {pack};"));
    line(
        to,
        format_args!("    for (i64 row = (i64)blockIdx.x * each + down; row < n; row += (i64)gridDim.x * each) {{"),
    );
    for i in 0..inputs {
        line(to, format_args!("        const T{i} *r{i} = x{i} + place(w{i}, row);"));
    }
    (0..inputs).filter(|&i| is_one(i)).for_each(|i| line(to, format_args!("        const T{i} one{i} = *r{i};")));
    line(to, format_args!("        Y *r = y + place(w, row);"));
    line(to, format_args!("        for (i64 p = first; p < packs; p += across) {{"));
    for i in (0..inputs).filter(|&i| !is_one(i)) {
        line(to, format_args!("            Pack<T{i}, {pack}> p{i} = ((const Pack<T{i}, {pack}> *)r{i})[p];"));
    }
    let among = |rest: &str| -> String {
        let value = |i: usize| if is_one(i) { format!("one{i}") } else { rest.replace('#', &i.to_string()) };
        (0..inputs).map(value).collect::<Vec<_>>().join(", ")
    };
    line(to, format_args!("            Pack<Y, {pack}> v;"));
    line(to, format_args!("            for (int l = 0; l < {pack}; l++) v.e[l] = body({}, fault);", among("p#.e[l]")));
    line(to, format_args!("            ((Pack<Y, {pack}> *)r)[p] = v;\n        }}"));
    line(to, format_args!("        for (i64 i = packs * {pack} + first; i < columns; i += across)"));
    line(to, format_args!("            r[i] = body({}, fault);\n    }}\n}}", among("r#[i]")));
}

/// A kernel over operands with strides.
fn strided(to: &mut String, inputs: usize, short: bool) {
    let views: String = (0..inputs).map(|i| format!(", View w{i}")).collect();
    let index = if short { "u32" } else { "i64" };
    line(to, format_args!("typedef {index} I;"));
    line(to, format_args!("extern \"C\" __global__ void map({}{views}, View w) {{", parameters(inputs)));
    line(to, format_args!("    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {{"));
    // The walk's dimensions are the same for every operand: one division serves all.
    line(to, format_args!("        I left = i; i64 to = 0;"));
    (0..inputs).for_each(|i| line(to, format_args!("        i64 at{i} = 0;")));
    line(to, format_args!("        for (int d = w.rank - 1; d >= 0; d--) {{"));
    line(to, format_args!("            I up = d > 0 ? left / (I)w.size[d] : 0, at = left - up * (I)w.size[d];"));
    line(to, format_args!("            to += (i64)at * w.stride[d];"));
    (0..inputs).for_each(|i| line(to, format_args!("            at{i} += (i64)at * w{i}.stride[d];")));
    line(to, format_args!("            left = up;\n        }}"));
    let values = (0..inputs).map(|i| format!("x{i}[at{i}]")).collect::<Vec<_>>().join(", ");
    line(to, format_args!("        y[to] = body({values}, fault);\n    }}\n}}"));
}
