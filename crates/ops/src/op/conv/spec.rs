//! References and samples of convolutions: naive loops over any number of dimensions.

use esker_tensor::DType;

use crate::op::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d};
use crate::spec::{Dtypes, OpSpec, RefArray, Sample, each_index, ints, real, values};
use crate::{Ints, Op, Padding};

/// How a window moves, for each dimension: `(stride, zeros in front, zeros behind, dilation)`.
type Move = (i64, i64, i64, i64);

fn number(list: &Ints, d: usize) -> i64 {
    let list = list.get();
    list[if list.len() == 1 { 0 } else { d }]
}

fn moves(w: &RefArray, stride: &Ints, padding: &Padding, dilation: &Ints) -> Vec<Move> {
    let one = |d: usize| {
        let (s, step) = (number(stride, d), number(dilation, d));
        let total = step * (w.shape[2 + d] as i64 - 1);
        match padding {
            Padding::Same => (s, total / 2, total - total / 2, step),
            Padding::Valid => (s, 0, 0, step),
            Padding::Sizes(p) => (s, number(p, d), number(p, d), step),
        }
    };
    (0..w.shape.len() - 2).map(one).collect()
}

/// An array with a batch, and whether it had one.
fn with_batch(x: &RefArray, rank: usize) -> (RefArray, bool) {
    let had = x.shape.len() == rank;
    let shape = if had { x.shape.clone() } else { [&[1], &x.shape[..]].concat() };
    (RefArray::new(&shape, x.data.clone()), had)
}

fn without_batch(y: RefArray, had: bool) -> Vec<RefArray> {
    vec![if had { y } else { RefArray::new(&y.shape[1..], y.data) }]
}

fn bias_at(x: &[RefArray], channel: usize) -> f64 {
    x.get(2).map_or(0.0, |b| b.data[channel])
}

fn convolution(x: &[RefArray], moves: &[Move], groups: i64) -> Vec<RefArray> {
    let w = &x[1];
    let (input, had) = with_batch(&x[0], w.shape.len());
    let mut shape = vec![input.shape[0], w.shape[0]];
    for (d, &(stride, front, behind, step)) in moves.iter().enumerate() {
        let room = input.shape[2 + d] as i64 + front + behind - step * (w.shape[2 + d] as i64 - 1) - 1;
        shape.push((room / stride + 1) as usize);
    }
    let per_group = w.shape[0] / groups as usize;
    let y = RefArray::from_fn(&shape, |at| {
        let mut sum = bias_at(x, at[1]);
        each_index(&w.shape[1..], |tap| {
            let mut from = vec![at[0], at[1] / per_group * w.shape[1] + tap[0]];
            for (d, &(stride, front, _, step)) in moves.iter().enumerate() {
                let place = at[2 + d] as i64 * stride + tap[1 + d] as i64 * step - front;
                if place < 0 || place >= input.shape[2 + d] as i64 {
                    return;
                }
                from.push(place as usize);
            }
            sum += input.at(&from) * w.at(&[&[at[1]], tap].concat());
        });
        sum
    });
    without_batch(y, had)
}

/// Every input spreads over a window of outputs.
fn transposed(x: &[RefArray], moves: &[Move], extra: &Ints, groups: i64) -> Vec<RefArray> {
    let w = &x[1];
    let (input, had) = with_batch(&x[0], w.shape.len());
    let (per_in, per_out) = (input.shape[1] / groups as usize, w.shape[1]);
    let mut shape = vec![input.shape[0], per_out * groups as usize];
    for (d, &(stride, front, behind, step)) in moves.iter().enumerate() {
        let full = (input.shape[2 + d] as i64 - 1) * stride + step * (w.shape[2 + d] as i64 - 1) + 1;
        shape.push((full - front - behind + number(extra, d)) as usize);
    }
    let mut y = RefArray::from_fn(&shape, |at| bias_at(x, at[1]));
    each_index(&input.shape, |from| {
        each_index(&w.shape[1..], |tap| {
            let mut to = vec![from[0], from[1] / per_in * per_out + tap[0]];
            for (d, &(stride, front, _, step)) in moves.iter().enumerate() {
                let place = from[2 + d] as i64 * stride + tap[1 + d] as i64 * step - front;
                if place < 0 || place >= shape[2 + d] as i64 {
                    return;
                }
                to.push(place as usize);
            }
            *y.at_mut(&to) += input.at(from) * w.at(&[&[from[1]], tap].concat());
        });
    });
    without_batch(y, had)
}

macro_rules! forward {
    ($($Name:ident)*) => {$(
        impl OpSpec for $Name {
            fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                convolution(x, &moves(&x[1], &self.stride, &self.padding, &self.dilation), self.groups)
            }
            fn samples() -> Vec<Sample> {
                samples::$Name()
            }
        }
    )*};
}

forward! { Conv1d Conv2d Conv3d }

macro_rules! backward {
    ($($Name:ident)*) => {$(
        impl OpSpec for $Name {
            fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                let padding = Padding::Sizes(self.padding.clone());
                let moves = moves(&x[1], &self.stride, &padding, &self.dilation);
                transposed(x, &moves, &self.output_padding, self.groups)
            }
            fn samples() -> Vec<Sample> {
                samples::$Name()
            }
        }
    )*};
}

backward! { ConvTranspose1d ConvTranspose2d }

#[allow(non_snake_case)]
mod samples {
    use super::*;

    /// A convolution from a stride, padding, dilation and groups, on an input, a weight and maybe a bias.
    macro_rules! make {
        ($Name:ident) => {
            |stride: Ints, padding: Padding, dilation: Ints, groups: i64, sizes: &[&[usize]]| {
                let op: Op = $Name { stride, padding, dilation, groups }.into();
                Sample::new(op, sizes.iter().map(|s| real(s)).collect::<Vec<_>>())
            }
        };
    }

    pub(super) fn Conv1d() -> Vec<Sample> {
        let new = make!(Conv1d);
        let plain = |sizes: &[&[usize]]| new(1.into(), Padding::Valid, 1.into(), 1, sizes);
        let known = Conv1d { stride: 1.into(), padding: 0.into(), dilation: 1.into(), groups: 1 };
        let input = [values(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]), values(&[1, 1, 2], &[1.0, -1.0]), values(&[1], &[0.5])];
        vec![
            plain(&[&[2, 3, 7], &[4, 3, 3], &[4]]),
            new(2.into(), 1.into(), 2.into(), 2, &[&[2, 4, 8], &[2, 2, 3]]),
            new(1.into(), Padding::Same, 1.into(), 1, &[&[1, 2, 5], &[3, 2, 4], &[3]]),
            plain(&[&[2, 6], &[1, 2, 3], &[1]]),
            plain(&[&[0, 2, 4], &[1, 2, 3]]),
            Sample::new(known, input).known(&[&[-0.5, -0.5, -0.5]], "by hand"),
            new(2.into(), Padding::Same, 1.into(), 1, &[&[1, 1, 4], &[1, 1, 3]]).fails("Shape", "same with a stride"),
            new([1, 1].into(), 0.into(), 1.into(), 1, &[&[1, 1, 4], &[1, 1, 3]]).fails("Shape", "two strides"),
            plain(&[&[1, 1, 4], &[1, 1, 3], &[2]]).fails("Shape", "the bias's size"),
            plain(&[&[4], &[1, 1, 3]]).fails("Shape", "rank 1"),
            plain(&[&[1, 1, 4], &[1, 3]]).fails("Shape", "a weight of rank 2"),
        ]
    }

    pub(super) fn Conv2d() -> Vec<Sample> {
        let new = make!(Conv2d);
        let plain = |sizes: &[&[usize]]| new(1.into(), 0.into(), 1.into(), 1, sizes);
        let known = Conv2d { stride: 1.into(), padding: 1.into(), dilation: 1.into(), groups: 1 };
        let input = [values(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), values(&[1, 1, 3, 3], &[1.0; 9])];
        let whole = [ints(&[1, 1, 3, 3], 0, 3), ints(&[1, 1, 2, 2], 0, 3)];
        let mixed = [ints(&[1, 1, 3, 3], -3, 3).of(DType::I32), real(&[1, 1, 2, 2])];
        vec![
            plain(&[&[2, 3, 5, 4], &[4, 3, 3, 2], &[4]]),
            new([2, 1].into(), [1, 0].into(), [1, 2].into(), 2, &[&[2, 4, 6, 5], &[6, 2, 3, 2], &[6]]),
            new(1.into(), Padding::Same, [1, 2].into(), 1, &[&[1, 2, 4, 5], &[2, 2, 2, 2]]),
            new(1.into(), Padding::Valid, 1.into(), 3, &[&[1, 3, 4, 4], &[3, 1, 3, 3], &[3]]),
            plain(&[&[2, 4, 4], &[3, 2, 3, 3], &[3]]),
            plain(&[&[0, 2, 4, 4], &[3, 2, 3, 3]]),
            Sample::new(known.clone(), input).known(&[&[10.0; 4]], "by hand: every window sees all"),
            Sample::new(known.clone(), mixed).note("an integer meets a float"),
            plain(&[&[1, 1, 2, 2], &[1, 1, 3, 3]]).fails("Shape", "the window is larger than the input"),
            plain(&[&[1, 2, 4, 4], &[1, 3, 3, 3]]).fails("Shape", "channels differ"),
            new(1.into(), 0.into(), 1.into(), 0, &[&[1, 1, 4, 4], &[1, 1, 3, 3]]).fails("Shape", "no groups"),
            new(0.into(), 0.into(), 1.into(), 1, &[&[1, 1, 4, 4], &[1, 1, 3, 3]]).fails("Shape", "stride 0"),
            new(1.into(), (-1).into(), 1.into(), 1, &[&[1, 1, 4, 4], &[1, 1, 3, 3]]).fails("Shape", "padding -1"),
            new(1.into(), i64::MAX.into(), 1.into(), 1, &[&[1, 1, 4, 4], &[1, 1, 3, 3]]).fails("Shape", "beyond all"),
            Sample::new(known, whole).on(Dtypes::Ints).fails("DType", "integers"),
        ]
    }

    pub(super) fn Conv3d() -> Vec<Sample> {
        let new = make!(Conv3d);
        let plain = |sizes: &[&[usize]]| new(1.into(), 0.into(), 1.into(), 1, sizes);
        let known = Conv3d { stride: 1.into(), padding: 0.into(), dilation: 1.into(), groups: 1 };
        let eight: Vec<f64> = (1..=8).map(f64::from).collect();
        let input = [values(&[1, 1, 2, 2, 2], &eight), values(&[1, 1, 2, 1, 1], &[1.0, 10.0])];
        vec![
            plain(&[&[1, 2, 3, 4, 3], &[3, 2, 2, 3, 2], &[3]]),
            new([2, 1, 1].into(), [1, 0, 1].into(), [2, 1, 1].into(), 2, &[&[2, 2, 5, 3, 3], &[4, 1, 2, 2, 3]]),
            new(1.into(), Padding::Same, 1.into(), 1, &[&[1, 1, 3, 2, 3], &[2, 1, 2, 1, 3]]),
            plain(&[&[1, 3, 2, 2], &[2, 1, 2, 2, 1], &[2]]),
            Sample::new(known, input).known(&[&[51.0, 62.0, 73.0, 84.0]], "by hand: x + 10 * the next frame's"),
            plain(&[&[1, 1, 1, 2, 2], &[1, 1, 2, 2, 2]]).fails("Shape", "the window is deeper than the input"),
            plain(&[&[2, 2, 2], &[1, 1, 2, 2, 2]]).fails("Shape", "rank 3"),
            new(1.into(), i64::MAX.into(), 1.into(), 1, &[&[1, 1, 2, 2, 2], &[1, 1, 2, 2, 2]])
                .fails("Shape", "beyond all"),
        ]
    }

    /// A transposed convolution from stride, padding, output padding, groups and dilation.
    macro_rules! make_transposed {
        ($Name:ident) => {
            |[stride, padding, output_padding]: [Ints; 3], groups: i64, dilation: Ints, sizes: &[&[usize]]| {
                let op: Op = $Name { stride, padding, output_padding, groups, dilation }.into();
                Sample::new(op, sizes.iter().map(|s| real(s)).collect::<Vec<_>>())
            }
        };
    }

    pub(super) fn ConvTranspose1d() -> Vec<Sample> {
        let new = make_transposed!(ConvTranspose1d);
        let steps = |s: i64, p: i64, e: i64| [s.into(), p.into(), e.into()];
        let [stride, padding, output_padding] = steps(2, 0, 1);
        let known = ConvTranspose1d { stride, padding, output_padding, groups: 1, dilation: 1.into() };
        let input = [values(&[1, 1, 2], &[1.0, 2.0]), values(&[1, 1, 3], &[1.0, 10.0, 100.0])];
        vec![
            new(steps(1, 0, 0), 1, 1.into(), &[&[2, 3, 4], &[3, 2, 3], &[2]]),
            new(steps(3, 1, 2), 2, 2.into(), &[&[1, 4, 3], &[4, 1, 2]]),
            new(steps(1, 1, 1), 1, 2.into(), &[&[1, 2, 3], &[2, 1, 2]]).note("output padding of a whole step"),
            new(steps(2, 0, 0), 1, 1.into(), &[&[2, 4], &[2, 3, 2], &[3]]),
            Sample::new(known, input).known(&[&[1.0, 10.0, 102.0, 20.0, 200.0, 0.0]], "by hand"),
            new(steps(1, 0, 1), 1, 1.into(), &[&[1, 1, 3], &[1, 1, 2]]).fails("Shape", "output padding beyond a step"),
            new(steps(1, 2, 0), 1, 1.into(), &[&[1, 1, 3], &[1, 1, 2]]).fails("Shape", "nothing is left"),
            new(steps(1, 0, 0), 1, 1.into(), &[&[1, 2, 3], &[3, 1, 2]]).fails("Shape", "channels differ"),
            new(steps(i64::MAX, 0, 0), 1, 1.into(), &[&[1, 1, 3], &[1, 1, 2]]).fails("Shape", "beyond all addresses"),
        ]
    }

    pub(super) fn ConvTranspose2d() -> Vec<Sample> {
        let new = make_transposed!(ConvTranspose2d);
        let steps = |s: [i64; 2], p: [i64; 2], e: [i64; 2]| [s.into(), p.into(), e.into()];
        let plain = || steps([1, 1], [0, 0], [0, 0]);
        let known = ConvTranspose2d {
            stride: 2.into(),
            padding: 0.into(),
            output_padding: 0.into(),
            groups: 1,
            dilation: 1.into(),
        };
        let input = [values(&[1, 1, 1, 2], &[1.0, 2.0]), values(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0])];
        vec![
            new(plain(), 1, 1.into(), &[&[2, 3, 3, 4], &[3, 2, 2, 3], &[2]]),
            new(steps([2, 3], [1, 0], [1, 2]), 2, [1, 2].into(), &[&[1, 4, 3, 2], &[4, 2, 3, 2], &[4]]),
            new(plain(), 1, 1.into(), &[&[2, 3, 3], &[2, 1, 2, 2]]),
            new(plain(), 1, 1.into(), &[&[0, 2, 3, 3], &[2, 1, 2, 2]]),
            Sample::new(known, input).known(&[&[1.0, 2.0, 2.0, 4.0, 3.0, 4.0, 6.0, 8.0]], "by hand: no overlap"),
            new(plain(), 1, 1.into(), &[&[1, 2, 3, 3], &[2, 1, 2, 2], &[2]]).fails("Shape", "the bias's size"),
            new(plain(), 2, 1.into(), &[&[1, 3, 3, 3], &[3, 1, 2, 2]]).fails("Shape", "3 channels in 2 groups"),
            new(plain(), 0, 1.into(), &[&[1, 3, 3, 3], &[3, 1, 2, 2]]).fails("Shape", "no groups"),
            new(plain(), 1, 1.into(), &[&[3, 3], &[1, 1, 2, 2]]).fails("Shape", "rank 2"),
        ]
    }
}
