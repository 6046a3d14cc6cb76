//! The models: the sizes, layers and starting values of `peers/models_torch.py`.

mod gpt;
mod lstm;
mod resnet;

use esker::nn::{Conv2d, Flatten, Linear, MaxPool2d, ReLU};
use esker::prelude::*;

pub(crate) use gpt::{Caches, Gpt};
pub(crate) use lstm::Lstm;
pub(crate) use resnet::resnet18;

/// Letters of the two models of text.
pub(crate) const LETTERS: usize = 65;

/// A perceptron of 784-512-512-10.
pub(crate) fn mlp() -> Result<Box<dyn Forward>> {
    Ok(Box::new(sequential![Linear::new(784, 512)?, ReLU, Linear::new(512, 512)?, ReLU, Linear::new(512, 10)?]))
}

/// LeNet for images of 28 x 28.
pub(crate) fn lenet() -> Result<Box<dyn Forward>> {
    Ok(Box::new(sequential![
        Conv2d::new(1, 20, 5)?,
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(20, 50, 5)?,
        ReLU,
        MaxPool2d::new(2),
        Flatten::new(),
        Linear::new(800, 500)?,
        ReLU,
        Linear::new(500, 10)?,
    ]))
}

/// A small GPT.
pub(crate) fn gpt() -> Result<Box<dyn Forward>> {
    Ok(Box::new(Gpt::new()?))
}

/// An LSTM of two layers over letters.
pub(crate) fn lstm() -> Result<Box<dyn Forward>> {
    Ok(Box::new(Lstm::new()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::integers;

    #[test]
    fn models_have_the_sizes_that_the_peers_models_have() {
        let counts = [mlp(), lenet(), resnet18(), gpt(), lstm()].map(|net| net.unwrap().num_parameters());
        assert_eq!(counts, [669_706, 431_080, 11_689_512, 3_258_368, 1_086_017]);
    }

    #[test]
    fn a_step_of_decoding_sees_what_the_whole_text_shows() {
        let gpt = Gpt::new().unwrap();
        let letters = integers(LETTERS as i64, [1, 5]).unwrap();
        let whole = gpt.forward(&letters).unwrap().select(1, 4).unwrap().to_vec::<f32>().unwrap();
        let (mut caches, mut last) = (Caches::empty(0).unwrap(), None);
        for i in 0i64..5 {
            let (logits, next) =
                gpt.step(&letters.narrow(1, i, 1).unwrap(), &Tensor::from_vec([i]).unwrap(), &caches).unwrap();
            (caches, last) = (next, Some(logits));
        }
        let last = last.unwrap().to_vec::<f32>().unwrap();
        let apart = whole.iter().zip(&last).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{apart}");
    }
}
