//! Copies of the log and reports out of it: written, and checked offline.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::ExposureArgs;
use crate::api::v1;
use crate::audit::copy::{CHECKPOINT, Files};
use crate::audit::cosignature::WitnessKey;
use crate::audit::note::{Checkpoint, MAX_NOTE_BYTES, NoteError};
use crate::audit::report::{self, NotAReport};
use crate::audit::tile::{self, FULL};
use crate::audit::verify::{self as check, NotVerified, Trusted};
use crate::cli::client::Client;
use crate::cli::errors::CliError;
use crate::cli::files::NewFile;
use crate::cli::output::Output;
use crate::cli::receipt::read_keys;
use crate::cli::serve::PlaceArgs;
use crate::config::Config;
use crate::vault::LOG_FOLDER;

/// The most bytes of a report: two million records in lines.
const MAX_REPORT_BYTES: u64 = 1 << 30;
/// How often a copy is begun anew.
const MAX_TRIES: u32 = 5;
/// An entry may be dated before another by so much without being told: clocks are set.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

/// Why a copy or a report is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A copy is not whole, or not of this log.
    #[error("{path} is not a whole copy of the log: {source}", path = path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// The first thing that is wrong.
        source: Box<NotVerified<io::Error>>,
    },
    /// A report was changed, or is none.
    #[error("{path} cannot be believed: {source}", path = path.display())]
    Report {
        /// The report.
        path: PathBuf,
        /// Why.
        source: NotAReport,
    },
    /// A checkpoint cannot be accepted.
    #[error("{path}: {source}", path = path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NoteError,
    },
    /// A witness's key is none.
    #[error("{0:?} is no witness's public key: expected <name>+<id>+<base64>")]
    WitnessKey(String),
    /// The service has not written the log's files.
    #[error("{path} has no checkpoint; the service writes it within seconds of its start: start it, and try again", path = path.display())]
    NothingPublished {
        /// Where it should be.
        path: PathBuf,
    },
    /// A witness does not cosign.
    #[error("not cosigned: {0}")]
    Refused(#[source] crate::audit::witness::Refused),
    /// An answer has no cosignature of the witness that is named.
    #[error("{path} has no cosignature of this witness: is it another one's answer?", path = path.display())]
    NotItsAnswer {
        /// The answer.
        path: PathBuf,
    },
    /// Fewer witnesses have cosigned than must have.
    #[error("{path} is cosigned by {found} of the witnesses that are named, and {needed} must be: the log may show others another history", path = path.display())]
    TooFewWitnesses {
        /// The copy.
        path: PathBuf,
        /// How many have.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// What came is no request.
    #[error("this is no request of c2sp.org/tlog-witness; make it with `oubliette audit request`")]
    NotARequest,
    /// The name is none.
    #[error("{0:?} cannot be the name of a witness; use one such as auditors.example")]
    Name(String),
}

/// What a copy is checked against.
#[derive(clap::Args)]
pub struct VerifyArgs {
    /// The copy
    pub dir: PathBuf,
    /// A public key that signed the log, or a file of such keys; may be repeated
    #[arg(long = "key", value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// A checkpoint that was kept elsewhere, which the copy must continue; may be repeated
    #[arg(long, value_name = "FILE")]
    pub earlier: Vec<PathBuf>,
    /// The public key of a witness that must have cosigned; may be repeated
    #[arg(long = "witness", value_name = "KEY")]
    pub witnesses: Vec<String>,
    /// How many of these witnesses must have cosigned [default: all]
    #[arg(long, value_name = "N", requires = "witnesses")]
    pub quorum: Option<usize>,
}

/// Which report to check.
#[derive(clap::Args)]
pub struct ReportArgs {
    /// The report
    pub file: PathBuf,
    /// A public key that signed the log, or a file of such keys; may be repeated
    #[arg(long = "key", value_name = "KEY", required = true)]
    pub keys: Vec<String>,
}

/// A copy on the disk.
pub struct Folder<'a>(pub &'a Path);

impl Files for Folder<'_> {
    type Error = io::Error;

    fn read(&self, path: &str, at_most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let path = self.0.join(path);
        // Whatever else stands there could be read for ever.
        if path.metadata().is_ok_and(|about| !about.is_file()) {
            return Err(io::Error::other("it is no regular file"));
        }
        match File::open(path) {
            Ok(file) => file.take(at_most as u64).read_to_end(&mut bytes).map(|_| Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A small text file.
pub fn read_note(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { doing: "read", path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_NOTE_BYTES as u64).read_to_string(&mut text)).map_err(failed)?;
    Ok(text)
}

/// A witness's key that a flag gives.
pub fn witness_key(text: &str) -> Result<WitnessKey, CliError> {
    WitnessKey::parse(text).ok_or_else(|| AuditError::WitnessKey(text.to_owned()).into())
}

/// Checks a copy.
pub fn verify(args: &VerifyArgs, output: &mut Output) -> Result<(), CliError> {
    let keys = args.keys.iter().map(|key| read_keys(key)).collect::<Result<Vec<_>, _>>()?.concat();
    let witnesses = args.witnesses.iter().map(|key| witness_key(key)).collect::<Result<Vec<_>, _>>()?;
    let earlier = args.earlier.iter().map(|path| read_note(path)).collect::<Result<Vec<_>, _>>()?;
    let earlier: Vec<&str> = earlier.iter().map(String::as_str).collect();
    let trusted = Trusted { keys: &keys, witnesses: &witnesses, earlier: &earlier, tolerance_ms: CLOCK_TOLERANCE_MS };
    let checked = check::verify(&Folder(&args.dir), &trusted, &mut |_| {});
    let report = checked.map_err(|source| AuditError::Copy { path: args.dir.clone(), source: Box::new(source) })?;
    let (found, needed) = (report.signed.cosignatures.len(), args.quorum.unwrap_or(witnesses.len()));
    if found < needed {
        return Err(AuditError::TooFewWitnesses { path: args.dir.clone(), found, needed }.into());
    }
    let cosigned: Vec<_> = report.signed.cosignatures.iter().map(|one| one.witness.as_str().to_owned()).collect();
    let document = json!({
        "origin": report.signed.checkpoint.origin.as_str(),
        "entries": report.signed.checkpoint.size,
        "first_ms": report.times.first.map(|at| at.as_ms()),
        "last_ms": report.times.last.map(|at| at.as_ms()),
        "set_back": report.times.set_back,
        "witnesses": cosigned,
    });
    let text = |_: &serde_json::Value| {
        let Checkpoint { origin, size, .. } = &report.signed.checkpoint;
        let clocks = match report.times.set_back {
            0 => String::new(),
            count => {
                format!("{count} entries are dated before earlier ones by more than a minute: a clock was set back.\n")
            }
        };
        let by = if cosigned.is_empty() { "no witness".to_owned() } else { cosigned.join(", ") };
        format!("{}: {size} entries, all as they were logged; cosigned by {by}.\n{clocks}", origin.as_str())
    };
    output.result(&document, text)
}

/// Copies the files that the service keeps beside its data. The checkpoint goes last.
pub async fn export(to: &Path, place: &PlaceArgs, output: &mut Output) -> Result<(), CliError> {
    let from = Config::load(&place.config)?.data.dir.join(LOG_FOLDER);
    let checkpoint = from.join(CHECKPOINT);
    if !checkpoint.is_file() {
        return Err(AuditError::NothingPublished { path: from }.into());
    }
    // While it is copied the log goes on, and partial tiles give way to full ones: then from the newer checkpoint.
    let mut tried = 1;
    let (note, size, copied) = loop {
        match copy(&from, to).await {
            Err(CliError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound && tried < MAX_TRIES => {
                tried += 1
            }
            copied => break copied?,
        }
    };
    std::fs::create_dir_all(to).map_err(|source| CliError::File { doing: "make", path: to.to_owned(), source })?;
    NewFile::create(&to.join(CHECKPOINT))?.finish_with(note.as_bytes()).await?;
    let document = json!({ "entries": size, "files": copied });
    output.result(&document, |_| format!("{size} entries; {copied} files were new.\n"))
}

/// Copies the tiles of the newest checkpoint; returns it, how many entries it has, and how many files were new.
async fn copy(from: &Path, to: &Path) -> Result<(String, u64, u64), CliError> {
    let checkpoint = from.join(CHECKPOINT);
    let note = read_note(&checkpoint)?;
    let stated = note.lines().nth(1).and_then(|size| size.parse::<u64>().ok());
    let malformed = || AuditError::Note { path: checkpoint.clone(), source: NoteError::Malformed };
    let size = stated.ok_or_else(malformed)?;
    let mut copied = 0_u64;
    for tile in tile::grown(0, size) {
        let path = tile.to_string();
        let target = to.join(&path);
        // What is full never changes.
        if tile.width == FULL && target.is_file() {
            continue;
        }
        let failed = |source| CliError::File { doing: "copy", path: target.clone(), source };
        let bytes = std::fs::read(from.join(&path)).map_err(failed)?;
        std::fs::create_dir_all(target.parent().unwrap_or(to)).map_err(failed)?;
        NewFile::create(&target)?.finish_with(&bytes).await?;
        copied += 1;
    }
    Ok((note, size, copied))
}

/// Writes a report to a file, which gets its name when it is complete.
pub async fn exposure(client: &Client, args: ExposureArgs, output: &mut Output) -> Result<(), CliError> {
    let ExposureArgs { principal, token, from, before, output: path } = args;
    let request = v1::ReportExposureRequest { principal, token_id: token, from, before };
    let mut file = NewFile::create(&path)?;
    let mut bytes = 0;
    let mut stream = client.report_exposure(request).await?;
    while let Some(piece) = stream.message().await? {
        bytes += piece.chunk.len();
        let written = file.sink().write_all(&piece.chunk).await;
        written.map_err(|source| CliError::File { doing: "write", path: path.clone(), source })?;
    }
    file.finish().await?;
    output.result(&json!({ "bytes": bytes }), |_| format!("{bytes} bytes\n"))
}

/// Checks a report, and says in short what is in it.
pub fn verify_report(args: &ReportArgs, output: &mut Output) -> Result<(), CliError> {
    let keys = args.keys.iter().map(|key| read_keys(key)).collect::<Result<Vec<_>, _>>()?.concat();
    let failed = |source| CliError::File { doing: "read", path: args.file.clone(), source };
    let mut bytes = Vec::new();
    File::open(&args.file).and_then(|file| file.take(MAX_REPORT_BYTES).read_to_end(&mut bytes)).map_err(failed)?;
    let opened = report::open(&bytes, &keys);
    let lines = opened.map_err(|source| AuditError::Report { path: args.file.clone(), source })?;
    let head = lines.lines().next().unwrap_or_default().to_owned();
    let document: serde_json::Value = serde_json::from_str(&head).unwrap_or_default();
    output.result(&document, |_| format!("The report is as it was signed: {head}\n"))
}
