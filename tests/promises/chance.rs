//! Chance that can be played again: a test prints the seed it runs with, and `OUBLIETTE_SEED` makes it run with that one.

use std::hash::{BuildHasher as _, RandomState};

use crate::tell;

/// A stream of numbers that follows from its seed (SplitMix64). For choosing what a test does, never for keys.
pub struct Chance(u64);

impl Chance {
    /// The seed of `OUBLIETTE_SEED`, else a new one; printed under the name of the test.
    pub fn of_test(name: &str) -> Self {
        let set = std::env::var("OUBLIETTE_SEED").ok();
        let seed = set.map_or_else(|| RandomState::new().hash_one(name), |set| set.trim().parse().unwrap());
        tell(&format!("{name}: OUBLIETTE_SEED={seed}"));
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.below_u64(end as u64)).unwrap()
    }

    /// A number below `end`.
    pub fn below_u64(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether something of this chance happens.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }

    /// Text that can hardly be compressed, in one word: among enough digits there is always a telephone number, and a password behind "pw=".
    pub fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzABCDEFGHIJKL";
        self.bytes(length).into_iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect()
    }

    /// Sixteen bytes, as ids have.
    pub fn id(&mut self) -> [u8; 16] {
        self.bytes(16).try_into().unwrap()
    }

    /// Another stream, so that what runs at the same time does not share one.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
