//! # Life of an erasure
//!
//! | step | durable effect | if we crash right after |
//! |---|---|---|
//! | 1 | ledger entry "asked", tombstone, what is pending: reads and writes are refused from now on | resumed at start |
//! | 2 | the provider stages a new root key under a random id | the database does not name it: destroyed at start, then 2 again |
//! | 3 | one batch: pages under fresh keys, top key under the staged root key, duties | start goes on with 5 |
//! | 4 | mirrors would follow here; this version has none | |
//! | 5 | the provider destroys the old root key; probed | start goes on with 5 |
//! | 6 | ledger entry "final", receipt | repeated; one entry, one receipt |
//!
//! Answered only after 6. [`settle`] is steps 5 and 6: it looks at what the database names and what the provider holds, and never at
//! what this process remembers. So it is the same for the live path and at start.
//!
//! Nothing that is stored holds both the person and the handle in the clear: the tombstone has no handle, the reclaim job no
//! pseudonym, and what is pending is sealed under a key that ends with the customer key.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::core::{Core, entry};
use super::format::{DutyRow, ErasingRow, Pending, Receipt, ReclaimRow, TombstoneRow};
use super::tree::{RootRow, Top, pseudonym};
use super::writer::{add_pages, refuse_all};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{Caller, Entry, Event};
use crate::crypto::key_wrap;
use crate::crypto::secret::random_bytes;
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{CustomerId, Handle, Pseudonym, ReceiptId, RecordId, TenantId};
use crate::domain::principal::Principal;
use crate::keys::{Draft, EpochPlan};
use crate::root_key::RootKeyId;
use crate::store::{Batch, CommitError, StoreError, rows};

/// How long a round of erasures waits for those who read the customers' records to stop. They are told at once, and look at it with every
/// message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Duties looked at in one go.
const DUTIES_AT_ONCE: usize = 256;

impl Vault {
    /// Erases a customer. Answered when it is final; a repeat, under whatever request id, gets the same
    /// receipt. Nothing of the request id is kept: it is a caller's text, and may name the person. `NotFound` for a customer who was never there.
    pub async fn erase_customer(
        &self,
        permit: Permit<TenantScope>,
        customer: CustomerId,
    ) -> Result<Receipt, VaultError> {
        let tenant = permit.resource().tenant;
        let caller = Caller { alias: permit.principal().alias, token: permit.principal().token };
        self.writer.erase(|answer| ErasureJob { tenant, customer, caller, answer }).await
    }

    /// Enters a refusal into the ledger; durable when it returns.
    pub async fn note_refusal(
        &self,
        principal: &Principal,
        action: Action,
        record: Option<RecordId>,
    ) -> Result<(), VaultError> {
        self.core.record(entry(principal, principal.tenant, Event::Refused { action, record })).await
    }
}

/// An erasure that is asked for.
pub(super) struct ErasureJob {
    pub tenant: TenantId,
    pub customer: CustomerId,
    pub caller: Caller,
    pub answer: oneshot::Sender<Result<Receipt, VaultError>>,
}

/// An erasure that is durable as asked for: step 1 is done.
pub(super) struct Asked {
    /// The name of its row.
    id: [u8; 16],
    tenant: TenantId,
    handle: Handle,
    pseudonym: Pseudonym,
    pending: Pending,
}

/// What step 1 finds.
enum Found {
    /// It is to be carried out.
    Asked(Asked),
    /// It was carried out before.
    Receipt(Receipt),
    /// It is under way, in this round or since an earlier failure.
    UnderWay(ReceiptId),
}

/// Carries out what was asked for, in one epoch, and answers.
pub(super) fn erase(core: &Core, jobs: Vec<ErasureJob>) {
    let mut waiting = Vec::new();
    let mut asked = Vec::new();
    for job in jobs {
        match ask(core, &job) {
            Ok(Found::Receipt(receipt)) => drop(job.answer.send(Ok(receipt))),
            Ok(Found::UnderWay(receipt)) => waiting.push((job, receipt)),
            Ok(Found::Asked(one)) => {
                waiting.push((job, one.pending.receipt));
                asked.push(one);
            }
            Err(error) => drop(job.answer.send(Err(error))),
        }
    }
    if waiting.is_empty() {
        return;
    }
    let done = if asked.is_empty() { resume(core) } else { carry_out(core, asked) };
    match done {
        Ok(()) => waiting.into_iter().for_each(|(job, receipt)| {
            let receipt = receipt_of(core, job.tenant, receipt)
                .and_then(|found| found.ok_or(VaultError::ErasureNotFinal { why: "the receipt is still owed" }));
            drop(job.answer.send(receipt));
        }),
        Err(error) => refuse_all(waiting.into_iter().map(|(job, _)| job.answer), error),
    }
}

/// Carries out what is pending in the database: after a crash, or after an epoch that failed.
pub(super) fn resume(core: &Core) -> Result<(), VaultError> {
    settle(core)?;
    let (from, to) = rows::all(rows::Kind::Erasing);
    loop {
        let stored = core.db.range(&from, &to, DUTIES_AT_ONCE)?;
        if stored.is_empty() {
            return Ok(());
        }
        let asked = stored.iter().map(|(key, row)| reopen(core, key, row)).collect::<Result<Vec<_>, _>>()?;
        carry_out(core, asked)?;
    }
}

/// Step 1. The fence closes before the tombstone is durable, and opens again if it does not become so.
fn ask(core: &Core, job: &ErasureJob) -> Result<Found, VaultError> {
    let tenant = core.tenant_keys(job.tenant)?;
    let pseudonym = pseudonym(&tenant, &job.customer);
    let tombstone = rows::tombstone(job.tenant, pseudonym);
    if let Some(sealed) = core.db.get(&tombstone)? {
        let plain =
            key_wrap::open(&tenant.settings, &tombstone, &sealed).map_err(|_| VaultError::damaged("a tombstone"))?;
        let receipt = TombstoneRow::decode(&plain)?.receipt;
        let found = receipt_of(core, job.tenant, receipt)?;
        return Ok(found.map_or(Found::UnderWay(receipt), Found::Receipt));
    }
    let handle = core.tree.handle(job.tenant, pseudonym)?.ok_or(VaultError::NotFound)?;
    let customer = core.customer(job.tenant, handle)?;
    let pending =
        Pending { customer: job.customer.clone(), receipt: ReceiptId(random_bytes()), caller: job.caller.alias };
    let asked = Asked { id: random_bytes(), tenant: job.tenant, handle, pseudonym, pending };
    let fence = TombstoneRow { receipt: asked.pending.receipt }.encode();
    let row = rows::erasing(asked.id);
    let sealed = key_wrap::seal(&customer.pending_key(), &row, &asked.pending.encode());
    let event = Event::ErasureAsked { receipt: asked.pending.receipt };
    let entry = Entry { at: Timestamp::now(), tenant: job.tenant, caller: Some(job.caller), event };
    let mut batch = Batch::new();
    batch.require_absent(tombstone.clone());
    batch.put(tombstone.clone(), key_wrap::seal(&tenant.settings, &tombstone, &fence));
    batch.put(row, ErasingRow { tenant: job.tenant, handle, sealed }.encode());
    batch.append(entry.encode().to_vec());
    core.fences.close(handle);
    if let Err(error) = core.committer.commit_blocking(batch) {
        core.fences.reopen(handle);
        return Err(error.into());
    }
    Ok(Found::Asked(asked))
}

/// Reads a pending erasure back.
fn reopen(core: &Core, key: &[u8], row: &[u8]) -> Result<Asked, VaultError> {
    let damaged = || VaultError::damaged("a pending erasure");
    let id = key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(damaged)?;
    let ErasingRow { tenant, handle, sealed } = ErasingRow::decode(row)?;
    let customer = core.customer(tenant, handle)?;
    let plain = key_wrap::open(&customer.pending_key(), key, &sealed).map_err(|_| damaged())?;
    let pending = Pending::decode(&plain)?;
    let pseudonym = pseudonym(&*core.tenant_keys(tenant)?, &pending.customer);
    core.fences.close(handle);
    Ok(Asked { id, tenant, handle, pseudonym, pending })
}

/// Steps 2 to 6.
fn carry_out(core: &Core, asked: Vec<Asked>) -> Result<(), VaultError> {
    let end = Instant::now() + PATIENCE;
    for one in &asked {
        if !core.fences.wait_until_empty(one.handle, end.saturating_duration_since(Instant::now())) {
            return Err(VaultError::ErasureNotFinal { why: "a reader of the customer's records has not stopped" });
        }
    }
    // A key left over from an epoch that failed must not stand beside the one staged now.
    settle(core)?;
    let epoch = core.tree.top().row.epoch + 1;
    let staged = core.provider.stage(epoch)?;
    match write_epoch(core, epoch, staged, &asked) {
        Ok(()) => {}
        // The batch may be on the disk or not: both keys stay until a restart reads which one it names.
        Err(error @ VaultError::Commit(CommitError::Store(_))) => return Err(error),
        // Never used again: what failed before the batch leaves the staged key unnamed, and settling destroys it.
        Err(error) => return settle(core).and(Err(error)),
    }
    settle(core)?;
    asked.iter().for_each(|one| core.fences.forget(one.handle));
    Ok(())
}

/// Step 3: plans the epoch, and writes it in one batch. No lookup runs between the old pages and the new top key.
fn write_epoch(core: &Core, epoch: u64, staged: RootKeyId, asked: &[Asked]) -> Result<(), VaultError> {
    let mut top = core.tree.top_to_replace();
    let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries)?;
    for one in asked {
        draft.erase_customer(one.tenant, one.pseudonym, one.handle)?;
    }
    let EpochPlan { writes, top: key } = draft.into_epoch();
    let row = RootRow::wrap(core.provider.as_ref(), staged, epoch, &key)?;
    let mut batch = Batch::new();
    batch.require_value(rows::root(), top.row.encode());
    batch.put(rows::root(), row.encode());
    add_pages(&mut batch, writes);
    for one in asked {
        let duty = DutyRow { tenant: one.tenant, caller: one.pending.caller, epoch };
        batch.delete(rows::erasing(one.id));
        batch.put(rows::duty(one.pending.receipt), duty.encode());
        batch.put(rows::reclaim(one.handle), ReclaimRow { tenant: one.tenant }.encode());
    }
    core.committer.commit_blocking(batch)?;
    *top = Top::open(row, key, core.tree.pages())?;
    Ok(())
}

/// Steps 5 and 6: the provider is left with exactly the root key that the database names, and owed receipts are written.
///
/// Destroys nothing while it is open what the database names: after a failed write, or when this process works with another root row
/// than stands there. A restart reads it anew.
pub(super) fn settle(core: &Core) -> Result<(), VaultError> {
    if !core.committer.is_open() {
        return Err(StoreError::Closed.into());
    }
    let (current, row) = {
        let top = core.tree.top();
        (top.row.root_key, top.row.encode().to_vec())
    };
    if core.db.get(&rows::root())? != Some(row) {
        return Err(VaultError::ErasureNotFinal {
            why: "the database names another root key than the service works with",
        });
    }
    core.provider.keep_only(current)?;
    if core.provider.held()?.iter().any(|held| held.id != current) {
        return Err(VaultError::ErasureNotFinal { why: "the provider still has the old root key" });
    }
    let (from, to) = rows::all(rows::Kind::Duty);
    loop {
        let owed = core.db.range(&from, &to, DUTIES_AT_ONCE)?;
        if owed.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (key, row) in &owed {
            add_receipt(core, &mut batch, key, row)?;
        }
        core.committer.commit_blocking(batch)?;
    }
}

fn add_receipt(core: &Core, batch: &mut Batch, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
    let damaged = || VaultError::damaged("a receipt that is owed");
    let id = ReceiptId(key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(damaged)?);
    let duty = DutyRow::decode(row)?;
    let at = Timestamp::now();
    let receipt = Receipt { id, caller: duty.caller, epoch: duty.epoch, final_at: at, medium: core.provider.medium() };
    let event = Event::ErasureFinal { receipt: id, epoch: duty.epoch };
    batch.require_value(key, row);
    batch.delete(key);
    batch.put(rows::receipt(duty.tenant, id), receipt.encode());
    batch.append(Entry { at, tenant: duty.tenant, caller: None, event }.encode().to_vec());
    Ok(())
}

fn receipt_of(core: &Core, tenant: TenantId, id: ReceiptId) -> Result<Option<Receipt>, VaultError> {
    let stored = core.db.get(&rows::receipt(tenant, id))?;
    Ok(stored.map(|stored| Receipt::decode(id, &stored)).transpose()?)
}
