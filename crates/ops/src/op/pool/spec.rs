//! References and samples of pooling: every window as the list of places that it sees.

use crate::op::{AvgPool1d, AvgPool2d, MaxPool1d, MaxPool1dWithIndices, MaxPool2d, MaxPool2dWithIndices};
use crate::spec::{Dtypes, OpSpec, RefArray, Sample, bools, distinct, each_index, ints, real, values};
use crate::{Ints, Op, Opt};
use esker_tensor::DType;

/// How windows lie along one dimension.
struct Along {
    taps: i64,
    stride: i64,
    padding: i64,
    dilation: i64,
    size: i64,
    ceil: bool,
}

impl Along {
    fn count(&self) -> usize {
        let span = self.dilation * (self.taps - 1) + 1;
        let room = self.size + 2 * self.padding - span;
        let fits = |at: &i64| match self.ceil {
            true => *at < room + self.stride && *at < self.size + self.padding,
            false => *at <= room,
        };
        (0..).step_by(self.stride as usize).take_while(fits).count()
    }

    /// The places of a window, padding included; those of the input are `0..size`.
    fn places(&self, window: usize) -> Vec<i64> {
        let start = window as i64 * self.stride - self.padding;
        (0..self.taps).map(|t| start + t * self.dilation).collect()
    }
}

fn along(x: &RefArray, spatial: usize, lists: [&Ints; 4], ceil: bool) -> Vec<Along> {
    let at = |list: &Ints, d: usize| list.get()[if list.get().len() == 1 { 0 } else { d }];
    let size = |d: usize| x.shape[x.shape.len() - spatial + d] as i64;
    let one = |d: usize| Along {
        taps: at(lists[0], d),
        stride: at(lists[1], d),
        padding: at(lists[2], d),
        dilation: at(lists[3], d),
        size: size(d),
        ceil,
    };
    (0..spatial).map(one).collect()
}

/// For each place of the result: its index, and for each tap of its window the place (padding is outside of the input).
fn each_window(x: &RefArray, along: &[Along], mut f: impl FnMut(&[usize], &[Vec<i64>])) -> Vec<usize> {
    let lead = x.shape.len() - along.len();
    let shape: Vec<usize> = x.shape[..lead].iter().copied().chain(along.iter().map(Along::count)).collect();
    each_index(&shape, |to| {
        let mut taps: Vec<Vec<i64>> = vec![Vec::new()];
        for (d, a) in along.iter().enumerate() {
            let places = a.places(to[lead + d]);
            taps = taps.iter().flat_map(|t| places.iter().map(|p| [&t[..], &[*p]].concat())).collect();
        }
        f(to, &taps);
    });
    shape
}

fn inside(along: &[Along], tap: &[i64]) -> bool {
    along.iter().zip(tap).all(|(a, p)| (0..a.size).contains(p))
}

/// The first largest of each window, and its row-major place.
fn largest(x: &RefArray, along: &[Along]) -> Vec<RefArray> {
    let lead = x.shape.len() - along.len();
    let (mut best, mut at) = (Vec::new(), Vec::new());
    let shape = each_window(x, along, |to, taps| {
        let value = |tap: &Vec<i64>| {
            let place: Vec<usize> = tap.iter().map(|p| *p as usize).collect();
            (x.at(&[&to[..lead], &place].concat()), tap.iter().zip(along).fold(0, |i, (p, a)| i * a.size + p))
        };
        let found = taps.iter().filter(|t| inside(along, t)).map(value).reduce(|a, b| if b.0 > a.0 { b } else { a });
        let (v, i) = found.unwrap_or((f64::NEG_INFINITY, 0));
        best.push(v);
        at.push(i as f64);
    });
    vec![RefArray::new(&shape, best), RefArray::new(&shape, at)]
}

fn mean(x: &RefArray, along: &[Along], include: bool, fixed: Option<i64>) -> Vec<RefArray> {
    let lead = x.shape.len() - along.len();
    let mut means = Vec::new();
    let shape = each_window(x, along, |to, taps| {
        let mut sum = 0.0;
        for tap in taps.iter().filter(|t| inside(along, t)) {
            let place: Vec<usize> = tap.iter().map(|p| *p as usize).collect();
            sum += x.at(&[&to[..lead], &place].concat());
        }
        let padded = |tap: &[i64]| along.iter().zip(tap).all(|(a, p)| *p < a.size + a.padding);
        let count = taps.iter().filter(|t| if include { padded(t) } else { inside(along, t) }).count() as i64;
        means.push(sum / fixed.unwrap_or(count) as f64);
    });
    vec![RefArray::new(&shape, means)]
}

fn stride(kernel: &Ints, stride: &Opt<Ints>) -> Ints {
    stride.as_ref().unwrap_or(kernel).clone()
}

/// Arguments of a max pooling: kernel, stride, padding, dilation, rounding up.
type MaxCase = (Ints, Opt<Ints>, Ints, Ints, bool);

fn max_samples(spatial: usize, make: impl Fn(MaxCase) -> Op) -> Vec<Sample> {
    let shape = |n: usize, c: usize, long: usize| [&[n, c][..], &[5, long][2 - spatial..]].concat();
    let new = |case: MaxCase, x: &[usize]| Sample::new(make(case), [distinct(x)]);
    let plain = |kernel: i64| (kernel.into(), ().into(), 0.into(), 1.into(), false);
    let fails = |case: MaxCase, note| new(case, &shape(1, 2, 7)).fails("Shape", note);
    vec![
        new(plain(2), &shape(2, 3, 6)),
        new((3.into(), 1.into(), 1.into(), 1.into(), false), &shape(1, 2, 4)),
        new((2.into(), 3.into(), 1.into(), 2.into(), true), &shape(1, 2, 7)),
        new((2.into(), 2.into(), 0.into(), 1.into(), true), &shape(1, 1, 7)),
        new(plain(2), &shape(1, 3, 6)[1..]).note("no batch"),
        new(plain(2), &shape(0, 3, 6)),
        Sample::new(make(plain(2)), [ints(&shape(1, 2, 6), -9, 9)]).on(Dtypes::Only(&[DType::U8, DType::I16])),
        fails(plain(0), "an empty window"),
        fails(plain(9), "the window is larger than the input"),
        fails((2.into(), 1.into(), 2.into(), 1.into(), false), "padding of more than half the window"),
        fails((2.into(), 1.into(), (-1).into(), 1.into(), false), "padding -1"),
        fails(([2, 2, 2].into(), 1.into(), 0.into(), 1.into(), false), "three sizes"),
        new(plain(1), &[4]).fails("Shape", "rank 1"),
        Sample::new(make(plain(2)), [bools(&shape(1, 2, 6))]).on(Dtypes::Only(&[DType::F32])).fails("DType", "bools"),
    ]
}

macro_rules! max_pools {
    ($($Name:ident $n:literal $outs:literal $known:expr;)*) => {$(
        impl OpSpec for $Name {
            fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                let stride = stride(&self.kernel_size, &self.stride);
                let lists = [&self.kernel_size, &stride, &self.padding, &self.dilation];
                let mut y = largest(&x[0], &along(&x[0], $n, lists, self.ceil_mode));
                y.truncate($outs);
                y
            }
            fn samples() -> Vec<Sample> {
                let make = |(kernel_size, stride, padding, dilation, ceil_mode): MaxCase| {
                    $Name { kernel_size, stride, padding, dilation, ceil_mode }.into()
                };
                let mut out = max_samples($n, make);
                let (x, known): ([f64; 4], &[&[f64]]) = $known;
                let shape: &[usize] = if $n == 1 { &[1, 1, 4] } else { &[1, 1, 2, 2] };
                let case = (2.into(), ().into(), 0.into(), 1.into(), false);
                out.push(Sample::new(make(case), [values(shape, &x)]).known(known, "by hand"));
                out
            }
        }
    )*};
}

max_pools! {
    MaxPool1d 1 1 ([3.0, 1.0, 4.0, 4.0], &[&[3.0, 4.0]]);
    MaxPool2d 2 1 ([3.0, 1.0, 4.0, 4.0], &[&[4.0]]);
    MaxPool1dWithIndices 1 2 ([3.0, 1.0, 4.0, 4.0], &[&[3.0, 4.0], &[0.0, 2.0]]);
    MaxPool2dWithIndices 2 2 ([3.0, 1.0, 4.0, 4.0], &[&[4.0], &[2.0]]);
}

/// Arguments of a mean pooling: kernel, stride, padding, rounding up, padding counted.
type MeanCase = (Ints, Opt<Ints>, Ints, bool, bool);

fn mean_samples(spatial: usize, make: impl Fn(MeanCase) -> Op) -> Vec<Sample> {
    let shape = |n: usize, c: usize, long: usize| [&[n, c][..], &[5, long][2 - spatial..]].concat();
    let new = |case: MeanCase, x: &[usize]| Sample::new(make(case), [real(x)]);
    let plain = |kernel: i64| (kernel.into(), ().into(), 0.into(), false, true);
    let fails = |case: MeanCase, note| new(case, &shape(1, 2, 7)).fails("Shape", note);
    vec![
        new(plain(2), &shape(2, 3, 6)),
        new((3.into(), 1.into(), 1.into(), false, true), &shape(1, 2, 4)),
        new((3.into(), 2.into(), 1.into(), false, false), &shape(1, 2, 6)),
        new((2.into(), 2.into(), 0.into(), true, true), &shape(1, 2, 7)),
        new((3.into(), 2.into(), 1.into(), true, false), &shape(1, 2, 6)),
        new(plain(2), &shape(1, 3, 6)[1..]).note("no batch"),
        new(plain(2), &shape(0, 3, 6)),
        fails(plain(0), "an empty window"),
        fails(plain(9), "the window is larger than the input"),
        fails((2.into(), 1.into(), 2.into(), false, true), "padding of more than half the window"),
        fails((2.into(), 0.into(), 0.into(), false, true), "stride 0"),
        new(plain(1), &[4]).fails("Shape", "rank 1"),
        Sample::new(make(plain(2)), [ints(&shape(1, 2, 6), 0, 3)]).on(Dtypes::Ints).fails("DType", "integers"),
    ]
}

impl OpSpec for AvgPool1d {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let stride = stride(&self.kernel_size, &self.stride);
        let along = along(&x[0], 1, [&self.kernel_size, &stride, &self.padding, &1.into()], self.ceil_mode);
        mean(&x[0], &along, self.count_include_pad, None)
    }
    fn samples() -> Vec<Sample> {
        let make = |(kernel_size, stride, padding, ceil_mode, count_include_pad): MeanCase| {
            AvgPool1d { kernel_size, stride, padding, ceil_mode, count_include_pad }.into()
        };
        let mut out = mean_samples(1, make);
        let x = values(&[1, 1, 3], &[2.0, 4.0, 9.0]);
        let op = make((2.into(), 2.into(), 1.into(), false, false));
        out.push(Sample::new(op, [x]).known(&[&[2.0, 6.5]], "by hand: padding does not count"));
        out
    }
}

impl OpSpec for AvgPool2d {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let stride = stride(&self.kernel_size, &self.stride);
        let along = along(&x[0], 2, [&self.kernel_size, &stride, &self.padding, &1.into()], self.ceil_mode);
        mean(&x[0], &along, self.count_include_pad, self.divisor_override.get())
    }
    fn samples() -> Vec<Sample> {
        let make = |(kernel_size, stride, padding, ceil_mode, count_include_pad): MeanCase| AvgPool2d {
            kernel_size,
            stride,
            padding,
            ceil_mode,
            count_include_pad,
            divisor_override: ().into(),
        };
        let mut out = mean_samples(2, |case| make(case).into());
        let x = values(&[1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let op = make((2.into(), 1.into(), 0.into(), false, true));
        out.push(Sample::new(op.clone(), [x.clone()]).known(&[&[3.0, 4.0]], "by hand"));
        let by = |n: i64| AvgPool2d { divisor_override: n.into(), ..op.clone() };
        out.push(Sample::new(by(3), [x.clone()]).known(&[&[4.0, 16.0 / 3.0]], "by hand: sums over 3"));
        out.push(Sample::new(by(0), [x]).fails("Shape", "divided by 0"));
        out
    }
}
