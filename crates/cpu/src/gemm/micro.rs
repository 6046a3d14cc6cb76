//! The innermost loops: one tile of C in registers, one step of k at a time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::vector::{self, Block, BlockFn};
use super::{Output, Strided};
use crate::isa::{Isa, isa};

/// An element type that products are computed in.
pub(crate) trait Element: bytemuck::Pod + Default + Send + Sync + PartialEq + std::fmt::Debug {
    /// The micro-kernel of the selected instruction set.
    fn kernel() -> Kernel<Self>;
    /// `self + o`.
    fn plus(self, o: Self) -> Self;
    /// Writes `run` elements of each line to `dst`, step by step: element `s` of line `i` goes to `s * width + i`, and
    /// zeros to the places of lines that are not there. `run` may be any, and is fast up to [`KC`](super::KC).
    ///
    /// # Safety
    /// At most `width` lines, each valid for `run` elements.
    ///
    /// # Panics
    /// When `dst` is shorter than `run * width`.
    unsafe fn weave(lines: &[*const Self], run: usize, width: usize, dst: &mut [Self]);
}

/// Where a tile goes whose columns are neighbours in memory.
pub(super) struct Place<T> {
    c: *mut T,
    /// From one row to the next.
    rs: isize,
    /// Columns that are there.
    width: usize,
    accumulate: bool,
    /// A number for each column, added at last; null for none.
    bias: *const T,
}

/// A whole tile for one panel of A and one of B: `(rows, steps, a, b, place)`.
type TileFn<T> = unsafe fn(usize, usize, *const T, *const T, &Place<T>);

/// A tile of full size whose panel of B is packed on the way: `(steps, a, b, from one step of b to the next, panel, place)`.
type PackingFn<T> = unsafe fn(usize, *const T, *const T, isize, *mut T, &Place<T>);

/// A micro-kernel and the size of its tile.
pub(crate) struct Kernel<T> {
    /// Rows.
    pub(crate) mr: usize,
    /// Columns.
    pub(crate) nr: usize,
    run: TileFn<T>,
    packing: PackingFn<T>,
    /// One row, where the columns of B are neighbours in memory.
    pub(super) rows: BlockFn<T>,
    /// One row, where the steps of B are; not for every element and instruction set.
    pub(super) runs: Option<BlockFn<T>>,
}

/// The largest tile of all kernels, in elements.
const LARGEST: usize = 14 * 32;

impl<T: Element> Kernel<T> {
    /// Computes the top left `height` x `width` part of a tile and stores or adds it.
    ///
    /// # Safety
    /// `a` and `b` start with packed panels of `kc` steps; that part of `out` belongs to the caller.
    #[inline]
    pub(crate) unsafe fn tile(&self, kc: usize, a: &[T], b: &[T], out: Output<T>, (height, width): (usize, usize)) {
        debug_assert!(a.len() >= kc * self.mr && b.len() >= kc * self.nr);
        let (a, b) = (a.as_ptr(), b.as_ptr());
        let bias = out.bias;
        if out.cs == 1 && bias.is_none_or(|bias| bias.row == 0 && bias.column == 1) {
            let bias = bias.map_or(std::ptr::null(), |bias| bias.p);
            let place = Place { c: out.c, rs: out.rs, width, accumulate: out.accumulate, bias };
            // SAFETY: the panels are long enough; the kernel touches `height` rows of `width` columns.
            return unsafe { (self.run)(height, kc, a, b, &place) };
        }
        // C's columns are not neighbours: through a tile on the stack.
        let mut tile = [T::default(); LARGEST];
        let (c, rs) = (tile.as_mut_ptr(), self.nr as isize);
        // SAFETY: the stack tile has room for every kernel's tile.
        unsafe { (self.run)(height, kc, a, b, &Place { c, rs, width, accumulate: false, bias: std::ptr::null() }) };
        for i in 0..height {
            for j in 0..width {
                // SAFETY: within the caller's part of C, and of the bias.
                let (c, bias) = unsafe { (&mut *out.element(i, j), bias.map(|bias| *bias.element(i, j))) };
                let x = tile[i * self.nr + j];
                let x = if out.accumulate { c.plus(x) } else { x };
                *c = bias.map_or(x, |bias| x.plus(bias));
            }
        }
    }
}

impl<T: Element> Kernel<T> {
    /// Computes a whole tile from a panel of B whose columns are neighbours in memory, and packs the panel.
    ///
    /// # Safety
    /// `a` starts with a packed panel of `kc` steps; `b` has as many steps of `nr` columns; the tile of `out` belongs to
    /// the caller.
    #[inline]
    pub(super) unsafe fn packing_tile(&self, kc: usize, a: &[T], b: Strided<T>, panel: &mut [T], out: Output<T>) {
        debug_assert!(a.len() >= kc * self.mr && panel.len() >= kc * self.nr && b.line == 1 && out.cs == 1);
        let bias = out.bias.map_or(std::ptr::null(), |bias| bias.p);
        let place = Place { c: out.c, rs: out.rs, width: self.nr, accumulate: out.accumulate, bias };
        // SAFETY: as the caller vouches; the panel is long enough.
        unsafe { (self.packing)(kc, a.as_ptr(), b.p, b.step, panel.as_mut_ptr(), &place) }
    }
}

/// What a tile kernel needs of a register.
pub(super) trait Register: Copy {
    type T: Copy;
    const N: usize;
    unsafe fn zero() -> Self;
    unsafe fn splat(p: *const Self::T) -> Self;
    unsafe fn load(p: *const Self::T) -> Self;
    unsafe fn load_n(p: *const Self::T, n: usize) -> Self;
    unsafe fn store(self, p: *mut Self::T);
    unsafe fn store_n(self, p: *mut Self::T, n: usize);
    unsafe fn add(self, o: Self) -> Self;
    /// `self + a * b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
}

/// The body once for each index below a constant. Loops would be unrolled too late, or not at all, for the sums to stay
/// in registers for every number of rows.
macro_rules! each {
    ($i:ident $n:ident $body:block $($x:literal)*) => {
        $(if $x < $n {
            let $i = $x;
            $body
        })*
    };
}

macro_rules! each_row {
    ($i:ident < $n:ident => $body:block) => { each!($i $n $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13) };
}

macro_rules! each_column {
    ($v:ident < $n:ident => $body:block) => { each!($v $n $body 0 1 2 3) };
}

/// `ROWS` x `NV * R::N` elements of C over `kc` steps; panels of A are `mr` wide.
#[inline(always)]
unsafe fn tile<R: Register, const ROWS: usize, const NV: usize>(
    mr: usize,
    kc: usize,
    mut a: *const R::T,
    mut b: *const R::T,
    place: &Place<R::T>,
) {
    // SAFETY: the caller vouches for the panels and for `ROWS` rows of `width` elements of C.
    unsafe {
        let mut sum = [[R::zero(); NV]; ROWS];
        each_row!(i < ROWS => {
            let c = place.c.wrapping_offset(i as isize * place.rs).cast_const();
            each_column!(v < NV => { prefetch(c.wrapping_add(v * R::N)); });
        });
        for _ in 0..kc {
            let mut right = [R::zero(); NV];
            each_column!(v < NV => { right[v] = R::load(b.add(v * R::N)); });
            each_row!(i < ROWS => {
                let left = R::splat(a.add(i));
                each_column!(v < NV => { sum[i][v] = sum[i][v].fma(left, right[v]); });
            });
            a = a.add(mr);
            b = b.add(NV * R::N);
        }
        each_row!(i < ROWS => { put(sum[i], place.c.offset(i as isize * place.rs), place); });
    }
}

/// Steps of B that are asked for ahead, where they lie too far apart for the processor to see them come.
const AHEAD: isize = 8;

/// As [`tile`], from B where it lies; its panel is written for other tiles.
#[inline(always)]
unsafe fn packing<R: Register, const ROWS: usize, const NV: usize>(
    mr: usize,
    kc: usize,
    mut a: *const R::T,
    mut b: *const R::T,
    step: isize,
    mut panel: *mut R::T,
    place: &Place<R::T>,
) {
    // SAFETY: the caller vouches for the panels, the steps of B and `ROWS` rows of C.
    unsafe {
        let mut sum = [[R::zero(); NV]; ROWS];
        for _ in 0..kc {
            let mut right = [R::zero(); NV];
            each_column!(v < NV => {
                prefetch(b.wrapping_offset(AHEAD * step).wrapping_add(v * R::N));
                right[v] = R::load(b.add(v * R::N));
                right[v].store(panel.add(v * R::N));
            });
            each_row!(i < ROWS => {
                let left = R::splat(a.add(i));
                each_column!(v < NV => { sum[i][v] = sum[i][v].fma(left, right[v]); });
            });
            a = a.add(mr);
            b = b.wrapping_offset(step);
            panel = panel.add(NV * R::N);
        }
        each_row!(i < ROWS => { put(sum[i], place.c.offset(i as isize * place.rs), place); });
    }
}

/// Asks for the cache line at an address, which may be any.
#[inline(always)]
fn prefetch<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees, and every x86-64 processor has it.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Stores or adds the elements of a row that are there.
#[inline(always)]
unsafe fn put<R: Register, const NV: usize>(sum: [R; NV], c: *mut R::T, place: &Place<R::T>) {
    each_column!(v < NV => {
        let (p, left, s) = (c.wrapping_add(v * R::N), place.width.saturating_sub(v * R::N), sum[v]);
        let bias = place.bias.wrapping_add(v * R::N);
        // SAFETY: the caller vouches for `width` elements, and as many of the bias.
        unsafe {
            if left >= R::N {
                let s = if place.accumulate { R::load(p).add(s) } else { s };
                let s = if place.bias.is_null() { s } else { s.add(R::load(bias)) };
                s.store(p);
            } else if left > 0 {
                let s = if place.accumulate { R::load_n(p, left).add(s) } else { s };
                let s = if place.bias.is_null() { s } else { s.add(R::load_n(bias, left)) };
                s.store_n(p, left);
            }
        }
    });
}

/// A kernel entry: the only place with a target feature, one arm for each number of rows.
macro_rules! entry {
    ($(#[$attr:meta])* $name:ident $packing:ident $vector:ident, $R:ty, $T:ty, $mr:literal, $nv:literal, [$($rows:literal)*]) => {
        $(#[$attr])*
        unsafe fn $vector(block: &Block<$T>) {
            // SAFETY: passed on.
            unsafe { vector::rows::<$R>(block) }
        }

        $(#[$attr])*
        unsafe fn $packing(kc: usize, a: *const $T, b: *const $T, step: isize, panel: *mut $T, place: &Place<$T>) {
            // SAFETY: passed on.
            unsafe { packing::<$R, $mr, $nv>($mr, kc, a, b, step, panel, place) }
        }

        $(#[$attr])*
        unsafe fn $name(rows: usize, kc: usize, a: *const $T, b: *const $T, place: &Place<$T>) {
            // SAFETY: passed on.
            unsafe {
                match rows {
                    $($rows => tile::<$R, $rows, $nv>($mr, kc, a, b, place),)*
                    _ => tile::<$R, $mr, $nv>($mr, kc, a, b, place),
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
entry!(#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma,avx2")] f32_avx512 f32_avx512_packing f32_avx512_row, __m512, f32, 14, 2, [1 2 3 4 5 6 7 8 9 10 11 12 13]);
#[cfg(target_arch = "x86_64")]
entry!(#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma,avx2")] f64_avx512 f64_avx512_packing f64_avx512_row, __m512d, f64, 14, 2, [1 2 3 4 5 6 7 8 9 10 11 12 13]);
#[cfg(target_arch = "x86_64")]
entry!(#[target_feature(enable = "avx2,fma")] f32_avx2 f32_avx2_packing f32_avx2_row, __m256, f32, 6, 2, [1 2 3 4 5]);
#[cfg(target_arch = "x86_64")]
entry!(#[target_feature(enable = "avx2,fma")] f64_avx2 f64_avx2_packing f64_avx2_row, __m256d, f64, 6, 2, [1 2 3 4 5]);
entry!(f32_portable f32_portable_packing f32_portable_row, Lane<f32>, f32, 4, 4, [1 2 3]);
entry!(f64_portable f64_portable_packing f64_portable_row, Lane<f64>, f64, 4, 4, [1 2 3]);

macro_rules! element {
    (
        $T:ty, $avx512:ident $packing512:ident $row512:ident $nr512:literal,
        $avx2:ident $packing2:ident $row2:ident $nr2:literal,
        $portable:ident $packing:ident $row:ident, $weave:path, $runs:expr
    ) => {
        impl Element for $T {
            fn kernel() -> Kernel<Self> {
                match isa() {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => {
                        Kernel { mr: 14, nr: $nr512, run: $avx512, packing: $packing512, rows: $row512, runs: $runs }
                    }
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => Kernel { mr: 6, nr: $nr2, run: $avx2, packing: $packing2, rows: $row2, runs: $runs },
                    _ => Kernel { mr: 4, nr: 4, run: $portable, packing: $packing, rows: $row, runs: None },
                }
            }
            fn plus(self, o: Self) -> Self {
                self + o
            }
            unsafe fn weave(lines: &[*const Self], run: usize, width: usize, dst: &mut [Self]) {
                // SAFETY: passed on.
                unsafe { $weave(lines, run, width, dst) }
            }
        }
    };
}

element!(f32, f32_avx512 f32_avx512_packing f32_avx512_row 32, f32_avx2 f32_avx2_packing f32_avx2_row 16, f32_portable f32_portable_packing f32_portable_row, super::weave::weave_f32, Some(vector::runs_f32));
element!(f64, f64_avx512 f64_avx512_packing f64_avx512_row 16, f64_avx2 f64_avx2_packing f64_avx2_row 8, f64_portable f64_portable_packing f64_portable_row, super::pack::weave_any, None);

/// One element as a register: the portable kernel.
#[derive(Clone, Copy)]
struct Lane<T>(T);

macro_rules! lane {
    ($($T:ty)*) => {$(
        impl Register for Lane<$T> {
            type T = $T;
            const N: usize = 1;
            #[inline(always)]
            unsafe fn zero() -> Self { Lane(0.0) }
            #[inline(always)]
            unsafe fn splat(p: *const $T) -> Self {
                // SAFETY: the caller vouches for one element.
                Lane(unsafe { *p })
            }
            #[inline(always)]
            unsafe fn load(p: *const $T) -> Self {
                // SAFETY: the caller vouches for one element.
                Lane(unsafe { *p })
            }
            #[inline(always)]
            unsafe fn load_n(p: *const $T, _: usize) -> Self {
                // SAFETY: the caller vouches for one element.
                Lane(unsafe { *p })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $T) {
                // SAFETY: the caller vouches for one element.
                unsafe { *p = self.0 }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $T, _: usize) {
                // SAFETY: the caller vouches for one element.
                unsafe { *p = self.0 }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self { Lane(self.0 + o.0) }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self { Lane(a.0.mul_add(b.0, self.0)) }
        }
    )*};
}

lane!(f32 f64);

#[cfg(target_arch = "x86_64")]
macro_rules! avx512 {
    ($R:ty, $T:ty, $n:literal, $mask:ty, $zero:ident $splat:ident $load:ident $load_n:ident $store:ident $store_n:ident $add:ident $fma:ident) => {
        impl Register for $R {
            type T = $T;
            const N: usize = $n;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller runs with AVX-512.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(p: *const $T) -> Self {
                // SAFETY: the caller runs with AVX-512 and vouches for one element.
                unsafe { $splat(*p) }
            }
            #[inline(always)]
            unsafe fn load(p: *const $T) -> Self {
                // SAFETY: the caller runs with AVX-512 and vouches for a register of elements.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const $T, n: usize) -> Self {
                // SAFETY: the caller runs with AVX-512 and vouches for n elements.
                unsafe { $load_n(((1u32 << n) - 1) as $mask, p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $T) {
                // SAFETY: the caller runs with AVX-512 and vouches for a register of elements.
                unsafe { $store(p, self) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $T, n: usize) {
                // SAFETY: the caller runs with AVX-512 and vouches for n elements.
                unsafe { $store_n(p, ((1u32 << n) - 1) as $mask, self) }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                // SAFETY: the caller runs with AVX-512.
                unsafe { $add(self, o) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller runs with AVX-512.
                unsafe { $fma(a, b, self) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
avx512!(__m512, f32, 16, __mmask16, _mm512_setzero_ps _mm512_set1_ps _mm512_loadu_ps _mm512_maskz_loadu_ps _mm512_storeu_ps _mm512_mask_storeu_ps _mm512_add_ps _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
avx512!(__m512d, f64, 8, __mmask8, _mm512_setzero_pd _mm512_set1_pd _mm512_loadu_pd _mm512_maskz_loadu_pd _mm512_storeu_pd _mm512_mask_storeu_pd _mm512_add_pd _mm512_fmadd_pd);

#[cfg(target_arch = "x86_64")]
macro_rules! avx2 {
    ($R:ty, $T:ty, $n:literal, $int:ty, $zero:ident $splat:ident $load:ident $load_n:ident $store:ident $store_n:ident $add:ident $fma:ident) => {
        impl Register for $R {
            type T = $T;
            const N: usize = $n;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller runs with AVX2.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(p: *const $T) -> Self {
                // SAFETY: the caller runs with AVX2 and vouches for one element.
                unsafe { $splat(*p) }
            }
            #[inline(always)]
            unsafe fn load(p: *const $T) -> Self {
                // SAFETY: the caller runs with AVX2 and vouches for a register of elements.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const $T, n: usize) -> Self {
                let mask: [$int; $n] = std::array::from_fn(|i| if i < n { -1 } else { 0 });
                // SAFETY: the caller runs with AVX2 and vouches for n elements; the mask has a register's size.
                unsafe { $load_n(p, _mm256_loadu_si256(mask.as_ptr().cast())) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $T) {
                // SAFETY: the caller runs with AVX2 and vouches for a register of elements.
                unsafe { $store(p, self) }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $T, n: usize) {
                let mask: [$int; $n] = std::array::from_fn(|i| if i < n { -1 } else { 0 });
                // SAFETY: the caller runs with AVX2 and vouches for n elements; the mask has a register's size.
                unsafe { $store_n(p, _mm256_loadu_si256(mask.as_ptr().cast()), self) }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                // SAFETY: the caller runs with AVX2.
                unsafe { $add(self, o) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller runs with AVX2 and FMA.
                unsafe { $fma(a, b, self) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
avx2!(__m256, f32, 8, i32, _mm256_setzero_ps _mm256_set1_ps _mm256_loadu_ps _mm256_maskload_ps _mm256_storeu_ps _mm256_maskstore_ps _mm256_add_ps _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
avx2!(__m256d, f64, 4, i64, _mm256_setzero_pd _mm256_set1_pd _mm256_loadu_pd _mm256_maskload_pd _mm256_storeu_pd _mm256_maskstore_pd _mm256_add_pd _mm256_fmadd_pd);
