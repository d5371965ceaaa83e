//! The round: erasures that were asked for, and wait for the epoch that they will share.

use std::collections::HashMap;
use std::time::Instant;

use super::answer::{answer_of, with_receipt};
use super::answer_keys::replace_answer_keys;
use super::ask::{Asked, Asking, ErasureJob, Found, ask};
use super::{Target, carry_out, resume};
use crate::domain::clock::Timestamp;
use crate::store::rows;
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::format::ErasureAnswer;
use crate::vault::receipts::Receipts;
use crate::vault::tree::pseudonym;
use crate::vault::writer::refuse_all;

/// An erasure that waits for the next epoch, and its answer, where this process asked for it.
struct Waiting {
    job: ErasureJob,
    answer: Option<ErasureAnswer>,
}

/// Erasures on their way: those that were asked for and wait for the next epoch.
#[derive(Default)]
pub(in super::super) struct Round {
    waiting: Vec<Waiting>,
    /// What they asked for, by the keys of their rows.
    asked: HashMap<Vec<u8>, Asked>,
    /// When the last epoch began.
    last: Option<Instant>,
}

impl Round {
    /// Step 1 of these, in as many batches as they take. Answers those that need no epoch.
    pub fn ask(&mut self, core: &Core, jobs: Vec<ErasureJob>) {
        let (mut asking, mut taken, mut asked) = (Asking::default(), Vec::new(), HashMap::new());
        for job in jobs {
            if asking.is_full() {
                self.take(core, std::mem::take(&mut asking), std::mem::take(&mut taken), std::mem::take(&mut asked));
            }
            match ask(core, &job, &mut asking) {
                Ok(Found::Done(erasure)) => drop(job.answer.send(Ok(*erasure))),
                Ok(Found::UnderWay) => taken.push(Waiting { job, answer: None }),
                Ok(Found::Asked(one)) => {
                    let (receipt, opening) = (one.pending.receipt, one.pending.opening.clone());
                    taken.push(Waiting { job, answer: Some(ErasureAnswer { receipt, opening }) });
                    asked.insert(rows::erasing(one.id), *one);
                }
                Err(error) => drop(job.answer.send(Err(error))),
            }
        }
        self.take(core, asking, taken, asked);
    }

    /// Makes what was asked for durable. If that fails, its fences are open again, and who asked is told.
    fn take(&mut self, core: &Core, asking: Asking, taken: Vec<Waiting>, asked: HashMap<Vec<u8>, Asked>) {
        match asking.commit(core) {
            Ok(()) => {
                self.waiting.extend(taken);
                self.asked.extend(asked);
            }
            Err(error) => refuse_all(taken.into_iter().map(|one| one.job.answer), error),
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
        // Whatever failed, a receipt that is written may not be pinned yet: a repeat of the request gets it.
        if let Err(error) = resume(core, asked) {
            return refuse_all(waiting.into_iter().map(|one| one.job.answer), error);
        }
        let receipts = Receipts::of(core);
        for Waiting { job, answer } in waiting {
            // The row that answers a repeat may be closed by now: it ends with the customer, whom the same epoch may have erased.
            let answer = match answer {
                Some(answer) => with_receipt(&receipts, &job, answer).map(Some),
                None => answer_of(core, &receipts, &job),
            };
            let answer = answer.and_then(|answer| answer.map_or_else(|| Err(what_became_of(core, &job)?), Ok));
            drop(job.answer.send(answer));
        }
    }

    /// Replaces the keys for answers, if `now` is of another day. And an epoch without erasures, unless some wait, or there was one since
    /// `since`: so that no root key lives longer than that.
    pub fn renew(&mut self, core: &Core, since: Instant, now: Timestamp) -> Result<(), VaultError> {
        resume(core, std::mem::take(&mut self.asked))?;
        if replace_answer_keys(core, now)? {
            self.last = Some(Instant::now());
        }
        if self.waiting.is_empty() && self.last.is_none_or(|last| last < since) {
            let begun = Instant::now();
            // One that fails is tried again with the next call, and not a day later.
            carry_out(core, &mut [])?;
            self.last = Some(begun);
        }
        Ok(())
    }
}

/// Whose request it was not is told what a later request would be told; and never that somebody is erased who still has a key.
fn what_became_of(core: &Core, job: &ErasureJob) -> Result<VaultError, VaultError> {
    let customer = match &job.target {
        Target::Customer(customer) => customer,
        Target::Part(_) => return Ok(VaultError::RecordErased),
        Target::Tenant(_) => return Ok(VaultError::NotFound),
    };
    let pseudonym = pseudonym(&*core.tenant_keys(job.tenant)?, customer);
    Ok(match core.tree.handle(job.tenant, pseudonym)? {
        None => VaultError::CustomerErased,
        Some(_) => VaultError::ErasureNotFinal { why: "it was asked for, and is not among what is to be carried out" },
    })
}
