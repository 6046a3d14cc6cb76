//! Random numbers: counter-based Philox 4x32-10.
//!
//! Every number is a pure function of a key and an index, so that the bits do not depend on the number of threads or on
//! the device, and a mask can be drawn again instead of being stored. A [`Generator`] deals keys in program order, one
//! for each random op; the op then asks [`block`] for the words at its element indices.
//!
//! The algorithm is from Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); the
//! tests hold the known-answer vectors published with its reference library, Random123.

use std::cell::Cell;

/// The round multipliers of Philox 4x32 (Salmon et al., section 3.3).
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What the key grows by in each round: the golden ratio and sqrt(3) - 1 as 32-bit fractions.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Third counter word of key derivation ("KEYS"), which keeps it apart from the counters of [`block`].
const KEY_DOMAIN: u32 = 0x4B45_5953;

/// Philox 4x32 with 10 rounds: four random words for a 128-bit counter under a 64-bit key.
#[inline]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for _ in 0..9 {
        c = round(c, k);
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    round(c, k)
}

#[inline(always)]
fn round(c: [u32; 4], k: [u32; 2]) -> [u32; 4] {
    let (hi0, lo0) = split(u64::from(MULTIPLIERS[0]) * u64::from(c[0]));
    let (hi1, lo1) = split(u64::from(MULTIPLIERS[1]) * u64::from(c[2]));
    [hi1 ^ c[1] ^ k[0], lo1, hi0 ^ c[3] ^ k[1], lo0]
}

/// High and low half.
#[inline(always)]
fn split(x: u64) -> (u32, u32) {
    ((x >> 32) as u32, x as u32)
}

/// High half and low half as one number.
#[inline(always)]
fn join(hi: u32, lo: u32) -> u64 {
    u64::from(hi) << 32 | u64::from(lo)
}

/// The key of one random stream: all that a random op has to store to draw the same numbers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub u64);

/// The four words at `index` of the stream `key`.
#[inline]
pub fn block(key: Key, index: u64) -> [u32; 4] {
    let (index_hi, index_lo) = split(index);
    let (key_hi, key_lo) = split(key.0);
    philox4x32_10([index_lo, index_hi, 0, 0], [key_lo, key_hi])
}

/// `N` blocks from `index` on, as [`block`] gives them: one list for each of the four words. For vector code.
#[allow(clippy::needless_range_loop)] // Four lists run side by side.
#[inline(always)]
pub fn blocks<const N: usize>(key: Key, index: u64) -> [[u32; N]; 4] {
    let (key_hi, key_lo) = split(key.0);
    // Words lie in the lower halves of 64 bits, where the multiplier of a vector unit finds them and leaves its products; the
    // upper halves may hold anything.
    let mut c = [[0u64; N]; 4];
    for lane in 0..N {
        let at = index + lane as u64;
        (c[0][lane], c[1][lane]) = (at, at >> 32);
    }
    let low = |x: u64| u64::from(x as u32);
    let mut k = [key_lo, key_hi];
    for turn in 0..10 {
        if turn > 0 {
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        for lane in 0..N {
            let first = low(c[0][lane]) * u64::from(MULTIPLIERS[0]);
            let second = low(c[2][lane]) * u64::from(MULTIPLIERS[1]);
            c[0][lane] = (second >> 32) ^ c[1][lane] ^ u64::from(k[0]);
            c[1][lane] = second;
            c[2][lane] = (first >> 32) ^ c[3][lane] ^ u64::from(k[1]);
            c[3][lane] = first;
        }
    }
    let mut words = [[0; N]; 4];
    for word in 0..4 {
        for lane in 0..N {
            words[word][lane] = c[word][lane] as u32;
        }
    }
    words
}

/// A number in `[0, 1)` from the upper 24 bits: all multiples of 2^-24, equally likely.
#[inline(always)]
pub fn uniform_f32(bits: u32) -> f32 {
    const STEP: f32 = 1.0 / (1u32 << 24) as f32;
    (bits >> 8) as f32 * STEP
}

/// A number in `[0, 1)` from the upper 53 bits of the two words: all multiples of 2^-53, equally likely.
#[inline]
pub fn uniform_f64(hi: u32, lo: u32) -> f64 {
    const STEP: f64 = 1.0 / (1u64 << 53) as f64;
    (join(hi, lo) >> 11) as f64 * STEP
}

/// Deals stream keys: the n-th key of a seed is Philox itself at counter n, so that streams are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generator {
    seed: u64,
    counter: u64,
}

impl Generator {
    /// A generator at the start of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    /// A generator continuing where [`Generator::state`] was taken.
    pub const fn from_state(seed: u64, counter: u64) -> Self {
        Self { seed, counter }
    }

    /// The seed and the number of keys dealt.
    pub const fn state(&self) -> (u64, u64) {
        (self.seed, self.counter)
    }

    /// Moves to a state that [`Generator::state`] gave.
    pub const fn set_state(&mut self, seed: u64, counter: u64) {
        *self = Self { seed, counter };
    }

    /// The next key.
    pub fn next_key(&mut self) -> Key {
        let (count_hi, count_lo) = split(self.counter);
        let (seed_hi, seed_lo) = split(self.seed);
        self.counter = self.counter.wrapping_add(1);
        let words = philox4x32_10([count_lo, count_hi, KEY_DOMAIN, 0], [seed_lo, seed_hi]);
        Key(join(words[1], words[0]))
    }
}

thread_local! {
    static DEFAULT: Cell<Generator> = const { Cell::new(Generator::new(0)) };
}

/// Seeds the calling thread's default generator.
///
/// Until this is called a thread stands at seed 0, so that a program repeats itself by default; threads that draw at
/// the same time and need different numbers must be given different seeds.
pub fn manual_seed(seed: u64) {
    set_default_generator(Generator::new(seed));
}

/// The next key of the calling thread's default generator.
pub fn next_key() -> Key {
    let mut generator = default_generator();
    let key = generator.next_key();
    set_default_generator(generator);
    key
}

/// A copy of the calling thread's default generator, as a checkpoint stores it.
pub fn default_generator() -> Generator {
    DEFAULT.get()
}

/// Replaces the calling thread's default generator.
pub fn set_default_generator(generator: Generator) {
    DEFAULT.set(generator);
}

/// The numbers `0..n` in an order that depends on `key` alone; all `n!` orders are equally likely.
///
/// Fisher and Yates's shuffle, with integers bounded by Lemire's method ("Fast random integer generation in an
/// interval", ACM TOMACS 2019), which has no bias.
pub fn permutation(n: usize, key: Key) -> Vec<usize> {
    let mut words = Words { key, next: 0, spare: None };
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, words.below(last as u64 + 1) as usize);
    }
    order
}

/// The stream of a key as 64-bit words, two to a block.
struct Words {
    key: Key,
    next: u64,
    spare: Option<u64>,
}

impl Words {
    fn word(&mut self) -> u64 {
        if let Some(word) = self.spare.take() {
            return word;
        }
        let [a, b, c, d] = block(self.key, self.next);
        self.next += 1;
        self.spare = Some(join(d, c));
        join(b, a)
    }

    /// A number in `0..bound`, unbiased; `bound` is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.word()) * u128::from(bound);
        if (product as u64) < bound {
            // The 2^64 mod bound lowest fractions would make some results likelier: draw again.
            let reject = bound.wrapping_neg() % bound;
            while (product as u64) < reject {
                product = u128::from(self.word()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_answers() {
        // Random123, file kat_vectors, lines "philox4x32 10": zeros, all ones, digits of pi.
        let vectors = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, answer) in vectors {
            assert_eq!(philox4x32_10(counter, key), answer);
        }
        assert_eq!(block(Key(0), 0), vectors[0].2);
    }

    #[test]
    fn block_splits_key_and_index_low_half_first() {
        let (key, index) = (Key(0x299f_31d0_a409_3822), 0x85a3_08d3_243f_6a88);
        assert_eq!(block(key, index), philox4x32_10([0x243f_6a88, 0x85a3_08d3, 0, 0], [0xa409_3822, 0x299f_31d0]));
    }

    #[test]
    fn blocks_side_by_side_are_the_same_blocks() {
        let first = u64::from(u32::MAX) - 3;
        let words = blocks::<8>(Key(5), first);
        for lane in 0..8 {
            assert_eq!(words.map(|w| w[lane]), block(Key(5), first + lane as u64));
        }
    }

    #[test]
    fn uniforms_stay_below_one() {
        assert_eq!(uniform_f32(0), 0.0);
        assert_eq!(uniform_f32(u32::MAX), 1.0 - f32::EPSILON / 2.0);
        assert_eq!(uniform_f64(0, 0), 0.0);
        assert_eq!(uniform_f64(u32::MAX, u32::MAX), 1.0 - f64::EPSILON / 2.0);
        let n = 1 << 16;
        let mean = (0..n).map(|i| f64::from(uniform_f32(block(Key(7), i)[0]))).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
    }

    #[test]
    fn keys_repeat_by_seed_and_differ_by_draw() {
        let mut a = Generator::new(1);
        let first: Vec<Key> = (0..1000).map(|_| a.next_key()).collect();
        let distinct: std::collections::HashSet<Key> = first.iter().copied().collect();
        assert_eq!(distinct.len(), first.len());
        assert_eq!(a.state(), (1, 1000));
        let mut b = Generator::from_state(1, 999);
        assert_eq!(b.next_key(), first[999]);
        b.set_state(1, 0);
        assert_eq!(b.next_key(), first[0]);
        assert_ne!(Generator::new(2).next_key(), first[0]);
    }

    #[test]
    fn the_default_generator_is_the_threads_own() {
        manual_seed(42);
        let key = next_key();
        assert_eq!(key, Generator::new(42).next_key());
        std::thread::scope(|s| {
            s.spawn(|| assert_eq!(next_key(), Generator::new(0).next_key()));
        });
        assert_eq!(default_generator().state(), (42, 1));
    }

    #[test]
    fn permutations_are_uniform() {
        assert!(permutation(0, Key(1)).is_empty());
        assert_eq!(permutation(1, Key(1)), [0]);
        let mut sorted = permutation(1000, Key(9));
        assert_ne!(sorted, (0..1000).collect::<Vec<_>>());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());

        // Chi-square of the 24 orders of four items: 23 degrees of freedom, 49.7 is the 0.1% point.
        let mut generator = Generator::new(3);
        let mut seen = std::collections::HashMap::new();
        let draws = 24_000;
        for _ in 0..draws {
            *seen.entry(permutation(4, generator.next_key())).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), 24);
        let expected = f64::from(draws) / 24.0;
        let chi: f64 = seen.values().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        assert!(chi < 49.7, "{chi}");
    }

    #[test]
    fn bounded_draws_reject_the_biased_ones() {
        // With a bound just over 2^63 about half of all words are rejected; every result must stay below it.
        let mut words = Words { key: Key(5), next: 0, spare: None };
        let bound = (1 << 63) + 1;
        assert!((0..1000).all(|_| words.below(bound) < bound));
        assert!(words.next > 700, "{}", words.next);
    }
}
