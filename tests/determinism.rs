//! The same bits for any number of threads and any instruction set.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use esker::cpu::{Isa, force_isa, set_num_threads};
use esker::ops::{Map, MapOp};
use esker::prelude::*;
use esker::tensor::philox::Key;

/// Threads and instruction set are settings of the process; tests that change them take turns.
pub(crate) fn settings() -> MutexGuard<'static, ()> {
    static SETTINGS: Mutex<()> = Mutex::new(());
    SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A net of every kernel family that training uses.
struct Net {
    params: Vec<Param>,
}

impl Net {
    fn new() -> Result<Self> {
        let shapes: [&[usize]; 8] = [&[16, 1, 3, 3], &[16], &[8, 16, 3, 3], &[72, 64], &[64], &[64], &[64, 10], &[10]];
        let params = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| Param::new(&Tensor::normal(0.0, 0.2, Key(i as u64), *shape, DType::F32, Device::Cpu)?));
        Ok(Self { params: params.collect::<Result<_>>()? })
    }

    fn loss(&self, x: &Tensor, target: &Tensor, step: u64) -> Result<Tensor> {
        let p: Vec<Tensor> = self.params.iter().map(Param::tensor).collect();
        let x = x.conv2d(&p[0], Some(&p[1]), 1, 1, 1, 1)?.relu()?;
        let x = x.max_pool2d(2, (), 0, 1, false)?.conv2d(&p[2], None, 2, 1, 1, 1)?;
        let x = x.slice(2, 0, 3, 1)?.slice(3, -3, i64::MAX, 1)?.flatten(1, -1)?.matmul(&p[3])?;
        let x = x.layer_norm(Some(&p[4]), Some(&p[5]), [64], 1e-5)?.gelu()?.dropout(0.2, true, Key(1000 + step))?;
        let logits = x.matmul(&p[6])?.add(&p[7])?;
        logits.cross_entropy_rows(target, -100)?.0.mean((), false)
    }

    fn step(&self, x: &Tensor, target: &Tensor, step: u64) -> Result<f64> {
        let loss = self.loss(x, target, step)?;
        loss.backward()?;
        for p in &self.params {
            let grad = p.grad().expect("every parameter takes part").mul(&Tensor::from_scalar(-0.05f32)?)?;
            p.zero_grad();
            p.update(|a| esker::ops::backend(a.device())?.run_in_place(Map::Value(MapOp::Add), a, &[grad.array()]))?;
        }
        loss.item()
    }
}

/// The weights' bits and the last loss after a few steps.
fn train(steps: u64) -> (u64, f64) {
    let net = Net::new().unwrap();
    let x = Tensor::normal(0.0, 1.0, Key(77), [32, 1, 12, 12], DType::F32, Device::Cpu).unwrap();
    let target = Tensor::from_vec((0..32i64).map(|i| i * 7 % 10).collect::<Vec<_>>()).unwrap();
    let mut loss = 0.0;
    for step in 0..steps {
        loss = net.step(&x, &target, step).unwrap();
    }
    let mut hash = DefaultHasher::new();
    for p in &net.params {
        p.tensor().to_vec::<f32>().unwrap().iter().for_each(|w| w.to_bits().hash(&mut hash));
    }
    (hash.finish(), loss)
}

#[test]
fn one_two_and_three_threads_and_all_instruction_sets_give_the_same_weights() {
    let _settings = settings();
    set_num_threads(1);
    let expected = train(6);
    let (first, last) = (train(1).1, train(40).1);
    assert!(last < first - 0.05, "the loss falls: {first} {last}");
    for threads in [2, 3] {
        set_num_threads(threads);
        assert_eq!(train(6), expected, "{threads} threads");
    }
    for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
        match force_isa(Some(isa)) {
            Ok(()) => assert_eq!(train(6), expected, "{isa:?}"),
            Err(reason) => println!("{isa:?} was not compared: {reason}"),
        }
    }
    force_isa(None).unwrap();
}
