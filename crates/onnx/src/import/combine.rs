//! Products of matrices.

use esker_ops::Ops;
use esker_tensor::Result;

use super::call::{Call, Handler, Item, one, scalar};

pub(crate) const HANDLERS: &[(&str, Handler)] =
    &[("MatMul", |c| one(c.tensor(0)?.matmul(&c.tensor(1)?)?)), ("Gemm", gemm)];

/// `alpha * a' * b' + beta * c`.
fn gemm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (mut a, mut b) = (call.tensor(0)?, call.tensor(1)?);
    if call.int("transA", 0) != 0 {
        a = a.permute([1, 0])?;
    }
    if call.int("transB", 0) != 0 {
        b = b.permute([1, 0])?;
    }
    let mut y = a.matmul(&b)?;
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    if alpha != 1.0 {
        y = y.mul(&scalar(alpha, &y)?)?;
    }
    if let Some(mut c) = call.maybe(2)? {
        if beta != 1.0 {
            c = c.mul(&scalar(beta, &c)?)?;
        }
        y = y.add(&c)?;
    }
    one(y)
}
