//! The type in which keys live: boxed, filled in place, wiped when dropped, silent.

use std::fmt;

use rand::TryRng as _;
use rand::rngs::SysRng;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// A 256-bit key. It cannot be cloned, printed or written by accident.
pub struct Key(Box<[u8; 32]>);

impl Key {
    /// A fresh key from the operating system's generator.
    pub fn random() -> Self {
        Self::fill_with(|key| fill_random(key))
    }

    /// A key that `fill` writes into zeros, in place.
    pub fn fill_with(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut key = Self(Box::new([0; 32]));
        fill(&mut key.0);
        key
    }

    /// A copy of bytes that the caller wipes.
    pub fn copy_of(bytes: &[u8; 32]) -> Self {
        Self::fill_with(|key| key.copy_from_slice(bytes))
    }

    /// A second instance of this key. Named, so that copies are made on purpose.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copy_of(&self.0)
    }

    /// The bytes: the one door through which they leave.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same key, in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_ref()).into()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Random bytes from the operating system's generator.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}

fn fill_random(bytes: &mut [u8]) {
    SysRng.try_fill_bytes(bytes).expect("without randomness from the operating system nothing safe can be done");
}
