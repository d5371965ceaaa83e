//! Whatever stands in the place of an identifier, nobody gets at another tenant's data by it: 0 of hundreds of names, in every place of the
//! API, by everyone who may call it. And a legal name that only looks like another is a name of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use oubliette::api::v1;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::abused;
use crate::chance::Chance;
use crate::fixture::{AGENT, PURPOSES, People, Server, TEAMS, token_for};
use crate::places::{Outcome, Own, Place, Then, Who, places};
use crate::tell;
use crate::wire::{Caller, asked_of, assert_refused, chat, info, metadata, reason};

/// In all that the other tenant has and that nobody of this one may ever get: texts, tags, names of teams and purposes.
const NEEDLE: &str = "needle-of-globex-6yd0q";
/// So many calls are under way at once.
const AT_ONCE: usize = 48;
/// The most texts with which one place refuses. Were the identifier in them, there would be hundreds.
const MOST_TEXTS: usize = 12;
/// What a caller's mistake may be called.
const CALLERS_FAULT: [Code; 6] = [
    Code::InvalidArgument,
    Code::NotFound,
    Code::PermissionDenied,
    Code::FailedPrecondition,
    Code::ResourceExhausted,
    Code::AlreadyExists,
];

#[tokio::test(flavor = "multi_thread")]
async fn no_abused_identifier_reaches_another_tenants_data_and_look_alikes_are_names_of_their_own() {
    let mut chance = Chance::of_test("identifiers");
    let server = Server::start_with(&[("limits.erasures_per_hour", "1000000")]).await;
    let globex = Globex::make(&server).await;
    let before = globex.all().await;
    assert!(before.iter().any(|part| holds(part, NEEDLE.as_bytes())), "the other tenant has nothing to find");

    let ids = abused::identifiers(&globex.ids().await);
    assert!(ids.len() >= 600, "{} identifiers", ids.len());
    let acme = Acme::make(&server).await;
    let own = Arc::new(acme.own(globex.record.clone()).await);
    let (mut tried, mut refused) = (0, 0);
    let places = places();
    for is_stored in [false, true] {
        let some: Vec<&Place> = places.iter().filter(|place| (place.then == Then::Stored) == is_stored).collect();
        let (of_these, refused_of_these) = abuse(&acme, &own, &some, &ids, &mut chance).await;
        (tried, refused) = (tried + of_these, refused + refused_of_these);
    }
    tell(&format!(
        "identifiers: {} in {} places, {tried} calls with the roles that may make them: {refused} refused, 0 reached the other tenant",
        ids.len(),
        places.len()
    ));
    let names = names_of_their_own(&acme, &ids, &mut chance).await;
    tell(&format!("identifiers: {names} legal names of customers, cases and agents are each their own"));

    assert!(globex.all().await == before, "the other tenant's data is not what it was");
    assert_refused(
        globex.ingest.store_chat(chat("again-0001", "gone")).await,
        Code::FailedPrecondition,
        "CUSTOMER_ERASED",
    );
    let log = fs::read_to_string(server.log_file()).unwrap();
    let stderr = fs::read_to_string(server.log_file().with_file_name("stderr")).unwrap();
    assert!(stderr.is_empty() && !log.contains("panic") && !log.contains("ERROR"), "{stderr}\n{log}");
    assert!(!log.contains(NEEDLE) && log.is_ascii(), "the log holds what a caller sent or what is stored");
}

/// The other tenant, and those who work in it.
struct Globex {
    ingest: Caller,
    supervisor: Caller,
    officer: Caller,
    admin: Caller,
    /// One of its records.
    record: String,
}

impl Globex {
    async fn make(server: &Server) -> Self {
        let people = server.tenant_with_people("globex").await;
        let admin = server.admin_client().await;
        let more = |names: [&str; 2], own: &str| names.into_iter().chain([own, NEEDLE]).map(str::to_owned).collect();
        let settings = v1::TenantSettings {
            purposes: more(PURPOSES, "claims-of-globex"),
            teams: more(TEAMS, "team-of-globex"),
            rule_set: "gdpr".to_owned(),
            ..Default::default()
        };
        let update = v1::UpdateTenantSettingsRequest { name: "globex".to_owned(), settings: Some(settings) };
        admin.update_tenant_settings(update).await.unwrap();
        token_for(&admin, "globex", "nadia", v1::Role::Agent, &[NEEDLE, "team-of-globex"]).await;
        let boss = token_for(&admin, "globex", "boss", v1::Role::Admin, &[]).await;
        let ingest = Caller::of(server, &people.ingest).await;
        let mut record = String::new();
        for (number, customer) in ["ada", "Straße-é", "gone", "gone too", "system"].iter().enumerate() {
            let mut chat = chat(&format!("chat-of-globex-{number}"), customer);
            chat.details.as_mut().unwrap().tags.push(NEEDLE.to_owned());
            chat.turns[0].text = format!("I am {customer}, and the word is {NEEDLE}.");
            record = ingest.store_chat(chat).await.unwrap().record_id;
            ingest
                .store_call(metadata(&format!("call-of-globex-{number}"), customer), NEEDLE.as_bytes())
                .await
                .unwrap();
        }
        for case in ["case-7", NEEDLE] {
            ingest.assign(case, "ada", AGENT, 3_600).await.unwrap();
        }
        let officer = Caller::of(server, &people.privacy_officer).await;
        officer.erase("erase-of-globex-1", "gone").await.unwrap();
        officer.erase("erase-of-globex-2", "gone too").await.unwrap();
        let supervisor = Caller::of(server, &people.supervisor).await;
        Self { ingest, supervisor, officer, admin: Caller::of(server, &boss).await, record }
    }

    fn listed(&self) -> v1::ListRecordsRequest {
        v1::ListRecordsRequest { purpose: PURPOSES[0].to_owned(), ..Default::default() }
    }

    /// Names and ids of all kinds that are really there, also those that only it knows.
    async fn ids(&self) -> Vec<String> {
        let records = self.supervisor.list(self.listed()).await.unwrap();
        let mut ids: Vec<String> = records.into_iter().map(|record| record.record_id).collect();
        ids.extend(self.officer.receipts(1).await.unwrap().into_iter().map(|receipt| receipt.receipt_id));
        let tokens = v1::ListTokensRequest { page_size: 3, ..Default::default() };
        let tokens = self.admin.admin.clone().list_tokens(tokens).await.unwrap().into_inner();
        ids.extend(tokens.tokens.into_iter().map(|token| token.token_id));
        ids.push(tokens.next_page_token);
        let list = v1::ListRecordsRequest { page_size: 1, ..self.listed() };
        ids.push(self.supervisor.records.clone().list_records(list).await.unwrap().into_inner().next_page_token);
        let list = v1::ListReceiptsRequest { page_size: 1, ..Default::default() };
        ids.push(self.officer.privacy.clone().list_receipts(list).await.unwrap().into_inner().next_page_token);
        let list = v1::ListPrincipalsRequest { page_size: 1, ..Default::default() };
        ids.push(self.admin.admin.clone().list_principals(list).await.unwrap().into_inner().next_page_token);
        let list = v1::ListCaseAssignmentsRequest { customer_id: "ada".to_owned(), page_size: 1, ..Default::default() };
        ids.push(self.ingest.access.clone().list_case_assignments(list).await.unwrap().into_inner().next_page_token);
        assert!(ids.iter().all(|id| !id.is_empty()));
        let names = ["ada", "Straße-é", "gone", "globex", "case-7", "nadia", "claims-of-globex", "team-of-globex"];
        let requests = ["chat-of-globex-0", "erase-of-globex-1"];
        ids.extend(names.into_iter().chain(requests).map(str::to_owned));
        ids
    }

    /// All that it has, as it reads it itself.
    async fn all(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for record in self.supervisor.list(self.listed()).await.unwrap() {
            let (id, purpose) = (&record.record_id, PURPOSES[0]);
            all.push(match record.kind() {
                v1::RecordKind::Transcript => self.supervisor.chat(id, purpose).await.unwrap().encode_to_vec(),
                _ => self.supervisor.call(id, purpose, None).await.unwrap().1,
            });
            all.push(record.encode_to_vec());
        }
        let receipts = self.officer.receipts(50).await.unwrap();
        all.extend(
            receipts.into_iter().map(|receipt| v1::ErasureReceipt { proof: String::new(), ..receipt }.encode_to_vec()),
        );
        all.extend(self.ingest.assignments("ada").await.unwrap().iter().map(v1::CaseAssignment::encode_to_vec));
        all.push(self.admin.tenant("").await.unwrap().encode_to_vec());
        let mut admin = self.admin.admin.clone();
        all.push(
            admin.list_principals(v1::ListPrincipalsRequest::default()).await.unwrap().into_inner().encode_to_vec(),
        );
        all.push(admin.list_tokens(v1::ListTokensRequest::default()).await.unwrap().into_inner().encode_to_vec());
        all
    }
}

/// The tenant whose people try it.
struct Acme {
    callers: Vec<(Who, Caller)>,
}

impl Acme {
    async fn make(server: &Server) -> Self {
        let People { tenant, ingest, agent, supervisor, privacy_officer } = server.tenant_with_people("acme").await;
        let admin = server.admin_client().await;
        let auditor = token_for(&admin, &tenant, "otto", v1::Role::Auditor, &[]).await;
        let boss = token_for(&admin, &tenant, "boss", v1::Role::Admin, &[]).await;
        let mut callers = Vec::new();
        for (who, token) in [
            (Who::Ingest, ingest),
            (Who::Agent, agent),
            (Who::Supervisor, supervisor),
            (Who::Officer, privacy_officer),
            (Who::Auditor, auditor),
            (Who::Admin, boss),
        ] {
            callers.push((who, Caller::of(server, &token).await));
        }
        Self { callers }
    }

    fn caller(&self, who: Who) -> Caller {
        self.callers.iter().find(|(one, _)| *one == who).unwrap().1.clone()
    }

    /// A record that its agent may not see, and a case that the agent works on.
    async fn own(&self, foreign: String) -> Own {
        let mut far = chat("own-chat-0001", "vera");
        let details = far.details.as_mut().unwrap();
        (details.case_id, details.agent, details.team) = ("case-a".to_owned(), "bert".to_owned(), TEAMS[1].to_owned());
        let ingest = self.caller(Who::Ingest);
        let record = ingest.store_chat(far).await.unwrap().record_id;
        ingest.assign("case-9", "vera", AGENT, 3_600).await.unwrap();
        let settings = self.caller(Who::Admin).tenant("").await.unwrap().settings.unwrap();
        Own::new(record, settings, foreign)
    }
}

/// Puts every identifier into each of these places, in any order and many at once. How many calls that were, and how many were refused.
async fn abuse(acme: &Acme, own: &Arc<Own>, places: &[&Place], ids: &[String], chance: &mut Chance) -> (usize, usize) {
    let mut todo = Vec::new();
    for place in places {
        for who in place.who {
            todo.extend((0..ids.len()).map(|id| (place.ask, *who, place.method, place.field, place.then, id)));
        }
    }
    for at in (1..todo.len()).rev() {
        todo.swap(at, chance.below(at + 1));
    }
    let (todo, ids) = (Arc::new(todo), Arc::new(ids.to_vec()));
    let (count, heard) = (todo.len(), Arc::new(Mutex::new(Heard::default())));
    let callers: Arc<BTreeMap<Who, Caller>> = Arc::new(acme.callers.iter().cloned().collect());
    let (own, hears) = (own.clone(), heard.clone());
    each(count, move |number| {
        let (ask, who, method, field, then, id) = todo[number];
        let (asking, hears, ids) =
            (ask(callers[&who].clone(), ids[id].clone(), own.clone()), hears.clone(), ids.clone());
        async move {
            let outcome = asking.await;
            hears.lock().unwrap().hear(format!("{who:?}, {method}, {field}"), field, then, &ids[id], outcome);
        }
    })
    .await;
    let heard = heard.lock().unwrap();
    let many = heard.texts.iter().find(|(_, texts)| texts.len() > MOST_TEXTS);
    assert!(many.is_none(), "texts that depend on what was sent: {many:?}");
    let some: Vec<_> = heard.complaints.iter().take(20).collect();
    assert!(some.is_empty(), "{} of {} calls: {some:#?}", heard.complaints.len(), count);
    (count, heard.refused)
}

/// What came of all calls.
#[derive(Default)]
struct Heard {
    refused: usize,
    texts: BTreeMap<String, BTreeSet<String>>,
    complaints: Vec<String>,
}

impl Heard {
    fn hear(&mut self, at: String, field: &str, then: Then, id: &str, outcome: Outcome) {
        let complaint = match outcome {
            Ok(answer) if holds(&answer, NEEDLE.as_bytes()) => Some("it got at the other tenant's data".to_owned()),
            Ok(_) if then == Then::Refused && !id.is_empty() => Some("it was let through".to_owned()),
            Ok(_) => None,
            Err(status) => {
                self.refused += 1;
                self.texts.entry(at.clone()).or_default().insert(status.message().to_owned());
                what_is_wrong(&status, field, id).map(|wrong| format!("{wrong}: {status:?}"))
            }
        };
        let shown: String = id.chars().take(80).collect();
        self.complaints.extend(complaint.map(|complaint| format!("{at}, {shown:?}: {complaint}")));
    }
}

/// What a refusal must not be: a fault of the service, without a type, without its field, with a word of what was sent or is stored.
fn what_is_wrong(status: &Status, field: &str, id: &str) -> Option<&'static str> {
    let words = format!("{:?}", status.metadata()).into_bytes();
    let said = [status.message().as_bytes(), status.details(), &words].concat();
    // A plain word or what is shorter may stand there by itself.
    let is_telling = id.len() >= 6 && !id.bytes().all(|byte| byte.is_ascii_lowercase());
    let echoes = is_telling && holds(&said, id.as_bytes());
    let named = info(status, "field").map(|field| field.trim_end_matches("[0]").to_owned());
    let is_named = named.as_deref() == Some(field) || reason(status) == "MALFORMED_MESSAGE";
    match status.code() {
        code if !CALLERS_FAULT.contains(&code) => Some("not the caller's fault"),
        _ if holds(&said, NEEDLE.as_bytes()) => Some("it tells of the other tenant"),
        _ if echoes => Some("it says what was sent"),
        Code::InvalidArgument if !is_named => Some("it does not name the field"),
        _ => None,
    }
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// What the definitions call a legal name.
fn is_legal(id: &str, most_bytes: usize) -> bool {
    (1..=most_bytes).contains(&id.len()) && !id.chars().any(char::is_control)
}

/// Stores a record under every legal name, finds each by its name alone, and erases every second: the others stay. How many there are.
async fn names_of_their_own(acme: &Acme, ids: &[String], chance: &mut Chance) -> usize {
    let mut names: Vec<String> = ids.iter().filter(|id| is_legal(id, 256)).cloned().collect();
    for at in (1..names.len()).rev() {
        names.swap(at, chance.below(at + 1));
    }
    let names = Arc::new(names);
    let records = Arc::new(Mutex::new(vec![v1::Record::default(); names.len()]));
    let (ingest, stored, all) = (acme.caller(Who::Ingest), records.clone(), names.clone());
    each(names.len(), move |at| store_under(ingest.clone(), all.clone(), at, stored.clone())).await;
    let records = Arc::new(std::mem::take(&mut *records.lock().unwrap()));
    assert_eq!(records.iter().map(|record| &record.record_id).collect::<BTreeSet<_>>().len(), names.len());
    let (supervisor, all, known) = (acme.caller(Who::Supervisor), names.clone(), records.clone());
    each(names.len(), move |at| find_by(supervisor.clone(), all.clone(), at, known.clone())).await;

    let erased: Vec<&str> = names.iter().step_by(2).map(String::as_str).collect();
    for list in erased.chunks(500) {
        let request = format!("erase-names-{}", list.as_ptr() as usize);
        let outcomes = acme.caller(Who::Officer).erase_list(&request, list).await.unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.receipt.is_some()), "a name of its own was erased with another");
    }
    let (supervisor, count) = (acme.caller(Who::Supervisor), names.len());
    each(count, move |at| still_there(supervisor.clone(), names.clone(), at, records.clone())).await;
    count
}

async fn store_under(ingest: Caller, names: Arc<Vec<String>>, at: usize, records: Arc<Mutex<Vec<v1::Record>>>) {
    let mut new = chat(&format!("name-{at:06}"), &names[at]);
    let details = new.details.as_mut().unwrap();
    let name = if is_legal(&names[at], 128) { names[at].clone() } else { String::new() };
    (details.case_id, details.agent, details.tags) = (name.clone(), name, vec![at.to_string()]);
    let asked = details.clone();
    let record = ingest.store_chat(new).await.unwrap_or_else(|status| panic!("{:?} is legal: {status:?}", names[at]));
    assert!(record.details.as_ref() == Some(&asked), "{:?} is stored as something else", names[at]);
    records.lock().unwrap()[at] = record;
}

/// By customer, by case and by agent: what was stored under the name, and nothing else. Under its customer there are records of before, too.
async fn find_by(supervisor: Caller, names: Arc<Vec<String>>, at: usize, records: Arc<Vec<v1::Record>>) {
    let (name, record) = (&names[at], &records[at]);
    let of_customer = supervisor.list(asked_of(name)).await.unwrap();
    assert!(of_customer.contains(record), "{name:?} does not find its record");
    let is_its_own = |one: &v1::Record| one.details.as_ref().is_some_and(|details| details.customer_id == *name);
    assert!(of_customer.iter().all(is_its_own), "{name:?} finds another customer's record");
    if !is_legal(name, 128) {
        return;
    }
    let (by_case, by_agent) = (
        v1::ListRecordsRequest { case_id: name.clone(), ..asked_of(name) },
        v1::ListRecordsRequest { agent: name.clone(), ..asked_of("") },
    );
    let of_case = supervisor.list(by_case).await.unwrap();
    assert!(of_case.contains(record), "{name:?} does not find its case");
    assert!(of_case.iter().all(|one| one.details.as_ref().unwrap().case_id == *name), "{name:?} finds another case");
    let of_agent = supervisor.list(by_agent).await.unwrap();
    assert!(of_agent.contains(record), "{name:?} does not find its agent");
    assert!(of_agent.iter().all(|one| one.details.as_ref().unwrap().agent == *name), "{name:?} finds another agent");
}

async fn still_there(supervisor: Caller, names: Arc<Vec<String>>, at: usize, records: Arc<Vec<v1::Record>>) {
    let (name, record) = (&names[at], &records[at]);
    let (found, listed) =
        (supervisor.record(&record.record_id, PURPOSES[0]).await, supervisor.list(asked_of(name)).await.unwrap());
    if at.is_multiple_of(2) {
        assert_refused(found, Code::NotFound, "NOT_FOUND");
        assert!(listed.is_empty(), "{name:?} is erased and listed");
    } else {
        assert!(found.unwrap() == *record && listed.contains(record), "{name:?} went with another");
    }
}

/// Does something for each number below `count`, some at once.
async fn each<F>(count: usize, work: impl Fn(usize) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (work, next) = (work.clone(), next.clone());
        workers.spawn(async move {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return;
                }
                work(at).await;
            }
        });
    }
    workers.join_all().await;
}
