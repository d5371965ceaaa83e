//! The attack, and the judgement on it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{STOLEN_BEFORE, Stage, blocking};
use crate::cli::demo::attacker::{Findings, Loot, Planted, attack, opens};
use crate::cli::demo::copy::copy;
use crate::cli::demo::error::{DemoError, expect};
use crate::cli::demo::teller::counted;
use crate::cli::errors::CliError;

/// How often a copy of the running database is taken anew because it was torn: files copied while they are written.
const COPY_ATTEMPTS: u32 = 5;
const COPY_PAUSE: Duration = Duration::from_millis(200);

impl Stage<'_> {
    /// Turns attacker, with all that a thief could have by now. Returns the verdict.
    pub(super) async fn be_attacked(&mut self) -> Result<String, CliError> {
        self.teller.begin("steal what is there now");
        let loot = self.steal().await?;
        self.teller.done("The thief is back, and also copied the database and the root key as they are now.")?;

        self.teller.begin("attack");
        let planted: HashMap<String, Planted> = self
            .all()
            .map(|one| {
                let erased = one.customer == self.material.erased;
                (one.record_id.clone(), Planted { hash: one.hash, erased })
            })
            .collect();
        let erased = planted.values().filter(|one| one.erased).count();
        let others = planted.len() - erased;
        let bar = self.teller.bar(planted.len() as u64);
        let ticking = bar.clone();
        let found = blocking(move || Ok(attack(&loot, &planted, &|| ticking.inc(1))?)).await?;
        bar.finish_and_clear();
        judge(&found, others, erased)?;
        self.teller.done(&told(&found))?;
        Ok(format!(
            "{} of other customers opened, {} of {} of the erased customer",
            counted(found.others_opened, "record"),
            found.erased_opened,
            counted(found.erased_records, "record"),
        ))
    }

    /// Copies the database and the root key as they are now.
    async fn steal(&self) -> Result<Loot, CliError> {
        let config = &self.house.running()?.config;
        let (database, key) = (config.data.dir.join("db"), config.root_key.path.clone());
        let root_key = self.house.path("stolen-root.key");
        let stolen_key = root_key.clone();
        blocking(move || steal_key(&key, &stolen_key)).await?;
        for attempt in 1..=COPY_ATTEMPTS {
            let now = self.house.path(&format!("stolen-after-erasure-{attempt}"));
            let (from, to, key) = (database.clone(), now.clone(), root_key.clone());
            // A torn copy may end before the epoch that the root key belongs to, or not open at all.
            let is_whole = blocking(move || copy(&from, &to).map(|_| opens(&to, &key).unwrap_or(false))).await?;
            if is_whole {
                return Ok(Loot { before: self.house.path(STOLEN_BEFORE), now, root_key });
            }
            tokio::time::sleep(COPY_PAUSE).await;
        }
        Err(DemoError::unexpected("a whole copy of the database", "torn copies only").into())
    }
}

fn steal_key(from: &Path, to: &PathBuf) -> Result<(), DemoError> {
    std::fs::copy(from, to).map(|_| ()).map_err(DemoError::io("copy", to))
}

/// What the vault promises, against what the attacker got.
fn judge(found: &Findings, others: usize, erased: usize) -> Result<(), CliError> {
    let seen = || told(found);
    expect(!found.opens_before, "that the root key of now does not open the copy of before", seen)?;
    expect(found.opens_now, "that the root key of now opens the copy of now", seen)?;
    expect(found.records == others + erased, "every stored record in the copy of before", seen)?;
    expect(
        found.others_opened == others && found.others_failed == 0,
        "that every record of the other customers opens and is what was stored",
        seen,
    )?;
    expect(found.erased_records == erased && erased > 0, "the erased customer's records in the copy of before", seen)?;
    let got_nothing = found.erased_opened == 0 && found.erased_secrets_opened == 0 && found.erased_links == 0;
    expect(got_nothing && found.erased_secrets > 0, "that nothing of the erased customer opens", seen)
}

fn told(found: &Findings) -> String {
    let old = match (&found.wanted_root_key, found.opens_before) {
        (_, true) => "The root key of now opens the old copy's key tree.".to_owned(),
        (Some(wanted), false) => format!("The root key of now does not open the old copy: it wants {wanted}, which is destroyed."),
        (None, false) => "The old copy names no root key.".to_owned(),
    };
    format!(
        "{old} From the copy of now the thief got {} from {}, and tried them on all {} of the old copy, going round every check: \
         {} of other customers opened, each as it was stored, {} did not; of the erased customer's {}, {} opened, \
         and of the {} that lock them, the name and the list, {}.",
        counted(found.customer_keys, "customer key"),
        counted(found.pages, "page"),
        counted(found.records, "record"),
        found.others_opened,
        found.others_failed,
        counted(found.erased_records, "record"),
        found.erased_opened,
        counted(found.erased_secrets, "secret"),
        found.erased_secrets_opened,
    )
}
