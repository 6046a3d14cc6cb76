//! Tiles on the stack: strided elements and storage types other than the compute type pass through them.

use std::mem::MaybeUninit;

use esker_tensor::DType;
use half::{bf16, f16};

/// Elements of a tile; 8 KiB of the widest type, so that five tiles stay in a first-level cache.
pub(super) const TILE: usize = 1024;

/// The types that loops compute in.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Compute {
    F32 = 0,
    F64 = 1,
    I32 = 2,
    I64 = 3,
}

impl Compute {
    /// The compute type of a storage type: halves in f32, small integers and bool in i32.
    pub(super) fn of(dtype: DType) -> Self {
        match dtype {
            DType::F64 => Compute::F64,
            DType::F32 | DType::F16 | DType::BF16 => Compute::F32,
            DType::I64 => Compute::I64,
            DType::I32 | DType::I16 | DType::I8 | DType::U8 | DType::Bool => Compute::I32,
        }
    }

    /// Whether elements of this dtype are computed on as they are.
    pub(super) fn is(self, dtype: DType) -> bool {
        matches!(
            (self, dtype),
            (Compute::F32, DType::F32)
                | (Compute::F64, DType::F64)
                | (Compute::I32, DType::I32)
                | (Compute::I64, DType::I64)
        )
    }
}

/// Room for [`TILE`] elements of any compute type.
#[repr(align(64))]
pub(super) struct Tile(MaybeUninit<[u64; TILE]>);

impl Tile {
    pub(super) const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    /// Fills the first `n` elements from `p + at`, `stride` apart, converted to the compute type.
    ///
    /// # Safety
    /// The elements must be readable and of the dtype.
    pub(super) unsafe fn load(
        &mut self,
        compute: Compute,
        dtype: DType,
        p: *const u8,
        at: isize,
        stride: isize,
        n: usize,
    ) {
        let to = self.as_mut_ptr();
        // SAFETY: the tile has room for TILE elements; reads as the caller vouches.
        unsafe {
            match (compute, dtype) {
                (Compute::F32, DType::F32) => gather::<f32, f32>(p, at, stride, n, to, |x| x),
                (Compute::F32, DType::F16) => gather::<f16, f32>(p, at, stride, n, to, f16::to_f32),
                (Compute::F32, DType::BF16) => gather::<bf16, f32>(p, at, stride, n, to, bf16::to_f32),
                (Compute::F64, DType::F64) => gather::<f64, f64>(p, at, stride, n, to, |x| x),
                (Compute::I64, DType::I64) => gather::<i64, i64>(p, at, stride, n, to, |x| x),
                (Compute::I32, DType::I32) => gather::<i32, i32>(p, at, stride, n, to, |x| x),
                (Compute::I32, DType::I16) => gather::<i16, i32>(p, at, stride, n, to, i32::from),
                (Compute::I32, DType::I8) => gather::<i8, i32>(p, at, stride, n, to, i32::from),
                // Bool is 0 or 1 in memory.
                (Compute::I32, _) => gather::<u8, i32>(p, at, stride, n, to, i32::from),
                // Operands of one call share a dtype; nothing else occurs.
                _ => {}
            }
        }
    }

    /// Writes the first `n` elements to `p + at`, `stride` apart, converted to the dtype.
    ///
    /// # Safety
    /// The elements must be writable and nobody else's; the first `n` of the tile must be filled.
    pub(super) unsafe fn store(&self, compute: Compute, dtype: DType, p: *mut u8, at: isize, stride: isize, n: usize) {
        let from = self.as_ptr();
        // SAFETY: as the caller vouches.
        unsafe {
            match (compute, dtype) {
                (Compute::F32, DType::F32) => scatter::<f32, f32>(from, n, p, at, stride, |x| x),
                (Compute::F32, DType::F16) => scatter::<f32, f16>(from, n, p, at, stride, f16::from_f32),
                (Compute::F32, DType::BF16) => scatter::<f32, bf16>(from, n, p, at, stride, bf16::from_f32),
                (Compute::F64, DType::F64) => scatter::<f64, f64>(from, n, p, at, stride, |x| x),
                (Compute::I64, DType::I64) => scatter::<i64, i64>(from, n, p, at, stride, |x| x),
                (Compute::I32, DType::I32) => scatter::<i32, i32>(from, n, p, at, stride, |x| x),
                (Compute::I32, DType::I16) => scatter::<i32, i16>(from, n, p, at, stride, |x| x as i16),
                (Compute::I32, DType::I8) => scatter::<i32, i8>(from, n, p, at, stride, |x| x as i8),
                (Compute::I32, DType::U8) => scatter::<i32, u8>(from, n, p, at, stride, |x| x as u8),
                (Compute::I32, DType::Bool) => scatter::<i32, u8>(from, n, p, at, stride, |x| u8::from(x != 0)),
                _ => {}
            }
        }
    }
}

#[inline(always)]
unsafe fn gather<S: Copy, C>(p: *const u8, at: isize, stride: isize, n: usize, to: *mut u8, f: impl Fn(S) -> C) {
    let (p, to) = (p.cast::<S>().wrapping_offset(at), to.cast::<C>());
    // SAFETY: n elements are readable at the stride, and the tile has room, as the caller vouches.
    unsafe {
        if stride == 1 {
            for i in 0..n {
                *to.add(i) = f(*p.add(i));
            }
        } else {
            for i in 0..n {
                *to.add(i) = f(*p.offset(i as isize * stride));
            }
        }
    }
}

#[inline(always)]
unsafe fn scatter<C: Copy, S>(from: *const u8, n: usize, p: *mut u8, at: isize, stride: isize, f: impl Fn(C) -> S) {
    let (from, p) = (from.cast::<C>(), p.cast::<S>().wrapping_offset(at));
    // SAFETY: n elements of the tile are filled, and their places writable, as the caller vouches.
    unsafe {
        for i in 0..n {
            *p.offset(i as isize * stride) = f(*from.add(i));
        }
    }
}
