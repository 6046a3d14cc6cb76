//! The models of images.
use candle_core::{Module, Result};
use candle_nn::{Conv2dConfig, ModuleT, VarBuilder, batch_norm, conv2d, conv2d_no_bias, linear};

use crate::Net;

pub fn mlp(vb: VarBuilder) -> Result<Net> {
    let (a, b, c) = (linear(784, 512, vb.pp("a"))?, linear(512, 512, vb.pp("b"))?, linear(512, 10, vb.pp("c"))?);
    Ok(Box::new(move |x, _| c.forward(&b.forward(&a.forward(x)?.relu()?)?.relu()?)))
}

pub fn lenet(vb: VarBuilder) -> Result<Net> {
    let c1 = conv2d(1, 20, 5, Default::default(), vb.pp("c1"))?;
    let c2 = conv2d(20, 50, 5, Default::default(), vb.pp("c2"))?;
    let (f1, f2) = (linear(800, 500, vb.pp("f1"))?, linear(500, 10, vb.pp("f2"))?);
    Ok(Box::new(move |x, _| {
        let x = c1.forward(x)?.relu()?.max_pool2d(2)?;
        let x = c2.forward(&x)?.relu()?.max_pool2d(2)?;
        f2.forward(&f1.forward(&x.flatten_from(1)?)?.relu()?)
    }))
}

/// Convolution and batch norm.
fn conv_bn(channels: [usize; 2], kernel: usize, stride: usize, padding: usize, vb: VarBuilder) -> Result<Net> {
    let config = Conv2dConfig { stride, padding, ..Default::default() };
    let conv = conv2d_no_bias(channels[0], channels[1], kernel, config, vb.pp("conv"))?;
    let norm = batch_norm(channels[1], 1e-5, vb.pp("bn"))?;
    Ok(Box::new(move |x, train| norm.forward_t(&conv.forward(x)?, train)))
}

pub fn resnet18(vb: VarBuilder) -> Result<Net> {
    let stem = conv_bn([3, 64], 7, 2, 3, vb.pp("stem"))?;
    let mut blocks: Vec<(Net, Net, Option<Net>)> = vec![];
    let mut inputs = 64;
    for (outputs, first) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
        for stride in [first, 1] {
            let vb = vb.pp(format!("b{}", blocks.len()));
            let down = match stride != 1 || inputs != outputs {
                true => Some(conv_bn([inputs, outputs], 1, stride, 0, vb.pp("d"))?),
                false => None,
            };
            let conv1 = conv_bn([inputs, outputs], 3, stride, 1, vb.pp("1"))?;
            blocks.push((conv1, conv_bn([outputs, outputs], 3, 1, 1, vb.pp("2"))?, down));
            inputs = outputs;
        }
    }
    let head = linear(512, 1000, vb.pp("fc"))?;
    Ok(Box::new(move |x, train| {
        // candle's max_pool2d has no padding, and its backward needs windows that lie side by side: 2 x 2 here.
        let mut x = stem(x, train)?.relu()?.max_pool2d(2)?;
        for (conv1, conv2, down) in &blocks {
            let y = conv2(&conv1(&x, train)?.relu()?, train)?;
            let around = match down {
                Some(down) => down(&x, train)?,
                None => x,
            };
            x = (y + around)?.relu()?;
        }
        head.forward(&x.mean((2, 3))?)
    }))
}
