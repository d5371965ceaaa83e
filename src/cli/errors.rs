//! What can go wrong in a command, of which kind it is, and how it is told: in words, or as one JSON object.
//!
//! Nothing of a record or a customer stands in an error; what a server says is shown as it says it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::audit::AuditError;
use super::bench::BenchError;
use super::demo::DemoError;
use super::init::InitError;
use super::policy::PolicyFileError;
use super::serve::RefusedToServe;
use super::settings::SettingsError;
use crate::api::reason::code_name;
use crate::api::server::ServeError;
use crate::config::ConfigError;
use crate::root_key::KeyFileError;
use crate::telemetry::TelemetryError;
use crate::vault::{StoreError, VaultError};

/// Of which kind an error is: what a script wants to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything else.
    Other,
    /// The command line, the environment or the profile is not right.
    Usage,
    /// The caller may not do it, or is not known.
    Refused,
    /// What was asked for is not there, or not the caller's to see.
    NotFound,
    /// The service cannot be reached or has no capacity now.
    Unavailable,
    /// The service, or a check made here, does not take the input.
    BadInput,
    /// A copy of the data lacks records or objects.
    Incomplete,
}

impl Kind {
    /// The name that stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::BadInput => "bad_input",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The connection settings are not complete or not right.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A new vault was not made, or not whole.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be set up.
    #[error(transparent)]
    Log(#[from] TelemetryError),
    /// The service does not start.
    #[error(transparent)]
    Start(#[from] RefusedToServe),
    /// A copy of the log, or a report out of it, is not what it should be.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A key's file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The server cannot serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A measurement failed.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// A step of the demo went otherwise than promised.
    #[error(transparent)]
    Demo(Box<DemoError>),
    /// Details that a record must have stand neither in flags nor in the file.
    #[error("the record needs more details: give {}", flags.join(", "))]
    MissingDetails {
        /// The flags that would give them.
        flags: Vec<&'static str>,
    },
    /// The erasure was not confirmed.
    #[error("not erased: what was typed is not the customer id; type it exactly, or give --yes")]
    NotConfirmed,
    /// There is nobody to ask.
    #[error("not erased: no terminal to confirm on; give --yes if you mean it")]
    NobodyToAsk,
    /// A directory that is no mirror of the configuration.
    #[error("{} is not among the mirrors of the configuration: oubliette mirror status lists them", directory.display())]
    NoSuchMirror {
        /// The directory.
        directory: PathBuf,
    },
    /// No mirror to copy.
    #[error("there is no mirror of everything to copy: make one (oubliette mirror add), or name one (--from-mirror)")]
    NoMirror,
    /// Something does not open.
    #[error("{count} records are damaged or missing: restore from a mirror, or ask whoever looks after the disks")]
    NotWhole {
        /// How many.
        count: u64,
    },
    /// A restore could not bring everything back.
    #[error(
        "restored, but {count} records are missing or damaged, as listed: restore again from a mirror or backup that has them, or accept the loss with --allow-missing; the data directory can be served as it is"
    )]
    RestoredInPart {
        /// How many records.
        count: u64,
    },
    /// A mirror that is removed is the last one with every object.
    #[error(
        "{} is not removed: it is the last mirror with every object, and no other mirror of everything has them all yet; wait (oubliette mirror status), or give --force if recordings may be lost with the data directory",
        directory.display()
    )]
    LastCompleteMirror {
        /// The mirror's directory.
        directory: PathBuf,
    },
    /// One file for the receipts of many.
    #[error(
        "not erased: each customer of a list has a receipt of its own; erase without --receipt, and get each by its id (oubliette receipt get)"
    )]
    ReceiptOfMany,
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The target of an output is no regular file.
    #[error("{} is not a regular file; name another one, or `-` for standard output", path.display())]
    NotRegular {
        /// The target.
        path: PathBuf,
    },
    /// A file is longer than it can be.
    #[error("{} is longer than {limit_bytes} bytes; split the chat", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// A chat file is not as it should be.
    #[error("{}, line {line}, column {column}: {problem}; `oubliette chat put --help` shows the form", path.display())]
    ChatFile {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong, in words; never what stands there.
        problem: &'static str,
    },
    /// Standard input or output failed.
    #[error("cannot use the standard streams: {source}")]
    Streams {
        /// Why.
        source: io::Error,
    },
    /// Signals cannot be blocked.
    #[error("cannot block signals before the service starts: {source}; check what the service's user may do")]
    Signals {
        /// Why.
        source: io::Error,
    },
    /// The content to be uploaded cannot be read.
    #[error("cannot read the content; nothing was stored: {source}")]
    Content {
        /// Why.
        source: io::Error,
    },
    /// The downloaded content cannot be written.
    #[error("cannot write the content: {source}")]
    Sink {
        /// Why.
        source: io::Error,
    },
    /// The content has another hash than it should have.
    #[error("the content's SHA-256 is {found}, expected {expected}; do not use it, and try again")]
    ContentDiffers {
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The server cannot be connected to.
    #[error(
        "cannot connect to {endpoint}: {reason}; check that the service runs and that endpoint, ca and server_name are right"
    )]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// The chain of reasons.
        reason: String,
    },
    /// The connection broke during a call.
    #[error("the connection broke: {reason}; try again, a write with the same --request-id")]
    Broken {
        /// The chain of reasons.
        reason: String,
    },
    /// An answer did not come in time.
    #[error("no answer within {} s; try again, a write with the same --request-id, or give a longer --timeout", waited.as_secs())]
    Deadline {
        /// How long it was waited for.
        waited: Duration,
    },
    /// A stream stood still.
    #[error("the stream stood still for {} s; try again, an upload with the same --request-id", waited.as_secs())]
    Idle {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server refused the call or failed.
    #[error("{}", .0.message)]
    Answered(Box<Refusal>),
    /// The server's answer breaks the API's rules.
    #[error("the service's answer is not as the API says: {what}; client and service may be of different versions")]
    Protocol {
        /// What is wrong.
        what: &'static str,
    },
    /// A write failed whose request id the caller needs for a safe repeat.
    #[error("{source}")]
    Request {
        /// The request id.
        request_id: String,
        /// What went wrong.
        source: Box<CliError>,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes; give --request-id")]
    NoRandom,
    /// A receipt is not accepted.
    #[error(transparent)]
    NotVerified(#[from] super::receipt::NotVerified),
    /// A vault that was opened for one command failed.
    #[error("{}", chain(.0))]
    Vault(#[source] Box<VaultError>),
    /// The caller stopped the command.
    #[error("interrupted; nothing was left half written")]
    Interrupted,
}

/// An error that the server answered with.
#[derive(Debug)]
pub struct Refusal {
    /// The status code.
    pub code: Code,
    /// What the server says, with what to do.
    pub message: String,
    /// The stable reason, where there is one.
    pub reason: Option<String>,
    /// What belongs to the reason: limits, fields.
    pub metadata: BTreeMap<String, String>,
    /// The fields that are wrong.
    pub fields: Vec<FieldProblem>,
    /// After which time a repeat may work.
    pub retry_after: Option<Duration>,
}

/// What is wrong with one field.
#[derive(Debug)]
pub struct FieldProblem {
    /// The field, as the API spells it.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Box::new(error))
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        // Only a status that was made on this side of the wire has a source.
        if status.source().is_some() {
            return Self::Broken { reason: chain(&status) };
        }
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        Self::Answered(Box::new(Refusal {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info.map(|info| info.reason.clone()),
            metadata: info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default(),
            fields: violations
                .iter()
                .map(|v| FieldProblem { field: v.field.clone(), problem: v.description.clone() })
                .collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }))
    }
}

impl CliError {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Settings(_)
            | Self::MissingDetails { .. }
            | Self::NotConfirmed
            | Self::NobodyToAsk
            | Self::NoSuchMirror { .. }
            | Self::NoMirror
            | Self::ReceiptOfMany => Kind::Usage,
            Self::TooLong { .. } | Self::ChatFile { .. } | Self::NotVerified(_) => Kind::BadInput,
            Self::RestoredInPart { .. } | Self::LastCompleteMirror { .. } => Kind::Incomplete,
            Self::Vault(error) if is_incomplete(error) => Kind::Incomplete,
            Self::Connect { .. } | Self::Broken { .. } | Self::Deadline { .. } | Self::Idle { .. } => Kind::Unavailable,
            Self::Answered(refusal) => kind_of(refusal.code),
            Self::Request { source, .. } => source.kind(),
            Self::Demo(_)
            | Self::Init(_)
            | Self::Config(_)
            | Self::Log(_)
            | Self::Start(_)
            | Self::Policy(_)
            | Self::Audit(_)
            | Self::KeyFile(_)
            | Self::Serve(_)
            | Self::Bench(_)
            | Self::File { .. }
            | Self::NotRegular { .. }
            | Self::Streams { .. }
            | Self::Signals { .. }
            | Self::Content { .. }
            | Self::Sink { .. }
            | Self::ContentDiffers { .. }
            | Self::Protocol { .. }
            | Self::Vault(_)
            | Self::NoRandom
            | Self::NotWhole { .. }
            | Self::Interrupted => Kind::Other,
        }
    }

    /// The same error, with the id by which the request can be repeated.
    #[must_use]
    pub fn of_request(self, request_id: &str) -> Self {
        Self::Request { request_id: request_id.to_owned(), source: Box::new(self) }
    }

    /// What the server answered, if it is that.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Answered(refusal) => Some(refusal),
            Self::Request { source, .. } => source.refusal(),
            _ => None,
        }
    }

    fn request_id(&self) -> Option<&str> {
        match self {
            Self::Request { request_id, .. } => Some(request_id),
            _ => None,
        }
    }
}

fn is_incomplete(error: &VaultError) -> bool {
    matches!(error, VaultError::Store(StoreError::MirrorIncomplete { .. }))
}

fn kind_of(code: Code) -> Kind {
    match code {
        Code::PermissionDenied | Code::Unauthenticated => Kind::Refused,
        Code::NotFound => Kind::NotFound,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Cancelled => {
            Kind::Unavailable
        }
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists => Kind::BadInput,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => Kind::Other,
    }
}

/// Writes `error` for a person, or with `json` as one line of JSON for a program.
pub fn report(error: &CliError, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json { writeln!(out, "{}", as_json(error)) } else { write_lines(error, out) }
}

fn write_lines(error: &CliError, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "error: {}", super::output::printable(&error.to_string()))?;
    let mut line = |name: &str, value: &str| writeln!(out, "  {name:<12} {}", super::output::printable(value));
    if let Some(refusal) = error.refusal() {
        line("code", code_name(refusal.code))?;
        if let Some(reason) = &refusal.reason {
            line("reason", reason)?;
        }
        for (name, value) in refusal.metadata.iter().filter(|(name, _)| *name != "field") {
            line(name, value)?;
        }
        for field in refusal.fields.iter().filter(|field| !refusal.message.contains(&field.problem)) {
            line("field", &format!("{}: {}", field.field, field.problem))?;
        }
        if let Some(delay) = refusal.retry_after {
            line("retry after", &format!("{} ms", delay.as_millis()))?;
        }
        if refusal.code == Code::Unauthenticated {
            line("token", "comes from OUBLIETTE_TOKEN, --token-file, OUBLIETTE_TOKEN_FILE or the profile")?;
        }
    }
    match error.request_id() {
        Some(id) => line("request id", &format!("{id}; repeat safely with --request-id {id}")),
        None => Ok(()),
    }
}

fn as_json(error: &CliError) -> Value {
    let mut body = json!({ "kind": error.kind().name(), "message": error.to_string() });
    if let Some(refusal) = error.refusal() {
        body["code"] = code_name(refusal.code).into();
        body["reason"] = refusal.reason.clone().into();
        body["metadata"] = json!(refusal.metadata);
        body["fields"] =
            refusal.fields.iter().map(|f| json!({ "field": f.field, "problem": f.problem })).collect::<Vec<_>>().into();
        body["retry_after_ms"] =
            refusal.retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)).into();
    }
    if let Some(id) = error.request_id() {
        body["request_id"] = id.into();
    }
    json!({ "error": body })
}

/// An error's own words and those of all its sources, without repeats.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}
