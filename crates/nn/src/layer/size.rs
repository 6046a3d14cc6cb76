//! Sizes of windows.

use esker_ops::Ints;

/// One number for each of `N` dimensions; one alone stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const N: usize>(pub [usize; N]);

/// (height, width).
pub type Pair = Size<2>;

impl<const N: usize> Size<N> {
    pub(super) fn ints(self) -> Ints {
        self.0.map(|n| n as i64).into()
    }
}

impl<const N: usize> From<usize> for Size<N> {
    fn from(n: usize) -> Self {
        Self([n; N])
    }
}

impl<const N: usize> From<[usize; N]> for Size<N> {
    fn from(sizes: [usize; N]) -> Self {
        Self(sizes)
    }
}

impl From<(usize, usize)> for Size<2> {
    fn from((height, width): (usize, usize)) -> Self {
        Self([height, width])
    }
}

impl From<(usize, usize, usize)> for Size<3> {
    fn from((depth, height, width): (usize, usize, usize)) -> Self {
        Self([depth, height, width])
    }
}
