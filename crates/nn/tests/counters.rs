//! Promises about the pool's counters, which belong to the whole process: one test, alone in its binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use esker_autograd::Tensor;
use esker_nn::optim::{Adam, AdamW, NAdam, Optimizer, RMSprop, SGD};
use esker_nn::{
    Conv2d, Dropout, Flatten, Forward, GELU, LayerNorm, Linear, MaxPool2d, ModuleExt, ReLU, cross_entropy, sequential,
};
use esker_tensor::pool::stats;

#[test]
fn a_training_step_copies_nothing_on_write_and_leaves_nothing_behind() {
    let net = sequential![
        Conv2d::new(1, 8, 3).unwrap().padding(1),
        ReLU,
        MaxPool2d::new(2),
        Flatten::new(),
        Linear::new(8 * 4 * 4, 16).unwrap(),
        LayerNorm::new([16]).unwrap(),
        GELU,
        Dropout::new(0.1),
        Linear::new(16, 10).unwrap(),
    ];
    let x = Tensor::randn([16, 1, 8, 8]).unwrap();
    let target = Tensor::from_vec((0..16i64).map(|i| i % 10).collect::<Vec<_>>()).unwrap();
    let optimizers: [Box<dyn Optimizer>; 6] = [
        Box::new(AdamW::new(net.parameters(), 1e-3)),
        Box::new(SGD::new(net.parameters(), 1e-2).momentum(0.9).weight_decay(1e-4)),
        Box::new(SGD::new(net.parameters(), 1e-2).momentum(0.9).nesterov()),
        Box::new(Adam::new(net.parameters(), 1e-3).weight_decay(1e-2).amsgrad()),
        Box::new(NAdam::new(net.parameters(), 1e-3)),
        Box::new(RMSprop::new(net.parameters(), 1e-3).momentum(0.9).centered()),
    ];
    for mut optimizer in optimizers {
        let mut step = || {
            optimizer.zero_grad();
            let logits = net.forward(&x).unwrap();
            let loss = cross_entropy(&logits, &target).unwrap();
            loss.backward().unwrap();
            optimizer.step().unwrap(); // The loss and the logits are still alive, as in every training loop.
        };
        step();
        let before = stats();
        (0..50).for_each(|_| step());
        let after = stats();
        assert_eq!(after.copies_on_write, before.copies_on_write);
        assert_eq!(after.live_bytes, before.live_bytes);
    }
}
