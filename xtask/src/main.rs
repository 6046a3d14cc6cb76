//! Chores of the Esker workspace.

mod bench;
mod examples;
mod gpu;
mod listing;
mod mutate;
#[allow(dead_code)] // The extension uses all of it.
#[path = "../../python/src/rows.rs"]
mod rows;
mod stubs;
mod test;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use esker_ops as ops;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the Esker workspace")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Format, lints, Rust tests, doc tests, Python checks: everything that must hold before a commit.
    Test {
        /// Only the steps whose name contains this.
        #[arg(long)]
        only: Option<String>,
    },
    /// The op table: one line an op, or JSON.
    Ops {
        /// An array with one object per op.
        #[arg(long)]
        json: bool,
    },
    /// Writes what is generated and committed: the stub of the Python package.
    Gen,
    /// Builds the Python package into target/wheels.
    Wheel,
    /// Runs the workloads of bench/targets.json and its peers in turn, and prints times, ratios and bars.
    Bench(bench::Args),
    /// Builds an archive that tests and times the CUDA backend on a machine with a GPU and without Rust.
    GpuBundle,
    /// Breaks the code in known ways, one at a time, and requires the tests to notice each.
    Mutate {
        /// Only the mutants whose name contains this.
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> Result<()> {
    match Args::parse().chore {
        Chore::Test { only } => test::run(only.as_deref()),
        Chore::Ops { json } => listing::run(json),
        Chore::Gen => stubs::run(false),
        Chore::Wheel => wheel::build().map(|wheel| println!("{}", wheel.display())),
        Chore::Bench(args) => bench::run(&args),
        Chore::GpuBundle => gpu::bundle().map(|archive| println!("{}", archive.display())),
        Chore::Mutate { only } => mutate::run(only.as_deref()),
    }
}

/// The workspace's root folder.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that runs this chore.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command in the workspace root and fails with its words when it fails.
fn succeed(command: &mut Command) -> Result<()> {
    let words = format!("{command:?}");
    let status = command.current_dir(root()).status().with_context(|| format!("{words} could not be started"))?;
    if !status.success() {
        bail!("{words} failed with {status}");
    }
    Ok(())
}
