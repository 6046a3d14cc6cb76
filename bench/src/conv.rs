//! Convolutions of batches of 32.

use esker::ops::{Ints, Padding};
use esker::prelude::*;

use crate::bench::{Bench, Pair, Work};
use crate::data::count;

const BATCH: usize = 32;

/// A convolution of square planes by a square window.
struct Shape {
    name: &'static str,
    inputs: usize,
    side: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    groups: usize,
}

const fn shape(name: &'static str, [inputs, side, outputs]: [usize; 3], window: [usize; 3], groups: usize) -> Shape {
    let [kernel, stride, padding] = window;
    Shape { name, inputs, side, outputs, kernel, stride, padding, groups }
}

const SHAPES: [Shape; 5] = [
    shape("conv_stem7x7", [3, 224, 64], [7, 2, 3], 1),
    shape("conv3x3_c64_56", [64, 56, 64], [3, 1, 1], 1),
    shape("conv3x3_c256_14", [256, 14, 256], [3, 1, 1], 1),
    shape("conv_dw3x3_c144_56", [144, 56, 144], [3, 1, 1], 144),
    shape("conv1x1_c64_c256_56", [64, 56, 256], [1, 1, 0], 1),
];

pub(crate) fn run(bench: &Bench) -> Result<()> {
    SHAPES.iter().try_for_each(|s| pair(bench, s))
}

fn pair(bench: &Bench, s: &Shape) -> Result<()> {
    let out = (s.side + 2 * s.padding - s.kernel) / s.stride + 1;
    let depth = s.inputs / s.groups;
    let flops = 2.0 * count(&[BATCH, s.outputs, out, out, depth, s.kernel, s.kernel]);
    let bytes = 4.0 * (count(&[BATCH, s.inputs, s.side, s.side]) + count(&[BATCH, s.outputs, out, out]));
    // Nobody asks for the gradient of a picture.
    let grads: &[usize] = if s.inputs == 3 { &[1] } else { &[0, 1] };
    let passes = 1.0 + grads.len() as f64;
    let [stride, padding] = [s.stride, s.padding].map(|n| Ints::from([n as i64; 2]));
    bench.pair(
        Pair::new(s.name, grads, Work::new(flops, bytes)).both(Work::new(passes * flops, 3.0 * bytes)).budgets(2.0),
        || {
            let x = Tensor::randn([BATCH, s.inputs, s.side, s.side])?;
            Ok(vec![x, Tensor::randn([s.outputs, depth, s.kernel, s.kernel])?])
        },
        |x| {
            let padding = Padding::Sizes(padding.clone());
            x[0].conv2d(&x[1], None, stride.clone(), padding, [1, 1], s.groups as i64)
        },
    )
}
