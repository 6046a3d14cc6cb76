//! The programs that are measured: Esker's, and those under `bench/peers`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::test::pinned;
use crate::{cargo, root, succeed};

/// The packages of the environment that is made when none is given.
const PINS: &str = "bench/peers/requirements.txt";
/// Where models for the peers that run ONNX files lie.
const MODELS: &str = "target/bench/onnx";

/// Python peers: the name, and the packages that the program imports.
const PYTHON: &[(&str, &str)] = &[
    ("torch", "torch"),
    ("jax", "jax, numpy"),
    ("numpy", "numpy"),
    ("onnxruntime", "onnxruntime, numpy"),
    ("tensorflow", "tensorflow"),
    ("tinygrad", "tinygrad"),
];
/// Rust peers: the packages of the workspace in `bench/peers/rust`.
const RUST: &[&str] = &["candle", "burn", "tract", "gemm"];
/// Variables of the environment.
type Settings = &'static [(&'static str, &'static str)];

/// What makes another peer of one: its name, the variant's, and the settings that it runs with.
const VARIANTS: &[(&str, &str, Settings)] = &[
    // glibc keeps the memory it has, as Esker's pool does.
    ("torch", "keepheap", &[("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "100000000000")]),
    ("torch", "hugepages", &[("THP_MEM_ALLOC_ENABLE", "1")]),
    ("torch", "compile", &[]),
];

/// A program that can be run.
pub(super) struct Peer {
    pub(super) name: String,
    program: PathBuf,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
}

impl Peer {
    /// Esker's side, which has been built.
    pub(super) fn esker() -> Self {
        let program = root().join("target/release/esker-bench");
        Self { name: "esker".to_string(), program, arguments: Vec::new(), settings: Vec::new() }
    }

    /// The peer of this name, built or found installed.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub(super) fn ready(name: &str, python: Option<&Path>) -> Result<Self> {
        if RUST.contains(&name) {
            return Self::rust(name, python);
        }
        let (base, variant) = name.split_once('-').map_or((name, None), |(base, variant)| (base, Some(variant)));
        let Some((_, imports)) = PYTHON.iter().find(|(known, _)| *known == base) else {
            let known: Vec<&str> = PYTHON.iter().map(|(name, _)| *name).chain(RUST.iter().copied()).collect();
            bail!("the peers are {}", known.join(", "));
        };
        let python = interpreter(python)?;
        let version = version(&python, imports)?;
        let script = root().join(format!("bench/peers/bench_{base}.py"));
        let mut peer = Self {
            name: name.to_string(),
            program: python.clone(),
            arguments: vec![script.display().to_string()],
            settings: Vec::new(),
        };
        if let Some(variant) = variant {
            let found = VARIANTS.iter().find(|(of, known, _)| (*of, *known) == (base, variant));
            let (_, _, settings) = found.with_context(|| format!("{base} has no variant {variant}"))?;
            peer.settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            peer.arguments.extend(["--variant".to_string(), variant.to_string()]);
        }
        eprintln!("{name}: {base} {version}");
        if base == "onnxruntime" {
            peer.settings.push(models(&python)?);
        }
        Ok(peer)
    }

    fn rust(name: &str, python: Option<&Path>) -> Result<Self> {
        let package = format!("bench-{name}");
        eprintln!("building {package}");
        let place = ["--manifest-path", "bench/peers/rust/Cargo.toml", "--target-dir", "target/bench"];
        succeed(cargo().args(["build", "--release", "--quiet", "--locked", "-p", &package]).args(place))?;
        let settings = if name == "tract" { vec![models(&interpreter(python)?)?] } else { Vec::new() };
        let program = root().join("target/bench/release").join(package);
        Ok(Self { name: name.to_string(), program, arguments: Vec::new(), settings })
    }

    /// Runs the program; what it printed, and the last that it said when it ended badly.
    pub(super) fn run(&self, threads: usize, budget: f64, more: &[&str]) -> Result<(String, Option<String>)> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args(["--threads", &threads.to_string(), "--budget", &budget.to_string()])
            .args(more);
        command.envs(self.settings.iter().map(|(key, value)| (key, value))).current_dir(root());
        let output = command.output().with_context(|| format!("{} could not be started", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let failure = (!output.status.success()).then(|| last.map_or(output.status.to_string(), str::to_owned));
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), failure))
    }
}

/// The Python that was given, or that of an environment under `target/`.
fn interpreter(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        // As written: an environment is found by the path through which its Python is called.
        Some(python) => std::path::absolute(python).with_context(|| python.display().to_string()),
        None => pinned("bench-venv", PINS),
    }
}

/// The version of the first of some packages, when the interpreter can import all of them.
fn version(python: &Path, imports: &str) -> Result<String> {
    let first = imports.split(',').next().unwrap_or(imports);
    let code = format!("import {imports}; print(getattr({first}, '__version__', 'of some version'))");
    let output = Command::new(python).args(["-c", &code]).output();
    let output = output.with_context(|| format!("{} could not be started", python.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`import {imports}` fails in {}: {}", python.display(), said.lines().last().unwrap_or("no word").trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Exports the models for inference with PyTorch, once; the setting that says where they are.
fn models(python: &Path) -> Result<(String, String)> {
    let folder = root().join(MODELS);
    let done = folder.join("done");
    if !done.exists() {
        version(python, "torch, onnx").context("the models are exported with PyTorch")?;
        succeed(Command::new(python).arg("bench/peers/export_onnx.py").arg(&folder))?;
        std::fs::write(done, "")?;
    }
    Ok(("ONNX_DIR".to_string(), folder.display().to_string()))
}
