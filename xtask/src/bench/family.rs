//! The workloads with their bars, and which of them share a process.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The workloads of a family by how their names begin. Steps of training and whatever is not listed stand alone, since the
/// peak memory of a process with several workloads would say nothing of one.
const FAMILIES: &[(&str, &[&str])] = &[
    ("gemm", &["gemm_"]),
    ("elementwise", &["add_", "exp_", "gelu_", "chain_"]),
    ("rows", &["softmax_", "xent_", "sum_", "max_", "argmax_", "layernorm_"]),
    ("planes", &["batchnorm_", "maxpool2_", "nchw_", "transpose_", "broadcast_"]),
    ("gathers", &["embedding_", "index_", "scatter_", "cat_"]),
    ("order", &["sort_", "topk100_", "cumsum_", "randn_"]),
    ("convolutions", &["conv"]),
    ("inference", &["infer_"]),
];

/// Workloads that share a process.
pub(super) struct Family {
    pub(super) name: String,
    pub(super) workloads: Vec<String>,
}

/// The families of these workloads, in their order.
pub(super) fn of<'a>(workloads: impl Iterator<Item = &'a str>) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for workload in workloads {
        let name = family_of(workload);
        match families.iter_mut().find(|f| f.name == name) {
            Some(family) => family.workloads.push(workload.to_string()),
            None => families.push(Family { name, workloads: vec![workload.to_string()] }),
        }
    }
    families
}

fn family_of(workload: &str) -> String {
    if let Some(model) = workload.strip_prefix("train_").or_else(|| workload.strip_prefix("opt_")) {
        return format!("train_{model}");
    }
    let family = FAMILIES.iter().find(|(_, starts)| starts.iter().any(|start| workload.starts_with(start)));
    family.map_or(workload, |(name, _)| name).to_string()
}

/// How many times faster than a peer Esker is to be.
#[derive(Clone, Copy)]
pub(super) struct Bars {
    pub(super) torch: Option<f64>,
    pub(super) best: Option<f64>,
}

/// The bars of all workloads, for one thread.
pub(super) struct Targets(Vec<(String, Bars)>);

impl Targets {
    /// From `targets.json`.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let all: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let all = all.as_object().context("targets.json holds no object")?;
        let bars = |v: &Value| Bars { torch: v[0].as_f64(), best: v[1].as_f64() };
        let mut all: Vec<(String, Bars)> =
            all.iter().filter(|(_, v)| v.is_array()).map(|(name, v)| (name.clone(), bars(v))).collect();
        // Objects come sorted by name; the file's order is by subject.
        all.sort_by_key(|(name, _)| text.find(&format!("\"{name}\"")));
        Ok(Self(all))
    }

    /// The workloads in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The bars of a workload: at several threads nine tenths of those for one, but not below 1 where they are at least 1.
    pub(super) fn bars(&self, workload: &str, threads: usize) -> Option<Bars> {
        let (_, bars) = self.0.iter().find(|(name, _)| name == workload)?;
        let at = |bar: Option<f64>| bar.map(|bar| if threads == 1 { bar } else { (0.9 * bar).max(bar.min(1.0)) });
        Some(Bars { torch: at(bars.torch), best: at(bars.best) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_optimiser_shares_the_process_of_its_training_and_no_training_that_of_another() {
        let families = of(["gemm_a_fwd", "train_mlp", "train_gpt", "opt_mlp", "gemm_b_fwd", "decode"].into_iter());
        let text: Vec<String> = families.iter().map(|f| format!("{}: {}", f.name, f.workloads.join(" "))).collect();
        let wanted =
            ["gemm: gemm_a_fwd gemm_b_fwd", "train_mlp: train_mlp opt_mlp", "train_gpt: train_gpt", "decode: decode"];
        assert_eq!(text, wanted);
    }

    #[test]
    fn bars_are_lower_at_two_threads_but_not_below_one() {
        let targets = Targets::read(&crate::root().join("bench/targets.json")).unwrap();
        let bars = |threads| targets.bars("gemm_1024x1024x1024_fwd", threads).unwrap();
        assert_eq!((bars(1).torch, bars(1).best), (Some(2.2), Some(0.97)));
        assert_eq!((bars(2).torch, bars(2).best), (Some(2.2 * 0.9), Some(0.97)));
        assert!(targets.bars("sort_1e6_fwd", 1).unwrap().best.is_none());
        assert_eq!(targets.names().count(), 104);
    }
}
