//! Step 1: what is asked for becomes durable, and whom it concerns is fenced off.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::Erasure;
use super::alone::{Alone, Word};
use super::answer::{RequestName, RequestSlot, answer_of};
use super::unlisted::{if_it_has_no_key, why_not_found};
use crate::audit::{self, Caller, Event};
use crate::crypto::secret::{Key, random_bytes};
use crate::crypto::{kdf, key_wrap};
use crate::domain::clock::Timestamp;
use crate::domain::erasure::{Part, Subject};
use crate::domain::ids::{CustomerId, Handle, Pseudonym, ReceiptId, RequestId, TenantId, TenantName};
use crate::keys::TenantKeys;
use crate::store::{Batch, MAX_BATCH_BYTES, MAX_OPS_PER_BATCH, MAX_RANGE_ROWS, rows};
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::customer::Customer;
use crate::vault::fence::Ground;
use crate::vault::format::{ErasingRow, ErasingWhat, Head, Pending, Use, encode_tombstone, use_key};
use crate::vault::receipts::Receipts;
use crate::vault::tree::pseudonym;

/// The hour of a ceiling, in counts of five minutes each.
const COUNTS: u64 = 12;
const COUNT_MS: u64 = 5 * 60 * 1000;

/// Whom or what to erase.
#[derive(Clone)]
pub enum Target {
    /// A customer, with all records.
    Customer(CustomerId),
    /// One record, or one revision of it that is not the newest.
    Part(Part),
    /// A whole tenant, whose erasure another admin has asked for.
    Tenant(TenantName),
}

/// An erasure that is asked for.
pub(in super::super) struct ErasureJob {
    pub tenant: TenantId,
    pub target: Target,
    /// Whether it is one of a list under one request.
    pub is_of_list: bool,
    pub request: RequestId,
    pub caller: Caller,
    /// How many erasures a day the caller may ask for without a second person; 0 for all.
    pub alone: u32,
    pub answer: oneshot::Sender<Result<Erasure, VaultError>>,
}

impl ErasureJob {
    /// The row of the answer.
    pub fn slot(&self, tenant: Arc<TenantKeys>) -> RequestSlot {
        let of_list = match &self.target {
            Target::Customer(customer) if self.is_of_list => Some(customer.as_str()),
            _ => None,
        };
        let part = if let Target::Part(part) = &self.target { Some(*part) } else { None };
        let name = RequestName { caller: self.caller.alias, request: &self.request, of_list, part };
        RequestSlot::of(tenant, self.tenant, &name)
    }
}

/// What is to be erased, found.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum What {
    Customer(Pseudonym),
    Part(Part),
    Tenant(TenantId),
}

impl What {
    pub fn subject(self) -> Subject {
        match self {
            Self::Customer(_) => Subject::Customer,
            Self::Part(Part::Record(_)) => Subject::Record,
            Self::Part(Part::Revision(..)) => Subject::Revision,
            Self::Tenant(_) => Subject::Tenant,
        }
    }

    /// What stands of it in the row of what is pending.
    fn stored(self, handle: Handle) -> ErasingWhat {
        match self {
            Self::Customer(pseudonym) => ErasingWhat::Customer(pseudonym),
            Self::Part(part) => ErasingWhat::Part(handle, part),
            Self::Tenant(subject) => ErasingWhat::Tenant(subject),
        }
    }

    pub fn part(self) -> Option<Part> {
        match self {
            Self::Customer(_) | Self::Tenant(_) => None,
            Self::Part(part) => Some(part),
        }
    }
}

/// An erasure that is durable as asked for: step 1 is done.
pub(in super::super) struct Asked {
    /// The name of its row.
    pub id: [u8; 16],
    /// The tenant in which it was asked for: of the erasure of a tenant, `system`.
    pub tenant: TenantId,
    /// Whose it is; of the erasure of a tenant, nobody's.
    pub handle: Handle,
    pub what: What,
    pub pending: Pending,
    pub slot: RequestSlot,
}

impl Asked {
    /// The fence that it closes.
    pub fn ground(&self) -> Ground {
        ground(self.what, self.handle)
    }
}

fn ground(what: What, handle: Handle) -> Ground {
    match what {
        What::Customer(_) => handle.into(),
        What::Part(part) => part.into(),
        What::Tenant(tenant) => tenant.into(),
    }
}

/// What step 1 finds.
pub(super) enum Found {
    /// It is to be carried out.
    Asked(Box<Asked>),
    /// It was carried out before.
    Done(Box<Erasure>),
    /// It is under way, in this round or since an earlier failure.
    UnderWay,
}

/// What is asked for together, and becomes durable in one batch.
#[derive(Default)]
pub(super) struct Asking {
    batch: Batch,
    counted: HashMap<TenantId, Counted>,
    alone: Alone,
    grounds: Vec<Ground>,
}

/// How many erasures a tenant has asked for within an hour, those of this round included.
struct Counted {
    sum: u64,
    /// Counts that are too old to count.
    old: Vec<Vec<u8>>,
}

/// So many writes one more erasure adds at most: its own, and the counts that are too old.
const WRITES_OF_ONE: usize = 8 + DUE_COUNTS;

impl Asking {
    /// Whether one more may not fit the batch.
    pub fn is_full(&self) -> bool {
        self.batch.writes() + WRITES_OF_ONE > MAX_OPS_PER_BATCH || self.batch.bytes() > MAX_BATCH_BYTES / 2
    }

    /// Refuses one more than an hour may have. Only the tree's writer counts, so the rows are read once a round.
    fn refuse_over_the_ceiling(&mut self, core: &Core, tenant: TenantId) -> Result<(), VaultError> {
        let counted = match self.counted.entry(tenant) {
            Entry::Occupied(counted) => counted.into_mut(),
            Entry::Vacant(place) => place.insert(count(core, tenant)?),
        };
        let limit = core.limits.erasures_per_hour;
        if counted.sum >= limit { Err(VaultError::ErasureCeiling { limit }) } else { Ok(()) }
    }

    /// Makes all of it durable. The fences are closed by then; they open again if it does not become so.
    pub fn commit(self, core: &Core) -> Result<(), VaultError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        core.committer.commit_here(self.batch).map(drop).map_err(|error| {
            self.grounds.into_iter().for_each(|ground| core.fences.reopen(ground));
            error.into()
        })
    }
}

/// Step 1, but for making it durable: that is done for all at once. Nothing is added to `asking` where this fails.
pub(super) fn ask(core: &Core, job: &ErasureJob, asking: &mut Asking) -> Result<Found, VaultError> {
    match answer_of(core, &Receipts::of(core), job) {
        // Who was readmitted since and lives is another customer: the old receipt is not hers.
        Ok(Some(_)) if is_back(core, job)? => return Err(VaultError::RequestIdReused),
        Ok(Some(erasure)) => return Ok(Found::Done(Box::new(erasure))),
        Ok(None) => {}
        Err(VaultError::ErasureNotFinal { .. }) => return Ok(Found::UnderWay),
        Err(error) => return Err(error),
    }
    let tenant = core.tenant_keys(job.tenant)?;
    let mut requested_by = None;
    let found = match &job.target {
        Target::Customer(customer) => find_customer(core, (&tenant, job.tenant), customer)?,
        Target::Part(part) => find_part(core, job.tenant, *part)?,
        Target::Tenant(name) => {
            let (subject, by) = core.approved_tenant(name, (job.caller, job.tenant))?;
            requested_by = Some(by);
            let name = CustomerId::parse(name.as_str())?;
            (!core.fences.is_closed(subject)).then_some((Handle(subject.0), What::Tenant(subject), Some(name)))
        }
    };
    let Some((handle, what, customer)) = found else { return Ok(Found::UnderWay) };
    let who = (job.tenant, job.caller.alias);
    let mut word = Word::Own(false);
    if requested_by.is_none() {
        asking.refuse_over_the_ceiling(core, job.tenant)?;
        word = asking.alone.word(core, who, job.alone)?;
    }
    let pending = Pending {
        customer,
        request: job.request.clone(),
        is_of_list: job.is_of_list,
        receipt: ReceiptId::new(Timestamp::now(), random_bytes()),
        opening: Zeroizing::new(random_bytes()),
        caller: job.caller.alias,
        requested_by,
        approved_by: if let Word::Approved(_, by) = word { Some(by) } else { None },
    };
    let mut slot = job.slot(Arc::clone(&tenant));
    if let What::Part(_) = what {
        slot = slot.of_part_of(core, &core.customer(job.tenant, handle)?)?;
    }
    let id = random_bytes();
    let asked = Asked { id, tenant: job.tenant, handle, what, pending, slot };
    let row = rows::erasing(asked.id);
    let key = pending_key(core, job.tenant, handle, what).map_err(|error| if_it_has_no_key(core, what, error))?;
    let sealed = key_wrap::seal(&key, &row, &asked.pending.encode());
    let batch = &mut asking.batch;
    if let What::Customer(pseudonym) = what {
        let tombstone = rows::tombstone(job.tenant, pseudonym);
        batch.require_absent(tombstone.clone());
        batch.put(tombstone.clone(), key_wrap::seal(&tenant.settings, &tombstone, &encode_tombstone()));
    }
    if requested_by.is_none()
        && let Some(counted) = asking.counted.get_mut(&job.tenant)
    {
        std::mem::take(&mut counted.old).into_iter().for_each(|key| batch.delete(key));
        batch.add(rows::erasures(job.tenant, five_minutes()), 1);
        counted.sum += 1;
        asking.alone.count(batch, who, word);
    }
    let event = Event::ErasureAsked { receipt: asked.pending.receipt };
    let entry = audit::Entry { at: Timestamp::now(), tenant: job.tenant, caller: Some(job.caller), event };
    batch.put(row, ErasingRow { tenant: job.tenant, what: what.stored(handle), sealed }.encode());
    batch.append(entry.encode().to_vec());
    core.fences.close(asked.ground());
    asking.grounds.push(asked.ground());
    Ok(Found::Asked(Box::new(asked)))
}

/// Whether a customer lives under the id that a job names, and is not on the way out.
fn is_back(core: &Core, job: &ErasureJob) -> Result<bool, VaultError> {
    let Target::Customer(customer) = &job.target else { return Ok(false) };
    let pseudonym = pseudonym(&*core.tenant_keys(job.tenant)?, customer);
    let is_fenced = core.db.get(&rows::tombstone(job.tenant, pseudonym))?.is_some();
    Ok(!is_fenced && core.tree.handle(job.tenant, pseudonym)?.is_some())
}

/// Whom it is about, by name if that is known; `None` if that erasure is under way.
type Whom = Option<(Handle, What, Option<CustomerId>)>;

fn find_customer(
    core: &Core,
    (keys, tenant): (&TenantKeys, TenantId),
    customer: &CustomerId,
) -> Result<Whom, VaultError> {
    let pseudonym = pseudonym(keys, customer);
    let is_asked_for = core.db.get(&rows::tombstone(tenant, pseudonym))?.is_some();
    let Some(handle) = core.tree.handle(tenant, pseudonym)? else {
        return Err(if is_asked_for { VaultError::CustomerErased } else { why_not_found(core, tenant, pseudonym)? });
    };
    // In this round, or before it.
    if is_asked_for || core.fences.is_closed(handle) {
        return Ok(None);
    }
    Ok(Some((handle, What::Customer(pseudonym), Some(customer.clone()))))
}

fn find_part(core: &Core, tenant: TenantId, part: Part) -> Result<Whom, VaultError> {
    let (newest, Head { handle, .. }) = core.newest(tenant, part.record())?.ok_or(VaultError::NotFound)?;
    if let Some(revision) = part.revision() {
        match revision.cmp(&newest) {
            Ordering::Less => {}
            Ordering::Equal => return Err(VaultError::RevisionIsNewest),
            Ordering::Greater => return Err(VaultError::NotFound),
        }
    }
    let around = [part.into(), Part::Record(part.record()).into(), Ground::from(handle)];
    if around.into_iter().any(|ground| core.fences.is_closed(ground)) {
        return Ok(None);
    }
    let customer = core.customer(tenant, handle).map_err(gone)?;
    let place = customer.place(part.record(), part.revision().unwrap_or(newest));
    match core.secret(&customer, &place).map_err(gone) {
        Ok(_) => {}
        // It is noise here. An older image may still have it whole, so it is erased as any other.
        Err(error) if error.is_damage() => {
            core.damage.met("a record's secret", &rows::secret(handle, place.record, place.revision), &error);
        }
        Err(error) => return Err(error),
    }
    Ok(Some((handle, What::Part(part), core.customer_id_if_known(&customer)?)))
}

/// A record or revision whose rows are still there, and whose key is not.
fn gone(error: VaultError) -> VaultError {
    match error {
        VaultError::NotFound => VaultError::RecordErased,
        other => other,
    }
}

/// The key under which what is pending is sealed: it ends with what is erased.
fn pending_key(core: &Core, tenant: TenantId, handle: Handle, what: What) -> Result<Key, VaultError> {
    let keys = PendingKeys::of(core, tenant, handle, what)?;
    keys.keys.into_iter().next().ok_or(VaultError::NotFound)
}

/// The keys under which what is pending may be sealed, the one that is used first.
struct PendingKeys {
    keys: Vec<Key>,
    /// Whether one that may have been used is gone: a secret is not there, or does not open.
    is_one_gone: bool,
}

impl PendingKeys {
    fn of(core: &Core, tenant: TenantId, handle: Handle, what: What) -> Result<Self, VaultError> {
        match what {
            What::Customer(_) => Self::of_customer(core, &core.customer(tenant, handle)?),
            What::Tenant(subject) => {
                let of_system = || kdf::derive(&core.tree.top().system.settings, Use::Pending.label(), &[&subject.0]);
                match core.tenant_keys(subject) {
                    Ok(keys) => {
                        let own = kdf::derive(&keys.settings, Use::Pending.label(), &[&subject.0]);
                        Ok(Self { keys: vec![own, of_system()], is_one_gone: false })
                    }
                    // Its page does not open. It can be erased all the same.
                    Err(error) if error.is_damage() => Ok(Self { keys: vec![of_system()], is_one_gone: true }),
                    Err(error) => Err(error),
                }
            }
            What::Part(part) => Self::of_part(core, &core.customer(tenant, handle)?, part),
        }
    }

    /// Of a customer, the secret of the profile. Not the customer's key while that opens: the erasure of a record that is pending as well
    /// replaces it, and a crash behind that epoch would leave what no key opens. The release of layout 1 took the customer's key.
    fn of_customer(core: &Core, customer: &Customer) -> Result<Self, VaultError> {
        let mut keys = Vec::new();
        match core.profile_secret(customer) {
            Ok((secret, profile)) => keys.push(use_key(&secret, Use::Pending, &profile)),
            Err(error) if error.is_damage() || matches!(error, VaultError::NotFound) => {
                core.damage.met("a customer's profile", &rows::profile(customer.handle), &error);
            }
            Err(error) => return Err(error),
        }
        keys.push(customer.pending_key());
        Ok(Self { keys, is_one_gone: false })
    }

    /// Of a record, the secret of its newest revision that opens. It is looked for among the secrets: after a restore from a mirror of keys
    /// the record's own rows may not be there. Where none opens, a key of the customer's, which the erasure replaces as well.
    fn of_part(core: &Core, customer: &Customer, part: Part) -> Result<Self, VaultError> {
        let (from, to) = rows::record_secrets(customer.handle, part.record());
        let rows = core.db.range(&from, &to, MAX_RANGE_ROWS)?;
        let found = rows.iter().rev().filter_map(|(key, _)| rows::parse_secret(key));
        let (mut keys, mut is_one_gone) = (Vec::new(), rows.is_empty());
        for (_, record, revision) in found.filter(|(_, record, revision)| part.holds(*record, *revision)) {
            let place = customer.place(record, revision);
            match core.secret(customer, &place) {
                Ok(secret) => keys.push(use_key(&secret, Use::Pending, &place)),
                Err(error) if error.is_damage() || matches!(error, VaultError::NotFound) => is_one_gone = true,
                Err(error) => return Err(error),
            }
        }
        keys.push(customer.pending_key_of(part));
        Ok(Self { keys, is_one_gone })
    }
}

fn five_minutes() -> u64 {
    Timestamp::now().as_ms() / COUNT_MS
}

/// What a tenant has asked for within an hour.
fn count(core: &Core, tenant: TenantId) -> Result<Counted, VaultError> {
    let (from, to) = rows::erasures_of(tenant);
    let first = rows::erasures(tenant, five_minutes().saturating_sub(COUNTS - 1));
    let (mut sum, mut old) = (0, Vec::new());
    // The rows of an hour, and the few that an hour without erasures left.
    for (key, value) in core.db.range(&from, &to, DUE_COUNTS)? {
        if key < first {
            old.push(key);
        } else {
            let count = value.try_into().map(u64::from_be_bytes).map_err(|_| VaultError::damaged("a counter"))?;
            if count > MOST_AN_HOUR {
                core.damage.met("a counter", &key, &VaultError::damaged("a counter"));
                continue;
            }
            sum = u64::saturating_add(sum, count);
        }
    }
    Ok(Counted { sum, old })
}

/// The most that `limits.erasures_per_hour` can be set to. A counter above it is damaged, and counts nothing.
const MOST_AN_HOUR: u64 = 1_000_000;

/// More counts than an hour has; old ones go with every erasure.
const DUE_COUNTS: usize = 64;

/// What became of reading a pending erasure back.
pub(super) enum Reopened {
    /// It is to be carried out.
    Asked(Box<Asked>),
    /// The keys of its record are to be replaced. Who asked, and for which receipt, was sealed under a key that is gone.
    Unnamed(Unnamed),
    /// Its customer or tenant is erased, and with it whom this was about.
    Void,
}

/// The erasure of a record of which nothing is known any more but where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unnamed {
    pub id: [u8; 16],
    pub tenant: TenantId,
    pub handle: Handle,
    pub part: Part,
}

/// Reads a pending erasure back, and closes its fence.
pub(super) fn reopen(core: &Core, key: &[u8], row: &[u8]) -> Result<Reopened, VaultError> {
    core.refuse_unless_logged(key, row)?;
    let damaged = || VaultError::damaged("a pending erasure");
    let id = key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(damaged)?;
    let ErasingRow { tenant, what, sealed } = ErasingRow::decode(row)?;
    let Some(keys) = core.tree.tenant(tenant)? else { return Ok(Reopened::Void) };
    let (handle, what) = match what {
        ErasingWhat::Customer(pseudonym) => {
            (core.tree.handle(tenant, pseudonym)?.ok_or_else(damaged)?, What::Customer(pseudonym))
        }
        ErasingWhat::Part(handle, part) => (handle, What::Part(part)),
        ErasingWhat::Tenant(subject) => (Handle(subject.0), What::Tenant(subject)),
    };
    core.fences.close(ground(what, handle));
    let pending_keys = match PendingKeys::of(core, tenant, handle, what) {
        Ok(keys) => keys,
        Err(VaultError::NotFound) => {
            core.fences.reopen(ground(what, handle));
            return Ok(Reopened::Void);
        }
        Err(error) => return Err(error),
    };
    let plain = pending_keys.keys.iter().find_map(|one| key_wrap::open(one, key, &sealed).ok());
    let plain = match (plain, what) {
        (Some(plain), _) => plain,
        (None, What::Part(part)) if pending_keys.is_one_gone => {
            return Ok(Reopened::Unnamed(Unnamed { id, tenant, handle, part }));
        }
        (None, _) => return Err(damaged()),
    };
    let pending = Pending::decode(&plain)?;
    let of_list = pending.is_of_list.then_some(pending.name());
    let name = RequestName { caller: pending.caller, request: &pending.request, of_list, part: what.part() };
    let mut slot = RequestSlot::of(keys, tenant, &name);
    if let What::Part(_) = what {
        slot = slot.of_part_of(core, &core.customer(tenant, handle)?)?;
    }
    Ok(Reopened::Asked(Box::new(Asked { id, tenant, handle, what, pending, slot })))
}
