//! Random changes to images.

use esker_autograd::Tensor;
use esker_tensor::philox::{Key, block, uniform_f32};
use esker_tensor::{Error, Result};

/// Turns, scales and shifts every image of a batch `[n, c, h, w]` at random, with bilinear interpolation and zeros from
/// outside. Each amount is uniform within its range; image `i` depends on (key, i) alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomAffine {
    /// The largest angle, in degrees, to either side.
    pub degrees: f32,
    /// The largest shift, in pixels, in each direction.
    pub shift: f32,
    /// The largest change of size, as a fraction: 0.1 is 0.9 to 1.1.
    pub scale: f32,
    /// The largest slant, as the shift in pixels per row.
    pub shear: f32,
}

impl RandomAffine {
    /// The changed images.
    ///
    /// # Errors
    /// `Shape` when the batch has not four dimensions; `DType` when it is not f32.
    pub fn apply(&self, images: &Tensor, key: Key) -> Result<Tensor> {
        let &[n, channels, height, width] = &images.shape()[..] else {
            return Err(Error::shape(format!(
                "RandomAffine: needed is a batch [n, c, h, w], got {:?}",
                images.shape()
            )));
        };
        let pixels = images.to_vec::<f32>()?;
        let mut changed = Vec::with_capacity(pixels.len());
        let image = channels * height * width;
        for (i, planes) in pixels.chunks(image.max(1)).take(n).enumerate() {
            let map = self.draw(key, i as u64);
            for plane in planes.chunks((height * width).max(1)) {
                map.sample(plane, height, width, &mut changed);
            }
        }
        Tensor::from_slice(&changed, images.shape())
    }

    fn draw(&self, key: Key, image: u64) -> Map {
        let [a, b, c, d] = block(key, 2 * image).map(|word| 2.0 * uniform_f32(word) - 1.0);
        let [e, ..] = block(key, 2 * image + 1).map(|word| 2.0 * uniform_f32(word) - 1.0);
        let (sin, cos) = (a * self.degrees).to_radians().sin_cos();
        let scale = 1.0 / (1.0 + b * self.scale);
        let shear = e * self.shear;
        Map {
            from_x: [scale * cos, scale * (shear * cos - sin), c * self.shift],
            from_y: [scale * sin, scale * (shear * sin + cos), d * self.shift],
        }
    }
}

/// Where a pixel comes from, both measured from the image's middle: `from_x = [0] x + [1] y + [2]`.
struct Map {
    from_x: [f32; 3],
    from_y: [f32; 3],
}

impl Map {
    fn sample(&self, plane: &[f32], height: usize, width: usize, to: &mut Vec<f32>) {
        let middle = |size: usize| (size as f32 - 1.0) / 2.0;
        let (mx, my) = (middle(width), middle(height));
        let at = |x: f32, y: f32| {
            let inside = x >= 0.0 && y >= 0.0 && x < width as f32 && y < height as f32;
            let index = if inside { y as usize * width + x as usize } else { usize::MAX };
            plane.get(index).copied().unwrap_or(0.0)
        };
        let [ax, bx, cx] = self.from_x;
        let [ay, by, cy] = self.from_y;
        for row in 0..height {
            for column in 0..width {
                let (x, y) = (column as f32 - mx, row as f32 - my);
                let (x, y) = (ax * x + bx * y + cx + mx, ay * x + by * y + cy + my);
                let (left, top) = (x.floor(), y.floor());
                let (fx, fy) = (x - left, y - top);
                let upper = at(left, top) * (1.0 - fx) + at(left + 1.0, top) * fx;
                let lower = at(left, top + 1.0) * (1.0 - fx) + at(left + 1.0, top + 1.0) * fx;
                to.push(upper * (1.0 - fy) + lower * fy);
            }
        }
    }
}
