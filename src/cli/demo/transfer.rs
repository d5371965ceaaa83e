//! Storing and reading many records through the client, a bounded number at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::content::{Call, ContentHash, Sound, Stored, hash_of_chat};
use super::error::{DemoError, expect};
use super::material::Material;
use super::people::{AGENT, PURPOSE, TEAM};
use crate::api::v1;
use crate::cli::client::{CHUNK_BYTES, Client};
use crate::cli::errors::CliError;
use crate::domain::clock::Timestamp;
use crate::domain::codec::hex;

/// Calls made at the same time.
pub(super) const WORKERS: usize = 16;
/// The media type of all calls.
const WAV: &str = "audio/wav";

/// Stores all chats.
pub(super) async fn store_chats(
    client: &Client,
    material: &Arc<Material>,
    bar: &ProgressBar,
) -> Result<Vec<Stored>, CliError> {
    let (client, material, bar) = (client.clone(), Arc::clone(material), bar.clone());
    each(material.chats.len(), move |number| {
        let (client, material, bar) = (client.clone(), Arc::clone(&material), bar.clone());
        async move {
            let chat = &material.chats[number];
            let request = v1::CreateTranscriptRequest {
                request_id: format!("demo-{}", chat.name),
                details: Some(details(&chat.customer, v1::Channel::Chat)),
                turns: chat.turns.clone(),
            };
            let record_id = client.create_transcript(request).await?.record_id;
            bar.inc(1);
            let bytes = chat.turns.iter().map(|turn| turn.text.len() as u64).sum();
            Ok(Stored { record_id, customer: chat.customer.clone(), hash: hash_of_chat(&chat.turns), bytes })
        }
    })
    .await
}

/// Reads all chats back, and compares each with what was stored.
pub(super) async fn read_chats(client: &Client, stored: &Arc<Vec<Stored>>, bar: &ProgressBar) -> Result<(), CliError> {
    let (client, stored, bar) = (client.clone(), Arc::clone(stored), bar.clone());
    let read = each(stored.len(), move |number| {
        let (client, stored, bar) = (client.clone(), Arc::clone(&stored), bar.clone());
        async move {
            let chat = &stored[number];
            let read = client.get_transcript(read_request(&chat.record_id)).await?;
            bar.inc(1);
            same_hash(&chat.hash, &hash_of_chat(&read.turns))
        }
    });
    read.await.map(|_| ())
}

/// Stores a call.
pub(super) async fn store_call(client: &Client, call: &Call, bar: &ProgressBar) -> Result<Stored, CliError> {
    let hash = call.sound.hash().await?;
    let metadata = v1::RecordingMetadata {
        request_id: format!("demo-{}", call.name),
        details: Some(details(&call.customer, v1::Channel::Voice)),
        media_type: WAV.to_owned(),
        content_sha256: hash.to_vec().into(),
        ..Default::default()
    };
    let done = client.upload_recording(metadata, call.sound.open().await?, CHUNK_BYTES, |_| {}).await?;
    bar.inc(1);
    Ok(Stored { record_id: done.record.record_id, customer: call.customer.clone(), hash, bytes: call.sound.bytes() })
}

/// Reads a call back, and compares it with what was stored.
pub(super) async fn read_call(client: &Client, stored: &Stored) -> Result<(), CliError> {
    let request = download_request(&stored.record_id, None);
    let read = client.download_recording(request, tokio::io::sink(), |_, _| {}).await?;
    same_hash(&stored.hash, &read.sha256)
}

/// Reads a span of a call, and compares it with the same span of what was stored.
pub(super) async fn read_span(
    client: &Client,
    stored: &Stored,
    sound: &Sound,
    range: v1::ByteRange,
) -> Result<(), CliError> {
    let mut read = Vec::new();
    let request = download_request(&stored.record_id, Some(range));
    client.download_recording(request, &mut read, |_, _| {}).await?;
    let original = sound.span(&range).await?;
    expect(read == original, "the bytes of that range, exactly", || format!("{} other bytes", read.len()))
}

/// What is said about every record of the demo.
pub(super) fn details(customer: &str, channel: v1::Channel) -> v1::RecordDetails {
    let now = i64::try_from(Timestamp::now().as_ms() / 1000).unwrap_or(i64::MAX);
    v1::RecordDetails {
        customer_id: customer.to_owned(),
        channel: channel.into(),
        agent: AGENT.to_owned(),
        team: TEAM.to_owned(),
        started_at: Some(prost_types::Timestamp { seconds: now - 60 * 60, nanos: 0 }),
        purposes: vec![PURPOSE.to_owned()],
        legal_basis: v1::LegalBasis::Contract.into(),
        ..v1::RecordDetails::default()
    }
}

/// Asks for a chat.
pub(super) fn read_request(record_id: &str) -> v1::GetTranscriptRequest {
    v1::GetTranscriptRequest { record_id: record_id.to_owned(), purpose: PURPOSE.to_owned(), ..Default::default() }
}

/// The case on which the demo's agents work.
const CASE: &str = "DEMO-1";

/// The same on the case of the demo.
pub(super) fn read_on_case(record_id: &str) -> v1::GetTranscriptRequest {
    v1::GetTranscriptRequest { reader_case_id: CASE.to_owned(), ..read_request(record_id) }
}

/// Assigns that case for an hour.
pub(super) fn assignment(customer: &str, agent: &str) -> v1::AssignCaseRequest {
    let until = i64::try_from(Timestamp::now().as_ms() / 1000).unwrap_or(i64::MAX) + 60 * 60;
    let assignment = v1::CaseAssignment {
        customer_id: customer.to_owned(),
        case_id: CASE.to_owned(),
        principal: agent.to_owned(),
        expires_at: Some(prost_types::Timestamp { seconds: until, nanos: 0 }),
    };
    v1::AssignCaseRequest { assignment: Some(assignment) }
}

/// Asks for a call, or a span of it.
pub(super) fn download_request(record_id: &str, range: Option<v1::ByteRange>) -> v1::DownloadRecordingRequest {
    v1::DownloadRecordingRequest {
        record_id: record_id.to_owned(),
        purpose: PURPOSE.to_owned(),
        range,
        ..Default::default()
    }
}

/// Does `work` for 0, 1 ... `count`, [`WORKERS`] at a time; returns what comes of it in order, or the first error.
async fn each<T, F, Fut>(count: usize, work: F) -> Result<Vec<T>, CliError>
where
    T: Send + 'static,
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, CliError>> + Send,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS.min(count) {
        let (work, next) = (Arc::clone(&work), Arc::clone(&next));
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, CliError>(done);
                }
                done.push((number, work(number).await?));
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        all.extend(done.map_err(|_| DemoError::BrokeDown)??);
    }
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, done)| done).collect())
}

fn same_hash(stored: &ContentHash, read: &ContentHash) -> Result<(), CliError> {
    expect(stored == read, &format!("content with SHA-256 {}, as stored", hex(stored)), || hex(read))
}
