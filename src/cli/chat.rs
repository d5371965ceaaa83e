//! `oubliette chat`: stores and reads chat transcripts.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::case::OnCaseArgs;
use super::client::Client;
use super::details::{DetailsArgs, DetailsFile, NamedText, TimeText};
use super::errors::CliError;
use super::files;
use super::output::Output;
use super::views::{ChatView, StoredView};
use crate::api::v1;

/// The longest chat file: the largest chat, with every character escaped.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

const PUT_EXAMPLES: &str = r#"The file is JSON:
  {"details": {"customer_id": "c-1001", "started_at": "2026-11-23T14:05:00Z", "purposes": ["support"],
               "legal_basis": "contract", "channel": "chat", "language": "en", "agent": "kim", "case_id": "S-77",
               "team": "billing", "ended_at": "2026-11-23T14:15:00Z", "tags": ["refund"]},
   "turns": [{"speaker": "customer", "at": "2026-11-23T14:05:00Z", "text": "Hello"},
             {"speaker": "agent", "text": "How can I help?"}]}
`details` and `at` may be left out; a flag replaces what `details` says. Speakers: customer, agent, bot, system.

Examples:
  oubliette chat put chat.json --customer c-1001 --started 2026-11-23T14:05:00Z --purpose support --legal-basis contract
  export-chat 77 | oubliette chat put - --request-id chat-00000077 --json"#;

const REVISE_EXAMPLES: &str =
    "The file is that of `chat put`, whole. What was wrong stays as an earlier revision, and can be erased alone:

Example:
  oubliette chat revise 01939c5e-7a1c-7b40-8f3e-0242ac120002 --base 1 chat.json
  oubliette record erase 01939c5e-7a1c-7b40-8f3e-0242ac120002 --revision 1";

const GET_EXAMPLES: &str = "Examples:
  oubliette chat get 01939c5e-7a1c-7b40-8f3e-0242ac120002 --purpose support
  oubliette chat get 01939c5e-7a1c-7b40-8f3e-0242ac120002 --purpose support --json --output chat.json";

/// What to do with chats.
#[derive(clap::Subcommand)]
pub enum ChatCommand {
    /// Store a chat
    #[command(after_help = PUT_EXAMPLES)]
    Put(PutArgs),
    /// Store a chat in the place of one that was wrong, as its next revision
    #[command(after_help = REVISE_EXAMPLES)]
    Revise(ReviseArgs),
    /// Read a chat
    #[command(after_help = GET_EXAMPLES)]
    Get(GetArgs),
}

/// What to store.
#[derive(clap::Args)]
pub struct PutArgs {
    /// The chat as JSON; - for standard input
    pub file: PathBuf,
    /// A name for this request, for a safe repeat [default: a random one, printed]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// What the platform says about the chat.
    #[command(flatten)]
    pub details: DetailsArgs,
}

/// What to store instead of what.
#[derive(clap::Args)]
pub struct ReviseArgs {
    /// The record's id
    pub record: String,
    /// The revision that is replaced: the newest one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub base: u32,
    /// What to store.
    #[command(flatten)]
    pub put: PutArgs,
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
    /// Which revision [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub revision: Option<u32>,
    /// Where to write it; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

/// Runs the command.
pub async fn run(client: &Client, command: ChatCommand, output: &mut Output) -> Result<(), CliError> {
    match command {
        ChatCommand::Put(args) => put(client, &args, output).await,
        ChatCommand::Revise(args) => revise(client, &args, output).await,
        ChatCommand::Get(args) => get(client, args, output).await,
    }
}

/// The request that flags and file make.
async fn request_of(args: &PutArgs) -> Result<v1::CreateTranscriptRequest, CliError> {
    let chat = parse(&args.file, &files::read(&args.file, MAX_FILE_BYTES).await?)?;
    Ok(v1::CreateTranscriptRequest {
        request_id: files::request_id(args.request_id.as_deref())?,
        details: Some(args.details.over(chat.details, v1::Channel::Chat)?),
        turns: chat.turns.into_iter().map(v1::Turn::from).collect(),
    })
}

async fn revise(client: &Client, args: &ReviseArgs, output: &mut Output) -> Result<(), CliError> {
    let v1::CreateTranscriptRequest { request_id, details, turns } = request_of(&args.put).await?;
    let (record_id, base_revision) = (args.record.clone(), args.base);
    let request =
        v1::ReviseTranscriptRequest { request_id: request_id.clone(), record_id, base_revision, details, turns };
    let stored = client.revise_transcript(request).await.map_err(|error| error.of_request(&request_id))?;
    output.result(&StoredView { request_id, record: stored.into() }, StoredView::text)
}

async fn put(client: &Client, args: &PutArgs, output: &mut Output) -> Result<(), CliError> {
    let request = request_of(args).await?;
    let request_id = request.request_id.clone();
    let stored = client.create_transcript(request).await.map_err(|error| error.of_request(&request_id))?;
    output.result(&StoredView { request_id, record: stored.into() }, StoredView::text)
}

async fn get(client: &Client, args: GetArgs, output: &mut Output) -> Result<(), CliError> {
    let revision = args.revision.unwrap_or_default();
    let (purpose, reader_case_id) = (args.purpose, args.on_case.on_case);
    let request = v1::GetTranscriptRequest { record_id: args.record, purpose, revision, reader_case_id };
    let answer = client.get_transcript(request).await?;
    let record = answer.record.ok_or(CliError::Protocol { what: "no `record` in it" })?;
    let chat = ChatView::new(record, answer.turns);
    if files::is_dash(&args.output) {
        return output.result(&chat, ChatView::text);
    }
    let bytes = if output.is_json() {
        serde_json::to_vec_pretty(&chat).map_err(|error| CliError::Streams { source: error.into() })?
    } else {
        chat.text().into_bytes()
    };
    files::write(&args.output, &bytes).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatFile {
    #[serde(default)]
    details: DetailsFile,
    turns: Vec<TurnFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnFile {
    speaker: NamedText<v1::Speaker>,
    at: Option<TimeText>,
    text: String,
    #[serde(default)]
    sensitive: Vec<SensitiveFile>,
}

/// Something sensitive in the text, by its code points.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SensitiveFile {
    start: u32,
    end: u32,
    kind: NamedText<v1::SensitiveKind>,
}

impl From<TurnFile> for v1::Turn {
    fn from(turn: TurnFile) -> Self {
        let span = |SensitiveFile { start, end, kind }: SensitiveFile| v1::SensitiveSpan {
            start,
            end,
            kind: kind.0.into(),
            masked: false,
        };
        let sensitive = turn.sensitive.into_iter().map(span).collect();
        Self { speaker: turn.speaker.0.into(), said_at: turn.at.map(|at| at.0), text: turn.text, sensitive }
    }
}

/// The parser's own words may quote the chat, so only the place and the kind of the problem are told.
fn parse(path: &Path, bytes: &[u8]) -> Result<ChatFile, CliError> {
    serde_json::from_slice(bytes).map_err(|error| CliError::ChatFile {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        problem: match error.classify() {
            serde_json::error::Category::Data => {
                "a field is missing or unknown, or its value has the wrong type, name or form of time"
            }
            serde_json::error::Category::Eof => "the JSON ends too early",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "is not JSON",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::errors::Kind;

    const FULL: &str = r#"{"details": {"customer_id": "c-1", "started_at": "2026-11-23T14:05:00Z", "purposes": ["support"],
        "legal_basis": "contract", "channel": "messaging", "tags": ["a"]},
        "turns": [{"speaker": "customer", "at": "2026-11-23T15:05:00+01:00", "text": "Grüße"}, {"speaker": "bot", "text": ""}]}"#;

    fn chat(text: &str) -> Result<ChatFile, CliError> {
        parse(Path::new("chat.json"), text.as_bytes())
    }

    #[test]
    fn a_file_alone_can_say_everything_and_a_flag_wins() {
        let file = chat(FULL).unwrap();
        assert_eq!(file.turns[0].text, "Grüße");
        assert_eq!(file.turns[0].at.as_ref().unwrap().0.seconds, 1_795_442_700);
        let details = DetailsArgs::default().over(file.details, v1::Channel::Chat).unwrap();
        assert_eq!(details.customer_id, "c-1");
        assert!(details.channel() == v1::Channel::Messaging);

        let flags = DetailsArgs { customer: Some("c-2".into()), purposes: vec!["audit".into()], ..Default::default() };
        let details = flags.over(chat(FULL).unwrap().details, v1::Channel::Chat).unwrap();
        assert_eq!((details.customer_id.as_str(), details.purposes), ("c-2", vec!["audit".to_owned()]));
    }

    #[test]
    fn missing_details_are_named_all_at_once() {
        let file = chat(r#"{"turns": []}"#).unwrap();
        let error = DetailsArgs::default().over(file.details, v1::Channel::Chat).err().unwrap();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("--customer, --started, --purpose, --legal-basis"), "{error}");
    }

    #[test]
    fn a_bad_file_is_refused_without_quoting_it() {
        for bad in [
            "",
            "{",
            "[]",
            r#"{"turns": [{"speaker": "planted", "text": "x"}]}"#,
            r#"{"turns": [{"speaker": "agent", "text": "x", "planted": 1}]}"#,
            r#"{"turns": [{"speaker": "agent", "at": "planted", "text": "x"}]}"#,
            r#"{"turns": "planted"}"#,
            r#"{"turns": [], "turns": []}"#,
        ] {
            let error = chat(bad).err().expect(bad);
            assert_eq!(error.kind(), Kind::BadInput);
            assert!(!error.to_string().contains("planted") && error.to_string().contains("chat.json, line"), "{error}");
        }
    }
}
