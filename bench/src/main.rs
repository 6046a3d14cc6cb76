//! The workloads of `targets.json`, one JSON line each, in the form that every peer prints:
//! `{"workload": .., "peer": "esker", "threads": .., "median_s": .., "min_s": .., "extra": {..}}`.
//!
//! Usually started by `cargo xtask bench`; alone: `cargo run --release -p esker-bench -- --only '^gemm'`.

mod bench;
mod conv;
mod data;
mod elementwise;
mod gather;
mod gemm;
mod gpu;
mod infer;
mod limit;
mod net;
mod norm;
mod order;
mod plane;
mod process;
mod rows;
mod train;

use std::process::ExitCode;

use bench::Bench;
use clap::Parser;
use esker::prelude::*;
use regex::Regex;

/// Times Esker's side of the benchmark suite and prints a JSON line per workload.
#[derive(Parser)]
struct Args {
    /// Threads of the compute pool
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Only workloads whose name this regular expression finds
    #[arg(long, default_value = "")]
    only: Regex,
    /// But not those whose name this one finds
    #[arg(long, default_value = "^$")]
    skip: Regex,
    /// Seconds of samples per workload; steps of training and other long ones take up to four times as long
    #[arg(long, default_value_t = 1.0)]
    budget: f64,
    /// Measure what the machine can do at most, and nothing else
    #[arg(long)]
    limit: bool,
    /// The workloads of GPUs on the one with this number
    #[arg(long)]
    gpu: Option<u32>,
}

/// A family of workloads.
type Family = (&'static str, fn(&Bench) -> Result<()>);

const FAMILIES: &[Family] = &[
    ("gemm", gemm::run),
    ("elementwise", elementwise::run),
    ("rows", rows::run),
    ("norm", norm::run),
    ("plane", plane::run),
    ("gather", gather::run),
    ("order", order::run),
    ("conv", conv::run),
    ("train", train::run),
    ("infer", infer::run),
];

fn main() -> ExitCode {
    let args = Args::parse();
    esker::set_num_threads(args.threads);
    esker::manual_seed(0);
    let device = match args.gpu.map(esker::cuda).transpose() {
        Ok(device) => device.unwrap_or_default(),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let bench = Bench::new(args.threads, args.budget, args.only, args.skip, device);
    if args.limit {
        limit::run(&bench);
        return ExitCode::SUCCESS;
    }
    let on_gpu: &[Family] = &[("gpu", gpu::run)];
    let families = if device == Device::Cpu { FAMILIES } else { on_gpu };
    for (name, family) in families {
        if let Err(error) = family(&bench) {
            bench.failed(name, &error);
        }
    }
    if bench.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
