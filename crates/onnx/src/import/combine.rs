//! Products of matrices.

use esker_graph::Sym;
use esker_ops::Ops;
use esker_tensor::Result;

use super::call::{Call, Handler, Item, one, scalar};

pub(crate) const HANDLERS: &[(&str, Handler)] =
    &[("MatMul", |c| one(c.tensor(0)?.matmul(&c.tensor(1)?)?)), ("Gemm", gemm)];

/// `alpha * a' * b' + beta * c`; a fully connected layer where that is all there is.
fn gemm(call: &mut Call<'_>) -> Result<Vec<Item>> {
    let (a, b, c) = (call.tensor(0)?, call.tensor(1)?, call.maybe(2)?);
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    let turned = [call.int("transA", 0), call.int("transB", 0)].map(|flag| flag != 0);
    if (turned, alpha, beta) == ([false, true], 1.0, 1.0) {
        return one(a.linear(&b, c.as_ref())?);
    }
    let matrix = |x: Sym, turned: bool| if turned { x.permute([1, 0]) } else { Ok(x) };
    let mut y = matrix(a, turned[0])?.matmul(&matrix(b, turned[1])?)?;
    if alpha != 1.0 {
        y = y.mul(&scalar(alpha, &y)?)?;
    }
    if let Some(mut c) = c {
        if beta != 1.0 {
            c = c.mul(&scalar(beta, &c)?)?;
        }
        y = y.add(&c)?;
    }
    one(y)
}
