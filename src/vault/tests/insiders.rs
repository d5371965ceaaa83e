//! What is counted of those who read: the same in memory and in the rows, whoever goes away in the middle; and only for as long as a day lasts.

use super::*;
use crate::domain::ceiling::CeilingKind;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const READS: u32 = 200;

/// Everybody may read so many times a day, something of so many customers; supervisors and agents as often as they like where `only_officers`.
fn reading(reads_per_day: u32, customers_per_day: u32, only_officers: bool) -> VaultLimits {
    let ceiling = Ceiling { reads_per_day, customers_per_day, ..Ceiling::default() };
    let others = if only_officers { Ceiling::default() } else { ceiling };
    let ceilings = Ceilings { agent: others, supervisor: others, privacy_officer: ceiling };
    VaultLimits { ceilings, ..limits() }
}

impl House {
    async fn read_as(&self, vault: &Vault, role: Role, id: RecordId) -> Result<(), VaultError> {
        let caller = principal(self.tenant, TenantName::parse("acme").unwrap(), &[role]);
        let door = self.access.door(&caller, Action::GetTranscript, self.tenant, Some(why())).unwrap();
        let facts = vault.facts(&door, id, None).await.unwrap().unwrap();
        vault.get_transcript(self.access.record(&door, facts).unwrap()).await.map(drop)
    }

    /// What the rows say: how many reads, of how many customers.
    fn counted(&self, vault: &Vault) -> (u64, usize) {
        let rows = |kind| {
            let (from, to) = rows::of_tenant(kind, self.tenant);
            vault.core.db.range(&from, &to, 4096).unwrap()
        };
        let reads = rows(rows::Kind::Reads).into_iter().map(|(_, count)| u64::from_be_bytes(count.try_into().unwrap()));
        (reads.sum(), rows(rows::Kind::Seen).len())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_in_the_middle_of_a_read_is_counted_in_memory_as_in_the_rows() {
    let house = House::with(reading(READS, 0, false)).await;
    let vault = house.open().await;
    let id = house.store(&vault, "ada", 40).await.unwrap();
    let mut gone = 0;
    for polls in 0..120 {
        gone += usize::from(give_up_after(1 + polls % 8, house.read_as(&vault, Role::Supervisor, id)).await.is_none());
    }
    assert!(gone > 10, "{gone} callers went away");
    // Up to the ceiling, as it is remembered: then as many stand in the rows.
    let met = loop {
        if let Err(error) = house.read_as(&vault, Role::Supervisor, id).await {
            break error;
        }
    };
    assert!(matches!(met, VaultError::ReadCeiling { kind: CeilingKind::ReadsPerDay, limit: READS, .. }), "{met}");
    assert_eq!(house.counted(&vault), (u64::from(READS), 1));
    // And as many are known to a process that is new.
    let vault = house.open_after(vault, Blow::EVERY[0]).await;
    assert!(house.read_as(&vault, Role::Supervisor, id).await.is_err());
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_on_a_day_that_is_over_is_removed_and_who_has_no_ceiling_is_not_counted() {
    let house = House::with(reading(2, 1, true)).await;
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 40).await.unwrap();
    let bob = house.store(&vault, "bob", 40).await.unwrap();
    for id in [ada, bob, ada, bob] {
        house.read_as(&vault, Role::Supervisor, id).await.unwrap();
    }
    assert_eq!(house.counted(&vault), (0, 0), "somebody without a ceiling was counted");
    house.read_as(&vault, Role::PrivacyOfficer, ada).await.unwrap();
    let other = house.read_as(&vault, Role::PrivacyOfficer, bob).await;
    assert!(matches!(other, Err(VaultError::ReadCeiling { kind: CeilingKind::CustomersPerDay, limit: 1, .. })));
    house.read_as(&vault, Role::PrivacyOfficer, ada).await.unwrap();
    let more = house.read_as(&vault, Role::PrivacyOfficer, ada).await;
    assert!(matches!(more, Err(VaultError::ReadCeiling { kind: CeilingKind::ReadsPerDay, limit: 2, .. })));
    assert_eq!(house.counted(&vault), (2, 1));
    // Yesterday's stay for a day, so that midnight takes nothing away from who looks at it.
    let now = Timestamp::now();
    for (later, left) in [(0, (2, 1)), (DAY_MS, (2, 1)), (2 * DAY_MS, (0, 0))] {
        vault.forget_days(now.plus_ms(later)).await.unwrap();
        assert_eq!(house.counted(&vault), left, "{later} ms later");
    }
    // What is remembered went with it.
    house.read_as(&vault, Role::PrivacyOfficer, bob).await.unwrap();
    vault.close().await;
}
