//! The ciphers. This is the only room that names one; every call to one stands here once, with its formula, its source and
//! why it is made so. It never reads or writes anything outside memory, knows nothing of customers, records or rows, and no
//! key leaves it but through [`Key::expose`].

pub mod content;
mod framing;
pub mod hash;
pub mod jws;
pub mod kdf;
pub mod key_wrap;
pub mod pseudonym;
pub mod secret;
pub mod sign;

pub use secret::{Key, random_bytes};

/// Sealed data that does not open. It says nothing more: a wrong key, a changed byte, a wrong context and a wrong length all
/// look alike, so that nobody learns from trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "sealed data cannot be opened: it is damaged, or was not sealed under this key; where the disk is to blame, restore from a copy"
)]
pub struct CannotOpen;
