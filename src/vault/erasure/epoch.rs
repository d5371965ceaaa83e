//! One epoch: steps 2 to 6 for all that was asked for together.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use super::ask::{Asked, Unnamed, What};
use super::renewal::{PAGES_AT_ONCE, Renewal};
use super::{PATIENCE, PENDING, settle};
use crate::audit::receipt::commitment;
use crate::crypto::key_wrap;
use crate::domain::clock::Timestamp;
use crate::domain::erasure::Part;
use crate::domain::ids::{Handle, TenantId};
use crate::keys::{Draft, EpochPlan, SystemKeys};
use crate::root_key::RootKeyId;
use crate::store::{Batch, CommitError, rows};
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::fence::Ground;
use crate::vault::format::{
    DutyRow, ErasureAnswer, Pending, ReclaimRecordRow, ReclaimRow, TenantErasureRow, TenantErasureState,
};
use crate::vault::tree::{RootRow, Top, WrappedTop};
use crate::vault::writer::add_pages;

/// What an epoch does beside what was asked for.
pub(super) enum Extra<'a> {
    Nothing,
    /// Gives pages fresh keys.
    Renewal(&'a mut Renewal),
    /// Erases a record of which nothing else is known.
    Unnamed(Unnamed),
    /// Replaces the answer keys of these tenants, as of a day.
    AnswerKeys(&'a [TenantId], u32),
}

/// One epoch, with all that was asked for.
pub(super) fn run_epoch(core: &Core, asked: &[Asked], extra: Extra<'_>) -> Result<(), VaultError> {
    let end = Instant::now() + PATIENCE;
    let unnamed = if let Extra::Unnamed(one) = &extra { Some(*one) } else { None };
    let grounds = asked.iter().map(Asked::ground).chain(unnamed.map(|one| one.part.into()));
    let grounds: Vec<Ground> = grounds.collect();
    for ground in grounds {
        if !core.fences.wait_until_empty(ground, end.saturating_duration_since(Instant::now())) {
            return Err(VaultError::ErasureNotFinal { why: "a reader of the customer's records has not stopped" });
        }
    }
    for one in asked {
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
    let left = match write_epoch(core, (epoch, staged), asked, extra) {
        Ok(left) => left,
        // The batch may be on the disk or not: both keys stay until a restart reads which one it names.
        Err(error @ VaultError::Commit(CommitError::Store(_))) => return Err(error),
        // Never used again: what failed before the batch leaves the staged key unnamed, and settling destroys it.
        Err(error) => return settle(core).and(Err(error)),
    };
    settle(core)?;
    let done = asked.iter().filter(|one| !left.contains(&one.id)).map(Asked::ground);
    done.chain(unnamed.map(|one| one.part.into())).for_each(|ground| core.fences.forget(ground));
    Ok(())
}

/// Step 3: plans the epoch, and writes it in one batch. No lookup runs between the old pages and the new top key, and where a customer's key
/// is replaced, no secret is wrapped under it meanwhile. Returns what could not be planned, because a page on the way does not open: it stays
/// pending.
fn write_epoch(
    core: &Core,
    (epoch, staged): (u64, RootKeyId),
    asked: &[Asked],
    extra: Extra<'_>,
) -> Result<HashSet<[u8; 16]>, VaultError> {
    let unnamed = if let Extra::Unnamed(one) = &extra { Some(*one) } else { None };
    let mut lost = lost_parts(asked, unnamed);
    let _alone = (!lost.is_empty()).then(|| core.wrapping.blocking_write());
    let mut left = leave_where_profile_would_be_lost(core, &mut lost)?;
    let mut top = core.tree.top_to_replace();
    let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries)?;
    let mut batch = Batch::new();
    for one in asked {
        if let What::Customer(pseudonym) = one.what {
            let erased = draft.erase_customer(one.tenant, pseudonym, one.handle).map_err(VaultError::from);
            leave_if_damaged(core, &mut left, &[one.id], erased)?;
        }
    }
    for ((tenant, handle), parts) in &lost {
        let rekeyed = draft.rekey_customer(*tenant, *handle).map_err(VaultError::from);
        if let Some((old, fresh)) = leave_if_damaged(core, &mut left, &ids_of(parts), rekeyed)? {
            let parts: Vec<_> = parts.iter().map(|(_, part)| *part).collect();
            core.rewrap(&mut batch, (*tenant, *handle), (&old, &fresh), &parts)?;
        }
    }
    // Last: below an erased tenant nothing can be found any more.
    for one in asked {
        if let What::Tenant(subject) = one.what {
            let erased = draft.erase_tenant(subject).map_err(VaultError::from);
            leave_if_damaged(core, &mut left, &[one.id], erased)?;
        }
    }
    for one in asked.iter().filter(|one| !left.contains(&one.id)) {
        add_duties(core, &mut batch, one, epoch, &top.system);
    }
    if let Some(one) = unnamed.filter(|one| !left.contains(&one.id)) {
        batch.delete(rows::erasing(one.id));
        add_record_job(core, &mut batch, (one.tenant, one.handle), one.part);
    }
    let mut renewed = None;
    if let Extra::Renewal(Renewal { tenant, mark: Some(mark) }) = &extra {
        renewed = draft.renew_some(*tenant, mark.clone(), PAGES_AT_ONCE)?;
        core.report_closed(&draft.take_closed());
    }
    if let Extra::AnswerKeys(tenants, day) = &extra {
        for tenant in *tenants {
            let replaced = draft.replace_answer_keys(*tenant, *day).map(drop).map_err(VaultError::from);
            core.unless_damaged("pages of a tenant", &rows::page(&tenant.0), replaced)?;
        }
    }
    let EpochPlan { writes, top: key } = draft.into_epoch();
    let wrapped = WrappedTop::wrap(core.provider.as_ref(), staged, epoch, &key)?;
    let row = RootRow { top: wrapped, previous: Some(top.row.top.clone()) };
    batch.require_value(rows::root(), top.row.encode());
    batch.put(rows::root(), row.encode());
    add_pages(&mut batch, writes);
    core.committer.commit_here(batch)?;
    *top = Top::open(row, key, core.tree.pages())?;
    if let Extra::Renewal(renewal) = extra {
        renewal.mark = renewed;
    }
    Ok(left)
}

/// What an erasure is planned with; `None`, and it is among those that are `left`, if something on its way does not open.
fn leave_if_damaged<T>(
    core: &Core,
    left: &mut HashSet<[u8; 16]>,
    ids: &[[u8; 16]],
    planned: Result<T, VaultError>,
) -> Result<Option<T>, VaultError> {
    match planned {
        Err(error) if error.is_damage() => {
            ids.iter().for_each(|id| core.damage.met(PENDING, &rows::erasing(*id), &error));
            left.extend(ids);
            Ok(None)
        }
        planned => planned.map(Some),
    }
}

/// Takes those off whose customer's profile would be lost with the old key; returns what is left.
fn leave_where_profile_would_be_lost(core: &Core, lost: &mut LostParts) -> Result<HashSet<[u8; 16]>, VaultError> {
    let mut left = HashSet::new();
    for ((tenant, handle), parts) in &*lost {
        let kept = match core.customer(*tenant, *handle) {
            Ok(customer) => core.refuse_to_lose_profile(&customer),
            // Where there is none, replacing her key says so.
            Err(VaultError::NotFound) => Ok(()),
            Err(error) => Err(error),
        };
        leave_if_damaged(core, &mut left, &ids_of(parts), kept)?;
    }
    lost.retain(|_, parts| parts.iter().all(|(id, _)| !left.contains(id)));
    Ok(left)
}

fn ids_of(parts: &[([u8; 16], Part)]) -> Vec<[u8; 16]> {
    parts.iter().map(|(id, _)| *id).collect()
}

/// Parts of a customer to erase, each with the name of what is pending about it.
type LostParts = BTreeMap<(TenantId, Handle), Vec<([u8; 16], Part)>>;

/// The single records and revisions to erase, by customer; not those whose customer goes as a whole.
fn lost_parts(asked: &[Asked], unnamed: Option<Unnamed>) -> LostParts {
    let gone: BTreeSet<Handle> =
        asked.iter().filter(|one| matches!(one.what, What::Customer(_))).map(|one| one.handle).collect();
    let mut lost = LostParts::new();
    for one in asked.iter().filter(|one| !gone.contains(&one.handle)) {
        if let What::Part(part) = one.what {
            lost.entry((one.tenant, one.handle)).or_default().push((one.id, part));
        }
    }
    if let Some(one) = unnamed {
        lost.entry((one.tenant, one.handle)).or_default().push((one.id, one.part));
    }
    lost
}

/// What is to be done once the old root key is gone.
fn add_duties(core: &Core, batch: &mut Batch, one: &Asked, epoch: u64, system: &SystemKeys) {
    let pending = &one.pending;
    let duty = DutyRow {
        tenant: one.tenant,
        subject: one.what.subject(),
        commitment: commitment(&pending.opening, pending.name(), one.what.part()),
        caller: pending.requested_by.unwrap_or(pending.caller),
        approved_by: pending.approved_by.or(pending.requested_by.map(|_| pending.caller)),
        epoch,
    };
    let answer = ErasureAnswer { receipt: pending.receipt, opening: pending.opening.clone() };
    batch.delete(rows::erasing(one.id));
    batch.put(rows::duty(pending.receipt), duty.encode());
    if let Some(sealed) = one.slot.seal(&answer) {
        batch.put(one.slot.row.clone(), sealed);
    }
    match one.what {
        What::Customer(_) => {
            let key = rows::reclaim(one.handle);
            let job = core.jobs.signed(&key, ReclaimRow { tenant: one.tenant }.encode());
            batch.put(key, job);
        }
        What::Part(part) => add_record_job(core, batch, (one.tenant, one.handle), part),
        What::Tenant(subject) => {
            let (key, row) = erased_tenant(system, subject, pending);
            batch.put(key, row);
        }
    }
}

fn add_record_job(core: &Core, batch: &mut Batch, (tenant, handle): (TenantId, Handle), part: Part) {
    let key = rows::reclaim_record(part.record(), part.revision());
    let job = core.jobs.signed(&key, ReclaimRecordRow { tenant, handle }.encode());
    batch.put(key, job);
}

/// The row that says for ever that a tenant is erased. The system's keys stay what they are over an epoch.
fn erased_tenant(system: &SystemKeys, subject: TenantId, pending: &Pending) -> (Vec<u8>, Vec<u8>) {
    let row = TenantErasureRow {
        requested_by: pending.requested_by.unwrap_or(pending.caller),
        requested_in: None,
        actor: None,
        not_before: Timestamp::now(),
        state: TenantErasureState::Erased,
    };
    let key = rows::tenant_erasure(subject);
    let sealed = key_wrap::seal(&system.settings, &key, &row.encode());
    (key, sealed)
}
