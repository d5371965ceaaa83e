//! Whoever can write to the data directory can destroy a record, but not change one, nor pass one for another: every flipped bit of a
//! small sealed record, every cut, and every exchange of rows, parts and pages is refused.
//!
//! Twice over: every bit through the opening of a record's rows, and a sample of everything through the service as it runs.

use std::collections::BTreeMap;
use std::fs;

use oubliette::cli::client::Client;
use oubliette::cli::errors::CliError;
use oubliette::crypto::Key;
use oubliette::domain::ids::Revision;
use oubliette::store::{ObjectName, rows};
use oubliette::vault::forensics::{Plaintext, StolenRecord};
use tonic::Code;

use crate::chance::Chance;
use crate::fixture::{People, Server};
use crate::loot::{Found, Loot};
use crate::paper::Paper;
use crate::tell;

const TENANTS: [&str; 2] = ["acme", "globex"];
/// So many bits of a part are flipped; it is too long for all.
const FLIPS_OF_A_PART: usize = 150;
/// Exchanges of pages, each with a restart.
const PAGES_SWAPPED: usize = 8;

/// Chats and recordings of two customers in each of two tenants, in a service that is stopped.
struct Scene {
    server: Server,
    people: Vec<People>,
    records: Vec<Planted>,
}

struct Planted {
    tenant: usize,
    customer: String,
    record_id: String,
    paper: Paper,
}

impl Scene {
    /// `each` chats and as many recordings of two or more parts for each customer.
    async fn make(chance: &mut Chance, each: usize) -> Self {
        let mut server = Server::start_with(&[("limits.part_bytes", "65536")]).await;
        let (mut people, mut records) = (Vec::new(), Vec::new());
        for (tenant, name) in TENANTS.into_iter().enumerate() {
            let those = server.tenant_with_people(name).await;
            let client = server.client(&those.ingest).await;
            // The same customers and request ids in both tenants.
            for number in 0..2 * 2 * each {
                let customer = format!("customer {}", number % 2);
                let recording = Paper::Recording(chance.bytes(130_000 + number));
                let paper = if number % 4 < 2 { Paper::some_chat(chance, 60) } else { recording };
                let record_id = paper.put(&client, &customer, format!("request-{number}")).await.unwrap();
                records.push(Planted { tenant, customer, record_id, paper });
            }
            people.push(those);
        }
        assert_eq!(server.stop().await.code(), Some(0));
        Self { server, people, records }
    }

    fn loot(&self) -> Loot {
        Loot::open(&self.server.data_dir(), &self.server.root_key())
    }

    async fn readers(&self) -> Vec<Client> {
        vec![
            self.server.client(&self.people[0].privacy_officer).await,
            self.server.client(&self.people[1].privacy_officer).await,
        ]
    }
}

/// Opens a record as the right key would, from these rows.
fn open(loot: &Loot, place: &Found, row: Vec<u8>, secret: &[u8], key: &Key) -> Option<Plaintext> {
    open_with(place, row, secret, key, &mut |name| loot.object(name))
}

fn open_with(
    place: &Found,
    row: Vec<u8>,
    secret: &[u8],
    key: &Key,
    objects: &mut dyn FnMut(ObjectName) -> Option<Vec<u8>>,
) -> Option<Plaintext> {
    let stolen = StolenRecord::read(place.tenant, place.record, Revision::FIRST, row).ok()?;
    let secret = stolen.secret(key, secret).ok()?;
    stolen.open(&secret, objects).ok()
}

/// Gives `check` the bytes with each bit flipped, one after the other, and all shorter and some longer ones.
fn every_change(bytes: &[u8], mut check: impl FnMut(&[u8])) -> usize {
    let mut changed = bytes.to_vec();
    for bit in 0..bytes.len() * 8 {
        changed[bit / 8] ^= 1 << (bit % 8);
        check(&changed);
        changed[bit / 8] ^= 1 << (bit % 8);
    }
    (0..bytes.len()).for_each(|length| check(&bytes[..length]));
    (1..bytes.len()).for_each(|start| check(&bytes[start..]));
    for more in [&[0][..], &[0xff; 16], bytes] {
        check(&[bytes, more].concat());
    }
    bytes.len() * 10
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bit_and_every_cut_of_a_small_record_is_refused() {
    let mut chance = Chance::of_test("swap, every bit");
    let scene = Scene::make(&mut chance, 1).await;
    let loot = scene.loot();
    let mut tried = 0;
    for planted in [&scene.records[0], &scene.records[2]] {
        let found = loot.find(&planted.record_id);
        let key = loot.customer_key(found.handle);
        let opens = |row: &[u8], secret: &[u8]| open(&loot, &found, row.to_vec(), secret, &key).is_some();
        assert!(opens(&found.row, &found.secret));
        tried += every_change(&found.row, |row| assert!(!opens(row, &found.secret), "a changed record opens"));
        tried += every_change(&found.secret, |secret| assert!(!opens(&found.row, secret), "a changed secret opens"));
    }
    tell(&format!("swap: {tried} bits, cuts and extensions of a chat's and a recording's rows refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exchange_of_rows_secrets_and_parts_is_refused() {
    let mut chance = Chance::of_test("swap, exchanges");
    let scene = Scene::make(&mut chance, 1).await;
    let loot = scene.loot();
    let all: Vec<Found> = scene.records.iter().map(|planted| loot.find(&planted.record_id)).collect();
    let keys: Vec<Key> = all.iter().map(|found| loot.customer_key(found.handle)).collect();
    let mut tried = 0;
    for (at, place) in all.iter().enumerate() {
        for (of_row, row) in all.iter().enumerate() {
            for (of_secret, secret) in all.iter().enumerate() {
                for (of_key, key) in keys.iter().enumerate() {
                    let is_its_own = at == of_row && at == of_secret && key.same_as(&keys[at]);
                    let opened = open(&loot, place, row.row.clone(), &secret.secret, key).is_some();
                    assert_eq!(opened, is_its_own, "place {at}, row {of_row}, secret {of_secret}, key {of_key}");
                    tried += 1;
                }
            }
        }
    }
    let is_recording = |at: &usize| matches!(scene.records[*at].paper, Paper::Recording(_));
    let recordings: Vec<usize> = (0..all.len()).filter(is_recording).collect();
    for at in &recordings {
        for of in &recordings {
            tried += exchange_parts(&loot, (&all[*at], &keys[*at]), &all[*of], &mut chance);
        }
    }
    tell(&format!("swap: {tried} exchanges of rows, secrets, customer keys and parts tried"));
}

/// Puts every part of `of` in the place of every part of `mine`, and changes some bits of each.
fn exchange_parts(loot: &Loot, (mine, key): (&Found, &Key), of: &Found, chance: &mut Chance) -> usize {
    let parts =
        |found: &Found| -> Vec<Vec<u8>> { loot.parts(found).iter().map(|file| fs::read(file).unwrap()).collect() };
    let (own, others) = (parts(mine), parts(of));
    assert!(own.len() > 1, "a recording of one part");
    let opens_with = |wrong: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let mut objects = |name| loot.object(name).map(wrong);
        open_with(mine, mine.row.clone(), &mine.secret, key, &mut objects).is_some()
    };
    assert!(opens_with(&|part| part));
    let mut tried = 0;
    for instead_of in &own {
        for other in others.iter().filter(|other| *other != instead_of) {
            let swap = |part| if part == *instead_of { other.clone() } else { part };
            assert!(!opens_with(&swap), "a part in another's place opens");
            tried += 1;
        }
    }
    for _ in 0..FLIPS_OF_A_PART / own.len() {
        let victim = chance.one_of(&own);
        let bit = chance.below(victim.len() * 8);
        let length = chance.below(victim.len());
        let flip = |mut part: Vec<u8>| {
            if part == *victim {
                part[bit / 8] ^= 1 << (bit % 8);
            }
            part
        };
        assert!(!opens_with(&flip), "bit {bit} of a part");
        assert!(!opens_with(&|part| if part == *victim { part[..length].to_vec() } else { part }), "cut at {length}");
        tried += 2;
    }
    tried
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_refuses_what_was_changed_or_exchanged_and_gives_the_rest() {
    let mut chance = Chance::of_test("swap, service");
    let mut scene = Scene::make(&mut chance, 9).await;
    let mut victims: BTreeMap<usize, &str> = BTreeMap::new();
    {
        let loot = scene.loot();
        let all: Vec<Found> = scene.records.iter().map(|planted| loot.find(&planted.record_id)).collect();
        let mut tamper = Tamper { loot: &loot, all: &all, chance: &mut chance, victims: &mut victims };
        tamper.rows();
        tamper.exchanges(&scene.records);
        tamper.parts(&scene.records);
    }
    scene.server.restart().await;
    let readers = scene.readers().await;
    let mut outcomes: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for (at, planted) in scene.records.iter().enumerate() {
        let reader = &readers[planted.tenant];
        match victims.get(&at) {
            None => planted.paper.assert_there(reader, &planted.customer, &planted.record_id).await,
            Some(what) => {
                let code = refused(planted.paper.get(reader, &planted.record_id).await, what);
                *outcomes.entry((what, format!("{code:?}"))).or_default() += 1;
            }
        }
    }
    tell(&format!(
        "swap, service: {} of {} records changed, all refused: {outcomes:?}",
        victims.len(),
        scene.records.len()
    ));
    assert!(victims.len() >= 30 && victims.len() < scene.records.len());
}

/// That a changed record was refused as damaged or not there, and nothing of it given out.
fn refused<T>(answer: Result<T, CliError>, what: &str) -> Code {
    let Err(error) = answer else { panic!("{what}: it opens") };
    let code = error.refusal().map(|refusal| refusal.code);
    match code {
        Some(code @ (Code::DataLoss | Code::NotFound)) => code,
        other => panic!("{what}: {other:?}, {error}"),
    }
}

/// What two records exchange.
#[derive(PartialEq, Eq)]
enum Exchange {
    Rows,
    Secrets,
}

struct Tamper<'a> {
    loot: &'a Loot,
    all: &'a [Found],
    chance: &'a mut Chance,
    victims: &'a mut BTreeMap<usize, &'static str>,
}

impl Tamper<'_> {
    /// A record that nothing was done to yet, and that `is_right`.
    fn victim(&mut self, what: &'static str, is_right: impl Fn(usize) -> bool) -> usize {
        let free: Vec<usize> =
            (0..self.all.len()).filter(|at| !self.victims.contains_key(at) && is_right(*at)).collect();
        assert!(!free.is_empty(), "{what}: no record is left");
        let victim = *self.chance.one_of(&free);
        self.victims.insert(victim, what);
        victim
    }

    fn flipped(&mut self, bytes: &[u8]) -> Vec<u8> {
        let bit = self.chance.below(bytes.len() * 8);
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    }

    fn rows(&mut self) {
        let all = self.all;
        for _ in 0..14 {
            let found = &all[self.victim("a bit of the record", |_| true)];
            self.loot.tamper(found.row_key(), self.flipped(&found.row));
        }
        for _ in 0..5 {
            let found = &all[self.victim("a bit of the secret", |_| true)];
            self.loot.tamper(found.secret_key(), self.flipped(&found.secret));
        }
        for _ in 0..3 {
            let found = &all[self.victim("a record cut", |_| true)];
            let length = self.chance.below(found.row.len());
            self.loot.tamper(found.row_key(), found.row[..length].to_vec());
        }
        let found = &all[self.victim("a record continued", |_| true)];
        self.loot.tamper(found.row_key(), [&found.row[..], &[0; 16]].concat());
    }

    /// Exchanges whole rows between two records of the same kind: of one customer, of two, of two tenants.
    fn exchanges(&mut self, records: &[Planted]) {
        let same_tenant = |a: &Planted, b: &Planted| a.tenant == b.tenant;
        let same_customer = move |a: &Planted, b: &Planted| same_tenant(a, b) && a.customer == b.customer;
        for of in [&[Exchange::Rows][..], &[Exchange::Secrets], &[Exchange::Rows, Exchange::Secrets]] {
            self.exchange(records, "rows exchanged within a customer", of, &same_customer);
            let fits = |a: &Planted, b: &Planted| same_tenant(a, b) && a.customer != b.customer;
            self.exchange(records, "rows exchanged between customers", of, &fits);
            self.exchange(records, "rows exchanged between tenants", of, &|a, b| !same_tenant(a, b));
        }
    }

    fn exchange(
        &mut self,
        records: &[Planted],
        what: &'static str,
        of: &[Exchange],
        fits: &dyn Fn(&Planted, &Planted) -> bool,
    ) {
        let is_chat = |at: usize| matches!(records[at].paper, Paper::Chat(_));
        let free = |at: &usize| !self.victims.contains_key(at);
        let all = || (0..records.len()).filter(free);
        let pairs: Vec<(usize, usize)> = all()
            .flat_map(|one| all().map(move |other| (one, other)))
            .filter(|(one, other)| one != other && is_chat(*one) == is_chat(*other))
            .filter(|(one, other)| fits(&records[*one], &records[*other]))
            .collect();
        let (one, other) = *self.chance.one_of(&pairs);
        self.victims.extend([(one, what), (other, what)]);
        let (one, other) = (&self.all[one], &self.all[other]);
        if of.contains(&Exchange::Rows) {
            self.loot.tamper(one.row_key(), other.row.clone());
            self.loot.tamper(other.row_key(), one.row.clone());
        }
        if of.contains(&Exchange::Secrets) {
            self.loot.tamper(one.secret_key(), other.secret.clone());
            self.loot.tamper(other.secret_key(), one.secret.clone());
        }
    }

    /// Changes, exchanges and removes the files of parts.
    fn parts(&mut self, records: &[Planted]) {
        let is_recording = |at: usize| matches!(records[at].paper, Paper::Recording(_));
        let all = self.all;
        let parts = self.loot.parts(&all[self.victim("a bit of a part", is_recording)]);
        fs::write(&parts[0], self.flipped(&fs::read(&parts[0]).unwrap())).unwrap();
        let parts = self.loot.parts(&all[self.victim("a part cut", is_recording)]);
        let part = fs::read(&parts[0]).unwrap();
        fs::write(&parts[0], &part[..self.chance.below(part.len())]).unwrap();
        let parts = self.loot.parts(&all[self.victim("a part gone", is_recording)]);
        fs::remove_file(&parts[0]).unwrap();
        let parts = self.loot.parts(&all[self.victim("parts within a recording", is_recording)]);
        exchange_files(&parts[0], &parts[1]);
        let [one, other] = [(); 2].map(|()| self.victim("parts between recordings", is_recording));
        exchange_files(&self.loot.parts(&all[one])[0], &self.loot.parts(&all[other])[0]);
    }
}

fn exchange_files(one: &std::path::Path, other: &std::path::Path) {
    let (of_one, of_other) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    fs::write(one, of_other).unwrap();
    fs::write(other, of_one).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_key_tree_in_each_others_place_open_nothing_wrong() {
    let mut chance = Chance::of_test("swap, pages");
    let mut scene = Scene::make(&mut chance, 1).await;
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..PAGES_SWAPPED {
        let (one, other) = {
            let loot = scene.loot();
            let pages: Vec<Vec<u8>> = loot.rows(rows::Kind::Page).into_iter().map(|(key, _)| key).collect();
            let one = chance.below(pages.len());
            let other = (one + 1 + chance.below(pages.len() - 1)) % pages.len();
            exchange_pages(&loot, &pages[one], &pages[other]);
            (pages[one].clone(), pages[other].clone())
        };
        match scene.server.try_start().await {
            Err(_) => *outcomes.entry("refused to start".to_owned()).or_default() += 1,
            Ok(()) => {
                for outcome in read_all(&scene).await {
                    *outcomes.entry(outcome).or_default() += 1;
                }
                assert_eq!(scene.server.stop().await.code(), Some(0));
            }
        }
        exchange_pages(&scene.loot(), &one, &other);
    }
    scene.server.restart().await;
    assert!(read_all(&scene).await.iter().all(|outcome| outcome == RIGHT), "put back, all opens");
    tell(&format!("swap, {PAGES_SWAPPED} exchanges of pages: {outcomes:?}"));
    assert!(outcomes.keys().any(|outcome| outcome != RIGHT), "the exchanges hit nothing");
}

/// What a read of an untouched record comes to.
const RIGHT: &str = "right";

fn exchange_pages(loot: &Loot, one: &[u8], other: &[u8]) {
    let (of_one, of_other) = (loot.row(one), loot.row(other));
    loot.tamper(one.to_vec(), of_other);
    loot.tamper(other.to_vec(), of_one);
}

/// Reads every record: it is right or refused, never something else.
async fn read_all(scene: &Scene) -> Vec<String> {
    let readers = scene.readers().await;
    let mut outcomes = Vec::new();
    for planted in &scene.records {
        outcomes.push(match planted.paper.get(&readers[planted.tenant], &planted.record_id).await {
            Ok((customer, paper)) => {
                assert!(customer == planted.customer && paper == planted.paper, "something else opens");
                RIGHT.to_owned()
            }
            Err(error) => {
                let code = error.refusal().map(|refusal| refusal.code);
                format!("{:?}", code.unwrap_or_else(|| panic!("no answer: {error}")))
            }
        });
    }
    outcomes
}
