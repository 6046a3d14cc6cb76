//! Comparisons and the choice that follows from them.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{Eq, Ge, Gt, Le, Lt, Ne, Where, inputs, no_compose, no_sizes, not_differentiable};
use crate::{
    Cmp, Grad, Grads, Kernel, Lowering, Map, Meta, Metas, Onnx, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Promote, Value,
    Vjp, sum_to,
};

fn negated(op_type: &'static str) -> Onnx {
    let compare = OnnxNode::new(op_type, vec![OnnxRef::In(0), OnnxRef::In(1)]);
    Onnx::Nodes(vec![compare, OnnxNode::new("Not", vec![OnnxRef::Node(0, 0)])])
}

macro_rules! compare {
    ($($Name:ident $name:literal $onnx:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Common { from: 0 }
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                let [a, b] = inputs(x)?;
                let shape = a.shape.broadcast(&b.shape)?;
                Ok(smallvec![Meta::new(DType::Bool, shape, a.device.meet(b.device)?)])
            }
            fn lower(&self, _: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::Map(Map::Compare(Cmp::$Name)))
            }
            no_compose!();
            not_differentiable!("a comparison is constant almost everywhere and its result is bool");
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                let rule: fn(&OnnxCx<'_>) -> Onnx = $onnx;
                rule(cx)
            }
            no_sizes!();
        }
    )*};
}

compare! {
    Eq "eq" |cx| Onnx::node("Equal", cx);
    Ne "ne" |_| negated("Equal");
    Lt "lt" |cx| Onnx::node("Less", cx);
    Le "le" |cx| Onnx::node("LessOrEqual", cx);
    Gt "gt" |cx| Onnx::node("Greater", cx);
    Ge "ge" |cx| Onnx::node("GreaterOrEqual", cx);
}

impl OpRule for Where {
    fn name(&self) -> &'static str {
        "where_cond"
    }

    fn promote(&self) -> Promote {
        Promote::Common { from: 1 }
    }

    fn infer(&self, x: &[Meta]) -> Result<Metas> {
        let [cond, a, b] = inputs(x)?;
        if cond.dtype != DType::Bool {
            return Err(Error::dtype(format!("the condition must be bool, got {}", cond.dtype)));
        }
        let shape = cond.shape.broadcast(&a.shape)?.broadcast(&b.shape)?;
        Ok(smallvec![Meta::new(a.dtype, shape, cond.device.meet(a.device)?.meet(b.device)?)])
    }

    fn lower(&self, _: &[Meta]) -> Lowering {
        Lowering::Kernel(Kernel::Map(Map::Select))
    }

    no_compose!();

    fn grad(&self) -> Grad {
        Grad::inputs(0b001)
    }

    fn vjp<V: Value>(&self, cx: &Vjp<'_, V>) -> Result<Grads<V>> {
        let (cond, dy) = (cx.x(0)?, cx.dy()?);
        let zero = V::scalar(0.0, dy.meta().dtype, dy.meta().device)?;
        cx.each(|i| {
            let part = match i {
                1 => cond.where_cond(dy, &zero)?,
                2 => cond.where_cond(&zero, dy)?,
                _ => return Err(Error::autograd("the condition of where has no gradient: it is bool")),
            };
            sum_to(&part, &cx.x_metas[i].shape)
        })
    }

    fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
        Onnx::node("Where", cx)
    }

    no_sizes!();
}

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::Op;
    use crate::spec::{Dtypes, Input, OpSpec, RefArray, Sample, bools, broadcast, ints, real, values};

    /// `f` of the elements that meet.
    fn each(x: &[RefArray], f: impl Fn(&[f64]) -> f64) -> Vec<RefArray> {
        let shape = broadcast(&x.iter().map(|x| &x.shape[..]).collect::<Vec<_>>());
        let x: Vec<RefArray> = x.iter().map(|x| x.broadcast_to(&shape)).collect();
        vec![RefArray::from_fn(&shape, |i| f(&x.iter().map(|x| x.at(i)).collect::<Vec<_>>()))]
    }

    /// Samples of a comparison that gives `less`, `equal`, `greater` and, with NaN, `unordered`.
    fn samples(op: Op, [less, equal, greater, unordered]: [f64; 4]) -> Vec<Sample> {
        let new = |x: Input, y: Input| Sample::new(op.clone(), [x, y]);
        let whole = |s: &[usize]| ints(s, -2, 2);
        let shapes: [(&[usize], &[usize]); 10] = [
            (&[3, 5], &[3, 5]),
            (&[3, 5], &[5]),
            (&[3, 1], &[1, 37]),
            (&[], &[]),
            (&[], &[5]),
            (&[131], &[131]),
            (&[0, 3], &[1, 3]),
            (&[2, 1, 3], &[4, 1]),
            (&[1], &[0]),
            (&[2, 1, 2, 1, 2, 1, 2, 1], &[1, 2, 1, 2, 1, 2, 1, 2]),
        ];
        let mut out: Vec<Sample> = shapes.iter().map(|&(x, y)| new(whole(x), whole(y)).on(Dtypes::All)).collect();
        out.push(new(real(&[67]), real(&[67])));
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let x = values(&[9], &[1.0, 2.0, 2.0, nan, 1.0, nan, -inf, inf, 0.0]);
        let y = values(&[9], &[2.0, 2.0, 1.0, 1.0, nan, nan, inf, inf, -0.0]);
        let z = [less, equal, greater, unordered, unordered, unordered, less, equal, equal];
        out.push(new(x, y).known(&[&z], "IEEE 754 comparisons"));
        let mixed = new(whole(&[4]).of(DType::I32), values(&[4], &[-1.5, 0.0, 0.5, 1.5]));
        out.push(mixed.note("an integer meets a float"));
        let edges = new(values(&[2], &[-1.0, 255.0]).of(DType::I16), values(&[2], &[255.0, 255.0]).of(DType::U8));
        out.push(edges.on(Dtypes::Only(&[DType::I16])).known(&[&[less, equal]], "u8 and i16 meet in i16"));
        out.push(new(whole(&[2, 3]), whole(&[2])).on(Dtypes::All).fails("Shape", "they do not broadcast"));
        out.push(Sample::new(op.clone(), [real(&[2])]).fails("Shape", "one input"));
        out
    }

    macro_rules! spec {
        ($($Name:ident |$x:ident, $y:ident| $truth:expr, $table:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    each(x, |v| {
                        let ($x, $y) = (v[0], v[1]);
                        f64::from(u8::from($truth))
                    })
                }
                fn samples() -> Vec<Sample> {
                    samples($Name {}.into(), $table)
                }
            }
        )*};
    }

    spec! {
        Eq |x, y| x == y, [0.0, 1.0, 0.0, 0.0];
        Ne |x, y| x != y, [1.0, 0.0, 1.0, 1.0];
        Lt |x, y| x < y, [1.0, 0.0, 0.0, 0.0];
        Le |x, y| x <= y, [1.0, 1.0, 0.0, 0.0];
        Gt |x, y| x > y, [0.0, 0.0, 1.0, 0.0];
        Ge |x, y| x >= y, [0.0, 1.0, 1.0, 0.0];
    }

    impl OpSpec for Where {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            each(x, |v| if v[0] != 0.0 { v[1] } else { v[2] })
        }

        fn samples() -> Vec<Sample> {
            let new = |c: &[usize], x: &[usize], y: &[usize]| Sample::new(Where {}, [bools(c), real(x), real(y)]);
            let shapes: [(&[usize], &[usize], &[usize]); 9] = [
                (&[3, 5], &[3, 5], &[3, 5]),
                (&[3, 1], &[5], &[]),
                (&[5], &[3, 1], &[3, 5]),
                (&[], &[], &[]),
                (&[], &[2, 3], &[3]),
                (&[131], &[131], &[1]),
                (&[0, 3], &[3], &[1, 1]),
                (&[1], &[0], &[1]),
                (&[2, 1, 2, 1, 2, 1, 2, 1], &[1, 2, 1, 2, 1, 2, 1, 2], &[2]),
            ];
            let mut out: Vec<Sample> = shapes.iter().map(|&(c, x, y)| new(c, x, y).on(Dtypes::All)).collect();
            let chosen = values(&[2], &[1.0, 0.0]).of(DType::Bool);
            let x = values(&[2], &[f64::NAN, f64::NAN]);
            let nan = Sample::new(Where {}, [chosen, x, values(&[2], &[1.0, 2.0])]);
            out.push(nan.known(&[&[f64::NAN, 2.0]], "by definition: what is not chosen does not count"));
            let mixed = Sample::new(Where {}, [bools(&[5]), ints(&[5], -3, 3).of(DType::I32), real(&[5])]);
            out.push(mixed.note("an integer meets a float"));
            out.push(new(&[2, 3], &[2], &[3]).fails("Shape", "they do not broadcast"));
            out.push(new(&[2], &[3], &[3]).fails("Shape", "the condition does not broadcast"));
            let float = Sample::new(Where {}, [real(&[2]), real(&[2]), real(&[2])]);
            out.push(float.fails("DType", "the condition is no bool"));
            out.push(Sample::new(Where {}, [bools(&[2]), real(&[2])]).fails("Shape", "two inputs"));
            out
        }
    }
}
