//! Reads a corpus: `chats/*.jsonl`, one chat a line, and `calls/*.wav`. Every chat is a customer of its own; the calls are given to
//! the first customers, so that the one who is erased has both.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::content::{Call, Chat, Sound};
use super::error::DemoError;
use super::material::Material;
use crate::api::v1;
use crate::cli::errors::CliError;

/// The most bytes of all the chats: they are held in memory.
const MAX_CHAT_BYTES: u64 = 256 << 20;
/// The most files of one kind.
const MAX_FILES: usize = 1_000;

#[derive(Deserialize)]
struct ChatLine {
    id: String,
    domain: String,
    turns: Vec<TurnLine>,
}

#[derive(Deserialize)]
struct TurnLine {
    speaker: Speaker,
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    Customer,
    Agent,
    Bot,
    /// Something that the platform did.
    Action,
}

/// Reads the corpus in `folder`.
pub(super) async fn read(folder: &Path) -> Result<Material, CliError> {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || read_all(&folder)).await;
    Ok(read.unwrap_or(Err(DemoError::BrokeDown))?)
}

fn read_all(folder: &Path) -> Result<Material, DemoError> {
    let mut chats = Vec::new();
    let mut room = MAX_CHAT_BYTES;
    for path in files(&folder.join("chats"), "jsonl")? {
        read_chats(&path, &mut room, &mut chats)?;
    }
    let sounds = files(&folder.join("calls"), "wav")?;
    if chats.len() < 2 || sounds.is_empty() {
        return Err(DemoError::CorpusTooSmall(folder.to_owned()));
    }
    let calls = chats.iter().zip(sounds).map(|(chat, path)| call_of(&chat.customer, path));
    Ok(Material { calls: calls.collect::<Result<_, _>>()?, erased: chats[0].customer.clone(), chats })
}

/// The files with this ending, in order of their names.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, DemoError> {
    let unreadable = || DemoError::io("read the corpus in", folder);
    let entries = std::fs::read_dir(folder).map_err(unreadable())?;
    let paths = entries.take(MAX_FILES).map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(unreadable())?;
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    Ok(paths)
}

fn read_chats(path: &Path, room: &mut u64, chats: &mut Vec<Chat>) -> Result<(), DemoError> {
    let unreadable = || DemoError::io("read", path);
    let file = std::fs::File::open(path).map_err(unreadable())?;
    // Read to one byte behind the room, to see where there is too little.
    for (number, line) in BufReader::new(file.take(*room + 1)).lines().enumerate() {
        let line = line.map_err(unreadable())?;
        // The parser's own words may quote the chat.
        let broken = |problem| DemoError::Corpus { path: path.to_owned(), line: number + 1, problem };
        *room = room.checked_sub(line.len() as u64 + 1).ok_or_else(|| broken("the chats are too large together"))?;
        let chat: ChatLine = serde_json::from_str(&line).map_err(|_| broken("is no chat"))?;
        chats.push(Chat {
            customer: format!("{}-{}", chat.domain, chat.id),
            name: format!("chat-{:08}", chats.len()),
            turns: chat.turns.into_iter().map(v1::Turn::from).collect(),
        });
    }
    Ok(())
}

impl From<TurnLine> for v1::Turn {
    fn from(turn: TurnLine) -> Self {
        let speaker = match turn.speaker {
            Speaker::Customer => v1::Speaker::Customer,
            Speaker::Agent => v1::Speaker::Agent,
            Speaker::Bot => v1::Speaker::Bot,
            Speaker::Action => v1::Speaker::System,
        };
        Self { speaker: speaker.into(), text: turn.text, ..Default::default() }
    }
}

fn call_of(customer: &str, path: PathBuf) -> Result<Call, DemoError> {
    let bytes = std::fs::metadata(&path).map_err(DemoError::io("read", &path))?.len();
    let name = path.file_stem().map(|stem| stem.to_string_lossy().replace('_', "-")).unwrap_or_default();
    Ok(Call { customer: customer.to_owned(), name, sound: Sound::File { path, bytes } })
}
