//! Nodes that a file can do without.

use std::collections::{HashMap, HashSet};

use crate::proto::{NodeProto, TensorProto};

/// Passes over `Identity` nodes, drops nodes and initializers that no output needs and trailing outputs that nobody
/// reads. `outputs` are the names of the results; they are redirected where they named an `Identity`.
pub(crate) fn simplify(nodes: &mut Vec<NodeProto>, initializers: &mut Vec<TensorProto>, outputs: &mut [String]) {
    let mut source: HashMap<String, String> = HashMap::new();
    for node in nodes.iter_mut() {
        for input in &mut node.input {
            if let Some(from) = source.get(input) {
                input.clone_from(from);
            }
        }
        if let (Some("Identity"), [from], [to]) = (node.op_type.as_deref(), &node.input[..], &node.output[..]) {
            source.insert(to.clone(), from.clone());
        }
    }
    for output in outputs.iter_mut() {
        if let Some(from) = source.get(output) {
            output.clone_from(from);
        }
    }
    let mut used: HashSet<String> = outputs.iter().cloned().collect();
    let mut kept = Vec::with_capacity(nodes.len());
    for mut node in nodes.drain(..).rev() {
        while node.output.last().is_some_and(|y| !used.contains(y)) {
            node.output.pop();
        }
        if !node.output.is_empty() {
            used.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    *nodes = kept;
    initializers.retain(|t| t.name.as_ref().is_some_and(|n| used.contains(n)));
}
