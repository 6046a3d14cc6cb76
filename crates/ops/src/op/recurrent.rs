//! Recurrent layers over a sequence `[steps, n, in]`: one layer, one direction. Weights are PyTorch's: gates one below
//! the other, `w_ih [gates * hidden, in]`, `w_hh [gates * hidden, hidden]`, biases `[gates * hidden]`.

use esker_tensor::{Error, Result};

use super::function;
use crate::{Described, FnRule, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, Ops, Value};

/// What all recurrent layers take.
struct Layer<'a, V> {
    input: &'a V,
    w_ih: &'a V,
    w_hh: &'a V,
    b_ih: Option<&'a V>,
    b_hh: Option<&'a V>,
    reverse: bool,
}

/// Fails unless `x` is of this shape.
fn need<V: Value>(what: &str, x: &V, sizes: &[usize]) -> Result<()> {
    let given = x.meta().shape;
    if given[..] == *sizes {
        return Ok(());
    }
    Err(Error::shape(format!("{what} must be {sizes:?}, got {given:?}")))
}

impl<V: Value> Layer<'_, V> {
    /// Fails unless all shapes fit a layer of so many gates.
    fn check(&self, gates: usize, states: &[(&str, &V)]) -> Result<()> {
        let (x, w) = (self.input.meta().shape, self.w_hh.meta().shape);
        if x.len() != 3 || x[0] == 0 {
            return Err(Error::shape(format!("the input must be [steps, n, in] with at least one step, got {x:?}")));
        }
        let hidden = w.last().copied().unwrap_or(0);
        need("w_hh", self.w_hh, &[gates * hidden, hidden])?;
        need("w_ih", self.w_ih, &[gates * hidden, x[2]])?;
        if self.b_ih.is_some() != self.b_hh.is_some() {
            return Err(Error::shape("takes both biases or none, got one"));
        }
        for (what, bias) in [("b_ih", self.b_ih), ("b_hh", self.b_hh)] {
            bias.map_or(Ok(()), |bias| need(what, bias, &[gates * hidden]))?;
        }
        states.iter().try_for_each(|(what, state)| need(what, *state, &[x[1], hidden]))
    }

    /// The input's part of every gate, `[n, gates * hidden]` for each step, from one product.
    fn input_parts(&self, bias: Option<&V>) -> Result<Vec<V>> {
        let x = self.input.meta().shape;
        let part = self.input.reshape([x[0] * x[1], x[2]])?.linear(self.w_ih, bias)?;
        part.reshape([x[0], x[1], self.w_ih.meta().shape[0]])?.unbind(0)
    }

    /// Both biases as one, for layers in which they only meet in a sum.
    fn bias(&self) -> Result<Option<V>> {
        self.b_ih.zip(self.b_hh).map(|(a, b)| a.add(b)).transpose()
    }

    /// Calls `step` on the part of each step in order (in reverse order, for a reverse layer); stacks what it returns in
    /// the order of time.
    fn steps(&self, bias: Option<&V>, mut step: impl FnMut(&V) -> Result<V>) -> Result<V> {
        let mut parts = self.input_parts(bias)?;
        if self.reverse {
            parts.reverse();
        }
        let mut outputs = parts.iter().map(&mut step).collect::<Result<Vec<V>>>()?;
        if self.reverse {
            outputs.reverse();
        }
        V::stack(&outputs.iter().collect::<Vec<_>>(), 0)
    }
}

/// What a layer gives, from what its first step gives: the steps are alike, and there may be thousands.
fn after_one_step<F: FnRule>(layer: &F, x: &[Option<&Meta>]) -> Option<Result<Metas>> {
    let mut x: Vec<Option<Described>> = x.iter().map(|m| m.map(|m| Described(*m))).collect();
    let steps = match x.first_mut() {
        Some(Some(Described(input))) if input.shape.len() == 3 && input.shape[0] > 1 => {
            std::mem::replace(&mut input.shape[0], 1)
        }
        _ => return None,
    };
    let x: Vec<Option<&Described>> = x.iter().map(Option::as_ref).collect();
    Some(layer.call(&x).map(|outs| {
        let mut metas: Metas = outs.iter().map(|y| y.0).collect();
        if let Some(output) = metas.first_mut() {
            output.shape[0] = steps;
        }
        metas
    }))
}

/// Gate `i`, or several from there on.
fn gates<V: Value>(x: &V, first: usize, count: usize, hidden: usize) -> Result<V> {
    x.narrow(-1, (first * hidden) as i64, (count * hidden) as i64)
}

function! { LstmLayer |op, input, h0, c0, w_ih, w_hh; b_ih, b_hh| {
    let layer = Layer { input, w_ih, w_hh, b_ih, b_hh, reverse: op.reverse };
    layer.check(4, &[("h0", h0), ("c0", c0)])?;
    let hidden = w_hh.meta().shape[1];
    let (mut h, mut c) = (h0.clone(), c0.clone());
    let output = layer.steps(layer.bias()?.as_ref(), |part| {
        let all = part.add(&h.linear(w_hh, None)?)?;
        let open = gates(&all, 0, 2, hidden)?.sigmoid()?;
        let (input, forget) = (gates(&open, 0, 1, hidden)?, gates(&open, 1, 1, hidden)?);
        let cell = gates(&all, 2, 1, hidden)?.tanh()?;
        c = forget.mul(&c)?.add(&input.mul(&cell)?)?;
        h = gates(&all, 3, 1, hidden)?.sigmoid()?.mul(&c.tanh()?)?;
        Ok(h.clone())
    })?;
    [output, h, c]
}, infer |op, x| after_one_step(op, x), onnx |op, cx| onnx(cx, "LSTM", &[0, 3, 1, 2], 2, op.reverse, None) }

function! { GruLayer |op, input, h0, w_ih, w_hh; b_ih, b_hh| {
    let layer = Layer { input, w_ih, w_hh, b_ih, b_hh, reverse: op.reverse };
    layer.check(3, &[("h0", h0)])?;
    let hidden = w_hh.meta().shape[1];
    let mut h = h0.clone();
    let output = layer.steps(b_ih, |part| {
        let own = h.linear(w_hh, b_hh)?;
        let open = gates(part, 0, 2, hidden)?.add(&gates(&own, 0, 2, hidden)?)?.sigmoid()?;
        let (reset, keep) = (gates(&open, 0, 1, hidden)?, gates(&open, 1, 1, hidden)?);
        let new = gates(part, 2, 1, hidden)?.add(&reset.mul(&gates(&own, 2, 1, hidden)?)?)?.tanh()?;
        h = new.add(&keep.mul(&h.sub(&new)?)?)?;
        Ok(h.clone())
    })?;
    [output, h]
}, infer |op, x| after_one_step(op, x), onnx |op, cx| onnx(cx, "GRU", &[1, 0, 2], 1, op.reverse, Some(("linear_before_reset", OnnxAttr::Int(1)))) }

function! { RnnLayer |op, input, h0, w_ih, w_hh; b_ih, b_hh| {
    let layer = Layer { input, w_ih, w_hh, b_ih, b_hh, reverse: op.reverse };
    layer.check(1, &[("h0", h0)])?;
    let relu = match op.nonlinearity.as_str() {
        "tanh" => false,
        "relu" => true,
        other => return Err(Error::kernel(format!("the nonlinearity must be tanh or relu, got {other:?}"))),
    };
    let mut h = h0.clone();
    let output = layer.steps(layer.bias()?.as_ref(), |part| {
        let all = part.add(&h.linear(w_hh, None)?)?;
        h = if relu { all.relu()? } else { all.tanh()? };
        Ok(h.clone())
    })?;
    [output, h]
}, infer |op, x| after_one_step(op, x), onnx |op, cx| {
    let name = if op.nonlinearity == "relu" { "Relu" } else { "Tanh" };
    onnx(cx, "RNN", &[0], 1, op.reverse, Some(("activations", OnnxAttr::Strs(vec![name]))))
} }

/// ONNX's own node: weights and biases with its order of gates and a leading dimension of directions.
fn onnx(
    cx: &OnnxCx<'_>,
    op_type: &'static str,
    order: &[usize],
    states: usize,
    reverse: bool,
    attr: Option<(&'static str, OnnxAttr)>,
) -> Option<Onnx> {
    let (w_ih, b_ih) = (1 + states, 3 + states);
    let hidden = *cx.x.get(w_ih + 1)?.shape.get(1)?;
    let rows: Vec<i64> = order.iter().flat_map(|g| g * hidden..(g + 1) * hidden).map(|i| i as i64).collect();
    let mut nodes = Vec::new();
    let mut push = |node: OnnxNode| {
        nodes.push(node);
        OnnxRef::Node(nodes.len() - 1, 0)
    };
    let ordered =
        |i| OnnxNode::new("Gather", vec![OnnxRef::In(i), OnnxRef::Ints(rows.clone())]).attr("axis", OnnxAttr::Int(0));
    let mut inputs = vec![OnnxRef::In(0)];
    for i in [w_ih, w_ih + 1] {
        let weight = push(ordered(i));
        inputs.push(push(axis("Unsqueeze", weight, 0)));
    }
    inputs.push(match cx.x.len() - b_ih {
        0 => OnnxRef::Absent,
        2 => {
            let biases = vec![push(ordered(b_ih)), push(ordered(b_ih + 1))];
            let both = push(OnnxNode::new("Concat", biases).attr("axis", OnnxAttr::Int(0)));
            push(axis("Unsqueeze", both, 0))
        }
        _ => return None,
    });
    inputs.push(OnnxRef::Absent);
    for i in 1..=states {
        inputs.push(push(axis("Unsqueeze", OnnxRef::In(i), 0)));
    }
    let direction = if reverse { "reverse" } else { "forward" };
    let mut layer = OnnxNode::new(op_type, inputs)
        .attr("hidden_size", OnnxAttr::Int(hidden as i64))
        .attr("direction", OnnxAttr::Str(direction))
        .outputs(1 + states);
    layer.attrs.extend(attr);
    let OnnxRef::Node(made, _) = push(layer) else { return None };
    push(axis("Squeeze", OnnxRef::Node(made, 0), 1));
    (1..=states).for_each(|k| {
        push(axis("Squeeze", OnnxRef::Node(made, k), 0));
    });
    Some(Onnx::Nodes(nodes))
}

fn axis(op_type: &'static str, x: OnnxRef, at: i64) -> OnnxNode {
    OnnxNode::new(op_type, vec![x, OnnxRef::Ints(vec![at])])
}

#[cfg(feature = "spec")]
mod spec {
    use crate::op::*;
    use crate::spec::{Input, OpSpec, RefArray, Sample, real, real_in, values};

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// Walks the steps of row `k` of the batch: `step(own part, h part, h, c)` gives the new state of unit `j`, where the
    /// parts are the gates' sums without and with the recurrent product.
    fn walk(
        x: &[RefArray],
        states: usize,
        gates: usize,
        reverse: bool,
        step: impl Fn(&[f64], &[f64], f64, f64) -> (f64, f64),
    ) -> Vec<RefArray> {
        let (w_ih, w_hh) = (&x[1 + states], &x[2 + states]);
        let biases: Vec<&RefArray> = x.iter().skip(3 + states).collect();
        let (steps, n, width, hidden) = (x[0].shape[0], x[0].shape[1], x[0].shape[2], w_hh.shape[1]);
        let mut h = x[1].clone();
        let mut c = x[states].clone();
        let mut out = RefArray::zeros(&[steps, n, hidden]);
        for t in (0..steps).map(|t| if reverse { steps - 1 - t } else { t }) {
            let old = h.clone();
            for k in 0..n {
                for j in 0..hidden {
                    let row = |g: usize| g * hidden + j;
                    let own: Vec<f64> = (0..gates)
                        .map(|g| {
                            let bias = biases.first().map_or(0.0, |b| b.data[row(g)]);
                            bias + (0..width).map(|e| w_ih.at(&[row(g), e]) * x[0].at(&[t, k, e])).sum::<f64>()
                        })
                        .collect();
                    let back: Vec<f64> = (0..gates)
                        .map(|g| {
                            let bias = biases.get(1).map_or(0.0, |b| b.data[row(g)]);
                            bias + (0..hidden).map(|e| w_hh.at(&[row(g), e]) * old.at(&[k, e])).sum::<f64>()
                        })
                        .collect();
                    let (new, cell) = step(&own, &back, old.at(&[k, j]), c.at(&[k, j]));
                    *h.at_mut(&[k, j]) = new;
                    *c.at_mut(&[k, j]) = cell;
                    *out.at_mut(&[t, k, j]) = new;
                }
            }
        }
        if states == 2 { vec![out, h, c] } else { vec![out, h] }
    }

    /// Inputs of a layer: `[steps, n, in]`, states, weights and so many biases.
    fn inputs([steps, n, width, hidden]: [usize; 4], states: usize, gates: usize, biases: usize) -> Vec<Input> {
        let mut x = vec![real(&[steps, n, width])];
        x.extend((0..states).map(|_| real_in(&[n, hidden], -1.0, 1.0)));
        x.extend([real_in(&[gates * hidden, width], -1.0, 1.0), real_in(&[gates * hidden, hidden], -1.0, 1.0)]);
        x.extend((0..biases).map(|_| real_in(&[gates * hidden], -1.0, 1.0)));
        x
    }

    fn samples(op: impl Fn(bool) -> crate::Op, states: usize, gates: usize) -> Vec<Sample> {
        let new = |reverse, sizes, biases| Sample::new(op(reverse), inputs(sizes, states, gates, biases));
        let mut narrow = inputs([2, 2, 3, 2], states, gates, 2);
        narrow[1 + states] = real(&[gates * 2, 2]);
        let mut short = inputs([2, 2, 3, 2], states, gates, 2);
        short[1] = real(&[1, 2]);
        let mut long = inputs([2, 2, 3, 2], states, gates, 2);
        long[3 + states] = real(&[gates * 2 + 1]);
        vec![
            new(false, [3, 2, 3, 2], 2),
            new(true, [3, 2, 3, 2], 2),
            new(false, [2, 1, 1, 3], 0),
            new(true, [2, 2, 2, 1], 1).fails("Shape", "one bias of two"),
            new(false, [1, 3, 2, 2], 2).note("one step"),
            new(false, [2, 0, 2, 2], 2).note("no batch"),
            new(false, [0, 2, 2, 2], 2).fails("Shape", "no step"),
            Sample::new(op(false), narrow).fails("Shape", "a weight of another width"),
            Sample::new(op(false), short).fails("Shape", "a state of another batch"),
            Sample::new(op(false), long).fails("Shape", "a bias too long"),
        ]
    }

    /// One unit, one step and weights of 0: what the biases say.
    fn by_bias(op: impl Into<crate::Op>, states: &[f64], b_ih: &[f64], b_hh: &[f64]) -> Sample {
        let zeros = values(&[b_ih.len(), 1], &vec![0.0; b_ih.len()]);
        let mut x = vec![values(&[1, 1, 1], &[1.0])];
        x.extend(states.iter().map(|s| values(&[1, 1], &[*s])));
        x.extend([zeros.clone(), zeros, values(&[b_ih.len()], b_ih), values(&[b_hh.len()], b_hh)]);
        Sample::new(op, x)
    }

    const TANH_HALF: f64 = 0.462_117_157_260_009_74;

    impl OpSpec for LstmLayer {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            walk(x, 2, 4, self.reverse, |own, back, _, c| {
                let gate = |g: usize| own[g] + back[g];
                let cell = sigmoid(gate(1)) * c + sigmoid(gate(0)) * gate(2).tanh();
                (sigmoid(gate(3)) * cell.tanh(), cell)
            })
        }
        fn samples() -> Vec<Sample> {
            let mut out = samples(|reverse| LstmLayer { reverse }.into(), 2, 4);
            // Input gate open, forget gate shut, output gate half open.
            let known = by_bias(LstmLayer { reverse: false }, &[3.0, 7.0], &[90.0, -90.0, 0.5, 0.0], &[0.0; 4]);
            let y = 0.215_904_090_297_548_06;
            out.push(known.known(&[&[y], &[y], &[TANH_HALF]], "tanh(1/2) and half of its tanh, Python 3.11's math"));
            out
        }
    }

    impl OpSpec for GruLayer {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            walk(x, 1, 3, self.reverse, |own, back, h, _| {
                let (r, z) = (sigmoid(own[0] + back[0]), sigmoid(own[1] + back[1]));
                let n = (own[2] + r * back[2]).tanh();
                let h = (1.0 - z) * n + z * h;
                (h, h)
            })
        }
        fn samples() -> Vec<Sample> {
            let mut out = samples(|reverse| GruLayer { reverse }.into(), 1, 3);
            // Reset gate shut, update gate shut: the new state is tanh of the input's bias alone.
            let known = by_bias(GruLayer { reverse: false }, &[3.0], &[-90.0, -90.0, 0.5], &[0.0, 0.0, 9.0]);
            out.push(known.known(&[&[TANH_HALF], &[TANH_HALF]], "tanh(1/2), Python 3.11's math"));
            // Update gate open: the state stays.
            let kept = by_bias(GruLayer { reverse: false }, &[3.0], &[-90.0, 90.0, 0.5], &[0.0, 0.0, 9.0]);
            out.push(kept.known(&[&[3.0], &[3.0]], "by definition"));
            out
        }
    }

    impl OpSpec for RnnLayer {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            walk(x, 1, 1, self.reverse, |own, back, _, _| {
                let sum = own[0] + back[0];
                let h = if self.nonlinearity == "relu" { sum.max(0.0) } else { sum.tanh() };
                (h, h)
            })
        }
        fn samples() -> Vec<Sample> {
            let op = |nonlinearity: &str, reverse| RnnLayer { nonlinearity: nonlinearity.into(), reverse };
            let mut out = samples(|reverse| op("tanh", reverse).into(), 1, 1);
            out.push(Sample::new(op("relu", true), inputs([3, 2, 3, 2], 1, 1, 2)));
            let known = by_bias(op("tanh", false), &[3.0], &[0.25], &[0.25]);
            out.push(known.known(&[&[TANH_HALF], &[TANH_HALF]], "tanh(1/2), Python 3.11's math"));
            out.push(by_bias(op("relu", false), &[3.0], &[0.25], &[0.5]).known(&[&[0.75], &[0.75]], "by hand"));
            out.push(Sample::new(op("gelu", false), inputs([1, 1, 1, 1], 1, 1, 0)).fails("Kernel", "no such function"));
            out
        }
    }
}
