//! Who can write to the disk between two starts, and has no key, cannot make the service forget or believe what the log does not know.

use super::*;
use crate::audit::AlertSort;
use crate::domain::erasure::Subject;
use crate::domain::ids::ReceiptId;
use crate::store::{Database, MAX_RANGE_ROWS, Write};

pub(super) type Image = Vec<Row>;

pub(super) fn image(house: &House) -> Image {
    let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
    let rows = db.range(&[0], &[0xff; 16], MAX_RANGE_ROWS).unwrap();
    assert!(rows.len() < MAX_RANGE_ROWS);
    rows
}

pub(super) fn write(house: &House, writes: &[Write]) {
    let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
    db.apply(writes).unwrap();
    db.sync().unwrap();
}

/// Makes the rows in spans of `kinds` what they are in `image`.
pub(super) fn put_back(house: &House, image: &Image, kinds: &[rows::Kind]) {
    let is_of = |key: &[u8]| kinds.iter().any(|kind| key.first() == Some(&(*kind as u8)));
    let gone = self::image(house).into_iter().filter(|(key, _)| is_of(key)).map(|(key, _)| Write::Delete { key });
    let mut writes: Vec<_> = gone.collect();
    let back = image.iter().filter(|(key, _)| is_of(key)).cloned();
    writes.extend(back.map(|(key, value)| Write::Put { key, value }));
    write(house, &writes);
}

async fn opens(house: &House) -> Result<(), StartError> {
    let vault = Vault::open(house.paths(), house.limits.clone()).await?;
    vault.close().await;
    Ok(())
}

/// Changes of rows: each wrong, and what makes it right again.
type Wrongs = Vec<(Write, Write)>;

/// Each row of a kind: taken out, changed, copied to another key.
fn wrongs_of(image: &Image, kind: rows::Kind) -> Wrongs {
    let mut wrongs = Vec::new();
    for (key, value) in image.iter().filter(|(key, _)| key[0] == kind as u8) {
        let put = |key: &Vec<u8>, value: &Vec<u8>| Write::Put { key: key.clone(), value: value.clone() };
        let mut changed = value.clone();
        *changed.last_mut().unwrap() ^= 1;
        wrongs.push((Write::Delete { key: key.clone() }, put(key, value)));
        wrongs.push((put(key, &changed), put(key, value)));
        if key.len() > 1 {
            let mut other = key.clone();
            *other.last_mut().unwrap() ^= 1;
            wrongs.push((put(&other, value), Write::Delete { key: other }));
        }
    }
    wrongs
}

impl House {
    pub(super) async fn new_token(&self, vault: &Vault, system: TenantId) -> TokenId {
        let (name, roles) = (PrincipalName::parse("eve").unwrap(), [Role::Supervisor].into());
        let entry = crate::domain::principal::PrincipalEntry {
            name: name.clone(),
            roles,
            teams: Default::default(),
            blocked: false,
        };
        vault.set_principal(self.admin(system, 1, Action::SetPrincipal, self.tenant), entry).await.unwrap();
        let (id, expires) = (TokenId([8; 16]), Timestamp::now().plus_ms(1_000_000));
        let new = NewToken { id, secret_hash: [7; 32], principal: name, expires };
        vault.create_token(self.admin(system, 1, Action::CreateToken, self.tenant), new).await.unwrap();
        id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_decides_and_that_the_log_does_not_know_is_refused_at_start() {
    let house = House::build().await;
    let vault = house.open().await;
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    for of in ["ada", "bob", "cleo"] {
        house.store(&vault, of, 60).await.unwrap();
    }
    let token = house.new_token(&vault, system).await;
    house.erase(&vault, "ada").await.unwrap();
    vault.close().await;
    drop(vault);
    let before = image(&house);
    let vault = house.open().await;
    house.erase(&vault, "bob").await.unwrap();
    vault.revoke_token(house.admin(system, 1, Action::RevokeToken, house.tenant), token, None).await.unwrap();
    vault.request_tenant_erasure(house.admin(system, 1, Action::RequestTenantErasure, house.tenant)).await.unwrap();
    // The provider does not destroy: what is pending and what is owed stays.
    house.lie.tell(Says::Destroyed);
    house.erase(&vault, "cleo").await.unwrap_err();
    vault.close().await;
    drop(vault);
    let now = image(&house);
    let kinds = [
        rows::Kind::Tombstone,
        rows::Kind::Duty,
        rows::Kind::Tenant,
        rows::Kind::TenantErasure,
        rows::Kind::Principal,
        rows::Kind::Token,
        rows::Kind::LogKey,
        rows::Kind::Root,
        rows::Kind::PageDigest,
        rows::Kind::Deciding,
    ];
    for kind in kinds {
        let wrongs = wrongs_of(&now, kind);
        assert!(wrongs.len() > 1, "no row of {kind:?} was tried");
        for (wrong, right) in wrongs {
            write(&house, std::slice::from_ref(&wrong));
            let refused = opens(&house).await;
            let is_told = match &refused {
                Err(StartError::NotAsLogged) => true,
                // The digest of the top page: that page is read before the keys are there that check all of them.
                Err(StartError::Vault(error)) if kind == rows::Kind::PageDigest => error.is_of_the_key_tree(),
                // Without the row of the root nothing tells that there is a vault; and a changed one does not open.
                Err(_) => kind == rows::Kind::Root,
                Ok(()) => false,
            };
            assert!(is_told, "{kind:?}: {wrong:?}: {refused:?}");
            write(&house, &[right]);
        }
    }
    // All of a kind as they were, and what ties them to the log as it was then, too.
    for kinds in [
        &[rows::Kind::Tombstone][..],
        &[rows::Kind::Token],
        &[rows::Kind::Tombstone, rows::Kind::Deciding],
        &[rows::Kind::Tombstone, rows::Kind::Principal, rows::Kind::Token, rows::Kind::Tenant, rows::Kind::Deciding],
    ] {
        put_back(&house, &before, kinds);
        let refused = opens(&house).await;
        assert!(matches!(refused, Err(StartError::NotAsLogged)), "{kinds:?}: {refused:?}");
        put_back(&house, &now, kinds);
    }
    opens(&house).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_is_asked_for_cannot_be_taken_off_the_list() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 60).await.unwrap();
    restore_drill::mirrored(&vault).await;
    // Without its mirrors an erasure stays pending.
    let (dir, away) = (house.mirror(Sort::Whole), house.folder.path().join("away"));
    std::fs::rename(&dir, &away).unwrap();
    house.erase(&vault, "ada").await.unwrap_err();
    vault.close().await;
    drop(vault);
    let paths = VaultPaths { mirrors: Vec::new(), ..house.paths() };
    for (wrong, right) in wrongs_of(&image(&house), rows::Kind::Erasing) {
        write(&house, std::slice::from_ref(&wrong));
        let refused = Vault::open(paths.clone(), house.limits.clone()).await.map(drop);
        assert!(matches!(refused, Err(StartError::NotAsLogged)), "{wrong:?}: {refused:?}");
        write(&house, &[right]);
    }
    std::fs::rename(&away, &dir).unwrap();
    let vault = house.open().await;
    assert_eq!(house.read(&vault, ada).await, None);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_to_the_disk_cannot_make_the_log_say_again_what_it_said_once() {
    let house = House::build().await;
    let vault = house.open().await;
    let (_, bob) = (house.store(&vault, "ada", 60).await.unwrap(), house.store(&vault, "bob", 60).await.unwrap());
    house.erase(&vault, "ada").await.unwrap();
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    let token = house.new_token(&vault, system).await;
    vault.close().await;
    drop(vault);
    let before = image(&house);
    let vault = house.open().await;
    vault.revoke_token(house.admin(system, 1, Action::RevokeToken, house.tenant), token, None).await.unwrap();
    // So many entries that the log's stored hashes cover what comes after the revocation.
    for _ in 0..600 {
        house.read(&vault, bob).await;
    }
    vault.close().await;
    drop(vault);
    let now = image(&house);
    let row = |image: &Image, key: &[u8]| image.iter().find(|(found, _)| found == key).unwrap().1.clone();
    let is_commitment =
        |(_, entry): &&Row| Entry::decode(entry).is_ok_and(|entry| matches!(entry.event, Event::Deciding { .. }));
    let ledger = |image: &Image| -> Vec<Row> {
        image.iter().filter(|(key, _)| key[0] == rows::Kind::Ledger as u8).cloned().collect()
    };
    let (entries, old_entries) = (ledger(&now), ledger(&before));
    let (_, said_then) = old_entries.iter().rfind(is_commitment).unwrap();
    let decides = [rows::Kind::Token, rows::Kind::Deciding];

    // The old token is good again, and the entry that said so stands once more at the end.
    put_back(&house, &before, &decides);
    let end = u64::try_from(entries.len()).unwrap();
    let mut ties = row(&before, &rows::deciding());
    ties[1..9].copy_from_slice(&end.to_be_bytes());
    let writes = [(rows::ledger(end), said_then.clone()), (rows::deciding(), ties)];
    write(&house, &writes.map(|(key, value)| Write::Put { key, value }));
    let refused = opens(&house).await;
    assert!(matches!(refused, Err(StartError::NotAsLogged)), "{refused:?}");
    write(&house, &[Write::Delete { key: rows::ledger(end) }]);

    // It is good again, and every entry that said otherwise says something else now. The stored hashes are as they were.
    put_back(&house, &before, &decides);
    let harmless = entries.iter().rfind(|entry| !is_commitment(entry)).unwrap().1.clone();
    let later = entries.iter().skip(old_entries.len()).filter(is_commitment);
    let edits: Vec<_> = later.map(|(key, _)| Write::Put { key: key.clone(), value: harmless.clone() }).collect();
    assert!(!edits.is_empty() && entries.len() > 512, "nothing to edit");
    write(&house, &edits);
    let refused = opens(&house).await;
    assert!(matches!(refused, Err(StartError::NotAsLogged)), "{refused:?}");

    put_back(&house, &now, &[rows::Kind::Token, rows::Kind::Deciding, rows::Kind::Ledger]);
    opens(&house).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_was_changed_taken_out_or_slipped_in_long_ago_is_neither_shown_nor_reported_nor_signed() {
    let house = House::build().await;
    let vault = house.open().await;
    let receipt = {
        house.store(&vault, "eve", 40).await.unwrap();
        house.erase(&vault, "eve").await.unwrap()
    };
    for number in 0..150 {
        let id = house.store(&vault, &format!("customer-{number}"), 40).await.unwrap();
        house.read(&vault, id).await.unwrap();
    }
    // A start reads the log from the newest commitment to what decides on: this one is far behind what is changed.
    house.erase(&vault, "customer-7").await.unwrap();
    assert!(vault.core.committer.log().size() > 300);
    vault.close().await;
    drop(vault);
    let log: Image = {
        let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
        let (from, to) = rows::all(rows::Kind::Ledger);
        db.range(&from, &to, MAX_RANGE_ROWS).unwrap()
    };
    // In the first block of 256, which has a row of its own in the tree: the read of a customer.
    let at =
        log.iter().take(250).rposition(|(_, entry)| matches!(Entry::decode(entry).unwrap().event, Event::Read { .. }));
    let at = at.unwrap();
    let (key, value) = log[at].clone();
    let mut changed = value.clone();
    changed[30] ^= 1;
    let put = |value: &Vec<u8>| Write::Put { key: key.clone(), value: value.clone() };
    let officer = principal(house.tenant, TenantName::parse("acme").unwrap(), &[Role::PrivacyOfficer, Role::Auditor]);
    let officer = Principal { alias: BlindIndex([8; 16]), name: PrincipalName::parse("two").unwrap(), ..officer };
    for (what, wrong, is_damaged) in [
        ("nothing", put(&value), false),
        ("changed", put(&changed), true),
        ("taken out", Write::Delete { key: key.clone() }, true),
        ("another's in its place", put(&log[at - 1].1.clone()), true),
    ] {
        write(&house, &[wrong]);
        let vault = house.open().await;
        let door = |action| house.access.door(&officer, action, house.tenant, None).unwrap();
        let damaged = |error: &VaultError| {
            matches!(error, VaultError::Damaged { .. } | VaultError::Store(StoreError::Damaged { .. }))
        };
        let listed =
            vault.read_ledger(door(Action::ListEntries), LogFilter::default()).await.unwrap().page(0, 500).await;
        assert_eq!(listed.as_ref().is_err_and(damaged), is_damaged, "{what}: listed");
        let about = Suspicion { from: Timestamp::from_ms(0), ..Suspicion::default() };
        let reported = vault.report_exposure(door(Action::ReportExposure), about, ()).await.map(drop);
        assert_eq!(reported.as_ref().is_err_and(damaged), is_damaged, "{what}: reported: {reported:?}");
        let signed = vault.get_receipt(door(Action::GetReceipt), receipt.erased.receipt).await.map(drop);
        assert_eq!(signed.as_ref().is_err_and(damaged), is_damaged, "{what}: signed: {signed:?}");
        let whole = vault.check_log(|| false).await;
        assert_eq!(whole.as_ref().is_err_and(damaged), is_damaged, "{what}: {whole:?}");
        vault.close().await;
        drop(vault);
        write(&house, &[put(&value)]);
    }
}

/// Writes to the disk of a running service, past it.
fn write_past(vault: &Vault, key: &[u8], value: Option<&[u8]>) {
    let key = key.to_vec();
    let write = match value {
        Some(value) => Write::Put { key, value: value.to_vec() },
        None => Write::Delete { key },
    };
    vault.core.db.apply(&[write]).unwrap();
    vault.core.db.sync().unwrap();
}

async fn assert_named(vault: &Vault, kind: rows::Kind) {
    let verified = vault.core.verify(|_| {}).await.unwrap();
    assert!(verified.named_rows.iter().any(|one| one.kind == kind), "{kind:?}: {verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_duty_is_given_no_receipt() {
    let house = House::build().await;
    let vault = house.open().await;
    house.store(&vault, "ada", 60).await.unwrap();
    house.store(&vault, "bob", 60).await.unwrap();
    let receipt = ReceiptId([7; 16]);
    let duty = format::DutyRow {
        tenant: house.tenant,
        subject: Subject::Customer,
        commitment: [3; 32],
        caller: BlindIndex([7; 16]),
        approved_by: None,
        epoch: 1,
    };
    let (key, row) = (rows::duty(receipt), duty.encode());
    write_past(&vault, &key, Some(&row));
    house.erase(&vault, "bob").await.unwrap();
    assert!(vault.core.db.get(&rows::receipt(house.tenant, receipt)).unwrap().is_none(), "it is signed");
    assert_eq!(house.receipts(&vault), 1);
    assert!(vault.core.db.get(&key).unwrap().is_some(), "what was planted is gone");
    assert!(vault.alerts_of_storage()[1].1 > 0, "it is not reported");
    assert_named(&vault, rows::Kind::Duty).await;
    vault.close().await;
    drop(vault);
    assert!(matches!(opens(&house).await, Err(StartError::NotAsLogged)));
    write(&house, &[Write::Delete { key }]);
    opens(&house).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_erasure_that_is_changed_past_the_service_is_not_taken_off_the_list() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 60).await.unwrap();
    house.store(&vault, "bob", 60).await.unwrap();
    restore_drill::mirrored(&vault).await;
    // Without its mirrors an erasure stays pending.
    let (dir, away) = (house.mirror(Sort::Whole), house.folder.path().join("away"));
    std::fs::rename(&dir, &away).unwrap();
    house.erase(&vault, "ada").await.unwrap_err();
    let (from, to) = rows::all(rows::Kind::Erasing);
    let (key, right) = vault.core.db.range(&from, &to, 1).unwrap().pop().unwrap();
    // Behind the version stands the tenant: of one that is not there, nothing is left to erase.
    let mut wrong = right.clone();
    wrong[1] ^= 1;
    write_past(&vault, &key, Some(&wrong));
    std::fs::rename(&away, &dir).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = house.erase(&vault, "bob").await {
        assert!(std::time::Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(vault.core.db.get(&key).unwrap(), Some(wrong), "it was taken off the list");
    assert_named(&vault, rows::Kind::Erasing).await;
    vault.close().await;
    drop(vault);
    assert!(matches!(opens(&house).await, Err(StartError::NotAsLogged)));
    write(&house, &[Write::Put { key, value: right }]);
    let vault = house.open().await;
    assert_eq!(house.read(&vault, ada).await, None);
    assert_eq!(house.receipts(&vault), 2);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_row_that_the_service_replaces_is_told_in_the_log() {
    let house = House::build().await;
    let vault = house.open().await;
    house.store(&vault, "ada", 60).await.unwrap();
    house.assign(&vault, "ada").await.unwrap();
    let alerts = || {
        let (from, to) = rows::all(rows::Kind::Ledger);
        let is_it = |entry: &[u8]| {
            matches!(Entry::decode(entry).unwrap().event, Event::Alert { sort: AlertSort::RowChanged, .. })
        };
        vault.core.db.range(&from, &to, 4096).unwrap().iter().filter(|(_, entry)| is_it(entry)).count()
    };
    let (from, to) = rows::all(rows::Kind::Assignment);
    let (key, mut changed) = vault.core.db.range(&from, &to, 1).unwrap().pop().unwrap();
    *changed.last_mut().unwrap() ^= 1;
    write_past(&vault, &key, Some(&changed));
    assert_named(&vault, rows::Kind::Assignment).await;
    assert_eq!(alerts(), 0);
    house.assign(&vault, "ada").await.unwrap();
    assert_eq!((alerts(), vault.alerts_of_storage()[2]), (1, ("control_row_changed", 1)));
    vault.close().await;
    drop(vault);
    // It is as the service wrote it.
    opens(&house).await.unwrap();
}
