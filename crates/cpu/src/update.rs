//! Steps of optimisers: one pass over a parameter, its gradient and what is remembered of it.

use esker_ops::{AdamUpdate, Array, MomentumUpdate, Update};
use esker_tensor::{DType, Result};

use crate::isa::{Isa, isa};
use crate::operand::{Shared, source, target};
use crate::strided::GRAIN;
use crate::threads;
use crate::vector::{Lane, V};

/// Runs a step where all operands are f32 or all f64 and lie alike without gaps; says whether it did.
///
/// # Errors
/// `Kernel` when a target shares its memory.
pub(crate) fn run(update: &Update, p: &mut Array, grad: &Array, states: &mut [&mut Array]) -> Result<bool> {
    let dtype = p.dtype();
    let alike =
        |x: &Array| x.dtype() == dtype && x.shape() == p.shape() && x.layout().strides() == p.layout().strides();
    let needed = match update {
        Update::Adam(_) => 2,
        Update::Momentum(_) => 1,
    };
    let fits = matches!(dtype, DType::F32 | DType::F64) && states.len() == needed && p.layout().dense_order().is_some();
    if !fits || !alike(grad) || !states.iter().all(|s| alike(s)) {
        return Ok(false);
    }
    let n = p.shape().numel();
    let grad = source::<u8>(grad);
    let p = target::<u8>(p)?;
    let mut memory = [p; 2];
    for (to, state) in memory.iter_mut().zip(states) {
        *to = target::<u8>(state)?;
    }
    let size = dtype.size();
    let part = |task: usize| {
        let start = task * GRAIN;
        let at = |x: Shared<u8>| x.at(start * size);
        let call = Call { p: at(p), grad: at(grad), states: memory.map(at), n: GRAIN.min(n - start) };
        // SAFETY: the machine has the instruction set in use; operands have `n` elements that lie alike, of which parts
        // take different ones.
        unsafe {
            match (dtype, isa()) {
                #[cfg(target_arch = "x86_64")]
                (DType::F32, Isa::Avx512) => avx512::<std::arch::x86_64::__m512>(update, &call),
                #[cfg(target_arch = "x86_64")]
                (DType::F32, Isa::Avx2) => avx2::<std::arch::x86_64::__m256>(update, &call),
                (DType::F32, _) => step::<f32>(update, &call),
                #[cfg(target_arch = "x86_64")]
                (_, Isa::Avx512) => avx512::<std::arch::x86_64::__m512d>(update, &call),
                #[cfg(target_arch = "x86_64")]
                (_, Isa::Avx2) => avx2::<std::arch::x86_64::__m256d>(update, &call),
                _ => step::<f64>(update, &call),
            }
        }
    };
    threads::parallel(n.div_ceil(GRAIN), &part);
    Ok(true)
}

/// Where a part of the operands begins, and how long it is.
struct Call {
    p: *mut u8,
    grad: *mut u8,
    states: [*mut u8; 2],
    n: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512<L: Lane>(update: &Update, call: &Call) {
    // SAFETY: passed on.
    unsafe { step::<L>(update, call) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<L: Lane>(update: &Update, call: &Call) {
    // SAFETY: passed on.
    unsafe { step::<L>(update, call) }
}

#[inline(always)]
unsafe fn step<L: Lane>(update: &Update, call: &Call) {
    // SAFETY: passed on.
    unsafe {
        match update {
            Update::Adam(update) => each::<L, Adam>(update, call),
            Update::Momentum(update) => each::<L, Momentum>(update, call),
        }
    }
}

/// A step on registers.
trait Body {
    type Numbers;
    /// The parameter and the states from those and the gradient.
    fn call<L: Lane>(numbers: &Self::Numbers, p: V<L>, g: V<L>, states: [V<L>; 2]) -> (V<L>, [V<L>; 2]);
}

#[inline(always)]
unsafe fn each<L: Lane, B: Body>(numbers: &B::Numbers, call: &Call) {
    // SAFETY: passed on; the last register reads and writes the elements that are left.
    unsafe {
        let (p, grad) = (call.p.cast::<L::E>(), call.grad.cast::<L::E>());
        let states = [call.states[0].cast::<L::E>(), call.states[1].cast::<L::E>()];
        let mut i = 0;
        while i + L::N <= call.n {
            let s = [V(L::load(states[0].add(i))), V(L::load(states[1].add(i)))];
            let (new, s) = B::call(numbers, V(L::load(p.add(i))), V(L::load(grad.add(i))), s);
            s[1].0.store(states[1].add(i));
            s[0].0.store(states[0].add(i));
            new.0.store(p.add(i));
            i += L::N;
        }
        let left = call.n - i;
        if left > 0 {
            let s = [V(L::load_n(states[0].add(i), left)), V(L::load_n(states[1].add(i), left))];
            let (new, s) = B::call(numbers, V(L::load_n(p.add(i), left)), V(L::load_n(grad.add(i), left)), s);
            s[1].0.store_n(states[1].add(i), left);
            s[0].0.store_n(states[0].add(i), left);
            new.0.store_n(p.add(i), left);
        }
    }
}

struct Adam;

impl Body for Adam {
    type Numbers = AdamUpdate;
    #[inline(always)]
    fn call<L: Lane>(c: &AdamUpdate, p: V<L>, g: V<L>, [m, v]: [V<L>; 2]) -> (V<L>, [V<L>; 2]) {
        use esker_ops::scalar::Scalar;
        let p = if c.keep == 1.0 { p } else { p * c.keep };
        let g = if c.pull == 0.0 { g } else { p * c.pull + g };
        let m = m * c.betas.0 + g * (1.0 - c.betas.0);
        let v = v * c.betas.1 + g * g * (1.0 - c.betas.1);
        let denominator = v.sqrt() * c.root + c.eps;
        (p + m / denominator * -c.rate, [m, v])
    }
}

struct Momentum;

impl Body for Momentum {
    type Numbers = MomentumUpdate;
    #[inline(always)]
    fn call<L: Lane>(c: &MomentumUpdate, p: V<L>, g: V<L>, [v, _]: [V<L>; 2]) -> (V<L>, [V<L>; 2]) {
        let g = if c.pull == 0.0 { g } else { p * c.pull + g };
        let v = v * c.momentum + if c.fresh == 1.0 { g } else { g * c.fresh };
        let p = if c.nesterov { p + g * -c.rate + v * -(c.rate * c.momentum) } else { p + v * -c.rate };
        // The second place repeats the parameter, which is written last.
        (p, [v, p])
    }
}
