//! Capture: a model run on arrays without values becomes a graph whose sizes follow the batch.

use esker_ops::{Array, Op, Sizes, op};
use esker_tensor::{DType, Error, Result};

use crate::ir::{bytes_of, meta_array, shape_at};
use crate::record::{Step, Trace, trace};
use crate::{Const, Dim, Graph, Node, Output, ValueId, ValueInfo};

/// The batch sizes that a model is run with: primes, so that they do not meet sizes of the model by chance.
pub const PROBES: [i64; 3] = [1009, 2003, 4001];

/// An input of a model to be captured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its sizes.
    pub dims: Vec<Dim>,
}

impl InputSpec {
    /// An input with these sizes; `None` is the batch.
    pub fn new(name: impl Into<String>, dtype: DType, dims: &[Option<usize>]) -> Self {
        Self { name: name.into(), dtype, dims: dims.iter().map(|&d| d.into()).collect() }
    }
}

/// Runs `model` on arrays without values and returns what it did as a graph. When a size of an input is the batch, the
/// model runs once for each of [`PROBES`].
///
/// # Errors
/// The model's own; `Capture` when it reads values, or when what it does depends on the batch in another way than
/// through sizes `fixed + per * N`.
pub fn capture(inputs: &[InputSpec], mut model: impl FnMut(&[Array]) -> Result<Vec<Array>>) -> Result<Graph> {
    let symbolic = inputs.iter().any(|i| i.dims.iter().any(|d| !d.is_fixed()));
    capture_at(inputs, symbolic, |_, x| model(x))
}

/// As [`capture`]; the model is told the batch that it runs for, and runs for all of [`PROBES`] when `symbolic`.
///
/// # Errors
/// As [`capture`].
pub fn capture_at(
    inputs: &[InputSpec],
    symbolic: bool,
    mut model: impl FnMut(i64, &[Array]) -> Result<Vec<Array>>,
) -> Result<Graph> {
    let batches: &[i64] = if symbolic { &PROBES } else { &[1] };
    check_names(inputs)?;
    let traces = batches
        .iter()
        .map(|&n| {
            let arrays =
                inputs.iter().map(|i| meta_array(i.dtype, shape_at(&i.dims, n)?)).collect::<Result<Vec<_>>>()?;
            trace(&arrays, |x| model(n, x)).map_err(|e| match symbolic {
                true => e.prefix(&format!("for a batch of {n}")),
                false => e,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let graph = Merge { batches, traces: &traces }.graph(inputs)?;
    Ok(graph.without_dead_code())
}

fn check_names(inputs: &[InputSpec]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match inputs.iter().find(|i| i.name.is_empty() || !seen.insert(&i.name)) {
        Some(i) => Err(Error::capture(format!("every input needs a name of its own, one is `{}`", i.name))),
        None => Ok(()),
    }
}

/// Traces of one model for several batches, which must differ in sizes alone.
struct Merge<'a> {
    batches: &'a [i64],
    traces: &'a [Trace],
}

impl Merge<'_> {
    fn graph(&self, inputs: &[InputSpec]) -> Result<Graph> {
        let [first, rest @ ..] = self.traces else { return Err(Error::capture("nothing was captured")) };
        for (other, &n) in rest.iter().zip(self.batches.iter().skip(1)) {
            self.check_wiring(first, other, n)?;
        }
        let (consts, mut nodes) = self.consts(first)?;
        for i in 0..first.nodes.len() {
            nodes.push(self.node(i)?);
        }
        let mut values = (0..first.metas.len()).map(|i| self.value(i)).collect::<Result<Vec<_>>>()?;
        for (&id, spec) in first.inputs.iter().zip(inputs) {
            if let Some(value) = values.get_mut(id) {
                value.name = Some(spec.name.clone());
            }
        }
        let mut free = (0..).map(|k: usize| format!("const_{k}")).filter(|name| inputs.iter().all(|i| i.name != *name));
        for c in &consts {
            if let Some(value) = values.get_mut(c.id.index()) {
                value.name = free.next();
            }
        }
        let name = |k: usize| if first.outputs.len() == 1 { "output".to_string() } else { format!("output_{k}") };
        Ok(Graph {
            symbol: "N".to_string(),
            nodes,
            values,
            inputs: ids(&first.inputs),
            outputs: ids(&first.outputs).into_iter().enumerate().map(|(k, id)| Output { name: name(k), id }).collect(),
            consts,
        })
    }

    /// The same ops on the same values, with the same constants.
    fn check_wiring(&self, first: &Trace, other: &Trace, n: i64) -> Result<()> {
        let at = self.batches.first().copied().unwrap_or(0);
        let names = |t: &Trace| t.nodes.iter().map(|s| s.op.name()).collect::<Vec<_>>();
        let (a, b) = (names(first), names(other));
        if a != b {
            let place = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
            let name = |ops: &[&'static str]| ops.get(place).copied().unwrap_or("nothing");
            return Err(Error::capture(format!(
                "the model's structure depends on the batch size: op {place} is {} for a batch of {at} and {} for {n}",
                name(&a),
                name(&b)
            )));
        }
        for (place, (x, y)) in first.nodes.iter().zip(&other.nodes).enumerate() {
            if x.inputs != y.inputs || x.outputs != y.outputs {
                return Err(Error::capture(format!(
                    "the model's structure depends on the batch size: op {place} ({}) reads other values for a batch \
                     of {at} than for {n}",
                    x.op.name()
                )));
            }
        }
        if first.outputs != other.outputs {
            return Err(Error::capture(format!(
                "the model's structure depends on the batch size: it returns other values for a batch of {at} than for {n}"
            )));
        }
        if first.consts.iter().zip(&other.consts).any(|((a, _), (b, _))| a != b) {
            return Err(Error::capture("the model's structure depends on the batch size: it reads other constants"));
        }
        Ok(())
    }

    /// Constants, and nodes for those that hold one number in a shape that follows the batch.
    fn consts(&self, first: &Trace) -> Result<(Vec<Const>, Vec<Node>)> {
        let (mut consts, mut nodes) = (Vec::new(), Vec::new());
        for (k, (id, array)) in first.consts.iter().enumerate() {
            let all: Vec<&Array> = self.traces.iter().filter_map(|t| t.consts.get(k)).map(|(_, a)| a).collect();
            if all.iter().try_fold(true, |same_so_far, a| Ok::<_, Error>(same_so_far && same(array, a)?))? {
                consts.push(Const { id: value_id(*id), array: array.clone() });
                continue;
            }
            let value = uniform(&all)?.ok_or_else(|| {
                let reader = first.nodes.iter().find(|s| s.inputs.contains(id)).map_or("the result", |s| s.op.name());
                Error::capture(format!(
                    "a constant {array:?} that {reader} reads differs between batches of {:?}; compute it with ops on \
                     the inputs, or draw random numbers outside of the model",
                    self.batches
                ))
            })?;
            let info = self.value(*id)?;
            let sizes = info.dims.iter().map(|d| d.at(1).unwrap_or(1)).collect::<Vec<_>>();
            let (dtype, device) = (info.dtype, esker_tensor::Device::Meta);
            let op = op::Full { fill_value: value.into(), size: Sizes::new(&sizes), dtype, device }.into();
            nodes.push(Node { op, sizes: info.dims, inputs: Vec::new(), outputs: vec![value_id(*id)] });
        }
        Ok((consts, nodes))
    }

    fn value(&self, i: usize) -> Result<ValueInfo> {
        let metas: Vec<_> = self.traces.iter().filter_map(|t| t.metas.get(i)).collect();
        let Some(first) = metas.first() else { return Err(Error::capture("a value is missing from a trace")) };
        if metas.iter().any(|m| m.shape.len() != first.shape.len() || m.dtype != first.dtype) {
            return Err(Error::capture(format!(
                "the model's structure depends on the batch size: a value is {:?} {} for one batch and {:?} {} for another",
                first.shape,
                first.dtype,
                metas.last().map(|m| m.shape).unwrap_or_default(),
                metas.last().map_or(first.dtype, |m| m.dtype),
            )));
        }
        let dims = (0..first.shape.len()).map(|d| {
            let sizes: Vec<i64> = metas.iter().filter_map(|m| m.shape.get(d)).map(|&s| s as i64).collect();
            self.solve(&sizes, || self.maker_of(i))
        });
        Ok(ValueInfo { dtype: first.dtype, dims: dims.collect::<Result<_>>()?, name: None })
    }

    fn maker_of(&self, i: usize) -> String {
        let step = self.traces.first().and_then(|t| t.nodes.iter().find(|s| s.outputs.contains(&i)));
        step.map_or_else(|| "an input".to_string(), |s| format!("the result of {}", s.op.name()))
    }

    fn solve(&self, sizes: &[i64], what: impl FnOnce() -> String) -> Result<Dim> {
        Dim::through(self.batches, sizes).ok_or_else(|| {
            Error::capture(format!(
                "a size of {} is {sizes:?} for batches of {:?}, which is not of the form fixed + per * N",
                what(),
                self.batches
            ))
        })
    }

    fn node(&self, i: usize) -> Result<Node> {
        let steps: Vec<&Step> = self.traces.iter().filter_map(|t| t.nodes.get(i)).collect();
        let split: Vec<(Op, Vec<i64>)> = steps.iter().map(|s| without_sizes(&s.op)).collect();
        let [(blank, sizes), rest @ ..] = &split[..] else { return Err(Error::capture("an op is missing")) };
        let Some(first) = steps.first() else { return Err(Error::capture("an op is missing")) };
        if let Some((place, _)) = rest.iter().enumerate().find(|(_, (b, s))| b != blank || s.len() != sizes.len()) {
            let other = steps.get(place + 1).map(|s| &s.op);
            return Err(Error::capture(format!(
                "{}: an attribute that is not a size differs from batch to batch: {:?} against {:?}; the model depends \
                 on the batch size, or draws random numbers (call eval() first)",
                first.op.name(),
                first.op,
                other.unwrap_or(&first.op)
            )));
        }
        let dims = (0..sizes.len())
            .map(|k| {
                let sizes: Vec<i64> = split.iter().filter_map(|(_, s)| s.get(k).copied()).collect();
                self.solve(&sizes, || first.op.name().to_string())
            })
            .collect::<Result<Vec<_>>>()?;
        let fixed = dims.iter().all(|d| d.is_fixed());
        let mut op = first.op.clone();
        let mut at = dims.iter();
        op.sizes(&mut |size| *size = at.next().and_then(|d| d.at(1)).unwrap_or(*size));
        Ok(Node {
            op,
            sizes: if fixed { Vec::new() } else { dims },
            inputs: ids(&first.inputs),
            outputs: ids(&first.outputs),
        })
    }
}

/// An op with its sizes set to 0, and what they were.
fn without_sizes(op: &Op) -> (Op, Vec<i64>) {
    let mut blank = op.clone();
    let mut sizes = Vec::new();
    blank.sizes(&mut |size| sizes.push(std::mem::take(size)));
    (blank, sizes)
}

fn same(a: &Array, b: &Array) -> Result<bool> {
    if a.meta() != b.meta() {
        return Ok(false);
    }
    Ok((a.storage().id() == b.storage().id() && a.layout() == b.layout()) || bytes_of(a)? == bytes_of(b)?)
}

/// The number that all elements of all these arrays are, in whatever shape.
fn uniform(arrays: &[&Array]) -> Result<Option<f64>> {
    let [first, ..] = arrays else { return Ok(None) };
    let mut element: Option<Vec<u8>> = None;
    for array in arrays {
        for bytes in bytes_of(array)?.chunks_exact(first.dtype().size()) {
            if element.get_or_insert_with(|| bytes.to_vec()) != bytes {
                return Ok(None);
            }
        }
    }
    let Some(element) = element else { return Ok(Some(0.0)) };
    let Some(value) = first.to_f64_vec()?.first().copied() else { return Ok(None) };
    let exact = bytes_of(&Array::scalar(value, first.dtype())?)? == element;
    Ok(exact.then_some(value))
}

fn value_id(i: usize) -> ValueId {
    ValueId(i as u32)
}

fn ids(indices: &[usize]) -> Vec<ValueId> {
    indices.iter().map(|&i| value_id(i)).collect()
}
