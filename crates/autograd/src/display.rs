//! Printing tensors as PyTorch does: summarised when large, aligned, with dtype and device when they are not default.

use std::fmt::{self, Write};
use std::sync::{PoisonError, RwLock};

use esker_tensor::{DType, Device, Result, Shape};

use crate::Tensor;

/// How tensors print; set for the whole process with [`set_print_options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Digits after the point.
    pub precision: usize,
    /// Tensors with more elements are summarised.
    pub threshold: usize,
    /// Items shown at either end of a summarised dimension.
    pub edge_items: usize,
    /// Characters a line.
    pub line_width: usize,
}

impl Default for PrintOptions {
    fn default() -> Self {
        Self { precision: 4, threshold: 1000, edge_items: 3, line_width: 80 }
    }
}

static OPTIONS: RwLock<Option<PrintOptions>> = RwLock::new(None);

/// Sets how tensors print from now on.
pub fn set_print_options(options: PrintOptions) {
    *OPTIONS.write().unwrap_or_else(PoisonError::into_inner) = Some(options);
}

fn options() -> PrintOptions {
    OPTIONS.read().unwrap_or_else(PoisonError::into_inner).unwrap_or_default()
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut suffix = String::new();
        if self.device() != Device::Cpu {
            write!(suffix, ", device='{}'", self.device())?;
        }
        if self.numel() == 0 && self.rank() != 1 || self.device() == Device::Meta {
            write!(suffix, ", size={:?}", self.shape())?;
        }
        if !matches!(self.dtype(), DType::F32 | DType::I64 | DType::Bool) {
            write!(suffix, ", dtype={}", self.dtype())?;
        }
        if self.requires_grad() {
            suffix.push_str(", requires_grad=true");
        }
        if self.device() == Device::Meta {
            return write!(f, "tensor(...{suffix})");
        }
        let body = body(self).unwrap_or_else(|e| format!("<{e}>"));
        write!(f, "tensor({body}{suffix})")
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Row-major values and the shape they are shown in; `None` in the plan marks where items were left out.
fn body(tensor: &Tensor) -> Result<String> {
    let options = options();
    let shape = *tensor.shape();
    let summary = shape.numel() > options.threshold;
    let cpu = tensor.array().to_cpu()?;
    let shown: Vec<Vec<Option<usize>>> = shape.iter().map(|&n| plan(n, summary, options.edge_items)).collect();
    let values = shown_values(&cpu, &shown)?;
    let style = Style::of(tensor.dtype(), &values, options.precision);
    let width = values.iter().map(|v| style.text(*v).len()).max().unwrap_or(0);
    let mut out = String::new();
    let mut next = values.iter().map(|v| format!("{:>width$}", style.text(*v)));
    render(&mut out, &shown, 0, width, options.line_width, &mut next);
    Ok(out)
}

fn plan(n: usize, summary: bool, edge: usize) -> Vec<Option<usize>> {
    if !summary || n <= 2 * edge {
        return (0..n).map(Some).collect();
    }
    (0..edge).map(Some).chain([None]).chain((n - edge..n).map(Some)).collect()
}

/// Only what is shown is read, so that printing a huge tensor is cheap.
fn shown_values(cpu: &esker_ops::Array, shown: &[Vec<Option<usize>>]) -> Result<Vec<f64>> {
    let mut picks: Vec<Vec<usize>> = vec![vec![]];
    for dim in shown {
        let items: Vec<usize> = dim.iter().flatten().copied().collect();
        picks = picks.iter().flat_map(|p| items.iter().map(move |&i| [&p[..], &[i]].concat())).collect();
    }
    let layout = cpu.layout();
    let mut values = Vec::with_capacity(picks.len());
    for pick in &picks {
        let offset: isize = pick.iter().zip(layout.strides().iter()).map(|(&i, &s)| i as isize * s).sum();
        let at = (layout.offset() as isize + offset) as usize;
        let one = esker_tensor::Layout::new(Shape::empty(), esker_tensor::Strides::empty(), at);
        let element = esker_ops::Array::new(cpu.dtype(), Device::Cpu, one, cpu.storage().clone())?;
        values.extend(element.to_f64_vec()?);
    }
    Ok(values)
}

/// How the numbers of one tensor are written.
enum Style {
    Bool,
    Int,
    /// All whole: `1.`
    Whole,
    Fixed(usize),
    Scientific(usize),
}

impl Style {
    /// PyTorch's rules (torch/_tensor_str.py): scientific above 1e8, below 1e-4 or for a range above 1000.
    fn of(dtype: DType, values: &[f64], precision: usize) -> Self {
        if dtype == DType::Bool {
            return Style::Bool;
        }
        if dtype.is_int() {
            return Style::Int;
        }
        let sizes = || values.iter().filter(|v| v.is_finite() && **v != 0.0).map(|v| v.abs());
        let (low, high) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
        let whole = sizes().all(|v| v.fract() == 0.0);
        if high == 0.0 {
            return Style::Whole;
        }
        if whole {
            return if high > 1e8 { Style::Scientific(precision) } else { Style::Whole };
        }
        if high / low > 1000.0 || high > 1e8 || low < 1e-4 {
            Style::Scientific(precision)
        } else {
            Style::Fixed(precision)
        }
    }

    fn text(&self, v: f64) -> String {
        match self {
            Style::Bool => (v != 0.0).to_string(),
            Style::Int => format!("{v:.0}"),
            _ if v.is_nan() => "nan".into(),
            _ if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.into(),
            Style::Whole => format!("{v:.0}."),
            Style::Fixed(p) => format!("{v:.p$}"),
            Style::Scientific(p) => {
                let text = format!("{v:.p$e}");
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
            }
        }
    }
}

fn render(
    out: &mut String,
    shown: &[Vec<Option<usize>>],
    depth: usize,
    width: usize,
    line: usize,
    next: &mut impl Iterator<Item = String>,
) {
    let Some(items) = shown.get(depth) else {
        out.push_str(next.next().unwrap_or_default().trim_start());
        return;
    };
    let indent = " ".repeat("tensor(".len() + depth + 1);
    let last = depth + 1 == shown.len();
    let per_line = ((line.saturating_sub(indent.len())) / (width + 2)).max(1);
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            let wrap = !last || i % per_line == 0;
            out.push_str(if wrap { "," } else { ", " });
            if wrap {
                out.push_str(&"\n".repeat(if last { 1 } else { shown.len() - depth - 1 }));
                out.push_str(&indent);
            }
        }
        match item {
            None => out.push_str("..."),
            Some(_) if last => out.push_str(&next.next().unwrap_or_default()),
            Some(_) => render(out, shown, depth + 1, width, line, next),
        }
    }
    out.push(']');
}
