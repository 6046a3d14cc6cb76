//! Random numbers a tile of elements at a time: blocks of the generator side by side, in loops that the compiler turns
//! into vector code for the instruction set around them.

use std::ops::Range;

use esker_tensor::philox::{Key, blocks};

use crate::isa::{Isa, isa};
use crate::vector::{Lane32, cos_sin_turns, log_of};

/// Blocks of a tile: more than a register has, so that some are at work while others wait.
const BLOCKS: usize = 32;
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
        for at in (0..BLOCKS).step_by(L::N) {
            // SAFETY: registers have 16 elements at most, and divide 32, so that each lies within the lists, and four of
            // them within the tile. They are moved as they are, though they be no numbers.
            unsafe {
                let [a, b, c, d] = words;
                let [a, b, c, d] = [a.as_ptr(), b.as_ptr(), c.as_ptr(), d.as_ptr()];
                let v = [
                    L::load(a.add(at).cast()),
                    L::load(b.add(at).cast()),
                    L::load(c.add(at).cast()),
                    L::load(d.add(at).cast()),
                ];
                L::store_in_turn(v, out.as_mut_ptr().add(4 * at).cast());
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
        for at in (0..BLOCKS).step_by(L::N) {
            // SAFETY: as above.
            unsafe {
                let [a, b, c, d] = words;
                let (x, y) = pair::<L>(a.as_ptr().add(at), b.as_ptr().add(at));
                let (z, w) = pair::<L>(c.as_ptr().add(at), d.as_ptr().add(at));
                L::store_in_turn([x, y, z, w], out.as_mut_ptr().add(4 * at));
            }
        }
        out
    }
}

/// # Safety
/// The machine has the register's instruction set, and both lists as many words.
#[inline(always)]
unsafe fn pair<L: Lane32>(even: *const u32, odd: *const u32) -> (L, L) {
    // SAFETY: passed on.
    unsafe {
        // What the logarithm is of lies in 2^-24..=1.
        let log = log_of(L::c(1.0).sub(L::uniforms(even)), L::c(0.0));
        let radius = log.mul(L::c(-2.0)).sqrt();
        let (cos, sin) = cos_sin_turns(L::uniforms(odd));
        (radius.mul(cos), radius.mul(sin))
    }
}

/// Where numbers go. A trait rather than a closure, which could not be forced inline.
pub(super) trait Sink<N>: Sync {
    /// Takes the numbers of the elements from `start` on.
    ///
    /// # Safety
    /// The elements are nobody else's.
    unsafe fn put(&self, start: usize, numbers: &[N]);
}

/// Hands the numbers of a range of elements to a sink.
///
/// # Safety
/// The elements are the caller's to write.
pub(super) unsafe fn each<D: Draw, S: Sink<D::Number>>(key: Key, range: Range<usize>, sink: &S) {
    // SAFETY: `isa` gives only what the processor has, and plain floats need nothing of it; elements as passed on.
    unsafe {
        match isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::<D, S>(key, range, sink),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::<D, S>(key, range, sink),
            #[allow(unreachable_patterns, reason = "other targets have only the portable one")]
            _ => run::<f32, D, S>(key, range, sink),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512<D: Draw, S: Sink<D::Number>>(key: Key, range: Range<usize>, sink: &S) {
    // SAFETY: passed on.
    unsafe { run::<std::arch::x86_64::__m512, D, S>(key, range, sink) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<D: Draw, S: Sink<D::Number>>(key: Key, range: Range<usize>, sink: &S) {
    // SAFETY: passed on.
    unsafe { run::<std::arch::x86_64::__m256, D, S>(key, range, sink) }
}

#[inline(always)]
unsafe fn run<L: Lane32, D: Draw, S: Sink<D::Number>>(key: Key, range: Range<usize>, sink: &S) {
    for tile in range.start / TILE..range.end.div_ceil(TILE) {
        let start = tile * TILE;
        // SAFETY: passed on; what is put lies within the range.
        unsafe {
            let numbers = D::tile::<L>(&blocks(key, (start / 4) as u64));
            if range.start <= start && start + TILE <= range.end {
                sink.put(start, &numbers);
            } else {
                let (first, end) = (range.start.max(start), range.end.min(start + TILE));
                sink.put(first, &numbers[first - start..end - start]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use esker_tensor::philox::{block, uniform_f32};

    use super::*;
    use crate::force_isa;

    struct List<N>(Mutex<Vec<(usize, N)>>);

    impl<N: Copy + Send> Sink<N> for List<N> {
        unsafe fn put(&self, start: usize, numbers: &[N]) {
            self.0.lock().unwrap().extend(numbers.iter().enumerate().map(|(i, &n)| (start + i, n)));
        }
    }

    fn drawn<D: Draw<Number: Send>>(range: Range<usize>) -> Vec<(usize, D::Number)> {
        let all = List(Mutex::new(Vec::new()));
        // SAFETY: a list has room for anything.
        unsafe { each::<D, _>(Key(9), range, &all) };
        all.0.into_inner().unwrap()
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
