//! Operations by themselves.
use bench_common::{Bench, CONVS, GEMMS, SIZES};
use candle_core::{D, Result, Tensor, Var};
use candle_nn::{loss::cross_entropy, ops};

use crate::{DEVICE, integers, normal};

/// Forward on plain tensors, then forward and backward with each input a variable. What has no gradient is left out.
fn both(
    b: &Bench,
    name: &str,
    make: impl Fn() -> Result<Vec<Tensor>>,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    apart(b, name, make, &f, &f)
}

/// As `both`, where the forward pass by itself is another function.
fn apart(
    b: &Bench,
    name: &str,
    make: impl Fn() -> Result<Vec<Tensor>>,
    forward: impl Fn(&[Tensor]) -> Result<Tensor>,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    if !b.wants_pair(name) {
        return Ok(());
    }
    let inputs = make()?;
    b.run(&format!("{name}_fwd"), || forward(&inputs));
    let name = format!("{name}_fwdbwd");
    if b.wants(&name) {
        let inputs: Vec<Tensor> =
            inputs.iter().map(|t| Ok(Var::from_tensor(t)?.as_tensor().clone())).collect::<Result<_>>()?;
        if f(&inputs)?.backward().is_ok() {
            b.run(&name, || f(&inputs)?.backward());
        }
    }
    Ok(())
}

fn forward(
    b: &Bench,
    name: &str,
    make: impl Fn() -> Result<Tensor>,
    f: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    if b.wants(name) {
        let x = make()?;
        b.run(name, || f(&x));
    }
    Ok(())
}

pub fn run(b: &Bench) -> Result<()> {
    for (m, k, n) in GEMMS {
        both(b, &format!("gemm_{m}x{k}x{n}"), || Ok(vec![normal(&[m, k])?, normal(&[k, n])?]), |x| x[0].matmul(&x[1]))?;
    }
    for (n, s) in SIZES {
        let x = || Ok(vec![normal(&[n])?]);
        both(b, &format!("add_{s}"), || Ok(vec![normal(&[n])?, normal(&[n])?]), |x| &x[0] + &x[1])?;
        both(b, &format!("exp_{s}"), x, |x| x[0].exp())?;
        both(b, &format!("gelu_{s}"), x, |x| x[0].gelu_erf())?;
        both(b, &format!("chain_{s}"), x, |x| x[0].affine(2.0, 1.0)?.relu()?.sum_all())?;
    }
    rows(b)?;
    planes(b)?;
    gathers(b)?;
    convolutions(b)
}

fn rows(b: &Bench) -> Result<()> {
    let x = || Ok(vec![normal(&[4096, 1024])?]);
    // The fused softmax and layer norm have no gradient.
    apart(b, "softmax_4096x1024", x, |x| ops::softmax_last_dim(&x[0]), |x| ops::softmax(&x[0], D::Minus1))?;
    let classes = integers(1024, &[4096])?;
    both(b, "xent_4096x1024", x, |x| cross_entropy(&x[0], &classes))?;
    both(b, "sum_all_4096x1024", x, |x| x[0].sum_all())?;
    both(b, "sum_rows_4096x1024", x, |x| x[0].sum(1))?;
    both(b, "sum_cols_4096x1024", x, |x| x[0].sum(0))?;
    both(b, "max_rows_4096x1024", x, |x| x[0].max(1))?;
    forward(b, "argmax_rows_4096x1024_fwd", || normal(&[4096, 1024]), |x| x.argmax(1))?;
    apart(
        b,
        "layernorm_4096x768",
        || Ok(vec![normal(&[4096, 768])?, normal(&[768])?, normal(&[768])?]),
        |x| ops::layer_norm(&x[0], &x[1], &x[2], 1e-5),
        |x| ops::layer_norm_slow(&x[0], &x[1], &x[2], 1e-5),
    )
}

fn planes(b: &Bench) -> Result<()> {
    let shape = [32, 64, 56, 56];
    both(b, "maxpool2_32x64x56x56", || Ok(vec![normal(&shape)?]), |x| x[0].max_pool2d(2))?;
    forward(b, "nchw_to_nhwc_32x64x56x56_fwd", || normal(&shape), |x| x.permute((0, 2, 3, 1))?.contiguous())?;
    forward(b, "transpose_4096_fwd", || normal(&[4096, 4096]), |x| x.t()?.contiguous())?;
    forward(b, "broadcast_add_4096_fwd", || normal(&[4096, 4096]), |x| x.broadcast_add(&x.get(0)?))
}

fn gathers(b: &Bench) -> Result<()> {
    let places = integers(10_000, &[8192])?;
    both(b, "embedding_10000x256_8192", || Ok(vec![normal(&[10_000, 256])?]), |w| w[0].index_select(&places, 0))?;
    let places = integers(100_000, &[50_000])?;
    both(b, "index_select_100000x64_50000", || Ok(vec![normal(&[100_000, 64])?]), |w| w[0].index_select(&places, 0))?;
    let table = || normal(&[100_000, 64])?.zeros_like();
    let rows = normal(&[50_000, 64])?;
    forward(b, "scatter_add_100000x64_50000_fwd", table, |z| z.index_add(&places, &rows, 0))?;
    both(b, "cat_8x1024x512", || (0..8).map(|_| normal(&[1024, 512])).collect(), |x| Tensor::cat(x, 1))?;
    forward(b, "sort_1e6_fwd", || normal(&[1_000_000]), |x| Ok(x.sort_last_dim(true)?.0))?;
    forward(b, "cumsum_rows_1024x1024_fwd", || normal(&[1024, 1024]), |x| x.cumsum(1))?;
    forward(b, "randn_1e6_fwd", || Tensor::zeros(1, candle_core::DType::F32, DEVICE), |_| normal(&[1_000_000]))
}

fn convolutions(b: &Bench) -> Result<()> {
    for c in CONVS {
        if !b.wants_pair(c.name) {
            continue;
        }
        let x = normal(&[32, c.inputs, c.side, c.side])?;
        let w = normal(&[c.outputs, c.inputs / c.groups, c.kernel, c.kernel])?;
        b.run_for(&format!("{}_fwd", c.name), 2.0, || x.conv2d(&w, c.padding, c.stride, 1, c.groups));
        let name = format!("{}_fwdbwd", c.name);
        if b.wants(&name) {
            let w = Var::from_tensor(&w)?;
            // Nobody asks for the gradient of a picture.
            let x = if c.inputs == 3 { x } else { Var::from_tensor(&x)?.as_tensor().clone() };
            b.run_for(&name, 2.0, || x.conv2d(&w, c.padding, c.stride, 1, c.groups)?.backward());
        }
    }
    Ok(())
}
