//! The loops of every elementwise op: one module of plain functions for each, stamped from the op table. (Generic
//! functions in a table would all land in one codegen unit and make every incremental build slow.)

use esker_ops::scalar::{Dual, Num};
use esker_ops::{ElemFn, MapOp, NumFn};

use super::INPUTS;
use crate::vector::{Int, Lane, V};

/// A call of a loop: contiguous operands of the compute type; where `repeat` is set, one element for all places.
pub(crate) struct Operands {
    pub(crate) x: [*const u8; INPUTS],
    pub(crate) repeat: [bool; INPUTS],
    pub(crate) y: *mut u8,
    pub(crate) n: usize,
}

/// A loop, compiled for one instruction set.
pub(crate) type Loop = unsafe fn(&Operands);

/// Loops by instruction set: AVX-512, AVX2, portable.
type ByIsa = [Loop; 3];

/// Loops by compute type: f32, f64, i32, i64.
type ByType = [Option<ByIsa>; 4];

/// All loops of an op.
pub(crate) struct Kernels {
    pub(crate) value: ByType,
    pub(crate) grads: &'static [ByType],
}

/// Applies `f` to registers of all inputs. `f` is a unit type's function rather than a closure, which could not be
/// forced inline.
trait Body<L> {
    unsafe fn call(x: [L; INPUTS]) -> L;
}

struct Value<F>(std::marker::PhantomData<F>);
struct Grad<F, const WRT: usize>(std::marker::PhantomData<F>);

impl<L: Lane, F: ElemFn> Body<L> for Value<F> {
    #[inline(always)]
    unsafe fn call(x: [L; INPUTS]) -> L {
        F::f([V(x[0]), V(x[1]), V(x[2])]).0
    }
}

impl<L: Lane, F: ElemFn, const WRT: usize> Body<L> for Grad<F, WRT> {
    #[inline(always)]
    unsafe fn call(x: [L; INPUTS]) -> L {
        // The incoming gradient follows the inputs and is the tangent's seed, so that the result is the product.
        let dy = V(x[F::ARITY]);
        let dual = |i: usize| Dual { v: V(x[i]), d: if i == WRT { Some(dy) } else { None } };
        match F::f([dual(0), dual(1), dual(2)]).d {
            Some(d) => d.0,
            None => V::<L>::c(0.0).0,
        }
    }
}

#[inline(always)]
unsafe fn float_loop<L: Lane, B: Body<L>>(call: &Operands) {
    // SAFETY: the caller vouches for the pointers and for the instruction set.
    unsafe {
        let x = call.x.map(<*const u8>::cast::<L::E>);
        let y = call.y.cast::<L::E>();
        let fixed: [L; INPUTS] = std::array::from_fn(|k| L::splat(*x[k]));
        let mut i = 0;
        while i + L::N <= call.n {
            let mut v = fixed;
            for k in 0..INPUTS {
                if !call.repeat[k] {
                    v[k] = L::load(x[k].add(i));
                }
            }
            B::call(v).store(y.add(i));
            i += L::N;
        }
        let left = call.n - i;
        if left > 0 {
            let mut v = fixed;
            for k in 0..INPUTS {
                if !call.repeat[k] {
                    v[k] = L::load_n(x[k].add(i), left);
                }
            }
            B::call(v).store_n(y.add(i), left);
        }
    }
}

macro_rules! int_loop {
    ($($name:ident $T:ty;)*) => {$(
        #[inline(always)]
        unsafe fn $name<F: NumFn>(call: &Operands) {
            // SAFETY: the caller vouches for the pointers.
            unsafe {
                let x = call.x.map(<*const u8>::cast::<$T>);
                let y = call.y.cast::<$T>();
                let at = |k: usize, i: usize| Int(*x[k].add(if call.repeat[k] { 0 } else { i }));
                for i in 0..call.n {
                    *y.add(i) = F::g([at(0, i), at(1, i), at(2, i)]).0;
                }
            }
        }
    )*};
}

int_loop! { loop_i32 i32; loop_i64 i64; }

/// The three instruction sets of one float loop.
macro_rules! float_isas {
    ($E:ident $L512:ident $L256:ident $Body:ty) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn avx512(call: &Operands) {
            // SAFETY: passed on.
            unsafe { float_loop::<std::arch::x86_64::$L512, $Body>(call) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(call: &Operands) {
            // SAFETY: passed on.
            unsafe { float_loop::<std::arch::x86_64::$L256, $Body>(call) }
        }
        unsafe fn portable(call: &Operands) {
            // SAFETY: passed on.
            unsafe { float_loop::<$E, $Body>(call) }
        }
        #[cfg(target_arch = "x86_64")]
        let all: ByIsa = [avx512, avx2, portable];
        #[cfg(not(target_arch = "x86_64"))]
        let all: ByIsa = [portable, portable, portable];
        Some(all)
    }};
}

macro_rules! int_isas {
    (num $loop:ident $F:ty) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(call: &Operands) {
            // SAFETY: passed on.
            unsafe { $loop::<$F>(call) }
        }
        unsafe fn portable(call: &Operands) {
            // SAFETY: passed on.
            unsafe { $loop::<$F>(call) }
        }
        #[cfg(target_arch = "x86_64")]
        let all: ByIsa = [avx2, avx2, portable];
        #[cfg(not(target_arch = "x86_64"))]
        let all: ByIsa = [portable, portable, portable];
        Some(all)
    }};
    (real $loop:ident $F:ty) => {
        None
    };
}

macro_rules! grads {
    ($F:ty, ($a:ident)) => { &[grads!(@ $F, 0)] };
    ($F:ty, ($a:ident, $b:ident)) => { &[grads!(@ $F, 0), grads!(@ $F, 1)] };
    ($F:ty, ($a:ident, $b:ident, $c:ident)) => { &[grads!(@ $F, 0), grads!(@ $F, 1), grads!(@ $F, 2)] };
    (@ $F:ty, $wrt:literal) => {
        [float_isas!(f32 __m512 __m256 Grad<$F, $wrt>), float_isas!(f64 __m512d __m256d Grad<$F, $wrt>), None, None]
    };
}

macro_rules! modules {
    ($($(#[$doc:meta])* $Name:ident $method:ident $kind:ident $args:tt;)*) => {
        $(mod $method {
            use super::*;
            use esker_ops::op::elementwise::$Name as F;

            pub(super) static KERNELS: Kernels = Kernels {
                value: [
                    float_isas!(f32 __m512 __m256 Value<F>),
                    float_isas!(f64 __m512d __m256d Value<F>),
                    int_isas!($kind loop_i32 F),
                    int_isas!($kind loop_i64 F),
                ],
                grads: grads!(F, $args),
            };
        })*

        /// The loops of an op.
        pub(super) fn of(op: MapOp) -> &'static Kernels {
            match op { $(MapOp::$Name => &$method::KERNELS,)* }
        }
    };
}

esker_ops::map_rows!(modules);
