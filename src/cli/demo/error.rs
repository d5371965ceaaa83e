//! What can go wrong in the demo.

use std::io;
use std::path::PathBuf;

use super::attacker::AttackError;
use crate::cli::errors::CliError;

/// Why the demo stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A step went otherwise than the vault promises.
    #[error("expected {expected}; seen: {seen}")]
    Unexpected {
        /// What the vault promises.
        expected: String,
        /// What happened.
        seen: String,
    },
    /// A step could not be carried through.
    #[error("step {number} ({doing}) did not go as it should: {source}")]
    Step {
        /// Its number.
        number: u32,
        /// What it was to show.
        doing: &'static str,
        /// What happened.
        source: Box<CliError>,
    },
    /// The folder has something in it.
    #[error("{} is not empty; name an empty or absent folder with --dir", .0.display())]
    NotEmpty(PathBuf),
    /// A file or folder could not be used.
    #[error("cannot {doing} {}: {source}; check the folder and the room on the disk", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder is nested deeper than any data folder.
    #[error("{} is nested too deeply to be a data folder", .0.display())]
    TooDeep(PathBuf),
    /// The corpus is not as it should be.
    #[error("{}, line {line}: {problem}; see the README.md of the corpus", path.display())]
    Corpus {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong; never what stands there.
        problem: &'static str,
    },
    /// The corpus has nothing to show the story with.
    #[error("{} must hold at least two chats and one call", .0.display())]
    CorpusTooSmall(PathBuf),
    /// A worker of the demo broke down.
    #[error("a part of the demo broke down; run it again, and report it if it stays")]
    BrokeDown,
    /// The attacker could not even read what was stolen.
    #[error(transparent)]
    Attack(#[from] AttackError),
}

impl DemoError {
    /// A step went otherwise than promised.
    pub(super) fn unexpected(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::Unexpected { expected: expected.into(), seen: seen.into() }
    }

    /// A file or folder could not be used.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

impl From<DemoError> for CliError {
    fn from(error: DemoError) -> Self {
        Self::Demo(Box::new(error))
    }
}

/// Fails unless `holds`.
pub(super) fn expect(holds: bool, expected: &str, seen: impl FnOnce() -> String) -> Result<(), CliError> {
    if holds { Ok(()) } else { Err(DemoError::unexpected(expected, seen()).into()) }
}
