//! What holds of the rules without any backend.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::rc::Rc;

use esker_tensor::{DType, Device, Result};

use super::{Described, Expect, RefArray, Sample, slope, variants};
use crate::exec::prepare;
use crate::op::elementwise::Gelu;
use crate::scalar::{Dual, Num, Prim, Program, Scalar};
use crate::table::rows;
use crate::{ElemFn, Grad, MapOp, Meta, Metas, Op, Outs, Value, run};

/// Every sample with each dtype that it is for; not of the rows that read values, which need a backend.
fn each(mut f: impl FnMut(&str, &Sample, DType)) {
    for row in rows() {
        for sample in row.samples.iter().filter(|s| !s.op.reads_values()) {
            sample.dtypes.list().iter().for_each(|&dtype| f(row.name, sample, dtype));
        }
    }
}

/// What the op gives for the sample's inputs on `device`, after promotion, and what those inputs became.
fn inferred(sample: &Sample, dtype: DType, device: Device) -> Result<(Vec<Described>, Metas)> {
    let metas: Vec<Described> = sample.metas(dtype, device).into_iter().map(Described).collect();
    let (x, _, outs) = prepare(&sample.op_on(device), &metas.iter().collect::<Vec<_>>())?;
    Ok((x.iter().map(|x| **x).collect(), outs))
}

#[test]
fn inference_agrees_with_the_references() {
    each(|name, sample, dtype| {
        if sample.is_error() {
            return;
        }
        let (_, outs) = inferred(sample, dtype, Device::Cpu).unwrap_or_else(|e| panic!("{name}: {e}: {sample:?}"));
        let x: Vec<RefArray> = sample.materialize(dtype, 1).unwrap().iter().map(|x| RefArray::of(x).unwrap()).collect();
        let want = sample.op.reference(&x);
        let shapes: Vec<&[usize]> = outs.iter().map(|m| &m.shape[..]).collect();
        let expected: Vec<&[usize]> = want.iter().map(|y| &y.shape[..]).collect();
        assert_eq!(shapes, expected, "{name}: {sample:?}");
    });
}

/// Whether the reference cannot know which tensors are given, so that only the known values say what must come out.
fn known_alone(sample: &Sample) -> bool {
    let gaps = matches!(&sample.op, Op::Call(call) if call.leaves_gaps(sample.inputs.len()));
    gaps && matches!(sample.expect, Expect::Known(_))
}

#[test]
fn known_values_agree_with_the_references() {
    each(|name, sample, dtype| {
        let Expect::Known(known) = &sample.expect else { return };
        if known_alone(sample) {
            return;
        }
        let x = sample.materialize(dtype, 1).unwrap();
        let want = sample.expected(&x).unwrap();
        assert_eq!(known.len(), want.len());
        let inputs: Vec<RefArray> = x.iter().map(|x| RefArray::of(x).unwrap()).collect();
        for (y, want) in sample.op.reference(&inputs).iter().zip(&want) {
            let slack = sample.slack.max(1e-12);
            if let Some(difference) = y.rounded(want.dtype).differs_from(want, want.dtype, slack) {
                // A step function is not what its differences are at the step itself.
                assert!(matches!(sample.op, Op::MapGrad(_)), "{name} {dtype}: {difference}: {sample:?}");
            }
        }
    });
}

#[test]
fn error_samples_fail_as_declared() {
    each(|name, sample, dtype| {
        let Expect::Error(kind) = sample.expect else { return };
        for device in [Device::Cpu, Device::Meta] {
            match inferred(sample, dtype, device) {
                Err(e) => {
                    assert_eq!(e.kind().name(), kind, "{name} {dtype}: {e}: {sample:?}");
                    assert!(e.to_string().starts_with(&format!("{name}: ")), "{name} is not named: {e}");
                }
                // Only values can still be wrong; those of an index can be out of range.
                Ok(_) if sample.inputs.iter().any(|x| x.dtype == Some(DType::I64)) => {
                    assert!(["Kernel", "Dim"].contains(&kind), "{name} {dtype} accepts {sample:?}");
                }
                Ok(_) => assert_eq!(kind, "Kernel", "{name} {dtype} accepts {sample:?}"),
            }
        }
    });
}

/// Rows whose result jumps wherever some input moves, with the row whose second derivatives check their gradients.
const JUMPS: &[(&str, &str)] = &[("extreme_grad", "amax")];

#[test]
fn rows_are_whole() {
    for row in rows() {
        let good: Vec<&Sample> = row.samples.iter().filter(|s| !s.is_error()).collect();
        assert!(!good.is_empty(), "{} has no sample", row.name);
        assert!(good.len() < row.samples.len(), "{} has no error sample", row.name);
        assert!(row.doc.trim().ends_with('.') || row.doc.ends_with(')'), "{}: {}", row.name, row.doc);
        assert!(row.samples.iter().all(|s| s.op.name() == row.name), "{} has samples of another op", row.name);
        let jumps = JUMPS.iter().any(|(name, by)| *name == row.name && rows().iter().any(|r| r.name == *by));
        if !jumps && good.iter().any(|s| matches!(s.op.grad(), Grad::Saves { .. })) {
            let smooth = |s: &&&Sample| s.smooth && s.dtypes.list().contains(&DType::F64) && !s.inputs.is_empty();
            assert!(good.iter().filter(smooth).count() > 1, "{} has nothing to check gradients with", row.name);
        }
        for s in &row.samples {
            assert!(s.inputs.iter().map(super::Input::numel).sum::<usize>() <= 700, "{} is large: {s:?}", row.name);
        }
    }
    let names: BTreeSet<&str> = rows().iter().map(|r| r.name).collect();
    assert_eq!(names.len(), rows().len(), "two rows have one name");
}

/// A value that knows only its meta must pass through [`run`] on the Meta device, too.
#[test]
fn meta_arrays_run() {
    each(|name, sample, dtype| {
        if sample.is_error() {
            return;
        }
        let arrays: Vec<crate::Array> = sample
            .metas(dtype, Device::Meta)
            .iter()
            .map(|m| crate::Array::uninit(m, esker_tensor::Layout::contiguous(m.shape)).unwrap())
            .collect();
        let op = sample.op_on(Device::Meta);
        let (x, metas, outs) = prepare(&op, &arrays.iter().collect::<Vec<_>>()).unwrap();
        let x: Vec<&crate::Array> = x.iter().map(|x| &**x).collect();
        let y: Outs<crate::Array> = run(&op, &x, &metas, &outs).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(y.iter().map(|y| y.meta()).collect::<Metas>(), outs, "{name}: {sample:?}");
    });
}

#[test]
fn compositions_give_what_is_inferred() {
    let mut composed = BTreeSet::new();
    each(|name, sample, dtype| {
        if sample.is_error() {
            return;
        }
        let (x, outs) = inferred(sample, dtype, Device::Cpu).unwrap();
        let x: Vec<&Described> = x.iter().collect();
        match sample.op.compose(&x) {
            Some(y) => {
                composed.insert(sample.op.name());
                let y = y.unwrap_or_else(|e| panic!("{name}: {e}: {sample:?}"));
                assert_eq!(y.iter().map(|y| y.0).collect::<Metas>(), outs, "{name} {dtype}: {sample:?}");
            }
            None => {
                let metas: Vec<Meta> = x.iter().map(|x| x.0).collect();
                let lowering = sample.op.lower(&metas);
                assert_ne!(lowering, crate::Lowering::Compose, "{name} neither runs nor composes: {sample:?}");
            }
        }
    });
    for name in ["gelu", "map_grad", "matmul", "softmax", "standardize", "cross_entropy_rows", "slice_grad"] {
        assert!(composed.contains(name), "{name} has no composition");
    }
}

/// Gradient rules run on metas alone, and give each input's own meta.
#[test]
fn gradients_have_the_metas_of_their_inputs() {
    each(|name, sample, dtype| {
        let Grad::Saves { inputs, outputs } = sample.op.grad() else { return };
        if sample.is_error() || !dtype.is_float() {
            return;
        }
        let (x, outs) = inferred(sample, dtype, Device::Cpu).unwrap();
        let metas: Vec<Meta> = x.iter().map(|x| x.0).collect();
        let keep = |mask: u64, i: usize, v: Described| (mask >> i.min(63) & 1 == 1).then_some(v);
        let cx = crate::Vjp {
            name: sample.op.name(),
            x_metas: &metas,
            x: &x.iter().enumerate().map(|(i, &v)| keep(inputs, i, v)).collect::<Vec<_>>(),
            y: &outs.iter().enumerate().map(|(i, &m)| keep(outputs, i, Described(m))).collect::<Vec<_>>(),
            dy: &outs.iter().map(|&m| m.dtype.is_float().then_some(Described(m))).collect::<Vec<_>>(),
            needs: &metas.iter().map(|m| m.dtype.is_float()).collect::<Vec<_>>(),
        };
        if cx.dy.iter().all(Option::is_none) {
            return;
        }
        let grads = sample.op.vjp(&cx).unwrap_or_else(|e| panic!("{name}: {e}: {sample:?}"));
        assert_eq!(grads.len(), metas.len(), "{name}");
        for (i, grad) in grads.iter().enumerate() {
            if let Some(dx) = grad {
                assert_eq!(dx.0, metas[i], "{name}, input {i}: {sample:?}");
            }
        }
    });
}

#[test]
fn sizes_are_visited() {
    let visited = |op: Op| {
        let mut op = op;
        let mut seen = vec![];
        op.sizes(&mut |n| {
            seen.push(*n);
            *n += 1;
        });
        let mut again = vec![];
        op.sizes(&mut |n| again.push(*n));
        assert_eq!(seen.iter().map(|n| n + 1).collect::<Vec<_>>(), again, "{op:?} is not changed by its visitor");
        seen
    };
    use crate::op::{Expand, Full, IndexSelectGrad, Iota, Reshape, Slice, SliceGrad, Sum};
    assert_eq!(visited(Reshape { sizes: [2, -1, 4].into() }.into()), [2, -1, 4]);
    assert_eq!(visited(Expand { sizes: [5, 3].into() }.into()), [5, 3]);
    assert_eq!(visited(Slice { dim: 1, start: 2, end: 7, step: 3 }.into()), [2, 7]);
    assert_eq!(visited(SliceGrad { dim: 1, start: 2, step: 3, size: 9 }.into()), [2, 9]);
    assert_eq!(visited(IndexSelectGrad { dim: 1, size: 9 }.into()), [9]);
    let (dtype, device) = (DType::F32, Device::Cpu);
    assert_eq!(visited(Full { fill_value: 1.0.into(), size: [2, 3].into(), dtype, device }.into()), [2, 3]);
    assert_eq!(visited(Iota { start: 0.0.into(), step: 1.0.into(), len: 8, dtype, device }.into()), [8]);
    assert!(visited(Sum { dim: 1.into(), keepdim: true }.into()).is_empty());
    assert!(visited(MapOp::Add.into()).is_empty());
}

// ---- compositions and gradient rules, run by the references

/// A value whose ops are computed by their references.
#[derive(Clone)]
struct Exact(Meta, Rc<RefArray>);

impl Exact {
    fn new(meta: Meta, y: &RefArray) -> Self {
        Self(meta, Rc::new(y.rounded(meta.dtype)))
    }
}

impl Value for Exact {
    fn meta(&self) -> Meta {
        self.0
    }

    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>> {
        let (x, _, outs) = prepare(&op, inputs)?;
        let y = op.reference(&x.iter().map(|x| (*x.1).clone()).collect::<Vec<_>>());
        Ok(outs.iter().zip(&y).map(|(&m, y)| Exact::new(m, y)).collect())
    }

    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self> {
        let meta = Meta::new(dtype, esker_tensor::Shape::empty(), device);
        Ok(Exact::new(meta, &RefArray::new(&[], vec![value])))
    }
}

/// The promoted inputs of a sample, with f64 under test.
fn exact(sample: &Sample, seed: u64) -> Vec<Exact> {
    let x = sample.materialize(DType::F64, seed).unwrap();
    let x: Vec<Exact> = x.iter().map(|x| Exact::new(x.meta(), &RefArray::of(x).unwrap())).collect();
    let (x, ..) = prepare(&sample.op, &x.iter().collect::<Vec<_>>()).unwrap();
    x.into_iter().map(|x| x.into_owned()).collect()
}

#[test]
fn compositions_equal_the_references() {
    each(|name, sample, dtype| {
        if sample.is_error() || dtype != DType::F64 || known_alone(sample) {
            return;
        }
        let x = exact(sample, 1);
        let Some(y) = sample.op.compose(&x.iter().collect::<Vec<_>>()) else { return };
        let y = y.unwrap_or_else(|e| panic!("{name}: {e}: {sample:?}"));
        let want = sample.op.reference(&x.iter().map(|x| (*x.1).clone()).collect::<Vec<_>>());
        for (y, want) in y.iter().zip(&want) {
            let want = want.rounded(y.0.dtype);
            // The middle of a step function is not what its differences are there.
            let step = matches!(sample.op, Op::MapGrad(_)) && !sample.smooth;
            let difference = y.1.differs_from(&want, y.0.dtype, sample.slack);
            assert!(step || difference.is_none(), "{name}: {difference:?}: {sample:?}");
        }
    });
}

/// `sum(a * b)`.
fn dot(a: &RefArray, b: &RefArray) -> f64 {
    assert_eq!(a.shape, b.shape);
    a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum()
}

#[test]
fn gradient_rules_agree_with_central_differences_of_the_references() {
    let mut checked = BTreeSet::new();
    each(|name, sample, dtype| {
        let Grad::Saves { inputs, outputs } = sample.op.grad() else { return };
        if sample.is_error() || dtype != DType::F64 || !sample.smooth {
            return;
        }
        let x = exact(sample, 2);
        let metas: Vec<Meta> = x.iter().map(|x| x.0).collect();
        let y = Exact::apply(sample.op.clone(), &x.iter().collect::<Vec<_>>()).unwrap();
        let random = |m: &Meta, seed| RefArray::new(&m.shape, super::real(&m.shape).values(seed));
        let float = |m: &Meta, seed| m.dtype.is_float().then(|| Exact::new(*m, &random(m, seed)));
        let dy: Vec<Option<Exact>> = y.iter().enumerate().map(|(k, y)| float(&y.0, 100 + k as u64)).collect();
        let towards: Vec<Option<Exact>> = metas.iter().enumerate().map(|(i, m)| float(m, 200 + i as u64)).collect();
        let keep = |mask: u64, i: usize, v: &Exact| (mask >> i.min(63) & 1 == 1).then(|| v.clone());
        let cx = crate::Vjp {
            name: sample.op.name(),
            x_metas: &metas,
            x: &x.iter().enumerate().map(|(i, v)| keep(inputs, i, v)).collect::<Vec<_>>(),
            y: &y.iter().enumerate().map(|(i, v)| keep(outputs, i, v)).collect::<Vec<_>>(),
            dy: &dy,
            needs: &metas.iter().map(|m| m.dtype.is_float()).collect::<Vec<_>>(),
        };
        let dx = sample.op.vjp(&cx).unwrap_or_else(|e| panic!("{name}: {e}: {sample:?}"));
        let got: f64 = dx.iter().zip(&towards).filter_map(|p| Some(dot(&p.0.as_ref()?.1, &p.1.as_ref()?.1))).sum();
        let along = |t: f64| -> f64 {
            let moved = x.iter().zip(&towards).map(|(x, v)| match v {
                Some(v) => {
                    let data = x.1.data.iter().zip(&v.1.data).map(|(x, v)| x + t * v).collect();
                    RefArray { data, ..(*x.1).clone() }
                }
                None => (*x.1).clone(),
            });
            let y = sample.op.reference(&moved.collect::<Vec<_>>());
            y.iter().zip(&dy).filter_map(|(y, dy)| Some(dot(y, &dy.as_ref()?.1))).sum()
        };
        // References that are themselves differences carry their noise into these.
        let (step, tolerance) = if sample.slack > 0.0 { (1e-3, 1e-5) } else { (1e-5, 1e-8) };
        let want = (along(step) - along(-step)) / (2.0 * step);
        let scale = want.abs().max(1.0) * (y.iter().map(|y| y.1.data.len()).sum::<usize>() as f64).sqrt().max(1.0);
        assert!((got - want).abs() <= tolerance * scale, "{name}: {got} is not {want}: {sample:?}");
        checked.insert(sample.op.name());
    });
    assert!(checked.len() > 50, "only {} ops were checked", checked.len());
}

/// Ties have no derivative that differences could find; the rules say who gets the gradient.
#[test]
fn gradients_at_ties() {
    let make = |v: &[f64]| {
        let meta = Meta::new(DType::F64, [v.len()].into(), Device::Cpu);
        Exact::new(meta, &RefArray::new(&[v.len()], v.to_vec()))
    };
    let by_first = |op: Op, x: &[&Exact]| {
        let y: Vec<_> = Exact::apply(op.clone(), x).unwrap().into_iter().map(Some).collect();
        let ones = |y: &Exact| Exact::new(y.0, &y.1.map(|_| 1.0));
        let cx = crate::Vjp {
            name: op.name(),
            x_metas: &x.iter().map(|x| x.0).collect::<Vec<_>>(),
            x: &x.iter().map(|&x| Some(x.clone())).collect::<Vec<_>>(),
            y: &y,
            dy: &[y[0].as_ref().map(ones)],
            needs: &[true, true],
        };
        op.vjp(&cx).unwrap()[0].clone().unwrap().1.data.clone()
    };
    let x = make(&[2.0, 1.0, 2.0]);
    let (dim, keepdim) = (0, false);
    assert_eq!(by_first(crate::op::Amax { dim: ().into(), keepdim }.into(), &[&x]), [0.5, 0.0, 0.5]);
    assert_eq!(by_first(crate::op::Max { dim, keepdim }.into(), &[&x]), [1.0, 0.0, 0.0]);
    assert_eq!(by_first(crate::op::Min { dim, keepdim }.into(), &[&make(&[2.0, 1.0, 1.0])]), [0.0, 1.0, 0.0]);
}

// ---- expressions

/// A line's result: a number or the outcome of a comparison.
enum Line<S: Num> {
    Number(S),
    Truth(S::Mask),
}

/// Runs a program on any scalars.
fn interpret<S: Scalar>(program: &Program, x: &[S]) -> S {
    let mut lines: Vec<Line<S>> = vec![];
    for step in &program.steps {
        let number = |i: usize| match lines[step.args[i] as usize] {
            Line::Number(v) => v,
            Line::Truth(_) => panic!("a comparison is read as a number"),
        };
        let (a, b, c) = (|| number(0), || number(1), || number(2));
        lines.push(Line::Number(match step.prim {
            Prim::Input(i) => x[usize::from(i)],
            Prim::Const(v) => S::c(v.get()),
            Prim::Add => a() + b(),
            Prim::Sub => a() - b(),
            Prim::Mul => a() * b(),
            Prim::Div => a() / b(),
            Prim::Neg => -a(),
            Prim::MulAdd => a().mul_add(b(), c()),
            Prim::Abs => a().abs(),
            Prim::FloorDiv => a().floor_div(b()),
            Prim::Remainder => a().remainder(b()),
            Prim::Atan2 => a().atan2(b()),
            Prim::Pow => a().pow(b()),
            Prim::Square => a().square(),
            Prim::Sqrt => a().sqrt(),
            Prim::Exp => a().exp(),
            Prim::Expm1 => a().expm1(),
            Prim::Log => a().log(),
            Prim::Log1p => a().log1p(),
            Prim::Sin => a().sin(),
            Prim::Cos => a().cos(),
            Prim::Tanh => a().tanh(),
            Prim::Erf => a().erf(),
            Prim::Sigmoid => a().sigmoid(),
            Prim::Floor => a().floor(),
            Prim::Select => match lines[step.args[0] as usize] {
                Line::Truth(mask) => S::select(mask, b(), c()),
                Line::Number(_) => panic!("a number is read as a comparison"),
            },
            Prim::Lt | Prim::Le | Prim::Eq => {
                let truth = match step.prim {
                    Prim::Lt => a().lt(b()),
                    Prim::Le => a().le(b()),
                    _ => a().eq(b()),
                };
                lines.push(Line::Truth(truth));
                continue;
            }
        }));
    }
    match lines.pop() {
        Some(Line::Number(y)) => y,
        _ => panic!("a program ends with a number"),
    }
}

/// The programs of a body are the body, and those of its derivative are its derivative.
#[test]
fn programs_compute_what_they_were_written_down_from() {
    for &op in MapOp::ALL {
        let (info, spec) = (op.info(), op.spec());
        for sample in spec.samples(op).iter().filter(|s| s.smooth && s.dtypes.list().contains(&DType::F64)) {
            let x: Vec<RefArray> =
                sample.materialize(DType::F64, 3).unwrap().iter().map(|x| RefArray::of(x).unwrap()).collect();
            if x.iter().any(|x| x.data.is_empty()) {
                continue;
            }
            let mut at: Vec<f64> = x.iter().map(|x| x.data[0]).collect();
            let points: Vec<RefArray> = at.iter().map(|&v| RefArray::new(&[], vec![v])).collect();
            let y = spec.reference(&points).data[0];
            assert_eq!(interpret(&info.value, &at), y, "{} at {at:?}", info.name);
            for wrt in 0..info.arity {
                let along = |v: f64| {
                    let mut points = points.clone();
                    points[wrt].data[0] = v;
                    spec.reference(&points).data[0]
                };
                let want = slope(along, at[wrt]);
                at.push(1.0);
                let got = info.grads[wrt].as_ref().map_or(0.0, |p| interpret(p, &at));
                at.pop();
                assert!(
                    (got - want).abs() <= 1e-8 * want.abs().max(1.0),
                    "{}: {got} is not {want} at {at:?}",
                    info.name
                );
            }
        }
    }
}

#[test]
fn the_second_derivative_of_gelu() {
    let first = Program::grad::<Gelu>(0).unwrap();
    // phi(x) (2 - x^2), from mpmath 1.3 at 50 digits.
    for (x, want) in [(1.0, 0.241_970_724_519_143_34), (-0.5, 0.616_114_321_837_524_1)] {
        let second = interpret(&first, &[Dual { v: x, d: Some(1.0) }, Dual::constant(1.0)]).d.unwrap();
        assert!((second - want).abs() < 1e-15, "{second} is not {want}");
        // The body itself, differentiated twice.
        let twice = Dual { v: Dual { v: x, d: Some(1.0) }, d: Some(Dual::constant(1.0)) };
        let second = Gelu::f([twice; 3]).d.unwrap().d.unwrap();
        assert!((second - want).abs() < 1e-15, "{second} is not {want}");
    }
}

fn listing(program: &Program) -> String {
    let mut out = String::new();
    for (i, step) in program.steps.iter().enumerate() {
        let args: Vec<String> = step.prim.args().iter().map(|&a| format!("%{}", step.args[a])).collect();
        writeln!(out, "%{i} = {:?} {}", step.prim, args.join(" ")).unwrap();
    }
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_expansion_of_gelu() {
    let info = MapOp::Gelu.info();
    let flags = format!("{} {} {} {}", info.name, info.arity, info.integers, info.check_zero);
    insta::assert_snapshot!(flags, @"gelu 1 false false");
    insta::assert_snapshot!(listing(&info.value), @r"
    %0 = Input(0)
    %1 = Const(0.5)
    %2 = Mul %0 %1
    %3 = Const(0.7071067811865476)
    %4 = Mul %0 %3
    %5 = Erf %4
    %6 = Const(1.0)
    %7 = Add %5 %6
    %8 = Mul %2 %7
    ");
    insta::assert_snapshot!(listing(info.grads[0].as_ref().unwrap()), @r"
    %0 = Input(0)
    %1 = Input(1)
    %2 = Const(0.5)
    %3 = Mul %0 %2
    %4 = Mul %1 %2
    %5 = Const(0.7071067811865476)
    %6 = Mul %0 %5
    %7 = Mul %1 %5
    %8 = Erf %6
    %9 = Mul %6 %6
    %10 = Neg %9
    %11 = Exp %10
    %12 = Const(1.1283791670955126)
    %13 = Mul %11 %12
    %14 = Mul %7 %13
    %15 = Const(1.0)
    %16 = Add %8 %15
    %17 = Mul %4 %16
    %18 = Mul %14 %3
    %19 = Add %17 %18
    ");
}

#[test]
fn the_elementwise_macro_stays_short() {
    let source = include_str!("../map.rs");
    let start = source.find("macro_rules! elementwise {").unwrap();
    let length = source[start..].find("\n}\n").unwrap();
    let lines = source[start..start + length].lines().count() + 1;
    assert!(lines < 80, "elementwise! has {lines} lines");
}

// ---- the test support itself

#[test]
fn layout_variants_hold_the_same_values() {
    each(|name, sample, dtype| {
        for x in sample.materialize(dtype, 5).unwrap() {
            let want: Vec<u64> = x.to_f64_vec().unwrap().iter().map(|v| v.to_bits()).collect();
            for (layout, y) in variants(&x).unwrap() {
                assert_eq!(x.meta(), y.meta());
                let got: Vec<u64> = y.to_f64_vec().unwrap().iter().map(|v| v.to_bits()).collect();
                assert_eq!(got, want, "{name}: {layout} of {:?}", x.shape());
            }
        }
    });
    let x = super::array(&[1.0, 2.0, 1.0, 2.0], DType::F32, [2, 2].into()).unwrap();
    let broadcast = variants(&x).unwrap().pop().unwrap();
    assert_eq!((broadcast.0, &broadcast.1.layout().strides()[..]), ("broadcast", &[0, 1][..]));
    let y = super::array(&[1.0, 2.0, 3.0, 4.0], DType::F32, [2, 2].into()).unwrap();
    assert_eq!(super::spread(&y).unwrap().to_f64_vec().unwrap(), [1.0, 2.0, 1.0, 2.0]);
}

#[test]
fn samples_repeat_themselves() {
    each(|_, sample, dtype| {
        let bits = |seed| -> Vec<Vec<u64>> {
            let arrays = sample.materialize(dtype, seed).unwrap();
            arrays.iter().map(|x| x.to_f64_vec().unwrap().iter().map(|v| v.to_bits()).collect()).collect()
        };
        assert_eq!(bits(1), bits(1));
    });
}

#[test]
fn casts_wrap_and_saturate() {
    use super::cast_value;
    use DType::{Bool, F16, F32, I8, I32, I64, U8};
    assert_eq!(cast_value(300.0, F32, U8), 255.0);
    assert_eq!(cast_value(300.0, I32, U8), 44.0);
    assert_eq!(cast_value(-1.0, I64, I8), -1.0);
    assert_eq!(cast_value(-1.0, I64, U8), 255.0);
    assert_eq!(cast_value(-1.0, I32, I64), -1.0);
    assert_eq!(cast_value(f64::NAN, F32, I32), 0.0);
    assert_eq!(cast_value(f64::NAN, F32, Bool), 1.0);
    assert_eq!(cast_value(-f64::INFINITY, F32, I64), -(2f64.powi(63)));
    assert_eq!(cast_value(65520.0, F32, F16), f64::INFINITY);
}
