//! Sizes and strides, inline and without heap, for up to eight dimensions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

use crate::{Error, Result};

/// The highest rank a tensor can have.
pub const MAX_RANK: usize = 8;

/// A short inline list of at most [`MAX_RANK`] numbers, one per dimension.
#[derive(Clone, Copy)]
pub struct PerDim<T> {
    len: u8,
    data: [T; MAX_RANK],
}

/// The sizes of a tensor, outermost dimension first.
pub type Shape = PerDim<usize>;
/// The distance between neighbours along each dimension, in elements; may be zero or negative.
pub type Strides = PerDim<isize>;
/// A list of dimensions: an order for `permute`, or the dimensions that a reduction removes.
pub type Dims = PerDim<u8>;

impl<T: Copy + Default> PerDim<T> {
    /// The list of no dimensions (a scalar's shape).
    pub fn empty() -> Self {
        Self { len: 0, data: [T::default(); MAX_RANK] }
    }

    /// A list from a slice.
    ///
    /// # Errors
    /// `Dim` when the slice is longer than [`MAX_RANK`].
    pub fn new(items: &[T]) -> Result<Self> {
        if items.len() > MAX_RANK {
            return Err(Error::dim(format!("rank {} is above the highest rank, {MAX_RANK}", items.len())));
        }
        Ok(items.iter().copied().collect())
    }

    /// `rank` copies of `value`; ranks above [`MAX_RANK`] are cut to it.
    pub fn filled(value: T, rank: usize) -> Self {
        std::iter::repeat_n(value, rank).collect()
    }

    /// The list with one more item at the end.
    ///
    /// # Errors
    /// `Dim` when the list is full.
    pub fn with(mut self, item: T) -> Result<Self> {
        let at = self.len as usize;
        if at == MAX_RANK {
            return Err(Error::dim(format!("rank {} is above the highest rank, {MAX_RANK}", at + 1)));
        }
        self.data[at] = item;
        self.len += 1;
        Ok(self)
    }
}

/// Collects at most [`MAX_RANK`] items; what comes after is dropped, so callers check lengths first.
impl<T: Copy + Default> FromIterator<T> for PerDim<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut out = Self::empty();
        for item in items.into_iter().take(MAX_RANK) {
            out.data[out.len as usize] = item;
            out.len += 1;
        }
        out
    }
}

impl<T: Copy + Default, const N: usize> From<[T; N]> for PerDim<T> {
    fn from(items: [T; N]) -> Self {
        const { assert!(N <= MAX_RANK, "rank is above the highest rank") };
        items.into_iter().collect()
    }
}

impl<T> Deref for PerDim<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.data[..self.len as usize]
    }
}

impl<T> DerefMut for PerDim<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[..self.len as usize]
    }
}

impl<T: PartialEq> PartialEq for PerDim<T> {
    /// A loop of its own: for so few numbers a call to compare memory takes longer.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}

impl<T: Eq> Eq for PerDim<T> {}

impl<T: Hash> Hash for PerDim<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: Copy + Default> Default for PerDim<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: fmt::Debug> fmt::Debug for PerDim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Shape {
    /// The number of elements; 1 for a scalar.
    #[inline]
    pub fn numel(&self) -> usize {
        self.iter().product()
    }

    /// The number of elements, or an error when it overflows what an address can reach.
    ///
    /// # Errors
    /// `Shape` when the product exceeds `isize::MAX`.
    pub fn checked_numel(&self) -> Result<usize> {
        if self.contains(&0) {
            return Ok(0);
        }
        self.iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n <= isize::MAX as usize))
            .ok_or_else(|| Error::shape(format!("{self:?} has more elements than an address can reach")))
    }

    /// Row-major strides of a dense tensor of this shape.
    pub fn contiguous_strides(&self) -> Strides {
        let mut strides = Strides::filled(1, self.len());
        for i in (1..self.len()).rev() {
            strides[i - 1] = strides[i].wrapping_mul(self[i].max(1) as isize);
        }
        strides
    }

    /// The shape that two shapes broadcast to, by NumPy's rule.
    ///
    /// # Errors
    /// `Shape` naming both shapes and the dimension that differs.
    pub fn broadcast(&self, other: &Shape) -> Result<Shape> {
        let rank = self.len().max(other.len());
        let mut out = Shape::filled(1, rank);
        for i in 1..=rank {
            let a = if i <= self.len() { self[self.len() - i] } else { 1 };
            let b = if i <= other.len() { other[other.len() - i] } else { 1 };
            out[rank - i] = match (a, b) {
                (a, b) if a == b => a,
                (1, n) | (n, 1) => n,
                _ => {
                    return Err(Error::shape(format!(
                        "{self:?} and {other:?} do not broadcast: dimension -{i} is {a} and {b}, and neither is 1"
                    )));
                }
            };
        }
        Ok(out)
    }

    /// The index of dimension `dim`, which may count from the end (-1 is the last).
    ///
    /// # Errors
    /// `Dim` when it is out of range; a scalar takes 0 and -1, as in PyTorch.
    pub fn dim(&self, dim: i64) -> Result<usize> {
        let rank = self.len().max(1) as i64;
        let d = if dim < 0 { dim + rank } else { dim };
        if (0..rank).contains(&d) {
            Ok(d as usize)
        } else {
            Err(Error::dim(format!(
                "dimension {dim} is out of range for {self:?} (rank {}, expected {} to {})",
                self.len(),
                -rank,
                rank - 1
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_and_dim_rules() {
        let a = Shape::from([2, 1, 3]);
        assert_eq!(a.broadcast(&Shape::from([4, 1])).unwrap(), Shape::from([2, 4, 3]));
        assert_eq!(a.broadcast(&Shape::from([0, 3])).unwrap(), Shape::from([2, 0, 3]));
        assert!(a.broadcast(&Shape::from([2, 2])).is_err());
        assert_eq!(a.dim(-1).unwrap(), 2);
        assert!(a.dim(3).is_err());
        assert!(Shape::new(&[1; 9]).is_err());
        assert!(Shape::from([usize::MAX, 2]).checked_numel().is_err());
        assert_eq!(Shape::from([usize::MAX, 0]).checked_numel().unwrap(), 0);
    }
}
