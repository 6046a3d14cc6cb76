//! Inputs one after the other along a dimension.

use esker_ops::Array;
use esker_tensor::{DType, Layout, Result};

use crate::operand::{Shared, parallel, source, target};
use crate::{copy, stream};

/// `y = x..` along `dim`: each input is copied to its slice of the output.
///
/// # Errors
/// Those of the copy.
pub(crate) fn run(dim: usize, inputs: &[&Array], y: &mut Array) -> Result<()> {
    let (layout, dtype) = (*y.layout(), y.dtype());
    let to = target::<u8>(y)?;
    let dense = |x: &Array| x.dtype() == dtype && x.layout().is_contiguous();
    if layout.shape()[..dim].iter().product::<usize>() > 1 && layout.is_contiguous() && inputs.iter().all(|x| dense(x))
    {
        rows(dim, inputs, to, &layout, dtype);
        return Ok(());
    }
    let mut start = 0;
    for x in inputs {
        let len = x.shape()[dim];
        let slice = layout.slice(dim, start, 1, len);
        let bytes = (slice.offset() - layout.offset()) * dtype.size();
        copy::to_place(x, Shared::new(to.at(bytes)), &slice, dtype)?;
        start += len;
    }
    Ok(())
}

/// Dense inputs in a dense output, row after row, so that the output is written from end to end.
fn rows(dim: usize, inputs: &[&Array], to: Shared<u8>, layout: &Layout, dtype: DType) {
    let bytes = |shape: &[usize]| shape[dim..].iter().product::<usize>() * dtype.size();
    let parts: Vec<(Shared<u8>, usize)> = inputs.iter().map(|x| (source::<u8>(x), bytes(x.shape()))).collect();
    let row = bytes(layout.shape());
    let count: usize = layout.shape()[..dim].iter().product();
    let past = count * row >= stream::LARGE;
    parallel(count, row / dtype.size(), &|rows| {
        for i in rows {
            let mut at = i * row;
            for (from, bytes) in &parts {
                // SAFETY: row `i` of the input lies within it, and its place within row `i` of the output, which is
                // this task's.
                unsafe {
                    match past {
                        true => stream::copy(from.at(i * bytes), to.at(at), *bytes),
                        false => std::ptr::copy_nonoverlapping(from.at(i * bytes), to.at(at), *bytes),
                    }
                }
                at += bytes;
            }
        }
        stream::fence();
    });
}

#[cfg(test)]
mod tests {
    use esker_ops::Array;
    use esker_tensor::DType;

    use crate::test::{bits, out, seeded};

    #[test]
    fn rows_are_put_side_by_side_whether_they_fit_a_cache_or_not() {
        crate::register();
        for (outer, inner) in [(3, 5), (800, 1027)] {
            let widths = [1, 0, 2, 1];
            let inputs: Vec<Array> =
                widths.iter().zip(1..).map(|(&w, seed)| seeded(DType::F32, &[outer, w, inner], seed)).collect();
            let mut y = out(DType::F32, &[outer, 4, inner]);
            super::run(1, &inputs.iter().collect::<Vec<_>>(), &mut y).unwrap();
            let parts: Vec<Vec<u8>> = inputs.iter().map(bits).collect();
            let mut want = Vec::new();
            for i in 0..outer {
                for (part, w) in parts.iter().zip(widths) {
                    want.extend_from_slice(&part[i * w * inner * 4..(i + 1) * w * inner * 4]);
                }
            }
            assert!(bits(&y) == want, "{outer} rows of {inner}");
        }
    }
}
