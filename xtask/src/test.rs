//! `cargo xtask test`: each step by name, with its time; it stops at the first that fails.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{cargo, root, succeed};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", || succeed(cargo().args(["fmt", "--all", "--check"]))),
    ("lints", || {
        succeed(cargo().args(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]))
    }),
    ("generated", || crate::stubs::run(true)),
    ("ops", || crate::listing::rows().map(|rows| println!("{} ops", rows.len()))),
    ("docs", || {
        succeed(cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("tests", tests),
    ("cuda", cuda),
    ("package", || succeed(cargo().args(["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]))),
    ("python", python),
    ("examples", crate::examples::rust),
    ("wheel", crate::wheel::test),
];

/// Runs the steps whose name contains `only`.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    for (name, step) in STEPS.iter().filter(|(name, _)| only.is_none_or(|o| name.contains(o))) {
        println!("== {name}");
        let start = Instant::now();
        step().with_context(|| format!("step `{name}`"))?;
        println!("== {name} holds ({:.0} s)", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// What independent programs say of the exported files: onnx.checker and ONNX Runtime.
fn python() -> Result<()> {
    let python = environment()?;
    let out = root().join("target/onnx-ops");
    succeed(
        cargo()
            .args([
                "run",
                "--quiet",
                "--release",
                "-p",
                "esker-onnx",
                "--features",
                "spec",
                "--example",
                "export_ops",
                "--",
            ])
            .arg(&out),
    )?;
    succeed(Command::new(&python).arg("xtask/python/check_onnx.py").arg(&out))
}

/// All of Rust's tests but those of kernels, which have a step of their own.
fn tests() -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--workspace", "--all-features"]).env("ESKER_CUDA", "none");
    if HAS_NVRTC {
        pinned("cuda-venv", "xtask/cuda-requirements.txt")?;
        test.env("ESKER_REQUIRE", "nvrtc").env("VIRTUAL_ENV", root().join("target/cuda-venv"));
    }
    succeed(&mut test)
}

/// Whether NVIDIA's run-time compiler is to be had here.
const HAS_NVRTC: bool = cfg!(any(target_os = "linux", windows));

/// Kernels without a GPU: they compute on the CPU what they should, and each that the tests ask for is compiled for GPUs.
fn cuda() -> Result<()> {
    let target = root().join("target");
    let texts = target.join("cuda-texts");
    if texts.exists() {
        std::fs::remove_dir_all(&texts)?;
    }
    let mut test = cargo();
    // The same packages and features as in the step `tests`, so that nothing is built anew.
    test.args(["test", "--workspace", "--all-features"])
        .args(["table", "rows", "moves", "cuda"].iter().flat_map(|test| ["--test", test]))
        .env("ESKER_CUDA", "emulated")
        .env("ESKER_CUDA_CACHE", target.join("cuda-cache"))
        .env("ESKER_CUDA_TEXTS", &texts);
    succeed(test.env("ESKER_REQUIRE", "cuda"))?;
    if !HAS_NVRTC {
        println!("NVIDIA's compiler is not to be had here");
        return Ok(());
    }
    let python = pinned("cuda-venv", "xtask/cuda-requirements.txt")?;
    succeed(Command::new(&python).arg("xtask/python/check_cuda.py").arg(&texts).arg("target/cuda-checked"))
}

/// A virtual environment under `target/` with the pinned packages; made once for each list of pins.
pub(crate) fn environment() -> Result<PathBuf> {
    pinned("venv", "xtask/requirements.txt")
}

/// The Python of a virtual environment `target/<name>` with the packages of a file; made once for each list of pins.
pub(crate) fn pinned(name: &str, file: &str) -> Result<PathBuf> {
    let pins = std::fs::read_to_string(root().join(file)).with_context(|| file.to_owned())?;
    let venv = root().join("target").join(name);
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let stamp = venv.join("pins.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == pins) && works(&python) {
        return Ok(python);
    }
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r", file]))?;
    std::fs::write(&stamp, pins)?;
    Ok(python)
}

fn works(python: &Path) -> bool {
    Command::new(python).arg("--version").output().is_ok_and(|o| o.status.success())
}
