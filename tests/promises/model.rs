//! A vault is what a plain map is, but for what was erased: whatever is put, read, erased and restarted in whatever order, each
//! record opens byte by byte for its own tenant, and nothing of an erased customer ever does again.

use std::collections::BTreeMap;

use oubliette::api::v1;
use oubliette::cli::client::Client;
use tonic::Code;

use crate::chance::Chance;
use crate::fixture::{PURPOSES, People, Server, token_for};
use crate::model_rights::{ALONE, Rights, freeze};
use crate::paper::{Paper, code, erase, list};
use crate::tell;

const STEPS: usize = 700;
const TENANTS: [&str; 2] = ["acme", "globex"];
/// Customers that a tenant has at a time; who is erased is followed by another.
const CUSTOMERS: usize = 10;
/// Around the least part of a recording, so that some recordings have one part and some several.
const MOST_RECORDING: usize = 200_000;
/// Above the limit for content in rows, so that some chats are objects.
const MOST_CHAT: usize = 9_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_puts_reads_erasures_and_restarts_agrees_with_a_plain_map() {
    let mut chance = Chance::of_test("model");
    let alone = ALONE.to_string();
    let settings = [
        ("limits.part_bytes", "65536"),
        ("limits.inline_content_bytes", "4096"),
        ("ceilings.privacy_officer.erasures_per_day", &alone),
    ];
    let mut server = Server::start_with(&settings).await;
    let mut model = Vec::new();
    for tenant in TENANTS {
        let people = server.tenant_with_people(tenant).await;
        let admin = server.admin_client().await;
        let second = token_for(&admin, tenant, "otto", v1::Role::PrivacyOfficer, &[]).await;
        let clients = Clients::connect(&server, &people, &second).await;
        let (live, erased, rights) = (BTreeMap::new(), BTreeMap::new(), Rights::new());
        model.push(Tenant { people, second, clients, live, erased, rights, serial: 0 });
    }
    let mut counts = BTreeMap::new();
    for _ in 0..STEPS {
        let step = step(&mut server, &mut model, &mut chance).await;
        *counts.entry(step).or_insert(0_u32) += 1;
    }
    for at in 0..model.len() {
        model[at].check_all(&model[1 - at]).await;
    }
    tell(&format!("model: {counts:?}"));
    let needed =
        ["erase", "revise", "restart", "kill", "freeze", "take a case back", "read on a case", "read without a case"];
    assert!(needed.iter().all(|step| counts.contains_key(step)), "{counts:?}");
}

async fn step(server: &mut Server, model: &mut [Tenant], chance: &mut Chance) -> &'static str {
    let at = chance.below(model.len());
    match chance.below(100) {
        0..6 => model[at].revise(chance).await,
        6..10 => model[at].turn_a_case(chance).await,
        10..15 => model[at].read_on_a_case(chance).await,
        15..35 => model[at].put(Paper::some_chat(chance, MOST_CHAT), chance).await,
        35..50 => model[at].put(Paper::some_recording(chance, MOST_RECORDING), chance).await,
        50..70 => model[at].read(chance).await,
        70..80 => model[at].read_range(chance).await,
        80..86 => model[at].list(chance).await,
        86..90 => model[at].touch_erased(chance).await,
        90..93 => {
            let other = &model[1 - at];
            other.assert_closed_to(&model[at], chance).await;
            "read another tenant's"
        }
        93..97 => model[at].erase(chance).await,
        97 => {
            let tenant = &model[at];
            let Some((_, (record, ..))) = tenant.some_record(chance) else { return "freeze nothing" };
            let (officer, name) = (tenant.people.privacy_officer.clone(), tenant.people.tenant.clone());
            freeze(server, &officer, &name, &record.clone(), chance.percent(50)).await;
            for tenant in model {
                tenant.clients = Clients::connect(server, &tenant.people, &tenant.second).await;
            }
            "freeze"
        }
        _ => {
            let killed = chance.percent(50);
            if killed {
                server.kill9()
            } else {
                assert_eq!(server.stop().await.code(), Some(0))
            }
            server.restart().await;
            for tenant in model {
                tenant.clients = Clients::connect(server, &tenant.people, &tenant.second).await;
            }
            if killed { "kill" } else { "restart" }
        }
    }
}

struct Clients {
    ingest: Client,
    reader: Client,
    privacy_officer: Client,
    agent: Client,
    /// Approves what the privacy officer may not do alone.
    second: Client,
}

impl Clients {
    async fn connect(server: &Server, people: &People, second: &str) -> Self {
        Self {
            ingest: server.client(&people.ingest).await,
            reader: server.client(&people.privacy_officer).await,
            privacy_officer: server.client(&people.privacy_officer).await,
            agent: server.client(&people.agent).await,
            second: server.client(second).await,
        }
    }
}

/// A record: its id, its newest revision, and those that it replaced.
type Stored = (String, Paper, Vec<Paper>);
type Records = Vec<Stored>;

/// A tenant as it must be.
struct Tenant {
    people: People,
    second: String,
    clients: Clients,
    live: BTreeMap<String, Records>,
    erased: BTreeMap<String, Records>,
    rights: Rights,
    serial: u32,
}

impl Tenant {
    async fn put(&mut self, paper: Paper, chance: &mut Chance) -> &'static str {
        let (customer, request) = (self.someone(chance), self.request());
        let record_id = paper.put(&self.clients.ingest, &customer, request.clone()).await.unwrap();
        if chance.percent(20) {
            let again = paper.put(&self.clients.ingest, &customer, request).await.unwrap();
            assert_eq!(again, record_id, "a repeat stored it twice");
        }
        self.live.entry(customer).or_default().push((record_id, paper, Vec::new()));
        "put"
    }

    async fn revise(&mut self, chance: &mut Chance) -> &'static str {
        let Some((customer, (record_id, paper, older))) = self.some_record(chance) else { return "revise nothing" };
        let (customer, record_id, base) = (customer.clone(), record_id.clone(), older.len() as u32 + 1);
        let (is_chat, request) = (matches!(paper, Paper::Chat(_)), self.request());
        let new = Paper::some_chat(chance, MOST_CHAT);
        let revised = new.revise(&self.clients.ingest, &customer, (&record_id, base), request.clone()).await;
        if !is_chat {
            assert_eq!(code(revised), Code::NotFound, "a recording was revised as a chat");
            return "revise a recording";
        }
        assert_eq!(revised.unwrap(), base + 1);
        let again = new.revise(&self.clients.ingest, &customer, (&record_id, base), request).await;
        assert_eq!(again.unwrap(), base + 1, "a repeat stored it twice");
        let records = self.live.get_mut(&customer).unwrap();
        let (_, paper, older) = records.iter_mut().find(|(id, ..)| *id == record_id).unwrap();
        older.push(std::mem::replace(paper, new));
        "revise"
    }

    async fn read(&self, chance: &mut Chance) -> &'static str {
        let Some((customer, (record_id, paper, older))) = self.some_record(chance) else { return "read of nothing" };
        paper.assert_there(&self.clients.reader, customer, record_id).await;
        for (revision, paper) in (1..).zip(older) {
            let (purpose, record_id) = (PURPOSES[0].to_owned(), record_id.clone());
            let request = v1::GetTranscriptRequest { record_id, purpose, revision, ..Default::default() };
            let read = self.clients.reader.get_transcript(request).await.unwrap();
            let texts = read.turns.into_iter().map(|turn| turn.text).collect();
            assert!(*paper == Paper::Chat(texts), "revision {revision}");
        }
        "read"
    }

    async fn read_range(&self, chance: &mut Chance) -> &'static str {
        let Some((_, (record_id, Paper::Recording(bytes), _))) = self.some_record(chance) else {
            return "read of no range";
        };
        let offset = chance.below(bytes.len());
        let length = 1 + chance.below(bytes.len() - offset);
        let range = Some(v1::ByteRange { offset: offset as u64, length: length as u64 });
        let request = v1::DownloadRecordingRequest {
            record_id: record_id.clone(),
            purpose: PURPOSES[1].to_owned(),
            range,
            ..Default::default()
        };
        let mut got = Vec::new();
        self.clients.reader.download_recording(request, &mut got, |_, _| {}).await.unwrap();
        assert!(got == bytes[offset..offset + length], "bytes {offset}, {length} of {record_id}");
        "read a range"
    }

    async fn turn_a_case(&mut self, chance: &mut Chance) -> &'static str {
        let Some((customer, _)) = self.some_record(chance) else { return "no case" };
        let customer = customer.clone();
        self.rights.turn(&self.clients.ingest, &customer).await
    }

    async fn read_on_a_case(&self, chance: &mut Chance) -> &'static str {
        let Some((customer, (record_id, ..))) = self.some_record(chance) else { return "no case" };
        self.rights.check(&self.clients.agent, customer, record_id).await
    }

    async fn list(&self, chance: &mut Chance) -> &'static str {
        let customers: Vec<&String> = self.live.keys().collect();
        if customers.is_empty() {
            return "list of nobody";
        }
        self.check_list(customers[chance.below(customers.len())]).await;
        "list"
    }

    async fn check_list(&self, customer: &str) {
        let listed = list(&self.clients.reader, customer).await.unwrap();
        let mut listed: Vec<String> = listed.into_iter().map(|record| record.record_id).collect();
        let mut expected: Vec<String> = self.live[customer].iter().map(|(id, ..)| id.clone()).collect();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected, "the list of {customer}");
    }

    async fn erase(&mut self, chance: &mut Chance) -> &'static str {
        let customers: Vec<&String> = self.live.keys().collect();
        if customers.is_empty() {
            let nobody = erase(&self.clients.privacy_officer, "nobody", "erase-nobody".to_owned()).await;
            assert_eq!(code(nobody), Code::NotFound);
            return "erase nobody";
        }
        let customer = (*chance.one_of(&customers)).clone();
        self.rights.make_room(&self.clients.privacy_officer, &self.clients.second, &customer).await;
        self.rights.forget(&customer);
        let request = self.request();
        let receipt = erase(&self.clients.privacy_officer, &customer, request.clone()).await.unwrap();
        let again = erase(&self.clients.privacy_officer, &customer, request).await.unwrap();
        assert_eq!(again, receipt, "a repeat gave another receipt");
        let records = self.live.remove(&customer).unwrap();
        self.check_erased(&customer, &records).await;
        self.erased.insert(customer, records);
        "erase"
    }

    async fn touch_erased(&mut self, chance: &mut Chance) -> &'static str {
        let erased: Vec<String> = self.erased.keys().cloned().collect();
        if erased.is_empty() {
            return "touch nobody";
        }
        let customer = chance.one_of(&erased);
        let request = self.request();
        let put = Paper::some_chat(chance, 100).put(&self.clients.ingest, customer, request).await;
        let reason = put.unwrap_err().refusal().and_then(|refusal| refusal.reason.clone());
        assert_eq!(reason.as_deref(), Some("CUSTOMER_ERASED"));
        self.check_erased(customer, &self.erased[customer]).await;
        "touch erased"
    }

    /// Nothing of an erased customer opens, and nothing is shown.
    async fn check_erased(&self, customer: &str, records: &Records) {
        let reader = &self.clients.reader;
        for (record_id, paper, _) in records {
            assert_eq!(code(paper.get(reader, record_id).await), Code::NotFound, "{record_id} of {customer}");
            let request = v1::GetRecordRequest {
                record_id: record_id.clone(),
                purpose: PURPOSES[0].to_owned(),
                ..Default::default()
            };
            assert_eq!(code(reader.get_record(request).await), Code::NotFound, "{record_id} of {customer}");
        }
        let listed = list(reader, customer).await;
        assert!(listed.is_err() || listed.is_ok_and(|list| list.is_empty()), "{customer} is listed");
    }

    /// No record of this tenant opens for `stranger`.
    async fn assert_closed_to(&self, stranger: &Self, chance: &mut Chance) {
        if let Some((_, (record_id, paper, _))) = self.some_record(chance) {
            assert_eq!(code(paper.get(&stranger.clients.reader, record_id).await), Code::NotFound);
        }
    }

    async fn check_all(&self, stranger: &Self) {
        for (customer, records) in &self.live {
            self.check_list(customer).await;
            for (record_id, paper, _) in records {
                paper.assert_there(&self.clients.reader, customer, record_id).await;
                assert_eq!(code(paper.get(&stranger.clients.reader, record_id).await), Code::NotFound);
            }
        }
        for (customer, records) in &self.erased {
            self.check_erased(customer, records).await;
        }
    }

    /// A customer who is not erased. Both tenants use the same ids, which say nothing to each other.
    fn someone(&self, chance: &mut Chance) -> String {
        let mut ids = (0..).map(|n| format!("Kundin № {n}, 客/../{n}")).filter(|id| !self.erased.contains_key(id));
        ids.nth(chance.below(CUSTOMERS)).unwrap()
    }

    fn some_record<'a>(&'a self, chance: &mut Chance) -> Option<(&'a String, &'a Stored)> {
        let all: Vec<_> = self.live.iter().flat_map(|(id, records)| records.iter().map(move |r| (id, r))).collect();
        if all.is_empty() { None } else { Some(*chance.one_of(&all)) }
    }

    fn request(&mut self) -> String {
        self.serial += 1;
        format!("request-{}", self.serial)
    }
}
