//! `cargo xtask ops`: the table as it is, read from the rules themselves.

use anyhow::{Result, bail};
use esker_ops::spec::{Expect, Row, Sample};
use esker_ops::tensor::{DType, Device};
use esker_ops::{Grad, Meta, Onnx, OnnxCx, prepare};
use serde_json::{Value, json};

/// Prints the table.
pub(crate) fn run(as_json: bool) -> Result<()> {
    let rows = rows()?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for row in &rows {
        let text = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        println!("{:22} grad: {:40} onnx: {}", text("name"), text("differentiable"), text("onnx"));
    }
    println!("{} ops", rows.len());
    Ok(())
}

/// Every row as an object. A row that says nothing of its gradient or its ONNX form is an error.
pub(crate) fn rows() -> Result<Vec<Value>> {
    let rows: Vec<Value> = esker_ops::table::rows().iter().map(describe).collect();
    for row in &rows {
        if let Some(gap) = ["differentiable", "onnx"].iter().find(|key| row[**key].is_null()) {
            bail!("the row {} says nothing under {gap:?}", row["name"]);
        }
    }
    Ok(rows)
}

fn describe(row: &Row) -> Value {
    let good: Vec<&Sample> = row.samples.iter().filter(|s| !matches!(s.expect, Expect::Error(_))).collect();
    let differentiable = match good.iter().map(|s| s.op.grad()).find(|g| matches!(g, Grad::Saves { .. })) {
        Some(_) => json!(true),
        None => json!(good.first().map(|s| match s.op.grad() {
            Grad::None(reason) => reason,
            Grad::Saves { .. } => "",
        })),
    };
    let dtypes: Vec<&str> =
        DType::ALL.iter().filter(|d| good.iter().any(|s| s.dtypes.list().contains(d))).map(|d| d.name()).collect();
    json!({
        "name": row.name,
        "doc": row.doc.trim(),
        "dtypes": dtypes,
        "differentiable": differentiable,
        "backends": ["cpu"],
        "onnx": onnx(&good),
        "python": esker_ops::table::signatures().iter().find(|s| s.public && s.name == row.name).map(|s| s.name),
        "samples": row.samples.len(),
    })
}

/// The node of the first sample that has one, else "composed", else the reason.
fn onnx(samples: &[&Sample]) -> Value {
    let forms: Vec<Onnx> = samples.iter().filter_map(|s| form(s)).collect();
    let nodes = forms.iter().find_map(|f| match f {
        Onnx::Nodes(nodes) => Some(nodes.iter().map(|n| n.op_type).collect::<Vec<_>>().join(", ")),
        _ => None,
    });
    match (nodes, forms.contains(&Onnx::Compose), forms.first()) {
        (Some(nodes), _, _) => json!(nodes),
        (None, true, _) => json!("composed"),
        (None, false, Some(Onnx::None(reason))) => json!(reason),
        _ => Value::Null,
    }
}

fn form(sample: &Sample) -> Option<Onnx> {
    let dtype = DType::ALL.iter().rev().copied().find(|d| sample.dtypes.list().contains(d))?;
    let x: Vec<esker_ops::Array> = sample
        .inputs
        .iter()
        .map(|i| {
            let meta = Meta::new(i.dtype.unwrap_or(dtype), i.shape.iter().copied().collect(), Device::Meta);
            esker_ops::Array::uninit(&meta, esker_ops::tensor::Layout::contiguous(meta.shape)).ok()
        })
        .collect::<Option<_>>()?;
    let x: Vec<&esker_ops::Array> = x.iter().collect();
    // What reads values cannot be described, and has a reason instead of a form.
    let (x, y) = match prepare(&sample.op, &x) {
        Ok((_, x, y)) => (x, y),
        Err(_) => (x.iter().map(|x| esker_ops::Value::meta(*x)).collect(), Default::default()),
    };
    Some(sample.op.onnx(&OnnxCx { opset: 20, x: &x, y: &y, given: u64::MAX }))
}
