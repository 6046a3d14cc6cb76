//! Matrix products as the vendor's library takes them.

/// What a product is, apart from where its operands lie: the key of its plan. `y [batch, m, n] = a [batch, m, k] b [batch, k,
/// n] (+ bias [n])`, row-major.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Product {
    pub(crate) dtype: esker_tensor::DType,
    pub(crate) batch: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) bias: bool,
    /// What the addresses of all operands are multiples of, at most 256: algorithms differ in what they need.
    pub(crate) alignment: u32,
}

/// How a factor lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Side {
    /// Whether its columns lie one after the other, rather than its rows.
    pub(crate) turned: bool,
    /// The distance of its rows (columns, when turned).
    pub(crate) step: usize,
    /// The distance of its matrices in the batch.
    pub(crate) batch: usize,
}

/// Addresses of a product's operands; `bias` is 0 where there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operands {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) bias: usize,
    pub(crate) y: usize,
}

impl Operands {
    /// What all addresses are multiples of, at most 256.
    pub(crate) fn alignment(&self) -> u32 {
        let all = self.a | self.b | self.bias | self.y;
        1 << all.trailing_zeros().min(8)
    }
}
