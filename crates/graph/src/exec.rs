//! Running a graph without a tape.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use esker_ops::{Array, Kernel, Meta, Metas, Op, backend, run};
use esker_tensor::{Device, Error, Result};

use crate::{Graph, ValueId};

/// How many batch sizes an executor remembers.
const PLANS: usize = 64;

/// Runs a graph on arrays: the same kernels in the same order as the captured model, hence the same bits.
pub struct Executor {
    graph: Graph,
    plans: Mutex<HashMap<(i64, Device), Arc<Plan>>>,
}

/// A graph for one batch size.
struct Plan {
    steps: Vec<Step>,
}

struct Step {
    op: Op,
    x: Vec<Meta>,
    y: Metas,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    /// Values that nobody reads after this step.
    done: Vec<ValueId>,
}

impl Executor {
    /// For a graph that holds together.
    ///
    /// # Errors
    /// Those of [`Graph::validate`].
    pub fn new(mut graph: Graph) -> Result<Self> {
        graph.validate()?;
        arrange_weights(&mut graph)?;
        Ok(Self { graph, plans: Mutex::new(HashMap::new()) })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The results for `inputs`, given in the graph's order.
    ///
    /// # Errors
    /// `Shape` or `DType` naming the input that does not fit; those of the ops.
    pub fn run(&self, inputs: &[Array]) -> Result<Vec<Array>> {
        let n = self.check(inputs)?;
        let device = inputs.iter().try_fold(self.home(), |d, x| d.meet(x.device()))?;
        let plan = self.plan(n, device)?;
        let mut values: Vec<Option<Array>> = vec![None; self.graph.values.len()];
        let given = self.graph.inputs.iter().copied().zip(inputs.iter().cloned());
        for (id, array) in given.chain(self.graph.consts.iter().map(|c| (c.id, c.array.clone()))) {
            put(&mut values, id, array);
        }
        for step in &plan.steps {
            let x = step.inputs.iter().map(|&id| get(&values, id)).collect::<Result<Vec<_>>>()?;
            let y = run(&step.op, &x, &step.x, &step.y)?;
            for (&id, array) in step.outputs.iter().zip(y) {
                put(&mut values, id, array);
            }
            for id in &step.done {
                values.get_mut(id.index()).map(Option::take);
            }
        }
        self.graph.outputs.iter().map(|o| get(&values, o.id).cloned()).collect()
    }

    /// The device of the constants; the CPU where there are none.
    fn home(&self) -> Device {
        self.graph.consts.first().map_or(Device::Cpu, |c| c.array.device())
    }

    /// The batch that all inputs agree on.
    fn check(&self, inputs: &[Array]) -> Result<i64> {
        let graph = &self.graph;
        if inputs.len() != graph.inputs.len() {
            let names: Vec<String> = graph.inputs.iter().map(|&id| graph.label(id)).collect();
            return Err(Error::shape(format!(
                "{} inputs were given, {} are needed: {}",
                inputs.len(),
                names.len(),
                names.join(", ")
            )));
        }
        let mut batch: Option<(i64, String)> = None;
        for (&id, x) in graph.inputs.iter().zip(inputs) {
            let (name, info) = (graph.label(id), graph.value(id)?);
            let misfit = |why: &str| {
                format!(
                    "input `{name}` is {}{:?}, needed is {}{}{why}",
                    x.dtype(),
                    x.shape(),
                    info.dtype,
                    graph.dims_text(&info.dims)
                )
            };
            if x.dtype() != info.dtype {
                return Err(Error::dtype(misfit("")));
            }
            if x.shape().len() != info.dims.len() {
                return Err(Error::shape(misfit("")));
            }
            for (&size, dim) in x.shape().iter().zip(&info.dims) {
                let size = size as i64;
                if dim.is_fixed() {
                    if dim.fixed != size {
                        return Err(Error::shape(misfit("")));
                    }
                    continue;
                }
                let n = dim.solve(size).ok_or_else(|| Error::shape(misfit("")))?;
                match &batch {
                    Some((m, first)) if *m != n => {
                        return Err(Error::shape(misfit(&format!(" with {} = {m} as in `{first}`", graph.symbol))));
                    }
                    _ => batch = Some((n, name.clone())),
                }
            }
        }
        Ok(batch.map_or(1, |(n, _)| n))
    }

    fn plan(&self, n: i64, device: Device) -> Result<Arc<Plan>> {
        let lock = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = lock().get(&(n, device)) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(self.make_plan(n, device)?);
        let mut plans = lock();
        if plans.len() >= PLANS {
            plans.clear();
        }
        plans.insert((n, device), Arc::clone(&plan));
        Ok(plan)
    }

    fn make_plan(&self, n: i64, device: Device) -> Result<Plan> {
        let bound = self.graph.bind(n, device)?;
        let meta =
            |id: &ValueId| bound.metas.get(id.index()).copied().ok_or_else(|| Error::capture("a value is missing"));
        let mut kept = vec![false; self.graph.values.len()];
        let results = self.graph.outputs.iter().map(|o| o.id);
        results.for_each(|id| kept.get_mut(id.index()).into_iter().for_each(|k| *k = true));
        let mut steps = Vec::with_capacity(bound.ops.len());
        for (node, op) in self.graph.nodes.iter().zip(bound.ops).rev() {
            let mut done = Vec::new();
            for &id in node.inputs.iter().chain(&node.outputs) {
                if let Some(kept) = kept.get_mut(id.index())
                    && !std::mem::replace(kept, true)
                {
                    done.push(id);
                }
            }
            steps.push(Step {
                op,
                x: node.inputs.iter().map(meta).collect::<Result<_>>()?,
                y: node.outputs.iter().map(meta).collect::<Result<_>>()?,
                inputs: node.inputs.clone(),
                outputs: node.outputs.clone(),
                done,
            });
        }
        steps.reverse();
        Ok(Plan { steps })
    }
}

/// Lets the weights of fully connected layers lie as the backend reads them fastest; they are the same numbers. Not those
/// that something else reads too, such as an embedding.
fn arrange_weights(graph: &mut Graph) -> Result<()> {
    let reads = graph.nodes.iter().flat_map(|node| {
        let affine = matches!(node.op, Op::Affine(_));
        node.inputs.iter().enumerate().map(move |(place, id)| (affine && place == 1, *id))
    });
    let (weights, others): (Vec<_>, Vec<_>) = reads.partition(|(weight, _)| *weight);
    let mut weights: HashSet<ValueId> = weights.into_iter().map(|(_, id)| id).collect();
    others.iter().for_each(|(_, id)| _ = weights.remove(id));
    for constant in graph.consts.iter_mut().filter(|c| weights.contains(&c.id) && c.array.device() != Device::Meta) {
        let Ok(backend) = backend(constant.array.device()) else { continue };
        if let Some(array) = backend.arrange(&Kernel::Affine, 1, &constant.array)? {
            constant.array = array;
        }
    }
    Ok(())
}

fn put(values: &mut [Option<Array>], id: ValueId, array: Array) {
    if let Some(slot) = values.get_mut(id.index()) {
        *slot = Some(array);
    }
}

fn get(values: &[Option<Array>], id: ValueId) -> Result<&Array> {
    values
        .get(id.index())
        .and_then(Option::as_ref)
        .ok_or_else(|| Error::capture(format!("value %{} is not there when it is read", id.0)))
}
