//! Text for models of characters.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use esker::data::{find_data, read_text};
use esker::prelude::*;
use esker::tensor::philox::{Generator, block};

/// The share of the text, at its end, that is held out.
const HELD_OUT: f64 = 0.1;

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Source {
    /// The source text of Esker's crates
    Esker,
    /// Tiny Shakespeare, from the folder that ESKER_DATA names
    Shakespeare,
}

/// A text as numbers of characters.
pub(crate) struct Text {
    /// The characters that occur, in order: number `i` stands for `letters[i]`.
    pub(crate) letters: Vec<char>,
    pub(crate) training: Vec<i64>,
    pub(crate) held: Vec<i64>,
}

impl Text {
    pub(crate) fn read(source: Source) -> Result<Self> {
        let text = match source {
            Source::Esker => own_source()?,
            Source::Shakespeare => match find_data("tinyshakespeare", ["input.txt"]) {
                Ok([path]) => read_text(path)?,
                Err(why) => {
                    println!("{why}; the text is Esker's own source instead");
                    own_source()?
                }
            },
        };
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        let mut numbers = encode(&letters, &text);
        let held = numbers.split_off((numbers.len() as f64 * (1.0 - HELD_OUT)) as usize);
        println!("{} characters to train on, {} held out, {} different ones", numbers.len(), held.len(), letters.len());
        Ok(Self { letters, training: numbers, held })
    }

    pub(crate) fn decode(&self, numbers: &[i64]) -> String {
        numbers.iter().filter_map(|&i| self.letters.get(i as usize)).collect()
    }

    pub(crate) fn encode(&self, text: &str) -> Vec<i64> {
        encode(&self.letters, text)
    }
}

/// Characters that do not occur are left out.
fn encode(letters: &[char], text: &str) -> Vec<i64> {
    text.chars().filter_map(|c| letters.binary_search(&c).ok()).map(|i| i as i64).collect()
}

/// All Rust files of the crates, in the order of their paths.
fn own_source() -> Result<String> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crates"), &mut files)?;
    files.sort();
    files.into_iter().map(read_text).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// `rows` windows of `length` characters from random places, i64 `[rows, length]`, and the same one character later.
pub(crate) fn windows(text: &[i64], rows: usize, length: usize, random: &mut Generator) -> Result<(Tensor, Tensor)> {
    let key = random.next_key();
    let starts = (0..rows as u64).map(|i| block(key, i)[0] as usize % (text.len() - length));
    windows_at(text, starts, length)
}

/// Windows that follow each other, at most `rows` of them.
pub(crate) fn windows_in_order(text: &[i64], rows: usize, length: usize) -> Result<(Tensor, Tensor)> {
    let rows = rows.min((text.len() - 1) / length);
    windows_at(text, (0..rows).map(|i| i * length), length)
}

fn windows_at(text: &[i64], starts: impl Iterator<Item = usize>, length: usize) -> Result<(Tensor, Tensor)> {
    let starts: Vec<usize> = starts.collect();
    let from = |shift: usize| -> Vec<i64> {
        starts.iter().flat_map(|&s| text[s + shift..s + shift + length].iter().copied()).collect()
    };
    let shape = [starts.len(), length];
    Ok((Tensor::from_slice(&from(0), shape)?, Tensor::from_slice(&from(1), shape)?))
}

/// A character drawn from the logits of one row (`[.., letters]`, the last row counts), sharpened by `temperature`.
pub(crate) fn draw(logits: &Tensor, temperature: f64) -> Result<i64> {
    let letters = logits.size(-1)? as i64;
    let row = logits.reshape([-1, letters])?.select(0, -1)?;
    let key = esker::tensor::philox::next_key();
    Ok((row / temperature).softmax(-1)?.multinomial(1, true, key)?.item()? as i64)
}
