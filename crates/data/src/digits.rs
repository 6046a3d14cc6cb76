//! The digits that travel with the code.

use esker_autograd::Tensor;
use esker_tensor::{Error, Result};

/// 65 bytes for each image: 64 pixels and the digit. See `data/NOTICE` for origin and licence.
static BYTES: &[u8] = include_bytes!("../data/digits.u8");

const IMAGE: usize = 64;
/// The darkest pixel.
const BLACK: f32 = 16.0;

/// 1,797 handwritten digits: images (f32 `[1797, 1, 8, 8]`, 0 is white and 1 is black) and labels (i64 `[1797]`, 0 to 9).
///
/// From "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (UCI Machine Learning Repository, 1998),
/// CC BY 4.0.
///
/// # Errors
/// `OutOfMemory`.
pub fn digits() -> Result<(Tensor, Tensor)> {
    let (rows, _) = BYTES.as_chunks::<{ IMAGE + 1 }>();
    let mut pixels = Vec::with_capacity(rows.len() * IMAGE);
    let mut labels = Vec::with_capacity(rows.len());
    for row in rows {
        let (label, image) = row.split_last().ok_or_else(|| Error::format("digits: an empty row"))?;
        pixels.extend(image.iter().map(|&p| f32::from(p) / BLACK));
        labels.push(i64::from(*label));
    }
    Ok((Tensor::from_slice(&pixels, [rows.len(), 1, 8, 8])?, Tensor::from_vec(labels)?))
}
