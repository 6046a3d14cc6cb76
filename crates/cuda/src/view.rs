//! Layouts as kernels see them: sizes and strides of one walk over several operands, with as few dimensions as there can be.

use bytemuck::{Pod, Zeroable};
use esker_tensor::{Layout, Result, Shape};
use smallvec::SmallVec;

/// As `View` in `common.cuh`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct View {
    pub(crate) rank: i32,
    pad: i32,
    pub(crate) size: [i64; 8],
    pub(crate) stride: [i64; 8],
}

impl View {
    /// Of sizes and strides, outermost first; at most eight.
    pub(crate) fn new(dims: impl IntoIterator<Item = (usize, isize)>) -> Self {
        let mut view = Self::default();
        for ((size, stride), to) in dims.into_iter().zip(0..) {
            (view.size[to], view.stride[to]) = (size as i64, stride as i64);
            view.rank = to as i32 + 1;
        }
        view
    }
}

/// One walk over several operands of the same sizes: the dimensions, outermost first, with each operand's stride.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Walk {
    pub(crate) sizes: SmallVec<[usize; 8]>,
    /// By operand, then by dimension.
    pub(crate) strides: SmallVec<[SmallVec<[isize; 8]>; 4]>,
}

impl Walk {
    /// Over layouts that broadcast to `shape`, in the memory order of the first; neighbouring dimensions that lie one after
    /// the other in every operand become one.
    ///
    /// # Errors
    /// `Shape` when a layout does not broadcast.
    pub(crate) fn new(shape: &Shape, layouts: &[&Layout]) -> Result<Self> {
        let spread: SmallVec<[Layout; 4]> = layouts.iter().map(|l| l.expand(shape)).collect::<Result<_>>()?;
        let mut order: SmallVec<[usize; 8]> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
        if let Some(first) = spread.first() {
            order.sort_by_key(|&d| std::cmp::Reverse(first.strides()[d].unsigned_abs()));
        }
        let mut walk = Self { sizes: SmallVec::new(), strides: spread.iter().map(|_| SmallVec::new()).collect() };
        for d in order {
            let joins = walk.sizes.last().is_some()
                && spread.iter().zip(&walk.strides).all(|(layout, strides)| {
                    let inner = layout.strides()[d];
                    strides.last().is_some_and(|&outer| outer == inner * shape[d] as isize)
                });
            if joins {
                if let Some(size) = walk.sizes.last_mut() {
                    *size *= shape[d];
                }
            } else {
                walk.sizes.push(shape[d]);
            }
            for (layout, strides) in spread.iter().zip(&mut walk.strides) {
                let inner = layout.strides()[d];
                match strides.last_mut() {
                    Some(outer) if joins => *outer = inner,
                    _ => strides.push(inner),
                }
            }
        }
        Ok(walk)
    }

    /// The number of places.
    pub(crate) fn len(&self) -> usize {
        self.sizes.iter().product()
    }

    /// The view of one operand.
    pub(crate) fn view(&self, operand: usize) -> View {
        View::new(self.sizes.iter().copied().zip(self.strides[operand].iter().copied()))
    }

    /// The view of one operand without the innermost dimension.
    pub(crate) fn rows(&self, operand: usize) -> View {
        let outer = self.sizes.len().saturating_sub(1);
        View::new(self.sizes.iter().copied().zip(self.strides[operand].iter().copied()).take(outer))
    }

    /// Whether an operand lies without gaps in the order of the walk.
    pub(crate) fn is_dense(&self, operand: usize) -> bool {
        match (&self.sizes[..], &self.strides[operand][..]) {
            ([], []) | ([_], [1]) => true,
            _ => self.len() == 0,
        }
    }

    /// Whether an operand is one element, everywhere.
    pub(crate) fn is_one(&self, operand: usize) -> bool {
        self.strides[operand].iter().all(|&s| s == 0)
    }
}

/// The product of the sizes in front of `dim`, the size of `dim`, and the product of those behind it.
pub(crate) fn around(shape: &[usize], dim: usize) -> (usize, usize, usize) {
    let size = shape.get(dim).copied().unwrap_or(1);
    let front = shape.iter().take(dim).product();
    let back = shape.iter().skip(dim + 1).product();
    (front, size, back)
}
