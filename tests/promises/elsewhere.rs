//! Programs that are not ours: the checkers in `tests/interop`, which were written from the published texts alone.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::tell;

/// Runs one of the checkers that are written in Python; `None` where there is no Python with `cryptography`.
pub fn run(script: &str, arguments: &[&str]) -> Option<Output> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    Some(python()?.arg(folder.join(script)).args(arguments).output().unwrap())
}

/// Runs a few lines of Python that may import the checkers.
pub fn run_lines(lines: &str, arguments: &[&str]) -> Option<Output> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let mut python = python()?;
    python.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(python.arg("-c").arg(lines).args(arguments).output().unwrap())
}

fn python() -> Option<Command> {
    let python = std::env::var("OUBLIETTE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    static HAS_IT: OnceLock<bool> = OnceLock::new();
    let looked = || Command::new(&python).args(["-c", "import cryptography"]).output();
    if *HAS_IT.get_or_init(|| looked().is_ok_and(|output| output.status.success())) {
        return Some(Command::new(&python));
    }
    assert!(std::env::var_os("CI").is_none(), "the machine of CI has no Python with `cryptography`");
    tell("SKIPPED: nothing is checked by another program, as there is no Python with `cryptography` here");
    None
}
