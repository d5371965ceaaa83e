//! The load itself: many callers that each make one call after another, and how long every call takes. The first call that fails
//! ends the measurement: nothing is retried or left out of the figures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::BenchError;
use super::report::{Calls, Recording, Transfer};
use super::service::{Clients, Service};
use super::traffic::{self, Chats, Numbers, PURPOSE};
use crate::api::v1;
use crate::cli::client::{CHUNK_BYTES, Client};
use crate::cli::errors::CliError;

/// Streams of numbers for choices; far above those of the chats.
const CUSTOMERS: u64 = 1 << 60;
const READS: u64 = (1 << 60) + 1;
const MIB: u64 = 1024 * 1024;

/// A stored chat.
#[derive(Clone)]
pub struct Stored {
    number: u64,
    customer: u32,
    record_id: String,
}

/// Makes the load.
pub struct Load {
    seed: u64,
    chats: Arc<Chats>,
    clients: Clients,
}

impl Load {
    /// The load that follows from a seed.
    pub fn new(seed: u64, clients: Clients) -> Self {
        Self { seed, chats: Arc::new(Chats::new(seed)), clients }
    }

    /// Stores chats of random customers.
    pub async fn store_chats(
        &self,
        service: &Service,
        writers: u16,
        chats: u32,
        customers: u32,
    ) -> Result<(Vec<Stored>, Calls), CliError> {
        let mut numbers = Numbers::new(self.seed, CUSTOMERS);
        let customers = || u32::try_from(numbers.below(u64::from(customers))).expect("below a u32");
        let customers: Arc<[u32]> = std::iter::repeat_with(customers).take(chats as usize).collect();
        let made = self.chats.clone();
        let store = move |client: Client, number: u64| {
            let customer = customers[place(number)];
            let request = made.request(number, customer);
            async move {
                let (took, record) = timed(client.create_transcript(request)).await?;
                Ok((took, Stored { number, customer, record_id: record.record_id }))
            }
        };
        let clients = &self.clients.ingest;
        measured(service, clients, writers, u64::from(chats), store).await
    }

    /// Reads random ones of the stored chats, and compares every word.
    pub async fn read_chats(
        &self,
        service: &Service,
        readers: u16,
        reads: u32,
        stored: &[Stored],
    ) -> Result<Calls, CliError> {
        let mut numbers = Numbers::new(self.seed, READS);
        let choose = || stored[place(numbers.below(stored.len() as u64))].clone();
        let chosen: Arc<[Stored]> = std::iter::repeat_with(choose).take(reads as usize).collect();
        let (seed, made) = (self.seed, self.chats.clone());
        let read = move |client: Client, at: u64| {
            let (made, Stored { number, record_id, .. }) = (made.clone(), chosen[place(at)].clone());
            let request = v1::GetTranscriptRequest { record_id, purpose: PURPOSE.to_owned(), ..Default::default() };
            async move {
                let (took, chat) = timed(client.get_transcript(request)).await?;
                if same_words(&chat.turns, &made.turns(number)) {
                    return Ok((took, ()));
                }
                Err(BenchError::Differs { number, seed }.into())
            }
        };
        Ok(measured(service, &self.clients.privacy_officer, readers, u64::from(reads), read).await?.1)
    }

    /// Stores a recording and reads it back. The client compares the hash both times.
    pub async fn recording(&self, service: &Service, mib: u32) -> Result<Recording, CliError> {
        let bytes = u64::from(mib) * MIB;
        let metadata = v1::RecordingMetadata {
            request_id: "bench-recording".to_owned(),
            details: Some(traffic::details(0)),
            media_type: "audio/wav".to_owned(),
            ..Default::default()
        };
        let content = traffic::Recording::new(self.seed, bytes);
        let (uploader, reader) = (&self.clients.ingest[0], &self.clients.privacy_officer[0]);
        let before = service.processor_time();
        let (took, uploaded) = timed(uploader.upload_recording(metadata, content, CHUNK_BYTES, |_| {})).await?;
        let mut up = Transfer::new(bytes, took);
        (up.service_cpu_seconds, up.memory) = (used_since(service, before), service.memory());
        let record_id = uploaded.record.record_id;
        let request = v1::DownloadRecordingRequest { record_id, purpose: PURPOSE.to_owned(), ..Default::default() };
        let before = service.processor_time();
        let (took, _) = timed(reader.download_recording(request, tokio::io::sink(), |_, _| {})).await?;
        let mut down = Transfer::new(bytes, took);
        (down.service_cpu_seconds, down.memory) = (used_since(service, before), service.memory());
        Ok(Recording { bytes, up, down })
    }

    /// Erases customers who have chats, one after another; as many as there are, if there are fewer.
    pub async fn erase(&self, service: &Service, erasures: u32, stored: &[Stored]) -> Result<Calls, CliError> {
        let customers: BTreeSet<u32> = stored.iter().map(|chat| chat.customer).collect();
        let customers: Arc<[u32]> = customers.into_iter().take(erasures as usize).collect();
        let total = customers.len() as u64;
        let erase = move |client: Client, at: u64| {
            let customer = customers[place(at)];
            let request = v1::EraseCustomerRequest {
                request_id: format!("bench-erasure-{customer:07}"),
                customer_id: traffic::customer_id(customer),
            };
            async move { Ok((timed(client.erase_customer(request)).await?.0, ())) }
        };
        let clients = &self.clients.privacy_officer[..1];
        Ok(measured(service, clients, 1, total, erase).await?.1)
    }
}

/// Whether the turns say the same. What came back also says what was found to be sensitive in it.
fn same_words(read: &[v1::Turn], made: &[v1::Turn]) -> bool {
    let words = |turn: &v1::Turn| (turn.speaker, turn.said_at, turn.text.clone());
    read.iter().map(words).eq(made.iter().map(words))
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("lists in memory have places of this size")
}

async fn timed<T>(call: impl Future<Output = Result<T, CliError>>) -> Result<(Duration, T), CliError> {
    let began = Instant::now();
    let answer = call.await?;
    Ok((began.elapsed(), answer))
}

fn used_since(service: &Service, before: Option<Duration>) -> Option<f64> {
    Some(service.processor_time()?.saturating_sub(before?).as_secs_f64())
}

/// Makes the calls 0 to `total` with so many callers at once, each over one of `clients`.
async fn measured<T, F, C>(
    service: &Service,
    clients: &[Client],
    callers: u16,
    total: u64,
    call: C,
) -> Result<(Vec<T>, Calls), CliError>
where
    T: Send + 'static,
    F: Future<Output = Result<(Duration, T), CliError>> + Send + 'static,
    C: Fn(Client, u64) -> F + Clone + Send + 'static,
{
    let used = service.processor_time();
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for client in clients.iter().cycle().take(usize::from(callers)) {
        let (client, next, call) = (client.clone(), next.clone(), call.clone());
        tasks.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return Ok(done);
                }
                done.push(call(client.clone(), number).await?);
            }
        });
    }
    let mut done = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let task: Result<Vec<(Duration, T)>, CliError> = task.map_err(BenchError::from)?;
        done.extend(task?);
    }
    let elapsed = began.elapsed();
    let (latencies, answers) = done.into_iter().unzip();
    let mut calls = Calls::new(callers, clients.len().min(usize::from(callers)), elapsed, latencies);
    (calls.service_cpu_seconds, calls.memory) = (used_since(service, used), service.memory());
    Ok((answers, calls))
}
