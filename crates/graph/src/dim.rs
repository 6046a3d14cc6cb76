//! Sizes that may depend on the batch.

/// A size as a function of the batch `N`: `fixed + per * N`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Dim {
    /// The part that does not depend on the batch.
    pub fixed: i64,
    /// The part that comes with each element of the batch.
    pub per: i64,
}

impl Dim {
    /// The batch itself.
    pub const BATCH: Dim = Dim { fixed: 0, per: 1 };

    /// A plain number.
    pub const fn fixed(n: i64) -> Self {
        Self { fixed: n, per: 0 }
    }

    /// Whether it is a plain number.
    pub const fn is_fixed(self) -> bool {
        self.per == 0
    }

    /// Its value for a batch of `n`; `None` when that overflows.
    pub fn at(self, n: i64) -> Option<i64> {
        self.per.checked_mul(n)?.checked_add(self.fixed)
    }

    /// The batch for which the size is `size`; `None` when there is none, or any.
    pub fn solve(self, size: i64) -> Option<i64> {
        let rest = size.checked_sub(self.fixed)?;
        (self.per != 0 && rest.checked_rem(self.per) == Some(0)).then(|| rest / self.per).filter(|&n| n >= 0)
    }

    /// The affine function through `(batches[i], sizes[i])`: settled by the first two points and checked at the rest.
    pub fn through(batches: &[i64], sizes: &[i64]) -> Option<Dim> {
        let dim = match (batches, sizes) {
            ([a, b, ..], [x, y, ..]) if x != y => {
                let rise = y.checked_sub(*x)?;
                let run = b.checked_sub(*a)?;
                let per = (rise.checked_rem(run)? == 0).then(|| rise / run)?;
                Dim { fixed: x.checked_sub(per.checked_mul(*a)?)?, per }
            }
            (_, [x, ..]) => Dim::fixed(*x),
            _ => return None,
        };
        batches.iter().zip(sizes).all(|(&n, &size)| dim.at(n) == Some(size)).then_some(dim)
    }

    /// As a text, with `symbol` for the batch: `3`, `N`, `2*N + 1`.
    pub fn text(self, symbol: &str) -> String {
        let scaled = match self.per {
            0 => return self.fixed.to_string(),
            1 => symbol.to_string(),
            -1 => format!("-{symbol}"),
            per => format!("{per}*{symbol}"),
        };
        match self.fixed {
            0 => scaled,
            f if f < 0 => format!("{scaled} - {}", f.unsigned_abs()),
            f => format!("{scaled} + {f}"),
        }
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Self::fixed(n as i64)
    }
}

/// `None` is the batch.
impl From<Option<usize>> for Dim {
    fn from(n: Option<usize>) -> Self {
        n.map_or(Self::BATCH, Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::Dim;

    #[test]
    fn affine_functions_are_found_and_others_are_not() {
        let batches = [1009, 2003, 4001];
        let sizes = |f: fn(i64) -> i64| batches.map(f);
        assert_eq!(Dim::through(&batches, &sizes(|_| 7)), Some(Dim::fixed(7)));
        assert_eq!(Dim::through(&batches, &sizes(|n| 3 * n - 5)), Some(Dim { fixed: -5, per: 3 }));
        assert_eq!(Dim::through(&batches, &sizes(|n| n * n)), None);
        assert_eq!(Dim::through(&batches, &sizes(|n| n / 2)), None);
        assert_eq!(Dim::through(&batches, &[i64::MAX; 3]), Some(Dim::fixed(i64::MAX)));
        assert_eq!(Dim::through(&batches, &[i64::MIN, i64::MAX, 0]), None);
        assert_eq!(Dim::through(&[], &[5]), Some(Dim::fixed(5)));
    }

    #[test]
    fn text_and_solve() {
        assert_eq!(Dim { fixed: -1, per: 2 }.text("N"), "2*N - 1");
        assert_eq!(Dim::BATCH.text("batch"), "batch");
        assert_eq!(Dim { fixed: 1, per: 2 }.solve(7), Some(3));
        assert_eq!(Dim { fixed: 1, per: 2 }.solve(8), None);
        assert_eq!(Dim::fixed(4).solve(4), None);
    }
}
