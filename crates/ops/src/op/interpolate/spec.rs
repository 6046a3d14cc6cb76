//! The reference and samples of resizing: each new element as a sum of weighted old ones.

use crate::op::Interpolate;
use crate::spec::{Dtypes, OpSpec, RefArray, Sample, ints, real, values};
use crate::{Floats, Ints, Opt};

/// The places along an axis that make new place `i`, with their weights.
fn taps(op: &Interpolate, i: usize, from: usize, to: usize, scale: Option<f64>) -> Vec<(usize, f64)> {
    let (i, n, last) = (i as f64, from as f64, from - 1);
    let step = scale.map_or(n / to as f64, |s| 1.0 / s);
    let at = match (op.mode.as_str(), op.align_corners.get()) {
        ("nearest", _) => {
            return vec![(((i * step) as f32).floor() as usize, 1.0)]
                .into_iter()
                .map(|t| (t.0.min(last), t.1))
                .collect();
        }
        ("nearest-exact", _) => return vec![((((i + 0.5) * step).floor() as usize).min(last), 1.0)],
        ("area", _) => {
            let first = (i * n / to as f64 + 1e-9).floor() as usize;
            let end = ((i + 1.0) * n / to as f64 - 1e-9).ceil() as usize;
            return (first..end).map(|k| (k, 1.0 / (end - first) as f64)).collect();
        }
        (_, Some(true)) if to == 1 => 0.0,
        (_, Some(true)) => i * (n - 1.0) / (to as f64 - 1.0),
        _ => ((i + 0.5) * step - 0.5).max(0.0),
    };
    let low = (at.floor() as usize).min(last);
    let weight = (at - low as f64).min(1.0);
    vec![(low, 1.0 - weight), ((low + 1).min(last), weight)]
}

impl OpSpec for Interpolate {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let x = &x[0];
        let pick = |list: &[f64], d: usize| list[if list.len() == 1 { 0 } else { d }];
        let recompute = self.recompute_scale_factor.get() == Some(true);
        let mut shape = x.shape.clone();
        let mut scales = vec![None; x.shape.len()];
        for d in 2..x.shape.len() {
            if let Some(size) = self.size.as_ref() {
                shape[d] = pick(&size.get().iter().map(|&s| s as f64).collect::<Vec<_>>(), d - 2) as usize;
            } else if let Some(scale) = self.scale_factor.as_ref() {
                let scale = pick(&scale.get(), d - 2);
                shape[d] = (x.shape[d] as f64 * scale).floor() as usize;
                scales[d] = (!recompute).then_some(scale);
            }
        }
        vec![RefArray::from_fn(&shape, |i| {
            let mut parts = vec![(i[..2].to_vec(), 1.0)];
            for d in 2..i.len() {
                let taps = taps(self, i[d], x.shape[d], shape[d], scales[d]);
                let more = |(at, w): &(Vec<usize>, f64)| {
                    taps.iter().map(|(p, v)| ([&at[..], &[*p]].concat(), w * v)).collect::<Vec<_>>()
                };
                parts = parts.iter().flat_map(more).collect();
            }
            parts.iter().map(|(at, w)| w * x.at(at)).sum()
        })]
    }

    fn samples() -> Vec<Sample> {
        let op = |mode: &str, size: Opt<Ints>, scale_factor: Opt<Floats>, align_corners: Option<bool>| Interpolate {
            size,
            scale_factor,
            mode: mode.to_owned(),
            align_corners: align_corners.into(),
            recompute_scale_factor: ().into(),
            antialias: false,
        };
        let sized = |mode: &str, size: Opt<Ints>, ends: Option<bool>| op(mode, size, ().into(), ends);
        let scaled = |mode: &str, by: f64| op(mode, ().into(), by.into(), None);
        let line = || values(&[1, 1, 2], &[0.0, 4.0]);
        let mut out = vec![
            Sample::new(sized("nearest", [4, 6].into(), None), [real(&[2, 3, 2, 3])]),
            Sample::new(sized("nearest", [3].into(), None), [real(&[1, 2, 7])]),
            Sample::new(scaled("nearest", 2.0), [ints(&[1, 1, 2, 2], 0, 9)]).on(Dtypes::Numbers),
            Sample::new(scaled("nearest", 1.7), [real(&[1, 2, 5, 4])]),
            Sample::new(sized("nearest", 3.into(), None), [real(&[1, 1, 2, 2, 2])]),
            Sample::new(sized("nearest-exact", [5].into(), None), [real(&[2, 2, 3])]),
            Sample::new(sized("bilinear", [5, 3].into(), None), [real(&[2, 2, 3, 4])]),
            Sample::new(sized("bilinear", [5, 1].into(), Some(true)), [real(&[1, 2, 3, 4])]),
            Sample::new(scaled("bilinear", 1.7), [real(&[1, 1, 3, 4])]),
            Sample::new(
                Interpolate { recompute_scale_factor: true.into(), ..scaled("linear", 1.7) },
                [real(&[2, 1, 3])],
            ),
            Sample::new(sized("linear", [4].into(), Some(true)), [real(&[0, 2, 3])]),
            Sample::new(sized("trilinear", 3.into(), None), [real(&[1, 1, 2, 2, 2])]),
            Sample::new(sized("area", [2, 3].into(), None), [real(&[1, 2, 5, 4])]),
            Sample::new(scaled("nearest", 2.0), [line()]).known(&[&[0.0, 0.0, 4.0, 4.0]], "by hand"),
            Sample::new(scaled("linear", 2.0), [line()]).known(&[&[0.0, 1.0, 3.0, 4.0]], "by hand: quarters"),
            Sample::new(sized("linear", 3.into(), Some(true)), [line()]).known(&[&[0.0, 2.0, 4.0]], "by hand"),
        ];
        let fails = |op: Interpolate, shape: &[usize], kind, note| Sample::new(op, [real(shape)]).fails(kind, note);
        let (flat, plane): (&[usize], &[usize]) = (&[1, 1, 3], &[1, 1, 3, 3]);
        out.extend([
            fails(op("nearest", ().into(), ().into(), None), flat, "Kernel", "no size"),
            fails(op("nearest", 2.into(), 2.0.into(), None), flat, "Kernel", "a size and a scale"),
            fails(sized("nearest", [2, 2].into(), None), flat, "Shape", "two sizes"),
            fails(sized("nearest", 0.into(), None), flat, "Shape", "a size of 0"),
            fails(scaled("nearest", f64::NAN), flat, "Shape", "no scale"),
            fails(scaled("nearest", 1e30), flat, "Shape", "beyond all addresses"),
            fails(sized("nearest", 2.into(), Some(true)), flat, "Kernel", "corners of nearest"),
            fails(sized("bilinear", 2.into(), None), flat, "Kernel", "bilinear on a line"),
            fails(sized("cubic", 2.into(), None), plane, "Kernel", "no such mode"),
            fails(sized("nearest", 2.into(), None), &[3, 3], "Shape", "rank 2"),
            fails(sized("nearest", 2.into(), None), &[1, 1, 0], "Shape", "nothing to resize"),
            fails(
                Interpolate { antialias: true, ..sized("bilinear", 2.into(), None) },
                plane,
                "Unavailable",
                "antialias",
            ),
            Sample::new(sized("linear", 2.into(), None), [ints(flat, 0, 9)])
                .on(Dtypes::Ints)
                .fails("DType", "integers"),
        ]);
        out
    }
}
