//! Random numbers a tile of elements at a time: blocks of the generator side by side, in loops that the compiler turns
//! into vector code for the instruction set around them.

use std::ops::Range;

use esker_tensor::philox::{Key, blocks, uniform_f32};

use crate::isa::{Isa, isa};
use crate::vector::{Lane32, cos_sin_turns};

/// Blocks of a tile.
const BLOCKS: usize = 16;
/// Elements of a tile: word `i % 4` of block `i / 4` is that of element `i`.
pub(super) const TILE: usize = 4 * BLOCKS;

/// The words of a tile, one list for each word of a block.
type Words = [[u32; BLOCKS]; 4];

/// What becomes of the words.
pub(super) trait Draw {
    /// What an element gets.
    type Number: Copy;
    /// The numbers of a tile.
    ///
    /// # Safety
    /// The machine has the register's instruction set.
    unsafe fn tile<L: Lane32>(words: &Words) -> [Self::Number; TILE];
}

/// The word itself.
pub(super) struct Word;

impl Draw for Word {
    type Number = u32;
    #[inline(always)]
    unsafe fn tile<L: Lane32>(words: &Words) -> [u32; TILE] {
        let mut out = [0; TILE];
        for block in 0..BLOCKS {
            for word in 0..4 {
                out[4 * block + word] = words[word][block];
            }
        }
        out
    }
}

/// A standard normal number in f32, by Box and Muller's transform of the words of an even element and the next.
pub(super) struct Normal;

impl Draw for Normal {
    type Number = f32;
    #[inline(always)]
    unsafe fn tile<L: Lane32>(words: &Words) -> [f32; TILE] {
        let mut out = [0.0; TILE];
        for pair in [0, 2] {
            let (mut even, mut odd) = ([0.0; BLOCKS], [0.0; BLOCKS]);
            for block in 0..BLOCKS {
                even[block] = uniform_f32(words[pair][block]);
                odd[block] = uniform_f32(words[pair + 1][block]);
            }
            for at in (0..BLOCKS).step_by(L::N) {
                // SAFETY: registers have 16 elements at most and divide 16, so that each lies within the lists.
                unsafe {
                    let (even, odd) = (even.as_mut_ptr().add(at), odd.as_mut_ptr().add(at));
                    let radius = L::c(1.0).sub(L::load(even)).log().mul(L::c(-2.0)).sqrt();
                    let (cos, sin) = cos_sin_turns(L::load(odd));
                    radius.mul(cos).store(even);
                    radius.mul(sin).store(odd);
                }
            }
            for block in 0..BLOCKS {
                out[4 * block + pair] = even[block];
                out[4 * block + pair + 1] = odd[block];
            }
        }
        out
    }
}

/// Calls `f` with each element of a range and its number.
pub(super) fn each<D: Draw>(key: Key, range: Range<usize>, f: impl Fn(usize, D::Number)) {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa` gives only what the processor has.
        Isa::Avx512 => unsafe { avx512::<D, _>(key, range, &f) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2::<D, _>(key, range, &f) },
        // SAFETY: plain floats need nothing of it.
        _ => unsafe { run::<f32, D, _>(key, range, &f) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512<D: Draw, F: Fn(usize, D::Number)>(key: Key, range: Range<usize>, f: &F) {
    // SAFETY: passed on.
    unsafe { run::<std::arch::x86_64::__m512, D, F>(key, range, f) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<D: Draw, F: Fn(usize, D::Number)>(key: Key, range: Range<usize>, f: &F) {
    // SAFETY: passed on.
    unsafe { run::<std::arch::x86_64::__m256, D, F>(key, range, f) }
}

#[inline(always)]
unsafe fn run<L: Lane32, D: Draw, F: Fn(usize, D::Number)>(key: Key, range: Range<usize>, f: &F) {
    for tile in range.start / TILE..range.end.div_ceil(TILE) {
        let start = tile * TILE;
        // SAFETY: passed on.
        let numbers = unsafe { D::tile::<L>(&blocks(key, (start / 4) as u64)) };
        if range.start <= start && start + TILE <= range.end {
            for (i, &number) in numbers.iter().enumerate() {
                f(start + i, number);
            }
        } else {
            (range.start.max(start)..range.end.min(start + TILE)).for_each(|i| f(i, numbers[i - start]));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use esker_tensor::philox::block;

    use super::*;
    use crate::force_isa;

    fn drawn<D: Draw>(range: Range<usize>) -> Vec<(usize, D::Number)> {
        let all = Mutex::new(Vec::new());
        each::<D>(Key(9), range, |i, number| all.lock().unwrap().push((i, number)));
        all.into_inner().unwrap()
    }

    #[test]
    fn every_element_has_its_number_on_every_instruction_set() {
        let _settings = crate::test_settings();
        for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable].into_iter().filter(|i| i.is_available()) {
            force_isa(Some(isa)).unwrap();
            let whole = drawn::<Normal>(0..4096);
            for range in [0..0, 3..5, 60..64, 63..200, 128..192, 5..4096] {
                let words: Vec<usize> = drawn::<Word>(range.clone()).iter().map(|(i, _)| *i).collect();
                assert_eq!(words, range.clone().collect::<Vec<_>>());
                for (i, w) in drawn::<Word>(range.clone()) {
                    assert_eq!(w, block(Key(9), i as u64 / 4)[i % 4]);
                }
                for (i, z) in drawn::<Normal>(range) {
                    assert_eq!(z.to_bits(), whole[i].1.to_bits());
                }
            }
            for (i, z) in whole {
                let word = |i: usize| f64::from(uniform_f32(block(Key(9), i as u64 / 4)[i % 4]));
                let (radius, angle) =
                    ((-2.0 * (1.0 - word(i / 2 * 2)).ln()).sqrt(), word(i / 2 * 2 + 1) * std::f64::consts::TAU);
                let want = radius * if i % 2 == 0 { angle.cos() } else { angle.sin() };
                assert!((f64::from(z) - want).abs() < 4e-7 * (1.0 + want.abs()), "{isa} {i}: {z} {want}");
            }
        }
        force_isa(None).unwrap();
    }
}
