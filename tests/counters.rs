//! Promises about the pool's counters, which belong to the whole process: one test at a time, alone in their binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::{Mutex, PoisonError};

use esker::autograd::checkpoint;
use esker::ops::{Map, MapOp};
use esker::prelude::*;
use esker::tensor::philox::Key;
use esker::tensor::pool;

/// Runs a test that counts while no other does. Its thread has ended when this returns, and has given back what the
/// kernels kept for it.
fn alone(test: fn()) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(failure) = std::thread::spawn(test).join() {
        std::panic::resume_unwind(failure);
    }
}

fn step(params: &[Param], x: &Tensor, y: &Tensor) -> Result<()> {
    let p: Vec<Tensor> = params.iter().map(Param::tensor).collect();
    let hidden = x.matmul(&p[0])?.add(&p[1])?.tanh()?;
    let loss = hidden.matmul(&p[2])?.sub(y)?.square()?.mean((), false)?;
    loss.backward()?;
    drop((p, hidden, loss));
    let rate = Tensor::from_scalar(-0.01f32)?;
    for p in params {
        let change = p.grad().expect("a gradient").mul(&rate)?;
        p.zero_grad();
        p.update(|a| esker::ops::backend(a.device())?.run_in_place(Map::Value(MapOp::Add), a, &[change.array()]))?;
    }
    // A graph that nobody differentiates goes as well.
    params[0].tensor().exp()?;
    Ok(())
}

#[test]
fn ten_thousand_steps_end_with_the_live_bytes_they_began_with_and_copy_nothing() {
    alone(ten_thousand_steps);
}

fn ten_thousand_steps() {
    let normal = |key, shape: [usize; 2]| Tensor::normal(0.0, 0.3, Key(key), shape, DType::F32, Device::Cpu).unwrap();
    let params: Vec<Param> =
        [normal(0, [8, 16]), normal(1, [1, 16]), normal(2, [16, 1])].iter().map(|t| Param::new(t).unwrap()).collect();
    let (x, y) = (normal(3, [32, 8]), normal(4, [32, 1]));
    step(&params, &x, &y).unwrap();
    let before = pool::stats();
    for _ in 0..10_000 {
        step(&params, &x, &y).unwrap();
    }
    let after = pool::stats();
    assert_eq!(after.live_bytes, before.live_bytes);
    assert_eq!(after.live_blocks, before.live_blocks);
    assert_eq!(after.copies_on_write, before.copies_on_write, "a training step copies nothing on write");
    assert_eq!(after.allocations_from_os, before.allocations_from_os, "a steady step asks the system for nothing");
}

#[test]
fn checkpoints_hold_less_memory() {
    alone(checkpoints);
}

fn checkpoints() {
    let held = |checkpointed: bool| {
        let x = Tensor::ones([64, 1024]).unwrap().tracked().unwrap();
        let before = pool::stats();
        let f = |x: &[Tensor]| {
            let mut h = x[0].clone();
            for _ in 0..8 {
                h = h.sin()?.exp()?;
            }
            Ok(vec![h])
        };
        let y = if checkpointed { checkpoint(f, &[&x]) } else { f(std::slice::from_ref(&x)) }.unwrap();
        let held = pool::stats().live_bytes - before.live_bytes;
        drop(y);
        held
    };
    let (with, without) = (held(true), held(false));
    assert!(with * 4 < without, "{with} bytes with checkpoints, {without} without");
}
