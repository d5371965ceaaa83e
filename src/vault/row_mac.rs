//! The keyed functions that tie control rows to the log: the store uses them, and sees no key.

use std::sync::Arc;

use crate::crypto::pseudonym::tag;
use crate::crypto::{kdf, key_wrap};
use crate::keys::SystemKeys;
use crate::store::RowMac;

/// Names the key of the control rows' hashes.
pub(super) const CONTROL_ROWS: &str = "oubliette control rows";
/// The same in layout 1. Its sums stood in the clear, so hashes under its key are known to those who have old images.
pub(super) const CONTROL_ROWS_OF_LAYOUT_1: &str = "oubliette deciding rows";

/// The keyed functions that tie control rows to the log, under keys that every epoch leaves as they are. Each sum is sealed under a key of
/// its own: they are written with every group that changes a page, far more often than one key may seal with random nonces.
pub(super) fn row_mac(system: &SystemKeys, label: &str) -> RowMac {
    const BOUND_TO: &[u8] = b"oubliette sum of control rows";
    let key = kdf::derive(&system.settings, label, &[]);
    let sealing = Arc::new(kdf::derive(&system.settings, "oubliette sum of control rows", &[]));
    let opening = Arc::clone(&sealing);
    RowMac::new(
        move |field, parts| tag(&key, field, parts),
        move |context, sum| key_wrap::seal(&kdf::derive(&sealing, "one sum", context), BOUND_TO, sum),
        move |context, sealed| {
            let opened = key_wrap::open(&kdf::derive(&opening, "one sum", context), BOUND_TO, sealed);
            opened.ok().map(|sum| sum.to_vec())
        },
    )
}
