//! The one door: every op on tensors passes here.

use std::panic::Location;

use esker_ops::{Array, Lowering, Op, Outs, infer, metas_of, promoted, run_alike, run_lowered};
use esker_tensor::Result;
use esker_tensor::site::Site;
use smallvec::{SmallVec, smallvec};

use crate::mode::is_grad_enabled;
use crate::tape::{Edge, Node};
use crate::{GradMode, Tensor, anomaly, observe};

/// Makes sure that CPU tensors work with nothing registered.
#[inline]
pub(crate) fn ready() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(esker_cpu::register);
}

/// Applies an op: promote and infer, run, record if a capture is active, tape if a gradient may be asked for. Parts of
/// a composition are put down to the line that called the whole.
///
/// # Errors
/// The op's own, with its name in front.
#[track_caller]
pub fn dispatch(op: Op, inputs: &[&Tensor]) -> Result<Outs<Tensor>> {
    ready();
    let site = Site::enter(Location::caller());
    let recording = esker_graph::is_recording();
    if let Op::Call(call) = &op
        && !(recording && call.function().has_node())
    {
        return call.run(inputs);
    }
    let taped = is_grad_enabled() && inputs.iter().any(|x| x.edge.is_some());
    let observed = observe::is_on();
    if !(recording || observed || anomaly::is_on())
        && let Some(array) = run_alike(&op, inputs)
    {
        let mut y = Tensor::from_array(array?);
        if taped {
            y.edge = Some(Edge::new(Node::op(op, inputs, std::slice::from_ref(&y.array), site.location())?, 0));
        }
        return Ok(smallvec![y]);
    }
    let mut metas = metas_of(inputs);
    if let Some(cast) = promoted(&op, inputs, &mut metas)? {
        return dispatch(op, &cast.iter().collect::<SmallVec<[&Tensor; 4]>>());
    }
    let outs = infer(&op, &metas)?;
    let lowering = op.lower(&metas);
    // A composition under the tape is taped part by part, so that backward need not compute it again.
    if (taped || observed)
        && !recording
        && matches!(lowering, Lowering::Compose)
        && let Some(result) = op.compose(inputs)
    {
        return result.map_err(|e| e.prefix(op.name()));
    }
    if observed {
        observe::tell(&op, &metas, &outs);
    }
    let arrays: SmallVec<[&Array; 4]> = inputs.iter().map(|x| &x.array).collect();
    let results = run_lowered(&op, lowering, &arrays, &outs)?;
    if anomaly::is_on() {
        anomaly::check_results(op.name(), site.location(), &arrays, &results)?;
    }
    if recording {
        esker_graph::record_op(&op, &arrays, &results)?;
    }
    if !taped {
        return Ok(results.into_iter().map(Tensor::from_array).collect());
    }
    let node = Node::op(op, inputs, &results, site.location())?;
    let tape = |(slot, array): (usize, Array)| {
        let edge = array.dtype().is_float().then(|| Edge::new(node.clone(), slot));
        Tensor { array, edge }
    };
    Ok(results.into_iter().enumerate().map(tape).collect())
}

/// Runs `f` with the tape off (or on, for higher derivatives).
pub(crate) fn with_grad_mode<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    let _mode = GradMode::set(enabled);
    f()
}
