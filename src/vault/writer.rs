//! The one writer of the key tree: a thread that takes jobs from a bounded queue, as many as wait, and does them together.
//!
//! New customers of one round share the pages that they touch, and one batch. Erasures of one round share one epoch. So nothing ever
//! changes the tree between a plan and its batch; the pages as read travel in the batch as preconditions all the same.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use super::VaultError;
use super::core::Core;
use super::customer::Customer;
use super::erasure::{Erasure, ErasureJob, MAX_ERASURES, Round};
use super::tree::pseudonym;
use crate::audit::{Caller, Entry, Event};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{CustomerId, Handle, TenantId};
use crate::keys::{Draft, PageWrite};
use crate::store::{Batch, StoreError, rows};

/// Jobs that may wait; callers wait for room.
const QUEUE: usize = 1024;
/// The most jobs in one round: with their rows and some pages each they fit one batch.
const MAX_ROUND: usize = MAX_ERASURES;

/// The way to the writer.
#[derive(Clone)]
pub(super) struct TreeWriter {
    jobs: mpsc::Sender<Job>,
}

enum Job {
    Customer(CustomerJob),
    Tenant {
        tenant: TenantId,
        answer: oneshot::Sender<Result<(), VaultError>>,
    },
    /// Taken together, so that they share an epoch.
    Erasures(Vec<ErasureJob>),
    /// Takes the fence of an erased customer away.
    Readmission {
        tenant: TenantId,
        customer: CustomerId,
        caller: Caller,
        answer: oneshot::Sender<Result<(), VaultError>>,
    },
    /// Fresh keys for answers once a day, and an epoch without erasures, if there was none since.
    Renewal {
        since: Instant,
        now: Timestamp,
        answer: oneshot::Sender<Result<(), VaultError>>,
    },
}

impl Job {
    /// How much of a round it takes.
    fn size(&self) -> usize {
        match self {
            Self::Erasures(jobs) => jobs.len(),
            _ => 1,
        }
    }
}

struct CustomerJob {
    tenant: TenantId,
    customer: CustomerId,
    answer: oneshot::Sender<Result<Handle, VaultError>>,
}

impl TreeWriter {
    /// Starts the thread; needs the async runtime. It ends when the last way to it is dropped.
    pub fn start(core: Arc<Core>) -> Result<Self, VaultError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let runtime = runtime::Handle::current();
        std::thread::Builder::new()
            .name("tree-writer".to_owned())
            .spawn(move || run(&core, &runtime, queue))
            .map_err(|source| StoreError::Io { doing: "starting the tree writer", source })?;
        Ok(Self { jobs })
    }

    /// The handle of a customer, who is created if unknown. Refused for an erased one.
    pub async fn ensure_customer(&self, tenant: TenantId, customer: CustomerId) -> Result<Handle, VaultError> {
        self.ask(|answer| Job::Customer(CustomerJob { tenant, customer, answer })).await
    }

    /// Adds a tenant to the tree.
    pub async fn add_tenant(&self, tenant: TenantId) -> Result<(), VaultError> {
        self.ask(|answer| Job::Tenant { tenant, answer }).await
    }

    /// Carries an erasure out; answered when it is final.
    pub async fn erase(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<Erasure, VaultError>>) -> ErasureJob,
    ) -> Result<Erasure, VaultError> {
        self.ask(|answer| Job::Erasures(vec![job(answer)])).await
    }

    /// Carries several out, together; each is answered for itself.
    pub async fn erase_all(
        &self,
        jobs: impl IntoIterator<Item = impl FnOnce(oneshot::Sender<Result<Erasure, VaultError>>) -> ErasureJob>,
    ) -> Vec<Result<Erasure, VaultError>> {
        let (jobs, answered): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .map(|job| {
                let (answer, answered) = oneshot::channel();
                (job(answer), answered)
            })
            .unzip();
        // Where nobody takes them, the ways back are closed.
        drop(self.jobs.send(Job::Erasures(jobs)).await);
        let mut answers = Vec::with_capacity(answered.len());
        for one in answered {
            answers.push(one.await.unwrap_or(Err(VaultError::Stopping)));
        }
        answers
    }

    /// Takes the fence of an erased customer away.
    pub async fn readmit(&self, tenant: TenantId, customer: CustomerId, caller: Caller) -> Result<(), VaultError> {
        self.ask(|answer| Job::Readmission { tenant, customer, caller, answer }).await
    }

    /// Carries out what an earlier failure left, replaces the keys for answers if `now` is of another day, and begins an epoch if there was
    /// none since then.
    pub async fn renew(&self, since: Instant, now: Timestamp) -> Result<(), VaultError> {
        self.ask(|answer| Job::Renewal { since, now, answer }).await
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, VaultError>>) -> Job) -> Result<T, VaultError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).await.map_err(|_| VaultError::Stopping)?;
        answered.await.unwrap_or(Err(VaultError::Stopping))
    }
}

fn run(core: &Core, runtime: &runtime::Handle, mut queue: mpsc::Receiver<Job>) {
    let mut round = Round::default();
    loop {
        let first = match round.due(core) {
            None => queue.blocking_recv(),
            // Erasures wait for the window between two epochs to end; whatever else comes is done meanwhile.
            Some(due) => match runtime.block_on(async { tokio::time::timeout_at(due.into(), queue.recv()).await }) {
                Ok(job) => job,
                Err(_) => {
                    round.carry_out(core);
                    continue;
                }
            },
        };
        let Some(first) = first else {
            // Nobody is left to ask for more. Who waits is answered, sooner than the window would have it.
            if round.due(core).is_some() {
                round.carry_out(core);
            }
            return;
        };
        let (mut customers, mut erasures) = (Vec::new(), Vec::new());
        let room = MAX_ROUND.saturating_sub(round.len());
        let mut taken = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            taken += job.size();
            match job {
                Job::Customer(job) => customers.push(job),
                Job::Erasures(jobs) => erasures.extend(jobs),
                // Whoever asked may have gone; the tenant stays.
                Job::Tenant { tenant, answer } => drop(answer.send(add_tenant(core, tenant))),
                Job::Readmission { tenant, customer, caller, answer } => {
                    drop(answer.send(readmit(core, tenant, &customer, caller)));
                }
                Job::Renewal { since, now, answer } => drop(answer.send(round.renew(core, since, now))),
            }
            // A list is one job and many erasures.
            next = if taken < room { queue.try_recv().ok() } else { None };
        }
        if !customers.is_empty() {
            add_customers(core, customers);
        }
        round.ask(core, erasures);
        let is_due = round.due(core).is_some_and(|due| due <= Instant::now());
        if is_due || round.len() >= MAX_ROUND {
            round.carry_out(core);
        }
    }
}

/// The tombstone goes; whoever is stored under this id afterwards is a new customer, with a new handle and a new key.
fn readmit(core: &Core, tenant: TenantId, customer: &CustomerId, caller: Caller) -> Result<(), VaultError> {
    let keys = core.tenant_keys(tenant)?;
    let pseudonym = pseudonym(&keys, customer);
    let tombstone = rows::tombstone(tenant, pseudonym);
    let Some(stored) = core.db.get(&tombstone)? else { return Err(VaultError::NotErased) };
    if core.tree.handle(tenant, pseudonym)?.is_some() {
        return Err(VaultError::ErasureNotFinal { why: "the erasure is still to be carried out" });
    }
    let entry = Entry { at: Timestamp::now(), tenant, caller: Some(caller), event: Event::Readmitted };
    let mut batch = Batch::new();
    batch.require_value(tombstone.clone(), stored);
    batch.delete(tombstone);
    batch.append(entry.encode().to_vec());
    core.committer.commit_blocking(batch)?;
    Ok(())
}

fn add_tenant(core: &Core, tenant: TenantId) -> Result<(), VaultError> {
    if core.tree.tenant(tenant)?.is_some() {
        return Err(VaultError::TenantExists);
    }
    let top = core.tree.top();
    let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries)?;
    draft.add_tenant(tenant)?;
    let mut batch = Batch::new();
    add_pages(&mut batch, draft.into_inserts().writes);
    drop(top);
    core.committer.commit_blocking(batch)?;
    Ok(())
}

/// Puts planned pages into a batch, on the condition that nothing else stands there by then.
pub(super) fn add_pages(batch: &mut Batch, writes: Vec<PageWrite>) {
    for write in writes {
        let key = rows::page(&write.id.0);
        match write.as_read {
            Some(read) => batch.require_value(key.clone(), read),
            None => batch.require_absent(key.clone()),
        };
        match write.sealed {
            Some(sealed) => batch.put(key, sealed),
            None => batch.delete(key),
        }
    }
}

fn add_customers(core: &Core, jobs: Vec<CustomerJob>) {
    let mut batch = Batch::new();
    let planned = plan_customers(core, &jobs, &mut batch);
    let committed = planned.and_then(|outcomes| {
        if !batch.is_empty() {
            core.committer.commit_blocking(batch)?;
        }
        Ok(outcomes)
    });
    match committed {
        Ok(outcomes) => jobs.into_iter().zip(outcomes).for_each(|(job, outcome)| drop(job.answer.send(outcome))),
        Err(error) => refuse_all(jobs.into_iter().map(|job| job.answer), error),
    }
}

/// Gives the same error to all.
pub(super) fn refuse_all<T>(answers: impl Iterator<Item = oneshot::Sender<Result<T, VaultError>>>, error: VaultError) {
    let error = Arc::new(error);
    for answer in answers {
        drop(answer.send(Err(VaultError::Shared(Arc::clone(&error)))));
    }
}

type Outcomes = Vec<Result<Handle, VaultError>>;

fn plan_customers(core: &Core, jobs: &[CustomerJob], batch: &mut Batch) -> Result<Outcomes, VaultError> {
    let top = core.tree.top();
    let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries)?;
    drop(top);
    let outcomes = jobs.iter().map(|job| plan_customer(core, job, &mut draft, batch)).collect();
    add_pages(batch, draft.into_inserts().writes);
    Ok(outcomes)
}

fn plan_customer(
    core: &Core,
    job: &CustomerJob,
    draft: &mut Draft<'_>,
    batch: &mut Batch,
) -> Result<Handle, VaultError> {
    let pseudonym = pseudonym(&*core.tenant_keys(job.tenant)?, &job.customer);
    let tombstone = rows::tombstone(job.tenant, pseudonym);
    if core.db.get(&tombstone)?.is_some() {
        return Err(VaultError::CustomerErased);
    }
    if let Some(handle) = draft.handle(job.tenant, pseudonym)? {
        return Ok(handle);
    }
    let handle = draft.new_handle(job.tenant, pseudonym)?;
    let key = draft.add_customer(job.tenant, pseudonym, handle)?;
    batch.require_absent(tombstone);
    Customer::new(job.tenant, handle, key).add_rows(batch, &job.customer);
    Ok(handle)
}
