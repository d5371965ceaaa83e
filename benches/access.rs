//! What access costs, and whether its refusals tell by their time what they do not tell by their bytes.
//!
//! First: how long a record that is absent, another tenant's, erased, being erased or not for the caller takes to be refused, in one run and
//! in random order, through gRPC over loopback; medians, and their ratio to the absent class of the same caller. Then: what policy and audit
//! cost of one read, in this process through the vault's own doors; and how long a glass takes to be broken for customers that are there and such
//! that are not. Last: how long a report of exposure takes over a million entries. A shared
//! machine is noisy: compare within one run only.
//!
//! ```text
//! cargo bench --bench access                                  some minutes
//! OUBLIETTE_BENCH_SAMPLES=30000 cargo bench --bench access    so many refusals of each way to read; 12,000 by default
//! OUBLIETTE_BENCH_ENTRIES=100000 cargo bench --bench access   so many entries for the report; 1,000,000 by default
//! OUBLIETTE_SEED=1                                            the order of the samples
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop and say where"
)]

#[path = "../tests/promises/oracle_house.rs"]
mod oracle_house;

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oracle_house::{EACH, House, Read, principal, why};
use oubliette::access::permit::{Permit, TenantScope};
use oubliette::domain::action::Action;
use oubliette::domain::clock::Timestamp;
use oubliette::domain::grant::BrokenGlass;
use oubliette::domain::ids::{CustomerId, RecordId, WrittenReason};
use oubliette::domain::principal::Role;
use oubliette::domain::record::RecordFacts;
use oubliette::domain::sensitive::SensitiveKind;
use oubliette::vault::Suspicion;
use zeroizing_alloc::ZeroAlloc;

/// The allocator of the program, so that its cost is measured.
#[global_allocator]
static WIPING_ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Questions to the policy, of each form.
const QUESTIONS: usize = 20_000;
/// Entries of the ledger, and reads, one after the other.
const ALONE: usize = 3_000;
/// Readers at once, and how often each reads.
const READERS: usize = 32;
const OF_EACH: usize = 300;
/// Samples before the first that counts.
const WARM: usize = 500;

/// Numbers that follow from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// A set of times.
struct Took(Vec<Duration>);

impl Took {
    fn us(&self, share: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6
    }

    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    fn tell(&self, what: &str, whole: f64) {
        let (p50, p99) = (self.us(0.5), self.us(0.99));
        println!("  {what:<52} {p50:9.1} us {p99:9.1} us {:7.1} %", 100.0 * p50 / whole);
    }
}

async fn refusals(house: &House, samples: usize, chance: &mut Chance) {
    for read in Read::ALL {
        let mut times: Vec<Vec<Duration>> = house.classes.iter().map(|_| Vec::new()).collect();
        for sample in 0..WARM + samples {
            let (at, pick) = (chance.below(house.classes.len()), chance.below(EACH));
            let began = Instant::now();
            black_box(house.refusal(&house.classes[at], read, pick).await);
            let took = began.elapsed();
            if sample >= WARM {
                times[at].push(took);
            }
        }
        let times: Vec<Took> = times.into_iter().map(Took::of).collect();
        println!("refused, {read:?}: {samples} samples in random order");
        println!("  {:<44} {:>7} {:>10} {:>10} {:>10} {:>8}", "", "samples", "p25 us", "median us", "p99 us", "ratio");
        for (class, took) in house.classes.iter().zip(&times) {
            let ratio = took.us(0.5) / times[class.absent].us(0.5);
            let mark = if (ratio - 1.0).abs() > 0.05 { "  <-- more than 5 % off" } else { "" };
            let (name, count) = (class.name, took.0.len());
            let (p25, p50, p99) = (took.us(0.25), took.us(0.5), took.us(0.99));
            println!("  {name:<44} {count:>7} {p25:>10.1} {p50:>10.1} {p99:>10.1} {ratio:>8.3}{mark}");
        }
    }
}

/// Breaking the glass is answered alike for everybody, and must take as long.
async fn glasses(house: &House, samples: usize, chance: &mut Chance) {
    let agent = principal(house.tenant, "acme", "ana", Role::Agent);
    let classes = ["unknown", "near", "gone", "fresh", "pending"];
    let mut times: Vec<Vec<Duration>> = classes.iter().map(|_| Vec::new()).collect();
    for sample in 0..WARM + samples {
        let (at, pick) = (chance.below(classes.len()), chance.below(EACH));
        let door = house.access.door(&agent, Action::BreakGlass, house.tenant, None).unwrap();
        let glass = BrokenGlass {
            customer: CustomerId::parse(&format!("{}-{pick}", classes[at])).unwrap(),
            reason: WrittenReason::parse("an ambulance asks for the address").unwrap(),
            expires: Timestamp::now().plus_ms(60_000),
        };
        let began = Instant::now();
        house.vault.break_glass(door, glass).await.unwrap();
        let took = began.elapsed();
        if sample >= WARM {
            times[at].push(took);
        }
    }
    println!("a glass is broken: {samples} samples in random order");
    let times: Vec<Took> = times.into_iter().map(Took::of).collect();
    for (class, took) in classes.iter().zip(&times) {
        let ratio = took.us(0.5) / times[0].us(0.5);
        println!("  {class:<44} {:>7} {:>10.1} us {:>10.1} us {ratio:>8.3}", took.0.len(), took.us(0.5), took.us(0.99));
    }
}

/// The steps of a read, as the service takes them one after the other.
struct Reader {
    house: Arc<House>,
    records: Vec<RecordId>,
}

impl Reader {
    fn door(&self) -> Permit<TenantScope> {
        let caller = principal(self.house.tenant, "acme", "sam", Role::Supervisor);
        self.house.access.door(&caller, Action::GetTranscript, self.house.tenant, why()).unwrap()
    }

    async fn facts(&self, door: &Permit<TenantScope>, number: usize) -> RecordFacts {
        let record = self.records[number % self.records.len()];
        self.house.vault.facts(door, record, None).await.unwrap().unwrap()
    }

    async fn whole(&self, number: usize) -> Duration {
        let began = Instant::now();
        let door = self.door();
        let facts = self.facts(&door, number).await;
        let permit = self.house.access.record(&door, facts).unwrap();
        black_box(self.house.vault.get_transcript(permit).await.unwrap().content);
        began.elapsed()
    }

    /// What is durable before a read begins is one entry, as it is after a refusal.
    async fn entry(&self) -> Duration {
        let caller = principal(self.house.tenant, "acme", "sam", Role::Supervisor);
        let began = Instant::now();
        self.house.vault.note_refusal(&caller, Action::GetTranscript, Some(self.records[0])).await.unwrap();
        began.elapsed()
    }
}

/// Does something [`READERS`] at once.
async fn at_once<F>(reader: &Arc<Reader>, work: impl Fn(Arc<Reader>, usize) -> F + Clone + Send + 'static) -> Took
where
    F: Future<Output = Duration> + Send + 'static,
{
    let mut readers = tokio::task::JoinSet::new();
    for first in 0..READERS {
        let (reader, work) = (Arc::clone(reader), work.clone());
        readers.spawn(async move {
            let mut times = Vec::with_capacity(OF_EACH);
            for number in 0..OF_EACH {
                times.push(work(Arc::clone(&reader), first + number).await);
            }
            times
        });
    }
    Took::of(readers.join_all().await.into_iter().flatten().collect())
}

fn timed<T>(count: usize, mut work: impl FnMut() -> T) -> Took {
    let times = (0..count).map(|_| {
        let began = Instant::now();
        black_box(work());
        began.elapsed()
    });
    Took::of(times.collect())
}

async fn cost_of_a_read(house: Arc<House>) {
    let records = house.seen.iter().map(|ids| RecordId::parse(&ids.chat).unwrap()).collect();
    let reader = Arc::new(Reader { house, records });
    for number in 0..WARM {
        reader.whole(number).await;
    }
    let (mut whole, mut entry, mut facts_of) = (Vec::new(), Vec::new(), Vec::new());
    let door = reader.door();
    // In turns, so that what else the machine does falls on all alike.
    for number in 0..ALONE {
        whole.push(reader.whole(number).await);
        entry.push(reader.entry().await);
        let began = Instant::now();
        black_box(reader.facts(&door, number).await);
        facts_of.push(began.elapsed());
    }
    let (whole, entry, facts_of) = (Took::of(whole), Took::of(entry), Took::of(facts_of));
    let facts = reader.facts(&door, 0).await;
    let at_door = timed(QUESTIONS, || reader.door());
    let for_record = timed(QUESTIONS, || reader.house.access.record(&door, facts.clone()).unwrap());
    let permit = reader.house.access.record(&door, facts).unwrap();
    let a_kind = timed(QUESTIONS, || permit.sees(SensitiveKind::Phone));
    let kinds = timed(QUESTIONS / 10, || SensitiveKind::ALL.map(|kind| permit.sees(kind)));

    let all = whole.us(0.5);
    println!("one GetTranscript in this process, alone: {ALONE} times          median       p99    share");
    at_door.tell("policy: at the door", all);
    for_record.tell("policy: for the record", all);
    a_kind.tell("policy: one kind of what is sensitive", all);
    kinds.tell(&format!("policy: all {} kinds", SensitiveKind::ALL.len()), all);
    facts_of.tell("facts of the record, that the policy asks for", all);
    entry.tell("audit: the durable entry", all);
    whole.tell("the whole read", all);
    let policy = at_door.us(0.5) + for_record.us(0.5) + a_kind.us(0.5);
    println!(
        "  policy (door, record, one kind) {policy:.1} us, with audit {:.1} us: {:.1} % and {:.1} % of the read",
        policy + entry.us(0.5),
        100.0 * policy / all,
        100.0 * (policy + entry.us(0.5)) / all
    );

    println!("the same with {READERS} readers at once, {OF_EACH} times each           median       p99    share");
    let entry = at_once(&reader, |reader, _| async move { reader.entry().await }).await;
    let whole = at_once(&reader, |reader, number| async move { reader.whole(number).await }).await;
    entry.tell("audit: the durable entry, in shared groups", whole.us(0.5));
    whole.tell("the whole read", whole.us(0.5));
    let over_grpc = at_once(&reader, |reader, number| async move {
        let began = Instant::now();
        reader.house.read_chat(number).await;
        began.elapsed()
    })
    .await;
    over_grpc.tell("the whole read over gRPC", whole.us(0.5));
}

/// How long the report of all that a token touched takes, over a ledger of so many entries, each of which fits: one in ten is a read.
async fn report_over(house: &Arc<House>, entries: usize) {
    let records = house.seen.iter().map(|ids| RecordId::parse(&ids.chat).unwrap()).collect();
    let reader = Arc::new(Reader { house: Arc::clone(house), records });
    let mut writers = tokio::task::JoinSet::new();
    for first in 0..READERS {
        let reader = Arc::clone(&reader);
        writers.spawn(async move {
            for number in (first..entries).step_by(READERS) {
                match (number / READERS).is_multiple_of(10) {
                    true => reader.whole(number).await,
                    false => reader.entry().await,
                };
            }
        });
    }
    writers.join_all().await;
    let officer = principal(house.tenant, "acme", "olga", Role::PrivacyOfficer);
    for _ in 0..3 {
        let door = house.access.door(&officer, Action::ReportExposure, house.tenant, None).unwrap();
        let about = Suspicion { from: Timestamp::from_ms(0), ..Suspicion::default() };
        let began = Instant::now();
        let (mut report, mut bytes) = (house.vault.report_exposure(door, about, ()).await.unwrap().0, 0);
        while let Some(piece) = report.next().await.unwrap() {
            bytes += piece.content.len();
        }
        println!(
            "report of exposure over {entries} more entries: {:.2} s, {bytes} bytes",
            began.elapsed().as_secs_f64()
        );
    }
}

fn main() {
    let number =
        |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.trim().parse().unwrap());
    let samples = usize::try_from(number("OUBLIETTE_BENCH_SAMPLES", 12_000)).unwrap();
    let entries = usize::try_from(number("OUBLIETTE_BENCH_ENTRIES", 1_000_000)).unwrap();
    let seed = number("OUBLIETTE_SEED", u64::from(std::process::id()));
    println!("OUBLIETTE_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let house = Arc::new(House::build().await);
        house.assert_open().await;
        refusals(&house, samples, &mut Chance(seed)).await;
        glasses(&house, samples / 4, &mut Chance(seed)).await;
        cost_of_a_read(Arc::clone(&house)).await;
        report_over(&house, entries).await;
        house.vault.close().await;
    });
}
