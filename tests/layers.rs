//! The arrows between crates are exactly those that ARCHITECTURE.md draws.

use std::collections::BTreeSet;
use std::process::Command;

/// Who may see whom (ARCHITECTURE.md, "Crate map").
const ARROWS: &[(&str, &[&str])] = &[
    ("esker-tensor", &[]),
    ("esker-ops", &["esker-tensor"]),
    ("esker-cpu", &["esker-ops", "esker-tensor"]),
    ("esker-cuda", &["esker-kernels", "esker-ops", "esker-tensor"]),
    ("esker-kernels", &[]),
    ("esker-graph", &["esker-ops", "esker-tensor"]),
    ("esker-autograd", &["esker-ops", "esker-tensor", "esker-graph", "esker-cpu"]),
    ("esker-nn", &["esker-autograd", "esker-nn-derive", "esker-ops", "esker-tensor"]),
    ("esker-nn-derive", &[]),
    ("esker-data", &["esker-autograd", "esker-nn", "esker-ops", "esker-tensor"]),
    ("esker-onnx", &["esker-graph", "esker-ops", "esker-tensor"]),
    (
        "esker",
        &[
            "esker-autograd",
            "esker-cpu",
            "esker-cuda",
            "esker-data",
            "esker-graph",
            "esker-nn",
            "esker-onnx",
            "esker-ops",
            "esker-tensor",
        ],
    ),
    ("esker-bench", &["esker"]),
    ("esker-python", &["esker"]),
    ("xtask", &["esker-ops"]),
];

fn metadata() -> serde_json::Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn crates_see_only_what_they_may() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ARROWS.iter().map(|a| a.0).collect(), "a crate is missing from the map");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let allowed = ARROWS.iter().find(|a| a.0 == name).unwrap().1;
        for dependency in package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null()) {
            let dependency = dependency["name"].as_str().unwrap();
            if names.contains(dependency) {
                assert!(allowed.contains(&dependency), "{name} must not see {dependency}");
            }
            assert!(dependency != "cudarc" || name == "esker-cuda", "only esker-cuda names cudarc");
            assert!(dependency != "pyo3" || name == "esker-python", "only the Python package names pyo3");
        }
    }
}

#[test]
fn every_crate_can_be_published() {
    for package in metadata()["packages"].as_array().unwrap() {
        if package["publish"].as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        for key in ["description", "license", "repository", "readme"] {
            assert!(package[key].is_string(), "{} lacks `{key}`", package["name"]);
        }
    }
}

#[test]
fn unsafe_code_stays_where_it_is_allowed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inner = path.strip_prefix(root.join("crates")).unwrap().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains("allow(unsafe_code)") {
                    found.push(inner);
                }
            }
        }
    }
    found.retain(|f| !["cpu/", "cuda/"].iter().any(|part| f.starts_with(part)) && f != "tensor/src/storage.rs");
    assert!(found.is_empty(), "unsafe code is allowed in {found:?}");
}
