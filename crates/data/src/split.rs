//! Splits of a dataset.

use std::collections::BTreeMap;

use esker_tensor::philox::{Generator, permutation};
use esker_tensor::{Error, Result};

/// The indices of `labels` in two parts: the rest, and a `fraction` (0 to 1) of the samples of each class, rounded to whole
/// samples. Both are in rising order; the same seed gives the same split.
///
/// # Errors
/// `Kernel` when the fraction is not within 0 to 1.
pub fn stratified_split(labels: &[i64], fraction: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    check(fraction)?;
    let mut classes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(i);
    }
    let mut keys = Generator::new(seed);
    let (mut rest, mut held) = (Vec::new(), Vec::new());
    for members in classes.into_values() {
        let take = (members.len() as f64 * fraction).round() as usize;
        for (place, at) in permutation(members.len(), keys.next_key()).into_iter().enumerate() {
            if let Some(&index) = members.get(at) {
                if place < take { held.push(index) } else { rest.push(index) }
            }
        }
    }
    rest.sort_unstable();
    held.sort_unstable();
    Ok((rest, held))
}

/// The indices `0..len` in two parts, without regard to classes: the rest, and a `fraction` (0 to 1) of them, in rising
/// order; the same seed gives the same split.
///
/// # Errors
/// `Kernel` when the fraction is not within 0 to 1.
pub fn random_split(len: usize, fraction: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    stratified_split(&vec![0; len], fraction, seed)
}

fn check(fraction: f64) -> Result<()> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(());
    }
    Err(Error::kernel(format!("split: the fraction is {fraction}, needed is 0 to 1")))
}
