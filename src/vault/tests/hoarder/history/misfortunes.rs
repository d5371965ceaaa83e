//! What befalls a history: faults, crashes, restarts, the loss of disks, and a database that is written anew.

use super::*;

impl History {
    /// The power is cut somewhere in a write, an erasure, or while space is given back; the process is gone as it stands. What was asked
    /// for is asked for again.
    pub async fn crash(&mut self) {
        let crashes: Vec<Blow> = Blow::EVERY.into_iter().filter(|blow| blow.is_crash()).collect();
        let (after, blow) = (self.chance.below(16), crashes[self.chance.below(crashes.len())]);
        let put = self.next_put();
        let leaves = (self.living.len() > 1).then(|| self.chance.below(self.living.len()));
        let leaves = leaves.and_then(|at| self.living.keys().nth(at).cloned()).filter(|of| *of != put.of);
        let what = self.chance.below(3);
        self.house.fault.strike(after, blow);
        let is_done = match (what, &leaves) {
            (0, Some(of)) => self.house.erase(self.vault(), of).await.is_ok(),
            (1, _) => self.vault().reclaim().await.is_ok(),
            _ => self.store(&put).await.is_ok(),
        };
        let missed = self.house.fault.was_missed();
        assert!(missed || !is_done, "it was answered although the power was cut");
        self.coverage.crashes += usize::from(!missed);
        drop(self.vault.take());
        // Before the start sweeps away what an upload left.
        self.hoard.keep_objects(&self.house.paths().data.join("objects"));
        self.vault = Some(self.house.open().await);
        match (what, leaves) {
            (0, Some(of)) => {
                self.coverage.aborted_epochs += usize::from(!missed && self.house.fault.struck_an_epoch());
                self.house.erase(self.vault(), &of).await.unwrap();
                let records = self.living.remove(&of).unwrap();
                self.is_erased(of, records);
            }
            (1, _) => self.vault().reclaim().await.unwrap(),
            _ => {
                self.coverage.unacknowledged += usize::from(!missed);
                let id = self.store(&put).await.unwrap();
                self.is_stored(&put.of, id, put.shape);
            }
        }
    }

    /// An erasure that fails somewhere, a restart, and the erasure again.
    pub async fn erase_with_a_fault(&mut self) {
        if self.living.len() < 2 {
            return;
        }
        let at = self.chance.below(self.living.len());
        let of = self.living.keys().nth(at).unwrap().clone();
        let (after, behind) = (self.chance.below(16), self.chance.below(2) == 0);
        self.house.fault.arm(after, behind);
        let answer = self.house.erase(self.vault(), &of).await;
        let struck = !self.house.fault.was_missed() && answer.is_err();
        self.coverage.aborted_epochs += usize::from(struck && self.house.fault.struck_an_epoch());
        match self.chance.below(2) {
            0 => self.restart(false).await,
            _ => self.lose_the_disk(None).await,
        }
        self.house.erase(self.vault(), &of).await.unwrap();
        let records = self.living.remove(&of).unwrap();
        self.is_erased(of, records);
    }

    pub async fn restart(&mut self, in_order: bool) {
        let vault = self.vault.take().unwrap();
        if in_order {
            vault.reclaim().await.unwrap();
        }
        vault.close().await;
        drop(vault);
        self.vault = Some(self.house.open().await);
        self.coverage.restarts += 1;
    }

    /// Keeps what stands in the files of the mirrors and of a backup.
    pub fn keep_copies(&mut self, backup: Option<&PathBuf>) {
        let mirrors = [Sort::Whole, Sort::Keys].map(|sort| self.house.mirror(sort));
        for directory in mirrors.iter().chain(backup) {
            let writes = crate::store::mirror::every_write(directory).unwrap();
            self.coverage.rows_of_mirrors += writes.len();
            self.copies.keep(&writes);
            self.hoard.keep(&writes);
            self.copies.keep_objects(directory);
            self.hoard.keep_objects(directory);
        }
    }

    /// The disk is lost, and the data restored: from the mirror of everything, or from that of the keys and a backup.
    pub async fn lose_the_disk(&mut self, backup: Option<PathBuf>) {
        let vault = self.vault.take().unwrap();
        vault.close().await;
        drop(vault);
        self.keep_copies(backup.as_ref());
        self.house.lose_the_disk();
        if backup.is_some() {
            // Nobody restores from less while the mirror of everything is there: it is lost too, and another disk takes its place.
            std::fs::remove_dir_all(self.house.mirror(Sort::Whole)).unwrap();
            create_mirror(&self.house.mirror(Sort::Whole)).unwrap();
        }
        self.coverage.restores += 1;
        self.coverage.restores_from_backups += usize::from(backup.is_some());
        let from = if backup.is_some() { Sort::Keys } else { Sort::Whole };
        let restored = self.house.restore(from, backup).await.unwrap();
        assert_eq!((restored.verified.damaged, restored.verified.missing), (0, 0));
        self.open().await;
    }

    /// A backup, an erasure after it, and the loss of all but the backup and the keys.
    pub async fn lose_all_but_a_backup(&mut self) {
        restore_drill::mirrored(self.vault()).await;
        let backup = self.house.back_up(&format!("backup-{}", self.coverage.restores)).await;
        self.erase(1).await;
        self.lose_the_disk(Some(backup)).await;
    }

    /// The database is written anew.
    pub async fn compact(&mut self) {
        let vault = self.vault.take().unwrap();
        vault.close().await;
        drop(vault);
        Vault::compact(self.house.paths(), |_| {}).await.unwrap();
        self.coverage.compactions += 1;
        self.open().await;
    }

    /// Opens the vault on a database that something else than the service has written.
    pub async fn open(&mut self) {
        let db = SledEngine::open(&start::database_folder(&self.house.paths().data)).unwrap();
        self.hoard.keep_all(&db);
        drop(db);
        self.vault = Some(self.house.open().await);
    }
}
