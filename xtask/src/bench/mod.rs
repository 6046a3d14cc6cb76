//! `cargo xtask bench`: Esker and its peers on the same work, in turn, on this machine.

mod family;
mod line;
mod peer;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use regex::Regex;

use self::family::{Family, Targets};
use self::line::Lines;
use self::peer::Peer;
use crate::{cargo, root, succeed};

/// What to measure and where the figures go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Peers, separated by commas: torch, torch-keepheap, torch-hugepages, torch-compile, jax, numpy, onnxruntime, tensorflow,
    /// tinygrad, candle, burn, tract, gemm; none for Esker alone
    #[arg(long, value_delimiter = ',', default_value = "torch,jax")]
    peers: Vec<String>,
    /// Only workloads that this regular expression finds
    #[arg(long, default_value = "")]
    filter: Regex,
    /// Numbers of threads, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1")]
    threads: Vec<usize>,
    /// How often everything is measured; the median of the rounds counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per workload, peer and round; long workloads take up to four times as long
    #[arg(long, default_value_t = 0.5)]
    budget: f64,
    /// Write the lines to this file, one JSON object each
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print the table even when the lines are written to a file
    #[arg(long)]
    table: bool,
    /// Measure nothing; print the table of lines in these files
    #[arg(long, value_delimiter = ',', conflicts_with = "json")]
    read: Vec<PathBuf>,
    /// The Python that has the Python peers; default: an environment under target/, made with the pins in
    /// bench/peers/requirements.txt
    #[arg(long)]
    python: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(args: &Args) -> Result<()> {
    let targets = Targets::read(&root().join("bench/targets.json"))?;
    if !args.read.is_empty() {
        let mut lines = Lines::default();
        for file in &args.read {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            lines.take(&text);
        }
        table::print(&lines, &targets, &args.filter);
        return Ok(());
    }
    let families = family::of(targets.names().filter(|name| args.filter.is_match(name)));
    if families.is_empty() {
        bail!("no workload of bench/targets.json fits {:?}", args.filter.as_str());
    }
    eprintln!("building esker-bench");
    succeed(cargo().args(["build", "--release", "--quiet", "-p", "esker-bench"]))?;
    let mut peers = vec![Peer::esker()];
    for name in args.peers.iter().filter(|name| !["none", ""].contains(&name.as_str())) {
        match Peer::ready(name, args.python.as_deref()) {
            Ok(peer) => peers.push(peer),
            Err(why) => eprintln!("{name} is left out: {why:#}"),
        }
    }
    let mut suite =
        Suite { args, peers, families, lines: Lines::default(), gaps: BTreeSet::new(), failed: BTreeMap::new() };
    suite.measure()?;
    for ((peer, workload), why) in &suite.failed {
        eprintln!("{peer} gave no figure for {workload}: {why}");
    }
    for (peer, workload) in suite.gaps.iter().filter(|gap| gap.0 == "esker" && !suite.failed.contains_key(*gap)) {
        eprintln!("{peer} has no workload {workload}");
    }
    if args.table || args.json.is_none() {
        table::print(&suite.lines, &targets, &args.filter);
    }
    Ok(())
}

struct Suite<'a> {
    args: &'a Args,
    peers: Vec<Peer>,
    families: Vec<Family>,
    lines: Lines,
    /// Workloads that a peer does not have, or failed at: it is not asked again.
    gaps: BTreeSet<(String, String)>,
    failed: BTreeMap<(String, String), String>,
}

impl Suite<'_> {
    /// All rounds. A process for each family and peer, the peers in turn, so that what else the machine does meets all alike.
    fn measure(&mut self) -> Result<()> {
        let start = Instant::now();
        for round in 0..self.args.rounds {
            for &threads in &self.args.threads {
                let place = format!("round {} of {}, {}", round + 1, self.args.rounds, counted(threads));
                self.progress(&start, &format!("{place}: the machine's limits"));
                let (text, _) = Peer::esker().run(threads, self.args.budget, &["--limit"])?;
                self.lines.take(&text);
                for family in 0..self.families.len() {
                    for turn in 0..self.peers.len() {
                        let peer = (turn + round) % self.peers.len();
                        let wanted = self.wanted(peer, family);
                        if !wanted.is_empty() {
                            let (name, of) = (&self.peers[peer].name, &self.families[family].name);
                            self.progress(&start, &format!("{place}: {of}, {name}"));
                            self.family(peer, &wanted, threads)?;
                        }
                    }
                }
            }
            if let Some(file) = &self.args.json {
                std::fs::write(file, self.lines.kept_text()).with_context(|| file.display().to_string())?;
            }
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
        Ok(())
    }

    /// The workloads of a family that a peer may have.
    fn wanted(&self, peer: usize, family: usize) -> Vec<String> {
        let name = &self.peers[peer].name;
        let has = |w: &&String| !self.gaps.contains(&(name.clone(), w.to_string()));
        self.families[family].workloads.iter().filter(has).cloned().collect()
    }

    /// One peer on workloads of a family. When its process ends badly, each that is missing gets a process of its own.
    fn family(&mut self, peer: usize, wanted: &[String], threads: usize) -> Result<()> {
        let name = self.peers[peer].name.clone();
        let (missing, failure) = self.ask(peer, wanted, threads)?;
        for workload in missing {
            let failure = match (&failure, wanted.len()) {
                (Some(_), 2..) => {
                    let (missing, failure) = self.ask(peer, std::slice::from_ref(&workload), threads)?;
                    if missing.is_empty() {
                        continue;
                    }
                    failure
                }
                _ => failure.clone(),
            };
            if let Some(why) = failure {
                self.failed.insert((name.clone(), workload.clone()), why);
            }
            self.gaps.insert((name.clone(), workload));
        }
        Ok(())
    }

    /// Which of the workloads the peer gave no line for, and what it said when it ended badly.
    fn ask(&mut self, peer: usize, workloads: &[String], threads: usize) -> Result<(Vec<String>, Option<String>)> {
        let only = format!("^({})$", workloads.join("|"));
        let (text, failure) = self.peers[peer].run(threads, self.args.budget, &["--only", &only])?;
        let given = self.lines.take(&text);
        Ok((workloads.iter().filter(|w| !given.contains(*w)).cloned().collect(), failure))
    }

    fn progress(&self, start: &Instant, what: &str) {
        let line = format!("{:>5.0} s  {what}", start.elapsed().as_secs_f64());
        match std::io::stderr().is_terminal() {
            true => eprint!("\r\x1b[2K{line}"),
            false => eprintln!("{line}"),
        }
    }
}

/// `1 thread`, `2 threads`.
fn counted(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}
