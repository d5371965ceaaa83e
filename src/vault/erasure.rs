//! # Life of an erasure
//!
//! | step | durable effect | if we crash right after |
//! |---|---|---|
//! | 1 | ledger entry "asked", tombstone, what is pending: reads and writes are refused from now on | resumed at start |
//! | 2 | the provider stages a new root key under a random id | the database does not name it: destroyed at start, then 2 again |
//! | 3 | one batch: pages under fresh keys, top key under the staged root key, duties | start goes on with 5 |
//! | 4 | all mirrors have everything up to here | start waits for them again |
//! | 5 | the provider destroys the old root key; probed | start goes on with 5 |
//! | 6 | ledger entry "final", receipt | repeated; one entry, one receipt |
//!
//! One revision, one record, one customer, a list of them, a whole tenant: all go this way. Erasing a record or a revision gives its customer a
//! fresh key, and wraps anew what was wrapped beside the secret.
//!
//! Answered only after 6. [`settle`] is steps 5 and 6: it looks at what the database names and what the provider holds, and never at
//! what this process remembers. So it is the same for the live path and at start.
//!
//! Nothing that is stored leads from a person to a handle or to a time: the tombstone says only that it is one, the reclaim job has no
//! pseudonym, and what is pending is sealed under a key that ends with the customer key. What answers a repeat of the request opens only
//! to who knows the request's id, and for two days at most: then its key is replaced. The answer to the erasure of a record ends with its
//! customer. After that the receipt is with who asked for it, and a repeat is told that the customer is erased, not when.

mod alone;
mod answer;
mod answer_keys;
mod ask;
mod renewal;
mod round;
mod tenant;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

pub use ask::Target;
pub(super) use ask::{Asked, ErasureJob, What};
pub(super) use renewal::{is_mark, mark_restored};
pub(super) use round::Round;

use self::ask::reopen;
use self::renewal::{PAGES_AT_ONCE, Renewal, renew_restored};
use super::core::{Core, caller};
use super::customer::MAX_SEGMENT;
use super::format::{
    DutyRow, ErasureAnswer, Opening, Pending, ReclaimRecordRow, ReclaimRow, TenantErasureRow, TenantErasureState,
};
use super::receipts::Receipt;
use super::tree::{RootRow, Top, WrappedTop};
use super::writer::add_pages;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::receipt::commitment;
use crate::audit::{Entry, Event};
use crate::crypto::key_wrap;
use crate::domain::clock::Timestamp;
use crate::domain::erasure::{Erased, Part};
use crate::domain::ids::{CustomerId, Handle, ReceiptId, RequestId, TenantId, TenantName};
use crate::keys::{Draft, EpochPlan, RenewMark, SystemKeys};
use crate::root_key::RootKeyId;
use crate::store::{Batch, CommitError, MAX_OPS_PER_BATCH, StoreError, rows};

/// How long a round of erasures waits for those who read the customers' records to stop. They are told at once, and look at it with every
/// message.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a start waits for the mirrors before it leaves what is owed for later.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// Duties looked at in one go: those of one epoch become receipts in one batch.
const DUTIES_AT_ONCE: usize = MAX_ERASURES;
/// The most erasures of one epoch: with their rows and pages they fit one batch.
pub(super) const MAX_ERASURES: usize = 1024;
/// The most segments that lose secrets in one epoch. For each, up to twice [`MAX_SEGMENT`] secrets are wrapped anew, its own and those under the
/// customer key; with all else that fits one batch.
const MAX_REWRAPPED: usize = 3;
const _: () = assert!(MAX_REWRAPPED * 2 * MAX_SEGMENT < MAX_OPS_PER_BATCH - MAX_ERASURES * 3);

/// An erasure that is final.
pub struct Erasure {
    /// The receipt.
    pub receipt: Receipt,
    /// What shows whom the receipt is about. It is for the one who asked, and for nobody else.
    pub opening: Opening,
}

impl Vault {
    /// Erases a customer or a record. Answered when it is final. A repeat of the request gets the same receipt; another request for what is
    /// erased is told so (`CustomerErased`, `RecordErased`). `NotFound` for what was never there.
    pub async fn erase(
        &self,
        permit: Permit<TenantScope>,
        target: Target,
        request: RequestId,
    ) -> Result<Erasure, VaultError> {
        let tenant = permit.resource().tenant;
        let (caller, alone) = (caller(permit.principal()), self.alone(permit.principal()));
        let job = |answer| ErasureJob { tenant, target, is_of_list: false, request, caller, alone, answer };
        self.noting_refusal(&permit, self.writer.erase(job).await).await
    }

    /// Erases the permit's tenant, whose erasure another admin asked for. The receipt is one of the caller's own tenant.
    pub async fn erase_tenant(
        &self,
        permit: Permit<TenantScope>,
        name: TenantName,
        request: RequestId,
    ) -> Result<Erasure, VaultError> {
        let (tenant, target) = (permit.principal().tenant, Target::Tenant(name));
        let (caller, alone) = (caller(permit.principal()), 0);
        let job = |answer| ErasureJob { tenant, target, is_of_list: false, request, caller, alone, answer };
        self.noting_refusal(&permit, self.writer.erase(job).await).await
    }

    /// Erases a list of customers, each for itself; they share epochs. A list that needs a second person is refused as a whole.
    pub async fn erase_customers(
        &self,
        permit: Permit<TenantScope>,
        customers: Vec<CustomerId>,
        request: RequestId,
    ) -> Result<Vec<Result<Erasure, VaultError>>, VaultError> {
        let tenant = permit.resource().tenant;
        self.noting_refusal(&permit, self.refuse_a_list_alone(&permit, &customers).await).await?;
        let (caller, alone) = (caller(permit.principal()), self.alone(permit.principal()));
        let jobs = customers.into_iter().map(|customer| {
            let (target, request) = (Target::Customer(customer), request.clone());
            move |answer| ErasureJob { tenant, target, is_of_list: true, request, caller, alone, answer }
        });
        let erased = self.writer.erase_all(jobs.collect::<Vec<_>>()).await;
        // Another list may have come in between.
        if erased.iter().any(|one| matches!(one, Err(VaultError::ApprovalNeeded { .. }))) {
            self.enter_erasure_refused(&permit).await?;
        }
        Ok(erased)
    }

    /// Takes the fence of an erased customer away, so that the person can become a customer again: a new one, with nothing of before.
    pub async fn readmit(&self, permit: Permit<TenantScope>, customer: CustomerId) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let caller = caller(permit.principal());
        self.writer.readmit(tenant, customer, caller).await
    }

    /// Carries out what an earlier failure left, replaces the keys for answers once a day, and begins an epoch without erasures unless there
    /// was one within `age`: so that no root key lives longer.
    pub async fn renew_root_key(&self, age: Duration) -> Result<(), VaultError> {
        let since = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        self.writer.renew(since, Timestamp::now()).await
    }
}

/// At start: closes the fences of all whose erasure was asked for, then carries it out. Where a replica of the root key is missing, nothing
/// can be destroyed: reads go on, and the erasures stay owed.
pub(super) fn recover(core: &Core) -> Result<(), VaultError> {
    let (mut from, to) = rows::all(rows::Kind::Erasing);
    loop {
        let stored = core.db.range(&from, &to, DUTIES_AT_ONCE)?;
        let Some((last, _)) = stored.last() else { break };
        from = rows::behind(last.clone());
        for (key, row) in &stored {
            match reopen(core, key, row) {
                // Its tenant was erased before its turn came; [`resume`] takes it off the list.
                Ok(_) | Err(VaultError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }
    // A mirror that begins anew takes minutes: the service does not wait for it.
    let mirrors = core.committer.mirrors().wait_for(START_PATIENCE).map_err(|error| CommitError::from(error).into());
    match mirrors.and_then(|()| resume(core, HashMap::new())) {
        Err(VaultError::RootKey(error)) if error.is_of_a_replica() => {
            tracing::error!(%error, "no erasure is final until this is mended; reads and writes go on");
            Ok(())
        }
        Err(VaultError::Commit(CommitError::NotMirrored(error))) => {
            tracing::error!(%error, "no erasure is final until the mirrors follow; reads and writes go on");
            Ok(())
        }
        Err(VaultError::ErasureNotFinal { why }) => {
            tracing::error!(why, "no erasure is final until this is mended; reads and writes go on");
            Ok(())
        }
        done => done,
    }
}

/// Carries out all that is pending in the database: what was just asked for, and is `known`; and what a crash or an epoch that failed left.
/// All of it: what is pending must not lose its customer to a later epoch.
fn resume(core: &Core, mut known: HashMap<Vec<u8>, Asked>) -> Result<(), VaultError> {
    renew_restored(core)?;
    let (from, to) = rows::all(rows::Kind::Erasing);
    let mut is_settled = false;
    loop {
        let stored = core.db.range(&from, &to, MAX_ERASURES)?;
        if stored.is_empty() {
            return if is_settled { Ok(()) } else { settle(core) };
        }
        let (mut asked, mut void) = (Vec::with_capacity(stored.len()), Batch::new());
        for (key, row) in &stored {
            match known.remove(key).map_or_else(|| reopen(core, key, row), Ok) {
                Ok(one) => asked.push(one),
                // Its tenant was erased meanwhile, and with it whom this was about.
                Err(VaultError::NotFound) => void.delete(key.clone()),
                Err(error) => return Err(error),
            }
        }
        if !void.is_empty() {
            core.committer.commit_blocking(void)?;
        }
        carry_out(core, asked)?;
        is_settled = true;
    }
}

/// Steps 2 to 6, in as many epochs as it takes. Parts of customers first: none of them may lose its customer to an earlier epoch.
fn carry_out(core: &Core, mut asked: Vec<Asked>) -> Result<(), VaultError> {
    asked.sort_by_key(|one| match one.what {
        What::Part(_) => 0,
        What::Customer(_) => 1,
        What::Tenant(_) => 2,
    });
    loop {
        let later = split_off(core, &mut asked)?;
        run_epoch(core, asked, Extra::Nothing)?;
        if later.is_empty() {
            return Ok(());
        }
        asked = later;
    }
}

/// What does not fit one batch any more.
fn split_off(core: &Core, asked: &mut Vec<Asked>) -> Result<Vec<Asked>, VaultError> {
    let mut rewrapped = BTreeSet::new();
    let mut fit = 0;
    for one in asked.iter().take(MAX_ERASURES) {
        if let What::Part(part) = one.what {
            rewrapped.insert((one.handle, core.segment_of(one.handle, part.record())?));
            if rewrapped.len() > MAX_REWRAPPED {
                break;
            }
        }
        fit += 1;
    }
    Ok(asked.split_off(fit))
}

/// What an epoch does besides erasing.
enum Extra<'a> {
    Nothing,
    /// Pages of a tenant get fresh keys.
    Renewal(&'a mut Renewal),
    /// The answer keys of these tenants are replaced, as of a day.
    AnswerKeys(&'a [TenantId], u32),
}

/// One epoch, with all that was asked for, and with what it does besides.
fn run_epoch(core: &Core, asked: Vec<Asked>, extra: Extra<'_>) -> Result<(), VaultError> {
    let end = Instant::now() + PATIENCE;
    for one in &asked {
        if !core.fences.wait_until_empty(one.ground(), end.saturating_duration_since(Instant::now())) {
            return Err(VaultError::ErasureNotFinal { why: "a reader of the customer's records has not stopped" });
        }
    }
    for one in &asked {
        if let What::Tenant(subject) = one.what {
            core.list_pages_to_reclaim(subject)?;
        }
    }
    // A key left over from an epoch that failed must not stand beside the one staged now.
    settle(core)?;
    let epoch = core.tree.top().row.top.epoch + 1;
    let staged = core.provider.stage(epoch)?;
    if staged == core.tree.top().row.top.root_key {
        // An epoch under it could never be told from the one before: nothing would be destroyed, and no later epoch could begin.
        return Err(VaultError::ErasureNotFinal { why: "the provider staged the root key that it had" });
    }
    match write_epoch(core, (epoch, staged), &asked, extra) {
        Ok(()) => {}
        // The batch may be on the disk or not: both keys stay until a restart reads which one it names.
        Err(error @ VaultError::Commit(CommitError::Store(_))) => return Err(error),
        // Never used again: what failed before the batch leaves the staged key unnamed, and settling destroys it.
        Err(error) => return settle(core).and(Err(error)),
    }
    settle(core)?;
    asked.iter().for_each(|one| core.fences.forget(one.ground()));
    Ok(())
}

/// Step 3: plans the epoch, and writes it in one batch. No lookup runs between the old pages and the new top key, and where a customer's key
/// is replaced, no secret is wrapped under it meanwhile.
fn write_epoch(
    core: &Core,
    (epoch, staged): (u64, RootKeyId),
    asked: &[Asked],
    mut extra: Extra<'_>,
) -> Result<(), VaultError> {
    let lost = lost_parts(asked);
    let _alone = (!lost.is_empty()).then(|| core.wrapping.blocking_write());
    let mut top = core.tree.top_to_replace();
    let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries)?;
    let mut batch = Batch::new();
    for one in asked {
        if let What::Customer(pseudonym) = one.what {
            draft.erase_customer(one.tenant, pseudonym, one.handle)?;
        }
        add_duties(core, &mut batch, one, epoch, &top.system);
    }
    for ((tenant, handle), parts) in &lost {
        let (old, fresh) = draft.rekey_customer(*tenant, *handle)?;
        core.rewrap(&mut batch, (*tenant, *handle), (&old, &fresh), parts)?;
    }
    // Last: below an erased tenant nothing can be found any more.
    for one in asked {
        if let What::Tenant(subject) = one.what {
            draft.erase_tenant(subject)?;
        }
    }
    let renewed = extra.plan(&mut draft)?;
    let EpochPlan { writes, top: key } = draft.into_epoch();
    let wrapped = WrappedTop::wrap(core.provider.as_ref(), staged, epoch, &key)?;
    let row = RootRow { top: wrapped, previous: Some(top.row.top.clone()) };
    batch.require_value(rows::root(), top.row.encode());
    batch.put(rows::root(), row.encode());
    add_pages(&mut batch, writes);
    core.committer.commit_here(batch)?;
    *top = Top::open(row, key, core.tree.pages())?;
    if let Extra::Renewal(renewal) = &mut extra {
        renewal.mark = renewed;
    }
    Ok(())
}

impl Extra<'_> {
    /// Adds it to the epoch's plan; returns where a renewal goes on.
    fn plan(&self, draft: &mut Draft<'_>) -> Result<Option<RenewMark>, VaultError> {
        match self {
            Self::Renewal(Renewal { tenant, mark: Some(mark) }) => {
                Ok(draft.renew_some(*tenant, mark.clone(), PAGES_AT_ONCE)?)
            }
            Self::Nothing | Self::Renewal(_) => Ok(None),
            Self::AnswerKeys(tenants, day) => {
                for tenant in *tenants {
                    draft.replace_answer_keys(*tenant, *day)?;
                }
                Ok(None)
            }
        }
    }
}

/// The single records and revisions to erase, by customer; not those whose customer goes as a whole.
fn lost_parts(asked: &[Asked]) -> BTreeMap<(TenantId, Handle), Vec<Part>> {
    let gone: BTreeSet<Handle> =
        asked.iter().filter(|one| matches!(one.what, What::Customer(_))).map(|one| one.handle).collect();
    let mut lost: BTreeMap<_, Vec<Part>> = BTreeMap::new();
    for one in asked.iter().filter(|one| !gone.contains(&one.handle)) {
        if let What::Part(part) = one.what {
            lost.entry((one.tenant, one.handle)).or_default().push(part);
        }
    }
    lost
}

/// What is to be done once the old root key is gone.
fn add_duties(core: &Core, batch: &mut Batch, one: &Asked, epoch: u64, system: &SystemKeys) {
    let pending = &one.pending;
    let duty = DutyRow {
        tenant: one.tenant,
        subject: one.what.subject(),
        commitment: commitment(&pending.opening, pending.customer.as_str(), one.what.part()),
        caller: pending.requested_by.unwrap_or(pending.caller),
        approved_by: pending.approved_by.or(pending.requested_by.map(|_| pending.caller)),
        epoch,
    };
    let answer = ErasureAnswer { receipt: pending.receipt, opening: pending.opening.clone() };
    batch.delete(rows::erasing(one.id));
    batch.put(rows::duty(pending.receipt), duty.encode());
    batch.put(one.slot.row.clone(), one.slot.seal(&answer));
    match one.what {
        What::Customer(_) => {
            let key = rows::reclaim(one.handle);
            let job = core.jobs.signed(&key, ReclaimRow { tenant: one.tenant }.encode());
            batch.put(key, job);
        }
        What::Part(part) => {
            let key = rows::reclaim_record(part.record(), part.revision());
            let row = ReclaimRecordRow { tenant: one.tenant, handle: one.handle };
            let job = core.jobs.signed(&key, row.encode());
            batch.put(key, job);
        }
        What::Tenant(subject) => {
            let (key, row) = erased_tenant(system, subject, pending);
            batch.put(key, row);
        }
    }
}

/// The row that says for ever that a tenant is erased. The system's keys stay what they are over an epoch.
fn erased_tenant(system: &SystemKeys, subject: TenantId, pending: &Pending) -> (Vec<u8>, Vec<u8>) {
    let row = TenantErasureRow {
        requested_by: pending.requested_by.unwrap_or(pending.caller),
        not_before: Timestamp::now(),
        state: TenantErasureState::Erased,
    };
    let key = rows::tenant_erasure(subject);
    let sealed = key_wrap::seal(&system.settings, &key, &row.encode());
    (key, sealed)
}

/// Steps 4 to 6: the mirrors have all, the provider is left with exactly the root key that the database names, and owed receipts are written.
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
    core.committer.mirrors().wait().map_err(CommitError::from)?;
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
        core.committer.commit_here(batch)?;
        core.committer.mirrors().wait().map_err(CommitError::from)?;
    }
}

/// Tries whatever the provider has on what the old root key wrapped. One that says it has destroyed a key, does not list it, and uses it still is
/// caught; and so is a copy under another name.
fn probe(core: &Core, row: &RootRow) -> Result<(), VaultError> {
    match &row.previous {
        Some(previous) if previous.is_opened_by(core.provider.as_ref())? => Err(VaultError::ErasureNotFinal {
            why: "a key at the root key's provider still opens what the old one wrapped: find the copy, and destroy it",
        }),
        _ => Ok(()),
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
        approved_by: duty.approved_by,
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
