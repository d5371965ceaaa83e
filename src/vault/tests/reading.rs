//! Nothing is read that is not entered: a fault at any operation of a read gives out nothing, and while the ledger cannot be written no read is
//! answered, until it can.

use super::*;

impl House {
    /// A read whose failure is told.
    async fn try_read(&self, vault: &Vault, id: RecordId) -> Result<String, VaultError> {
        let door = self.permit(Action::GetTranscript);
        let facts = vault.facts(&door, id, None).await?.ok_or(VaultError::NotFound)?;
        let read = vault.get_transcript(self.access.record(&door, facts).unwrap()).await?;
        Ok(read.content.1[0].turn.text.to_string())
    }

    /// How many reads the ledger tells of.
    fn reads_entered(&self, vault: &Vault) -> usize {
        let (from, to) = rows::all(rows::Kind::Ledger);
        let entries = vault.core.db.range(&from, &to, 4096).unwrap();
        entries.iter().filter(|(_, entry)| matches!(Entry::decode(entry).unwrap().event, Event::Read { .. })).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_in_a_read_nothing_is_given_out_that_the_ledger_does_not_tell_of() {
    let (mut met, mut closed) = (0, 0);
    for (after, blow) in every_fault() {
        let house = House::build().await;
        let vault = house.open().await;
        let ada = house.store(&vault, "ada", 100).await.unwrap();
        house.try_read(&vault, ada).await.unwrap();
        house.fault.strike(after, blow);
        let read = house.try_read(&vault, ada).await;
        if house.fault.was_missed() {
            read.unwrap();
            break;
        }
        met += 1;
        let place = format!("operation {after}, {blow:?}");
        // Where the ledger could not be written, nothing is read any more, however often it is asked for.
        if matches!(read, Err(VaultError::Commit(_))) {
            closed += 1;
            for _ in 0..3 {
                let again = house.try_read(&vault, ada).await;
                assert!(again.is_err(), "{place}: read although the ledger is closed");
            }
        }
        let given_out = 1 + usize::from(read.is_ok());
        let vault = house.open_after(vault, blow).await;
        assert!(house.reads_entered(&vault) >= given_out, "{place}: a read is not in the ledger");
        // And it goes on, with its entry.
        let before = house.reads_entered(&vault);
        house.try_read(&vault, ada).await.unwrap();
        assert_eq!(house.reads_entered(&vault), before + 1, "{place}");
        vault.close().await;
    }
    // At least: the write, and its sync.
    assert!(met >= 2 * Blow::EVERY.len(), "{met} faults were met");
    assert!(closed > 0, "the ledger never failed");
    println!("reading: {met} faults, {closed} of them closed the ledger");
}
