//! Comparisons, bits and selection.

use esker_ops::{Array, Bits, Cmp};
use esker_tensor::{DType, Error, Result};
use half::{bf16, f16};

use crate::operand::{source, target};
use crate::strided::Plan;

/// `y = x0 cmp x1`, as bool.
pub(super) fn compare(cmp: Cmp, inputs: &[&Array], y: &mut Array) -> Result<()> {
    match inputs.first().map(|x| x.dtype()) {
        Some(DType::F32) => compare_as(cmp, inputs, y, |x: f32| x),
        Some(DType::F64) => compare_as(cmp, inputs, y, |x: f64| x),
        Some(DType::F16) => compare_as(cmp, inputs, y, f16::to_f32),
        Some(DType::BF16) => compare_as(cmp, inputs, y, bf16::to_f32),
        Some(DType::I64) => compare_as(cmp, inputs, y, |x: i64| x),
        Some(DType::I32) => compare_as(cmp, inputs, y, |x: i32| x),
        Some(DType::I16) => compare_as(cmp, inputs, y, |x: i16| x),
        Some(DType::I8) => compare_as(cmp, inputs, y, |x: i8| x),
        Some(DType::U8 | DType::Bool) => compare_as(cmp, inputs, y, |x: u8| x),
        None => Err(Error::shape("a comparison takes two inputs, got none")),
    }
}

fn compare_as<S: Copy, T: PartialOrd>(
    cmp: Cmp,
    inputs: &[&Array],
    y: &mut Array,
    read: impl Fn(S) -> T + Copy + Sync,
) -> Result<()> {
    match cmp {
        Cmp::Eq => pairs(inputs, y, move |a: S, b: S| u8::from(read(a) == read(b))),
        Cmp::Ne => pairs(inputs, y, move |a: S, b: S| u8::from(read(a) != read(b))),
        Cmp::Lt => pairs(inputs, y, move |a: S, b: S| u8::from(read(a) < read(b))),
        Cmp::Le => pairs(inputs, y, move |a: S, b: S| u8::from(read(a) <= read(b))),
        Cmp::Gt => pairs(inputs, y, move |a: S, b: S| u8::from(read(a) > read(b))),
        Cmp::Ge => pairs(inputs, y, move |a: S, b: S| u8::from(read(a) >= read(b))),
    }
}

fn pairs<S: Copy, D: Copy>(inputs: &[&Array], y: &mut Array, f: impl Fn(S, S) -> D + Sync) -> Result<()> {
    let [a, b] = inputs else {
        return Err(Error::shape(format!("two inputs are needed, got {}", inputs.len())));
    };
    let shape = *y.shape();
    let plan = Plan::new([y.layout(), &a.layout().expand(&shape)?, &b.layout().expand(&shape)?]);
    let (a, b, y) = (source::<S>(a), source::<S>(b), target::<D>(y)?);
    plan.each(&|run| {
        let [mut to, mut p, mut q] = run.offsets;
        for _ in 0..run.len {
            // SAFETY: the plan stays within the operands; runs write different elements.
            unsafe { *y.get().offset(to) = f(*a.get().offset(p), *b.get().offset(q)) };
            to += run.strides[0];
            p += run.strides[1];
            q += run.strides[2];
        }
    });
    Ok(())
}

/// `y = x0 op x1`, of the bits.
pub(super) fn bits(op: Bits, inputs: &[&Array], y: &mut Array) -> Result<()> {
    match y.dtype() {
        DType::I64 => bits_as::<i64>(op, inputs, y),
        DType::I32 => bits_as::<i32>(op, inputs, y),
        DType::I16 => bits_as::<i16>(op, inputs, y),
        DType::I8 => bits_as::<i8>(op, inputs, y),
        DType::U8 | DType::Bool => bits_as::<u8>(op, inputs, y),
        dtype => Err(Error::unavailable(format!("no bits of {dtype}"))),
    }
}

/// An integer with shifts of any width.
trait Word:
    Copy + std::ops::BitAnd<Output = Self> + std::ops::BitOr<Output = Self> + std::ops::BitXor<Output = Self>
{
    fn left(self, by: Self) -> Self;
    fn right(self, by: Self) -> Self;
}

macro_rules! words {
    ($($T:ty)*) => {$(
        impl Word for $T {
            fn left(self, by: Self) -> Self {
                u32::try_from(by).ok().and_then(|by| self.checked_shl(by)).unwrap_or(0)
            }
            fn right(self, by: Self) -> Self {
                let most = <$T>::BITS - 1;
                let by = u32::try_from(by).ok().filter(|by| *by <= most);
                // One place at a time beyond the width: what is left is the sign (0 for unsigned types).
                by.map_or_else(|| (self >> most) >> 1, |by| self >> by)
            }
        }
    )*};
}

words!(i64 i32 i16 i8 u8);

fn bits_as<S: Word>(op: Bits, inputs: &[&Array], y: &mut Array) -> Result<()> {
    match op {
        Bits::And => pairs(inputs, y, |a: S, b: S| a & b),
        Bits::Or => pairs(inputs, y, |a: S, b: S| a | b),
        Bits::Xor => pairs(inputs, y, |a: S, b: S| a ^ b),
        Bits::Left => pairs(inputs, y, S::left),
        Bits::Right => pairs(inputs, y, S::right),
    }
}

/// `y = if x0 { x1 } else { x2 }`, moving bytes of the element's size.
pub(super) fn select(inputs: &[&Array], y: &mut Array) -> Result<()> {
    match y.dtype().size() {
        1 => select_as::<u8>(inputs, y),
        2 => select_as::<u16>(inputs, y),
        4 => select_as::<u32>(inputs, y),
        _ => select_as::<u64>(inputs, y),
    }
}

fn select_as<S: Copy>(inputs: &[&Array], y: &mut Array) -> Result<()> {
    let [c, a, b] = inputs else {
        return Err(Error::shape(format!("select takes three inputs, got {}", inputs.len())));
    };
    let shape = *y.shape();
    let expand = |x: &Array| x.layout().expand(&shape);
    let plan = Plan::new([y.layout(), &expand(c)?, &expand(a)?, &expand(b)?]);
    let (c, a, b, y) = (source::<u8>(c), source::<S>(a), source::<S>(b), target::<S>(y)?);
    plan.each(&|run| {
        let [mut to, mut m, mut p, mut q] = run.offsets;
        for _ in 0..run.len {
            // SAFETY: the plan stays within the operands; runs write different elements.
            unsafe {
                let (x, z) = (*a.get().offset(p), *b.get().offset(q));
                *y.get().offset(to) = if *c.get().offset(m) != 0 { x } else { z };
            }
            to += run.strides[0];
            m += run.strides[1];
            p += run.strides[2];
            q += run.strides[3];
        }
    });
    Ok(())
}
