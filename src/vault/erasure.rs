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
//! Nothing that is stored leads from a person to a handle or to a time: the tombstone says only that it is one, the reclaim job has no
//! pseudonym, what is pending is sealed under a key that ends with the customer key, and what answers a repeat of the request opens only
//! to who knows the request's id. So after the request is forgotten, the receipt is with who asked for it, and a repeat under
//! another id is told that the customer is erased, not when.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::core::{Core, entry};
use super::format::{
    DutyRow, ErasingRow, ErasureAnswer, ErasureRequestRow, Opening, Pending, ReclaimRow, Use, encode_tombstone,
};
use super::receipts::{Receipt, Receipts};
use super::tree::{RootRow, Top, WrappedTop, pseudonym};
use super::writer::{add_pages, refuse_all};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::receipt::{commitment, is_of};
use crate::audit::{Caller, Entry, Event};
use crate::crypto::kdf;
use crate::crypto::key_wrap;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::erasure::{Erased, Subject};
use crate::domain::ids::{BlindIndex, CustomerId, Handle, Pseudonym, ReceiptId, RecordId, RequestId, TenantId};
use crate::domain::principal::Principal;
use crate::keys::{Draft, EpochPlan, TenantKeys};
use crate::root_key::{RootKeyError, RootKeyId};
use crate::store::{Batch, CommitError, StoreError, rows};

/// How long a round of erasures waits for those who read the customers' records to stop. They are told at once, and look at it with every
/// message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Duties looked at in one go.
const DUTIES_AT_ONCE: usize = 256;

/// An erasure that is final.
pub struct Erasure {
    /// The receipt.
    pub receipt: Receipt,
    /// What shows whom the receipt is about. It is for the one who asked, and for nobody else.
    pub opening: Opening,
}

impl Vault {
    /// Erases a customer. Answered when it is final. A repeat of the request gets the same receipt; another request for a customer who is
    /// erased is told so (`CustomerErased`). `NotFound` for a customer who was never there.
    pub async fn erase_customer(
        &self,
        permit: Permit<TenantScope>,
        customer: CustomerId,
        request: RequestId,
    ) -> Result<Erasure, VaultError> {
        let tenant = permit.resource().tenant;
        let caller = Caller { alias: permit.principal().alias, token: permit.principal().token };
        self.writer.erase(|answer| ErasureJob { tenant, customer, request, caller, answer }).await
    }

    /// Carries out what an earlier failure left, and begins an epoch without erasures unless there was one within `age`: so that no root
    /// key lives longer.
    pub async fn renew_root_key(&self, age: Duration) -> Result<(), VaultError> {
        self.writer.renew(Instant::now().checked_sub(age).unwrap_or_else(Instant::now)).await
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
    pub request: RequestId,
    pub caller: Caller,
    pub answer: oneshot::Sender<Result<Erasure, VaultError>>,
}

/// An erasure that is durable as asked for: step 1 is done.
pub(super) struct Asked {
    /// The name of its row.
    id: [u8; 16],
    tenant: TenantId,
    handle: Handle,
    pseudonym: Pseudonym,
    pending: Pending,
    slot: RequestSlot,
}

/// What step 1 finds.
enum Found {
    /// It is to be carried out.
    Asked(Asked),
    /// It was carried out before.
    Done(Erasure),
    /// An erasure of the customer is under way, in this round or since an earlier failure.
    UnderWay,
}

/// Where the answer to a request stands, and the key that opens it. Only who knows the request's id gets here.
struct RequestSlot {
    row: Vec<u8>,
    key: Key,
}

impl RequestSlot {
    fn of(tenant: &TenantKeys, id: TenantId, caller: BlindIndex, request: &RequestId) -> Self {
        let name: [&[u8]; 2] = [&caller.0, request.as_str().as_bytes()];
        let index = BlindIndex(blind(&tenant.index, "erasure request", &name));
        let key = kdf::derive(&tenant.settings, Use::ErasureAnswer.label(), &name);
        Self { row: rows::erasure_request(id, index), key }
    }

    fn seal(&self, answer: &ErasureAnswer) -> Vec<u8> {
        let sealed = key_wrap::seal(&self.key, &self.row, &answer.encode());
        ErasureRequestRow { created: Timestamp::now(), sealed }.encode()
    }

    fn open(&self, core: &Core) -> Result<Option<ErasureAnswer>, VaultError> {
        let Some(stored) = core.db.get(&self.row)? else { return Ok(None) };
        let sealed = ErasureRequestRow::decode(&stored)?.sealed;
        let plain = key_wrap::open(&self.key, &self.row, &sealed)
            .map_err(|_| VaultError::damaged("the answer to an erasure"))?;
        Ok(Some(ErasureAnswer::decode(&plain)?))
    }
}

/// Erasures on their way: those that were asked for and wait for the next epoch.
#[derive(Default)]
pub(super) struct Round {
    waiting: Vec<ErasureJob>,
    asked: Vec<Asked>,
    /// When the last epoch began.
    last: Option<Instant>,
}

impl Round {
    /// Step 1 of these, at once. Answers those that need no epoch.
    pub fn ask(&mut self, core: &Core, jobs: Vec<ErasureJob>) {
        for job in jobs {
            match ask(core, &job) {
                Ok(Found::Done(erasure)) => drop(job.answer.send(Ok(erasure))),
                Ok(Found::UnderWay) => self.waiting.push(job),
                Ok(Found::Asked(one)) => {
                    self.waiting.push(job);
                    self.asked.push(one);
                }
                Err(error) => drop(job.answer.send(Err(error))),
            }
        }
    }

    /// When the next epoch may begin; `None` if nobody waits for one.
    pub fn due(&self, core: &Core) -> Option<Instant> {
        let due = self.last.map_or_else(Instant::now, |last| last + core.limits.epoch_window);
        (!self.waiting.is_empty()).then_some(due)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Carries out what was asked for, in one epoch, and answers.
    pub fn carry_out(&mut self, core: &Core) {
        self.last = Some(Instant::now());
        let (waiting, asked) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.asked));
        let done = if asked.is_empty() { resume(core) } else { carry_out(core, asked) };
        if let Err(error) = done {
            return refuse_all(waiting.into_iter().map(|job| job.answer), error);
        }
        let receipts = Receipts::of(core);
        for job in waiting {
            // Whose request it was not is told what a later request would be told.
            let answer = answer_of(core, &receipts, &job).and_then(|answer| answer.ok_or(VaultError::CustomerErased));
            drop(job.answer.send(answer));
        }
    }

    /// An epoch without erasures, unless some wait, or there was one since `since`: so that no root key lives longer than that.
    pub fn renew(&mut self, core: &Core, since: Instant) -> Result<(), VaultError> {
        resume(core)?;
        if self.waiting.is_empty() && self.last.is_none_or(|last| last < since) {
            self.last = Some(Instant::now());
            return carry_out(core, Vec::new());
        }
        Ok(())
    }
}

/// The answer to a job's request, if it was carried out.
fn answer_of(core: &Core, receipts: &Receipts<'_>, job: &ErasureJob) -> Result<Option<Erasure>, VaultError> {
    let tenant = core.tenant_keys(job.tenant)?;
    let slot = RequestSlot::of(&tenant, job.tenant, job.caller.alias, &job.request);
    let Some(ErasureAnswer { receipt, opening }) = slot.open(core)? else { return Ok(None) };
    let owed = VaultError::ErasureNotFinal { why: "the receipt is still owed" };
    let receipt = receipts.get(job.tenant, receipt)?.ok_or(owed)?;
    if !is_of(&receipt.erased, &opening, job.customer.as_str(), None) {
        return Err(VaultError::RequestIdReused);
    }
    Ok(Some(Erasure { receipt, opening }))
}

/// At start: closes the fences of all whose erasure was asked for, then carries it out. Where a replica of the root key is missing, nothing
/// can be destroyed: reads go on, and the erasures stay owed.
pub(super) fn recover(core: &Core) -> Result<(), VaultError> {
    let (mut from, to) = rows::all(rows::Kind::Erasing);
    loop {
        let stored = core.db.range(&from, &to, DUTIES_AT_ONCE)?;
        let Some((last, _)) = stored.last() else { break };
        from = rows::behind(last.clone());
        stored.iter().try_for_each(|(key, row)| reopen(core, key, row).map(drop))?;
    }
    match resume(core) {
        Err(VaultError::RootKey(error)) if error.is_of_a_replica() => {
            tracing::error!(%error, "no erasure is final until this is mended; reads and writes go on");
            Ok(())
        }
        done => done,
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
    match answer_of(core, &Receipts::of(core), job) {
        Ok(Some(erasure)) => return Ok(Found::Done(erasure)),
        Ok(None) => {}
        Err(VaultError::ErasureNotFinal { .. }) => return Ok(Found::UnderWay),
        Err(error) => return Err(error),
    }
    let tenant = core.tenant_keys(job.tenant)?;
    let pseudonym = pseudonym(&tenant, &job.customer);
    let tombstone = rows::tombstone(job.tenant, pseudonym);
    let is_asked_for = core.db.get(&tombstone)?.is_some();
    let Some(handle) = core.tree.handle(job.tenant, pseudonym)? else {
        return Err(if is_asked_for { VaultError::CustomerErased } else { VaultError::NotFound });
    };
    if is_asked_for {
        return Ok(Found::UnderWay);
    }
    let customer = core.customer(job.tenant, handle)?;
    let pending = Pending {
        customer: job.customer.clone(),
        request: job.request.clone(),
        receipt: ReceiptId::new(Timestamp::now(), random_bytes()),
        opening: Zeroizing::new(random_bytes()),
        caller: job.caller.alias,
    };
    let slot = RequestSlot::of(&tenant, job.tenant, job.caller.alias, &job.request);
    let asked = Asked { id: random_bytes(), tenant: job.tenant, handle, pseudonym, pending, slot };
    let row = rows::erasing(asked.id);
    let sealed = key_wrap::seal(&customer.pending_key(), &row, &asked.pending.encode());
    let event = Event::ErasureAsked { receipt: asked.pending.receipt };
    let entry = Entry { at: Timestamp::now(), tenant: job.tenant, caller: Some(job.caller), event };
    let mut batch = Batch::new();
    batch.require_absent(tombstone.clone());
    batch.put(tombstone.clone(), key_wrap::seal(&tenant.settings, &tombstone, &encode_tombstone()));
    batch.put(row, ErasingRow { tenant: job.tenant, pseudonym, sealed }.encode());
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
    let ErasingRow { tenant, pseudonym, sealed } = ErasingRow::decode(row)?;
    let handle = core.tree.handle(tenant, pseudonym)?.ok_or_else(damaged)?;
    let customer = core.customer(tenant, handle)?;
    let plain = key_wrap::open(&customer.pending_key(), key, &sealed).map_err(|_| damaged())?;
    let pending = Pending::decode(&plain)?;
    let slot = RequestSlot::of(&*core.tenant_keys(tenant)?, tenant, pending.caller, &pending.request);
    core.fences.close(handle);
    Ok(Asked { id, tenant, handle, pseudonym, pending, slot })
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
    let epoch = core.tree.top().row.top.epoch + 1;
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
    let wrapped = WrappedTop::wrap(core.provider.as_ref(), staged, epoch, &key)?;
    let row = RootRow { top: wrapped, previous: Some(top.row.top.clone()) };
    let mut batch = Batch::new();
    batch.require_value(rows::root(), top.row.encode());
    batch.put(rows::root(), row.encode());
    add_pages(&mut batch, writes);
    for one in asked {
        let Pending { receipt, caller, opening, customer, .. } = &one.pending;
        let commitment = commitment(opening, customer.as_str(), None);
        let duty = DutyRow { tenant: one.tenant, subject: Subject::Customer, commitment, caller: *caller, epoch };
        let answer = ErasureAnswer { receipt: *receipt, opening: opening.clone() };
        batch.delete(rows::erasing(one.id));
        batch.put(rows::duty(*receipt), duty.encode());
        batch.put(one.slot.row.clone(), one.slot.seal(&answer));
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
    let row = core.tree.top().row.clone();
    let current = row.top.root_key;
    if core.db.get(&rows::root())? != Some(row.encode()) {
        return Err(VaultError::ErasureNotFinal {
            why: "the database names another root key than the service works with",
        });
    }
    core.provider.keep_only(current)?;
    if core.provider.held()?.iter().any(|held| held.id != current) {
        return Err(VaultError::ErasureNotFinal { why: "the provider still has the old root key" });
    }
    probe(core, &row)?;
    let (from, to) = rows::all(rows::Kind::Duty);
    loop {
        let owed = core.db.range(&from, &to, DUTIES_AT_ONCE)?;
        if owed.is_empty() {
            return core.keep_pin();
        }
        let mut batch = Batch::new();
        for (key, row) in &owed {
            add_receipt(core, &mut batch, key, row)?;
        }
        core.committer.commit_blocking(batch)?;
    }
}

/// Tries the old root key on what it wrapped. A provider that says it has destroyed a key, does not list it, and uses it still is caught.
fn probe(core: &Core, row: &RootRow) -> Result<(), VaultError> {
    match row.previous.as_ref().map(|previous| previous.unwrap(core.provider.as_ref())) {
        None | Some(Err(RootKeyError::NoSuchKey { .. } | RootKeyError::CannotUnwrap { .. })) => Ok(()),
        Some(Ok(_)) => {
            Err(VaultError::ErasureNotFinal { why: "the provider still opens what the old root key wrapped" })
        }
        Some(Err(error)) => Err(error.into()),
    }
}

fn add_receipt(core: &Core, batch: &mut Batch, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
    let damaged = || VaultError::damaged("a receipt that is owed");
    let receipt = ReceiptId(key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(damaged)?);
    let duty = DutyRow::decode(row)?;
    let at = Timestamp::now();
    let erased = Erased {
        receipt,
        subject: duty.subject,
        commitment: duty.commitment,
        epoch: duty.epoch,
        requested_by: duty.caller,
        approved_by: None,
        provider: core.provider.name().to_owned(),
        medium: core.provider.medium(),
        shares_device: core.shares_device(),
        lost_replicas: core.provider.lost_replicas()?,
        final_at: core.provider.final_at(at),
        kept_under: Vec::new(),
    };
    let event = Event::ErasureFinal(Box::new(erased));
    let entry = Entry { at, tenant: duty.tenant, caller: None, event };
    batch.require_value(key, row);
    batch.delete(key);
    batch.append_named(rows::receipt(duty.tenant, receipt), entry.encode().to_vec());
    Ok(())
}
