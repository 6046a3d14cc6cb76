//! A reverse-mode tape from nothing: what `esker::autograd` does, on f64 scalars and in under 150 lines of plain Rust.
//!
//! Every operation appends a node to the tape: which earlier nodes it read, and the derivative by each of them. The chain
//! rule then needs one walk from the end to the start. Run it with `cargo run --example tape_in_150_lines`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::cell::RefCell;
use std::ops::{Add, Mul, Neg, Sub};

/// What one operation left behind: its inputs and the local derivative by each. A leaf has none.
type Node = Vec<(usize, f64)>;

/// All operations in the order in which they ran, so that inputs always stand before what is made of them.
#[derive(Default)]
struct Tape(RefCell<Vec<Node>>);

/// A number that knows its place on the tape.
#[derive(Clone, Copy)]
struct Var<'t> {
    tape: &'t Tape,
    index: usize,
    value: f64,
}

impl Tape {
    fn push(&self, value: f64, node: Node) -> Var<'_> {
        let mut nodes = self.0.borrow_mut();
        nodes.push(node);
        Var { tape: self, index: nodes.len() - 1, value }
    }

    /// A number whose gradient will be asked for.
    fn leaf(&self, value: f64) -> Var<'_> {
        self.push(value, Vec::new())
    }
}

impl<'t> Var<'t> {
    /// An operation of one input with its derivative there.
    fn unary(self, value: f64, slope: f64) -> Var<'t> {
        self.tape.push(value, vec![(self.index, slope)])
    }

    fn tanh(self) -> Var<'t> {
        let y = self.value.tanh();
        self.unary(y, 1.0 - y * y)
    }

    fn exp(self) -> Var<'t> {
        let y = self.value.exp();
        self.unary(y, y)
    }

    /// The derivative of `self` by every node before it: start with 1 at the end and hand each node's share to its inputs.
    fn backward(self) -> Vec<f64> {
        let nodes = self.tape.0.borrow();
        let mut gradient = vec![0.0; nodes.len()];
        gradient[self.index] = 1.0;
        for (index, node) in nodes.iter().enumerate().rev() {
            for &(input, slope) in node {
                gradient[input] += gradient[index] * slope; // The chain rule; shares from several uses add up.
            }
        }
        gradient
    }
}

impl<'t> Add for Var<'t> {
    type Output = Var<'t>;
    fn add(self, o: Var<'t>) -> Var<'t> {
        self.tape.push(self.value + o.value, vec![(self.index, 1.0), (o.index, 1.0)])
    }
}

impl<'t> Sub for Var<'t> {
    type Output = Var<'t>;
    fn sub(self, o: Var<'t>) -> Var<'t> {
        self.tape.push(self.value - o.value, vec![(self.index, 1.0), (o.index, -1.0)])
    }
}

impl<'t> Mul for Var<'t> {
    type Output = Var<'t>;
    fn mul(self, o: Var<'t>) -> Var<'t> {
        self.tape.push(self.value * o.value, vec![(self.index, o.value), (o.index, self.value)])
    }
}

impl<'t> Neg for Var<'t> {
    type Output = Var<'t>;
    fn neg(self) -> Var<'t> {
        self.unary(-self.value, -1.0)
    }
}

/// The gradient by the tape against `(f(x + h) - f(x - h)) / 2h`, along each input.
fn check(f: impl for<'t> Fn(&[Var<'t>]) -> Var<'t>, at: &[f64]) {
    let value = |x: &[f64]| {
        let tape = Tape::default();
        f(&x.iter().map(|&v| tape.leaf(v)).collect::<Vec<_>>()).value
    };
    let tape = Tape::default();
    let inputs: Vec<Var<'_>> = at.iter().map(|&v| tape.leaf(v)).collect();
    let gradient = f(&inputs).backward();
    for (i, input) in inputs.iter().enumerate() {
        let (mut up, mut down, h) = (at.to_vec(), at.to_vec(), 1e-5);
        up[i] += h;
        down[i] -= h;
        let expected = (value(&up) - value(&down)) / (2.0 * h);
        let given = gradient[input.index];
        assert!((given - expected).abs() < 1e-8, "input {i}: the tape says {given}, differences say {expected}");
        println!("d f / d x{i} = {given:>9.6} by the tape, {expected:>9.6} by differences");
    }
}

/// A net of two inputs, three hidden units and one output; `w` holds its 13 weights.
fn net<'t>(w: &[Var<'t>], x: [Var<'t>; 2]) -> Var<'t> {
    let hidden = |k: usize| (w[3 * k] * x[0] + w[3 * k + 1] * x[1] + w[3 * k + 2]).tanh();
    w[9] * hidden(0) + w[10] * hidden(1) + w[11] * hidden(2) + w[12]
}

const XOR: [([f64; 2], f64); 4] = [([0.0, 0.0], 0.0), ([0.0, 1.0], 1.0), ([1.0, 0.0], 1.0), ([1.0, 1.0], 0.0)];

fn main() {
    check(|x| (x[0] * x[1] + x[0].exp()) * (-x[1]).tanh() - x[0], &[0.7, -0.4]);
    // Any fixed start that is not symmetric will do.
    let mut weights: Vec<f64> = (1..=13).map(|i| f64::sin(f64::from(i * i))).collect();
    for step in 0..=500 {
        let tape = Tape::default(); // A new tape for every step: the graph is whatever ran.
        let w: Vec<Var<'_>> = weights.iter().map(|&v| tape.leaf(v)).collect();
        let errors = XOR.map(|(x, y)| net(&w, x.map(|v| tape.leaf(v))) - tape.leaf(y));
        let loss = errors.into_iter().map(|e| e * e).reduce(|a, b| a + b).unwrap();
        let gradient = loss.backward();
        weights.iter_mut().zip(&w).for_each(|(v, w)| *v -= 0.05 * gradient[w.index]);
        if step % 100 == 0 {
            println!("step {step:>3}: loss {:.6}", loss.value);
        }
    }
    let tape = Tape::default();
    let w: Vec<Var<'_>> = weights.iter().map(|&v| tape.leaf(v)).collect();
    for (x, y) in XOR {
        let answer = net(&w, x.map(|v| tape.leaf(v))).value;
        println!("{} xor {} = {answer:.3}", x[0], x[1]);
        assert!((answer - y).abs() < 0.1, "xor was not learnt");
    }
}
