//! The erasure of a whole tenant: two people, a delay, and then nothing of it is left, and all of the others.

use super::*;
use crate::domain::tenant::TenantEntry;
use crate::store::Database;

const DELAY: Duration = Duration::from_millis(150);

impl House {
    pub(super) fn admin(
        &self,
        vault_system: TenantId,
        of: u8,
        action: Action,
        tenant: TenantId,
    ) -> Permit<TenantScope> {
        let mut admin = principal(vault_system, TenantName::system(), &[Role::Admin]);
        admin.alias = BlindIndex([of; 16]);
        self.access.door(&admin, action, tenant, None).unwrap()
    }
}

fn count(db: &dyn Database, kind: rows::Kind) -> usize {
    let (from, to) = rows::all(kind);
    db.range(&from, &to, 4096).unwrap().len()
}

/// A second tenant with records, beside the house's own.
pub(super) async fn neighbour(house: &House, vault: &Arc<Vault>, system: TenantId) -> (TenantId, RecordId) {
    let name = TenantName::parse("globex").unwrap();
    let permit = house.admin(system, 1, Action::CreateTenant, system);
    vault.create_tenant(permit, name.clone(), settings()).await.unwrap();
    let tenant = vault.tenant_id(name).await.unwrap();
    let caller = principal(tenant, TenantName::parse("globex").unwrap(), &[Role::Ingest]);
    let permit = house.access.door(&caller, Action::CreateTranscript, tenant, Some(why())).unwrap();
    let stored = vault.create_transcript(permit, chat("nora", 60), request("nora")).await.unwrap();
    (tenant, stored.content.id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_erased_by_two_people_after_the_delay_and_nothing_of_it_is_left() {
    let house = House::with(VaultLimits { tenant_erasure_delay: DELAY, leaf_entries: 2, ..limits() }).await;
    let mut vault = house.open().await;
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    let (other, of_other) = neighbour(&house, &vault, system).await;
    let mut records = Vec::new();
    for number in 0..9 {
        records.push(house.store(&vault, &format!("customer-{number}"), 60).await.unwrap());
    }
    records.push(house.store(&vault, "long", 150_000).await.unwrap());
    house.erase(&vault, "customer-3").await.unwrap();
    house.approve(&vault, 5).await;
    let acme = || TenantName::parse("acme").unwrap();
    let request = || RequestId::parse("erase-acme").unwrap();
    let approve = async |vault: &Vault, by: u8| {
        vault.erase_tenant(house.admin(system, by, Action::ApproveTenantErasure, house.tenant), acme(), request()).await
    };
    assert!(matches!(approve(&vault, 2).await, Err(VaultError::NotFound)), "nobody asked for it");
    let ask = |by: u8, action| house.admin(system, by, action, house.tenant);
    let at = vault.request_tenant_erasure(ask(1, Action::RequestTenantErasure)).await.unwrap();
    assert!(matches!(approve(&vault, 2).await, Err(VaultError::TooEarly { not_before }) if not_before == at));
    vault.cancel_tenant_erasure(ask(2, Action::CancelTenantErasure)).await.unwrap();
    assert!(matches!(approve(&vault, 2).await, Err(VaultError::NotFound)), "it was taken back");
    vault.request_tenant_erasure(ask(1, Action::RequestTenantErasure)).await.unwrap();
    tokio::time::sleep(DELAY * 2).await;
    assert!(matches!(approve(&vault, 1).await, Err(VaultError::SecondPerson)));
    assert!(house.read(&vault, records[0]).await.is_some(), "erased before it was approved");

    let erasure = approve(&vault, 2).await.unwrap();
    let stated = &erasure.receipt.erased;
    assert_eq!((stated.requested_by, stated.approved_by), (BlindIndex([1; 16]), Some(BlindIndex([2; 16]))));
    assert_eq!(stated.subject, crate::domain::erasure::Subject::Tenant);
    assert!(crate::audit::receipt::is_of(stated, &erasure.opening, "acme", None));
    for restart in [false, true] {
        if restart {
            vault.close().await;
            drop(vault);
            vault = house.open().await;
        }
        assert_eq!(approve(&vault, 2).await.unwrap().receipt, erasure.receipt, "a repeat of the approval");
        let stored = house.store(&vault, "late", 60).await;
        assert!(matches!(stored, Err(VaultError::NotFound)), "{stored:?}");
        let creation = house.admin(system, 1, Action::CreateTenant, system);
        let again = vault.create_tenant(creation, acme(), settings()).await;
        assert!(matches!(again, Err(VaultError::TenantExists)), "the name was given again");
        let facts = vault.facts(&house.admin(system, 1, Action::GetTenant, other), of_other, None).await.unwrap();
        assert!(facts.is_some(), "the other tenant's record is gone");
    }
    vault.reclaim().await.unwrap();
    let db = vault.core.db.as_ref();
    for (kind, left) in [
        (rows::Kind::Record, 1),
        (rows::Kind::Profile, 1),
        (rows::Kind::Secret, 2),
        (rows::Kind::Tombstone, 0),
        (rows::Kind::ReclaimPages, 0),
        (rows::Kind::TenantErasure, 1),
        (rows::Kind::ErasedBy, 0),
        (rows::Kind::Approval, 0),
    ] {
        assert_eq!(count(db, kind), left, "{kind:?}");
    }
    // The top page, that of the tenants, of two tenants, and the two tries of each.
    assert!(count(db, rows::Kind::Page) <= 10, "{} pages are left", count(db, rows::Kind::Page));
    pages::assert_digests(&vault);
    assert_eq!(house.objects(), 0);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_matrix_whatever_fails_when_a_tenant_is_erased_it_is_all_there_or_all_gone_and_the_others_stay() {
    let mut met = 0;
    for (after, blow) in every_fault() {
        let house = House::with(VaultLimits { tenant_erasure_delay: Duration::ZERO, ..limits() }).await;
        let vault = house.open().await;
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        let (other, of_other) = neighbour(&house, &vault, system).await;
        let ada = house.store(&vault, "ada", 60).await.unwrap();
        vault.request_tenant_erasure(house.admin(system, 1, Action::RequestTenantErasure, house.tenant)).await.unwrap();
        let approve = async |vault: &Vault| {
            let permit = house.admin(system, 2, Action::ApproveTenantErasure, house.tenant);
            let request = RequestId::parse("erase-acme").unwrap();
            vault.erase_tenant(permit, TenantName::parse("acme").unwrap(), request).await.map(|erasure| erasure.receipt)
        };
        house.fault.strike(after, blow);
        let answer = approve(&vault).await;
        if house.fault.was_missed() {
            answer.unwrap();
            break;
        }
        met += 1;
        let place = format!("operation {after}, {blow:?}");
        assert!(answer.is_err(), "{place}: an erasure is final although something failed");
        let vault = house.open_after(vault, blow).await;
        let is_gone = vault.core.tree.tenant(house.tenant).unwrap().is_none();
        assert_eq!(house.final_erasures(&vault), usize::from(is_gone), "{place}");
        if !is_gone {
            assert!(house.read(&vault, ada).await.is_some(), "{place}");
        }
        let receipt = approve(&vault).await.unwrap();
        assert_eq!(approve(&vault).await.unwrap(), receipt, "{place}");
        assert!(vault.core.tree.tenant(house.tenant).unwrap().is_none(), "{place}");
        let facts = vault.facts(&house.admin(system, 1, Action::GetTenant, other), of_other, None).await.unwrap();
        assert!(facts.is_some(), "{place}: the other tenant's record is gone");
        vault.reclaim().await.unwrap();
        vault.close().await;
    }
    assert!((14..MANY * Blow::EVERY.len()).contains(&met), "{met} faults were met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_waits_when_its_tenant_is_erased_does_not_stop_the_next_start() {
    let house = House::with(VaultLimits { tenant_erasure_delay: Duration::ZERO, ..limits() }).await;
    let vault = house.open().await;
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    let (other, of_other) = neighbour(&house, &vault, system).await;
    let ada = house.store(&vault, "ada", 60).await.unwrap();
    house.store(&vault, "bert", 60).await.unwrap();
    let erase_ada = Target::Part(Part::Record(ada));
    vault.erase(house.permit(Action::EraseRecord), erase_ada, erasure_of("a-record")).await.unwrap();
    house.erase(&vault, "bert").await.unwrap();
    let asked = |action, by| house.admin(system, by, action, house.tenant);
    vault.request_tenant_erasure(asked(Action::RequestTenantErasure, 1)).await.unwrap();
    let approval = asked(Action::ApproveTenantErasure, 2);
    vault.erase_tenant(approval, TenantName::parse("acme").unwrap(), erasure_of("acme")).await.unwrap();
    // As a stop between two epochs leaves it: the tenant gone with the first, these two still to come.
    let waiting = house.hoard.of(rows::Kind::Erasing).into_iter().filter(|(_, versions)| {
        let row = format::ErasingRow::decode(&versions[0]).unwrap();
        row.tenant == house.tenant
    });
    let mut batch = crate::store::Batch::new();
    waiting.for_each(|(key, versions)| batch.put(key, versions[0].clone()));
    assert_eq!(batch.writes(), 2);
    vault.core.committer.commit(batch).await.unwrap();
    vault.close().await;
    drop(vault);
    let vault = house.open().await;
    assert_eq!(count(vault.core.db.as_ref(), rows::Kind::Erasing), 0, "they wait still");
    let facts = vault.facts(&house.admin(system, 1, Action::GetTenant, other), of_other, None).await.unwrap();
    assert!(facts.is_some(), "the other tenant's record is gone");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_under_two_names_does_not_erase_a_tenant() {
    let house = House::with(VaultLimits { tenant_erasure_delay: Duration::ZERO, ..limits() }).await;
    let vault = house.open().await;
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    let by = |alias: u8, actor: Option<u8>, action| {
        let mut admin = principal(system, TenantName::system(), &[Role::Admin]);
        (admin.alias, admin.actor) = (BlindIndex([alias; 16]), actor.map(|actor| BlindIndex([actor; 16])));
        house.access.door(&admin, action, house.tenant, None).unwrap()
    };
    let acme = || TenantName::parse("acme").unwrap();
    let approve = async |alias, actor| {
        let permit = by(alias, actor, Action::ApproveTenantErasure);
        vault.erase_tenant(permit, acme(), erasure_of("acme")).await.map(drop)
    };
    // 1 asks, through the account 9.
    vault.request_tenant_erasure(by(1, Some(9), Action::RequestTenantErasure)).await.unwrap();
    for (alias, actor) in [(1, None), (1, Some(5)), (2, Some(1)), (2, Some(9)), (9, None)] {
        let refused = approve(alias, actor).await;
        assert!(matches!(refused, Err(VaultError::SecondPerson)), "{alias}, {actor:?}: {refused:?}");
    }
    // Names of another tenant cannot be compared with those of this one.
    let stranger =
        crate::audit::Caller { alias: BlindIndex([2; 16]), token: TokenId([2; 16]), actor: None, actor_token: None };
    let refused = vault.core.approved_tenant(&acme(), (stranger, house.tenant));
    assert!(matches!(refused, Err(VaultError::SecondPerson)), "{refused:?}");
    approve(2, Some(5)).await.unwrap();
    vault.close().await;
}

/// An admin of the system who does something to the house's tenant.
async fn change(house: &House, vault: &Arc<Vault>, action: Action) -> Result<(), VaultError> {
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    let permit = house.admin(system, 1, action, house.tenant);
    match action {
        Action::FreezeTenant => vault.freeze_tenant(permit, true).await.map(drop),
        Action::UnfreezeTenant => vault.freeze_tenant(permit, false).await.map(drop),
        Action::SuspendTenant => {
            vault.change_tenant(permit, |entry| Ok(TenantEntry { suspended: true, ..entry })).await.map(drop)
        }
        // What reads the entry, takes its time, and writes it back.
        _ => {
            let slowly = |entry| {
                std::thread::sleep(Duration::from_millis(2));
                Ok(entry)
            };
            vault.change_tenant(permit, slowly).await.map(drop)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_changes_a_tenant_at_once_nothing_acknowledged_is_lost_and_what_is_frozen_is_so_in_memory_too() {
    let house = House::build().await;
    let vault = house.open().await;
    let mut frozen_at_the_end = 0;
    for round in 0..60 {
        let go = |action| change(&house, &vault, action);
        let (first, second) = match round % 2 {
            0 => (Action::UnfreezeTenant, Action::FreezeTenant),
            _ => (Action::FreezeTenant, Action::UnfreezeTenant),
        };
        let settings = Action::UpdateTenantSettings;
        let (a, b, c, d) = tokio::join!(go(settings), go(first), go(settings), go(second));
        for outcome in [a, b, c, d] {
            outcome.unwrap();
        }
        let stored = vault.core.tenant_entry(house.tenant).unwrap();
        assert_eq!(vault.core.fences.is_frozen(house.tenant), stored.frozen, "round {round}");
        frozen_at_the_end += usize::from(stored.frozen);
    }
    assert!((1..60).contains(&frozen_at_the_end), "{frozen_at_the_end} of 60 rounds ended frozen");
    change(&house, &vault, Action::UnfreezeTenant).await.unwrap();
    let settings = || change(&house, &vault, Action::UpdateTenantSettings);
    let (a, suspended, b) = tokio::join!(settings(), change(&house, &vault, Action::SuspendTenant), settings());
    for outcome in [a, suspended, b] {
        outcome.unwrap();
    }
    assert!(vault.core.tenant_entry(house.tenant).unwrap().suspended, "an acknowledged suspension is lost");
    vault.close().await;
}
