//! The JSON lines that every program of the suite prints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What a peer measured of a workload.
#[derive(Clone)]
pub(super) struct Line {
    /// Seconds: the median of the samples, or of the rounds' medians.
    pub(super) median: f64,
    least: f64,
    /// What else the peer says.
    pub(super) extra: Map<String, Value>,
}

impl Line {
    /// A number that the peer says besides.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.extra.get(name)?.as_f64()
    }

    /// What lines are ordered by: time, and memory where there is no time.
    fn size(&self) -> f64 {
        if self.median > 0.0 { self.median } else { self.number("peak_mb").unwrap_or(0.0) }
    }
}

/// A workload, threads, a peer.
type Key = (String, usize, String);

/// All lines of a run.
#[derive(Default)]
pub(super) struct Lines(BTreeMap<Key, Vec<Line>>);

impl Lines {
    /// Adds the lines of a program's output and returns their workloads. What is no line is passed over.
    pub(super) fn take(&mut self, text: &str) -> BTreeSet<String> {
        let mut given = BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            let Some((key, line)) = parse(&value) else { continue };
            given.insert(key.0.clone());
            self.0.entry(key).or_default().push(line);
        }
        given
    }

    /// The middle one of a workload's lines.
    pub(super) fn kept(&self, workload: &str, threads: usize, peer: &str) -> Option<Line> {
        middle(self.0.get(&(workload.to_string(), threads, peer.to_string()))?)
    }

    /// The numbers of threads that were measured.
    pub(super) fn threads(&self) -> BTreeSet<usize> {
        self.0.keys().map(|(_, threads, _)| *threads).collect()
    }

    /// The peers that have a line.
    pub(super) fn peers(&self) -> BTreeSet<&str> {
        self.0.keys().map(|(_, _, peer)| peer.as_str()).collect()
    }

    /// The workloads that have a line.
    pub(super) fn workloads(&self) -> BTreeSet<&str> {
        self.0.keys().map(|(workload, _, _)| workload.as_str()).collect()
    }

    /// A line per workload, peer and number of threads: the medians of the rounds.
    pub(super) fn kept_text(&self) -> String {
        let mut text = String::new();
        for ((workload, threads, peer), lines) in &self.0 {
            let Some(line) = middle(lines) else { continue };
            let value = json!({
                "workload": workload, "peer": peer, "threads": threads,
                "median_s": line.median, "min_s": line.least, "extra": line.extra,
            });
            text += &format!("{value}\n");
        }
        text
    }
}

fn parse(value: &Value) -> Option<(Key, Line)> {
    let name = |key: &str| value[key].as_str().map(str::to_owned);
    let key = (name("workload")?, value["threads"].as_u64()? as usize, name("peer")?);
    let extra = value["extra"].as_object().cloned().unwrap_or_default();
    Some((key, Line { median: value["median_s"].as_f64()?, least: value["min_s"].as_f64()?, extra }))
}

/// The line in the middle, with the median of all medians, the least of all, and the number of rounds when there are several.
fn middle(lines: &[Line]) -> Option<Line> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by(|a, b| a.size().total_cmp(&b.size()));
    let (low, high) = (sorted.get((lines.len().checked_sub(1)?) / 2)?, sorted.get(lines.len() / 2)?);
    let mut line = Line { median: (low.median + high.median) / 2.0, ..(*low).clone() };
    line.least = lines.iter().map(|l| l.least).fold(f64::INFINITY, f64::min);
    if lines.len() > 1 {
        line.extra.insert("rounds".to_string(), json!(lines.len()));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(median: f64, least: f64) -> String {
        format!(
            r#"{{"workload": "w", "peer": "p", "threads": 1, "median_s": {median}, "min_s": {least}, "extra": {{"n": 7}}}}"#
        )
    }

    #[test]
    fn the_median_of_the_rounds_is_kept() {
        let mut lines = Lines::default();
        for (median, least) in [(3.0, 2.0), (9.0, 1.0), (5.0, 4.0)] {
            let given = lines.take(&format!("words\n{}\n{{broken\n", text(median, least)));
            assert_eq!(given.into_iter().collect::<Vec<_>>(), ["w"]);
        }
        let kept = lines.kept("w", 1, "p").unwrap();
        assert_eq!(
            (kept.median, kept.least, kept.number("rounds"), kept.number("n")),
            (5.0, 1.0, Some(3.0), Some(7.0))
        );
        lines.take(&text(4.0, 4.0));
        assert_eq!(lines.kept("w", 1, "p").unwrap().median, 4.5);
        assert!(lines.kept("w", 2, "p").is_none());
        let mut again = Lines::default();
        again.take(&lines.kept_text());
        assert_eq!(again.kept("w", 1, "p").unwrap().median, 4.5);
    }
}
