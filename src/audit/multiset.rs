//! A hash of a set of rows that can be kept up to date row by row: MSet-Add-Hash (Clarke, Devadas, van Dijk, Gassend, Suh: *Incremental
//! Multiset Hash Functions and Their Application to Memory Integrity Checking*, ASIACRYPT 2003). It is the sum, modulo 2^256, of a keyed
//! hash of each element; who does not have the key finds no other set with the same sum.

/// Bytes of a hash.
pub const MULTISET_BYTES: usize = 32;

/// The hash of a set: four digits of 64 bits, the least first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiset([u64; 4]);

impl Multiset {
    /// Of no elements.
    pub const EMPTY: Self = Self([0; 4]);

    /// Takes in an element, by its keyed hash.
    pub fn add(&mut self, element: &[u8; MULTISET_BYTES]) {
        let mut carry = false;
        for (digit, other) in self.0.iter_mut().zip(digits(element)) {
            let (sum, over) = digit.overflowing_add(other);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            (*digit, carry) = (sum, over || again);
        }
    }

    /// Takes an element out.
    pub fn remove(&mut self, element: &[u8; MULTISET_BYTES]) {
        let mut borrow = false;
        for (digit, other) in self.0.iter_mut().zip(digits(element)) {
            let (rest, under) = digit.overflowing_sub(other);
            let (rest, again) = rest.overflowing_sub(u64::from(borrow));
            (*digit, borrow) = (rest, under || again);
        }
    }

    /// Its bytes, big-endian.
    pub fn encode(&self) -> [u8; MULTISET_BYTES] {
        let mut bytes = [0; MULTISET_BYTES];
        for (chunk, digit) in bytes.rchunks_mut(8).zip(self.0) {
            chunk.copy_from_slice(&digit.to_be_bytes());
        }
        bytes
    }

    /// Reads them.
    pub fn decode(bytes: &[u8; MULTISET_BYTES]) -> Self {
        Self(digits(bytes))
    }
}

/// The digits of a big-endian number, the least first.
fn digits(bytes: &[u8; MULTISET_BYTES]) -> [u64; 4] {
    let mut digits = [0; 4];
    for (digit, chunk) in digits.iter_mut().zip(bytes.rchunks(8)) {
        *digit = u64::from_be_bytes(chunk.try_into().expect("32 bytes are four times eight"));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::sha256;

    fn of(elements: &[&str]) -> Multiset {
        let mut set = Multiset::EMPTY;
        elements.iter().for_each(|element| set.add(&sha256(element.as_bytes())));
        set
    }

    #[test]
    fn the_order_does_not_count_and_every_element_does() {
        assert_eq!(of(&["a", "b", "c"]), of(&["c", "a", "b"]));
        assert!(of(&["a", "b"]) != of(&["a", "c"]) && of(&["a"]) != of(&["a", "a"]) && of(&["ab"]) != of(&["a", "b"]));
        let mut set = of(&["a", "b"]);
        set.remove(&sha256(b"b"));
        assert_eq!(set, of(&["a"]));
        assert_eq!(Multiset::decode(&set.encode()), set);
    }

    #[test]
    fn what_overflows_goes_round() {
        let (most, mut one) = ([0xff; MULTISET_BYTES], [0; MULTISET_BYTES]);
        one[MULTISET_BYTES - 1] = 1;
        let mut set = Multiset::decode(&most);
        set.add(&one);
        assert_eq!(set, Multiset::EMPTY);
        set.remove(&one);
        assert_eq!(set.encode(), most);
        set.add(&most);
        let mut expected = most;
        expected[MULTISET_BYTES - 1] = 0xfe;
        assert_eq!(set.encode(), expected);
    }
}
