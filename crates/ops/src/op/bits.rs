//! The bits of integers, and the logic of bools.

use esker_tensor::{DType, Error, Result};
use smallvec::smallvec;

use super::{
    BitwiseAnd, BitwiseLeftShift, BitwiseOr, BitwiseRightShift, BitwiseXor, function, inputs, no_compose, no_sizes,
    not_differentiable,
};
use crate::{
    Bits, Kernel, Lowering, Map, Meta, Metas, Onnx, OnnxAttr, OnnxCx, OnnxNode, OnnxRef, OpRule, Ops, Promote,
};

/// Bits have operators of their own from opset 18 on, bools always had them.
fn logic(cx: &OnnxCx<'_>, bools: &'static str, bits: &'static str) -> Onnx {
    match cx.x[0].dtype {
        DType::Bool => Onnx::node(bools, cx),
        _ if cx.opset >= 18 => Onnx::node(bits, cx),
        _ => Onnx::None("ONNX has bitwise operators from opset 18 on"),
    }
}

fn shift(cx: &OnnxCx<'_>, direction: &'static str) -> Onnx {
    if cx.x[0].dtype != DType::U8 {
        return Onnx::None("ONNX shifts unsigned integers only");
    }
    OnnxNode::new("BitShift", vec![OnnxRef::In(0), OnnxRef::In(1)]).attr("direction", OnnxAttr::Str(direction)).into()
}

macro_rules! bits {
    ($($Name:ident $name:literal $Bits:ident $bools:literal $onnx:expr;)*) => {$(
        impl OpRule for $Name {
            fn name(&self) -> &'static str {
                $name
            }
            fn promote(&self) -> Promote {
                Promote::Common { from: 0 }
            }
            fn infer(&self, x: &[Meta]) -> Result<Metas> {
                let [a, b] = inputs(x)?;
                if a.dtype.is_float() || (!$bools && a.dtype == DType::Bool) {
                    let needed = if $bools { "integers or bools" } else { "integers" };
                    return Err(Error::dtype(format!("takes {needed}, got {}", a.dtype)));
                }
                Ok(smallvec![Meta::new(a.dtype, a.shape.broadcast(&b.shape)?, a.device.meet(b.device)?)])
            }
            fn lower(&self, _: &[Meta]) -> Lowering {
                Lowering::Kernel(Kernel::Map(Map::Bits(Bits::$Bits)))
            }
            no_compose!();
            not_differentiable!("its result is no floating-point number");
            fn onnx(&self, cx: &OnnxCx<'_>) -> Onnx {
                let rule: fn(&OnnxCx<'_>) -> Onnx = $onnx;
                rule(cx)
            }
            no_sizes!();
        }
    )*};
}

bits! {
    BitwiseAnd "bitwise_and" And true |cx| logic(cx, "And", "BitwiseAnd");
    BitwiseOr "bitwise_or" Or true |cx| logic(cx, "Or", "BitwiseOr");
    BitwiseXor "bitwise_xor" Xor true |cx| logic(cx, "Xor", "BitwiseXor");
    BitwiseLeftShift "bitwise_left_shift" Left false |cx| shift(cx, "LEFT");
    BitwiseRightShift "bitwise_right_shift" Right false |cx| shift(cx, "RIGHT");
}

const WHOLE: &str = "its result is no floating-point number";

function! { BitwiseNot |_op, x| {
    let ones = match x.meta().dtype {
        DType::Bool => 1.0,
        DType::U8 => 255.0,
        dtype if dtype.is_float() => return Err(Error::dtype(format!("takes integers or bools, got {dtype}"))),
        _ => -1.0,
    };
    x.bitwise_xor(&V::scalar(ones, x.meta().dtype, x.meta().device)?)?
}, no_grad WHOLE }

#[cfg(feature = "spec")]
mod spec {
    use super::*;
    use crate::Op;
    use crate::op::BitwiseNot;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, bools, each_value, ints, real, values};

    const SIGNED: Dtypes = Dtypes::Only(&[DType::I8, DType::I16, DType::I32, DType::I64]);
    const BOOL: Dtypes = Dtypes::Only(&[DType::Bool]);

    fn samples(op: impl Into<Op>, logical: bool, at: [f64; 4]) -> Vec<Sample> {
        let op = op.into();
        let new = |x, y| Sample::new(op.clone(), [x, y]);
        let pair = |s: &[usize], t: &[usize]| new(ints(s, 0, 9), ints(t, 0, 6));
        let mut out = vec![
            pair(&[3, 5], &[3, 5]).on(Dtypes::Ints),
            pair(&[3, 1], &[5]).on(Dtypes::Ints),
            pair(&[0], &[]).on(Dtypes::Ints),
            new(values(&[4], &[12.0, -12.0, 1.0, -1.0]), values(&[4], &[2.0, 2.0, 40.0, 40.0]))
                .on(Dtypes::Only(&[DType::I32]))
                .known(&[&at], "Python's integers cut to 32 bits"),
            Sample::new(op.clone(), [real(&[2]), real(&[2])]).fails("DType", "floats have no bits to work on"),
            Sample::new(op.clone(), [ints(&[2], 0, 1)]).on(Dtypes::Ints).fails("Shape", "one input"),
        ];
        if logical {
            out.push(new(ints(&[31], -9, 9), ints(&[31], -9, 9)).on(SIGNED));
            out.push(new(bools(&[9]), bools(&[9])).on(BOOL));
        } else {
            out.push(new(bools(&[2]), bools(&[2])).on(BOOL).fails("DType", "bools do not shift"));
        }
        out
    }

    macro_rules! spec {
        ($($Name:ident $logical:literal $at:expr, |$a:ident, $b:ident| $f:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    each_value(x, |v| {
                        let ($a, $b) = (v[0] as i64, v[1] as i64);
                        ($f) as f64
                    })
                }
                fn samples() -> Vec<Sample> {
                    samples($Name {}, $logical, $at)
                }
            }
        )*};
    }

    spec! {
        BitwiseAnd true [0.0, 0.0, 0.0, 40.0], |a, b| a & b;
        BitwiseOr true [14.0, -10.0, 41.0, -1.0], |a, b| a | b;
        BitwiseXor true [14.0, -10.0, 41.0, -41.0], |a, b| a ^ b;
        BitwiseLeftShift false [48.0, -48.0, 0.0, 0.0], |a, b| a << b;
        BitwiseRightShift false [3.0, -3.0, 0.0, -1.0], |a, b| a >> b;
    }

    impl OpSpec for BitwiseNot {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let bool = x[0].dtype == DType::Bool;
            each_value(x, |v| if bool { 1.0 - v[0] } else { !(v[0] as i64) as f64 })
        }
        fn samples() -> Vec<Sample> {
            let op = BitwiseNot {};
            vec![
                Sample::new(op.clone(), [ints(&[2, 9], -9, 9)]).on(SIGNED),
                Sample::new(op.clone(), [ints(&[9], 0, 200)]).on(Dtypes::Only(&[DType::U8])),
                Sample::new(op.clone(), [bools(&[5])]).on(BOOL),
                Sample::new(op.clone(), [values(&[2], &[5.0, -1.0])]).on(SIGNED).known(&[&[-6.0, 0.0]], "by hand"),
                Sample::new(op, [real(&[2])]).fails("DType", "floats"),
            ]
        }
    }
}
