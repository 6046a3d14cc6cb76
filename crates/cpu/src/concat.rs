//! Inputs one after the other along a dimension.

use esker_ops::Array;
use esker_tensor::Result;

use crate::copy;
use crate::operand::{Shared, target};

/// `y = x..` along `dim`: each input is copied to its slice of the output.
///
/// # Errors
/// Those of the copy.
pub(crate) fn run(dim: usize, inputs: &[&Array], y: &mut Array) -> Result<()> {
    let (layout, dtype) = (*y.layout(), y.dtype());
    let to = target::<u8>(y)?;
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
