//! Integer keys that order elements: NaN the largest of all, both zeros the same.

use esker_tensor::Element;
use half::{bf16, f16};

use crate::lanes::Num;

/// An element with an integer key that orders as the search wants.
pub(crate) trait Keyed: Element<Stored: Copy + Send + Sync + 'static> {
    /// The key.
    type Key: Num + Ord + Bits;
    /// The key of a stored element when the largest, or the smallest, is searched.
    fn key(stored: Self::Stored, largest: bool) -> Self::Key;
}

macro_rules! keyed {
    (int $($t:ty)*) => {$(
        impl Keyed for $t {
            type Key = $t;
            #[inline(always)]
            fn key(x: $t, largest: bool) -> $t { if largest { x } else { !x } }
        }
    )*};
    (float $($t:ty, $key:ty;)*) => {$(
        impl Keyed for $t {
            type Key = $key;
            #[inline(always)]
            fn key(x: $t, largest: bool) -> $key {
                // Flips the magnitude of negative numbers; -0 becomes 0 first.
                let bits = (x + 0.0).to_bits() as $key;
                let ordered = bits ^ ((bits >> (<$key>::BITS - 1)) & <$key>::MAX);
                let key = if largest { ordered } else { !ordered };
                if x != x { <$key>::MAX } else { key }
            }
        }
    )*};
    (half $($t:ty)*) => {$(
        impl Keyed for $t {
            type Key = i16;
            #[inline(always)]
            fn key(x: $t, largest: bool) -> i16 {
                let bits = x.to_bits() as i16;
                let bits = if bits == i16::MIN { 0 } else { bits };
                let ordered = bits ^ ((bits >> 15) & i16::MAX);
                let key = if largest { ordered } else { !ordered };
                if x.is_nan() { i16::MAX } else { key }
            }
        }
    )*};
}
keyed! { int u8 i8 i16 i32 i64 }
keyed! { float f32, i32; f64, i64; }
keyed! { half f16 bf16 }

/// Integers as unsigned ones of the same order.
pub(crate) trait Bits {
    /// The number of bits.
    const COUNT: u32;
    /// The unsigned number; turned round for the opposite order.
    fn bits(self, descending: bool) -> u64;
}

macro_rules! bits {
    ($($t:ty, $u:ty;)*) => {$(
        impl Bits for $t {
            const COUNT: u32 = <$u>::BITS;
            #[inline(always)]
            fn bits(self, descending: bool) -> u64 {
                let bits = (self as $u) ^ (<$t>::MIN as $u);
                u64::from(if descending { !bits } else { bits })
            }
        }
    )*};
}
bits! { u8, u8; i8, u8; i16, u16; i32, u32; i64, u64; }
