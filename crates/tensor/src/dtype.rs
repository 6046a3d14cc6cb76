//! Element types and the Rust types that carry them.

use std::fmt;

use bytemuck::Pod;
use half::{bf16, f16};

/// The type of a tensor's elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE 754 binary16; computed in f32.
    F16,
    /// bfloat16; computed in f32.
    BF16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl DType {
    /// Every dtype, in the order of the enum.
    pub const ALL: [DType; 10] = [
        DType::Bool,
        DType::U8,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::I16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// Whether the type is one of the four floating-point types.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Whether the type is an integer (bool is not).
    pub const fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// PyTorch's short name: `float32`, `int64`, `bool`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "uint8",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F32 => "float32",
            DType::F64 => "float64",
        }
    }

    /// The type that two operands of equal rank in importance meet in: PyTorch's promotion table
    /// (`torch.promote_types`).
    pub const fn promote(self, other: DType) -> DType {
        use DType::{BF16, Bool, F16, F32, I8, I16, U8};
        let (a, b) = (self, other);
        match (a, b) {
            _ if a as u8 == b as u8 => a,
            (Bool, x) | (x, Bool) => x,
            (U8, I8) | (I8, U8) => I16,
            (F16, BF16) | (BF16, F16) => F32,
            _ if a.is_float() && !b.is_float() => a,
            _ if b.is_float() && !a.is_float() => b,
            _ if a as u8 > b as u8 => a,
            _ => b,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is the element type of some dtype. Bool elements are read and written as `bool`
/// through [`Element::to_f64`]; in memory they are one byte, 0 or 1.
pub trait Element: Copy + Send + Sync + PartialEq + fmt::Debug + 'static {
    /// The dtype this type carries.
    const DTYPE: DType;
    /// What lies in memory; `bool` is stored as `u8`.
    type Stored: Pod;
    /// To the stored form.
    fn store(self) -> Self::Stored;
    /// From the stored form.
    fn load(stored: Self::Stored) -> Self;
    /// The value as f64 (64-bit integers beyond 2^53 are rounded).
    fn to_f64(self) -> f64;
    /// The nearest value of this type: floats round to nearest even, integers truncate and saturate (NaN gives 0).
    fn from_f64(value: f64) -> Self;
}

macro_rules! element {
    ($($t:ty => $d:ident, |$x:ident| $to:expr, |$v:ident| $from:expr;)*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            type Stored = $t;
            #[inline(always)]
            fn store(self) -> $t { self }
            #[inline(always)]
            fn load(stored: $t) -> $t { stored }
            #[inline(always)]
            fn to_f64(self) -> f64 { let $x = self; $to }
            #[inline(always)]
            fn from_f64($v: f64) -> $t { $from }
        }
    )*};
}

element! {
    u8 => U8, |x| f64::from(x), |v| v as u8;
    i8 => I8, |x| f64::from(x), |v| v as i8;
    i16 => I16, |x| f64::from(x), |v| v as i16;
    i32 => I32, |x| f64::from(x), |v| v as i32;
    i64 => I64, |x| x as f64, |v| v as i64;
    f16 => F16, |x| x.to_f64(), |v| f16::from_f64(v);
    bf16 => BF16, |x| x.to_f64(), |v| bf16::from_f64(v);
    f32 => F32, |x| f64::from(x), |v| v as f32;
    f64 => F64, |x| x, |v| v;
}

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    type Stored = u8;
    #[inline(always)]
    fn store(self) -> u8 {
        u8::from(self)
    }
    #[inline(always)]
    fn load(stored: u8) -> bool {
        stored != 0
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    #[inline(always)]
    fn from_f64(value: f64) -> bool {
        value != 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::DType::{self, *};

    #[test]
    fn promotion_follows_the_published_table() {
        // Rows and columns in the order u8, i8, i16, i32, i64, f16, bf16, f32, f64, bool of PyTorch's documentation
        // of torch.promote_types.
        assert_eq!(U8.promote(I8), I16);
        assert_eq!(U8.promote(I16), I16);
        assert_eq!(I64.promote(F16), F16);
        assert_eq!(F16.promote(BF16), F32);
        assert_eq!(Bool.promote(U8), U8);
        assert_eq!(F32.promote(F64), F64);
        for a in DType::ALL {
            for b in DType::ALL {
                assert_eq!(a.promote(b), b.promote(a));
            }
        }
    }
}
