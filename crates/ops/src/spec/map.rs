//! Elementwise ops: the reference is the body's own f64 instance, so known points come from elsewhere.

use std::ops::Range;

use esker_tensor::DType;

use super::reference::broadcast;
use super::{Dtypes, ElemSpec, Fill, Input, OpSpec, RefArray, Sample, bools, ints, real, slope, values};
use crate::{MapGrad, MapOp, OpRule};

/// The reference and the samples of an elementwise function, without its type.
#[derive(Clone, Copy)]
pub struct MapSpec {
    f: fn([f64; 3]) -> f64,
    arity: usize,
    integers: bool,
    check_zero: bool,
    ranges: &'static [&'static [Range<f64>]],
    at: &'static [(&'static [f64], f64)],
}

impl MapSpec {
    /// Of a function.
    pub fn of<F: ElemSpec>() -> Self {
        Self {
            f: F::f::<f64>,
            arity: F::ARITY,
            integers: F::INTEGERS,
            check_zero: F::CHECK_ZERO,
            ranges: F::RANGES,
            at: F::AT,
        }
    }

    fn eval(&self, x: &[f64]) -> f64 {
        (self.f)(std::array::from_fn(|i| x.get(i).copied().unwrap_or(0.0)))
    }

    /// The function of each element, in f64.
    pub fn reference(&self, x: &[RefArray]) -> RefArray {
        each(x, |x| self.eval(x))
    }

    /// An input that lies in a box of the function's.
    fn input(&self, boxed: &[Range<f64>], i: usize, shape: &[usize]) -> Input {
        Input { shape: shape.to_vec(), fill: Fill::Range(boxed[i].start, boxed[i].end), dtype: None }
    }

    /// Samples of the op that has this function.
    pub fn samples(&self, op: MapOp) -> Vec<Sample> {
        let mut out = Vec::new();
        for (i, boxed) in self.ranges.iter().enumerate() {
            for shapes in shapes(self.arity, i == 0) {
                let x = shapes.iter().enumerate().map(|(i, s)| self.input(boxed, i, s));
                out.push(Sample::new(op, x.collect::<Vec<_>>()));
            }
        }
        out.extend(self.known(op));
        self.integer_samples(op, &mut out);
        let x = self.input(self.ranges[0], 0, &[2, 3]);
        out.push(Sample::new(op, vec![x.clone(); self.arity + 1]).fails("Shape", "one input too many"));
        if self.arity == 2 {
            let y = self.input(self.ranges[0], 1, &[2]);
            out.push(Sample::new(op, [x, y]).fails("Shape", "[2, 3] and [2] do not broadcast"));
            self.mixed(op, &mut out);
        }
        out
    }

    /// The points of the row in one sample; whole numbers for integers too.
    fn known(&self, op: MapOp) -> Vec<Sample> {
        let whole = |v: f64| v.fract() == 0.0 && v.abs() < 100.0;
        let sample = |points: &[&(&[f64], f64)]| {
            let inputs: Vec<Input> = (0..self.arity)
                .map(|i| values(&[points.len()], &points.iter().map(|p| p.0[i]).collect::<Vec<_>>()))
                .collect();
            let y: Vec<f64> = points.iter().map(|p| p.1).collect();
            Sample::new(op, inputs).known(&[&y], "mpmath 1.3 at 50 digits; IEEE 754 for infinities and NaN")
        };
        let all: Vec<_> = self.at.iter().collect();
        let mut out = vec![sample(&all).on(Dtypes::Only(&[DType::F32, DType::F64]))];
        let wholes: Vec<_> = all.into_iter().filter(|p| p.0.iter().all(|&x| whole(x)) && whole(p.1)).collect();
        if self.integers && !wholes.is_empty() {
            const SIGNED: &[DType] = &[DType::I8, DType::I16, DType::I32, DType::I64, DType::F16, DType::BF16];
            out.push(sample(&wholes).on(Dtypes::Only(SIGNED)));
        }
        out
    }

    fn integer_samples(&self, op: MapOp, out: &mut Vec<Sample>) {
        const SIGNED: Dtypes = Dtypes::Only(&[DType::I8, DType::I16, DType::I32, DType::I64]);
        let all = |first: i64, last: i64, n: usize| vec![ints(&[n], first, last); self.arity];
        if !self.integers {
            // They become f32 first.
            const SOME: Dtypes = Dtypes::Only(&[DType::Bool, DType::U8, DType::I32, DType::I64]);
            out.push(Sample::new(op, all(1, 9, 19)).on(SOME));
            return;
        }
        if self.check_zero {
            let x = ints(&[37], -9, 9);
            out.push(Sample::new(op, [x.clone(), ints(&[37], 1, 5)]).on(Dtypes::Ints));
            out.push(Sample::new(op, [x, ints(&[37], -5, -1)]).on(SIGNED));
            let zero = values(&[3], &[2.0, 0.0, 1.0]);
            out.push(Sample::new(op, [ints(&[3], 1, 5), zero]).on(Dtypes::Ints).fails("Kernel", "division by zero"));
            let zero = values(&[], &[0.0]);
            out.push(Sample::new(op, [ints(&[2, 2], 1, 5), zero]).on(Dtypes::Ints).fails("Kernel", "division by zero"));
            let none = ints(&[0], 1, 1);
            out.push(Sample::new(op, [none.clone(), none]).on(Dtypes::Ints).note("nothing is divided"));
            let most = values(&[2], &[-128.0, -128.0]);
            out.push(
                Sample::new(op, [most, values(&[2], &[-1.0, 127.0])]).on(Dtypes::Only(&[DType::I8])).note("wraps"),
            );
        } else {
            out.push(Sample::new(op, all(-9, 9, 67)).on(Dtypes::Ints));
            out.push(Sample::new(op, all(-2, 1, 0)).on(Dtypes::Ints));
            // Every pair of the ends wraps somewhere.
            let ends = [-128.0, 127.0, -1.0, 0.0];
            let x: Vec<f64> = ends.iter().flat_map(|&a| [a; 4]).collect();
            let y: Vec<f64> = [ends; 4].concat();
            let inputs: Vec<Input> = [x, y].iter().take(self.arity).map(|v| values(&[16], v)).collect();
            out.push(Sample::new(op, inputs).on(Dtypes::Only(&[DType::I8, DType::I16])).note("integers wrap"));
        }
        let x = vec![bools(&[3]); self.arity];
        out.push(Sample::new(op, x).on(Dtypes::Only(&[DType::Bool])).fails("DType", "bool is no number"));
    }

    /// Dtypes that meet.
    fn mixed(&self, op: MapOp, out: &mut Vec<Sample>) {
        let whole = |shape: &[usize]| ints(shape, 5, 5);
        let y = |shape: &[usize]| self.input(self.ranges[0], 1, shape);
        let of = |x: Input, dtype| x.of(dtype);
        out.push(Sample::new(op, [of(whole(&[5]), DType::I32), y(&[5])]).note("an integer meets a float"));
        out.push(Sample::new(op, [of(whole(&[]), DType::I64), y(&[5])]).note("an integer scalar is weak"));
        const F32: Dtypes = Dtypes::Only(&[DType::F32]);
        out.push(
            Sample::new(op, [whole(&[5]), of(whole(&[]), DType::F64)]).on(F32).rough().note("a f64 scalar is weak"),
        );
        out.push(
            Sample::new(op, [of(whole(&[5]), DType::U8), of(whole(&[5]), DType::I8)])
                .on(F32)
                .note("u8 and i8 meet in i16"),
        );
    }
}

/// As `each`, as a reference gives it.
pub fn each_value(x: &[RefArray], f: impl Fn(&[f64]) -> f64) -> Vec<RefArray> {
    vec![each(x, f)]
}

/// `f` of the elements that meet when `x` broadcast.
fn each(x: &[RefArray], f: impl Fn(&[f64]) -> f64) -> RefArray {
    let shape = broadcast(&x.iter().map(|x| &x.shape[..]).collect::<Vec<_>>());
    let x: Vec<RefArray> = x.iter().map(|x| x.broadcast_to(&shape)).collect();
    let at = |i: usize| -> Vec<f64> { x.iter().map(|x| x.data[i]).collect() };
    RefArray::new(&shape, (0..shape.iter().product()).map(|i| f(&at(i))).collect())
}

/// Shapes to try a function of `arity` inputs with: all of them, or a few for a second box.
fn shapes(arity: usize, all: bool) -> Vec<Vec<&'static [usize]>> {
    let one: &[&'static [usize]] =
        &[&[3, 5], &[], &[1], &[67], &[2, 3, 4, 5], &[0], &[2, 0, 3], &[2, 1, 2, 1, 2, 3], &[1, 2, 1, 2, 1, 2, 1, 3]];
    let two: &[[&'static [usize]; 2]] = &[
        [&[3, 5], &[3, 5]],
        [&[3, 4], &[4]],
        [&[4], &[3, 4]],
        [&[3, 1], &[1, 37]],
        [&[], &[5]],
        [&[], &[]],
        [&[131], &[131]],
        [&[2, 1, 3], &[4, 1]],
        [&[0, 3], &[1, 3]],
        [&[2, 1, 2, 1, 2, 1, 2, 1], &[1, 2, 1, 2, 1, 2, 1, 2]],
    ];
    let all: Vec<Vec<&[usize]>> = match arity {
        1 => one.iter().map(|s| vec![*s]).take(if all { one.len() } else { 1 }).collect(),
        2 => two.iter().map(|s| s.to_vec()).take(if all { two.len() } else { 1 }).collect(),
        _ => vec![vec![&[3, 4]; arity], vec![&[2, 1], &[1, 5], &[]], vec![&[0]; arity]],
    };
    all
}

impl OpSpec for MapGrad {
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
        let (spec, wrt) = (self.op.spec(), usize::from(self.wrt));
        vec![each(x, |x| {
            let (at, dy) = (&x[..spec.arity], x[spec.arity]);
            let along = |v: f64| {
                let mut at = at.to_vec();
                at[wrt] = v;
                spec.eval(&at)
            };
            dy * slope(along, at[wrt])
        })]
    }

    fn samples() -> Vec<Sample> {
        let mut out = Vec::new();
        for &op in MapOp::ALL {
            let spec = op.spec();
            for wrt in 0..spec.arity {
                let grad = MapGrad { op, wrt: wrt as u8 };
                for boxed in spec.ranges {
                    for x_shapes in shapes(spec.arity, false) {
                        let shape = broadcast(&x_shapes);
                        let mut x: Vec<Input> =
                            x_shapes.iter().enumerate().map(|(i, s)| spec.input(boxed, i, s)).collect();
                        x.push(real(&shape));
                        out.push(Sample::new(grad, x).slack(SLACK).note(op.name()));
                    }
                }
            }
        }
        let mul = |wrt| MapGrad { op: MapOp::Mul, wrt };
        out.push(Sample::new(mul(0), [real(&[3, 1]), real(&[4]), real(&[3, 4])]).slack(SLACK).note("broadcast"));
        out.push(Sample::new(mul(1), [real(&[]), real(&[]), real(&[])]).slack(SLACK));
        out.push(Sample::new(mul(1), [real(&[0]), real(&[]), real(&[1])]).slack(SLACK));
        let gelu = MapGrad { op: MapOp::Gelu, wrt: 0 };
        out.push(Sample::new(gelu, [real(&[131]), real(&[131])]).slack(SLACK));
        let exp = MapGrad { op: MapOp::Exp, wrt: 0 };
        out.push(Sample::new(exp, [real(&[0, 2]), real(&[0, 2])]));
        let precise = Dtypes::Only(&[DType::F32, DType::F64]);
        let known = |op, x: &[f64], y: &[f64]| {
            let n = [x.len()];
            Sample::new(MapGrad { op, wrt: 0 }, [values(&n, x), values(&n, &vec![1.0; x.len()])])
                .on(precise)
                .known(&[y], "mpmath 1.3 at 50 digits")
        };
        let slopes = [1.083_315_470_587_686_4, 0.132_504_875_343_837_15, -0.011_945_647_204_183_927];
        out.push(known(MapOp::Gelu, &[1.0, -0.5, -3.0], &slopes));
        out.push(known(MapOp::GeluTanh, &[0.5], &[0.867_369_903_534_642_3]));
        out.push(known(MapOp::Silu, &[0.5], &[0.739_961_187_302_651_8]));
        out.push(known(MapOp::Tanh, &[0.5], &[0.786_447_732_965_927_4]));
        out.push(known(MapOp::Erf, &[0.5], &[0.878_782_578_935_444_8]));
        out.push(known(MapOp::Sigmoid, &[0.5], &[0.235_003_712_201_594_5]));
        out.push(known(MapOp::Sqrt, &[2.0], &[0.353_553_390_593_273_8]));
        let ends = Sample::new(
            MapGrad { op: MapOp::Relu, wrt: 0 },
            [values(&[4], &[-1.0, 0.0, 2.0, f64::INFINITY]), values(&[4], &[1.0, 1.0, 1.0, 3.0])],
        );
        out.push(ends.known(&[&[0.0, 0.0, 1.0, 3.0]], "by definition: slope 0 at 0"));
        let ends = Sample::new(
            MapGrad { op: MapOp::Abs, wrt: 0 },
            [values(&[3], &[-1.0, 0.0, 2.0]), values(&[3], &[1.0, 1.0, 1.0])],
        );
        out.push(ends.known(&[&[-1.0, 0.0, 1.0]], "by definition: slope 0 at 0"));
        out.push(Sample::new(mul(0), [real(&[3]), real(&[3])]).fails("Shape", "the gradient is missing"));
        out.push(Sample::new(gelu, [real(&[3]), real(&[2])]).fails("Shape", "they do not broadcast"));
        out.push(Sample::new(mul(2), [real(&[3]), real(&[3]), real(&[3])]).fails("Dim", "mul has no third input"));
        let whole = [ints(&[3], 1, 3), ints(&[3], 1, 3)];
        out.push(Sample::new(gelu, whole).on(Dtypes::Ints).fails("DType", "integers have no gradient"));
        out
    }
}

/// How well [`slope`] knows a derivative.
const SLACK: f64 = 1e-8;

/// Samples of a function of floats that works element by element: a few shapes with inputs in each box, and, where there
/// are points (inputs, output) from an independent source, those.
pub fn pointwise(
    op: impl Into<crate::Op>,
    boxes: &[&[Range<f64>]],
    points: &[(&[f64], f64)],
    source: &'static str,
) -> Vec<Sample> {
    let op = op.into();
    let arity = boxes.first().map_or_else(|| points[0].0.len(), |b| b.len());
    let input = |r: &Range<f64>, shape: &[usize]| Input {
        shape: shape.to_vec(),
        fill: Fill::Range(r.start, r.end),
        dtype: None,
    };
    let shapes: &[&[&[usize]]] = match arity {
        1 => &[&[&[3, 5]], &[&[]], &[&[2, 1, 37]], &[&[0]]],
        2 => &[&[&[3, 5], &[3, 5]], &[&[3, 1], &[1, 7]], &[&[4], &[]], &[&[0], &[]]],
        _ => &[&[&[3, 4], &[3, 4], &[3, 4]], &[&[2, 1], &[1, 5], &[]], &[&[0], &[0], &[0]]],
    };
    let mut out: Vec<Sample> = Vec::new();
    for ranges in boxes {
        for shape in shapes {
            let x: Vec<Input> = ranges.iter().zip(*shape).map(|(r, s)| input(r, s)).collect();
            out.push(Sample::new(op.clone(), x));
        }
    }
    if !points.is_empty() {
        let column = |i: usize| points.iter().map(|p| p.0[i]).collect::<Vec<_>>();
        let x: Vec<Input> = (0..arity).map(|i| values(&[points.len()], &column(i))).collect();
        let y: Vec<f64> = points.iter().map(|p| p.1).collect();
        out.push(Sample::new(op.clone(), x).on(Dtypes::Only(&[DType::F32, DType::F64])).known(&[&y], source));
    }
    out.push(Sample::new(op, vec![real(&[2]); arity + 1]).fails("Shape", "one input too many"));
    out
}
