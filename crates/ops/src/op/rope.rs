//! Rotary position embedding.

use esker_tensor::{DType, Error};

use super::{function, need_float};
use crate::Ops;

function! { Rope |op, x; positions| {
    let meta = x.meta();
    need_float("the input", meta.dtype)?;
    let rank = meta.shape.len();
    if rank < 2 || !meta.shape[rank - 1].is_multiple_of(2) {
        return Err(Error::shape(format!("the input must be [.., steps, d] with an even d, got {:?}", meta.shape)));
    }
    let [steps, half] = [meta.shape[rank - 2] as i64, meta.shape[rank - 1] as i64 / 2];
    let places = match positions {
        Some(p) => {
            super::need_i64("the positions", p.meta().dtype)?;
            p.cast(DType::F64)?
        }
        None => V::iota(0.0, 1.0, steps, DType::I64, meta.device)?.cast(DType::F64)?,
    };
    // Angles in f64: far positions turn many times.
    let scalar = |v: f64| V::scalar(v, DType::F64, meta.device);
    let pair = V::iota(0.0, 1.0, half, DType::I64, meta.device)?.cast(DType::F64)?;
    let speed = pair.mul(&scalar(-op.base.get().ln() / half as f64)?)?.exp()?;
    let angle = places.add(&scalar(op.offset as f64)?)?.unsqueeze(-1)?.mul(&speed)?;
    let (cos, sin) = (angle.cos()?.cast(meta.dtype)?, angle.sin()?.cast(meta.dtype)?);
    let (first, second) = if op.interleaved {
        (x.slice(-1, 0, 2 * half, 2)?, x.slice(-1, 1, 2 * half, 2)?)
    } else {
        (x.narrow(-1, 0, half)?, x.narrow(-1, half, half)?)
    };
    let (a, b) = (first.mul(&cos)?.sub(&second.mul(&sin)?)?, second.mul(&cos)?.add(&first.mul(&sin)?)?);
    if op.interleaved {
        let mut shape = a.meta().shape;
        shape[rank - 1] = 2 * half as usize;
        V::stack(&[&a, &b], -1)?.reshape(shape)?
    } else {
        V::cat(&[&a, &b], -1)?
    }
} }

#[cfg(feature = "spec")]
mod spec {
    use crate::op::Rope;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, index, ints, real, values};
    use esker_tensor::DType;

    impl OpSpec for Rope {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (y, rank) = (&x[0], x[0].shape.len());
            let d = y.shape[rank - 1];
            vec![RefArray::from_fn(&y.shape, |i| {
                let (step, e) = (i[rank - 2], i[rank - 1]);
                let place = x.get(1).map_or(step as f64, |p| match p.shape.len() {
                    1 => p.data[step],
                    n => p.broadcast_to(&y.shape[rank - 1 - n..rank - 1]).at(&i[rank - 1 - n..rank - 1]),
                });
                // The pair of this element: its number, its partner, and whether it is the first of the two.
                let (pair, partner, first) = match self.interleaved {
                    true => (e / 2, e ^ 1, e % 2 == 0),
                    false => (e % (d / 2), (e + d / 2) % d, e < d / 2),
                };
                let angle = (place + self.offset as f64) / self.base.get().powf(2.0 * pair as f64 / d as f64);
                let other = y.at(&[&i[..rank - 1], &[partner]].concat());
                y.at(i) * angle.cos() + if first { -other } else { other } * angle.sin()
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |offset, interleaved| Rope { base: 10_000.0.into(), offset, interleaved };
            let (s, c) = (1f64.sin(), 1f64.cos());
            let unit = || [values(&[2, 2], &[1.0, 2.0, 1.0, 2.0])];
            let turned = [1.0, 2.0, c - 2.0 * s, 2.0 * c + s];
            vec![
                Sample::new(op(0, false), [real(&[2, 3, 4])]),
                Sample::new(op(5, false), [real(&[3, 6])]),
                Sample::new(op(2, true), [real(&[2, 2, 3, 4])]),
                Sample::new(op(0, false), [real(&[2, 3, 4]), index(&[7, 0, 2])]),
                Sample::new(op(1, true), [real(&[2, 3, 4]), ints(&[2, 3], 0, 9).of(DType::I64)]),
                Sample::new(Rope { base: 3.0.into(), ..op(0, false) }, [real(&[2, 8])]),
                Sample::new(op(0, false), [real(&[0, 4])]),
                Sample::new(op(0, false), unit()).known(&[&turned], "a turn by 1 radian"),
                Sample::new(op(0, true), unit()).known(&[&turned], "a turn by 1 radian"),
                Sample::new(op(0, false), [real(&[2, 3])]).fails("Shape", "an odd size"),
                Sample::new(op(0, false), [real(&[4])]).fails("Shape", "rank 1"),
                Sample::new(op(0, false), [real(&[2, 4]), real(&[2])]).fails("DType", "positions that are no integers"),
                Sample::new(op(0, false), [ints(&[2, 4], 0, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
            ]
        }
    }
}
