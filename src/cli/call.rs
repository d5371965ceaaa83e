//! `oubliette call`: stores and reads call recordings, as streams.

use std::path::PathBuf;

use indicatif::ProgressBar;
use tokio::io::AsyncWrite;

use super::case::OnCaseArgs;
use super::client::{CHUNK_BYTES, Client, Downloaded};
use super::details::{DetailsArgs, DetailsFile};
use super::errors::CliError;
use super::files::{self, NewFile};
use super::names::Named as _;
use super::output::{Output, progress_bar};
use super::views::{FetchedView, StoredView};
use crate::api::v1;
use crate::domain::codec::{hex, unhex};

const PUT_EXAMPLES: &str = "Examples:
  oubliette call put call.wav --customer c-1001 --started 2026-11-23T14:05:00Z --purpose support --legal-basis contract
  sox in.mp3 -t wav - | oubliette call put - --media-type audio/wav --customer c-1001 \\
    --started 2026-11-23T14:05:00Z --purpose support --legal-basis contract --json";

const GET_EXAMPLES: &str = "Examples:
  oubliette call get 01939c5e-7a1c-7b40-8f3e-0242ac120002 --purpose support --output call.wav
  oubliette call get 01939c5e-7a1c-7b40-8f3e-0242ac120002 --purpose support --range 0-1023 --output head.bin
  oubliette call get 01939c5e-7a1c-7b40-8f3e-0242ac120002 --purpose support --output - | ffplay -";

/// What to do with calls.
#[derive(clap::Subcommand)]
pub enum CallCommand {
    /// Store a recording
    #[command(after_help = PUT_EXAMPLES)]
    Put(PutArgs),
    /// Read a recording, or a part of it
    #[command(after_help = GET_EXAMPLES)]
    Get(GetArgs),
}

/// What to store.
#[derive(clap::Args)]
pub struct PutArgs {
    /// The recording; - for standard input
    pub file: PathBuf,
    /// Media type, such as audio/wav [default: by the ending of the file's name]
    #[arg(long, value_name = "TYPE")]
    pub media_type: Option<String>,
    /// SHA-256 of the content in hexadecimal; other content is refused
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    pub sha256: Option<[u8; 32]>,
    /// What is sensitive and when it is spoken: FIRST_MS-LAST_MS:KIND, in milliseconds; may be repeated
    #[arg(long, value_name = "SPAN", value_parser = parse_spoken)]
    pub sensitive: Vec<v1::SpokenSpan>,
    /// A name for this request, for a safe repeat [default: a random one, printed]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// What the platform says about the call.
    #[command(flatten)]
    pub details: DetailsArgs,
}

/// What to read.
#[derive(clap::Args)]
pub struct GetArgs {
    /// The record's id
    pub record: String,
    /// Why it is read
    #[arg(long)]
    pub purpose: String,
    /// On which case.
    #[command(flatten)]
    pub on_case: OnCaseArgs,
    /// Where to write it; - for standard output. The file gets its name only when it is complete
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Only these bytes: FIRST-LAST (both included), FIRST- (to the end) or OFFSET+LENGTH
    #[arg(long, value_name = "RANGE", value_parser = parse_range)]
    pub range: Option<v1::ByteRange>,
    /// SHA-256 that what is written must have, in hexadecimal; a whole recording is always compared with its record
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    pub sha256: Option<[u8; 32]>,
}

/// Runs the command.
pub async fn run(client: &Client, command: CallCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        CallCommand::Put(args) => put(client, &args, output).await,
        CallCommand::Get(args) => get(client, args, output).await,
    }
}

async fn put(client: &Client, args: &PutArgs, output: &mut Output) -> Result<(), CliError> {
    let request_id = files::request_id(args.request_id.as_deref())?;
    let metadata = v1::RecordingMetadata {
        request_id: request_id.clone(),
        details: Some(args.details.over(DetailsFile::default(), v1::Channel::Voice)?),
        media_type: args.media_type.clone().unwrap_or_else(|| media_type(args).to_owned()),
        content_sha256: args.sha256.map(|hash| hash.to_vec().into()).unwrap_or_default(),
        sensitive: args.sensitive.clone(),
    };
    let (content, length) = files::open(&args.file).await?;
    let bar = progress_bar(!output.is_json(), length);
    let uploaded = client.upload_recording(metadata, content, CHUNK_BYTES, |sent| bar.set_position(sent)).await;
    bar.finish_and_clear();
    let uploaded = uploaded.map_err(|error| error.of_request(&request_id))?;
    output.result(&StoredView { request_id, record: uploaded.record.into() }, StoredView::text)
}

/// The media type that the ending of the file's name tells.
fn media_type(args: &PutArgs) -> &'static str {
    let ending = args.file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("wav") => "audio/wav",
        Some("mp3") => "audio/mpeg",
        Some("ogg" | "oga" | "opus") => "audio/ogg",
        Some("flac") => "audio/flac",
        Some("m4a" | "mp4") => "audio/mp4",
        Some("webm") => "audio/webm",
        _ => "application/octet-stream",
    }
}

async fn get(client: &Client, args: GetArgs, output: &mut Output) -> Result<(), CliError> {
    let (purpose, range, reader_case_id) = (args.purpose, args.range, args.on_case.on_case);
    let request = v1::DownloadRecordingRequest { record_id: args.record, purpose, range, reader_case_id };
    let bar = progress_bar(!output.is_json(), Some(0));
    if files::is_dash(&args.output) {
        let done = fetch(client, request, tokio::io::stdout(), &bar, args.sha256).await?;
        // Standard output is the recording's, so the report goes beside it.
        return tell(done, &mut Output::stderr(output.is_json()));
    }
    let mut file = NewFile::create(&args.output)?;
    let done = fetch(client, request, file.sink(), &bar, args.sha256).await?;
    file.finish().await?;
    tell(done, output)
}

async fn fetch(
    client: &Client,
    request: v1::DownloadRecordingRequest,
    sink: impl AsyncWrite + Unpin,
    bar: &ProgressBar,
    expected: Option<[u8; 32]>,
) -> Result<Downloaded, CliError> {
    let show = |received, total| {
        bar.set_length(total);
        bar.set_position(received);
    };
    let done = client.download_recording(request, sink, show).await;
    bar.finish_and_clear();
    let done = done?;
    match expected {
        Some(expected) if expected != done.sha256 => {
            Err(CliError::ContentDiffers { expected: hex(&expected), found: hex(&done.sha256) })
        }
        _ => Ok(done),
    }
}

fn tell(done: Downloaded, output: &mut Output) -> Result<(), CliError> {
    let Downloaded { record, range, silenced, sha256 } = done;
    let view = FetchedView {
        record: record.into(),
        offset: range.offset,
        length: range.length,
        sha256: hex(&sha256),
        silenced: silenced.len(),
    };
    output.result(&view, FetchedView::text)
}

/// Why a text says nothing of what is spoken when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be FIRST_MS-LAST_MS:KIND, such as 21562-30651:payment_card")]
pub struct NotSpoken;

/// Parses a span of time in which something sensitive is spoken.
pub fn parse_spoken(text: &str) -> Result<v1::SpokenSpan, NotSpoken> {
    let parse = || {
        let (times, kind) = text.split_once(':')?;
        let (start, end) = times.split_once('-')?;
        let (start_ms, end_ms) = (start.parse().ok()?, end.parse().ok()?);
        Some(v1::SpokenSpan { start_ms, end_ms, kind: v1::SensitiveKind::from_name(kind)?.into() })
    };
    parse().filter(|span| span.start_ms < span.end_ms).ok_or(NotSpoken)
}

/// Why a text is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotARange {
    /// Another form.
    #[error("must be FIRST-LAST, FIRST- or OFFSET+LENGTH, in bytes from 0")]
    Form,
    /// No byte is in it.
    #[error("has no byte in it: LAST must not be before FIRST, LENGTH at least 1")]
    Empty,
    /// More bytes than can be counted.
    #[error("reaches over the largest number there is")]
    TooLarge,
}

/// Parses a span of bytes; in the result, a length of 0 means up to the end.
pub fn parse_range(text: &str) -> Result<v1::ByteRange, NotARange> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        if digits { text.parse::<u64>().map_err(|_| NotARange::TooLarge) } else { Err(NotARange::Form) }
    };
    if let Some((offset, length)) = text.split_once('+') {
        let (offset, length) = (number(offset)?, number(length)?);
        offset.checked_add(length).ok_or(NotARange::TooLarge)?;
        return if length == 0 { Err(NotARange::Empty) } else { Ok(v1::ByteRange { offset, length }) };
    }
    let (first, last) = text.split_once('-').ok_or(NotARange::Form)?;
    let offset = number(first)?;
    if last.is_empty() {
        return Ok(v1::ByteRange { offset, length: 0 });
    }
    let span = number(last)?.checked_sub(offset).ok_or(NotARange::Empty)?;
    Ok(v1::ByteRange { offset, length: span.checked_add(1).ok_or(NotARange::TooLarge)? })
}

/// Why a text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct NotAHash;

/// Parses a SHA-256 in either case.
pub fn parse_sha256(text: &str) -> Result<[u8; 32], NotAHash> {
    unhex(&text.to_ascii_lowercase()).ok_or(NotAHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_meant() {
        for (text, offset, length) in [
            ("0-1023", 0, 1024),
            ("7-7", 7, 1),
            ("5-", 5, 0),
            ("1024+512", 1024, 512),
            ("0-18446744073709551614", 0, u64::MAX),
        ] {
            assert!(parse_range(text) == Ok(v1::ByteRange { offset, length }), "{text}");
        }
    }

    #[test]
    fn ranges_that_mean_nothing_are_refused() {
        for (text, error) in [
            ("", NotARange::Form),
            ("5", NotARange::Form),
            ("-5", NotARange::Form),
            ("a-b", NotARange::Form),
            (" 1-2", NotARange::Form),
            ("0x1-2", NotARange::Form),
            ("1-2-3", NotARange::Form),
            ("+5", NotARange::Form),
            ("1++2", NotARange::Form),
            ("9-8", NotARange::Empty),
            ("5+0", NotARange::Empty),
            ("0-18446744073709551615", NotARange::TooLarge),
            ("1+18446744073709551615", NotARange::TooLarge),
            ("99999999999999999999-", NotARange::TooLarge),
        ] {
            assert!(parse_range(text).err() == Some(error), "{text}");
        }
    }
}
