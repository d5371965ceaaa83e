//! What tests are measured on and does not belong to the repository: published vectors, and chats and calls of people.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where something stands in `../shared/<folder>`, or where the variable says that folder is. Where it is missing, that is said aloud, and `None`
/// given; under `CI`, where it always is there, that fails.
pub fn path(variable: &str, folder: &str, within: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(folder);
    let path = std::env::var_os(variable).map_or_else(beside, PathBuf::from).join(within);
    if path.exists() {
        return Some(path);
    }
    let missing = format!("SKIPPED: {} is missing, nothing was checked; set {variable}", path.display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    // Past the test's capture, which would swallow it.
    writeln!(std::io::stderr(), "{missing}").expect("stderr is open while tests run");
    None
}

/// A file of published vectors.
pub fn vectors(file: &str) -> Option<PathBuf> {
    path("OUBLIETTE_VECTORS", "vectors", file)
}

/// A file or folder of the corpus.
pub fn corpus(within: &str) -> Option<PathBuf> {
    path("OUBLIETTE_CORPUS", "corpus", within)
}
