//! Rows of a table by index.

use esker_tensor::{DType, Error};

use super::{function, need_i64, need_rank};
use crate::Ops;

function! { Embedding |op, x, weight| {
    need_i64("the indices", x.meta().dtype)?;
    need_rank("the weight", &weight.meta(), 2)?;
    let (indices, table) = (x.meta().shape, weight.meta().shape);
    let mut sizes = indices.to_vec();
    sizes.push(table[1]);
    let look = |table: &V| table.index_select(&x.reshape([indices.numel()])?, 0)?.reshape(&sizes[..]);
    match op.padding_idx.get() {
        None => look(weight)?,
        Some(padding) => {
            let count = table[0] as i64;
            if !(-count..count).contains(&padding) {
                return Err(Error::dim(format!("padding_idx must lie in {}..{count}, got {padding}", -count)));
            }
            let row = V::iota(0.0, 1.0, count, DType::I64, weight.meta().device)?.reshape([count, 1])?;
            let padding = V::scalar(padding.rem_euclid(count) as f64, DType::I64, weight.meta().device)?;
            look(&row.eq(&padding)?.where_cond(&weight.stop_gradient()?, weight)?)?
        }
    }
} }

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::DType;

    use crate::op::Embedding;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, index, ints, real, values};

    impl OpSpec for Embedding {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let mut shape = x[0].shape.clone();
            shape.push(x[1].shape[1]);
            vec![RefArray::from_fn(&shape, |i| {
                let (place, column) = i.split_at(i.len() - 1);
                x[1].at(&[x[0].at(place) as usize, column[0]])
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |p: Option<i64>| Embedding { padding_idx: p.into() };
            vec![
                Sample::new(op(None), [index(&[2, 0, 2, 4]), real(&[5, 3])]).on(Dtypes::All),
                Sample::new(op(None), [ints(&[2, 3], 0, 4).of(DType::I64), real(&[5, 2])]),
                Sample::new(op(None), [ints(&[], 0, 4).of(DType::I64), real(&[5, 2])]),
                Sample::new(op(None), [index(&[]), real(&[5, 2])]),
                Sample::new(op(Some(1)), [index(&[0, 2]), real(&[3, 2])]).note("the padding is not met"),
                Sample::new(op(Some(-1)), [index(&[0, 2, 1]), real(&[3, 2])]).rough().note("its row has no slope"),
                Sample::new(op(None), [index(&[1]), values(&[2, 2], &[1.0, 2.0, 3.0, 4.0])])
                    .known(&[&[3.0, 4.0]], "by definition"),
                Sample::new(op(None), [index(&[3]), real(&[3, 2])]).fails("Kernel", "no such row"),
                Sample::new(op(Some(3)), [index(&[0]), real(&[3, 2])]).fails("Dim", "no such row"),
                Sample::new(op(None), [index(&[0]).of(DType::I32), real(&[3, 2])]).fails("DType", "int32"),
                Sample::new(op(None), [index(&[0]), real(&[3])]).fails("Shape", "a weight of rank 1"),
            ]
        }
    }
}
