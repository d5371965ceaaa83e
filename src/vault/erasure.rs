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
mod epoch;
mod renewal;
mod round;
mod tenant;
mod unlisted;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

pub use ask::Target;
pub(super) use ask::{Asked, ErasureJob, What};
pub(super) use renewal::{is_mark, mark_restored};
pub(super) use round::Round;

use self::ask::{Reopened, reopen};
use self::epoch::{Extra, run_epoch};
use self::renewal::renew_restored;
use super::core::{Core, caller};
use super::customer::MAX_SEGMENT;
use super::format::{DutyRow, ErasingRow, Opening};
use super::receipts::Receipt;
use super::tree::RootRow;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{Entry, Event};
use crate::domain::clock::Timestamp;
use crate::domain::codec::hex;
use crate::domain::erasure::{Erased, Subject};
use crate::domain::ids::{CustomerId, ReceiptId, RequestId, TenantName};
use crate::store::{Batch, CommitError, MAX_OPS_PER_BATCH, Row, StoreError, rows};

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

/// For reports.
const PENDING: &str = "an erasure that was asked for";

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
            // What is void [`resume`] takes off the list. What cannot be read now stays on it, and keeps no other back.
            core.unless_damaged(PENDING, key, reopen(core, key, row).map(drop))?;
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
/// All of it: what is pending must not lose its customer to a later epoch. What cannot be carried out, because something on the way is damaged,
/// stays pending and fenced off, is reported, and keeps no other back.
fn resume(core: &Core, mut known: HashMap<Vec<u8>, Asked>) -> Result<(), VaultError> {
    renew_restored(core)?;
    let (from, to) = rows::all(rows::Kind::Erasing);
    // Where one reading does not take all, the rows are read once for each kind: a record goes before its customer, wherever their rows are.
    let is_much = core.db.range(&from, &to, MAX_ERASURES)?.len() == MAX_ERASURES;
    let all = [Subject::Record, Subject::Revision, Subject::Customer, Subject::Tenant];
    let passes: &[&[Subject]] = if is_much { &[&all[..2], &all[2..3], &all[3..]] } else { &[&all] };
    let mut is_settled = false;
    for subjects in passes {
        let mut from = from.clone();
        loop {
            let mut stored = core.db.range(&from, &to, MAX_ERASURES)?;
            let Some((last, _)) = stored.last() else { break };
            from = rows::behind(last.clone());
            // One that cannot be read is met with the first of them.
            stored.retain(|(_, row)| match ErasingRow::decode(row) {
                Ok(row) => subjects.contains(&row.what.subject()),
                Err(_) => subjects.contains(&Subject::Record),
            });
            is_settled |= resume_some(core, &mut known, &stored)?;
        }
    }
    if is_settled { Ok(()) } else { settle(core) }
}

/// Carries out some of what is pending; returns whether there was an epoch.
fn resume_some(core: &Core, known: &mut HashMap<Vec<u8>, Asked>, stored: &[Row]) -> Result<bool, VaultError> {
    let (mut asked, mut unnamed, mut void) = (Vec::with_capacity(stored.len()), Vec::new(), Batch::new());
    for (key, row) in stored {
        let one = known.remove(key).map(|one| Ok(Reopened::Asked(Box::new(one))));
        match one.unwrap_or_else(|| reopen(core, key, row)) {
            Ok(Reopened::Asked(one)) => asked.push(*one),
            Ok(Reopened::Unnamed(one)) => unnamed.push(one),
            Ok(Reopened::Void) => {
                tracing::warn!(row = hex(key), "an erasure is off the list: whom it was about is erased already");
                void.delete(key.clone());
            }
            Err(error) => core.unless_damaged(PENDING, key, Err(error))?,
        }
    }
    if !void.is_empty() {
        core.committer.commit_blocking(void)?;
    }
    for one in &unnamed {
        tracing::error!(
            row = hex(&rows::erasing(one.id)),
            "the secret of a record that is to be erased does not open: its keys are replaced all the same; who asked cannot be told any more, so there is no receipt"
        );
        run_epoch(core, &[], Extra::Unnamed(*one))?;
    }
    if !asked.is_empty() {
        carry_out(core, &mut asked)?;
    }
    Ok(!asked.is_empty() || !unnamed.is_empty())
}

/// Steps 2 to 6, in as many epochs as it takes. Parts of customers first: none of them may lose its customer to an earlier epoch.
fn carry_out(core: &Core, asked: &mut [Asked]) -> Result<(), VaultError> {
    asked.sort_by_key(|one| match one.what {
        What::Part(_) => 0,
        What::Customer(_) => 1,
        What::Tenant(_) => 2,
    });
    let mut rest = &asked[..];
    let mut most = MAX_ERASURES;
    loop {
        let fit = fitting(core, rest, most)?;
        match run_epoch(core, &rest[..fit], Extra::Nothing) {
            Ok(()) => rest = &rest[fit..],
            // Their pages do not fit one batch: fewer at once.
            Err(VaultError::Commit(CommitError::Invalid(_))) if fit > 1 => most = fit / 2,
            Err(error) => return Err(error),
        }
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// How many of these one batch takes, `most` at most.
fn fitting(core: &Core, asked: &[Asked], most: usize) -> Result<usize, VaultError> {
    let mut rewrapped = BTreeSet::new();
    let mut fit = 0;
    for one in asked.iter().take(most) {
        if let What::Part(part) = one.what {
            rewrapped.insert((one.handle, core.segment_of(one.handle, part.record())?));
            if rewrapped.len() > MAX_REWRAPPED {
                break;
            }
        }
        fit += 1;
    }
    Ok(fit)
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
    let (mut from, to) = rows::all(rows::Kind::Duty);
    let mut has_erased = false;
    loop {
        let owed = core.db.range(&from, &to, DUTIES_AT_ONCE)?;
        let Some((last, _)) = owed.last() else {
            if has_erased {
                core.erasures.send_modify(|count| *count += 1);
            }
            return core.keep_pin();
        };
        has_erased = true;
        from = rows::behind(last.clone());
        let mut batch = Batch::new();
        for (key, row) in &owed {
            core.unless_damaged("a receipt that is owed", key, add_receipt(core, &mut batch, key, row))?;
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
    core.refuse_unless_logged(key, row)?;
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
