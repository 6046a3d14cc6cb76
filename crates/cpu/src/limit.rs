//! What a thread can do at most on this machine: the yardsticks of the benchmark suite, with the kernels' own vectors.

use std::hint::black_box;

use crate::isa::{Isa, isa};
use crate::lanes::{LANES, RealLanes, RealTask, run_real};

/// A cache line of elements.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub [f32; LANES]);

/// How memory is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// Sums `x`.
    Read,
    /// `y = x`.
    Copy,
    /// `z = x + 3 y`.
    Triad,
    /// `y = x`, past the caches.
    StreamedCopy,
}

impl Traffic {
    /// How many arrays move.
    pub fn arrays(self) -> usize {
        match self {
            Traffic::Read => 1,
            Traffic::Copy | Traffic::StreamedCopy => 2,
            Traffic::Triad => 3,
        }
    }
}

/// `steps` rounds of multiply-adds that wait for nothing but the one before in their chain; the floating-point operations
/// done.
pub fn multiply_adds(steps: usize) -> f64 {
    // As many chains as hide the latency and fit the registers.
    match isa() {
        Isa::Avx512 => chained::<16>(steps),
        Isa::Avx2 | Isa::Portable => chained::<6>(steps),
    }
}

fn chained<const CHAINS: usize>(steps: usize) -> f64 {
    // SAFETY: the task touches no memory of others.
    black_box(unsafe { run_real(MultiplyAdds::<CHAINS> { steps }) });
    (2 * LANES * CHAINS * steps) as f64
}

struct MultiplyAdds<const CHAINS: usize> {
    steps: usize,
}

impl<const CHAINS: usize> RealTask<f32> for MultiplyAdds<CHAINS> {
    type Out = f32;

    #[inline(always)]
    unsafe fn run<V: RealLanes<E = f32>>(self) -> f32 {
        // SAFETY: the caller vouches for the instruction set; the buffer has sixteen elements.
        unsafe {
            let (a, b) = (V::splat(black_box(0.999)), V::splat(black_box(1e-3)));
            let mut chains = [V::splat(black_box(0.5)); CHAINS];
            for _ in 0..self.steps {
                for c in &mut chains {
                    *c = c.mul_add(a, b);
                }
            }
            let mut out = [0.0; LANES];
            chains.into_iter().reduce(|x, y| x.add(y)).unwrap_or(a).store(out.as_mut_ptr());
            out.iter().sum()
        }
    }
}

/// Moves the lines of as many arrays as `kind` has, up to the shortest array.
pub fn traffic(kind: Traffic, x: &[Line], y: &mut [Line], z: &mut [Line]) {
    let n = [x.len(), y.len(), z.len()].into_iter().take(kind.arrays()).min().unwrap_or(0);
    if kind == Traffic::StreamedCopy {
        return stream(&x[..n], &mut y[..n]);
    }
    // SAFETY: the task stays within the first `n` lines of the arrays that its kind has.
    black_box(unsafe { run_real(Move { kind, x: x.as_ptr(), y: y.as_mut_ptr(), z: z.as_mut_ptr(), n }) });
}

struct Move {
    kind: Traffic,
    x: *const Line,
    y: *mut Line,
    z: *mut Line,
    n: usize,
}

impl RealTask<f32> for Move {
    type Out = f32;

    #[inline(always)]
    unsafe fn run<V: RealLanes<E = f32>>(self) -> f32 {
        let (x, y, z, n) = (self.x.cast::<f32>(), self.y.cast::<f32>(), self.z.cast::<f32>(), self.n);
        // SAFETY: the caller vouches for the instruction set and for `n` lines of sixteen elements.
        unsafe {
            match self.kind {
                Traffic::Read => {
                    let mut sums = [V::splat(0.0); 8];
                    for i in (0..n / 8 * 8).step_by(8) {
                        for (k, sum) in sums.iter_mut().enumerate() {
                            *sum = sum.add(V::load(x.add((i + k) * LANES)));
                        }
                    }
                    let mut out = [0.0; LANES];
                    sums.into_iter().reduce(|a, b| a.add(b)).unwrap_or(sums[0]).store(out.as_mut_ptr());
                    return out.iter().sum();
                }
                Traffic::Copy | Traffic::StreamedCopy => {
                    for i in 0..n {
                        V::load(x.add(i * LANES)).store(y.add(i * LANES));
                    }
                }
                Traffic::Triad => {
                    let three = V::splat(black_box(3.0));
                    for i in 0..n {
                        let sum = V::load(y.add(i * LANES)).mul_add(three, V::load(x.add(i * LANES)));
                        sum.store(z.add(i * LANES));
                    }
                }
            }
            0.0
        }
    }
}

/// Copies with stores that do not read the target's lines first.
#[cfg(target_arch = "x86_64")]
fn stream(x: &[Line], y: &mut [Line]) {
    use std::arch::x86_64::{_mm_load_ps, _mm_sfence, _mm_stream_ps};
    for (x, y) in x.iter().zip(y) {
        for k in (0..LANES).step_by(4) {
            // SAFETY: four elements of sixteen at a multiple of 16 bytes; SSE is part of every x86-64.
            unsafe { _mm_stream_ps(y.0.as_mut_ptr().add(k), _mm_load_ps(x.0.as_ptr().add(k))) };
        }
    }
    // SAFETY: SSE is part of every x86-64; streamed stores are in order only after a fence.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn stream(x: &[Line], y: &mut [Line]) {
    y.copy_from_slice(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_moves_what_its_kind_says() {
        let _settings = crate::test_settings();
        for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable].into_iter().filter(|i| i.is_available()) {
            crate::force_isa(Some(isa)).unwrap();
            let lines = |v: f32| vec![Line(std::array::from_fn(|i| v + i as f32)); 24];
            let (x, mut y, mut z) = (lines(1.0), lines(100.0), lines(0.0));
            traffic(Traffic::Triad, &x, &mut y, &mut z);
            assert!(z.iter().all(|l| (0..LANES).all(|i| l.0[i] == x[0].0[i] + 3.0 * (100.0 + i as f32))), "{isa}");
            for kind in [Traffic::Copy, Traffic::StreamedCopy] {
                y = lines(0.5);
                traffic(kind, &x, &mut y, &mut []);
                assert!(x.iter().zip(&y).all(|(x, y)| x.0 == y.0), "{isa} {kind:?}");
            }
            assert_eq!(multiply_adds(10), if isa == Isa::Avx512 { 5120.0 } else { 1920.0 });
        }
        crate::force_isa(None).unwrap();
    }
}
