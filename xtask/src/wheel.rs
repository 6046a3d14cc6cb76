//! `cargo xtask wheel`: the Python package, built, installed apart from the sources, and tested.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::test::pinned;
use crate::{root, succeed};

/// The largest wheel in bytes.
const LARGEST: u64 = 15 << 20;
/// The environment of the tools and tests, and its pins.
const PINS: &str = "python/requirements.txt";

/// Builds the wheel, stripped and optimised, and returns its path.
pub(crate) fn build() -> Result<PathBuf> {
    let python = pinned("wheel-venv", PINS)?;
    let out = root().join("target/wheels");
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    succeed(
        Command::new(&python)
            .args(["-m", "maturin", "build", "--release", "--quiet", "--manifest-path", "python/Cargo.toml", "--out"])
            .arg(&out),
    )?;
    let wheels: Vec<PathBuf> = std::fs::read_dir(&out)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    let [wheel] = &wheels[..] else { bail!("one wheel was expected in {}, found {wheels:?}", out.display()) };
    let bytes = std::fs::metadata(wheel)?.len();
    if bytes > LARGEST {
        bail!("{} has {bytes} bytes, at most {LARGEST} are wanted", wheel.display());
    }
    Ok(wheel.clone())
}

/// Builds the wheel, installs it where the sources are not seen, and runs the Python tests and examples there.
pub(crate) fn test() -> Result<()> {
    let wheel = build()?;
    let python = pinned("wheel-venv", PINS)?;
    let install = ["-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps"];
    succeed(Command::new(&python).args(install).arg(&wheel))?;
    let tests = root().join("python/tests");
    let status = Command::new(&python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(&tests)
        .current_dir(root().join("target"))
        .status()
        .context("pytest could not be started")?;
    if !status.success() {
        bail!("the Python tests failed with {status}");
    }
    let checked = ["python/esker/_esker.pyi", "python/tests/typed.py"];
    for file in checked {
        succeed(Command::new(&python).args([
            "-m",
            "mypy",
            "--follow-imports=silent",
            "--cache-dir=target/mypy",
            file,
        ]))?;
    }
    crate::examples::python(&python)
}
