//! Order along a dimension.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{Sort, function, inputs, need_i64, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Put, Value, Vjp,
};

/// The first `k` in order, as ONNX has them: its `TopK` gives equals in their order.
fn onnx_top(k: i64, dim: usize, largest: bool) -> Onnx {
    Onnx::Nodes(vec![
        OnnxNode::new("TopK", vec![OnnxRef::In(0), OnnxRef::Ints(vec![k])])
            .attr("axis", OnnxAttr::Int(dim as i64))
            .attr("largest", OnnxAttr::Int(i64::from(largest)))
            .outputs(2),
        OnnxNode::new("Identity", vec![OnnxRef::Node(0, 0)]),
        OnnxNode::new("Identity", vec![OnnxRef::Node(0, 1)]),
    ])
}

impl OpRule for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x] = inputs(x)?;
        x.shape.dim(self.dim)?;
        Ok(smallvec![x, x.with_dtype(DType::I64)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        match x.first() {
            Some(m) if !m.shape.is_empty() => {
                let dim = m.shape.dim(self.dim).unwrap_or(0);
                Lowering::Kernel(Kernel::Sort { dim, descending: self.descending })
            }
            _ => Lowering::Compose,
        }
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let x = *x.first()?;
        x.meta().shape.is_empty().then(|| Ok(smallvec![x.clone(), V::scalar(0.0, DType::I64, x.meta().device)?]))
    }

    fn grad(&self) -> Grad {
        Grad::outputs(0b10)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let x = &cx.x_metas[0];
        cx.only(0, || {
            V::full(0.0, x.shape, x.dtype, x.device)?.scatter_elements(cx.y(1)?, cx.dy()?, self.dim, Put::Sum)
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        let shape = &cx.x[0].shape;
        match shape.dim(self.dim) {
            Ok(dim) if !shape.is_empty() => onnx_top(shape[dim] as i64, dim, self.descending),
            _ => Onnx::Compose,
        }
    }

    no_sizes!();
}

function! { Argsort |op, x| x.sort(op.dim, op.descending, op.stable)?.1, no_grad "an index is constant almost everywhere" }

function! { Topk |op, x| {
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim)?;
    let n = shape.get(dim).map_or(1, |&n| n as i64);
    if !(0..=n).contains(&op.k) {
        return Err(Error::dim(format!("{} elements are asked for of the {n} along dimension {}", op.k, op.dim)));
    }
    let (values, index) = x.sort(op.dim, op.largest, true)?;
    if shape.is_empty() && op.k == 1 {
        [values, index]
    } else if shape.is_empty() {
        [values.reshape([1])?.slice(0, 0, 0, 1)?, index.reshape([1])?.slice(0, 0, 0, 1)?]
    } else {
        [values.slice(op.dim, 0, op.k, 1)?, index.slice(op.dim, 0, op.k, 1)?]
    }
}, onnx |op, cx| {
    let shape = &cx.x[0].shape;
    if shape.is_empty() { None } else { shape.dim(op.dim).ok().map(|dim| onnx_top(op.k, dim, op.largest)) }
} }

function! { Aminmax |op, x| {
    let dim = op.dim.get().map_or_else(|| ().into(), crate::Axes::from);
    [x.amin(dim, op.keepdim)?, x.amax(dim, op.keepdim)?]
} }

/// The number of elements of each line of `sequence` that are below each of `x` (or equal to it, when `right`): a binary
/// search whose every step is an op. NaN counts as larger than all.
fn count_below<V: Value>(sequence: &V, x: &V, right: bool) -> Result<V> {
    let (shape, device) = (sequence.meta().shape, x.meta().device);
    let n = shape.last().map_or(0, |&n| n as i64);
    let int = |v: i64| V::scalar(v as f64, DType::I64, device);
    let mut found = V::full(0.0, x.meta().shape, DType::I64, device)?;
    let mut step = if n > 0 { 1i64 << n.ilog2() } else { 0 };
    while step > 0 {
        let probe = found.add(&int(step - 1)?)?;
        let inside = probe.lt(&int(n)?)?;
        let value = sequence.gather(&inside.where_cond(&probe, &int(n - 1)?)?, -1)?;
        let above = if right { value.gt(x)? } else { value.ge(x)? };
        found = found.add(&inside.logical_and(&above.logical_not()?)?.cast(DType::I64)?.mul(&int(step)?)?)?;
        step /= 2;
    }
    Ok(found)
}

function! { Searchsorted |op, sequence, x; sorter| {
    let (shape, of) = (sequence.meta().shape, x.meta().shape);
    let right = match (op.side.as_str(), op.right) {
        ("", right) => right,
        ("right", _) => true,
        ("left", false) => false,
        ("left", true) => return Err(Error::shape("side is left where right is asked for")),
        (other, _) => return Err(Error::shape(format!("side is left or right, got {other:?}"))),
    };
    let sorted = match sorter {
        Some(sorter) if sorter.meta().shape == shape => {
            need_i64("the sorter", sorter.meta().dtype)?;
            sequence.gather(sorter, -1)?
        }
        Some(sorter) => {
            return Err(Error::shape(format!("a sorter of {:?} does not fit {shape:?}", sorter.meta().shape)));
        }
        None => sequence.clone(),
    };
    let found = match (shape.len(), of.len()) {
        (0, _) => return Err(Error::shape("the sequence must have a dimension, got a scalar")),
        (1, _) => count_below(&sorted, &x.reshape([of.numel()])?, right)?.reshape(of)?,
        (n, m) if n == m && shape[..n - 1] == of[..n - 1] => count_below(&sorted, x, right)?,
        _ => {
            return Err(Error::shape(format!(
                "sequences of {shape:?} do not fit values of {of:?}: all sizes but the last must be equal"
            )));
        }
    };
    if op.out_int32 { found.cast(DType::I32)? } else { found }
}, no_grad "a place is constant almost everywhere" }

function! { Bucketize |op, x, boundaries| {
    let shape = boundaries.meta().shape;
    if shape.len() != 1 {
        return Err(Error::shape(format!("boundaries must be a vector, got {shape:?}")));
    }
    boundaries.searchsorted(x, None, op.out_int32, op.right, "")?
}, no_grad "a place is constant almost everywhere" }

#[cfg(feature = "spec")]
mod spec {
    use esker_tensor::DType;

    use crate::op::*;
    use crate::spec::{
        Dtypes, Input, OpSpec, RefArray, Sample, along_each_dim, axis, distinct, index, ints, real, values,
    };

    /// The positions of a line in order.
    fn order(line: &[f64], descending: bool) -> Vec<usize> {
        let mut places: Vec<usize> = (0..line.len()).collect();
        let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        places.sort_by(|&a, &b| if descending { compare(line[b], line[a]) } else { compare(line[a], line[b]) });
        places
    }

    fn sorted(x: &RefArray, dim: i64, descending: bool) -> [RefArray; 2] {
        let d = axis(dim, x.shape.len());
        let value = |line: &[f64]| order(line, descending).into_iter().map(|i| line[i]).collect();
        let place = |line: &[f64]| order(line, descending).into_iter().map(|i| i as f64).collect();
        [x.lines(d, value), x.lines(d, place)]
    }

    fn specials() -> Input {
        values(&[6], &[1.0, f64::NAN, f64::INFINITY, -2.0, f64::NEG_INFINITY, 1.0])
    }

    impl OpSpec for Sort {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            sorted(&x[0], self.dim, self.descending).to_vec()
        }
        fn samples() -> Vec<Sample> {
            let op = |dim, descending| Sort { dim, descending, stable: false };
            let new = |dim, descending, x| Sample::new(op(dim, descending), [x]);
            let places: [&[f64]; 2] = [&[4.0, 3.0, 0.0, 5.0, 2.0, 1.0], &[1.0, 2.0, 0.0, 5.0, 3.0, 4.0]];
            let [up, down] = places.map(|p| {
                p.iter().map(|&i| [1.0, f64::NAN, f64::INFINITY, -2.0, f64::NEG_INFINITY, 1.0][i as usize]).collect()
            });
            let (up, down): (Vec<f64>, Vec<f64>) = (up, down);
            vec![
                new(0, false, distinct(&[5])),
                new(-1, true, distinct(&[3, 4])),
                new(0, true, distinct(&[4, 3])),
                new(1, false, distinct(&[2, 5, 3])),
                new(-1, false, distinct(&[])),
                new(0, false, real(&[0, 3])).rough(),
                new(1, true, real(&[2, 0])).rough(),
                new(-1, false, distinct(&[2, 70])),
                new(0, true, ints(&[40], -3, 3)).on(Dtypes::All).rough().note("ties"),
                new(1, false, ints(&[3, 9], -3, 3)).on(Dtypes::All).rough().note("ties"),
                new(0, false, specials()).known(&[&up, places[0]], "by definition: NaN is the largest, equals stay"),
                new(0, true, specials()).known(&[&down, places[1]], "by definition: NaN is the largest, equals stay"),
                new(2, false, real(&[2, 3])).fails("Dim", "out of range"),
                Sample::new(op(0, false), [real(&[2]), real(&[2])]).fails("Shape", "two inputs"),
            ]
        }
    }

    impl OpSpec for Argsort {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            sorted(&x[0], self.dim, self.descending)[1..].to_vec()
        }
        fn samples() -> Vec<Sample> {
            let op = |dim, descending| Argsort { dim, descending, stable: false };
            let mut out = along_each_dim(|dim| op(dim, dim == 0).into());
            out.push(Sample::new(op(0, false), [ints(&[9], -2, 2)]).on(Dtypes::All).note("ties"));
            out.push(Sample::new(op(0, false), [values(&[3], &[3.0, 1.0, 2.0])]).known(&[&[1.0, 2.0, 0.0]], "by hand"));
            out
        }
    }

    impl OpSpec for Topk {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let d = axis(self.dim, x[0].shape.len());
            let mut shape = x[0].shape.clone();
            match shape.get_mut(d) {
                Some(n) => *n = self.k as usize,
                None if self.k == 0 => shape.push(0),
                None => {}
            }
            sorted(&x[0], self.dim, self.largest).map(|y| RefArray::from_fn(&shape, |i| y.at(i))).to_vec()
        }
        fn samples() -> Vec<Sample> {
            let new = |k, dim, largest, x| Sample::new(Topk { k, dim, largest, sorted: true }, [x]);
            vec![
                new(2, -1, true, distinct(&[3, 5])),
                new(3, 0, false, distinct(&[4, 2])),
                new(4, 1, true, distinct(&[2, 4, 2])),
                new(1, 0, true, distinct(&[])),
                new(0, 0, true, real(&[3])).rough(),
                new(3, -1, false, ints(&[2, 7], -3, 3)).on(Dtypes::All).rough().note("ties"),
                new(2, 0, true, values(&[4], &[1.0, 4.0, 3.0, 2.0])).known(&[&[4.0, 3.0], &[1.0, 2.0]], "by hand"),
                new(6, -1, true, real(&[3, 5])).fails("Dim", "more than there are"),
                new(-1, -1, true, real(&[3, 5])).fails("Dim", "fewer than none"),
                new(1, 2, true, real(&[3, 5])).fails("Dim", "out of range"),
            ]
        }
    }

    impl OpSpec for Aminmax {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let rank = x[0].shape.len();
            let axes: Vec<usize> = match self.dim.get() {
                Some(dim) if rank > 0 => vec![axis(dim, rank)],
                _ => (0..rank).collect(),
            };
            let over =
                |f: fn(f64, f64) -> f64, first| x[0].fold(&axes, self.keepdim, |g| g.iter().copied().fold(first, f));
            vec![over(f64::min, f64::INFINITY), over(f64::max, f64::NEG_INFINITY)]
        }
        fn samples() -> Vec<Sample> {
            let new = |dim: Option<i64>, keepdim, x| Sample::new(Aminmax { dim: dim.into(), keepdim }, [x]);
            vec![
                new(None, false, distinct(&[3, 4])),
                new(Some(1), true, distinct(&[2, 5])),
                new(Some(0), false, ints(&[4, 3], -9, 9)).on(Dtypes::All).rough(),
                new(None, true, distinct(&[])),
                new(Some(0), false, values(&[3], &[3.0, -1.0, 2.0])).known(&[&[-1.0], &[3.0]], "by hand"),
                new(Some(1), false, real(&[2, 0])).fails("Shape", "nothing has no extreme"),
                new(Some(2), false, real(&[2, 2])).fails("Dim", "out of range"),
            ]
        }
    }

    fn place(line: &[f64], v: f64, right: bool) -> f64 {
        line.iter().filter(|&&s| if right { s <= v || v.is_nan() } else { s < v || v.is_nan() }).count() as f64
    }

    impl OpSpec for Searchsorted {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let n = *x[0].shape.last().unwrap_or(&0);
            let right = self.right || self.side == "right";
            let per_line = *x[1].shape.last().unwrap_or(&1);
            let one = x[0].shape.len() == 1;
            let find = |(i, &v): (usize, &f64)| {
                let start = if one { 0 } else { i / per_line * n };
                place(&x[0].data[start..start + n], v, right)
            };
            vec![RefArray::new(&x[1].shape, x[1].data.iter().enumerate().map(find).collect())]
        }
        fn samples() -> Vec<Sample> {
            let op = |right| Searchsorted { out_int32: false, right, side: String::new() };
            let sided = |side: &str, right| Searchsorted { out_int32: true, right, side: side.into() };
            let steps = || values(&[5], &[1.0, 3.0, 3.0, 5.0, 9.0]);
            let of = |right, x: Input| Sample::new(op(right), [steps(), x]);
            let rows = values(&[2, 3], &[1.0, 2.0, 4.0, 0.0, 0.0, 7.0]);
            vec![
                of(false, ints(&[2, 7], 0, 10)).on(Dtypes::Numbers),
                of(true, ints(&[9], 0, 10)).on(Dtypes::Numbers),
                of(true, values(&[], &[3.0])),
                of(false, values(&[3], &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
                of(false, values(&[4], &[3.0, 0.0, 9.0, 10.0])).known(&[&[1.0, 0.0, 4.0, 5.0]], "by hand"),
                of(true, values(&[4], &[3.0, 0.0, 9.0, 10.0])).known(&[&[3.0, 0.0, 5.0, 5.0]], "by hand"),
                Sample::new(op(true), [rows.clone(), ints(&[2, 4], 0, 7)]),
                Sample::new(op(false), [real(&[0]), real(&[3])]),
                Sample::new(sided("right", false), [steps(), ints(&[5], 0, 10)]),
                Sample::new(op(false), [values(&[3], &[4.0, 1.0, 2.0]), values(&[2], &[1.5, 5.0]), index(&[1, 2, 0])])
                    .known(&[&[1.0, 3.0]], "by hand: a sorter"),
                Sample::new(sided("left", true), [steps(), real(&[2])]).fails("Shape", "left and right"),
                Sample::new(sided("up", false), [steps(), real(&[2])]).fails("Shape", "no side"),
                Sample::new(op(false), [rows, real(&[3, 2])]).fails("Shape", "other leading sizes"),
                Sample::new(op(false), [real(&[]), real(&[3])]).fails("Shape", "a scalar"),
                Sample::new(op(false), [steps(), real(&[3]), index(&[0])]).fails("Shape", "a short sorter"),
            ]
        }
    }

    impl OpSpec for Bucketize {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![x[0].map(|v| place(&x[1].data, v, self.right))]
        }
        fn samples() -> Vec<Sample> {
            let op = |right| Bucketize { out_int32: false, right };
            let ends = || values(&[3], &[1.0, 2.0, 5.0]);
            vec![
                Sample::new(op(false), [ints(&[2, 5], 0, 6), ends()]).on(Dtypes::Numbers),
                Sample::new(op(true), [values(&[3], &[1.0, 5.0, 6.0]), ends()]).known(&[&[1.0, 3.0, 3.0]], "by hand"),
                Sample::new(op(true), [values(&[1], &[2.0]), ends().of(DType::I64)]),
                Sample::new(op(true), [real(&[2]), real(&[2, 2])]).fails("Shape", "a matrix"),
            ]
        }
    }
}
