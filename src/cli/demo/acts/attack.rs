//! The attack, and the judgement on it. It is rehearsed before the erasure, where it must open everything: so its failure
//! afterwards means something.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{STOLEN_BEFORE, Stage, blocking};
use crate::cli::demo::attacker::{Attacker, Loot, Planted, Records, opens};
use crate::cli::demo::copy::copy;
use crate::cli::demo::error::{DemoError, expect};
use crate::cli::demo::teller::counted;
use crate::cli::errors::CliError;

/// How often a copy of the running database is taken anew because it was torn: files copied while they are written.
const COPY_ATTEMPTS: u32 = 5;
const COPY_PAUSE: Duration = Duration::from_millis(200);

impl Stage<'_> {
    /// The attack before the erasure: everything opens, the customer's records too.
    pub(super) async fn rehearse_attack(&mut self) -> Result<(), CliError> {
        self.teller.begin("rehearse the attack");
        let root_key = self.steal_root_key("stolen-before-erasure.key").await?;
        let loot = Loot { before: self.house.path(STOLEN_BEFORE), now: None, root_key: root_key.clone() };
        let attacker = blocking(move || Ok(Attacker::break_in(&loot)?)).await?;
        let (_, found) = self.try_records(attacker).await?;
        let (others, erased) = self.counts();
        let opened_all = found.others_opened == others && found.erased_opened == erased;
        expect(opened_all, "that the root key of now opens every record before the erasure", || told(&found))?;
        blocking(move || std::fs::remove_file(&root_key).map_err(DemoError::io("remove", root_key))).await?;
        self.teller.done(&format!(
            "To see that the thief knows the trade: with that copy and the root key of the moment, all {} open. \
             (This copy of the root key is thrown away: who keeps old root keys can read old copies.)",
            counted(found.all, "record"),
        ))
    }

    /// Turns attacker, with all that a thief could have by now. Returns the verdict.
    pub(super) async fn be_attacked(&mut self) -> Result<String, CliError> {
        self.teller.begin("steal what is there now");
        let loot = self.steal().await?;
        self.teller.done("The thief is back, and also copied the database and the root key as they are now.")?;

        self.teller.begin("break in");
        let attacker = blocking(move || Ok(Attacker::break_in(&loot)?)).await?;
        let wanted = attacker.wanted_root_key;
        expect(!attacker.opens_before, "that the root key of now does not open the old copy", || {
            format!("it opens the old copy, which wants the root key {wanted}")
        })?;
        self.teller.done(&format!(
            "The root key of now does not open the old copy, which wants the key {wanted}; that one is destroyed. \
             The copy of now opens, and gives {} from {}.",
            counted(attacker.customer_keys(), "customer key"),
            counted(attacker.pages(), "page"),
        ))?;

        self.teller.begin("attack the records");
        let (attacker, found) = self.try_records(attacker).await?;
        let (others, erased) = self.counts();
        judge(&found, others, erased)?;
        self.teller.done(&format!(
            "The thief goes round every check of the vault and tries the keys on all {} of the old copy. {}",
            counted(found.all, "record"),
            told(&found),
        ))?;

        self.teller.begin("attack what is left");
        let handles = found.handles.clone();
        let rest = blocking(move || Ok(attacker.try_rest(&handles)?)).await?;
        let words = format!(
            "Every key was tried on each of the {} that lock the erased customer's records, name and list: {} opened. \
             {} that opens links a person to them.",
            counted(rest.secrets, "secret"),
            rest.secrets_opened,
            if rest.links == 0 { "No page" } else { "A page" },
        );
        let holds = rest.secrets > found.erased && rest.secrets_opened == 0 && rest.links == 0;
        expect(holds, "that nothing of the erased customer opens", || words.clone())?;
        self.teller.done(&words)?;
        Ok(format!(
            "of the old copy the thief opened all {} of other customers, and {} of {} of the erased customer",
            counted(found.others_opened, "record"),
            found.erased_opened,
            counted(erased, "record"),
        ))
    }

    async fn try_records(&self, attacker: Attacker) -> Result<(Attacker, Records), CliError> {
        let planted: HashMap<String, Planted> = self
            .all()
            .map(|one| {
                let erased = one.customer == self.material.erased;
                (one.record_id.clone(), Planted { hash: one.hash, erased })
            })
            .collect();
        let bar = self.teller.bar(planted.len() as u64);
        let ticking = bar.clone();
        let tried = blocking(move || {
            let found = attacker.try_records(&planted, &|| ticking.inc(1))?;
            Ok((attacker, found))
        })
        .await?;
        bar.finish_and_clear();
        Ok(tried)
    }

    /// Records of the other customers, and of the erased one.
    fn counts(&self) -> (usize, usize) {
        let erased = self.all().filter(|one| one.customer == self.material.erased).count();
        (self.all().count() - erased, erased)
    }

    /// Copies the database and the root key as they are now.
    async fn steal(&self) -> Result<Loot, CliError> {
        let database = self.house.running()?.config.data.dir.join("db");
        let root_key = self.steal_root_key("stolen-after-erasure.key").await?;
        for attempt in 1..=COPY_ATTEMPTS {
            let now = self.house.path(&format!("stolen-after-erasure-{attempt}"));
            let (from, to, key) = (database.clone(), now.clone(), root_key.clone());
            // A torn copy may end before the epoch that the root key belongs to, or not open at all.
            let is_whole = blocking(move || copy(&from, &to).map(|_| opens(&to, &key).unwrap_or(false))).await?;
            if is_whole {
                return Ok(Loot { before: self.house.path(STOLEN_BEFORE), now: Some(now), root_key });
            }
            tokio::time::sleep(COPY_PAUSE).await;
        }
        Err(DemoError::unexpected("a whole copy of the database", "torn copies only").into())
    }

    async fn steal_root_key(&self, name: &str) -> Result<PathBuf, CliError> {
        let (from, to) = (self.house.running()?.config.root_key.path.clone(), self.house.path(name));
        let stolen = to.clone();
        blocking(move || copy_file(&from, &to)).await?;
        Ok(stolen)
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<(), DemoError> {
    std::fs::copy(from, to).map(|_| ()).map_err(DemoError::io("copy", to))
}

/// What the vault promises about records, against what the attacker got.
fn judge(found: &Records, others: usize, erased: usize) -> Result<(), CliError> {
    let seen = || told(found);
    expect(found.all == others + erased, "every stored record in the old copy", seen)?;
    let all_others = found.others_opened == others && found.others_failed == 0;
    expect(all_others, "that every record of the other customers opens and is what was stored", seen)?;
    expect(found.erased == erased && erased > 0, "the erased customer's records in the old copy", seen)?;
    expect(found.erased_opened == 0, "that none of the erased customer's records opens", seen)
}

fn told(found: &Records) -> String {
    format!(
        "Of the other customers, {} opened as they were stored and {} did not; of the erased customer's {}, {} opened.",
        counted(found.others_opened, "record"),
        found.others_failed,
        counted(found.erased, "record"),
        found.erased_opened,
    )
}
