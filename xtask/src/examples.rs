//! The examples, in short: each trains in Rust and in Python, and ONNX Runtime holds its file against what it saw.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::test::environment;
use crate::{cargo, root, succeed};

/// The examples that end in an ONNX file, and how to make them short.
const SHIPPING: &[(&str, &[&str])] = &[
    ("digits", &["--epochs", "3"]),
    ("mnist_cnn", &["--quick"]),
    ("char_gpt", &["--quick"]),
    ("char_lstm", &["--quick"]),
    ("adult_mlp", &["--quick"]),
    ("unet", &["--quick"]),
];
/// Those that have a twin in `python/examples`.
const TWINS: &[&str] = &["mnist_cnn", "char_gpt", "char_lstm", "adult_mlp", "unet"];

/// Runs the examples in Rust, optimised as users run them.
pub(crate) fn rust() -> Result<()> {
    let mut folders = Vec::new();
    for (name, arguments) in SHIPPING {
        let folder = root().join("target/examples").join(name);
        println!("-- {name}");
        let run = ["run", "--quiet", "--release", "--example", name, "--", "--out"];
        succeed(cargo().args(run).arg(&folder).args(*arguments))?;
        folders.push(folder);
    }
    check(&folders)
}

/// Runs the twins with a Python that has the package.
pub(crate) fn python(python: &Path) -> Result<()> {
    let mut folders = Vec::new();
    for name in TWINS {
        let folder = root().join("target/examples-python").join(name);
        println!("-- {name}.py");
        let program = root().join("python/examples").join(format!("{name}.py"));
        succeed(Command::new(python).arg(program).arg("--quick").arg("--out").arg(&folder))?;
        folders.push(folder);
    }
    check(&folders)
}

fn check(folders: &[PathBuf]) -> Result<()> {
    succeed(Command::new(environment()?).arg("xtask/python/check_example.py").args(folders))
}
