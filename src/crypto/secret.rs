//! Keys in memory. A key stands in one place on the heap, is filled there, and is wiped when dropped; it is never printed,
//! stored, compared byte by byte or copied without a word that says so.

use std::fmt;

use rand::TryRng as _;
use rand::rngs::SysRng;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// The length of every key: 256 bits.
pub const KEY_BYTES: usize = 32;

/// A symmetric key. No `Clone`, no `Display`, no `Serialize`; `Debug` prints a fixed word.
pub struct Key(Box<[u8; KEY_BYTES]>);

impl Key {
    /// A fresh key from the operating system.
    pub fn random() -> Self {
        Self::fill_with(fill_random)
    }

    /// A key that `fill` writes in its place.
    pub fn fill_with(fill: impl FnOnce(&mut [u8; KEY_BYTES])) -> Self {
        let mut key = Self(Box::new([0; KEY_BYTES]));
        fill(&mut key.0);
        key
    }

    /// As [`Key::fill_with`], where filling can fail; what was filled in by then is wiped.
    pub fn try_fill_with<E>(fill: impl FnOnce(&mut [u8; KEY_BYTES]) -> Result<(), E>) -> Result<Self, E> {
        let mut key = Self(Box::new([0; KEY_BYTES]));
        fill(&mut key.0)?;
        Ok(key)
    }

    /// A key with these bytes. Wiping the source is the caller's business.
    pub fn copy_of(bytes: &[u8; KEY_BYTES]) -> Self {
        Self::fill_with(|key| key.copy_from_slice(bytes))
    }

    /// A second copy of this key, for a place that must own one. Each copy is one more to be wiped: use sparingly.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copy_of(&self.0)
    }

    /// The bytes: the one door through which they can be seen.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether both are the same key, in a time that does not tell where they differ.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Unpredictable bytes from the operating system.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}

/// `getrandom(2)` or its like: nothing in user space holds a state from which earlier or later keys could be told.
fn fill_random<const N: usize>(bytes: &mut [u8; N]) {
    SysRng.try_fill_bytes(bytes).expect("the operating system gives random bytes once it has started");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_nothing_and_differs_from_the_next() {
        let (one, other) = (Key::random(), Key::random());
        assert_eq!(format!("{one:?} {one:#?}"), "Key(..) Key(..)");
        assert!(one.same_as(&one.duplicate()) && !one.same_as(&other));
    }
}
