//! Damage: something stored that does not open, met while other things are worked on. It is reported once and counted, and the work goes on
//! without it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::core::Core;
use super::{Vault, VaultError};
use crate::audit::AlertSort;
use crate::domain::codec::hex;
use crate::store::Row;

/// The most rows that are remembered as reported. Of further ones each meeting is logged.
const MAX_REMEMBERED: usize = 4_096;

impl Vault {
    /// How many stored rows were refused or did not open since the start, by sort, for the metrics.
    pub fn alerts_of_storage(&self) -> [(&'static str, u64); 3] {
        [
            (AlertSort::JobRefused.name(), self.core.jobs.refused()),
            ("row_damaged", self.core.damage.count()),
            (AlertSort::RowChanged.name(), self.core.committer.as_logged().changed()),
        ]
    }
}

/// What was met since the start.
#[derive(Default)]
pub(super) struct Damage {
    reported: Mutex<HashSet<Vec<u8>>>,
    met: AtomicU64,
}

impl Damage {
    /// Reports a row that does not open. Never one whose key is about a person: a log line has a time.
    pub fn met(&self, what: &'static str, row: &[u8], error: &VaultError) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.contains(row) {
            return;
        }
        if reported.len() < MAX_REMEMBERED {
            reported.insert(row.to_vec());
        }
        drop(reported);
        self.met.fetch_add(1, Ordering::Relaxed);
        let row = hex(row);
        tracing::error!(what, row, %error, "a stored row does not open; the work goes on without it: run `oubliette verify`, and restore from a mirror");
    }

    /// How many rows were met.
    pub fn count(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }
}

impl Core {
    /// Leaves out what is damaged: it is reported, and the work goes on with the next thing.
    pub fn unless_damaged(
        &self,
        what: &'static str,
        row: &[u8],
        done: Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        match done {
            Err(error) if error.is_damage() => {
                self.damage.met(what, row, &error);
                Ok(())
            }
            done => done,
        }
    }

    /// Refuses a control row that is not what the log vouches for: somebody or something wrote to the database past the service.
    pub fn refuse_unless_logged(&self, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        match self.committer.as_logged().is(key, row) {
            true => Ok(()),
            false => Err(VaultError::damaged("a control row: it is not what the audit log vouches for")),
        }
    }

    /// What opens of some rows. What does not is reported, and left out.
    pub fn those_that_open<T>(
        &self,
        what: &'static str,
        page: &[Row],
        open: impl Fn(&Row) -> Result<T, VaultError>,
    ) -> Result<Vec<T>, VaultError> {
        let mut opened = Vec::with_capacity(page.len());
        for row in page {
            match open(row) {
                Ok(one) => opened.push(one),
                Err(error) => self.unless_damaged(what, &row.0, Err(error))?,
            }
        }
        Ok(opened)
    }
}
