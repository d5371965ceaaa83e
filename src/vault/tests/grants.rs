//! What lets somebody read beyond a role: a fault at any operation leaves it whole or not there, what was taken back stays so over a crash and
//! over the loss of the disk, and what it says in words ends with the customer.

use super::*;
use crate::crypto::key_wrap;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::domain::codec::Writer;
use crate::domain::grant::{BrokenGlass, CaseAssignment};
use crate::domain::ids::{CaseId, WrittenReason};
use crate::store::Batch;
use crate::vault::format::Layout;
use restore_drill::mirrored;

impl House {
    pub(super) async fn assign(&self, vault: &Arc<Vault>, of: &str) -> Result<(), VaultError> {
        vault.assign_case(self.permit(Action::AssignCase), assignment(of)).await
    }

    pub(super) async fn unassign(&self, vault: &Arc<Vault>, of: &str) -> Result<(), VaultError> {
        let CaseAssignment { customer, case, assignee, .. } = assignment(of);
        vault.unassign_case(self.permit(Action::UnassignCase), (customer, case, assignee)).await
    }

    pub(super) async fn break_glass(&self, vault: &Arc<Vault>, of: &str) -> Result<(), VaultError> {
        let door = self.access.door(&self.agent(), Action::BreakGlass, self.tenant, None).unwrap();
        let reason = WrittenReason::parse("somebody is in danger").unwrap();
        vault.break_glass(door, BrokenGlass { customer: customer(of), reason, expires: soon() }).await
    }

    /// Whoever assigns and reads in these tests, as an agent and nothing else.
    fn agent(&self) -> Principal {
        principal(self.tenant, TenantName::parse("acme").unwrap(), &[Role::Agent])
    }

    /// Whether the agent sees a record, stating the case or none.
    async fn agent_sees(&self, vault: &Vault, id: RecordId, case: Option<&str>) -> bool {
        let why = Why { purpose: purpose(), case: case.map(|case| CaseId::parse(case).unwrap()) };
        let door = self.access.door(&self.agent(), Action::GetTranscript, self.tenant, Some(why)).unwrap();
        let facts = vault.facts(&door, id, None).await.unwrap().unwrap();
        match self.access.record(&door, facts) {
            Ok(permit) => vault.get_transcript(permit).await.is_ok(),
            Err(_) => false,
        }
    }
}

const CASE: &str = "case-1";

fn assignment(of: &str) -> CaseAssignment {
    let assignee = PrincipalName::parse("one").unwrap();
    CaseAssignment { customer: customer(of), case: CaseId::parse(CASE).unwrap(), assignee, expires: soon() }
}

fn soon() -> Timestamp {
    Timestamp::now().plus_ms(600_000)
}

fn grants(vault: &Vault) -> usize {
    let count = |kind| {
        let (from, to) = rows::all(kind);
        vault.core.db.range(&from, &to, 4096).unwrap().len()
    };
    count(rows::Kind::Assignment) + count(rows::Kind::Glass)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Assign,
    Unassign,
    BreakGlass,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_matrix_whatever_fails_when_a_right_to_read_is_given_or_taken_a_repeat_does_it_and_it_is_whole() {
    for change in [Change::Assign, Change::Unassign, Change::BreakGlass] {
        let mut met = 0;
        for (after, blow) in every_fault() {
            let house = House::build().await;
            let vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            if change == Change::Unassign {
                house.assign(&vault, "ada").await.unwrap();
            }
            let act = async |vault: &Arc<Vault>| match change {
                Change::Assign => house.assign(vault, "ada").await,
                Change::BreakGlass => house.break_glass(vault, "ada").await,
                Change::Unassign => match house.unassign(vault, "ada").await {
                    // Taken back by the try that failed.
                    Err(VaultError::NotFound) => Ok(()),
                    outcome => outcome,
                },
            };
            house.fault.strike(after, blow);
            let answer = act(&vault).await;
            if house.fault.was_missed() {
                answer.unwrap();
                break;
            }
            met += 1;
            let place = format!("{change:?}, operation {after}, {blow:?}");
            let vault = house.open_after(vault, blow).await;
            let case = (change != Change::BreakGlass).then_some(CASE);
            let sees = house.agent_sees(&vault, ada, case).await;
            assert_eq!(sees, grants(&vault) == 1, "{place}: half a right");
            act(&vault).await.unwrap();
            let sees = house.agent_sees(&vault, ada, case).await;
            assert_eq!(sees, change != Change::Unassign, "{place}");
            // What stands now is durable: the power is cut at once.
            let vault = house.open_after(vault, Blow::EVERY[0]).await;
            assert_eq!(house.agent_sees(&vault, ada, case).await, change != Change::Unassign, "{place}");
            house.erase(&vault, "ada").await.unwrap();
            vault.reclaim().await.unwrap();
            assert_eq!(grants(&vault), 0, "{place}: a right outlives its customer");
            vault.close().await;
        }
        assert!((2..MANY * Blow::EVERY.len()).contains(&met), "{change:?}: {met} faults were met");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_drill_a_case_that_was_taken_back_does_not_come_back_with_a_mirror() {
    let mut house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 60).await.unwrap();
    let bob = house.store(&vault, "bob", 60).await.unwrap();
    for of in ["ada", "bob"] {
        house.assign(&vault, of).await.unwrap();
    }
    mirrored(&vault).await;
    let backup = house.back_up("backup").await;
    house.unassign(&vault, "ada").await.unwrap();
    // At once: what decides does not trail.
    vault.close().await;
    drop(vault);
    for from_backup in [false, true] {
        house.lose_the_disk();
        let sort = if from_backup { Sort::Keys } else { Sort::Whole };
        // A backup is for when there is no whole mirror any more.
        house.mirrors.retain(|mirror| !from_backup || mirror.sort == sort);
        let backup = from_backup.then(|| backup.clone());
        house.restore(sort, backup).await.unwrap();
        let vault = house.open().await;
        assert!(!house.agent_sees(&vault, ada, Some(CASE)).await, "it came back, from a backup: {from_backup}");
        assert!(house.agent_sees(&vault, bob, Some(CASE)).await, "the other is lost, from a backup: {from_backup}");
        mirrored(&vault).await;
        vault.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_expired_is_removed_and_what_is_not_stays() {
    let house = House::build().await;
    let vault = house.open().await;
    for number in 0..300 {
        house.assign(&vault, &format!("customer-{number}")).await.unwrap();
    }
    house.break_glass(&vault, "customer-7").await.unwrap();
    vault.forget_grants(Timestamp::now()).await.unwrap();
    assert_eq!(grants(&vault), 301);
    vault.forget_grants(soon().plus_ms(1)).await.unwrap();
    assert_eq!(grants(&vault), 0);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_that_was_assigned_before_an_upgrade_lets_its_agent_read_and_nobody_finds_it_by_its_id() {
    let house = House::build().await;
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 60).await.unwrap();
    house.assign(&vault, "ada").await.unwrap();
    let (from, to) = rows::all(rows::Kind::Assignment);
    let found = || vault.core.db.range(&from, &to, 8).unwrap();
    let [(today, value)] = found().try_into().unwrap();
    // As the release before wrote it: under the tenant's index key.
    let keys = vault.core.tenant_keys(house.tenant).unwrap();
    let handle = vault.core.known_customer(house.tenant, &customer("ada")).unwrap().unwrap();
    let CaseAssignment { case, assignee, .. } = assignment("ada");
    let words = [case.as_str().as_bytes(), assignee.as_str().as_bytes()];
    let earlier = rows::assignment(handle, BlindIndex(blind(&keys.index, "assignment", &words)));
    let grants_key = vault.core.grants_key(&vault.core.customer(house.tenant, handle).unwrap()).unwrap();
    let grant = format::GrantRow::decode(&value).unwrap();
    let moved = |key: &Key, sealed: &[u8]| key_wrap::seal(key, &earlier, &key_wrap::open(key, &today, sealed).unwrap());
    let (term, words) = (moved(&keys.settings, &grant.term), moved(&grants_key, &grant.words));
    let mut batch = Batch::new();
    batch.delete(today.clone());
    batch.put(earlier, format::GrantRow { tenant: house.tenant, term, words }.encode());
    batch.put(rows::format(), Writer::versioned(Layout::First as u8).text("oubliette").finish().to_vec());
    vault.core.committer.commit(batch).await.unwrap();
    assert!(!house.agent_sees(&vault, ada, Some(CASE)).await);
    vault.core.blocking(|core| crate::vault::upgrade::run(core)).await.unwrap();
    assert!(house.agent_sees(&vault, ada, Some(CASE)).await);
    let there: Vec<_> = found().into_iter().map(|(key, _)| key).collect();
    assert_eq!(there, [today]);
    house.unassign(&vault, "ada").await.unwrap();
    vault.close().await;
}
