//! Attention by scaled dot products.

use esker_tensor::{DType, Error, Result};

use super::{function, need_float, scalar_like};
use crate::{Ops, Value};

/// Heads of key or value, each repeated until there are as many as the query has.
fn shared<V: Value>(x: &V, query: &V, what: &str) -> Result<V> {
    let heads = |x: &V| {
        let shape = x.meta().shape;
        shape.len().checked_sub(3).and_then(|d| shape.get(d).copied()).unwrap_or(1)
    };
    let (own, wanted) = (heads(x), heads(query));
    if own == 0 || wanted % own != 0 {
        return Err(Error::shape(format!("{wanted} heads of the query cannot share {own} of the {what}")));
    }
    if own == wanted { Ok(x.clone()) } else { x.repeat_interleave((wanted / own) as i64, -3) }
}

/// Fails unless query `[.., l, d]`, key `[.., s, d]` and value `[.., s, v]` fit.
fn check<V: Value>(query: &V, key: &V, value: &V) -> Result<()> {
    let [q, k, v] = [query, key, value].map(|x| x.meta().shape);
    if q.len() < 2 || k.len() < 2 || v.len() < 2 {
        return Err(Error::shape(format!("query, key and value need two dimensions, got {q:?}, {k:?} and {v:?}")));
    }
    if q[q.len() - 1] != k[k.len() - 1] || k[k.len() - 2] != v[v.len() - 2] {
        return Err(Error::shape(format!(
            "query [.., l, d], key [.., s, d] and value [.., s, v] are needed, got {q:?}, {k:?} and {v:?}"
        )));
    }
    need_float("the query", query.meta().dtype)
}

/// Softmax over keys, with 0 for a query that may look nowhere.
fn weights<V: Value>(scores: &V, may_hide_all: bool) -> Result<V> {
    let shape = scores.meta().shape;
    if !may_hide_all || shape.contains(&0) {
        return scores.softmax(-1);
    }
    let zero = scalar_like(scores, 0.0)?;
    let nowhere = scores.amax(-1, true)?.eq(&scalar_like(scores, f64::NEG_INFINITY)?)?;
    let safe = nowhere.where_cond(&zero, scores)?;
    nowhere.where_cond(&zero, &safe.softmax(-1)?)
}

function! { ScaledDotProductAttention |op, query, key, value; attn_mask| {
    let (key, value) = match op.enable_gqa {
        true => (&shared(key, query, "key")?, &shared(value, query, "value")?),
        false => (key, value),
    };
    check(query, key, value)?;
    let (q, k) = (query.meta().shape, key.meta().shape);
    let [length, width] = [q[q.len() - 2], q[q.len() - 1]];
    let keys = k[k.len() - 2];
    let scale = op.scale.get().map_or_else(|| 1.0 / (width as f64).sqrt(), |s| s.get());
    // The scale goes to both sides, so that half types do not overflow.
    let root = scalar_like(query, scale.abs().sqrt())?;
    let signed = scalar_like(query, scale.abs().sqrt().copysign(scale))?;
    let mut scores = query.mul(&signed)?.matmul(&key.mul(&root)?.transpose(-2, -1)?)?;
    let hidden = scalar_like(&scores, f64::NEG_INFINITY)?;
    if op.is_causal {
        if attn_mask.is_some() {
            return Err(Error::kernel("takes a mask or is_causal, not both"));
        }
        let count = |n| V::iota(0.0, 1.0, n as i64, DType::I64, query.meta().device);
        let seen = count(length)?.reshape([length, 1])?.ge(&count(keys)?)?;
        scores = seen.where_cond(&scores, &hidden)?;
    }
    if let Some(mask) = attn_mask {
        let dtype = mask.meta().dtype;
        scores = match dtype {
            DType::Bool => mask.where_cond(&scores, &hidden)?,
            _ if dtype.is_float() => scores.add(mask)?,
            _ => return Err(Error::dtype(format!("the mask must be bool or floating-point, got {dtype}"))),
        };
    }
    weights(&scores, attn_mask.is_some())?.dropout(op.dropout_p, op.dropout_p.get() > 0.0, op.dropout_key)?.matmul(value)?
} }

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::DType;
    use esker_tensor::philox::Key;

    use crate::op::ScaledDotProductAttention;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, bools, broadcast, ints, real, uniform_at, values};

    fn attend(scores: &[f64]) -> Vec<f64> {
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if top == f64::NEG_INFINITY {
            return vec![0.0; scores.len()];
        }
        let e: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.iter().map(|e| e / sum).collect()
    }

    impl OpSpec for ScaledDotProductAttention {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [q, k, v, mask @ ..] = x else { return vec![] };
            let (d, s, l) = (q.shape[q.shape.len() - 1], k.shape[k.shape.len() - 2], q.shape[q.shape.len() - 2]);
            let width = v.shape[v.shape.len() - 1];
            let lead = |x: &RefArray| x.shape[..x.shape.len() - 2].to_vec();
            let mut batch = broadcast(&[&lead(q), &lead(k), &lead(v)]);
            let share = if self.enable_gqa { q.shape[q.shape.len() - 3] / k.shape[k.shape.len() - 3] } else { 1 };
            if self.enable_gqa {
                batch = lead(q);
            }
            let scale = self.scale.get().map_or(1.0 / (d as f64).sqrt(), |s| s.get());
            let at = |x: &RefArray, b: &[usize], i: usize, j: usize, share: usize| {
                let own = &b[b.len() + 2 - x.shape.len()..];
                let mut index: Vec<usize> = own.iter().zip(&x.shape).map(|(&i, &n)| i.min(n * share - 1)).collect();
                index.iter_mut().last().into_iter().for_each(|h| *h /= share);
                x.at(&[index, vec![i, j]].concat())
            };
            let seen = mask.first().map(|m| m.broadcast_to(&[&batch[..], &[l, s]].concat()));
            let score = |b: &[usize], i: usize, j: usize| {
                let dot: f64 = (0..d).map(|e| at(q, b, i, e, 1) * at(k, b, j, e, share)).sum();
                let hide = if self.is_causal && j > i { f64::NEG_INFINITY } else { 0.0 };
                let mask = seen.as_ref().map_or(0.0, |m| match (m.at(&[b, &[i, j]].concat()), mask[0].dtype) {
                    (m, DType::Bool) => {
                        if m == 0.0 {
                            f64::NEG_INFINITY
                        } else {
                            0.0
                        }
                    }
                    (m, _) => m,
                });
                dot * scale + hide + mask
            };
            let p = self.dropout_p.get();
            vec![RefArray::from_fn(&[&batch[..], &[l, width]].concat(), |index| {
                let (b, rest) = index.split_at(batch.len());
                let w = attend(&(0..s).map(|j| score(b, rest[0], j)).collect::<Vec<_>>());
                let row = b.iter().zip(&batch).fold(0, |flat, (&i, &n)| flat * n + i) * l + rest[0];
                let keep = |j: usize| {
                    if p == 0.0 {
                        1.0
                    } else {
                        f64::from(u8::from(uniform_at(self.dropout_key, row * s + j, q.dtype) >= p)) / (1.0 - p)
                    }
                };
                (0..s).map(|j| w[j] * keep(j) * at(v, b, j, rest[1], share)).sum()
            })]
        }

        fn samples() -> Vec<Sample> {
            let base = || ScaledDotProductAttention {
                dropout_p: 0.0.into(),
                is_causal: false,
                scale: ().into(),
                enable_gqa: false,
                dropout_key: Key(3),
            };
            let (plain, causal) = (base(), ScaledDotProductAttention { is_causal: true, ..base() });
            let qkv = || vec![real(&[2, 2, 3, 4]), real(&[2, 2, 5, 4]), real(&[2, 2, 5, 3])];
            let small = |shape: [usize; 2]| [shape, shape, shape].map(|s| real(&s)).to_vec();
            let with = |mut x: Vec<crate::spec::Input>, mask| {
                x.push(mask);
                x
            };
            let dead = values(&[2, 2], &[1.0, 0.0, 0.0, 0.0]).of(DType::Bool);
            let minus = values(&[2, 2], &[0.5, f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY]);
            vec![
                Sample::new(plain.clone(), qkv()),
                Sample::new(plain.clone(), [real(&[3, 4]), real(&[2, 4]), real(&[2, 1])]),
                Sample::new(plain.clone(), [real(&[2, 3, 4]), real(&[1, 5, 4]), real(&[5, 2])]).note("broadcast"),
                Sample::new(causal.clone(), qkv()),
                Sample::new(causal.clone(), [real(&[5, 2]), real(&[3, 2]), real(&[3, 2])])
                    .note("more queries than keys"),
                Sample::new(plain.clone(), with(qkv(), real(&[3, 5]))).note("a mask that is added"),
                Sample::new(plain.clone(), with(qkv(), bools(&[2, 1, 3, 5]))),
                Sample::new(plain.clone(), with(small([2, 3]), dead)).note("the second query looks nowhere"),
                Sample::new(plain.clone(), with(small([2, 3]), minus)).rough().note("the same, added"),
                Sample::new(ScaledDotProductAttention { scale: 0.25.into(), ..base() }, qkv()),
                Sample::new(ScaledDotProductAttention { scale: (-0.5).into(), ..base() }, small([3, 2])),
                Sample::new(
                    ScaledDotProductAttention { enable_gqa: true, ..base() },
                    [real(&[2, 4, 3, 2]), real(&[2, 2, 5, 2]), real(&[2, 2, 5, 3])],
                ),
                Sample::new(ScaledDotProductAttention { dropout_p: 0.4.into(), ..base() }, qkv()),
                Sample::new(plain.clone(), [real(&[2, 3]), real(&[0, 3]), real(&[0, 2])]).note("no key"),
                Sample::new(plain.clone(), [real(&[0, 3]), real(&[2, 3]), real(&[2, 2])]).note("no query"),
                Sample::new(
                    plain.clone(),
                    [values(&[1, 1], &[0.0]), values(&[2, 1], &[1.0, 2.0]), values(&[2, 1], &[3.0, 5.0])],
                )
                .known(&[&[4.0]], "equal weights"),
                Sample::new(plain.clone(), [real(&[2, 3]), real(&[2, 4]), real(&[2, 3])]).fails("Shape", "widths"),
                Sample::new(plain.clone(), [real(&[2, 3]), real(&[2, 3]), real(&[3, 3])]).fails("Shape", "lengths"),
                Sample::new(plain.clone(), [real(&[3]), real(&[2, 3]), real(&[2, 3])]).fails("Shape", "rank 1"),
                Sample::new(causal, with(small([2, 2]), bools(&[2, 2]))).fails("Kernel", "a mask and is_causal"),
                Sample::new(plain.clone(), with(small([2, 2]), ints(&[2, 2], 0, 1).of(DType::I64)))
                    .fails("DType", "an integer mask"),
                Sample::new(
                    ScaledDotProductAttention { enable_gqa: true, ..base() },
                    [real(&[3, 1, 2]), real(&[2, 1, 2]), real(&[2, 1, 2])],
                )
                .fails("Shape", "3 heads cannot share 2"),
                Sample::new(plain, [2, 2, 2].map(|n| ints(&[n, n], 0, 2)).to_vec())
                    .on(Dtypes::Ints)
                    .fails("DType", "integers"),
            ]
        }
    }
}
