//! The table on a GPU: every op x dtype x sample, forward and gradient, beside the CPU. `ESKER_CUDA=emulated` (or no GPU)
//! runs the same kernels on the CPU through a C++ compiler; `ESKER_ROWS=sum,softmax` runs some rows alone.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, PoisonError, RwLock};

use esker_ops::spec::{Expect, RefArray, Row, Sample, array, real, tolerance, variants};
use esker_ops::{Array, Grad, Op, Value, Vjp, prepare};
use esker_tensor::{DType, Device, Result};

/// The GPU under test: the real one, or an emulated one.
fn device() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        esker_cpu::register();
        esker_cuda::open_for_tests(0).unwrap()
    })
}

/// The rows of the table; with `ESKER_ROWS=conv,pool` only those whose names contain one of these.
fn rows() -> Vec<Row> {
    let rows = esker_ops::table::rows();
    let Ok(only) = std::env::var("ESKER_ROWS") else { return rows };
    rows.into_iter().filter(|row| only.split(',').any(|part| row.name.contains(part))).collect()
}

/// What a kernel finds wrong is told to whoever waits next, so samples that fail do not run beside others.
static ALONE: RwLock<()> = RwLock::new(());

/// Runs `check` for every sample that does not fail and each of its dtypes, on several threads; collects what is wrong, so
/// that one run shows all of it.
fn walk(check: impl Fn(&Sample, DType, Device) -> std::result::Result<(), String> + Sync) {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    walk_on(threads, |s| !s.is_error(), check);
}

fn walk_on(
    threads: usize,
    wanted: impl Fn(&Sample) -> bool + Sync,
    check: impl Fn(&Sample, DType, Device) -> std::result::Result<(), String> + Sync,
) {
    let Some(device) = device() else { return };
    let rows = rows();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let ran = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    let work = &|| {
        while let Some(row) = rows.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            for (i, sample) in row.samples.iter().enumerate().filter(|(_, s)| wanted(s)) {
                for &dtype in sample.dtypes.list() {
                    ran.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let failure = match catch_unwind(AssertUnwindSafe(|| check(sample, dtype, device))) {
                        Ok(Ok(())) => continue,
                        Ok(Err(text)) => text,
                        Err(_) => "panicked".to_owned(),
                    };
                    let what = format!("{} sample {i} ({}) {dtype} {:?}", row.name, sample.note, sample.op);
                    failures.lock().unwrap().push(format!("{what}: {failure}"));
                }
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (mut failures, ran) = (failures.into_inner().unwrap(), ran.into_inner());
    failures.sort();
    let shown = failures.iter().take(60).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {ran} failed:\n{shown}", failures.len());
    println!("{ran} samples");
}

fn text(e: esker_tensor::Error) -> String {
    e.to_string()
}

fn to(x: &[Array], device: Device) -> std::result::Result<Vec<Array>, String> {
    x.iter().map(|x| <Array as Value>::of_values(x.clone(), device)).collect::<Result<_>>().map_err(text)
}

fn run(op: &Op, x: &[Array]) -> Result<Vec<Array>> {
    Ok(Array::apply(op.clone(), &x.iter().collect::<Vec<_>>())?.into_vec())
}

/// As [`run`], read: what a kernel found wrong is an error of the read.
fn run_read(op: &Op, x: &[Array]) -> Result<Vec<Array>> {
    run(op, x)?.iter().map(Array::to_cpu).collect()
}

/// Whether two runs agree: integers exactly, floats within the dtype's tolerance.
fn near(got: &[Array], want: &[Array], slack: f64) -> std::result::Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{} outputs, {} expected", got.len(), want.len()));
    }
    for (k, (got, want)) in got.iter().zip(want).enumerate() {
        if got.dtype() != want.dtype() || got.shape() != want.shape() {
            return Err(format!("output {k} is {got:?}, expected {want:?}"));
        }
        let allowed = tolerance(got.dtype()) + slack;
        let (g, w) = (got.to_f64_vec().map_err(text)?, want.to_f64_vec().map_err(text)?);
        for (i, (g, w)) in g.into_iter().zip(w).enumerate() {
            let same = g == w || (g.is_nan() && w.is_nan());
            let near = (g - w).abs() <= allowed * w.abs().max(1.0); // False where one is NaN or infinite.
            if !same && !near {
                return Err(format!("output {k} element {i} is {g:e}, expected {w:e}"));
            }
        }
    }
    Ok(())
}

#[test]
fn forward_agrees_with_the_cpu() {
    walk(|s, dtype, device| {
        let x = s.materialize(dtype, 1).map_err(text)?;
        let got = run_read(&s.op_on(device), &to(&x, device)?).map_err(text)?;
        near(&got, &run(&s.op, &x).map_err(text)?, s.slack)
    });
}

#[test]
fn wrong_values_are_told() {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    walk_on(1, Sample::is_error, |s, dtype, device| {
        let Expect::Error(kind) = s.expect else { return Ok(()) };
        let x = s.materialize(dtype, 1).map_err(text)?;
        match run_read(&s.op_on(device), &to(&x, device)?) {
            Ok(_) => Err(format!("an error of kind {kind} was expected")),
            Err(e) if e.kind().name() != kind => Err(format!("{kind} was expected, got {e:?}")),
            Err(_) => Ok(()),
        }
    });
}

/// Whether the GPU is real. An emulated one runs the same code in the same order each time, and is held against the CPU, which
/// other tests hold against the references.
fn is_real() -> bool {
    let real = device().is_some() && !esker_cuda::describe(0).unwrap().contains("emulated");
    if !real {
        println!("on an emulated GPU it would show nothing new");
    }
    real
}

#[test]
fn forward_agrees_with_the_reference() {
    if !is_real() {
        return;
    }
    walk(|s, dtype, device| {
        let x = s.materialize(dtype, 8).map_err(text)?;
        let got = run_read(&s.op_on(device), &to(&x, device)?).map_err(text)?;
        for (got, want) in got.iter().zip(&s.expected(&x).map_err(text)?) {
            if let Some(difference) = RefArray::of(got).map_err(text)?.differs_from(want, got.dtype(), s.slack) {
                return Err(difference);
            }
        }
        Ok(())
    });
}

#[test]
fn layouts_do_not_matter() {
    walk(|s, dtype, device| {
        let x = s.materialize(dtype, 2).map_err(text)?;
        let op = s.op_on(device);
        let plain = run_read(&op, &to(&x, device)?).map_err(text)?;
        for i in 0..x.len() {
            for (name, variant) in variants(&x[i]).map_err(text)? {
                let mut y = to(&x, device)?;
                y[i] = moved(&variant, device)?;
                let got = run_read(&op, &y).map_err(|e| format!("input {i} {name}: {e}"))?;
                near(&got, &plain, s.slack).map_err(|e| format!("input {i} {name}: {e}"))?;
            }
        }
        Ok(())
    });
}

/// An array on the device that lies as it does here: its whole storage is moved.
fn moved(x: &Array, device: Device) -> std::result::Result<Array, String> {
    let backend = esker_ops::backend(device).map_err(text)?;
    let bytes = x.storage().bytes();
    let mut storage = backend.alloc(bytes.len()).map_err(text)?;
    backend.write(bytes, &mut storage).map_err(text)?;
    Array::new(x.dtype(), device, *x.layout(), storage).map_err(text)
}

#[test]
fn gradients_agree_with_the_cpu() {
    walk(|s, dtype, device| {
        let wanted = dtype.is_float() && !matches!(s.op.grad(), Grad::None(_));
        if !wanted || s.op.reads_values() {
            return Ok(());
        }
        let x = s.materialize(dtype, 3).map_err(text)?;
        let on_cpu = gradients(&s.op, &x)?;
        let on_gpu = gradients(&s.op_on(device), &to(&x, device)?)?;
        for (i, (got, want)) in on_gpu.iter().zip(&on_cpu).enumerate() {
            match (got, want) {
                (Some(got), Some(want)) => {
                    // Gradients sum what forwards have rounded.
                    let slack = s.slack + 4.0 * tolerance(dtype);
                    near(&[got.to_cpu().map_err(text)?], std::slice::from_ref(want), slack)
                        .map_err(|e| format!("gradient by input {i}: {e}"))?;
                }
                (None, None) => {}
                _ => return Err(format!("gradient by input {i} is there on one device alone")),
            }
        }
        Ok(())
    });
}

/// What an op's rule gives for gradients that come in.
fn gradients(op: &Op, x: &[Array]) -> std::result::Result<Vec<Option<Array>>, String> {
    let (x, metas, _) = prepare(op, &x.iter().collect::<Vec<_>>()).map_err(text)?;
    let x: Vec<Array> = x.into_iter().map(std::borrow::Cow::into_owned).collect();
    let needs: Vec<bool> = x.iter().map(|a| a.dtype().is_float()).collect();
    let y = run(op, &x).map_err(text)?;
    let incoming = |y: &Array| -> Result<Option<Array>> {
        if !y.dtype().is_float() {
            return Ok(None);
        }
        let sizes: Vec<usize> = y.shape().to_vec();
        Ok(Some(Array::of_values(array(&real(&sizes).values(7), y.dtype(), *y.shape())?, y.device())?))
    };
    let dy: Vec<Option<Array>> = y.iter().map(incoming).collect::<Result<_>>().map_err(text)?;
    if dy.iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    let keep = |a: &Array| Some(a.clone());
    let (kept_x, kept_y): (Vec<_>, Vec<_>) = (x.iter().map(keep).collect(), y.iter().map(keep).collect());
    let cx = Vjp { name: op.name(), x_metas: &metas, x: &kept_x, y: &kept_y, dy: &dy, needs: &needs };
    Ok(op.vjp(&cx).map_err(text)?.into_iter().collect())
}

#[test]
fn results_repeat() {
    if !is_real() {
        return;
    }
    walk(|s, dtype, device| {
        let x = to(&s.materialize(dtype, 5).map_err(text)?, device)?;
        let bytes = || -> std::result::Result<Vec<Vec<u8>>, String> {
            let y = run_read(&s.op_on(device), &x).map_err(text)?;
            Ok(y.iter().map(|y| y.storage().bytes().to_vec()).collect())
        };
        if bytes()? == bytes()? { Ok(()) } else { Err("two runs differ".into()) }
    });
}
