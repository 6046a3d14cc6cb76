//! Pictures of shapes, and which shape each pixel belongs to.

use esker::prelude::*;
use esker::tensor::philox::{Key, block, uniform_f32};

pub(crate) const NAMES: [&str; 4] = ["background", "circle", "square", "triangle"];
pub(crate) const CLASSES: usize = NAMES.len();
/// Shapes in a picture; later ones cover earlier ones.
const SHAPES: u64 = 3;
/// The largest change of a pixel by noise.
const NOISE: f32 = 0.3;

/// Where a shape is, in shares of the picture's side, and how bright.
struct Shape {
    class: i64,
    x: f32,
    y: f32,
    size: f32,
    shade: f32,
}

impl Shape {
    fn at_random(key: Key, index: u64) -> Self {
        let [a, b, c, d] = block(key, 2 * index).map(uniform_f32);
        let shade = uniform_f32(block(key, 2 * index + 1)[0]);
        let class = 1 + (a * 3.0) as i64;
        Self { class, x: 0.15 + 0.7 * b, y: 0.15 + 0.7 * c, size: 0.1 + 0.12 * d, shade: 0.5 + 0.5 * shade }
    }

    fn covers(&self, x: f32, y: f32) -> bool {
        let (x, y) = ((x - self.x) / self.size, (y - self.y) / self.size);
        match self.class {
            1 => x * x + y * y <= 1.0,
            2 => x.abs().max(y.abs()) <= 0.9,
            _ => (-0.9..=0.9).contains(&y) && x.abs() <= (y + 0.9) / 1.8,
        }
    }
}

/// Pictures f32 `[n, 1, side, side]` and the classes of their pixels i64 `[n, side, side]`.
pub(crate) struct Drawn {
    pub(crate) pictures: Tensor,
    pub(crate) classes: Tensor,
}

/// `count` pictures, of which picture `i` depends on (key, i) alone.
pub(crate) fn draw(count: usize, side: usize, key: Key) -> Result<Drawn> {
    let (mut pixels, mut classes) = (Vec::new(), Vec::new());
    for picture in 0..count as u64 {
        let [low, high, ..] = block(key, picture);
        let key = Key(u64::from(low) | u64::from(high) << 32);
        let shapes: Vec<Shape> = (0..SHAPES).map(|i| Shape::at_random(key, i)).collect();
        for place in 0..side * side {
            let middle = |i: usize| (i as f32 + 0.5) / side as f32;
            let (x, y) = (middle(place % side), middle(place / side));
            let top = shapes.iter().rev().find(|s| s.covers(x, y));
            let noise = uniform_f32(block(key, 2 * SHAPES + place as u64)[0]) * 2.0 - 1.0;
            pixels.push(top.map_or(0.2, |s| s.shade) + NOISE * noise);
            classes.push(top.map_or(0, |s| s.class));
        }
    }
    let pictures = Tensor::from_slice(&pixels, [count, 1, side, side])?;
    Ok(Drawn { pictures, classes: Tensor::from_slice(&classes, [count, side, side])? })
}

/// A picture `[1, side, side]` and the classes `[side, side]` that were seen in it, side by side.
pub(crate) fn show(picture: &Tensor, seen: &Tensor) -> Result<()> {
    let side = seen.size(0)?;
    let (pixels, seen) = (picture.to_vec::<f32>()?, seen.to_vec::<i64>()?);
    for row in 0..side {
        let row = row * side..(row + 1) * side;
        let shade = |&p: &f32| [' ', '░', '▒', '▓', '█'][((p * 4.0).round() as usize).min(4)];
        let class = |&c: &i64| ['.', 'O', '#', '^'][c as usize];
        let (left, right): (String, String) =
            (pixels[row.clone()].iter().map(shade).collect(), seen[row].iter().map(class).collect());
        println!("{left}  {right}");
    }
    println!();
    Ok(())
}
