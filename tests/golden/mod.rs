//! Data directories that earlier releases wrote, packed: one zstd frame over a list of entries. An entry is the length (4 bytes,
//! big-endian) and the bytes of its path, 0 for a folder or 1 for a file, and the length (4) and the bytes of the content.
#![allow(dead_code, reason = "two crates of tests use different parts of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// More than any of them has when it is unpacked.
const MAX_BYTES: usize = 16 << 20;

fn folder(layout: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(layout)
}

/// Unpacks the directory of a layout (`v1`) into `to`: `data`, `mirror`, `root.key`, `signing.key`, `oubliette.toml`.
pub fn unpack(layout: &str, to: &Path) {
    let plain = zstd::bulk::decompress(&fs::read(folder(layout).join("vault.zst")).unwrap(), MAX_BYTES).unwrap();
    let mut rest = plain.as_slice();
    while !rest.is_empty() {
        let name = std::str::from_utf8(framed(&mut rest)).unwrap();
        let is_file = rest.split_off_first().unwrap() == &1;
        let (path, content) = (to.join(name), framed(&mut rest));
        if is_file {
            fs::write(&path, content).unwrap();
            // Keys that others may read are refused.
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        } else {
            fs::create_dir_all(path).unwrap();
        }
    }
}

/// What the directory of a layout contains.
pub fn contents(layout: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(folder(layout).join("contents.json")).unwrap()).unwrap()
}

fn framed<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = u32::from_be_bytes(*rest.split_off(..4).unwrap().first_chunk().unwrap());
    rest.split_off(..usize::try_from(length).unwrap()).unwrap()
}
