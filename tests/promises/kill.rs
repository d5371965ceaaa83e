//! An answer means durable. The service is killed in the middle of concurrent writes and erasures, over and over on the same data,
//! and each time everything it acknowledged is there and opens, what it erased stays erased, and nothing half is shown.
//!
//! SIGKILL takes the process and leaves the kernel with what was written: a power cut is another test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oubliette::cli::client::Client;
use tokio::task::JoinSet;
use tonic::Code;

use crate::chance::Chance;
use crate::fixture::{People, Server};
use crate::paper::{Paper, code, erase, list};
use crate::tell;

const ROUNDS: usize = 50;
const WRITERS: usize = 9;
/// Readers that check at the same time.
const CHECKERS: usize = 4;
/// Records of earlier rounds that are looked at in each; after the last, all are.
const LOOK_BACK: usize = 40;
/// The service lives at most so long in a round.
const MOST_LIFE_MS: usize = 350;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_is_there_after_every_sigkill() {
    let rounds = std::env::var("OUBLIETTE_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    kill_again_and_again(Chance::of_test("kill"), rounds, &[], (10, MOST_LIFE_MS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sigkill_in_the_middle_of_a_compaction_loses_nothing() {
    // It looks a second after its start for the first time, and then compacts whatever is dead.
    let always = ["1", "0", "1"];
    let names = ["limits.compact_dead_percent", "limits.compact_dead_bytes", "limits.compact_check_s"];
    let settings: Vec<(&str, &str)> = names.into_iter().zip(always).collect();
    let server = kill_again_and_again(Chance::of_test("kill"), ROUNDS / 4, &settings, (900, 700)).await;
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    let compactions = log.matches("the database was compacted").count();
    tell(&format!("kill: {compactions} compactions were done between the kills"));
    assert!(compactions > 0, "none was done");
}

async fn kill_again_and_again(
    mut chance: Chance,
    rounds: usize,
    settings: &[(&str, &str)],
    life_ms: (usize, usize),
) -> Server {
    // Parts so small that a recording has several.
    let settings: Vec<_> = [("limits.part_bytes", "65536")].into_iter().chain(settings.iter().copied()).collect();
    let mut server = Server::start_with(&settings).await;
    let people = server.tenant_with_people("acme").await;
    let mut book = Book::default();
    for round in 0..rounds {
        let attempts = one_life(&mut server, &people, &book, &mut chance, (round, life_ms)).await;
        server.restart().await;
        let readers = connect(&server, &people.privacy_officer, CHECKERS).await;
        let fresh = book.settle(&server, &people, &readers[0], attempts).await;
        assert_all_there(&readers, fresh).await;
        let look_back = book.sample(&mut chance, LOOK_BACK);
        assert_all_there(&readers, look_back).await;
        book.assert_erased(&readers[0], &mut chance).await;
    }
    let readers = connect(&server, &people.privacy_officer, CHECKERS).await;
    let all = book.all();
    let (records, customers) = (all.len(), book.live.len());
    assert_all_there(&readers, all).await;
    let Book { erased, counts, .. } = &book;
    for (customer, records) in erased {
        assert_gone(&readers[0], customer, records).await;
    }
    tell(&format!(
        "kill: {rounds} rounds, {} writes acknowledged, {} in flight when killed ({} of them were durable), {} erasures \
         acknowledged, {} in flight ({} of them were durable); at the end {records} records of {customers} customers open, \
         {} customers are gone",
        counts.acknowledged,
        counts.in_flight,
        counts.durable_in_flight,
        counts.erasures,
        counts.erasures_in_flight,
        counts.erasures_durable_in_flight,
        erased.len(),
    ));
    assert!(counts.acknowledged > rounds && counts.in_flight > 0, "the kills hit nothing");
    assert_eq!(server.stop().await.code(), Some(0));
    server
}

/// A write, from before it is sent.
#[derive(Clone)]
struct Attempt {
    customer: String,
    request_id: String,
    paper: Arc<Paper>,
    /// Once acknowledged.
    record_id: Option<String>,
    /// It was refused because the customer is erased.
    refused: bool,
}

/// What was tried in one life of the service.
#[derive(Default)]
struct Attempts {
    writes: Vec<Attempt>,
    /// The customers asked to be erased, and whether that was acknowledged.
    erasures: BTreeMap<String, bool>,
}

/// Lets writers and an eraser at the service, and kills it.
async fn one_life(
    server: &mut Server,
    people: &People,
    book: &Book,
    chance: &mut Chance,
    (round, (least_ms, more_ms)): (usize, (usize, usize)),
) -> Attempts {
    let attempts = Arc::new(Mutex::new(Attempts::default()));
    let known: Arc<Vec<String>> = Arc::new(book.live.keys().cloned().collect());
    let ingest = connect(server, &people.ingest, WRITERS).await;
    let mut work = JoinSet::new();
    for (writer, client) in ingest.into_iter().enumerate() {
        work.spawn(write(client, chance.fork(), format!("{round}-{writer}"), known.clone(), attempts.clone()));
    }
    if !known.is_empty() && chance.percent(60) {
        let client = server.client(&people.privacy_officer).await;
        let customer = chance.one_of(&known).clone();
        let delay = Duration::from_millis(chance.below(MOST_LIFE_MS / 2) as u64);
        work.spawn(ask_to_erase(client, customer, delay, attempts.clone()));
    }
    tokio::time::sleep(Duration::from_millis((least_ms + chance.below(more_ms)) as u64)).await;
    server.kill9();
    while let Some(ended) = work.join_next().await {
        ended.unwrap();
    }
    Arc::into_inner(attempts).unwrap().into_inner().unwrap()
}

/// Writes one record after the other, for new customers and known ones, until the service is gone.
async fn write(client: Client, mut chance: Chance, name: String, known: Arc<Vec<String>>, to: Arc<Mutex<Attempts>>) {
    for number in 0.. {
        let is_new = known.is_empty() || chance.percent(40);
        let customer = if is_new { format!("customer {name}-{number}") } else { chance.one_of(&known).clone() };
        let is_chat = chance.percent(75);
        let paper =
            if is_chat { Paper::some_chat(&mut chance, 4_000) } else { Paper::some_recording(&mut chance, 150_000) };
        let attempt = Attempt {
            customer,
            request_id: format!("request-{name}-{number}"),
            paper: Arc::new(paper),
            record_id: None,
            refused: false,
        };
        let place = {
            let mut attempts = to.lock().unwrap();
            attempts.writes.push(attempt.clone());
            attempts.writes.len() - 1
        };
        let answer = attempt.paper.put(&client, &attempt.customer, attempt.request_id).await;
        let refusal = answer.as_ref().err().and_then(|error| error.refusal()?.reason.clone());
        match answer {
            Ok(record_id) => to.lock().unwrap().writes[place].record_id = Some(record_id),
            Err(_) if refusal.as_deref() == Some("CUSTOMER_ERASED") => to.lock().unwrap().writes[place].refused = true,
            Err(error) => {
                // Anything that the service itself says is a failure: it was told nothing but to work.
                assert!(refusal.is_none(), "a write was refused: {error}");
                return;
            }
        }
    }
}

async fn ask_to_erase(client: Client, customer: String, delay: Duration, to: Arc<Mutex<Attempts>>) {
    tokio::time::sleep(delay).await;
    to.lock().unwrap().erasures.insert(customer.clone(), false);
    if erase(&client, &customer, format!("erase-{}", customer.replace(' ', "-"))).await.is_ok() {
        to.lock().unwrap().erasures.insert(customer, true);
    }
}

/// A record that must be there.
#[derive(Clone)]
struct Held {
    customer: String,
    record_id: String,
    paper: Arc<Paper>,
}

#[derive(Default)]
struct Counts {
    acknowledged: usize,
    in_flight: usize,
    durable_in_flight: usize,
    erasures: usize,
    erasures_in_flight: usize,
    erasures_durable_in_flight: usize,
}

/// What the service must hold by what it has said: the plain model.
#[derive(Default)]
struct Book {
    live: BTreeMap<String, Vec<Held>>,
    erased: BTreeMap<String, Vec<Held>>,
    counts: Counts,
}

impl Book {
    /// Takes over what was tried in the life before this one, and checks what was erased and what is listed. Returns what is
    /// new and must open.
    async fn settle(&mut self, server: &Server, people: &People, reader: &Client, attempts: Attempts) -> Vec<Held> {
        let mut fresh = Vec::new();
        let touched: BTreeSet<String> = attempts.writes.iter().map(|write| write.customer.clone()).collect();
        let (done, open): (Vec<_>, Vec<_>) = attempts.writes.into_iter().partition(|write| write.record_id.is_some());
        self.counts.acknowledged += done.len();
        for Attempt { customer, paper, record_id, .. } in done {
            let held = Held { customer: customer.clone(), record_id: record_id.unwrap(), paper };
            fresh.push(held.clone());
            self.live.entry(customer).or_default().push(held);
        }
        for (customer, acknowledged) in attempts.erasures {
            self.settle_erasure(reader, customer, acknowledged).await;
        }
        let ingest = server.client(&people.ingest).await;
        for write in open.into_iter().filter(|write| !write.refused) {
            fresh.extend(self.repeat(&ingest, reader, write).await);
        }
        for customer in touched.iter().filter(|customer| self.live.contains_key(*customer)) {
            self.assert_listed_whole(reader, customer).await;
        }
        fresh.retain(|held| self.live.contains_key(&held.customer));
        fresh
    }

    /// An acknowledged erasure holds; one in flight has happened wholly or not at all.
    async fn settle_erasure(&mut self, reader: &Client, customer: String, acknowledged: bool) {
        let records = self.live.remove(&customer).unwrap();
        let is_gone = acknowledged || code_or_ok(reader, &records[0]).await == Code::NotFound;
        self.counts.erasures += usize::from(acknowledged);
        self.counts.erasures_in_flight += usize::from(!acknowledged);
        self.counts.erasures_durable_in_flight += usize::from(!acknowledged && is_gone);
        if is_gone {
            assert_gone(reader, &customer, &records).await;
            self.erased.insert(customer, records);
        } else {
            self.live.insert(customer, records);
        }
    }

    /// A write in flight is repeated as a client would: it is stored once, whether it was durable or not.
    async fn repeat(&mut self, ingest: &Client, reader: &Client, write: Attempt) -> Option<Held> {
        let Attempt { customer, request_id, paper, .. } = write;
        self.counts.in_flight += 1;
        if self.erased.contains_key(&customer) {
            assert_ne!(code(paper.put(ingest, &customer, request_id).await), Code::Ok);
            return None;
        }
        let before = list(reader, &customer).await.unwrap_or_default();
        let record_id = paper.put(ingest, &customer, request_id).await.unwrap();
        self.counts.durable_in_flight += usize::from(before.iter().any(|record| record.record_id == record_id));
        let held = Held { customer: customer.clone(), record_id, paper };
        self.live.entry(customer).or_default().push(held.clone());
        Some(held)
    }

    /// The list of a customer is what the book says, each record once.
    async fn assert_listed_whole(&self, reader: &Client, customer: &str) {
        let listed: Vec<String> =
            list(reader, customer).await.unwrap().into_iter().map(|record| record.record_id).collect();
        let held: BTreeSet<&String> = self.live[customer].iter().map(|held| &held.record_id).collect();
        assert_eq!(listed.iter().collect::<BTreeSet<_>>(), held, "the list of {customer}");
        assert_eq!((listed.len(), self.live[customer].len()), (held.len(), held.len()), "something is there twice");
    }

    async fn assert_erased(&self, reader: &Client, chance: &mut Chance) {
        let erased: Vec<&String> = self.erased.keys().collect();
        if !erased.is_empty() {
            let customer = *chance.one_of(&erased);
            assert_gone(reader, customer, &self.erased[customer]).await;
        }
    }

    fn all(&self) -> Vec<Held> {
        self.live.values().flatten().cloned().collect()
    }

    fn sample(&self, chance: &mut Chance, count: usize) -> Vec<Held> {
        let all: Vec<&Held> = self.live.values().flatten().collect();
        if all.is_empty() { Vec::new() } else { (0..count).map(|_| (*chance.one_of(&all)).clone()).collect() }
    }
}

/// So many connections.
async fn connect(server: &Server, token: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(server.client(token).await);
    }
    clients
}

async fn assert_all_there(readers: &[Client], records: Vec<Held>) {
    let mut work = JoinSet::new();
    for (records, reader) in records.chunks(records.len().div_ceil(CHECKERS).max(1)).zip(readers) {
        let (records, reader) = (records.to_vec(), reader.clone());
        work.spawn(async move {
            for held in records {
                held.paper.assert_there(&reader, &held.customer, &held.record_id).await;
            }
        });
    }
    while let Some(ended) = work.join_next().await {
        ended.unwrap();
    }
}

async fn code_or_ok(reader: &Client, held: &Held) -> Code {
    let got = held.paper.get(reader, &held.record_id).await;
    if got.is_ok() { Code::Ok } else { code(got) }
}

async fn assert_gone(reader: &Client, customer: &str, records: &[Held]) {
    for held in records {
        assert_eq!(code_or_ok(reader, held).await, Code::NotFound, "a record of {customer}, who was erased");
    }
    let listed = list(reader, customer).await;
    assert!(listed.is_err() || listed.is_ok_and(|records| records.is_empty()), "{customer} was erased and is listed");
}
