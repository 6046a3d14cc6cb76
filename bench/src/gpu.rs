//! Workloads of GPUs: `peers/bench_gpu_torch.py` has the same under the same names. Sizes are several times a second-level
//! cache, so that memory is what is measured where memory is the limit.

use esker::optim::AdamW;
use esker::prelude::*;
use esker::tensor::philox::next_key;

use crate::bench::{Bench, Pair, Work};
use crate::data::count;
use crate::train;

/// Types that are measured, and their sizes in bytes.
const TYPES: [(&str, DType, f64); 2] = [("f32", DType::F32, 4.0), ("bf16", DType::BF16, 2.0)];

pub(crate) fn run(bench: &Bench) -> Result<()> {
    host(bench)?;
    products(bench)?;
    elementwise(bench)?;
    moves(bench)?;
    rows(bench)?;
    gathers(bench)?;
    optimizer(bench)?;
    train::run_on_gpu(bench)
}

fn normal(bench: &Bench, shape: &[usize], dtype: DType) -> Result<Tensor> {
    Tensor::normal(0.0, 1.0, next_key(), shape, dtype, bench.device())
}

fn integers(bench: &Bench, high: i64, shape: &[usize]) -> Result<Tensor> {
    Tensor::randint(0, high, next_key(), shape, DType::I64, bench.device())
}

/// What an op costs the host: as many as the device keeps up with.
fn host(bench: &Bench) -> Result<()> {
    bench.pair(
        Pair::new("gpu_add_1", &[0, 1], Work::default()),
        || Ok(vec![normal(bench, &[1], DType::F32)?, normal(bench, &[1], DType::F32)?]),
        |x| x[0].add(&x[1]),
    )
}

fn products(bench: &Bench) -> Result<()> {
    for (name, dtype, size) in TYPES {
        for n in [1024, 2048, 4096, 8192] {
            let work = Work::new(2.0 * count(&[n, n, n]), 3.0 * size * count(&[n, n]));
            let workload = format!("gpu_gemm_{n}_{name}_fwd");
            if bench.wants(&workload) {
                let (a, b) = (normal(bench, &[n, n], dtype)?, normal(bench, &[n, n], dtype)?);
                bench.run(&workload, work, || a.matmul(&b));
            }
        }
    }
    Ok(())
}

fn elementwise(bench: &Bench) -> Result<()> {
    const N: usize = 1 << 27;
    for (name, dtype, size) in TYPES {
        let x = || Ok(vec![normal(bench, &[N], dtype)?]);
        let two = || Ok(vec![normal(bench, &[N], dtype)?, normal(bench, &[N], dtype)?]);
        let bytes = |times: f64| Work::new(0.0, times * size * count(&[N]));
        bench.pair(Pair::new(&format!("gpu_gelu_128Mi_{name}"), &[0], bytes(2.0)).both(bytes(5.0)), x, |x| {
            x[0].gelu()
        })?;
        bench.pair(Pair::new(&format!("gpu_add_128Mi_{name}"), &[], bytes(3.0)), two, |x| x[0].add(&x[1]))?;
    }
    let cast = "gpu_cast_128Mi_f32_bf16_fwd";
    if bench.wants(cast) {
        let x = normal(bench, &[N], DType::F32)?;
        bench.run(cast, Work::new(0.0, 6.0 * count(&[N])), || x.cast(DType::BF16));
    }
    Ok(())
}

fn moves(bench: &Bench) -> Result<()> {
    const SIDE: usize = 16_384;
    let n = count(&[SIDE, SIDE]);
    for (name, dtype, size) in TYPES {
        let bytes = Work::new(0.0, 2.0 * size * n);
        let square = || Ok(vec![normal(bench, &[SIDE, SIDE], dtype)?]);
        bench.pair(Pair::new(&format!("gpu_copy_16384_{name}"), &[], bytes), square, |x| {
            Ok(Tensor::from_array(x[0].array().copied()?))
        })?;
        bench
            .pair(Pair::new(&format!("gpu_transpose_16384_{name}"), &[], bytes), square, |x| x[0].t()?.contiguous())?;
        bench.pair(Pair::new(&format!("gpu_broadcast_add_16384_{name}"), &[], bytes), square, |x| {
            x[0].add(&x[0].select(0, 0)?)
        })?;
    }
    Ok(())
}

fn rows(bench: &Bench) -> Result<()> {
    for (name, dtype, size) in TYPES {
        let shape = [32_768, 4096];
        let n = count(&shape);
        let x = || Ok(vec![normal(bench, &shape, dtype)?]);
        let bytes = |times: f64| Work::new(0.0, times * size * n);
        bench.pair(
            Pair::new(&format!("gpu_softmax_32768x4096_{name}"), &[0], bytes(2.0)).both(bytes(5.0)),
            x,
            |x| x[0].softmax(1),
        )?;
        bench
            .pair(Pair::new(&format!("gpu_sum_all_32768x4096_{name}"), &[], bytes(1.0)), x, |x| x[0].sum((), false))?;
        bench
            .pair(Pair::new(&format!("gpu_sum_rows_32768x4096_{name}"), &[], bytes(1.0)), x, |x| x[0].sum(1, false))?;
        bench
            .pair(Pair::new(&format!("gpu_sum_cols_32768x4096_{name}"), &[], bytes(1.0)), x, |x| x[0].sum(0, false))?;
        bench.pair(Pair::new(&format!("gpu_argmax_rows_32768x4096_{name}"), &[], bytes(1.0)), x, |x| {
            x[0].argmax(1, false)
        })?;
        bench.pair(Pair::new(&format!("gpu_cumsum_rows_32768x4096_{name}"), &[], bytes(2.0)), x, |x| {
            x[0].cumsum(1, false)
        })?;
        let tokens = [65_536, 1024];
        let n = count(&tokens);
        let bytes = |times: f64| Work::new(0.0, times * size * n);
        bench.pair(
            Pair::new(&format!("gpu_layernorm_65536x1024_{name}"), &[0, 1, 2], bytes(2.0)).both(bytes(5.0)),
            || Ok(vec![normal(bench, &tokens, dtype)?, normal(bench, &[1024], dtype)?, normal(bench, &[1024], dtype)?]),
            |x| x[0].layer_norm(Some(&x[1]), Some(&x[2]), [1024], 1e-5),
        )?;
        let logits = [8192, 50_304];
        let n = count(&logits);
        let bytes = |times: f64| Work::new(0.0, times * size * n);
        bench.pair(
            Pair::new(&format!("gpu_xent_8192x50304_{name}"), &[0], bytes(1.0)).both(bytes(3.0)),
            || Ok(vec![normal(bench, &logits, dtype)?, integers(bench, 50_304, &[8192])?]),
            |x| cross_entropy(&x[0], &x[1]),
        )?;
    }
    Ok(())
}

fn gathers(bench: &Bench) -> Result<()> {
    let moved = Work::new(0.0, 8.0 * count(&[65_536, 768]));
    bench.pair(
        Pair::new("gpu_embedding_50304x768_65536_f32", &[0], moved),
        || Ok(vec![normal(bench, &[50_304, 768], DType::F32)?, integers(bench, 50_304, &[65_536])?]),
        |x| x[1].embedding(&x[0], None),
    )?;
    let sort = "gpu_sort_16Mi_f32_fwd";
    if bench.wants(sort) {
        let x = normal(bench, &[1 << 24], DType::F32)?;
        bench.run(sort, Work::new(0.0, 16.0 * count(&[1 << 24])), || x.sort(0, false, false));
    }
    let random = "gpu_randn_128Mi_f32_fwd";
    if bench.wants(random) {
        bench.run(random, Work::new(0.0, 4.0 * count(&[1 << 27])), || normal(bench, &[1 << 27], DType::F32));
    }
    Ok(())
}

/// AdamW over the parameters of a GPT-2 of 124 million.
fn optimizer(bench: &Bench) -> Result<()> {
    let name = "gpu_opt_adamw_124M";
    if !bench.wants(name) {
        return Ok(());
    }
    let layer: [&[usize]; 12] = [
        &[768],
        &[768],
        &[2304, 768],
        &[2304],
        &[768, 768],
        &[768],
        &[768],
        &[768],
        &[3072, 768],
        &[3072],
        &[768, 3072],
        &[768],
    ];
    let shapes = [&[50_304, 768][..], &[1024, 768]].into_iter().chain(std::iter::repeat_n(layer, 12).flatten());
    let parameters: Vec<Param> = shapes
        .map(|shape| {
            let param = Param::new(&normal(bench, shape, DType::F32)?)?;
            param.set_grad(normal(bench, shape, DType::F32)?)?;
            Ok(param)
        })
        .collect::<Result<_>>()?;
    let n: usize = parameters.iter().map(|p| p.shape().numel()).sum();
    let mut optimizer = AdamW::new(parameters, 1e-3);
    bench.run(name, Work::new(0.0, 28.0 * n as f64), || optimizer.step());
    Ok(())
}
