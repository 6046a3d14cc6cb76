//! Channels as pixels and back.

use esker_tensor::{Error, Result};

use super::function;
use crate::{Onnx, OnnxAttr, OnnxNode, OnnxRef, Ops, Value};

/// Leading sizes, and channels, height and width of images `[.., c, h, w]`.
fn images<V: Value>(x: &V) -> Result<(Vec<usize>, [usize; 3])> {
    let shape = x.meta().shape;
    match shape[..] {
        [ref lead @ .., c, h, w] => Ok((lead.to_vec(), [c, h, w])),
        _ => Err(Error::shape(format!("the input must be images [.., c, h, w], got {shape:?}"))),
    }
}

fn factor(name: &str, n: i64) -> Result<usize> {
    let fits = usize::try_from(n).ok().filter(|n| (1..=1 << 16).contains(n));
    fits.ok_or_else(|| Error::shape(format!("{name} must be from 1 to 65536, got {n}")))
}

function! { PixelShuffle |op, x| {
    let ((lead, [c, h, w]), r) = (images(x)?, factor("upscale_factor", op.upscale_factor)?);
    if !c.is_multiple_of(r * r) {
        return Err(Error::shape(format!("{c} channels do not make pixels of {r} x {r}")));
    }
    let (n, c): (usize, usize) = (lead.iter().product(), c / (r * r));
    let y = x.reshape([n, c, r, r, h, w])?.permute([0, 1, 4, 2, 5, 3])?;
    y.reshape(&[&lead[..], &[c, h * r, w * r]].concat()[..])?
}, onnx |op, cx| {
    (cx.x[0].shape.len() == 4 && cx.x[0].dtype.is_float()).then(|| {
        let node = OnnxNode::new("DepthToSpace", vec![OnnxRef::In(0)]);
        Onnx::from(node.attr("blocksize", OnnxAttr::Int(op.upscale_factor)).attr("mode", OnnxAttr::Str("CRD")))
    })
} }

function! { PixelUnshuffle |op, x| {
    let ((lead, [c, h, w]), r) = (images(x)?, factor("downscale_factor", op.downscale_factor)?);
    if !h.is_multiple_of(r) || !w.is_multiple_of(r) {
        return Err(Error::shape(format!("images of {h} x {w} do not split into pixels of {r} x {r}")));
    }
    let n: usize = lead.iter().product();
    let y = x.reshape([n, c, h / r, r, w / r, r])?.permute([0, 1, 3, 5, 2, 4])?;
    y.reshape(&[&lead[..], &[c * r * r, h / r, w / r]].concat()[..])?
} }

#[cfg(feature = "spec")]
mod spec {
    use crate::op::{PixelShuffle, PixelUnshuffle};
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real, values};

    impl OpSpec for PixelShuffle {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (r, x) = (self.upscale_factor as usize, &x[0]);
            let d = x.shape.len() - 3;
            let mut shape = x.shape.clone();
            (shape[d], shape[d + 1], shape[d + 2]) = (shape[d] / (r * r), shape[d + 1] * r, shape[d + 2] * r);
            vec![RefArray::from_fn(&shape, |i| {
                let (c, h, w) = (i[d], i[d + 1], i[d + 2]);
                x.at(&[&i[..d], &[(c * r + h % r) * r + w % r, h / r, w / r]].concat())
            })]
        }

        fn samples() -> Vec<Sample> {
            let op = |upscale_factor| PixelShuffle { upscale_factor };
            vec![
                Sample::new(op(2), [real(&[2, 8, 2, 3])]),
                Sample::new(op(3), [real(&[9, 1, 2])]),
                Sample::new(op(2), [ints(&[2, 1, 4, 2, 1], 0, 9)]).on(Dtypes::All),
                Sample::new(op(2), [real(&[0, 4, 2, 2])]),
                Sample::new(op(2), [values(&[1, 4, 1, 1], &[1.0, 2.0, 3.0, 4.0])])
                    .known(&[&[1.0, 2.0, 3.0, 4.0]], "by hand"),
                Sample::new(op(2), [real(&[1, 3, 2, 2])]).fails("Shape", "3 channels for 4 pixels"),
                Sample::new(op(0), [real(&[1, 4, 2, 2])]).fails("Shape", "no factor"),
                Sample::new(op(2), [real(&[4, 2])]).fails("Shape", "rank 2"),
            ]
        }
    }

    impl OpSpec for PixelUnshuffle {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (r, x) = (self.downscale_factor as usize, &x[0]);
            let d = x.shape.len() - 3;
            let mut shape = x.shape.clone();
            (shape[d], shape[d + 1], shape[d + 2]) = (shape[d] * r * r, shape[d + 1] / r, shape[d + 2] / r);
            vec![RefArray::from_fn(&shape, |i| {
                let (c, tap) = (i[d] / (r * r), i[d] % (r * r));
                x.at(&[&i[..d], &[c, i[d + 1] * r + tap / r, i[d + 2] * r + tap % r]].concat())
            })]
        }

        fn samples() -> Vec<Sample> {
            let op = |downscale_factor| PixelUnshuffle { downscale_factor };
            let known: &[&[f64]] = &[&[1.0, 3.0, 2.0, 4.0]];
            vec![
                Sample::new(op(2), [real(&[2, 2, 4, 6])]),
                Sample::new(op(3), [real(&[1, 3, 6])]),
                Sample::new(op(2), [ints(&[2, 1, 1, 2, 4], 0, 9)]).on(Dtypes::All),
                Sample::new(op(2), [values(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0])])
                    .known(&[&[1.0, 2.0, 3.0, 4.0]], "by hand"),
                Sample::new(op(1), [values(&[1, 2, 2], &[1.0, 3.0, 2.0, 4.0])]).known(known, "nothing moves"),
                Sample::new(op(2), [real(&[1, 1, 3, 4])]).fails("Shape", "an odd height"),
                Sample::new(op(-2), [real(&[1, 1, 4, 4])]).fails("Shape", "no factor"),
                Sample::new(op(2), [real(&[4, 2])]).fails("Shape", "rank 2"),
            ]
        }
    }
}
