use esker_ops::kernel::Conv2d;
use esker_ops::{Array, ConvPass};
use esker_tensor::DType;

use crate::test::{bits, layouts, out, out_last, same_bits, seeded};

fn conv(stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], groups: usize) -> Conv2d {
    Conv2d { stride, padding, dilation, groups }
}

/// Shapes of x, w and y.
type Shapes = [[usize; 4]; 3];

fn shapes(c: &Conv2d, [n, ch, h, w]: [usize; 4], k: usize, window: [usize; 2]) -> Shapes {
    let size = |a: usize, n: usize| (n + 2 * c.padding[a] - c.dilation[a] * (window[a] - 1) - 1) / c.stride[a] + 1;
    [[n, ch, h, w], [k, ch / c.groups, window[0], window[1]], [n, k, size(0, h), size(1, w)]]
}

/// Calls `f` with the flat places in x, w and y of every product of the convolution.
fn each(c: &Conv2d, [x, w, y]: Shapes, mut f: impl FnMut(usize, usize, usize)) {
    let (kg, cg) = (w[0] / c.groups, w[1]);
    for at in 0..y.iter().product() {
        let (n, k, i, j) = (at / y[3] / y[2] / y[1], at / y[3] / y[2] % y[1], at / y[3] % y[2], at % y[3]);
        for t in 0..cg * w[2] * w[3] {
            let (ci, r, s) = (t / w[3] / w[2], t / w[3] % w[2], t % w[3]);
            let row = (i * c.stride[0] + r * c.dilation[0]).wrapping_sub(c.padding[0]);
            let col = (j * c.stride[1] + s * c.dilation[1]).wrapping_sub(c.padding[1]);
            if row < x[2] && col < x[3] {
                let ch = k / kg * cg + ci;
                f(((n * x[1] + ch) * x[2] + row) * x[3] + col, k * cg * w[2] * w[3] + t, at);
            }
        }
    }
}

fn run(pass: ConvPass, c: &Conv2d, a: &Array, b: &Array, mut y: Array) -> Array {
    super::run(pass, c, a, b, &mut y).unwrap();
    y
}

fn near(got: &Array, want: &[f64], scale: f64, what: &str) {
    let tolerance = match got.dtype() {
        DType::F64 => 1e-12,
        DType::F32 => 1e-5,
        DType::F16 => 5e-3,
        _ => 3e-2,
    };
    for (i, (a, b)) in got.to_f64_vec().unwrap().iter().zip(want).enumerate() {
        assert!((a - b).abs() <= tolerance * (scale + b.abs()), "{what} {} at {i}: {a} {b}", got.dtype());
    }
}

fn check(c: &Conv2d, dtype: DType, s: Shapes, all_layouts: bool) {
    let [x, w, dy] = [(0, 1), (1, 2), (2, 3)].map(|(i, seed)| seeded(dtype, &s[i], seed));
    let [xv, wv, dyv] = [&x, &w, &dy].map(|a| a.to_f64_vec().unwrap());
    let (mut y, mut dx, mut dw) = (vec![0.0; dyv.len()], vec![0.0; xv.len()], vec![0.0; wv.len()]);
    each(c, s, |i, t, o| {
        y[o] += xv[i] * wv[t];
        dx[i] += dyv[o] * wv[t];
        dw[t] += dyv[o] * xv[i];
    });
    let what = format!("{c:?} {s:?}");
    let (k, pixels) = ((s[1][1] * s[1][2] * s[1][3]) as f64, (s[2][0] * s[2][2] * s[2][3]) as f64);
    let variants = |a: &Array| if all_layouts { layouts(a) } else { vec![a.clone()] };
    for (x, w) in variants(&x).iter().zip(variants(&w)) {
        near(&run(ConvPass::Forward, c, x, &w, out_last(dtype, &s[2])), &y, k, &what);
    }
    for (dy, w) in variants(&dy).iter().zip(variants(&w)) {
        near(&run(ConvPass::Input, c, dy, &w, out_last(dtype, &s[0])), &dx, k * 4.0, &what);
    }
    for (x, dy) in variants(&x).iter().zip(variants(&dy)) {
        near(&run(ConvPass::Weight, c, x, &dy, out(dtype, &s[1])), &dw, pixels, &what);
    }
    if all_layouts {
        near(&run(ConvPass::Forward, c, &x, &w, out(dtype, &s[2])), &y, k, &what);
    }
}

#[test]
fn agrees_with_plain_loops() {
    crate::register();
    let one = [1, 1];
    let cases = [
        (conv(one, [0, 0], one, 1), [2, 3, 5, 6], 4, [1, 1]),
        (conv(one, one, one, 1), [2, 5, 7, 6], 9, [3, 3]),
        (conv(one, one, one, 1), [1, 32, 9, 9], 33, [3, 3]),
        (conv([2, 2], one, one, 1), [2, 4, 9, 8], 6, [3, 3]),
        (conv([2, 3], [2, 0], [2, 1], 1), [1, 3, 11, 13], 5, [3, 2]),
        (conv([4, 4], [0, 0], one, 1), [1, 3, 16, 16], 8, [4, 4]),
        (conv([3, 3], [0, 0], one, 1), [1, 2, 8, 8], 3, [1, 1]),
        (conv(one, one, one, 2), [2, 6, 6, 6], 4, [3, 3]),
        (conv([2, 1], one, one, 3), [1, 6, 6, 7], 9, [3, 2]),
        (conv(one, one, one, 20), [2, 20, 7, 7], 20, [3, 3]),
        (conv([2, 2], [2, 2], one, 40), [1, 40, 9, 9], 40, [5, 5]),
        (conv(one, [2, 2], [2, 2], 3), [1, 3, 9, 9], 3, [3, 3]),
        (conv(one, one, one, 4), [1, 4, 5, 5], 8, [3, 3]),
        (conv(one, [0, 0], one, 1), [0, 3, 5, 5], 2, [3, 3]),
    ];
    for (c, x, k, window) in cases {
        let s = shapes(&c, x, k, window);
        check(&c, DType::F32, s, true);
        check(&c, DType::F64, s, true);
        check(&c, DType::F16, s, false);
        check(&c, DType::BF16, s, false);
    }
    // More pixels than a slice of the weight gradient.
    let c = conv(one, one, one, 1);
    check(&c, DType::F32, shapes(&c, [3, 2, 60, 61], 3, [3, 3]), false);
}

#[test]
fn bits_are_the_same_everywhere_and_in_every_layout() {
    crate::register();
    for (c, x, k) in [
        (conv([1, 1], [1, 1], [1, 1], 1), [2, 40, 15, 14], 50),
        (conv([2, 2], [1, 1], [1, 1], 1), [3, 3, 60, 61], 20),
        (conv([1, 1], [1, 1], [1, 1], 40), [2, 40, 30, 31], 40),
    ] {
        let s = shapes(&c, x, k, [3, 3]);
        let [x, w, dy] = [(0, 1), (1, 2), (2, 3)].map(|(i, seed)| seeded(DType::F32, &s[i], seed));
        same_bits(|| {
            vec![
                run(ConvPass::Forward, &c, &x, &w, out_last(DType::F32, &s[2])),
                run(ConvPass::Input, &c, &dy, &w, out_last(DType::F32, &s[0])),
                run(ConvPass::Weight, &c, &x, &dy, out(DType::F32, &s[1])),
            ]
        });
        let want = bits(&run(ConvPass::Forward, &c, &x, &w, out_last(DType::F32, &s[2])));
        for x in layouts(&x) {
            assert!(bits(&run(ConvPass::Forward, &c, &x, &w, out_last(DType::F32, &s[2]))) == want);
        }
    }
}
