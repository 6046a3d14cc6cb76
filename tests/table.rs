//! The table test: every op x dtype x sample, forward and backward, against independent oracles. Adding an op adds all
//! of this without touching a line here.
//!
//! Oracles: a plain f64 reference or published points (forward), central differences in f64 (gradients of first and
//! second order), and equality with itself where an op can run in more than one way.

use esker::autograd::{GradCheck, GradOptions, grad_with, gradcheck};
use esker::ops::spec::{Expect, RefArray, Row, Sample, array, real, spread, tolerance, variants};
use esker::ops::{Array, Grad, Meta, Op, Value, Vjp, prepare};
use esker::prelude::*;

/// The rows of the table; with `ESKER_ROWS=conv,pool` only those whose names contain one of these, for work on a few.
fn rows() -> Vec<Row> {
    let rows = esker::ops::table::rows();
    let Ok(only) = std::env::var("ESKER_ROWS") else { return rows };
    rows.into_iter().filter(|row| only.split(',').any(|part| row.name.contains(part))).collect()
}

/// Runs `check` for every sample and dtype; collects what fails, so that one run shows all of it.
pub(crate) fn walk(check: impl Fn(&Sample, DType) -> std::result::Result<(), String>) {
    let mut failures = Vec::new();
    let mut ran = 0;
    for Row { name, samples, .. } in rows() {
        for (i, sample) in samples.iter().enumerate() {
            for &dtype in sample.dtypes.list() {
                ran += 1;
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(sample, dtype)));
                let failure = match result {
                    Ok(Ok(())) => continue,
                    Ok(Err(text)) => text,
                    Err(_) => "panicked".to_owned(),
                };
                failures.push(format!("{name} sample {i} ({}) {dtype} {:?}: {failure}", sample.note, sample.op));
            }
        }
    }
    assert!(ran > 300 || std::env::var_os("ESKER_ROWS").is_some(), "the table has samples");
    let shown = failures.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {ran} failed:\n{shown}", failures.len());
}

pub(crate) type Outcome = std::result::Result<(), String>;

pub(crate) fn text(e: Error) -> String {
    e.to_string()
}

pub(crate) fn tensors(arrays: &[Array]) -> Vec<Tensor> {
    arrays.iter().map(|a| Tensor::from_array(a.clone())).collect()
}

pub(crate) fn apply(op: &Op, x: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(Tensor::apply(op.clone(), &x.iter().collect::<Vec<_>>())?.into_vec())
}

fn run(op: &Op, x: &[Array]) -> Result<Vec<Tensor>> {
    apply(op, &tensors(x))
}

/// `|got - want| <= (tolerance + slack) * max(1, |want|)` and the same NaNs and infinities.
fn close(got: &[Tensor], want: &[RefArray], slack: f64) -> Outcome {
    if got.len() != want.len() {
        return Err(format!("{} outputs, {} expected", got.len(), want.len()));
    }
    for (k, (got, want)) in got.iter().zip(want).enumerate() {
        if got.shape()[..] != want.shape[..] {
            return Err(format!("output {k} is {:?}, expected {:?}", got.shape(), want.shape));
        }
        let allowed = tolerance(got.dtype()) + slack;
        for (i, (g, w)) in got.to_f64_vec().map_err(text)?.into_iter().zip(&want.data).enumerate() {
            let same = g == *w || (g.is_nan() && w.is_nan());
            let near = (g - w).abs() <= allowed * w.abs().max(1.0); // False where one is NaN or infinite.
            if !same && !near {
                return Err(format!("output {k} element {i} is {g:e}, expected {w:e}"));
            }
        }
    }
    Ok(())
}

/// As [`close`], against another run.
pub(crate) fn near(got: &[Tensor], want: &[Tensor], slack: f64) -> Outcome {
    let want: Vec<RefArray> = want.iter().map(|y| RefArray::of(y.array())).collect::<Result<_>>().map_err(text)?;
    close(got, &want, slack)
}

/// The same bits, a NaN being equal to any NaN.
pub(crate) fn identical(a: &[Tensor], b: &[Tensor]) -> Outcome {
    for (k, (a, b)) in a.iter().zip(b).enumerate() {
        if a.meta() != b.meta() {
            return Err(format!("output {k}: {:?} and {:?}", a.meta(), b.meta()));
        }
        let (x, y) = (a.to_f64_vec().map_err(text)?, b.to_f64_vec().map_err(text)?);
        if let Some(i) = (0..x.len()).find(|&i| x[i].to_bits() != y[i].to_bits() && !(x[i].is_nan() && y[i].is_nan())) {
            return Err(format!("output {k} element {i}: {:e} and {:e}", x[i], y[i]));
        }
    }
    Ok(())
}

#[test]
fn forward_agrees_with_the_reference() {
    walk(|s, dtype| {
        let x = s.materialize(dtype, 1).map_err(text)?;
        match &s.expect {
            Expect::Error(kind) => match run(&s.op, &x) {
                Ok(_) => Err(format!("an error of kind {kind} was expected")),
                Err(e) if e.kind().name() != *kind => Err(format!("{kind} was expected, got {e:?}")),
                Err(e) if !e.to_string().starts_with(s.op.name()) => Err(format!("the op is not named: {e}")),
                Err(_) => Ok(()),
            },
            _ => close(&run(&s.op, &x).map_err(text)?, &s.expected(&x).map_err(text)?, s.slack),
        }
    });
}

#[test]
fn metas_agree_with_what_runs() {
    walk(|s, dtype| {
        if s.is_error() {
            return Ok(());
        }
        let x = s.materialize(dtype, 1).map_err(text)?;
        let ran: Vec<Meta> = run(&s.op, &x).map_err(text)?.iter().map(Value::meta).collect();
        let meta: Vec<Tensor> =
            x.iter().map(|a| Tensor::meta_like(a.dtype(), a.shape())).collect::<Result<_>>().map_err(text)?;
        if s.op.reads_values() {
            let refused = apply(&s.op_on(Device::Meta), &meta).is_err_and(|e| e.kind().name() == "Capture");
            return if refused { Ok(()) } else { Err("it reads values where there are none".into()) };
        }
        let inferred: Vec<Meta> = apply(&s.op_on(Device::Meta), &meta).map_err(text)?.iter().map(Value::meta).collect();
        let expected: Vec<Meta> = ran.iter().map(|m| Meta { device: Device::Meta, ..*m }).collect();
        if inferred == expected { Ok(()) } else { Err(format!("inferred {inferred:?}, ran {ran:?}")) }
    });
}

#[test]
fn layouts_do_not_matter() {
    walk(|s, dtype| {
        if s.is_error() {
            return Ok(());
        }
        let x = s.materialize(dtype, 2).map_err(text)?;
        let plain = run(&s.op, &x).map_err(text)?;
        for i in 0..x.len() {
            for (name, variant) in variants(&x[i]).map_err(text)? {
                let mut y = x.clone();
                y[i] = variant;
                let got = run(&s.op, &y).map_err(|e| format!("input {i} {name}: {e}"))?;
                identical(&got, &plain).map_err(|e| format!("input {i} {name}: {e}"))?;
            }
            let broadcast = spread(&x[i]).filter(|_| matches!(s.expect, Expect::Reference));
            if let Some(broadcast) = broadcast {
                let mut y = x.clone();
                y[i] = broadcast;
                let got = run(&s.op, &y).map_err(|e| format!("input {i} broadcast: {e}"))?;
                close(&got, &s.expected(&y).map_err(text)?, s.slack)
                    .map_err(|e| format!("input {i} broadcast: {e}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn gradients_agree_with_central_differences() {
    walk(|s, dtype| {
        if dtype != DType::F64 || s.is_error() || !s.smooth || matches!(s.op.grad(), Grad::None(_)) {
            return Ok(());
        }
        let x = s.materialize(dtype, 3).map_err(text)?;
        // A floating-point input that the op is not differentiable in has no tracked path; nothing to compare then.
        if x.iter().all(|a| !a.dtype().is_float()) || x.iter().all(|a| a.shape().numel() == 0) {
            return Ok(());
        }
        gradcheck(&|x| apply(&s.op, x), &tensors(&x), GradCheck::default()).map_err(text)
    });
}

/// A rule may be reached in two ways: the tape records a composition's parts, replays call the composite's own rule.
#[test]
fn a_rule_on_arrays_equals_the_tape() {
    walk(|s, dtype| {
        if dtype != DType::F64 || s.is_error() || !s.smooth || matches!(s.op.grad(), Grad::None(_)) {
            return Ok(());
        }
        let x = s.materialize(dtype, 6).map_err(text)?;
        if s.op.reads_values() {
            return Ok(()); // It has no rule of its own: its parts are differentiated.
        }
        let (x, metas, _) = prepare(&s.op, &x.iter().collect::<Vec<_>>()).map_err(text)?;
        let x: Vec<Array> = x.into_iter().map(std::borrow::Cow::into_owned).collect();
        let needs: Vec<bool> = x.iter().map(|a| a.dtype().is_float()).collect();
        let tracked: Vec<Tensor> = tensors(&x)
            .iter()
            .map(|t| if t.dtype().is_float() { t.tracked() } else { Ok(t.clone()) })
            .collect::<Result<_>>()
            .map_err(text)?;
        let y = apply(&s.op, &tracked).map_err(text)?;
        let incoming = |y: &Tensor| array_like(y, 7).map(|a| y.requires_grad().then_some(a));
        let dy: Vec<Option<Array>> = y.iter().map(incoming).collect::<Result<_>>().map_err(text)?;
        if dy.iter().all(Option::is_none) {
            return Ok(());
        }
        let keep = |a: &Array| Some(a.clone());
        let cx = Vjp {
            name: s.op.name(),
            x_metas: &metas,
            x: &x.iter().map(keep).collect::<Vec<_>>(),
            y: &y.iter().map(|y| keep(y.array())).collect::<Vec<_>>(),
            dy: &dy,
            needs: &needs,
        };
        let rule = s.op.vjp(&cx).map_err(text)?;
        let weighted: Vec<Tensor> = y
            .iter()
            .zip(&dy)
            .filter_map(|(y, dy)| dy.as_ref().map(|dy| y.mul(&Tensor::from_array(dy.clone()))?.sum((), false)))
            .collect::<Result<_>>()
            .map_err(text)?;
        for (i, x) in tracked.iter().enumerate().filter(|(i, _)| needs[*i]) {
            let zero = || Tensor::full(0.0, x.shape(), x.dtype(), x.device()).map_err(text);
            let options = GradOptions { retain_graph: true, ..GradOptions::default() };
            let taped = match grad_with(&weighted.iter().collect::<Vec<_>>(), &[x], options) {
                Ok(dx) => dx,
                Err(_) => vec![zero()?], // It takes no part in the outputs.
            };
            let own = match &rule[i] {
                Some(dx) => Tensor::from_array(dx.clone()),
                None => zero()?,
            };
            near(&[own], &taped, s.slack).map_err(|e| format!("gradient by input {i}: {e}"))?;
        }
        Ok(())
    });
}

/// Random values in the meta of `y`.
fn array_like(y: &Tensor, seed: u64) -> Result<Array> {
    let sizes: Vec<usize> = y.shape().to_vec();
    array(&real(&sizes).values(seed), y.dtype(), *y.shape())
}

#[test]
fn an_op_without_a_gradient_has_no_history() {
    walk(|s, dtype| {
        if dtype != DType::F32 || s.is_error() || !matches!(s.op.grad(), Grad::None(_)) {
            return Ok(());
        }
        let x = s.materialize(dtype, 3).map_err(text)?;
        let tracked: Vec<Tensor> = tensors(&x)
            .iter()
            .map(|t| if t.dtype().is_float() { t.tracked() } else { Ok(t.clone()) })
            .collect::<Result<_>>()
            .map_err(text)?;
        let untracked = apply(&s.op, &tracked).map_err(text)?.iter().all(|y| !y.requires_grad());
        if untracked { Ok(()) } else { Err("it passes a history on that it cannot differentiate".into()) }
    });
}

#[test]
fn kernels_equal_their_composition() {
    walk(|s, dtype| {
        // In half types a composition rounds after each part and a kernel once, so there is nothing to equal.
        if s.is_error() || matches!(dtype, DType::F16 | DType::BF16) {
            return Ok(());
        }
        if s.op.reads_values() {
            return Ok(()); // Its composition is all there is.
        }
        let x = s.materialize(dtype, 4).map_err(text)?;
        let (x, _, _) = prepare(&s.op, &x.iter().collect::<Vec<_>>()).map_err(text)?;
        let x: Vec<Array> = x.into_iter().map(std::borrow::Cow::into_owned).collect();
        let Some(composed) = s.op.compose(&x.iter().collect::<Vec<_>>()) else { return Ok(()) };
        let composed: Vec<Tensor> = composed.map_err(text)?.into_iter().map(Tensor::from_array).collect();
        near(&run(&s.op, &x).map_err(text)?, &composed, s.slack)?;
        if dtype != DType::F64 || !s.smooth || matches!(s.op.grad(), Grad::None(_)) {
            return Ok(());
        }
        let float = x.iter().any(|a| a.dtype().is_float() && a.shape().numel() > 0);
        let composition = |x: &[Tensor]| match s.op.compose(&x.iter().collect::<Vec<_>>()) {
            Some(y) => Ok(y?.into_vec()),
            None => apply(&s.op, x),
        };
        let check = GradCheck { second_order: false, ..GradCheck::default() };
        if float { gradcheck(&composition, &tensors(&x), check).map_err(text) } else { Ok(()) }
    });
}

#[test]
fn results_repeat_for_any_threads_and_instruction_set() {
    use esker::cpu::{Isa, force_isa, set_num_threads};
    let _settings = crate::determinism::settings();
    let all = |f: &dyn Fn() -> Vec<(String, Vec<Tensor>)>, expected: &[(String, Vec<Tensor>)], how: &str| {
        for ((name, got), (_, want)) in f().iter().zip(expected) {
            identical(got, want).unwrap_or_else(|e| panic!("{name} with {how}: {e}"));
        }
    };
    let outputs = || {
        let mut out = Vec::new();
        for row in rows() {
            for (i, s) in row.samples.iter().enumerate().filter(|(_, s)| !s.is_error()) {
                for &dtype in s.dtypes.list() {
                    let x = s.materialize(dtype, 5).unwrap();
                    out.push((format!("{} sample {i} {dtype}", row.name), run(&s.op, &x).unwrap()));
                }
            }
        }
        out
    };
    set_num_threads(1);
    let expected = outputs();
    for threads in [1, 2, 3] {
        set_num_threads(threads);
        all(&outputs, &expected, &format!("{threads} threads"));
    }
    for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
        match force_isa(Some(isa)) {
            Ok(()) => all(&outputs, &expected, isa.to_string().as_str()),
            Err(reason) => println!("{isa} was not compared: {reason}"),
        }
    }
    force_isa(None).unwrap();
}
