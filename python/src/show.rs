//! Printing, as PyTorch prints.

use esker::autograd::{PrintOptions, set_print_options};
use esker::{DType, Device, Tensor};
use pyo3::prelude::*;

/// `tensor(...)` with Python's words for what is not default.
pub(crate) fn text(t: &Tensor) -> String {
    let plain = t.detach().to_string();
    let mut text = plain.replace(", dtype=", ", dtype=esker.");
    if t.dtype() == DType::Bool {
        text = text.replace("true", "True").replace("false", "False");
    }
    if t.device() == Device::Meta || t.numel() == 0 {
        text = sizes_in_parentheses(&text);
    }
    let Some(body) = text.strip_suffix(')') else { return text };
    match t.grad_fn_name() {
        Some(name) => format!("{body}, grad_fn=<{}>)", grad_fn(&name)),
        None if t.requires_grad() => format!("{body}, requires_grad=True)"),
        None => text,
    }
}

/// The name of a node of the tape: `AddBackward` for `add`.
pub(crate) fn grad_fn(op: &str) -> String {
    let words = op.split('_').map(|w| {
        let mut letters = w.chars();
        letters.next().map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect::<String>())
    });
    words.collect::<String>() + "Backward"
}

fn sizes_in_parentheses(text: &str) -> String {
    let Some((head, tail)) = text.split_once("size=[") else { return text.to_owned() };
    let Some((sizes, rest)) = tail.split_once(']') else { return text.to_owned() };
    let comma = if sizes.is_empty() || sizes.contains(',') { "" } else { "," };
    format!("{head}size=({sizes}{comma}){rest}")
}

/// Sets how tensors print.
#[pyfunction]
pub(crate) fn _set_print_options(precision: usize, threshold: usize, edge_items: usize, line_width: usize) {
    set_print_options(PrintOptions { precision, threshold, edge_items, line_width });
}
