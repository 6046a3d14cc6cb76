//! One archive with all that a machine with a GPU, and without Rust, needs to test and to time the CUDA backend.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, root, succeed};

/// Tests that run on a GPU, and their packages.
const TESTS: [(&str, &str); 4] =
    [("table", "esker-cuda"), ("rows", "esker-cuda"), ("moves", "esker-cuda"), ("cuda", "esker")];
/// Scripts and bars.
const FILES: [&str; 5] = [
    "xtask/gpu/run-on-gpu.sh",
    "xtask/gpu/gpu_report.py",
    "xtask/gpu/gpu_targets.json",
    "bench/peers/bench_gpu_torch.py",
    "bench/peers/models_torch.py",
];
/// The most that the archive may have.
const MOST: u64 = 60 << 20;

/// Builds the folder `target/gpu-bundle` and `target/gpu-bundle.tar.gz`; gives the archive.
pub(crate) fn bundle() -> Result<PathBuf> {
    let folder = root().join("target/gpu-bundle");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let bench = built(&["build", "--release", "-p", "esker-bench", "--bin", "esker-bench"], "esker-bench")?;
    put(&bench, &folder.join("esker-bench"))?;
    for (test, package) in TESTS {
        let features: &[&str] = if package == "esker-cuda" { &["--features", "emulate"] } else { &[] };
        let arguments = [&["test", "--release", "-p", package, "--test", test, "--no-run"], features].concat();
        put(&built(&arguments, test)?, &folder.join(format!("test-{test}")))?;
    }
    for file in FILES {
        let name = Path::new(file).file_name().context("a file has a name")?;
        std::fs::copy(root().join(file), folder.join(name)).with_context(|| file.to_owned())?;
    }
    let archive = folder.with_extension("tar.gz");
    let target = root().join("target");
    succeed(Command::new("tar").arg("-C").arg(&target).arg("-czf").arg(&archive).arg("gpu-bundle"))?;
    let bytes = std::fs::metadata(&archive)?.len();
    if bytes > MOST {
        bail!("{} has {} MiB, of at most {}", archive.display(), bytes >> 20, MOST >> 20);
    }
    Ok(archive)
}

/// The program that a build makes, without symbols.
fn built(arguments: &[&str], name: &str) -> Result<PathBuf> {
    let out = cargo()
        .args(arguments)
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--config", "profile.release.strip=true"])
        .current_dir(root())
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !out.status.success() {
        bail!("{name} was not built");
    }
    let lines = String::from_utf8_lossy(&out.stdout).into_owned();
    let program = |line: &str| -> Option<PathBuf> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == name).then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    lines.lines().filter_map(program).next_back().with_context(|| format!("{name} made no program"))
}

fn put(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(|_| ()).with_context(|| format!("{} to {}", from.display(), to.display()))
}
