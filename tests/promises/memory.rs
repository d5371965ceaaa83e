//! After an acknowledged erasure the service's memory holds nothing readable of the erased customers: no text, no recording, no
//! id, no tag. The memory of the running service is read as a debugger would read it and searched for what was stored.
//!
//! The connections over which everything went stay open and idle, because their buffers are part of the memory.

use std::collections::BTreeSet;
use std::time::Duration;

use oubliette::api::v1;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::chance::Chance;
use crate::fixture::{AGENT, PURPOSES, People, Server};
use crate::memory_scan::{Markers, Scan};
use crate::tell;
use crate::wire::{Caller, asked_of, chat, chunk, first, metadata};

const CUSTOMERS: usize = 15;
/// The living customer whose requests are in flight while the memory is read.
const LIVING: usize = CUSTOMERS;
/// How long after the last acknowledgement the memory is read.
const SETTLE: Duration = Duration::from_secs(12);
/// What is marked of each customer.
const KINDS: [&str; 8] = [
    "customer id",
    "case id",
    "tag",
    "request id",
    "text of a chat",
    "text of a revision",
    "recording",
    "reason of an emergency read",
];
const PURPOSE: &str = PURPOSES[0];

/// What is stored of a customer.
struct Stored {
    customer: String,
    case: String,
    tag: String,
    text: String,
    /// A text of one word, whose answer fits one small frame.
    revised: String,
    recording: String,
    reason: String,
    requests: [String; 7],
}

impl Stored {
    fn make(markers: &mut Markers, chance: &mut Chance, owner: usize) -> Self {
        let mut marker = |kind| markers.make(chance, owner, kind);
        let [customer, case, tag, _, text, revised, recording, reason] = KINDS.map(&mut marker);
        let requests = std::array::from_fn(|_| marker(KINDS[3]));
        Self { customer, case, tag, text, revised, recording, reason, requests }
    }

    fn details(&self, of: v1::RecordDetails) -> Option<v1::RecordDetails> {
        let (case_id, tags) = (self.case.clone(), vec![self.tag.clone()]);
        Some(v1::RecordDetails { case_id, tags, ..of })
    }

    /// Some twenty turns, so that buffers grow; each repeats the marked text.
    fn chat(&self) -> v1::CreateTranscriptRequest {
        let mut chat = chat(&self.requests[0], &self.customer);
        chat.details = chat.details.and_then(|details| self.details(details));
        let turn = |number: usize| v1::Turn {
            text: format!("This is turn {number}. {} I said so before. {}", self.text, "word ".repeat(number * 3)),
            ..chat.turns[number % 2].clone()
        };
        chat.turns = (0..20).map(turn).collect();
        chat
    }

    fn revision(&self) -> v1::CreateTranscriptRequest {
        let mut chat = self.chat();
        chat.request_id = self.requests[1].clone();
        chat.turns.truncate(1);
        chat.turns[0].text = self.revised.clone();
        chat
    }

    /// 400 KB, so that it takes many frames.
    fn long_chat(&self) -> v1::CreateTranscriptRequest {
        let mut chat = self.chat();
        chat.request_id = self.requests[4].clone();
        for turn in &mut chat.turns {
            turn.text = format!("{} {}", self.text, "more words ".repeat(100)).repeat(15);
        }
        chat
    }

    /// A chat that is refused.
    fn invalid_chat(&self) -> v1::CreateTranscriptRequest {
        let mut chat = self.chat();
        chat.request_id = self.requests[5].clone();
        chat.turns[19].speaker = 99;
        chat
    }

    fn call(&self, request: usize) -> v1::RecordingMetadata {
        let mut call = metadata(&self.requests[request], &self.customer);
        call.details = call.details.and_then(|details| self.details(details));
        call
    }

    /// Longer than two parts; the marker is in each chunk.
    fn content(&self) -> Vec<u8> {
        let mut content = vec![7; 150_000];
        for place in (100..content.len() - 100).step_by(5_000) {
            content[place..place + self.recording.len()].copy_from_slice(self.recording.as_bytes());
        }
        content
    }
}

/// Callers whose connections stay open.
struct Callers {
    ingest: Caller,
    supervisor: Caller,
    agent: Caller,
    officer: Caller,
}

impl Callers {
    async fn connect(server: &Server, people: &People) -> Self {
        Self {
            ingest: Caller::of(server, &people.ingest).await,
            supervisor: Caller::of(server, &people.supervisor).await,
            agent: Caller::of(server, &people.agent).await,
            officer: Caller::of(server, &people.privacy_officer).await,
        }
    }

    /// Stores all of a customer and reads it in every way.
    async fn store_and_read(&self, stored: &Stored) {
        let record = self.ingest.store_chat(stored.chat()).await.unwrap().record_id;
        assert_eq!(self.ingest.store_chat(stored.chat()).await.unwrap().record_id, record, "a repeat is answered");
        self.ingest.assign(&stored.case, &stored.customer, AGENT, 3_600).await.unwrap();
        let call = self.ingest.store_call(stored.call(2), &stored.content()).await.unwrap().record_id;
        let agent = self.agent.clone().working_on(&stored.case);
        assert_eq!(agent.chat(&record, PURPOSE).await.unwrap().turns.len(), 20);
        assert_eq!(self.supervisor.chat(&record, PURPOSE).await.unwrap().turns.len(), 20);
        self.ingest.revise(&record, 1, stored.revision()).await.unwrap();
        assert_eq!(self.supervisor.chat(&record, PURPOSE).await.unwrap().turns[0].text, stored.revised);
        assert_eq!(self.supervisor.list(asked_of(&stored.customer)).await.unwrap().len(), 2);
        assert!(self.supervisor.call(&call, PURPOSE, None).await.unwrap().1 == stored.content());
        assert_eq!(self.officer.record(&record, PURPOSE).await.unwrap().details.unwrap().tags, [stored.tag.as_str()]);
        self.break_off(stored, &record, &call).await;
        self.agent.break_glass(&stored.customer, &stored.reason, 600).await.map(drop).unwrap();
        assert_eq!(self.ingest.assignments(&stored.customer).await.unwrap().len(), 1);
    }

    /// Calls that are refused, or that the caller gives up in the middle.
    async fn break_off(&self, stored: &Stored, record: &str, call: &str) {
        let invalid = self.ingest.store_chat(stored.invalid_chat()).await;
        assert_eq!(invalid.err().unwrap().code(), Code::InvalidArgument);
        let long = self.ingest.store_chat(stored.long_chat()).await.unwrap().record_id;
        drop(self.supervisor.begin_chat(&long, PURPOSE).await.unwrap());
        assert_eq!(self.supervisor.chat(&long, PURPOSE).await.unwrap().turns.len(), 20);
        drop(self.supervisor.begin_chat(record, PURPOSE).await.unwrap());
        let request = v1::DownloadRecordingRequest {
            record_id: call.to_owned(),
            purpose: PURPOSE.to_owned(),
            ..Default::default()
        };
        let mut download = self.supervisor.records.clone().download_recording(request).await.unwrap().into_inner();
        assert!(download.message().await.unwrap().is_some());
        drop(download);
        let start = [first(stored.call(6)), chunk(&stored.content()[..90_000])];
        let mut records = self.ingest.records.clone();
        let upload = tokio::time::timeout(Duration::from_millis(50), records.upload_recording(endless(start)));
        assert!(upload.await.is_err(), "the upload ended");
    }

    /// Erases two customers in three by one call each, the others by a list.
    async fn erase(&self, all: &[Stored]) {
        let (list, single): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(number, _)| number % 3 == 0);
        for (_, stored) in single {
            self.officer.erase(&stored.requests[3], &stored.customer).await.unwrap();
        }
        let ids: Vec<&str> = list.iter().map(|(_, stored)| stored.customer.as_str()).collect();
        let erased = self.officer.erase_list(&list[0].1.requests[3], &ids).await.unwrap();
        assert_eq!(erased.len(), ids.len());
    }
}

/// Requests of the living customer that the service has received and that have not ended.
fn hold(callers: &Callers, living: &Stored) -> JoinSet<()> {
    let mut held = callers.ingest.hold_chat(living.chat());
    let records = callers.ingest.records.clone();
    let start = [first(living.call(2)), chunk(&living.content()[..5_000])];
    held.spawn(async move {
        let answer = records.clone().upload_recording(endless(start)).await;
        panic!("an upload that has not ended was answered: {:?}", answer.err());
    });
    held
}

/// These messages, and no end.
fn endless<const N: usize, T: Send + 'static>(
    messages: [T; N],
) -> impl tokio_stream::Stream<Item = T> + Send + 'static {
    tokio_stream::iter(messages).chain(tokio_stream::pending())
}

fn report(title: &str, scan: &Scan, which: impl Fn(Option<usize>) -> bool) {
    let counts = scan.count(&which);
    let counts: Vec<String> =
        counts.iter().map(|((kind, mapping), count)| format!("{kind} in {mapping}: {count}")).collect();
    let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    tell(&format!("memory: {title}: {counts} ({} MiB of {} mappings read)", scan.bytes >> 20, scan.mappings));
}

/// The first of these hits, with the bytes around them.
fn shown(scan: &Scan, left: &[usize]) -> String {
    let hits = left.iter().take(40).map(|at| &scan.hits[*at]);
    hits.map(|hit| format!("{}: {}", hit.mapping, hit.context)).collect::<Vec<_>>().join("\n")
}

/// A service with all customers but the living one stored and read; `None` where its memory cannot be read.
struct Scene {
    server: Server,
    callers: Callers,
    markers: Markers,
    all: Vec<Stored>,
}

impl Scene {
    async fn make(chance: &mut Chance) -> Option<Self> {
        let mut server = Server::make(&[("limits.part_bytes", "65536")]);
        server.show_memory();
        server.restart().await;
        let people = server.tenant_with_people("acme").await;
        let mut markers = Markers::new(chance);
        let all: Vec<Stored> = (0..=CUSTOMERS).map(|owner| Stored::make(&mut markers, chance, owner)).collect();
        let callers = Callers::connect(&server, &people).await;
        if let Err(error) = markers.find_in(server.pid()) {
            tell(&format!(
                "memory: NOT CHECKED: /proc/PID/mem of the service cannot be read: {error}. The service is not dumpable: run \
                 this test as root, or where users may create user namespaces"
            ));
            return None;
        }
        for stored in &all[..CUSTOMERS] {
            callers.store_and_read(stored).await;
        }
        report("before the erasure", &markers.find_in(server.pid()).unwrap(), |_| true);
        Some(Self { server, callers, markers, all })
    }

    /// Reads the memory some seconds after the erasures, while requests of the living customer are in flight: the same scan must find
    /// all kinds of them. Returns the markers of erased customers that are left.
    async fn scan(&self, when: &str) -> (Scan, Vec<usize>) {
        tokio::time::sleep(SETTLE).await;
        let held = hold(&self.callers, &self.all[LIVING]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let scan = self.markers.find_in(self.server.pid()).unwrap();
        drop(held);
        let is_living = |owner| owner == Some(LIVING);
        report("in flight, of a living customer", &scan, is_living);
        report(&format!("of the erased customers, {when}"), &scan, |owner| !is_living(owner));
        let seen: BTreeSet<&str> = scan.count(is_living).into_keys().map(|(kind, _)| kind).collect();
        let sent: BTreeSet<&str> = KINDS.into_iter().filter(|kind| ![KINDS[5], KINDS[7]].contains(kind)).collect();
        assert_eq!(seen, sent, "the scan does not see what is in memory");
        let is_left = |hit: &crate::memory_scan::Hit| hit.marker.is_none_or(|(owner, _)| owner != LIVING);
        let left: Vec<usize> = (0..scan.hits.len()).filter(|at| is_left(&scan.hits[*at])).collect();
        let found: BTreeSet<usize> =
            left.iter().filter_map(|at| scan.hits[*at].marker.map(|(owner, _)| owner)).collect();
        let (found, markers) = (found.len(), left.len());
        tell(&format!("memory: {found} of {CUSTOMERS} erased customers found {when}, by {markers} markers"));
        (scan, left)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_erased_customer_is_found_in_memory() {
    let mut chance = Chance::of_test("memory");
    let Some(scene) = Scene::make(&mut chance).await else { return };
    scene.callers.erase(&scene.all[..CUSTOMERS]).await;
    let (scan, left) = scene.scan("after the erasures").await;
    assert!(left.is_empty(), "erased customers are in memory:\n{}", shown(&scan, &left));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_connection_forgets_once_its_calls_have_ended() {
    let mut chance = Chance::of_test("memory, busy");
    let Some(scene) = Scene::make(&mut chance).await else { return };
    let Callers { ingest, supervisor, agent, officer } = &scene.callers;
    let open = [ingest, supervisor, agent, officer].map(|caller| caller.hold_chat(scene.all[LIVING].chat()));
    scene.callers.erase(&scene.all[..CUSTOMERS]).await;
    let (_, left) = scene.scan("while each connection has an open call").await;
    assert!(!left.is_empty(), "the connections were not busy: the test shows nothing");
    drop(open);
    let (scan, left) = scene.scan("after these calls").await;
    assert!(left.is_empty(), "erased customers are in memory:\n{}", shown(&scan, &left));
}
