//! ResNet-18 (He et al., 2016).

use esker::nn::{AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential};
use esker::prelude::*;

/// Two convolutions beside a way around them.
#[derive(Module)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    down: Option<Sequential>,
}

impl Block {
    fn new(inputs: usize, outputs: usize, stride: usize) -> Result<Self> {
        let down = match (stride, inputs) {
            (1, _) if inputs == outputs => None,
            _ => Some(sequential![conv(inputs, outputs, 1, stride, 0)?, BatchNorm2d::new(outputs)?]),
        };
        Ok(Self {
            conv1: conv(inputs, outputs, 3, stride, 1)?,
            bn1: BatchNorm2d::new(outputs)?,
            conv2: conv(outputs, outputs, 3, 1, 1)?,
            bn2: BatchNorm2d::new(outputs)?,
            down,
        })
    }
}

impl Forward for Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.bn1.forward_in("bn1", &self.conv1.forward_in("conv1", x)?)?.relu()?;
        let y = self.bn2.forward_in("bn2", &self.conv2.forward_in("conv2", &y)?)?;
        match &self.down {
            Some(down) => y.add(&down.forward_in("down", x)?)?.relu(),
            None => y.add(x)?.relu(),
        }
    }
}

fn conv(inputs: usize, outputs: usize, kernel: usize, stride: usize, padding: usize) -> Result<Conv2d> {
    Ok(Conv2d::new(inputs, outputs, kernel)?.stride(stride).padding(padding).without_bias())
}

/// For pictures of 224 x 224 and a thousand classes.
pub(crate) fn resnet18() -> Result<Box<dyn Forward>> {
    let pool = MaxPool2d::new(3).stride(2).padding(1);
    let mut net = sequential![conv(3, 64, 7, 2, 3)?, BatchNorm2d::new(64)?, ReLU, pool];
    let mut inputs = 64;
    for (outputs, stride) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
        net = net.push(Block::new(inputs, outputs, stride)?).push(Block::new(outputs, outputs, 1)?);
        inputs = outputs;
    }
    Ok(Box::new(net.push(AdaptiveAvgPool2d::new(1)).push(Flatten::new()).push(Linear::new(512, 1000)?)))
}
