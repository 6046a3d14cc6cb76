//! Two-dimensional convolution on channels-last memory.
//!
//! The forward pass and the gradient by the input are one matrix product with windows on the left
//! ([`columns::Columns`], read while packing) and rearranged weights on the right. With stride `s` the gradient by the
//! input splits into `s x s` phases, output pixels of equal remainder, each a convolution of stride 1 with the taps
//! that reach it. The gradient by the weight is the transposed windows times the output's gradient, in slices of
//! pixels whose number depends on the shape alone. Depthwise convolutions have loops of their own.

mod columns;
mod depthwise;
mod product;
mod weight;

use esker_ops::kernel::Conv2d;
use esker_ops::{Array, ConvPass};
use esker_tensor::{DType, Dims, Element, Error, Layout, Result, Shape};

use self::columns::{Columns, Tap};
use self::product::Product;
use crate::lanes::Real;
use crate::operand::{self, Shared, channels_last, in_order, is_half, parallel, source, target, uninit, with_order};

/// Runs a convolution pass.
///
/// # Errors
/// `Unavailable` for a dtype that is no float; those of copies.
pub(crate) fn run(pass: ConvPass, conv: &Conv2d, a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    match a.dtype() {
        dtype if is_half(dtype) => {
            let outputs = std::slice::from_mut(y);
            operand::through_f32(&[a, b], outputs, |x, y| run(pass, conv, x[0], x[1], &mut y[0]))
        }
        DType::F32 => run_as::<f32>(pass, conv, a, b, y),
        DType::F64 => run_as::<f64>(pass, conv, a, b, y),
        dtype => Err(Error::unavailable(format!("convolution computes floats, not {dtype}; cast first"))),
    }
}

fn run_as<T: Product>(pass: ConvPass, conv: &Conv2d, a: &Array, b: &Array, y: &mut Array) -> Result<()> {
    let last = channels_last();
    let a = in_order(a, &last)?;
    match pass {
        ConvPass::Forward => {
            let (g, b) = (Geometry::new(conv, a.shape(), b.shape(), y.shape())?, b.contiguous()?);
            with_order(y, &last, |y| forward::<T>(&g, &a, &b, y))
        }
        ConvPass::Input => {
            let (g, b) = (Geometry::new(conv, y.shape(), b.shape(), a.shape())?, b.contiguous()?);
            with_order(y, &last, |y| input::<T>(&g, &a, &b, y))
        }
        ConvPass::Weight => {
            let (g, b) = (Geometry::new(conv, a.shape(), y.shape(), b.shape())?, in_order(b, &last)?);
            let order = Dims::from([0, 1, 2, 3]);
            with_order(y, &order, |y| weight::run::<T>(&g, &a, &b, y))
        }
    }
}

/// The sizes of a convolution.
struct Geometry {
    conv: Conv2d,
    images: usize,
    /// Height and width of the input.
    size: [usize; 2],
    /// Height and width of the output.
    out: [usize; 2],
    /// Height and width of the window.
    window: [usize; 2],
    /// Channels of an input pixel.
    c: usize,
    /// Channels of an output pixel.
    k: usize,
}

impl Geometry {
    fn new(conv: &Conv2d, x: &Shape, w: &Shape, y: &Shape) -> Result<Self> {
        match (&x[..], &w[..], &y[..]) {
            (&[images, c, h, width], &[k, _, r, s], &[_, _, oh, ow]) if conv.groups > 0 => {
                Ok(Self { conv: *conv, images, size: [h, width], out: [oh, ow], window: [r, s], c, k })
            }
            _ => Err(Error::shape(format!("{x:?}, {w:?} and {y:?} are no convolution"))),
        }
    }

    /// Input channels of a group.
    fn cg(&self) -> usize {
        self.c / self.conv.groups
    }

    /// Output channels of a group.
    fn kg(&self) -> usize {
        self.k / self.conv.groups
    }

    /// Whether each channel has a group of its own.
    fn is_depthwise(&self) -> bool {
        self.conv.groups > 1 && self.c == self.conv.groups && self.k == self.conv.groups
    }

    /// The taps of the forward pass, with their places in the window.
    fn taps(&self) -> Vec<(usize, Tap)> {
        let along = |axis: usize, t: usize| (t * self.conv.dilation[axis]) as isize - self.conv.padding[axis] as isize;
        let places = (0..self.window[0] * self.window[1]).map(|t| (t, [t / self.window[1], t % self.window[1]]));
        places.map(|(t, [r, s])| (t, [along(0, r), along(1, s)])).collect()
    }

    /// The taps that reach input pixels of remainder `phase`, with their places in the window: such a pixel `i` sees
    /// output pixel `i + tap`.
    fn phase_taps(&self, phase: [usize; 2]) -> Vec<(usize, Tap)> {
        let along = |axis: usize, tap: isize| {
            let (reach, stride) = (phase[axis] as isize - tap, self.conv.stride[axis] as isize);
            (reach.rem_euclid(stride) == 0).then(|| reach.div_euclid(stride))
        };
        let reaching = |(t, tap): (usize, Tap)| Some((t, [along(0, tap[0])?, along(1, tap[1])?]));
        self.taps().into_iter().filter_map(reaching).collect()
    }
}

fn forward<T: Product>(g: &Geometry, x: &Array, w: &Array, y: &mut Array) -> Result<()> {
    let (places, taps): (Vec<usize>, Vec<Tap>) = g.taps().into_iter().unzip();
    let (x, w, y) = (source::<T>(x), source::<T>(w), target::<T>(y)?);
    let columns = Columns {
        x,
        size: g.size,
        channels: g.c,
        first: 0,
        width: g.cg(),
        taps: &taps,
        out: g.out,
        step: g.conv.stride,
    };
    let weights = forward_weights::<T>(g, w, &places)?;
    let to = Target { y, size: g.out, channels: g.k, phase: [0, 0], step: [1, 1] };
    apply(g, columns, source(&weights), to, g.kg())
}

fn input<T: Product>(g: &Geometry, dy: &Array, w: &Array, dx: &mut Array) -> Result<()> {
    let (dy, w, dx) = (source::<T>(dy), source::<T>(w), target::<T>(dx)?);
    let step = g.conv.stride;
    for phase in (0..step[0] * step[1]).map(|p| [p / step[1], p % step[1]]) {
        let (places, taps): (Vec<usize>, Vec<Tap>) = g.phase_taps(phase).into_iter().unzip();
        let out = [0, 1].map(|a| g.size[a].saturating_sub(phase[a]).div_ceil(step[a]));
        let columns =
            Columns { x: dy, size: g.out, channels: g.k, first: 0, width: g.kg(), taps: &taps, out, step: [1, 1] };
        let weights = input_weights::<T>(g, w, &places)?;
        let to = Target { y: dx, size: g.size, channels: g.c, phase, step };
        apply(g, columns, source(&weights), to, g.cg())?;
    }
    Ok(())
}

/// Where the pixels of a product go: pixel `(i, j)` to `(i, j) * step + phase` of images of `size`.
#[derive(Clone, Copy)]
struct Target<T> {
    y: Shared<T>,
    size: [usize; 2],
    channels: usize,
    phase: [usize; 2],
    step: [usize; 2],
}

impl<T> Target<T> {
    /// The first channel of a pixel.
    #[inline(always)]
    fn pixel(&self, (n, i, j): (usize, usize, usize)) -> *mut T {
        let (h, w) = (i * self.step[0] + self.phase[0], j * self.step[1] + self.phase[1]);
        self.y.at(((n * self.size[0] + h) * self.size[1] + w) * self.channels)
    }
}

/// Multiplies windows with weights `[group][tap][in][out]`, `n` output channels a group.
fn apply<T: Product>(g: &Geometry, columns: Columns<'_, T>, w: Shared<T>, to: Target<T>, n: usize) -> Result<()> {
    let m = g.images * columns.out[0] * columns.out[1];
    if m == 0 || n == 0 {
        return Ok(());
    }
    if g.is_depthwise() {
        depthwise::forward(columns, w, to, g.images * columns.out[0]);
        return Ok(());
    }
    let size = [m, n, columns.taps.len() * columns.width];
    if to.step == [1, 1] {
        return multiply_groups(g, &columns, w, to.y, size, to.channels);
    }
    let mut dense = uninit(<T as Element>::DTYPE, Layout::contiguous(Shape::from([m, to.channels])))?;
    let pixels = target::<T>(&mut dense)?;
    multiply_groups(g, &columns, w, pixels, size, to.channels)?;
    spread(&columns, pixels, to, m);
    Ok(())
}

fn multiply_groups<T: Product>(
    g: &Geometry,
    columns: &Columns<'_, T>,
    w: Shared<T>,
    y: Shared<T>,
    [m, n, k]: [usize; 3],
    channels: usize,
) -> Result<()> {
    for group in 0..g.conv.groups {
        let columns = Columns { first: group * columns.width, ..*columns };
        // SAFETY: the geometry is that of the arrays: group `group` has `k x n` weights and columns of its own in y.
        unsafe { product::windows(&columns, [m, n, k], w.at(group * k * n), y.at(group * n), channels)? }
    }
    Ok(())
}

/// Copies dense pixels to where they go.
fn spread<T: Real>(columns: &Columns<'_, T>, from: Shared<T>, to: Target<T>, m: usize) {
    parallel(m, to.channels, &|pixels| {
        for p in pixels {
            // SAFETY: both pixels have `channels` elements, and different `p` go to different pixels.
            unsafe {
                std::ptr::copy_nonoverlapping(from.at(p * to.channels), to.pixel(columns.place(p)), to.channels);
            }
        }
    });
}

/// Weights `[k, cg, r, s]` as `[group][tap][cg][kg]`.
fn forward_weights<T: Product>(g: &Geometry, w: Shared<T>, places: &[usize]) -> Result<Array> {
    let (cg, kg, taps) = (g.cg(), g.kg(), g.window[0] * g.window[1]);
    rearranged(g, places, |group, place, out| {
        for c in 0..cg {
            for k in 0..kg {
                // SAFETY: the indices are within the weights' sizes.
                out[c * kg + k] = unsafe { *w.at(((group * kg + k) * cg + c) * taps + place) };
            }
        }
    })
}

/// Weights `[k, cg, r, s]` as `[group][tap][kg][cg]`.
fn input_weights<T: Product>(g: &Geometry, w: Shared<T>, places: &[usize]) -> Result<Array> {
    let (cg, kg, taps) = (g.cg(), g.kg(), g.window[0] * g.window[1]);
    rearranged(g, places, |group, place, out| {
        for k in 0..kg {
            for c in 0..cg {
                // SAFETY: the indices are within the weights' sizes.
                out[k * cg + c] = unsafe { *w.at(((group * kg + k) * cg + c) * taps + place) };
            }
        }
    })
}

/// Weights by group and tap, each filled by `fill(group, place, block)`.
fn rearranged<T: Product>(
    g: &Geometry,
    places: &[usize],
    fill: impl Fn(usize, usize, &mut [T]) + Sync,
) -> Result<Array> {
    let (block, groups) = (g.cg() * g.kg(), g.conv.groups);
    // Depthwise kernels want the channels of a tap side by side.
    let tap_major = g.is_depthwise();
    let mut out = uninit(<T as Element>::DTYPE, Layout::contiguous(Shape::from([groups, places.len(), block])))?;
    let to = target::<T>(&mut out)?;
    parallel(groups * places.len(), 4 * block, &|items| {
        for item in items {
            let (group, t) = (item / places.len(), item % places.len());
            let at = if tap_major { t * groups + group } else { item * block };
            // SAFETY: each item has a block of its own.
            fill(group, places[t], unsafe { std::slice::from_raw_parts_mut(to.at(at), block) });
        }
    });
    Ok(out)
}

#[cfg(test)]
mod tests;
