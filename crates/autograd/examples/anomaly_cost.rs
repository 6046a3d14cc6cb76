//! What the anomaly finder costs: training steps of a perceptron with and without it, in turns.
//! `cargo run --release -p esker-autograd --example anomaly_cost`
#![allow(missing_docs)]

use std::time::Instant;

use esker_autograd::{Param, Tensor, detect_anomaly, no_grad};
use esker_ops::Ops;
use esker_tensor::Result;

const SIZES: [usize; 4] = [784, 512, 512, 10];
const BATCH: usize = 128;
const ROUNDS: usize = 301;

fn step(weights: &[Param], x: &Tensor, target: &Tensor) -> Result<()> {
    let mut h = x.clone();
    for (i, w) in weights.iter().enumerate() {
        h = h.matmul(&w.tensor())?;
        if i + 1 < weights.len() {
            h = h.relu()?;
        }
    }
    h.cross_entropy_rows(target, -100)?.0.mean((), false)?.backward()?;
    let rate = Tensor::from_scalar(1e-3f32)?;
    no_grad(|| {
        weights.iter().try_for_each(|w| {
            let Some(g) = w.grad() else { return Ok(()) };
            w.set(&w.tensor().sub(&g.mul(&rate)?)?)?;
            w.zero_grad();
            Ok(())
        })
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<()> {
    let weights: Vec<Param> = SIZES
        .windows(2)
        .map(|s| Param::new(&Tensor::randn([s[0], s[1]])?.mul(&Tensor::from_scalar(0.05f32)?)?))
        .collect::<Result<_>>()?;
    let x = Tensor::rand([BATCH, SIZES[0]])?;
    let target = Tensor::from_vec((0..BATCH as i64).map(|i| i % 10).collect::<Vec<_>>())?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for finder in [round % 2 == 0, round % 2 != 0] {
            let _on = finder.then(detect_anomaly);
            let start = Instant::now();
            step(&weights, &x, &target)?;
            if finder { &mut with } else { &mut without }.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let (without, with) = (median(without), median(with));
    println!("without {without:.3} ms, with {with:.3} ms: {:+.1} %", (with / without - 1.0) * 100.0);
    Ok(())
}
