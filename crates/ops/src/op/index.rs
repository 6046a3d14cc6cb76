//! Selection by index, and its transpose.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::elements::{any_scalar, gradients, vector};
use super::{AddSlices, IndexSelect, IndexSelectGrad, inputs, need_i64, need_rank, no_compose, no_sizes};
use crate::{
    Grad, Grads, Kernel, Lowering, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Outs, Promote,
    Value, Vjp,
};

impl OpRule for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, index] = inputs(x)?;
        need_i64("the index", index.dtype)?;
        if index.shape.len() > 1 {
            return Err(Error::shape(format!("the index must be a vector, got {:?}", index.shape)));
        }
        let (dim, n) = (x.shape.dim(self.dim)?, index.shape.numel());
        let mut shape = x.shape;
        match shape.get_mut(dim) {
            Some(size) => *size = n,
            None if n == 1 => {}
            None => return Err(Error::shape(format!("a scalar takes one index, got {n}"))),
        }
        shape.checked_numel()?;
        Ok(smallvec![Meta::new(x.dtype, shape, x.device.meet(index.device)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        if any_scalar(x) {
            return Lowering::Compose;
        }
        let dim = x.first().and_then(|m| m.shape.dim(self.dim).ok()).unwrap_or(0);
        Lowering::Kernel(Kernel::Gather { dim })
    }

    /// A scalar counts as a vector of one element.
    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, index] = *x else { return None };
        if !any_scalar(&[x.meta(), index.meta()]) {
            return None;
        }
        let picked = || {
            let y = vector(x)?.index_select(&vector(index)?, self.dim)?;
            if x.meta().shape.is_empty() { y.reshape(()) } else { Ok(y) }
        };
        Some(picked().map(|y| smallvec![y]))
    }

    fn grad(&self) -> Grad {
        Grad::inputs(0b10)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let shape = &cx.x_metas[0].shape;
        let dim = shape.dim(self.dim)?;
        let size = shape.get(dim).map_or(1, |&n| n as i64);
        cx.only(0, || {
            let dx = vector(cx.x(1)?)?.index_select_grad(&vector(cx.dy()?)?, dim as i64, size)?;
            if shape.is_empty() { dx.reshape(()) } else { Ok(dx) }
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if any_scalar(cx.x) {
            return Onnx::Compose;
        }
        let dim = cx.x[0].shape.dim(self.dim).unwrap_or(0) as i64;
        OnnxNode::new("Gather", vec![OnnxRef::In(0), OnnxRef::In(1)]).attr("axis", OnnxAttr::Int(dim)).into()
    }

    no_sizes!();
}

impl OpRule for IndexSelectGrad {
    fn name(&self) -> &'static str {
        "index_select_grad"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [index, src] = inputs(x)?;
        need_i64("the index", index.dtype)?;
        need_rank("the index", &index, 1)?;
        if src.dtype == DType::Bool {
            return Err(Error::dtype("takes numbers, got bool; cast first"));
        }
        if src.shape.is_empty() {
            return Err(Error::dim("a scalar has no dimension to index"));
        }
        let dim = src.shape.dim(self.dim)?;
        if src.shape[dim] != index.shape[0] {
            return Err(Error::shape(format!(
                "{} indices were given for the {} slices of dimension {dim} of {:?}",
                index.shape[0], src.shape[dim], src.shape
            )));
        }
        if self.size < 0 {
            return Err(Error::shape(format!("size {} is negative", self.size)));
        }
        let mut shape = src.shape;
        shape[dim] = self.size as usize;
        shape.checked_numel()?;
        Ok(smallvec![Meta::new(src.dtype, shape, src.device.meet(index.device)?)])
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let dim = x.get(1).and_then(|m| m.shape.dim(self.dim).ok()).unwrap_or(0);
        Lowering::Kernel(Kernel::Scatter { dim })
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b01)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        cx.only(1, || cx.dy()?.index_select(cx.x(0)?, self.dim))
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        if cx.opset < 16 {
            return Onnx::None("ScatterND adds only from opset 16 on");
        }
        let rank = cx.x[1].shape.len() as i64;
        let dim = cx.x[1].shape.dim(self.dim).unwrap_or(0) as i64;
        // ScatterND adds slices of the first dimension: the two change places before and after.
        let swapped = |d: i64| {
            if d == 0 {
                dim
            } else if d == dim {
                0
            } else {
                d
            }
        };
        let swap = |from: OnnxRef| {
            let order = (0..rank).map(swapped).collect();
            OnnxNode::new("Transpose", vec![from]).attr("perm", OnnxAttr::Ints(order))
        };
        let add = |to: OnnxRef, src: OnnxRef| {
            OnnxNode::new("ScatterND", vec![to, OnnxRef::Node(0, 0), src]).attr("reduction", OnnxAttr::Str("add"))
        };
        let mut nodes = vec![
            OnnxNode::new("Unsqueeze", vec![OnnxRef::In(0), OnnxRef::Ints(vec![1])]),
            OnnxNode::new("Expand", vec![OnnxRef::Scalar(0.0, cx.x[1].dtype), OnnxRef::ShapeOf(0)]),
        ];
        if dim == 0 {
            nodes.push(add(OnnxRef::Node(1, 0), OnnxRef::In(1)));
        } else {
            nodes.extend([swap(OnnxRef::Node(1, 0)), swap(OnnxRef::In(1))]);
            nodes.push(add(OnnxRef::Node(2, 0), OnnxRef::Node(3, 0)));
            nodes.push(swap(OnnxRef::Node(4, 0)));
        }
        Onnx::Nodes(nodes)
    }

    fn sizes(&mut self, f: &mut dyn FnMut(&mut i64)) {
        f(&mut self.size);
    }
}

impl OpRule for AddSlices {
    fn name(&self) -> &'static str {
        "add_slices"
    }

    fn promote(&self) -> Promote {
        Promote::Keep
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [x, index, src] = inputs(x)?;
        let dim = x.shape.dim(self.dim)?;
        let size = x.shape.get(dim).map_or(0, |&n| n as i64);
        let sum = IndexSelectGrad { dim: self.dim, size }.infer(&[index, src])?;
        match sum.first() {
            Some(sum) if sum.dtype != x.dtype => {
                Err(Error::dtype(format!("the source must be {} like the input, got {}", x.dtype, sum.dtype)))
            }
            Some(sum) if sum.shape != x.shape => Err(Error::shape(format!(
                "slices of {:?} do not fit along dimension {dim} of {:?}",
                src.shape, x.shape
            ))),
            Some(sum) => Ok(smallvec![Meta { device: x.device.meet(sum.device)?, ..x }]),
            None => Err(Error::shape("takes an input, an index and a source")),
        }
    }

    fn lower(&self, x: &[Meta]) -> Lowering {
        let dim = x.first().and_then(|m| m.shape.dim(self.dim).ok()).unwrap_or(0);
        Lowering::Kernel(Kernel::Scatter { dim })
    }

    fn compose<V: Value>(&self, x: &[&V]) -> Option<Result<Outs<V>>> {
        let [x, index, src] = *x else { return None };
        let sum = || {
            let shape = x.meta().shape;
            let size = shape.get(shape.dim(self.dim)?).map_or(0, |&n| n as i64);
            x.add(&index.index_select_grad(src, self.dim, size)?)
        };
        Some(sum().map(|y| smallvec![y]))
    }

    fn grad(&self) -> Grad {
        Grad::inputs(0b010)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        gradients(cx, || Ok(cx.dy()?.clone()), || cx.dy()?.index_select(cx.x(1)?, self.dim))
    }

    fn onnx(&self, _: &OnnxCx<'_>) -> Onnx {
        Onnx::Compose
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, axis, index, ints, real, values};

    impl OpSpec for IndexSelect {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, index] = x else { return vec![] };
            if x.shape.is_empty() {
                return vec![x.clone()];
            }
            let d = axis(self.dim, x.shape.len());
            let mut shape = x.shape.clone();
            shape[d] = index.data.len();
            vec![RefArray::from_fn(&shape, |y| {
                let mut at = y.to_vec();
                at[d] = index.data[y[d]] as usize;
                x.at(&at)
            })]
        }

        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], i: &[i64], dim| Sample::new(IndexSelect { dim }, [real(x), index(i)]);
            let good: [(&[usize], &[i64], i64); 10] = [
                (&[5, 3], &[4, 0, 2], 0),
                (&[5, 3], &[1, 1, 3, 1], 0),
                (&[3, 5], &[4, 4, 0], 1),
                (&[2, 4, 3], &[3, 0], -2),
                (&[7], &[6, 5, 4, 3, 2, 1, 0], -1),
                (&[1], &[0; 9], 0),
                (&[5, 3], &[], 0),
                (&[0, 3], &[], 0),
                (&[3, 0], &[2, 0], 0),
                (&[1, 2, 1, 3, 2, 1, 2, 2], &[2, 0, 2], 3),
            ];
            let mut out: Vec<Sample> = good.iter().map(|(x, i, d)| new(x, i, *d).on(Dtypes::All)).collect();
            out.push(new(&[70, 4], &[3, 69, 3, 0], 0));
            out.push(new(&[5, 3], &[0, 5], 0).on(Dtypes::All).fails("Kernel", "beyond the end"));
            out.push(new(&[5, 3], &[0, -1], 0).fails("Kernel", "before the start"));
            out.push(new(&[2, 3], &[i64::MAX], 1).fails("Kernel", "beyond all ends"));
            out.push(new(&[0, 3], &[0], 0).fails("Kernel", "nothing to select from"));
            out.push(new(&[5, 3], &[0], 2).fails("Dim", "out of range"));
            out.push(new(&[], &[0], 0));
            out.push(new(&[], &[1], -1).fails("Kernel", "a scalar has one element"));
            out.push(new(&[], &[0, 0], 0).fails("Shape", "a scalar takes one index"));
            let of = |i: Input| Sample::new(IndexSelect { dim: 0 }, [real(&[5, 3]), i]);
            out.push(of(values(&[], &[3.0]).of(DType::I64)));
            out.push(of(index(&[0]).of(DType::I32)).fails("DType", "an int32 index"));
            out.push(of(values(&[1, 1], &[0.0]).of(DType::I64)).fails("Shape", "an index of rank 2"));
            out
        }
    }

    impl OpSpec for IndexSelectGrad {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [index, src] = x else { return vec![] };
            let d = axis(self.dim, src.shape.len());
            let mut shape = src.shape.clone();
            shape[d] = self.size as usize;
            let mut y = RefArray::zeros(&shape);
            crate::spec::each_index(&src.shape, |i| {
                let mut at = i.to_vec();
                at[d] = index.data[i[d]] as usize;
                *y.at_mut(&at) += src.at(i);
            });
            vec![y]
        }

        fn samples() -> Vec<Sample> {
            let new = |i: &[i64], src: Input, dim, size| Sample::new(IndexSelectGrad { dim, size }, [index(i), src]);
            let good: [(&[i64], &[usize], i64, i64); 11] = [
                (&[2, 0], &[2, 3], 0, 4),
                (&[1, 1, 3, 1], &[4, 3], 0, 5),
                (&[0, 0, 0], &[2, 3], 1, 1),
                (&[3, 0, 3], &[2, 3, 2], -2, 4),
                (&[6, 0], &[2], -1, 7),
                (&[], &[0, 3], 0, 2),
                (&[], &[0], 0, 0),
                (&[2, 0], &[2, 0], 0, 3),
                (&[1, 0, 1], &[0, 3], 1, 2),
                (&[2, 0, 2], &[1, 2, 1, 3, 2, 1, 2, 2], 3, 4),
                (&[69, 3, 69], &[3, 2], 0, 70),
            ];
            let mut out: Vec<Sample> = good.iter().map(|&(i, src, d, n)| new(i, real(src), d, n)).collect();
            out.extend(good.iter().take(9).map(|&(i, src, d, n)| new(i, ints(src, -9, 9), d, n).on(Dtypes::Ints)));
            let wrap = new(&[0, 0], values(&[2], &[100.0, 100.0]), 0, 1).on(Dtypes::Only(&[DType::I8]));
            out.push(wrap.known(&[&[-56.0]], "by hand: integers wrap"));
            let fails =
                |i: &[i64], src: &[usize], dim, size, kind, note| new(i, real(src), dim, size).fails(kind, note);
            out.push(fails(&[0, 4], &[2, 3], 0, 4, "Kernel", "beyond the end"));
            out.push(fails(&[0, -1], &[2, 3], 0, 4, "Kernel", "before the start"));
            out.push(fails(&[0], &[1, 3], 0, 0, "Kernel", "no place to add to"));
            out.push(fails(&[0, 1, 2], &[2, 3], 0, 4, "Shape", "3 indices for 2 slices"));
            out.push(fails(&[0, 1], &[2, 3], 0, -4, "Shape", "a negative size"));
            out.push(fails(&[0, 1], &[2, 3], 0, i64::MAX, "Shape", "more elements than addresses"));
            out.push(fails(&[0, 1], &[2, 3], 2, 4, "Dim", "out of range"));
            out.push(fails(&[0], &[], 0, 4, "Dim", "a scalar has no dimension"));
            let bools = new(&[0, 1], ints(&[2], 0, 1), 0, 2).on(Dtypes::Only(&[DType::Bool]));
            out.push(bools.fails("DType", "bool"));
            let op = IndexSelectGrad { dim: 0, size: 3 };
            out.push(Sample::new(op, [index(&[0]).of(DType::I32), real(&[1])]).fails("DType", "an int32 index"));
            let two = values(&[1, 1], &[0.0]).of(DType::I64);
            out.push(Sample::new(op, [two, real(&[1])]).fails("Shape", "an index of rank 2"));
            out
        }
    }

    impl OpSpec for AddSlices {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let [x, index, src] = x else { return vec![] };
            let (mut y, d) = (x.clone(), axis(self.dim, x.shape.len()));
            crate::spec::each_index(&src.shape, |i| {
                let mut at = i.to_vec();
                at[d] = index.data[i[d]] as usize;
                *y.at_mut(&at) += src.at(i);
            });
            vec![y]
        }

        fn samples() -> Vec<Sample> {
            let new = |x: &[usize], i: &[i64], src: &[usize], dim| {
                Sample::new(AddSlices { dim }, [real(x), index(i), real(src)])
            };
            vec![
                new(&[5, 3], &[1, 1, 3, 1], &[4, 3], 0).on(Dtypes::Numbers),
                new(&[2, 4, 3], &[3, 0, 3], &[2, 3, 3], -2),
                new(&[4, 70], &[3, 3, 0], &[3, 70], 0),
                new(&[1], &[0, 0], &[2], 0),
                new(&[3, 2], &[], &[0, 2], 0),
                new(&[3, 0], &[2], &[1, 0], 0),
                Sample::new(
                    AddSlices { dim: 0 },
                    [values(&[2], &[1.0, 2.0]), index(&[1, 1]), values(&[2], &[3.0, 4.0])],
                )
                .known(&[&[1.0, 9.0]], "by hand"),
                new(&[3, 2], &[3], &[1, 2], 0).fails("Kernel", "beyond the end"),
                new(&[3, 2], &[-1], &[1, 2], 0).fails("Kernel", "before the start"),
                new(&[3, 2], &[0, 1], &[1, 2], 0).fails("Shape", "2 indices for 1 slice"),
                new(&[3, 2], &[0], &[1, 3], 0).fails("Shape", "wider slices"),
                new(&[3, 2], &[0], &[1, 2], 2).fails("Dim", "out of range"),
                new(&[], &[0], &[1], 0).fails("Shape", "a scalar has no slices"),
                Sample::new(AddSlices { dim: 0 }, [real(&[2]), index(&[0]), real(&[1]).of(DType::I32)])
                    .fails("DType", "another dtype"),
            ]
        }
    }
}
