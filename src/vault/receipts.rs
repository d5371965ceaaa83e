//! Receipts: the ledger's entries about erasures that are final, each proven to be in the signed log.

use std::sync::Arc;

use tokio::sync::watch;

use super::core::Core;
use super::people::next_of;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::note::VerifierKey;
use crate::audit::{Entry, Event, proof};
use crate::domain::clock::Timestamp;
use crate::domain::erasure::Erased;
use crate::domain::ids::{ReceiptId, TenantId};
use crate::store::{LogTree, StoreError, rows};

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// In which tenant something was erased.
    pub tenant: TenantId,
    /// When it was entered into the ledger.
    pub entered: Timestamp,
    /// What it states.
    pub erased: Erased,
    /// The statement as an entry that is proven to be in the signed log: `c2sp.org/tlog-proof`. Empty where it is one of many, each of which
    /// can be got by its id.
    pub proof: String,
}

impl Vault {
    /// Changes whenever erasures have become final.
    pub fn erasures(&self) -> watch::Receiver<u64> {
        self.core.erasures.subscribe()
    }

    /// A receipt of the permit's tenant.
    pub async fn get_receipt(&self, permit: Permit<TenantScope>, id: ReceiptId) -> Result<Receipt, VaultError> {
        self.note(&permit).await?;
        let tenant = permit.resource().tenant;
        self.core.blocking(move |core| Receipts::of(core).get(tenant, id)?.ok_or(VaultError::NotFound)).await
    }

    /// Up to `limit` receipts of a tenant behind a place, in the order in which the erasures were asked for (from `asked.0` on, before
    /// `asked.1`), and the place where the next page begins.
    pub async fn list_receipts(
        &self,
        permit: Permit<TenantScope>,
        asked: (Option<Timestamp>, Option<Timestamp>),
        behind: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(Vec<Receipt>, Option<Vec<u8>>), VaultError> {
        self.note(&permit).await?;
        let tenant = permit.resource().tenant;
        let list = move |core: &Arc<Core>| {
            let (all, end) = rows::receipts(tenant);
            let place = |instant| rows::receipt(tenant, ReceiptId::since(instant));
            let span = (asked.0.map_or(all, place), asked.1.map_or(end, place));
            let page = core.page(span, behind, limit)?;
            let next = next_of(&page, limit);
            let receipts = Receipts::of(core);
            let found = core.those_that_open("a receipt", &page, |(key, row)| receipts.read(tenant, key, row))?;
            Ok((found, next))
        };
        self.core.blocking(list).await
    }

    /// The public keys that have signed the log, the newest first: what a receipt is checked with.
    pub async fn log_keys(&self, permit: Permit<TenantScope>) -> Result<Vec<VerifierKey>, VaultError> {
        self.note(&permit).await?;
        self.log_keys_of_operator().await
    }

    /// The same, for the one who has the vault in his hands.
    pub async fn log_keys_of_operator(&self) -> Result<Vec<VerifierKey>, VaultError> {
        self.core.blocking(|core| core.log_keys()).await
    }

    /// Has the log signed by a fresh key from now on.
    pub async fn rotate_log_key(&self) -> Result<(), VaultError> {
        self.core.blocking(|core| core.rotate_log_key()).await
    }
}

/// Makes receipts; many from one cost little more than one.
pub(super) struct Receipts<'a> {
    core: &'a Core,
    tree: LogTree<'a>,
}

impl<'a> Receipts<'a> {
    pub fn of(core: &'a Core) -> Self {
        Self { core, tree: LogTree::new(core.db.as_ref()) }
    }

    /// A receipt; `None` if there is none, or it is owed still.
    pub fn get(&self, tenant: TenantId, id: ReceiptId) -> Result<Option<Receipt>, VaultError> {
        let key = rows::receipt(tenant, id);
        let row = self.core.db.get(&key)?;
        row.map(|row| self.read(tenant, &key, &row)).transpose()
    }

    /// The same without its proof.
    pub fn get_stated(&self, tenant: TenantId, id: ReceiptId) -> Result<Option<Receipt>, VaultError> {
        let key = rows::receipt(tenant, id);
        let row = self.core.db.get(&key)?;
        row.map(|row| Ok(self.stated(tenant, &key, &row)?.2)).transpose()
    }

    fn read(&self, tenant: TenantId, key: &[u8], row: &[u8]) -> Result<Receipt, VaultError> {
        let (index, stored, stated) = self.stated(tenant, key, row)?;
        let log = &self.core.log;
        let proof: Result<String, StoreError> =
            log.with_key(|key| proof::prove(&self.tree, (index, &stored), &log.origin, key));
        Ok(Receipt { proof: proof?, ..stated })
    }

    /// Where the receipt's entry stands, the entry, and what it states.
    fn stated(&self, tenant: TenantId, key: &[u8], row: &[u8]) -> Result<(u64, Vec<u8>, Receipt), VaultError> {
        let damaged = || VaultError::damaged("a receipt");
        let index = u64::from_be_bytes(row.try_into().map_err(|_| damaged())?);
        let stored = self.core.db.get(&rows::ledger(index))?.ok_or_else(damaged)?;
        let entry = Entry::decode(&stored)?;
        let Event::ErasureFinal(erased) = entry.event else { return Err(damaged()) };
        if entry.tenant != tenant || rows::parse_receipt(key) != Some(erased.receipt) {
            return Err(damaged());
        }
        // What is signed is what was logged.
        self.core.check_ledger(index, index + 1)?;
        // A proof outside binds the log: what it covers must not be lost with a disk.
        if !self.core.is_settled(index) {
            return Err(VaultError::ErasureNotFinal { why: "a mirror does not have the receipt yet" });
        }
        let receipt = Receipt { tenant, entered: entry.at, erased: *erased, proof: String::new() };
        Ok((index, stored, receipt))
    }
}
