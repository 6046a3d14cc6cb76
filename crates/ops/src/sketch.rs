//! A composition written down: what an op does in terms of other ops, and how that is differentiated.

use std::cell::RefCell;
use std::rc::Rc;

use esker_tensor::{DType, Device, Error, Result, Shape};
use smallvec::SmallVec;

use crate::exec::prepare;
use crate::{Grads, Meta, Op, OpRule, Ops, Outs, Value, Vjp};

/// One op applied in a composition.
struct Line {
    op: Op,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

#[derive(Default)]
struct Lines {
    metas: Vec<Meta>,
    lines: Vec<Line>,
    scalars: Vec<(usize, f64)>,
}

thread_local! {
    /// Constants made while a composition is written down belong to it.
    static CURRENT: RefCell<Vec<Rc<RefCell<Lines>>>> = const { RefCell::new(Vec::new()) };
}

/// A value of a composition that is being written down.
#[derive(Clone)]
struct Sketch {
    lines: Rc<RefCell<Lines>>,
    id: usize,
}

fn push(lines: &Rc<RefCell<Lines>>, meta: Meta) -> Sketch {
    let mut l = lines.borrow_mut();
    l.metas.push(meta);
    Sketch { lines: Rc::clone(lines), id: l.metas.len() - 1 }
}

fn current() -> Result<Rc<RefCell<Lines>>> {
    CURRENT
        .with_borrow(|c| c.last().cloned())
        .ok_or_else(|| Error::autograd("a composition was applied outside of the rule that writes it down"))
}

impl Value for Sketch {
    fn meta(&self) -> Meta {
        self.lines.borrow().metas[self.id]
    }

    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>> {
        if let Op::Call(call) = &op {
            return call.run(inputs);
        }
        let lines = current()?;
        let (inputs, _, metas) = prepare(&op, inputs)?;
        let outs: Outs<Sketch> = metas.iter().map(|m| push(&lines, *m)).collect();
        let line =
            Line { op, inputs: inputs.iter().map(|x| x.id).collect(), outputs: outs.iter().map(|y| y.id).collect() };
        lines.borrow_mut().lines.push(line);
        Ok(outs)
    }

    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self> {
        let lines = current()?;
        let sketch = push(&lines, Meta::new(dtype, Shape::empty(), device));
        lines.borrow_mut().scalars.push((sketch.id, value));
        Ok(sketch)
    }
}

/// Writes the composition of `op` down; returns it with the ids of its outputs. The inputs are ids `0..metas.len()`.
fn sketch<R: OpRule>(op: &R, metas: &[Meta]) -> Result<(Lines, Vec<usize>)> {
    let lines = Rc::new(RefCell::new(Lines::default()));
    let inputs: Vec<Sketch> = metas.iter().map(|m| push(&lines, *m)).collect();
    CURRENT.with_borrow_mut(|c| c.push(Rc::clone(&lines)));
    let composed = op.compose(&inputs.iter().collect::<Vec<_>>());
    CURRENT.with_borrow_mut(Vec::pop);
    let outputs = composed
        .unwrap_or_else(|| Err(Error::autograd(format!("{} has no composition to differentiate", op.name()))))?;
    let ids = outputs.iter().map(|y| y.id).collect();
    drop((inputs, outputs));
    let lines = Rc::try_unwrap(lines).map_err(|_| Error::autograd("a composition outlived its rule"))?;
    Ok((lines.into_inner(), ids))
}

/// The gradient of an op through its composition: replays it on the saved inputs, then walks it backwards.
/// The op's [`OpRule::grad`] must save all inputs.
///
/// # Errors
/// Those of the ops in the composition.
pub fn compose_vjp<V: Value, R: OpRule>(op: &R, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
    replay(&sketch(op, cx.x_metas)?, cx)
}

/// Apart from [`compose_vjp`] so that it is compiled once for each kind of value, not for each op.
fn replay<V: Value>((sketch, outputs): &(Lines, Vec<usize>), cx: &Vjp<'_, V>) -> Result<Grads<V>> {
    let n = cx.x_metas.len();
    let mut values: Vec<Option<V>> = vec![None; sketch.metas.len()];
    for (i, value) in values.iter_mut().enumerate().take(n) {
        *value = Some(cx.x(i)?.clone());
    }
    for &(id, value) in &sketch.scalars {
        values[id] = Some(V::scalar(value, sketch.metas[id].dtype, sketch.metas[id].device)?);
    }
    let mut needs: Vec<bool> = (0..sketch.metas.len()).map(|i| i < n && cx.needs(i)).collect();
    for line in &sketch.lines {
        let outs = V::apply(line.op.clone(), &gather(&values, &line.inputs)?)?;
        let any = line.inputs.iter().any(|&i| needs[i]);
        for (&id, out) in line.outputs.iter().zip(outs) {
            values[id] = Some(out);
            needs[id] = any && sketch.metas[id].dtype.is_float();
        }
    }
    let mut grads: Vec<Option<V>> = vec![None; sketch.metas.len()];
    for (&id, dy) in outputs.iter().zip(cx.dy) {
        accumulate(&mut grads[id], dy.clone())?;
    }
    for line in sketch.lines.iter().rev().filter(|l| l.outputs.iter().any(|&o| needs[o])) {
        let dy: SmallVec<[Option<V>; 2]> = line.outputs.iter().map(|&o| grads[o].take()).collect();
        if dy.iter().all(Option::is_none) {
            continue;
        }
        let inner = Vjp {
            name: line.op.name(),
            x_metas: &line.inputs.iter().map(|&i| sketch.metas[i]).collect::<Vec<_>>(),
            x: &line.inputs.iter().map(|&i| values[i].clone()).collect::<Vec<_>>(),
            y: &line.outputs.iter().map(|&i| values[i].clone()).collect::<Vec<_>>(),
            dy: &dy,
            needs: &line.inputs.iter().map(|&i| needs[i]).collect::<Vec<_>>(),
        };
        for (&i, dx) in line.inputs.iter().zip(line.op.vjp(&inner)?) {
            accumulate(&mut grads[i], dx)?;
        }
    }
    grads.truncate(n);
    Ok(grads.into_iter().collect())
}

fn gather<'a, V>(values: &'a [Option<V>], ids: &[usize]) -> Result<Vec<&'a V>> {
    ids.iter()
        .map(|&i| values[i].as_ref().ok_or_else(|| Error::autograd("a composition reads a value before it is made")))
        .collect()
}

fn accumulate<V: Value>(slot: &mut Option<V>, grad: Option<V>) -> Result<()> {
    *slot = match (slot.take(), grad) {
        (Some(a), Some(b)) => Some(a.add(&b)?),
        (a, b) => a.or(b),
    };
    Ok(())
}
