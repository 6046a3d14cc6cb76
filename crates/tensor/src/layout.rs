//! How a shape lies in a storage: strides and an offset, both in elements.

use crate::{Dims, Error, Result, Shape, Strides};

/// Sizes, strides and the offset of the first element, all in elements of the dtype.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    shape: Shape,
    strides: Strides,
    offset: usize,
}

impl Layout {
    /// A dense row-major layout at offset 0.
    pub fn contiguous(shape: Shape) -> Self {
        Self { shape, strides: shape.contiguous_strides(), offset: 0 }
    }

    /// A dense layout whose dimensions lie in memory in the given order, outermost first.
    /// `order` must be a permutation of the dimensions; [`Layout::contiguous`] is order `0, 1, 2, ..`.
    pub fn dense(shape: Shape, order: &Dims) -> Self {
        let mut strides = Strides::filled(1, shape.len());
        let mut step = 1isize;
        for &d in order.iter().rev() {
            strides[d as usize] = step;
            step = step.wrapping_mul(shape[d as usize].max(1) as isize);
        }
        Self { shape, strides, offset: 0 }
    }

    /// A layout from its parts. The caller vouches that it stays within its storage.
    pub fn new(shape: Shape, strides: Strides, offset: usize) -> Self {
        Self { shape, strides, offset }
    }

    /// The sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The strides, in elements.
    pub fn strides(&self) -> &Strides {
        &self.strides
    }

    /// The index of the first element in its storage.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The rank.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Whether all places show the same element.
    #[inline]
    pub fn is_one_element(&self) -> bool {
        self.shape.iter().zip(self.strides.iter()).all(|(&size, &stride)| size == 1 || stride == 0)
    }

    /// Whether this is what [`Layout::contiguous`] gives, in every number.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        let mut expected = 1isize;
        self.offset == 0
            && self.shape.iter().zip(self.strides.iter()).rev().all(|(&size, &stride)| {
                let fits = stride == expected;
                expected = expected.wrapping_mul(size.max(1) as isize);
                fits
            })
    }

    /// Whether the elements lie one after the other in row-major order (sizes of 1 do not matter).
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1isize;
        for (&size, &stride) in self.shape.iter().zip(self.strides.iter()).rev() {
            if size == 0 {
                return true;
            }
            if size != 1 {
                if stride != expected {
                    return false;
                }
                expected *= size as isize;
            }
        }
        true
    }

    /// The order in which the dimensions lie in memory, outermost first, when the elements fill one gapless block
    /// (a permuted dense tensor); `None` for broadcast, sliced or reversed layouts.
    pub fn dense_order(&self) -> Option<Dims> {
        let mut order: Dims = (0..self.rank() as u8).collect();
        // Stable, so that sizes of 1 and ties keep the row-major order.
        order.sort_by_key(|&d| std::cmp::Reverse(self.strides[d as usize]));
        let mut expected = 1isize;
        for &d in order.iter().rev() {
            let (size, stride) = (self.shape[d as usize], self.strides[d as usize]);
            if size == 1 {
                continue;
            }
            if stride != expected {
                return None;
            }
            expected *= size as isize;
        }
        Some(order)
    }

    /// The dimensions in `order`.
    pub fn permute(&self, order: &Dims) -> Self {
        Self {
            shape: order.iter().map(|&d| self.shape[d as usize]).collect(),
            strides: order.iter().map(|&d| self.strides[d as usize]).collect(),
            offset: self.offset,
        }
    }

    /// Broadcast to `shape`: new and size-1 dimensions get stride 0.
    ///
    /// # Errors
    /// `Shape` when the shapes do not broadcast that way.
    pub fn expand(&self, shape: &Shape) -> Result<Self> {
        let lead = shape.len().checked_sub(self.rank());
        let fits =
            lead.is_some_and(|lead| self.shape.iter().zip(&shape[lead..]).all(|(&from, &to)| from == to || from == 1));
        let (true, Some(lead)) = (fits, lead) else {
            return Err(Error::shape(format!("{:?} cannot be expanded to {shape:?}", self.shape)));
        };
        let mut strides = Strides::filled(0, shape.len());
        for i in 0..self.rank() {
            strides[lead + i] = if self.shape[i] == 1 && shape[lead + i] != 1 { 0 } else { self.strides[i] };
        }
        Ok(Self { shape: *shape, strides, offset: self.offset })
    }

    /// `len` elements of dimension `dim`, from `start` on, every `step`-th (`step` may be negative).
    /// The caller has checked that they lie within the dimension.
    pub fn slice(&self, dim: usize, start: usize, step: isize, len: usize) -> Self {
        let mut out = *self;
        // Where there is no element, the offset would lead to none, and strides below 0 lead before the storage.
        if len > 0 && self.shape.numel() > 0 {
            out.offset = (self.offset as isize + start as isize * self.strides[dim]) as usize;
        }
        out.shape[dim] = len;
        out.strides[dim] = self.strides[dim] * step;
        out
    }

    /// The same elements, row-major, under another shape, if no copy is needed for it.
    /// The caller has checked that the number of elements agrees.
    pub fn reshape(&self, shape: &Shape) -> Option<Self> {
        if self.is_contiguous() || shape.numel() == 0 {
            return Some(Self { shape: *shape, strides: shape.contiguous_strides(), offset: self.offset });
        }
        let old: Vec<(usize, isize)> =
            self.shape.iter().copied().zip(self.strides.iter().copied()).filter(|&(n, _)| n != 1).collect();
        let mut strides = shape.contiguous_strides();
        // Walk groups of old dimensions whose product equals that of a group of new ones; within a group the old
        // strides must chain (NumPy's no-copy reshape rule).
        let (mut i, mut j) = (0, 0);
        while i < old.len() {
            let (mut oi, mut oj) = (i + 1, j + 1);
            let (mut op, mut np) = (old[i].0, *shape.get(j)?);
            while op != np {
                if np < op {
                    np *= *shape.get(oj)?;
                    oj += 1;
                } else {
                    op *= old.get(oi)?.0;
                    oi += 1;
                }
            }
            if (i..oi - 1).any(|k| old[k].1 != old[k + 1].1 * old[k + 1].0 as isize) {
                return None;
            }
            let mut stride = old[oi - 1].1;
            for k in (j..oj).rev() {
                strides[k] = stride;
                stride *= shape[k] as isize;
            }
            (i, j) = (oi, oj);
        }
        Some(Self { shape: *shape, strides, offset: self.offset })
    }

    /// The lowest and one past the highest element index that the layout touches; `0..0` when it is empty.
    pub fn extent(&self) -> std::ops::Range<usize> {
        if self.shape.contains(&0) {
            return 0..0;
        }
        let (mut low, mut high) = (self.offset as isize, self.offset as isize);
        for (&size, &stride) in self.shape.iter().zip(self.strides.iter()) {
            let reach = (size as isize - 1) * stride;
            if reach < 0 { low += reach } else { high += reach }
        }
        low.max(0) as usize..(high + 1) as usize
    }

    /// The element indices in row-major order of the shape; slow, for printing and references.
    pub fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        let (shape, strides) = (self.shape, self.strides);
        (0..shape.numel()).map(move |mut flat| {
            let mut at = self.offset as isize;
            for d in (0..shape.len()).rev() {
                at += (flat % shape[d]) as isize * strides[d];
                flat /= shape[d];
            }
            at as usize
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_compose() {
        let base = Layout::contiguous(Shape::from([2, 3, 4]));
        let t = base.permute(&Dims::from([2, 0, 1]));
        assert!(!t.is_contiguous());
        assert_eq!(t.dense_order(), Some(Dims::from([1, 2, 0])));
        assert_eq!(t.reshape(&Shape::from([4, 6])).unwrap().strides()[..], [1, 4]);
        assert!(t.reshape(&Shape::from([24])).is_none());
        let s = base.slice(2, 3, -2, 2);
        assert_eq!(s.indices().take(2).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(s.extent(), 1..24);
        let e = Layout::contiguous(Shape::from([3, 1])).expand(&Shape::from([2, 3, 5])).unwrap();
        assert_eq!(e.strides()[..], [0, 1, 0]);
        assert!(e.dense_order().is_none());
        assert!(base.expand(&Shape::from([2, 3, 5])).is_err());
        assert_eq!(base.slice(0, 2, 1, 0).reshape(&Shape::from([0])).unwrap().shape().numel(), 0);
    }
}
