//! Dropout of channels, and dropout that keeps mean and variance of self-normalising nets.

use esker_tensor::philox::Key;
use esker_tensor::{DType, Error, Result};

use super::{function, need_float, scalar_like};
use crate::{F64Bits, Ops, Value};

/// Whole channels of `[c, ..]` or `[n, c, ..]` zeroed, the rest scaled; `channels` is the dimension behind the last that
/// tells channels apart.
fn channelwise<V: Value>(x: &V, ranks: [usize; 2], channels: usize, p: F64Bits, training: bool, key: Key) -> Result<V> {
    let meta = x.meta();
    need_float("the input", meta.dtype)?;
    if !ranks.contains(&meta.shape.len()) {
        return Err(Error::shape(format!(
            "the input must have rank {} or {}, got {:?}",
            ranks[0], ranks[1], meta.shape
        )));
    }
    if !training {
        return Ok(x.clone());
    }
    let mut sizes = meta.shape;
    sizes.iter_mut().skip(channels).for_each(|n| *n = 1);
    x.mul(&V::full(1.0, sizes, meta.dtype, meta.device)?.dropout(p, true, key)?)
}

function! { Dropout1d |op, x| {
    let rank = x.meta().shape.len();
    channelwise(x, [2, 3], rank.saturating_sub(1), op.p, op.training, op.key)?
} }

// PyTorch takes three dimensions as [n, c, l].
function! { Dropout2d |op, x| channelwise(x, [3, 4], 2, op.p, op.training, op.key)? }

function! { Dropout3d |op, x| {
    let rank = x.meta().shape.len();
    channelwise(x, [4, 5], rank.saturating_sub(3), op.p, op.training, op.key)?
} }

/// What selu tends to far below 0: its scale times its alpha.
const FLOOR: f64 = -1.758_099_340_847_376_6;

/// The factor and the term that bring mean 0 and variance 1 back.
fn affine(p: f64) -> (f64, f64) {
    let a = 1.0 / ((FLOOR * FLOOR * p + 1.0) * (1.0 - p)).sqrt();
    (a, -a * FLOOR * p)
}

function! { AlphaDropout |op, x| {
    let (meta, p) = (x.meta(), op.p.get());
    need_float("the input", meta.dtype)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::kernel(format!("the probability must lie in 0..=1, got {p}")));
    }
    if !op.training {
        x.clone()
    } else if p == 1.0 {
        x.mul(&scalar_like(x, 0.0)?)?
    } else {
        let wide = if meta.dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let unit = V::uniform(0.0, 1.0, op.key, meta.shape, wide, meta.device)?;
        let stays = unit.ge(&V::scalar(p, wide, meta.device)?)?;
        let (a, b) = affine(p);
        stays.where_cond(x, &scalar_like(x, FLOOR)?)?.mul(&scalar_like(x, a)?)?.add(&scalar_like(x, b)?)?
    }
} }

#[cfg(feature = "spec")]
mod spec {
    #[cfg(test)]
    use super::affine;
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real, uniform_at, values};
    use esker_tensor::DType;
    use esker_tensor::philox::Key;

    macro_rules! channels {
        ($($Name:ident $shapes:expr, $wrong:expr, |$rank:ident| $channels:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let $rank = x[0].shape.len();
                    let inner: usize = x[0].shape[$channels..].iter().product();
                    let p = self.p.get();
                    let each = x[0].data.iter().enumerate().map(|(i, v)| match self.training {
                        false => *v,
                        true if uniform_at(self.key, i / inner, x[0].dtype) >= p => v / (1.0 - p),
                        true => 0.0,
                    });
                    vec![RefArray::new(&x[0].shape, each.collect())]
                }
                fn samples() -> Vec<Sample> {
                    let op = |p: f64, training| $Name { p: p.into(), training, key: Key(5) };
                    let shapes: [&[usize]; 2] = $shapes;
                    let n = shapes[0].iter().product::<usize>();
                    vec![
                        Sample::new(op(0.5, true), [real(shapes[0])]),
                        Sample::new(op(0.4, true), [real(shapes[1])]),
                        Sample::new(op(0.4, false), [real(shapes[1])]),
                        Sample::new(op(1.0, true), [real(shapes[0])]).known(&[&vec![0.0; n]], "by definition"),
                        Sample::new(op(1.5, true), [real(shapes[0])]).fails("Kernel", "a probability above 1"),
                        Sample::new(op(0.5, true), [real($wrong)]).fails("Shape", "another rank"),
                        Sample::new(op(0.5, true), [ints(shapes[0], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
                    ]
                }
            }
        )*};
    }

    channels! {
        Dropout1d [&[6, 3], &[2, 3, 4]], &[3], |rank| rank - 1;
        Dropout2d [&[2, 3, 4], &[2, 3, 2, 2]], &[2, 3], |_rank| 2;
        Dropout3d [&[6, 1, 2, 2], &[2, 3, 2, 1, 2]], &[2, 3, 4], |rank| rank - 3;
    }

    impl OpSpec for AlphaDropout {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (p, dtype) = (self.p.get(), if x[0].dtype == DType::F64 { DType::F64 } else { DType::F32 });
            // The limit of selu: 1.0507009873554805 * 1.6732632423543772.
            let floor = -1.050_700_987_355_480_5 * 1.673_263_242_354_377_2;
            let scale = 1.0 / ((1.0 - p) * (1.0 + p * floor * floor)).sqrt();
            let each = x[0].data.iter().enumerate().map(|(i, v)| match self.training {
                false => *v,
                true if p == 1.0 => 0.0,
                true if uniform_at(self.key, i, dtype) >= p => scale * (v - p * floor),
                true => scale * (floor - p * floor),
            });
            vec![RefArray::new(&x[0].shape, each.collect())]
        }
        fn samples() -> Vec<Sample> {
            let op = |p: f64, training| AlphaDropout { p: p.into(), training, key: Key(5) };
            vec![
                Sample::new(op(0.5, true), [real(&[3, 7])]),
                Sample::new(op(0.1, true), [real(&[2, 5])]),
                Sample::new(op(0.5, false), [real(&[4])]),
                Sample::new(op(1.0, true), [values(&[2], &[1.0, 2.0])])
                    .known(&[&[0.0, 0.0]], "PyTorch: nothing is left"),
                Sample::new(op(0.0, true), [values(&[2], &[1.0, 2.0])]).known(&[&[1.0, 2.0]], "nothing is dropped"),
                Sample::new(op(-0.5, true), [real(&[3])]).fails("Kernel", "a negative probability"),
                Sample::new(op(0.5, true), [ints(&[3], 1, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
            ]
        }
    }

    /// Mean and variance of normal numbers stay.
    #[test]
    fn moments_stay() {
        for p in [0.1, 0.5] {
            let (a, b) = affine(p);
            let mean = a * p * super::FLOOR + b;
            let square = (1.0 - p) * (a * a + b * b) + p * (a * super::FLOOR + b).powi(2);
            assert!(mean.abs() < 1e-12 && (square - 1.0).abs() < 1e-12, "{mean} {square}");
        }
    }
}
