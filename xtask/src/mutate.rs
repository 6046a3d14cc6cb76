//! `cargo xtask mutate`: proof that the tests bite. Each mutant is one wrong line in a copy of the workspace; a mutant
//! that no test notices is a failure of the tests.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::{cargo, root};

/// One wrong line: a name, the file, what stands there and what is put in its place.
struct Mutant {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

impl Mutant {
    /// Its file in `tree` with the wrong line.
    fn applied(&self, tree: &Path) -> Result<String> {
        let text = std::fs::read_to_string(tree.join(self.file)).with_context(|| self.file.to_owned())?;
        if text.matches(self.from).count() != 1 {
            bail!("`{}` must stand exactly once in {}; mend the mutant {:?}", self.from, self.file, self.name);
        }
        Ok(text.replace(self.from, self.to))
    }
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "scan gradient runs the wrong way",
        file: "crates/ops/src/op/scan.rs",
        from: "cumsum(self.dim, !self.reverse)",
        to: "cumsum(self.dim, self.reverse)",
    },
    Mutant {
        name: "product rule loses a term",
        file: "crates/ops/src/scalar/dual.rs",
        from: "plus(along!(self.d, |d| d * o.v), along!(o.d, |d| d * self.v))",
        to: "along!(self.d, |d| d * o.v)",
    },
    Mutant {
        name: "permuted views swap two strides",
        file: "crates/tensor/src/layout.rs",
        from: "strides: order.iter().map(|&d| self.strides[d as usize]).collect(),",
        to: "strides: order.iter().rev().map(|&d| self.strides[d as usize]).collect(),",
    },
    Mutant {
        name: "broadcast gradients are not summed",
        file: "crates/ops/src/map.rs",
        from: "grads[wrt] = Some(if dx.meta().shape == *shape { dx } else { sum_to(&dx, shape)? });",
        to: "let _ = shape;\n            grads[wrt] = Some(dx);",
    },
    Mutant {
        name: "softmax gradient forgets the row sum",
        file: "crates/ops/src/op/softmax.rs",
        from: "|y, dy, d| y.mul(&dy.sub(&y.mul(dy)?.sum(d, true)?)?);",
        to: "|y, dy, d| { let _ = d; y.mul(dy) };",
    },
    Mutant {
        name: "mean gradient is not divided",
        file: "crates/ops/src/op/reduce.rs",
        from: "let scale = V::scalar(1.0 / count as f64, x.dtype, x.device)?;",
        to: "let scale = V::scalar((count as f64).min(1.0), x.dtype, x.device)?;",
    },
    Mutant {
        name: "slices start one late",
        file: "crates/tensor/src/layout.rs",
        from: "out.offset = (self.offset as isize + start as isize * self.strides[dim]) as usize;",
        to: "out.offset = (self.offset as isize + (start as isize + 1).min(self.shape[dim] as isize - 1) * self.strides[dim]) as usize;",
    },
    Mutant {
        name: "gradients overwrite instead of adding",
        file: "crates/autograd/src/grad.rs",
        from: "Some(sum) => add(sum, &grad, self.options.create_graph)?,",
        to: "Some(_) => grad,",
    },
    Mutant {
        name: "the tape forgets no_grad",
        file: "crates/autograd/src/dispatch.rs",
        from: "let taped = is_grad_enabled() && inputs",
        to: "let taped = inputs",
    },
    Mutant {
        name: "where sends both gradients to one side",
        file: "crates/ops/src/op/compare.rs",
        from: "2 => cond.where_cond(&zero, dy)?,",
        to: "2 => cond.where_cond(dy, &zero)?,",
    },
    Mutant {
        name: "scalars promote like tensors",
        file: "crates/ops/src/exec.rs",
        from: "(Some(t), Some(s)) if category(s) > category(t) => s,",
        to: "(Some(t), Some(s)) => t.promote(s),",
    },
    Mutant {
        name: "export writes softmax over the wrong axis",
        file: "crates/ops/src/op/softmax.rs",
        from: "OnnxNode::new($onnx, vec![OnnxRef::In(0)]).attr(\"axis\", OnnxAttr::Int(dim)).into()",
        to: "OnnxNode::new($onnx, vec![OnnxRef::In(0)]).attr(\"axis\", OnnxAttr::Int(dim.min(0))).into()",
    },
    Mutant {
        name: "conv groups are ignored in the weight gradient",
        file: "crates/ops/src/op/convolution.rs",
        from: "_ => cx.x(0)?.convolution_weight_grad(dy, self.conv, [ws[2], ws[3]]),",
        to: "_ => cx.x(0)?.convolution_weight_grad(dy, crate::kernel::Conv2d { dilation: [1, 1], ..self.conv }, [ws[2], ws[3]]),",
    },
];

/// Runs every mutant whose name contains `only`.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    let copy = root().join("target/mutate/tree");
    prepare(&copy)?;
    let failing = failing_tests(&copy)?;
    if !failing.is_empty() {
        bail!("the tests fail without a mutant; mend that first: {}", failing.join("; "));
    }
    let mut survivors = Vec::new();
    for mutant in MUTANTS.iter().filter(|m| only.is_none_or(|o| m.name.contains(o))) {
        prepare(&copy)?;
        std::fs::write(copy.join(mutant.file), mutant.applied(&copy)?)?;
        let failing = failing_tests(&copy).with_context(|| format!("the mutant {:?}", mutant.name))?;
        match failing.first() {
            Some(first) => println!("noticed  {} ({} tests, first {first})", mutant.name, failing.len()),
            None => {
                println!("SURVIVES {}", mutant.name);
                survivors.push(mutant.name);
            }
        }
    }
    if survivors.is_empty() { Ok(()) } else { bail!("no test notices: {}", survivors.join("; ")) }
}

/// Copies the tracked files, leaving unchanged ones alone so that little is built again, and takes away what an earlier
/// copy had besides.
fn prepare(copy: &Path) -> Result<()> {
    let listing = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output()?;
    let listing = String::from_utf8(listing.stdout)?;
    let tracked = || listing.split('\0').filter(|n| !n.is_empty()).filter(|n| root().join(n).is_file());
    for name in tracked() {
        let (from, to): (PathBuf, PathBuf) = (root().join(name), copy.join(name));
        if std::fs::read(&from)? != std::fs::read(&to).unwrap_or_default() {
            std::fs::create_dir_all(to.parent().unwrap_or(copy))?;
            std::fs::copy(&from, &to)?;
        }
    }
    take_away(copy, &tracked().map(|name| copy.join(name)).collect())
}

/// Removes the files below a folder that are not among those to keep; Cargo.lock stays, which the copy may have made.
fn take_away(folder: &Path, keep: &HashSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            take_away(&path, keep)?;
        } else if !keep.contains(&path) && path.file_name() != Some("Cargo.lock".as_ref()) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The names of the failing tests in the copy. A copy that does not build is an error: the compiler would have noticed
/// that mutant, and it says nothing about the tests.
fn failing_tests(copy: &Path) -> Result<Vec<String>> {
    let tests = |args: &[&str]| {
        let mut cargo = cargo();
        cargo.args(["test", "--quiet", "--test", "main"]).args(args).current_dir(copy);
        cargo.env("CARGO_TARGET_DIR", root().join("target/mutate/build")).stderr(Stdio::piped()).output()
    };
    let build = tests(&["--no-run"])?;
    if !build.status.success() {
        bail!("does not build:\n{}", String::from_utf8_lossy(&build.stderr));
    }
    let run = tests(&[])?;
    let text = String::from_utf8_lossy(&run.stdout);
    let listed = text.rsplit("\nfailures:\n").next().unwrap_or_default().lines();
    let names: Vec<String> = listed.take_while(|l| l.starts_with("    ")).map(|l| l.trim().to_owned()).collect();
    match (run.status.success(), names.is_empty()) {
        (true, _) => Ok(Vec::new()),
        (false, true) => Ok(vec!["a test that ended the process".to_owned()]),
        (false, false) => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    /// Else the mutants would be found to be out of date by those who run them, which takes long.
    #[test]
    fn every_mutant_finds_its_line() {
        for mutant in super::MUTANTS {
            assert!(mutant.applied(&crate::root()).is_ok_and(|wrong| wrong.contains(mutant.to)), "{}", mutant.name);
        }
    }
}
