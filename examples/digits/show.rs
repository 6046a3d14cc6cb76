//! What the net reads, for the terminal.

use esker::prelude::*;

use crate::train::Digits;

/// How often each digit was read as each; correct ones stand on the diagonal.
pub(crate) fn confusion(logits: &Tensor, labels: &Tensor) -> Result<()> {
    let mut counts = [[0usize; 10]; 10];
    for (read, label) in logits.argmax(1, false)?.to_vec::<i64>()?.into_iter().zip(labels.to_vec::<i64>()?) {
        counts[label as usize][read as usize] += 1;
    }
    println!("is \\ read as{}", (0..10).map(|d| format!("{d:>5}")).collect::<String>());
    for (digit, row) in counts.iter().enumerate() {
        let cells = row.iter().map(|&n| if n == 0 { "    .".to_string() } else { format!("{n:>5}") });
        println!("{digit:>12}{}", cells.collect::<String>());
    }
    println!();
    Ok(())
}

/// Three held-out digits with what the shipped net, whose logits are given, reads in them.
pub(crate) fn three(held: &Digits, logits: &Tensor) -> Result<()> {
    let chosen = [0, held.len() / 3, 2 * held.len() / 3];
    let pixels = held.images.to_vec::<f32>()?;
    let images = chosen.map(|i| &pixels[64 * i..64 * (i + 1)]);
    println!();
    for row in 0..8 {
        let lines = images.map(|image| image[8 * row..8 * (row + 1)].iter().map(|&p| shade(p)).collect::<String>());
        println!("  {}", lines.join("      "));
    }
    let probabilities = logits.softmax(1)?;
    let labels = held.labels.to_vec::<i64>()?;
    let mut captions = Vec::new();
    for i in chosen {
        let (p, read) = probabilities.select(0, i as i64)?.max(0, false)?;
        let caption = format!("{} ({:.0} %), is {}", read.item()?, 100.0 * p.item()?, labels[i]);
        captions.push(format!("{caption:<16}"));
    }
    println!("  {}", captions.join("      "));
    Ok(())
}

/// Two characters, about as wide as high, as dark as the pixel.
fn shade(pixel: f32) -> &'static str {
    ["  ", "░░", "▒▒", "▓▓", "██"][((pixel * 4.0).round() as usize).min(4)]
}
