//! A hash of a set of rows that can be kept up to date row by row: LtHash (Bellare and Micciancio 1997; with these measures in Lewi, Kim,
//! Maykov, Weis: *Securing Update Propagation with Homomorphic Hashing*, 2019, about 200 bits). Each element is stretched to 1,024
//! numbers of 16 bits by SHA-256 over a counter; the hash of a set is their sum, number by number.

use crate::crypto::hash::sha256;

/// How many numbers.
const LANES: usize = 1024;
/// Bytes of a hash.
pub const MULTISET_BYTES: usize = LANES * 2;
/// Numbers that one SHA-256 gives.
const LANES_OF_A_HASH: usize = 16;

/// The hash of a set.
#[derive(Clone, PartialEq, Eq)]
pub struct Multiset([u16; LANES]);

impl Multiset {
    /// Of no elements.
    pub const EMPTY: Self = Self([0; LANES]);

    /// Takes an element in.
    pub fn add(&mut self, element: &[u8]) {
        self.each(element, u16::wrapping_add);
    }

    /// Takes an element out.
    pub fn remove(&mut self, element: &[u8]) {
        self.each(element, u16::wrapping_sub);
    }

    fn each(&mut self, element: &[u8], change: fn(u16, u16) -> u16) {
        let mut block = [0; 36];
        block[..32].copy_from_slice(&sha256(element));
        for (number, lanes) in (0_u32..).zip(self.0.chunks_mut(LANES_OF_A_HASH)) {
            block[32..].copy_from_slice(&number.to_be_bytes());
            let stretched = sha256(&block);
            for (lane, bytes) in lanes.iter_mut().zip(stretched.as_chunks::<2>().0) {
                *lane = change(*lane, u16::from_be_bytes(*bytes));
            }
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_be_bytes()).collect()
    }

    /// Reads them; `None` if there are not [`MULTISET_BYTES`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let lanes = bytes.as_chunks::<2>().0.iter().map(|lane| u16::from_be_bytes(*lane)).collect::<Vec<_>>();
        (bytes.len() == MULTISET_BYTES).then(|| lanes.try_into().ok().map(Self)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: &[&str]) -> Multiset {
        let mut set = Multiset::EMPTY;
        elements.iter().for_each(|element| set.add(element.as_bytes()));
        set
    }

    #[test]
    fn the_order_does_not_count_and_every_element_does() {
        assert!(of(&["a", "b", "c"]) == of(&["c", "a", "b"]));
        assert!(of(&["a", "b"]) != of(&["a", "c"]) && of(&["a"]) != of(&["a", "a"]) && of(&["ab"]) != of(&["a", "b"]));
        let mut set = of(&["a", "b"]);
        set.remove(b"b");
        assert!(set == of(&["a"]));
        assert!(Multiset::decode(&set.encode()) == Some(set));
        assert!(Multiset::decode(&[0; 7]).is_none());
    }
}
