//! The table of row kinds in `docs/rows.md` says what the rows of a real history hold: which ids they show, what opens under keys
//! that outlive a customer, and that nothing personal does.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::crypto::key_wrap;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::domain::ids::{CaseId, Handle};
use crate::domain::principal::PrincipalEntry;
use crate::store::{Database, Write};
use crate::vault::people::NewToken;
use crate::vault::tests::approvals::erasing_alone;
use crate::vault::tree::pseudonym;

const TABLE: &str = include_str!("../../../docs/rows.md");
/// The ids that a row can show, by the words of the table.
const IDS: [&str; 7] = ["handle", "record id", "pseudonym", "case index", "principal index", "alias", "receipt id"];
const ERASED: &str = "customer-of-the-table-who-is-erased";
const LIVING: &str = "customer-of-the-table-who-lives";
const CASE: &str = "case-of-the-table";
/// Entries until a subtree of the log has a row of its own.
const ENTRIES: usize = 260;

/// One line of the table.
struct Line {
    shows: BTreeSet<&'static str>,
    under: String,
}

fn table() -> BTreeMap<String, Line> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| `"));
    let parse = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "a line of the table has five cells: {line}");
        let shows = IDS.into_iter().filter(|id| cells[1].contains(id)).collect();
        (cells[0].trim_matches('`').to_owned(), Line { shows, under: cells[3].to_owned() })
    };
    lines.map(parse).collect()
}

/// What was stored and erased, as rows would show it.
#[derive(Default)]
struct World {
    ids: Vec<(&'static str, Vec<u8>)>,
    /// What no row shows, and no key that outlives the customer opens.
    personal: Vec<(&'static str, Vec<u8>)>,
    /// Keys of the tenants and of the system, which outlive every customer.
    lasting: Vec<Key>,
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

impl World {
    fn knows(&mut self, id: &'static str, bytes: impl AsRef<[u8]>) {
        self.ids.push((id, bytes.as_ref().to_vec()));
    }

    fn shown_by(&self, (key, value): &Row) -> BTreeSet<&'static str> {
        let row = [&key[..], value].concat();
        self.ids.iter().filter(|(_, bytes)| holds(&row, bytes)).map(|(id, _)| *id).collect()
    }

    /// All that opens in a row under a lasting key: the value as a whole, what follows a tenant's id, and every framed part.
    fn opened(&self, (key, value): &Row) -> Vec<Vec<u8>> {
        let mut sealed = vec![&value[..]];
        sealed.extend(value.get(16..));
        for at in 0..value.len().saturating_sub(4) {
            let length = u32::from_be_bytes(value[at..at + 4].try_into().unwrap()) as usize;
            sealed.extend(value.get(at + 4..at + 4 + length).filter(|_| length > 28));
        }
        // A token is bound to its tenant and to the row's key, everything else to the row's key.
        let with_tenant = [value.get(..16).unwrap_or_default(), key].concat();
        let open = |sealed: &[u8], under: &Key| {
            key_wrap::open(under, key, sealed).or_else(|_| key_wrap::open(under, &with_tenant, sealed)).ok()
        };
        let tries = sealed.into_iter().flat_map(|sealed| self.lasting.iter().map(move |under| (sealed, under)));
        tries.filter_map(|(sealed, under)| open(sealed, under)).map(|plain| plain.to_vec()).collect()
    }
}

fn chat_of(of: &str, length: usize) -> NewTranscript {
    let details = Details { case_id: Some(CaseId::parse(CASE).unwrap()), ..details() };
    NewTranscript { details, ..chat(of, length) }
}

/// A history in which rows of every kind are written, and what it was about.
async fn live_through(house: &House) -> World {
    let mut world = World::default();
    let mut vault = house.open().await;
    house.approve(&vault, 100).await;
    add_people(house, &vault).await;
    let mut records = Vec::new();
    for of in [ERASED, LIVING] {
        for (number, length) in [40, 40, 40, 40, 150_000].into_iter().enumerate() {
            let permit = house.permit(Action::CreateTranscript);
            let stored = vault.create_transcript(permit, chat_of(of, length), request(&format!("{of}-{number}")));
            records.push(stored.await.unwrap().content.id);
        }
        house.assign(&vault, of).await.unwrap();
        house.break_glass(&vault, of).await.unwrap();
    }
    house.revise(&vault, (records[0], Revision::FIRST), ERASED, 50).await.unwrap();
    for _ in 0..ENTRIES {
        house.read(&vault, records[0]).await.unwrap();
    }
    let keys = vault.core.tenant_keys(house.tenant).unwrap();
    let mut handles: Vec<Handle> = Vec::new();
    for of in [ERASED, LIVING] {
        let person = pseudonym(&keys, &customer(of));
        handles.push(vault.core.tree.handle(house.tenant, person).unwrap().unwrap());
        world.knows("pseudonym", person.0);
    }
    records.push(leave_an_upload(house, &vault).await);
    let part = house.erase_part(&vault, Part::Record(records[1])).await.unwrap();
    let whole = house.erase(&vault, ERASED).await.unwrap();
    let gone = erase_a_tenant(house, &vault, &mut world).await;
    for receipt in [part, whole, gone] {
        world.knows("receipt id", receipt.erased.receipt.0);
    }
    vault.reclaim().await.unwrap();
    vault.close().await;
    drop(vault);
    plant_jobs(house, handles[1], records[7]);
    vault = house.open().await;
    vault.reclaim().await.unwrap();

    handles.iter().for_each(|handle| world.knows("handle", handle.0));
    records.iter().for_each(|record| world.knows("record id", record.as_bytes()));
    for (id, field, name) in
        [("case index", "case", CASE), ("principal index", "agent", "one"), ("principal index", "principal", "two")]
    {
        world.knows(id, blind(&keys.index, field, &[name.as_bytes()]));
    }
    world.knows("alias", [7; 16]);
    for of in [ERASED, LIVING] {
        world.personal.push(("a customer id", of.as_bytes().to_vec()));
    }
    world.personal.push(("a case id", CASE.as_bytes().to_vec()));
    world.personal.push(("a text", text(40).into_bytes()));
    world.personal.push(("a request id", format!("request-of-{ERASED}").into_bytes()));
    let system = vault.core.tenant_keys(vault.tenant_id(TenantName::system()).await.unwrap()).unwrap();
    {
        let top = vault.core.tree.top();
        world.lasting.extend([top.system.index.duplicate(), top.system.settings.duplicate()]);
    }
    for tenant in [&keys, &system] {
        world.lasting.extend([&tenant.index, &tenant.settings, &tenant.answers.current].map(Key::duplicate));
    }
    vault.close().await;
    world
}

async fn add_people(house: &House, vault: &Arc<Vault>) {
    let admin = principal(house.tenant, TenantName::parse("acme").unwrap(), &[Role::Admin]);
    let permit = |action| house.access.door(&admin, action, house.tenant, None).unwrap();
    let name = PrincipalName::parse("two").unwrap();
    let entry = PrincipalEntry {
        name: name.clone(),
        roles: [Role::Supervisor].into(),
        teams: Default::default(),
        blocked: false,
    };
    vault.set_principal(permit(Action::SetPrincipal), entry).await.unwrap();
    let expires = Timestamp::now().plus_ms(600_000);
    let new = NewToken { id: TokenId([3; 16]), secret_hash: [4; 32], principal: name, expires };
    vault.create_token(permit(Action::CreateToken), new).await.unwrap();
}

/// Begins an upload of the erased customer, and leaves it unfinished; the row of the upload was written by then.
async fn leave_an_upload(house: &House, vault: &Arc<Vault>) -> RecordId {
    let new = NewRecording {
        customer: customer(ERASED),
        details: details(),
        media_type: "audio/wav".to_owned(),
        spoken: Vec::new(),
        expected_sha256: None,
    };
    let begun = vault.begin_upload(house.permit(Action::UploadRecording), new, request("a-call")).await.unwrap();
    let Begun::Started(upload) = begun else { panic!("it was not uploaded before") };
    let (from, to) = rows::all(rows::Kind::Upload);
    let stored = vault.core.db.range(&from, &to, 2).unwrap();
    let (_, record) = rows::parse_upload(&stored[0].0).unwrap();
    upload.abort().await;
    record
}

async fn erase_a_tenant(house: &House, vault: &Arc<Vault>, world: &mut World) -> Receipt {
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    let (tenant, record) = tenants::neighbour(house, vault, system).await;
    let keys = vault.core.tenant_keys(tenant).unwrap();
    let person = pseudonym(&keys, &customer("nora"));
    world.knows("handle", vault.core.tree.handle(tenant, person).unwrap().unwrap().0);
    world.knows("record id", record.as_bytes());
    let admin = |of, action| house.admin(system, of, action, tenant);
    vault.request_tenant_erasure(admin(1, Action::RequestTenantErasure)).await.unwrap();
    let (name, request) = (TenantName::parse("globex").unwrap(), erasure_of("globex"));
    vault.erase_tenant(admin(2, Action::ApproveTenantErasure), name, request).await.unwrap().receipt
}

/// Jobs that the service did not write: they are refused, and put aside.
fn plant_jobs(house: &House, living: Handle, record: RecordId) {
    let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
    let jobs = [
        (rows::reclaim(living), [&[2], &house.tenant.0[..], &[0; 32]].concat()),
        (rows::reclaim_record(record, None), [&[2], &house.tenant.0[..], &living.0, &[0; 32]].concat()),
    ];
    db.apply(&jobs.map(|(key, value)| Write::Put { key, value })).unwrap();
    db.sync().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_of_row_kinds_says_what_rows_show_and_what_opens() {
    let table = table();
    let listed: BTreeSet<String> = rows::Kind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
    let described: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(described, listed, "docs/rows.md and the kinds of rows differ");

    let limits = VaultLimits { segment_secrets: 3, tenant_erasure_delay: Duration::ZERO, ..erasing_alone(1) };
    let house = House::with(limits).await;
    house.hoard.keep_all(&SledEngine::open(&start::database_folder(&house.paths().data)).unwrap());
    let world = live_through(&house).await;
    let (mut looked_at, mut opened, mut wrong) = (0, 0, Vec::new());
    for kind in rows::Kind::ALL {
        let line = &table[&format!("{kind:?}")];
        let all: Vec<Row> = house.hoard.each(kind).collect();
        assert!(!all.is_empty(), "{kind:?}: the history wrote no row of this kind");
        looked_at += all.len();
        let shown: BTreeSet<&str> = all.iter().flat_map(|row| world.shown_by(row)).collect();
        if shown != line.shows {
            wrong.push(format!("{kind:?}: the rows show {shown:?}, the table says {:?}", line.shows));
        }
        let plain: Vec<Vec<u8>> = all.iter().flat_map(|row| world.opened(row)).collect();
        let is_lasting = line.under.contains("settings key");
        if plain.is_empty() == is_lasting {
            wrong.push(format!("{kind:?}: {} parts open under keys that last", plain.len()));
        }
        opened += plain.len();
        for (what, needle) in &world.personal {
            let shown = all.iter().find(|(key, value)| holds(key, needle) || holds(value, needle));
            if shown.is_some() {
                wrong.push(format!("{kind:?}: a row shows {what}"));
            }
            if plain.iter().any(|plain| holds(plain, needle)) {
                wrong.push(format!("{kind:?}: {what} opens under a key that outlives the customer"));
            }
        }
        for (id, bytes) in world.ids.iter().filter(|(id, _)| matches!(*id, "handle" | "record id" | "receipt id")) {
            if plain.iter().any(|plain| holds(plain, bytes)) {
                wrong.push(format!("{kind:?}: a {id} opens under a key that outlives the customer"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/rows.md does not say what the rows hold:\n{}", wrong.join("\n"));
    println!("row kinds: {} kinds, {looked_at} rows looked at, {opened} parts opened", rows::Kind::ALL.len());
}
