//! `cargo xtask gen`: what is generated and committed, which is the stub of the Python package's native half.

use std::fmt::Write;

use anyhow::{Result, bail};

use crate::ops::signature::{Attr, AttrKind, Outputs, Param, ParamKind, Signature};
use crate::{root, rows};

const TEMPLATE: &str = "python/stubs/_esker.pyi";
const STUB: &str = "python/esker/_esker.pyi";

/// Writes the generated files, or with `check` fails when one is not current.
pub(crate) fn run(check: bool) -> Result<()> {
    let text = stub(&std::fs::read_to_string(root().join(TEMPLATE))?)?;
    let path = root().join(STUB);
    if check && std::fs::read_to_string(&path).unwrap_or_default() != text {
        bail!("{STUB} is not current; run `cargo xtask gen` and commit what it writes");
    }
    if !check {
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// The template with the operators, and the rows that it does not have itself, in their places.
fn stub(template: &str) -> Result<String> {
    let (mut methods, mut functions) = (String::new(), String::new());
    let has = |indent: &str, name: &str| template.contains(&format!("\n{indent}def {name}("));
    for sig in crate::ops::table::signatures().iter().filter(|s| s.public) {
        if !has("", sig.name) {
            write_row(&mut functions, sig, sig.name, false)?;
        }
        if !matches!(sig.params.first().map(|p| p.kind), Some(ParamKind::Tensor)) {
            continue;
        }
        if !has("    ", sig.name) {
            write_row(&mut methods, sig, sig.name, true)?;
        }
        let in_place = format!("{}_", sig.name);
        if rows::has_in_place(sig) && !has("    ", &in_place) {
            write_row(&mut methods, sig, &in_place, true)?;
        }
    }
    let with = template.replacen("    # operators\n", &operators()?, 1).replacen("    # methods\n", &methods, 1);
    Ok(with.replacen("# functions\n", &functions, 1))
}

fn operators() -> Result<String> {
    let mut out = String::new();
    for name in
        ["add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "and", "or", "xor", "lshift", "rshift", "pow"]
    {
        for kind in ["", "r", "i"] {
            writeln!(out, "    def __{kind}{name}__(self, other: Any) -> Tensor: ...")?;
        }
    }
    for name in ["lt", "le", "gt", "ge"] {
        writeln!(out, "    def __{name}__(self, other: Any) -> Tensor: ...")?;
    }
    for name in ["eq", "ne"] {
        writeln!(out, "    def __{name}__(self, other: Any) -> Tensor: ...  # type: ignore[override]")?;
    }
    Ok(out)
}

/// One function, or two overloads where a list may be written out.
fn write_row(out: &mut String, sig: &Signature, name: &str, method: bool) -> Result<()> {
    let order: Vec<usize> = sig
        .order
        .iter()
        .copied()
        .filter(|&i| sig.params[i].kind != ParamKind::Attr(AttrKind::Key) && !(method && i == 0))
        .collect();
    let spread = (0..order.len()).find(|&at| rows::spreads(sig, &order, at));
    let indent = if method { "    " } else { "" };
    for written_out in [false, true] {
        if written_out && spread.is_none() {
            continue;
        }
        if spread.is_some() {
            writeln!(out, "{indent}@overload")?;
        }
        let at = spread.filter(|_| written_out);
        writeln!(out, "{indent}def {name}({}) -> {}: ...", params(sig, &order, at, method), result(sig))?;
    }
    Ok(())
}

fn params(sig: &Signature, order: &[usize], spread: Option<usize>, method: bool) -> String {
    let mut parts: Vec<String> = if method { vec!["self".into()] } else { vec![] };
    let mut optional = false;
    for (at, &i) in order.iter().enumerate() {
        let p = &sig.params[i];
        if spread == Some(at) {
            parts.push(format!("*{}: _int", p.name));
            optional = true;
            continue;
        }
        let default = default(p);
        if optional && default.is_none() && !parts.iter().any(|p| p.starts_with('*')) {
            parts.push("*".into());
        }
        let first = !method && at == 0;
        match default {
            Some(d) => {
                optional = true;
                let none = if d == "None" { " | None" } else { "" };
                parts.push(format!("{}: {}{none} = {d}", p.name, kind(p, first)));
            }
            None => parts.push(format!("{}: {}", p.name, kind(p, first))),
        }
    }
    let extras: &[(bool, &str)] = &[
        (rows::TAKES_DTYPE.contains(&sig.name), "dtype: _DType | None = None"),
        (rows::TAKES_ALPHA.contains(&sig.name), "alpha: _Number = 1"),
        (sig.params.iter().any(|p| p.name == "dtype"), "requires_grad: _bool = False"),
    ];
    if extras.iter().any(|e| e.0) && !parts.iter().any(|p| p.starts_with('*')) {
        parts.push("*".into());
    }
    parts.extend(extras.iter().filter(|e| e.0).map(|e| e.1.to_owned()));
    parts.join(", ")
}

fn kind(p: &Param, first: bool) -> &'static str {
    match p.kind {
        ParamKind::Tensor if first => "Tensor",
        ParamKind::Tensor => "Tensor | _Number",
        ParamKind::OptionalTensor => "Tensor",
        ParamKind::Tensors => "Sequence[Tensor]",
        ParamKind::Attr(kind) => match kind {
            AttrKind::Bool | AttrKind::OptionalBool => "_bool",
            AttrKind::Int | AttrKind::OptionalInt => "_int",
            AttrKind::Float | AttrKind::OptionalFloat => "_float",
            AttrKind::Str => "_str",
            AttrKind::Ints | AttrKind::Axes | AttrKind::Sizes | AttrKind::OptionalInts => "_Ints",
            AttrKind::OptionalFloats => "_float | Sequence[_float]",
            AttrKind::Padding => "_Ints | _str",
            AttrKind::DType | AttrKind::OptionalDType => "_DType",
            AttrKind::Device => "_Device",
            _ => "Any",
        },
    }
}

fn default(p: &Param) -> Option<&'static str> {
    match p.default.as_ref()? {
        Attr::None | Attr::DType(_) | Attr::Device(_) | Attr::Key(_) => Some("None"),
        _ => Some("..."),
    }
}

fn result(sig: &Signature) -> String {
    match sig.outputs {
        Outputs::Count(1) => "Tensor".into(),
        Outputs::Count(2) if rows::VALUES_AND_INDICES.contains(&sig.name) => "ValuesAndIndices".into(),
        Outputs::Count(n) => format!("tuple[{}]", vec!["Tensor"; n].join(", ")),
        Outputs::List => "tuple[Tensor, ...]".into(),
    }
}
