//! What makes a graph smaller without changing its results.

use crate::{Graph, ValueId};

impl Graph {
    /// Drops nodes and constants that no result needs, and numbers the values anew.
    pub fn without_dead_code(mut self) -> Graph {
        let mut live = vec![false; self.values.len()];
        let mark =
            |live: &mut Vec<bool>, id: ValueId| live.get_mut(id.index()).is_some_and(|l| !std::mem::replace(l, true));
        for id in self.outputs.iter().map(|o| o.id).chain(self.inputs.iter().copied()) {
            mark(&mut live, id);
        }
        let is_live = |live: &[bool], id: &ValueId| live.get(id.index()).copied().unwrap_or(false);
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.drain(..).rev() {
            if node.outputs.iter().any(|y| is_live(&live, y)) {
                for &id in node.inputs.iter().chain(&node.outputs) {
                    mark(&mut live, id);
                }
                nodes.push(node);
            }
        }
        nodes.reverse();
        self.consts.retain(|c| is_live(&live, &c.id));
        let mut next = 0;
        let place: Vec<ValueId> = live
            .iter()
            .map(|&live| {
                let id = ValueId(next);
                next += u32::from(live);
                id
            })
            .collect();
        let moved = |id: &mut ValueId| *id = place.get(id.index()).copied().unwrap_or(*id);
        nodes.iter_mut().for_each(|n| n.inputs.iter_mut().chain(&mut n.outputs).for_each(moved));
        self.inputs.iter_mut().for_each(moved);
        self.outputs.iter_mut().for_each(|o| moved(&mut o.id));
        self.consts.iter_mut().for_each(|c| moved(&mut c.id));
        let mut keep = live.into_iter();
        self.values.retain(|_| keep.next().unwrap_or(false));
        self.nodes = nodes;
        self
    }
}
