//! The conductor: it knows the order of steps, and nothing else. What is sealed how is in `crypto`, what a change of the tree
//! means in `keys`, what may be done in `access`, how rows become durable in `store`.
//!
//! # Life of a record
//!
//! 1. A permit comes in; of it are taken tenant, record and purpose, never of the request.
//! 2. A read: its entry is durable in the ledger before anything is given out ([`Vault::get_transcript`] and its sisters).
//! 3. A write: the customer is found or created (`writer`), a fresh secret made, content sealed, large content streamed to
//!    objects as it comes (`upload`).
//! 4. One batch: record, secret, index rows, request, ledger entry; with the fence against erased customers as its precondition.
//!    Answered when durable.
//!
//! # Life of an erasure
//!
//! See `erasure`.
//!
//! # What holds callers to their rights
//!
//! Cases and broken glass are in `grants`; what is counted of each day and refused beyond is in `insiders`, how many erasures one may ask for
//! alone in `erasure::alone`, and what a second person gives in `approvals`. A refusal is entered by `refusals`. The ledger is read by `ledger` and
//! `exposure`, held against its signed tree by `whole`, and laid out as files by `publish`.

mod approvals;
mod compact;
mod core;
mod customer;
mod damage;
mod download;
mod erasure;
mod error;
mod exposure;
mod fence;
pub mod forensics;
mod format;
mod grants;
mod insiders;
mod jobs;
mod ledger;
mod listing;
mod log;
mod mirrors;
mod people;
mod pin;
mod publish;
mod quota;
mod receipts;
mod reclaim;
mod record_rows;
mod records;
mod refusals;
mod replicas;
mod requests;
mod restore;
mod revisions;
mod row_mac;
mod start;
mod tenants;
#[cfg(test)]
mod tests;
mod tree;
mod upgrade;
mod upload;
mod verify;
mod whole;
mod writer;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use crate::root_key::ReplicaStatus;
pub use crate::root_key::{MediumClass, Pkcs11Place};
pub use crate::store::mirror::{
    CopyProgress, MirrorContent, MirrorPlace, MirrorStatus, Sort, content as mirror_content, create as create_mirror,
    wait_for_objects,
};
pub use crate::store::{CommitError, Compacted, DiskUse, StoreError};
pub use approvals::ApprovalsPage;
pub use compact::CompactionRules;
pub use download::{Download, RequestedSpan};
pub use erasure::{Erasure, Target};
pub use error::{QuotaKind, VaultError};
pub use exposure::{MAX_EXPOSED_RECORDS, Report, Suspicion};
pub use fence::{Ended, Fenced, Watch};
pub use format::Opening;
pub use grants::AssignmentsPage;
pub use ledger::{LogFilter, LogPage, Logged, Reader as LedgerReader};
pub use listing::{Candidates, PAGE_MARK, Page, PageMark, foreign_page};
pub use people::NewToken;
pub use publish::LOG_FOLDER;
pub use receipts::Receipt;
pub use records::{Looked, RequestKey};
pub use restore::{BackedUp, BackupRules, BackupStep, RestoreFrom, RestoreStep, Restored, backup, backup_as};
pub use start::StartError;
pub use upload::{Begun, Upload};
pub use verify::{DamagedRow, VERIFY_MARK, Verified, VerifyMark};

use self::core::Core;
use self::writer::TreeWriter;
use crate::domain::ceiling::Ceilings;
use crate::domain::ids::BlindIndex;
use crate::keys::LEAF_LIMIT;
use crate::store::DEFAULT_CACHE_BYTES;

/// Where the vault keeps what.
#[derive(Debug, Clone)]
pub struct VaultPaths {
    /// The data directory.
    pub data: PathBuf,
    /// The root key, outside the data directory.
    pub root_key: RootKeyPlace,
    /// The file of the key that signs the log, outside the data directory too.
    pub signing_key: PathBuf,
    /// Where the data is mirrored to.
    pub mirrors: Vec<MirrorPlace>,
}

/// Where the root key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKeyPlace {
    /// In files: one, or replicas of one.
    File {
        /// The files.
        paths: Vec<PathBuf>,
        /// Whether they may stand on the device of the data, where one image holds both.
        may_share_device: bool,
    },
    /// In a hardware security module.
    Pkcs11(Pkcs11Place),
}

impl RootKeyPlace {
    /// In words, for messages.
    pub fn words(&self) -> String {
        match self {
            Self::File { paths, .. } => {
                paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
            }
            Self::Pkcs11(place) => format!("{:?} of the token {:?}", place.label, place.token),
        }
    }
}

/// How much of what.
#[derive(Debug, Clone)]
pub struct VaultLimits {
    /// Entries in a leaf page of the key tree.
    pub leaf_entries: usize,
    /// Sealed content up to this many bytes stands in rows, more in objects.
    pub inline_content_bytes: u64,
    /// Plaintext bytes in a part.
    pub part_bytes: u64,
    /// The longest recording.
    pub recording_bytes: u64,
    /// So much of the disk is left for erasure, audit and reads.
    pub disk_reserve_bytes: u64,
    /// About how many bytes of the database stay in memory.
    pub database_cache_bytes: u64,
    /// The most rows looked at for one page of a list.
    pub list_scan_rows: usize,
    /// How long after it was asked for the erasure of a tenant can be approved.
    pub tenant_erasure_delay: Duration,
    /// How many secrets of a customer are wrapped under one key: so many are wrapped anew when one record is erased.
    pub segment_secrets: usize,
    /// How many erasures a tenant may ask for within an hour.
    pub erasures_per_hour: u64,
    /// How much time lies between the beginnings of two epochs at least.
    pub epoch_window: Duration,
    /// How much one principal may read, and erase alone.
    pub ceilings: Ceilings,
}

impl Default for VaultLimits {
    fn default() -> Self {
        Self {
            leaf_entries: LEAF_LIMIT,
            inline_content_bytes: 32 << 10,
            part_bytes: 8 << 20,
            recording_bytes: 16 << 30,
            disk_reserve_bytes: 1 << 30,
            database_cache_bytes: DEFAULT_CACHE_BYTES,
            list_scan_rows: 10_000,
            tenant_erasure_delay: Duration::from_secs(72 * 60 * 60),
            segment_secrets: 1024,
            erasures_per_hour: 1_000,
            epoch_window: Duration::ZERO,
            ceilings: Ceilings::default(),
        }
    }
}

/// The vault.
pub struct Vault {
    core: Arc<Core>,
    writer: TreeWriter,
    in_flight: Arc<InFlight>,
    reclaiming: tokio::sync::Mutex<()>,
    publishing: tokio::sync::Mutex<()>,
    /// Whether the log's files were looked through since the start.
    mended: AtomicBool,
    /// Held by whoever changes a tenant, so that what is in memory of it is what is stored.
    administering: tokio::sync::Mutex<()>,
}

/// Requests that are being worked on, by their blinded ids.
#[derive(Default)]
struct InFlight(Mutex<HashSet<BlindIndex>>);

/// One request's place among those being worked on.
struct InFlightGuard {
    all: Arc<InFlight>,
    request: BlindIndex,
}

impl InFlight {
    fn enter(self: &Arc<Self>, request: BlindIndex) -> Result<InFlightGuard, VaultError> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(request);
        is_new.then(|| InFlightGuard { all: Arc::clone(self), request }).ok_or(VaultError::RequestInProgress)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.request);
    }
}
