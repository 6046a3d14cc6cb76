//! Inference of captured models: no tape, one input or a batch, and decoding with what was said before.

use esker::InputSpec;
use esker::graph::Executor;
use esker::ops::Array;
use esker::prelude::*;

use crate::bench::{Bench, Work};
use crate::data::integers;
use crate::net::{self, Caches, Gpt};

/// Letters decoded, and those before them.
const DECODED: usize = 64;
const BEFORE: usize = 128;

/// A model and what it is given.
struct Inference {
    name: &'static str,
    model: fn() -> Result<Box<dyn Forward>>,
    input: fn() -> Result<Tensor>,
    work: (f64, f64),
    budgets: f64,
}

const LETTERS: i64 = net::LETTERS as i64;

const INFERENCES: [Inference; 6] = [
    Inference {
        name: "infer_mlp",
        model: net::mlp,
        input: || Tensor::randn([1, 784]),
        work: (2.0 * 668_672.0, 4.0 * 669_706.0),
        budgets: 1.0,
    },
    Inference {
        name: "infer_mlp_b128",
        model: net::mlp,
        input: || Tensor::randn([128, 784]),
        work: (2.0 * 128.0 * 668_672.0, 0.0),
        budgets: 1.0,
    },
    Inference {
        name: "infer_lenet",
        model: net::lenet,
        input: || Tensor::randn([1, 1, 28, 28]),
        work: (2.0 * 2_293_000.0, 4.0 * 431_080.0),
        budgets: 1.0,
    },
    Inference {
        name: "infer_resnet18",
        model: net::resnet18,
        input: || Tensor::randn([1, 3, 224, 224]),
        work: (2.0 * 1_814e6, 4.0 * 11.7e6),
        budgets: 3.0,
    },
    Inference {
        name: "infer_gpt_256",
        model: net::gpt,
        input: || integers(LETTERS, [1, 256]),
        work: (2.0 * 256.0 * 3.162e6 + 4.0 * 4.0 * 256.0 * 256.0 * 256.0, 0.0),
        budgets: 2.0,
    },
    Inference {
        name: "infer_lstm_64",
        model: net::lstm,
        input: || integers(LETTERS, [1, 64]),
        work: (0.0, 0.0),
        budgets: 1.0,
    },
];

pub(crate) fn run(bench: &Bench) -> Result<()> {
    for i in INFERENCES.iter().filter(|i| bench.wants(i.name)) {
        let (executor, x) = captured(i)?;
        bench.run_for(i.name, Work::new(i.work.0, i.work.1), i.budgets, || executor.run(std::slice::from_ref(&x)));
    }
    let decode = "decode_gpt_64tok";
    if bench.wants(decode) {
        let decoding = Decoding::new(&Gpt::new()?)?;
        // Every step reads all weights and what is remembered.
        let work = Work::new(0.0, 4.0 * (3.162e6 + 4.0 * 2.0 * 160.0 * 256.0)).times(DECODED as f64);
        bench.run_for(decode, work, 3.0, || decoding.run());
    }
    Ok(())
}

/// The model as a graph for any batch, and its input.
fn captured(i: &Inference) -> Result<(Executor, Array)> {
    let (net, x) = ((i.model)()?, (i.input)()?);
    net.eval();
    let mut sizes: Vec<Option<usize>> = x.shape().iter().map(|&n| Some(n)).collect();
    sizes[0] = None;
    let graph = esker::capture(&*net, InputSpec::new("x", x.dtype(), &sizes))?;
    Ok((Executor::new(graph)?, x.array().clone()))
}

/// One step of decoding as a graph, in which the number of letters before is free.
struct Decoding {
    executor: Executor,
    positions: Vec<Array>,
    first: Array,
    before: Vec<Array>,
}

impl Decoding {
    fn new(gpt: &Gpt) -> Result<Self> {
        let zeros = Caches::empty(BEFORE)?;
        let before: Vec<Array> = zeros.tensors().map(|t| t.array().clone()).collect();
        let mut inputs = vec![
            InputSpec::new("letter", DType::I64, &[Some(1), Some(1)]),
            InputSpec::new("position", DType::I64, &[Some(1)]),
        ];
        for (i, cache) in before.iter().enumerate() {
            let mut sizes: Vec<Option<usize>> = cache.shape().iter().map(|&n| Some(n)).collect();
            sizes[2] = None;
            inputs.push(InputSpec::new(format!("cache_{i}"), DType::F32, &sizes));
        }
        let graph = esker::capture_of(gpt, &inputs, |x| {
            let (logits, caches) = gpt.step(&x[0], &x[1], &Caches::of(&x[2..]))?;
            let mut y = vec![logits.argmax(-1, false)?];
            y.extend(caches.tensors().cloned());
            Ok(y)
        })?;
        let position = |i: usize| Ok(Tensor::from_vec([(BEFORE + i) as i64])?.array().clone());
        Ok(Self {
            executor: Executor::new(graph)?,
            positions: (0..DECODED).map(position).collect::<Result<_>>()?,
            first: Tensor::from_slice(&[0i64], [1, 1])?.array().clone(),
            before,
        })
    }

    /// The last letter and all caches.
    fn run(&self) -> Result<Vec<Array>> {
        let mut state: Vec<Array> = std::iter::once(&self.first).chain(&self.before).cloned().collect();
        for position in &self.positions {
            state.insert(1, position.clone());
            state = self.executor.run(&state)?;
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_says_what_the_model_says_without_a_graph() {
        let gpt = Gpt::new().unwrap();
        let state = Decoding::new(&gpt).unwrap().run().unwrap();
        let (mut caches, mut letter) = (Caches::empty(BEFORE).unwrap(), Tensor::from_slice(&[0i64], [1, 1]).unwrap());
        for i in 0..DECODED {
            let position = Tensor::from_vec([(BEFORE + i) as i64]).unwrap();
            let (logits, next) = gpt.step(&letter, &position, &caches).unwrap();
            (letter, caches) = (logits.argmax(-1, false).unwrap(), next);
        }
        assert_eq!(state[0].to_vec::<i64>().unwrap(), letter.to_vec::<i64>().unwrap());
        assert_eq!(state[1].shape()[..], [1, 4, BEFORE + DECODED, 64]);
    }
}
